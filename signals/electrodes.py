"""From the potentials of nine electrodes to the leads: what Einthoven, Wilson and Goldberger defined.

In: potentials, or the eight leads that are independent of each other. Out: leads. What follows from leads I and II is
stated in `signal_ecgllm`, since a checkpoint carries it.
"""

from __future__ import annotations

import numpy as np

from ..signal_ecgllm import LIMB_WEIGHTS

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
EIGHT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The leads from which the others of twelve follow."""


def eight_leads(potentials: np.ndarray) -> np.ndarray:
    """[records, 8, samples] in `EIGHT_LEADS` from potentials at `ELECTRODES` [records, 9, samples].

    Source: Einthoven 1913, I = LA - RA, II = LL - RA; Wilson 1934, chest leads against the mean of the limbs.
    """
    ra, la, ll = potentials[:, 0], potentials[:, 1], potentials[:, 2]
    chest = potentials[:, 3:] - ((ra + la + ll) / 3)[:, None]
    return np.concatenate([(la - ra)[:, None], (ll - ra)[:, None], chest], axis=1)


def twelve_leads(eight: np.ndarray) -> np.ndarray:
    """[records, 12, samples] in the standard order from [records, 8, samples] in `EIGHT_LEADS`."""
    one, two = eight[:, 0], eight[:, 1]
    derived = [of_one * one + of_two * two for of_one, of_two in list(LIMB_WEIGHTS.values())[2:]]
    return np.concatenate([np.stack([one, two, *derived], axis=1), eight[:, 2:]], axis=1)
