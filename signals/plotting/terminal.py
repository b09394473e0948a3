"""One lead in characters, for a terminal: samples in mV in, lines of text out.

Decided here: braille characters hold 2 x 4 dots each, so that a P wave can be seen in few lines; a dot column covers
what the signal does in its time from the lowest to the highest sample, so that no QRS complex falls between two dots.
"""

from __future__ import annotations

import numpy as np

from ...errors_ecgllm import ECGError

_FIRST = 0x2800  # the braille character without dots (Unicode 1.1)
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of the left and the right column, downwards
_DOTS_DOWN = 4


def braille_lines(samples: np.ndarray, columns: int = 80, rows: int = 6) -> list[str]:
    """A trace that fills `rows` lines of `columns` characters from its lowest to its highest sample.

    Args: samples: float [samples], mV; where they are not finite nothing is drawn.
    Raises: ECGError for fewer than two samples, and for no column or row.
    """
    samples = np.asarray(samples, dtype=float)
    if samples.ndim != 1 or len(samples) < 2 or columns < 1 or rows < 1:
        raise ECGError(
            f"a lead of the shape {samples.shape} in {columns} columns and {rows} rows; expected two samples or more "
            "of one lead, and one column and row or more."
        )
    canvas = np.zeros((rows, columns), dtype=int)
    known = samples[np.isfinite(samples)]
    if known.size:
        low, height = known.min(), max(known.max() - known.min(), 1e-9)
        edges = np.linspace(0, len(samples) - 1, 2 * columns + 1).round().astype(int)
        for place, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            part = samples[start : end + 1]  # with the first sample of the next, so that the line does not break
            part = part[np.isfinite(part)]
            if part.size:
                top, bottom = (_DOTS_DOWN * rows - 1) * (1 - (np.array([part.max(), part.min()]) - low) / height)
                for dot in range(round(top), round(bottom) + 1):
                    canvas[dot // _DOTS_DOWN, place // 2] |= _DOTS[place % 2][dot % _DOTS_DOWN]
    return ["".join(chr(_FIRST + dots) for dots in row) for row in canvas]
