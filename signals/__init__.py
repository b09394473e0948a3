"""From files to records: `ECGRecord`, `read_ecg`, a simulator (`ecgllm.signals.simulation`), pictures on ECG paper.

Files come in as paths, records go out in millivolt with their rate and lead names. Nothing here knows of models; lead
names and resampling are those of `signal_ecgllm`, so that a file is read as a model sees it.
"""

from importlib import import_module
from typing import Any

from .reading import read_ecg
from .record import ECGReadError, ECGRecord
from .tree import ECGTree, iter_ecgs

# Drawing needs matplotlib (extra `plot`), measuring SciPy. Both are slow to import and the first is optional, so they
# come with first use. These names are not in __all__, so that `from ecgllm.signals import *` works without them.
_LAZY = {
    "LeadCheck": "leads",
    "check_leads": "leads",
    "Quality": "quality",
    "assess_quality": "quality",
    "Measurement": "measurements",
    "Measurements": "measurements",
    "measure": "measurements",
    "summarize": "summary",
    "Highlight": "paper",
    "PaperStyle": "paper",
    "plot_ecg": "plotting",
    "plot_pages": "plotting",
    "save_ecg": "plot_files",
    "save_pages": "plot_files",
}

__all__ = ["ECGReadError", "ECGRecord", "ECGTree", "iter_ecgs", "read_ecg"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ecgllm.signals' has no attribute {name!r}; it exports {', '.join(__dir__())}")
    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_LAZY])
