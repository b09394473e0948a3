"""Records on ECG paper: an `ECGRecord` in, a matplotlib figure or a file out.

`paper_layout` says where everything lies, in millimetres, `paper_text` what is written, `plot` how it looks; `files`
writes. matplotlib (extra `plot`) is imported with the first figure.
"""

from importlib import import_module
from typing import Any

_MODULE_OF = {
    "Highlight": "paper_layout",
    "PaperStyle": "paper_layout",
    "plot_ecg": "plot",
    "plot_pages": "plot",
    "save_ecg": "files",
    "save_pages": "files",
}
__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(
            f"module 'ecgllm.signals.plotting' has no attribute {name!r}; it exports {', '.join(__all__)}"
        )
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
