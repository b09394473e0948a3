"""From files to records: `ECGRecord`, `read_ecg`, and what is done with a record before any model sees it.

Files come in as paths, records go out in millivolt with their rate and lead names. Nothing here knows of models; lead
names and resampling are those of `signal_ecgllm`, so that a file is read as a model sees it. The rooms: `io` (files),
`analysis` (beats, intervals, quality, lead checks), `plotting` (ECG paper), `simulation` (ECGs of known findings).
"""

from importlib import import_module
from typing import Any

from .io import ECGTree, iter_ecgs, read_ecg
from .record import ECGReadError, ECGRecord

# Drawing needs matplotlib (extra `plot`), measuring SciPy. Both are slow to import and the first is optional, so they
# come with first use. These names are not in __all__, so that `from ecgllm.signals import *` works without them.
_LAZY = {
    "LeadCheck": "analysis.lead_check",
    "check_leads": "analysis.lead_check",
    "Quality": "analysis.quality",
    "assess_quality": "analysis.quality",
    "Measurement": "analysis.measurements",
    "Measurements": "analysis.measurements",
    "measure": "analysis.measurements",
    "summarize": "summary",
    "Highlight": "plotting.paper_layout",
    "PaperStyle": "plotting.paper_layout",
    "plot_ecg": "plotting.plot",
    "plot_pages": "plotting.plot",
    "save_ecg": "plotting.files",
    "save_pages": "plotting.files",
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
