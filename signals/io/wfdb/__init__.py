"""WFDB records: a header and its signal files in, an ECGRecord out.

`reader` begins; `header`, `samples` and `scaling` are its steps; `common` is a fast way from a header of format 16 on.
"""
