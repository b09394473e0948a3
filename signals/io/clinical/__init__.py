"""Clinical formats: a file that `ecgdatakit` can parse in, an ECGRecord out.

`reader` begins; each parser is a file of its own; `leads` and `notes` say what of a file is its ECG, and what it says.
"""
