"""Clinical formats: a file that `ecgdatakit` can parse in, an ECGRecord out.

`reader` begins. Each parser is a file of its own. `ecg_channels` decides which channels are the ECG, `notes` what
else of the file is kept.
"""
