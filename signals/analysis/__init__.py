"""What is measured and judged of a record: beats and intervals, the quality of the recording, where electrodes were.

`measure` gives rate, intervals and axis with their confidence, `assess_quality` a verdict on the recording,
`check_leads` what the leads say of each other. SciPy is imported with the first of them.
"""
