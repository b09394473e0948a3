"""Hearts of a plan: what their pacemakers show."""

import dataclasses

import numpy as np
import pytest

from ecgllm.signals.simulation.criteria import draw_limits
from ecgllm.signals.simulation.heart import Hearts, draw_hearts, labels_of, rendered
from ecgllm.signals.simulation.plan import draw_plan
from ecgllm.signals.simulation.rhythm import USUAL


def paced_hearts(n: int = 512, duration: float = 10.0) -> Hearts:
    plan = draw_plan(np.random.default_rng(0), n, frozenset({"ventricular pacing"}), None)
    return draw_hearts(np.random.default_rng(1), np.random.default_rng(2), plan, duration)


def without_spikes(hearts: Hearts) -> Hearts:
    spike = hearts.spike
    return dataclasses.replace(
        hearts, spike=dataclasses.replace(spike, frontal=0 * spike.frontal, chest=0 * spike.chest)
    )


def test_spikes_are_filtered_away_only_where_qrs_tells_of_the_pacemaker():
    hearts = paced_hearts()
    size = np.linalg.norm(hearts.spike.frontal[:, 0], axis=1)
    wide_paced = np.isnan(hearts.rhythm.p).all(axis=1) & (hearts.qrs > 0.138)
    assert size[~wide_paced].min() > 0.39 and 0.2 < np.mean(size[wide_paced] < 0.1) < 0.4
    ahead = -hearts.spike.centers[:, 0]
    assert ahead.min() > 0.003 and ahead.max() < 0.061 and np.ptp(np.quantile(ahead, [0.1, 0.9])) > 0.03


def test_what_the_samples_hold_of_a_spike_changes_from_beat_to_beat():
    hearts = paced_hearts()
    assert 0.4 < np.mean(hearts.spike_sway > 0) < 0.6
    times = np.arange(5000) / 500
    signal, silent = rendered(hearts, times), rendered(without_spikes(hearts), times)
    spread, alike = [], []
    for row in range(len(hearts.qrs)):
        if hearts.rhythm.paced_p[row]:
            continue
        at = hearts.rhythm.qrs[row] + hearts.spike.centers[row, 0]
        at = at[(at > 0.1) & (at < 9.9) & (hearts.rhythm.kind[row] == USUAL)]
        height = np.interp(at, times, np.abs(signal[row] - silent[row]).max(axis=0))
        (spread if hearts.spike_sway[row] > 0.5 else alike).append(np.std(height) / np.mean(height))
    assert np.median(spread) > 0.15
    assert np.median(alike) < np.median(spread) / 2


def test_paced_qrs_are_broad_waves_or_humps_and_t_is_tall():
    hearts = paced_hearts()
    silent, times = without_spikes(hearts), np.arange(5000) / 500
    signal, humps, tall = rendered(silent, times), [], []
    for row in np.flatnonzero((hearts.qrs > 0.138) & np.isnan(hearts.rhythm.pr).all(axis=1)):
        onset = hearts.rhythm.qrs[row]
        start = int(onset[(onset > 1) & (hearts.rhythm.kind[row] == USUAL)][0] * 500)
        end = start + int(hearts.qrs[row] * 500)
        wave = np.abs(signal[row, :, start:end])
        lead = wave.max(axis=1).argmax()
        wave = wave[lead]
        humps.append(((wave[1:-1] > wave[:-2]) & (wave[1:-1] >= wave[2:])).sum())
        tall.append(np.abs(signal[row, lead, end + 30 : end + 130]).max() / wave.max())
    humps, tall = np.array(humps), np.array(tall)
    assert 0.5 < np.mean(humps == 1) < 0.8
    assert min(np.median(tall[humps == 1]), np.median(tall[humps > 1])) > 0.25
    assert tall.max() < 1.2


@pytest.mark.parametrize("duration", [5.0, 10.0])
def test_atria_that_a_pacemaker_of_the_ventricles_does_not_follow_tell_of_a_block(duration):
    hearts = paced_hearts(duration=duration)
    labels = labels_of(hearts, duration, draw_limits(np.random.default_rng(3), len(hearts.qrs), 0.0))
    block, rhythm = labels.holds["third degree av block"], hearts.rhythm
    tied = ~np.isnan(rhythm.pr).all(axis=1)
    assert 0.15 < block.mean() < 0.3 and not block[tied].any()
    for row in np.flatnonzero(~tied & ~np.isnan(rhythm.p).all(axis=1)):
        p, qrs = (onsets[row][(onsets[row] > 0) & (onsets[row] < duration)] for onsets in (rhythm.p, rhythm.qrs))
        following = qrs[np.minimum(np.searchsorted(qrs, p), len(qrs) - 1)] - p
        assert np.std(following[following > 0]) > 0.03 or len(p) < 4  # nothing ties them
        assert block[row] == (np.diff(p).mean() < 60 / rhythm.rate[row])
        assert np.linalg.norm(hearts.spike.frontal[row, 0]) > 0.39  # else it would be a ventricular rhythm


def test_large_atria_are_called_beside_a_pacemaker_too():
    plan = draw_plan(np.random.default_rng(0), 256, frozenset({"ventricular pacing"}), None)
    plan = dataclasses.replace(plan, left_atrium=np.full(256, "large"))
    hearts = draw_hearts(np.random.default_rng(1), np.random.default_rng(2), plan, 10.0)
    labels = labels_of(hearts, 10.0, draw_limits(np.random.default_rng(3), 256, 0.0))
    own = ~np.isnan(hearts.rhythm.p).all(axis=1) & ~hearts.rhythm.paced_p
    large = labels.holds["left atrial enlargement"]
    assert large[own].mean() > 0.5 and not large[~own].any()
