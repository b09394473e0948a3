"""Files: a path (or bytes) of any format in, an `ECGRecord` out; a folder in, its records one by one.

`detection` tells a file's format by what it holds, `reading` takes it to its reader: `wfdb`, `clinical` (vendors'
formats, DICOM, SCP-ECG, HL7 aECG, EDF) or `tables` (CSV, NumPy, Parquet). A new format is a reader, a name in
`detection.FORMATS` and a line in `reading`.
"""

from .reading import read_ecg
from .tree import ECGTree, iter_ecgs

__all__ = ["ECGTree", "iter_ecgs", "read_ecg"]
