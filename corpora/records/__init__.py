"""Records as rows: a corpus' folder, or `ECGRecord`s, in; a `datasets.Dataset` with the `ECG` feature out.

`prepare` begins; each public corpus is a file in `sources`, which says what there is, where it lies and what is known
of it (`entry`). `splits`, `duplicates` and `silence` (what a source never states) guard what is made of them. A new
corpus is a file in `sources` and a line in `prepare`.
"""
