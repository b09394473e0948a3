"""Leads from electrodes, held to what each lead was defined as: a difference of potentials on the body."""

import numpy as np
import pytest

from ecgllm.signal_ecgllm import LEADS, complete_limb_leads
from ecgllm.signals.electrodes import EIGHT_LEADS, ELECTRODES, eight_leads, twelve_leads


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_lead_is_its_own_difference_of_potentials(dtype):
    potentials = np.random.default_rng(0).normal(size=(3, 9, 50)).astype(dtype)
    ra, la, ll, *chest = (potentials[:, number] for number in range(len(ELECTRODES)))
    terminal = (ra + la + ll) / 3
    wanted = {
        "I": la - ra, "II": ll - ra, "III": ll - la,
        "aVR": ra - (la + ll) / 2, "aVL": la - (ra + ll) / 2, "aVF": ll - (ra + la) / 2,
        **{f"V{number}": electrode - terminal for number, electrode in enumerate(chest, 1)},
    }  # fmt: skip
    eight = eight_leads(potentials)
    twelve = twelve_leads(eight)
    assert twelve.dtype == dtype and twelve.shape == (3, 12, 50)
    for row, lead in enumerate(LEADS):
        np.testing.assert_allclose(twelve[:, row], wanted[lead], atol=1e-5)
    by_name = complete_limb_leads(dict(zip(EIGHT_LEADS, eight.swapaxes(0, 1), strict=True)))
    for row, lead in enumerate(LEADS):
        np.testing.assert_array_equal(by_name[lead], twelve[:, row])
