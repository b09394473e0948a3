"""Does a model read the ECG? Any model and records in, predictions and a report with intervals out.

`protocol` says what a model is asked and what it has to give; `shown_ecgs` what it is shown, with the `changes` that a
condition makes; each file of `sections` plans questions and turns the answers into `figures`; `predictions` is the
table in between, from which every figure can be computed again.
"""
