"""Questions about the records of a corpus, with the answers that its labels decide.

`build` begins; what can be asked stands in `about_findings`, `about_leads`, `about_measurements` and `comparisons`,
how it is worded in `paraphrases`. `sampling` draws the records that each question is asked about. `ecg_qa` reads the
questions of ECG-QA; the root's `answer_matching` compares answers as it does.
"""
