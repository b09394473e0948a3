"""Augmentations: how prepared ECGs are varied while an encoder is trained.

In: a prepared ECG (`prepared_signals`) and numbers that identify it. Out: the same ECG with leads missing, cut
shorter, louder or softer, sharper or blunter, noisier, on a wandering baseline. Decided here: the variation follows
from (seed, epoch, numbers) alone, so that a run can be repeated and resumed; noise arises at electrodes, so that
Einthoven's and Goldberger's laws stay true; and noise passes through the model's own high-pass, as it would with the
ECG.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import torch

from ...errors_ecgllm import ECGError
from ...processing_ecgllm import ECGFeatureExtractor
from ...signal_ecgllm import LEADS, remove_baseline, resample
from ...signals import iter_ecgs
from ...signals.electrodes import eight_leads, twelve_leads
from ...signals.simulation.noise import draw_low_pass, draw_noise
from ..recipe.parts import SIMULATION, AugmentRecipe

_BANK = 96  # noises to choose from; a random stretch of each, with either sign
_BANK_SECONDS = 20.0
_LEAST_SECONDS = 2.0  # of a noise record


class Augmenter:
    """Called with a prepared ECG, varies it as a recipe says.

    Raises: RecipeError as `AugmentRecipe.check_scaling`; ECGError for a folder of noise without a usable record;
        ECGReadError where there is no such folder.
    """

    def __init__(self, recipe: AugmentRecipe, feature_extractor: ECGFeatureExtractor, seed: int = 0):
        recipe.check_scaling(feature_extractor.scaling)
        self.recipe, self.feature_extractor, self.seed = recipe, feature_extractor, seed
        # Shared memory, so that persistent workers learn of the next epoch.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()
        self._noise = self._wander = None
        rng = np.random.default_rng([seed, 11])
        if recipe.noise:
            self._noise = self._as_prepared(self._noise_bank(rng) * np.float32(recipe.noise_level))
        if recipe.baseline:
            self._wander = self._as_prepared(_wander(rng, self._times()) * np.float32(recipe.baseline))

    def identity(self) -> bytes:
        """What the copies depend on: the seed, the recipe and the noise itself, since the files of a folder may
        change."""
        settings = json.dumps([self.seed, self.recipe.model_dump()]).encode()
        return settings if self._noise is None else settings + hashlib.sha256(self._noise.tobytes()).digest()

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """From here on, the same ECG is varied in another way."""
        self._epoch.fill_(epoch)

    def __call__(self, ecg: dict[str, Any], *key: int) -> dict[str, Any]:
        """A varied copy of a prepared ECG {"ecg_values" float32 [leads, samples], "lead_mask", "preprocessing_id"}.

        key: numbers that identify the ECG in an epoch. Returns: the copy; "noise_added" says whether it holds more
        noise than the record had.
        """
        recipe, rng = self.recipe, np.random.default_rng([self.seed, int(self._epoch), *key, 13])
        # All numbers are drawn whatever the recipe, so that one setting does not change the effect of another.
        chances, gain, cut = rng.random(len(ecg["lead_mask"])), rng.uniform(-1, 1), rng.random(2)
        with_noise = bool(rng.random() < recipe.noise)
        mask, values = ecg["lead_mask"], np.array(ecg["ecg_values"])
        if recipe.crop:
            samples = values.shape[1]
            gone = int(cut[0] * recipe.crop * samples)
            start = int(cut[1] * (gone + 1))
            values = values[:, start : start + samples - gone].copy()
        values = self._as_recorded_elsewhere(values, np.random.default_rng([self.seed, int(self._epoch), *key, 17]))
        if recipe.amplitude:
            values *= np.float32((1 + recipe.amplitude) ** gain)
        if with_noise:
            values += self._stretch(self._noise, rng, values.shape[1])
        if self._wander is not None:
            values += self._stretch(self._wander, rng, values.shape[1]) * np.float32(rng.random())
        if recipe.lead_dropout:
            kept = chances >= recipe.lead_dropout
            if not (mask & kept).any():
                kept[np.flatnonzero(mask)[np.argmax(chances[mask])]] = True
            mask = mask & kept
        values *= mask[:, None]
        return {**ecg, "ecg_values": values, "lead_mask": mask, "noise_added": with_noise}

    def _as_recorded_elsewhere(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The ECG as another device would record it, with other filters and slightly moved electrodes [leads,
        samples].

        Filters are the same in all leads and limb leads keep their proportions: Einthoven's law stays true.
        """
        from scipy.ndimage import gaussian_filter1d, uniform_filter1d

        recipe, rate = self.recipe, self.feature_extractor.sampling_rate
        deviation_s, change, window_s, share = (
            rng.uniform(0.003, 0.015),
            rng.uniform(-1, 1),
            *rng.uniform((1, 0), (2.2, 1)),
        )
        gains, slower = rng.normal(size=7), rng.random() < 0.5
        if recipe.sharpness:
            blunt = gaussian_filter1d(values, deviation_s * rate, axis=1)
            values = values + np.float32(change * recipe.sharpness) * (values - blunt)
        if recipe.slow_share and slower:
            size = round(window_s * rate)
            slow = uniform_filter1d(
                uniform_filter1d(values, size, axis=1, mode="nearest"), size, axis=1, mode="nearest"
            )
            values = values - np.float32(share * recipe.slow_share) * slow
        if recipe.placement:
            factor = np.exp(recipe.placement * gains).astype(np.float32)
            row = [int(lead[1:]) if lead in LEADS[6:] else 0 for lead in self.feature_extractor.leads]
            values = values * factor[row][:, None]
        return values

    def _stretch(self, bank: np.ndarray, rng: np.random.Generator, samples: int) -> np.ndarray:
        """A random stretch of one signal of a bank [leads, samples]; beyond the signal's ends it is reflected."""
        position = _to_and_fro(int(rng.integers(2 * bank.shape[2])), samples, bank.shape[2])
        return bank[rng.integers(len(bank))][:, position] * np.float32(rng.choice((-1, 1)))

    def _times(self) -> np.ndarray:
        rate = self.feature_extractor.sampling_rate
        return np.arange(round(_BANK_SECONDS * rate)) / rate

    def _noise_bank(self, rng: np.random.Generator) -> np.ndarray:
        times = self._times()
        if self.recipe.noise_source == SIMULATION:
            return twelve_leads(draw_noise(rng, _BANK, times, 1.0, None, draw_low_pass(rng, _BANK))[0])
        traces = _noise_traces(self.recipe.noise_source, self.feature_extractor.sampling_rate)
        electrodes = np.empty((_BANK, 9, len(times)), dtype=np.float32)
        for record in electrodes:
            # Channels of one recording, so that the noise of electrodes is correlated as it was there.
            channels = traces[rng.integers(len(traces))]
            start = int(rng.integers(channels.shape[1]))
            for electrode in record:
                shift = int(rng.integers(channels.shape[1]))
                position = _to_and_fro(start + shift, len(times), channels.shape[1])
                electrode[:] = channels[rng.integers(len(channels)), position]
            record *= _shares(rng)
        return twelve_leads(eight_leads(electrodes))

    def _as_prepared(self, twelve: np.ndarray) -> np.ndarray:
        """A bank in mV [signals, 12, samples] as the feature extractor would give it."""
        extractor = self.feature_extractor
        if extractor.baseline == "highpass":
            twelve = remove_baseline(twelve, extractor.sampling_rate, extractor.baseline_cutoff)
        return twelve[:, [LEADS.index(lead) for lead in extractor.leads]] * np.float32(extractor.millivolt_factor)


def _to_and_fro(start: int, count: int, length: int) -> np.ndarray:
    """`count` positions in a signal of `length` samples, reflected at its ends, so that there are no jumps."""
    position = (start + np.arange(count)) % (2 * length)
    return np.minimum(position, 2 * length - 1 - position)


def _noise_traces(folder: str, rate: float) -> list[np.ndarray]:
    """Channels of every record of noise [channels, samples] in mV at a rate, their medians taken off."""
    tree = iter_ecgs(folder, workers=1, progress=False)
    traces = []
    for record in tree:
        signal = np.nan_to_num(record.signal)
        if record.duration >= _LEAST_SECONDS:
            traces.append(resample(signal - np.median(signal, axis=1, keepdims=True), record.sampling_rate, rate))
    if not traces:
        raise ECGError(f"noise_source {folder} holds no record of {_LEAST_SECONDS:g} s or more.\n{tree}")
    return traces


def _shares(rng: np.random.Generator) -> np.ndarray:
    """The noise level of each of the nine electrodes [9, 1]: of all to some degree, or of a few alone."""
    some = np.ones(9) if rng.random() < 0.5 else (rng.random(9) < 0.2).astype(float)
    some[rng.integers(9)] += 1.0
    return (some * rng.lognormal(0, 0.4, 9))[:, None].astype(np.float32)


def _wander(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Baseline wander of nine electrodes in the twelve leads: respiration and slower movement. Each electrode's
    largest excursion is 1."""
    waves = np.zeros((_BANK, 9, len(times)), dtype=np.float32)
    for low, high in ((0.12, 0.7), (0.12, 0.7), (0.02, 0.12), (0.02, 0.12)):  # Hz
        phase = rng.uniform(low, high, (_BANK, 9, 1)) * times + rng.random((_BANK, 9, 1))
        waves += (rng.random((_BANK, 9, 1)) * np.sin(2 * np.pi * phase)).astype(np.float32)
    return twelve_leads(eight_leads(waves / np.maximum(np.abs(waves).max(axis=2, keepdims=True), 1e-6)))
