"""Which records no model of this package is trained on as long as a recipe does not say otherwise.

In: a record as it was read. Out: why a feature extractor with its usual settings refuses it, or None. Decided here:
only what is cheap is looked at, names of leads, duration and missing samples; amplitudes are looked at when a run
prepares its signals. A reason says its kind, nothing of the record, so that reasons are counted.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...feature_extraction_ecgllm import ECGFeatureExtractor
from ...signal_ecgllm import ECGInputError, standard_lead_name


def why_refused(record: Any) -> str | None:
    """Args: record: an `ECGRecord`. Returns: "it has no lead of a standard name" or the like; None for one that may be
    trained on."""
    usual = _usual()
    known = [_is_standard(name) for name in record.leads]
    if not any(known):
        return f"{'its one lead has' if len(known) == 1 else 'its leads have'} no standard name (I to V6)"
    if not all(known):
        return "it has other leads beside standard ones"
    duration = record.signal.shape[-1] / record.sampling_rate
    if duration < usual.min_duration:
        return f"it is shorter than {usual.min_duration:g} s"
    if duration > usual.max_duration:
        return f"it is longer than {usual.max_duration:g} s"
    if usual.nan_policy == "raise" and not np.isfinite(record.signal).all():
        return "it lacks samples (feature_extractor: {nan_policy: interpolate} or drop_lead in a recipe takes it)"
    return None


@cache
def _usual() -> ECGFeatureExtractor:
    return ECGFeatureExtractor()


def _is_standard(name: str) -> bool:
    try:
        standard_lead_name(name)
    except ECGInputError:
        return False
    return True
