"""What a Trainer reads: records and questions in, prepared or encoded signals, examples and batches out.

`corpus` and `questions` choose the rows of a stage. `prepared_signals`, `encoded_signals` and `streams` hold or make
its ECGs. `question_examples` and `pretraining_examples` join rows and ECGs.
"""
