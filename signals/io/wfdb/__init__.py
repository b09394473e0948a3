"""WFDB records: a header and its signal files in, an ECGRecord out.

`reader` begins; `header`, `samples` and `scaling` are its steps; `common` is the fast way for format 16.
"""
