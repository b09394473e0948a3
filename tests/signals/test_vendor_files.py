"""Real recorders' files, read as independent readers do, or refused by name."""

import numpy as np
import pytest

from ecgllm.signal_ecgllm import LEADS
from ecgllm.signals import read_ecg

pytest.importorskip("ecgdatakit")

# Of what sierraecg 0.4.0 reads in steps of 5 microvolt: the sum of each lead, and of each lead weighted by sample
# number modulo 1009, which no shifted or exchanged sample leaves alone.
PHILIPS = {
    "philips-repbeats.xml": [
        (20815, 6890110),
        (21762, 5634007),
        (21953, 6354382),
        (20324, 8714580),
        (18160, 6746142),
        (20223, 5170745),
        (20708, 6927907),
        (22348, 7762622),
        (22033, 7731523),
        (21864, 7716151),
        (21472, 7716315),
        (21359, 7834027),
    ],
    "philips-xli-103-129DYPRG.xml": [
        (20815, 6890110),
        (21762, 5634007),
        (21953, 6354382),
        (20324, 8714580),
        (18160, 6746142),
        (20223, 5170745),
        (20708, 6927907),
        (22348, 7762622),
        (22033, 7731523),
        (21864, 7716151),
        (21472, 7716315),
        (21359, 7834027),
    ],
    "philips-xli-104-demo.xml": [
        (11652, 2295791),
        (-116199, -60461924),
        (-107851, -55667715),
        (93587, 43897611),
        (78482, 35453795),
        (-114801, -59434046),
        (22116, 10839067),
        (20080, 10468247),
        (67419, 33964211),
        (-54376, -29829447),
        (39974, 15749175),
        (36949, 12685083),
    ],
}


@pytest.mark.parametrize("name", PHILIPS)
def test_philips_files_are_read_as_sierraecg_reads_them(shared_vendor, name):
    ecg = read_ecg(shared_vendor / name)
    assert (ecg.leads, ecg.sampling_rate, ecg.n_samples) == (LEADS, 500, 5500)
    counts = np.round(ecg.signal.astype(float) / 0.005).astype(int)
    np.testing.assert_allclose(ecg.signal, counts * 0.005, atol=1e-6)
    weights = np.arange(5500) % 1009
    assert [(int(row.sum()), int((row * weights).sum())) for row in counts] == PHILIPS[name]
    assert any("4 stored channels beyond the 12 named leads were left out" in note for note in ecg.notes)
