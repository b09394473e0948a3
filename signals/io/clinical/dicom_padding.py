"""Which samples of a DICOM channel that equal its WaveformPaddingValue are missing, and which are voltages.

Some writers give 0 as the padding value of signals that pass through 0. Decided here: padding is what comes in runs at
an end, or what no sample near it resembles; any other sample of that value is a voltage.
"""

from __future__ import annotations

import numpy as np

END_RUN_S = 0.1  # equal samples at an end that are this long are padding, even where the signal leads up to them


def padded(counts: np.ndarray, padding: float, rate: float) -> np.ndarray:
    """bool [samples]: the missing ones among the samples [samples] of one channel, at `rate` Hz.

    A run of the padding value within the recording is missing if the signal jumps to it and from it, that is, by
    more than between any two neighbours that are both something else. One at an end is missing, too, if it lasts
    `END_RUN_S` or longer.
    """
    equal = counts == padding
    if not equal.any() or equal.all():
        return equal
    others = ~(equal[1:] | equal[:-1])
    steps = np.abs(np.diff(counts))
    largest = steps[others].max(initial=0.0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8)))
    missing = np.zeros(len(counts), dtype=bool)
    for start, end in edges.reshape(-1, 2):
        jumps = [steps[place] for place in (start - 1, end - 1) if 0 <= place < len(steps)]
        at_end = start == 0 or end == len(counts)
        if min(jumps) > largest or (at_end and end - start >= END_RUN_S * rate):
            missing[start:end] = True
    return missing
