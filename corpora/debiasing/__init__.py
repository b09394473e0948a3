"""De-biased sets and the audit that checks them: questions in, questions that tell nothing without the ECG out.

`debias` begins, with `matching` and `standardisation` on the `confounders`; `audit` measures what the questions alone
give away (`question_only_baseline`, `word_baseline`, `differences`); `biased_set` makes the bias on purpose.
"""
