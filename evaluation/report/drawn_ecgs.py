"""The ECGs of examples on paper, as pictures that stand inside a page.

In: an `Example`. Out: a data URL of a PNG. Decided here: what of a record is drawn, its signal, rate, source and what
can be measured, and never who it is; and a size that a page of a dozen ECGs bears (five pixels a millimetre, 64
colours: some 60 KB).
"""

from __future__ import annotations

import base64
import io

from ...explanations import draw
from ...signals.plotting import plot_ecg
from ...signals.record import ECGRecord
from .about import Example

_DPI = 127
_COLOURS = 64


def picture(example: Example) -> str:
    """The ECG of an example with what its answer rests on, or two side by side, as a data URL."""
    from PIL import Image  # comes with matplotlib

    if example.explanation is not None:
        figure = draw(example.explanation, _unnamed(example.record), layout="12x1")
    else:
        second = None if example.second is None else _unnamed(example.second)
        figure = plot_ecg(_unnamed(example.record), compare=second)
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI, bbox_inches=figure.bbox_inches, facecolor=figure.get_facecolor())
    drawn.seek(0)
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(small, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"


def _unnamed(record: ECGRecord) -> ECGRecord:
    """The signal, its rate and the name of its source: a record made anew, so that no other field comes along."""
    return ECGRecord(record.signal, record.sampling_rate, record.leads, source=record.source)
