"""From files to records: `ECGRecord`, `read_ecg`, and a simulator (`ecgllm.signals.simulation`).

Files come in as paths, records go out in millivolt with their rate and lead names. Nothing here knows of models; lead
names and resampling are those of `signal_ecgllm`, so that a file is read as a model sees it.
"""

from .reading import read_ecg
from .record import ECGReadError, ECGRecord

__all__ = ["ECGReadError", "ECGRecord", "read_ecg"]
