"""ECGs to model input: the signal path of a checkpoint (`ECGFeatureExtractor`).

In: ECGs (leads x samples in mV) with their sampling rates and lead names. Out: `ecg_values` zero padded at the end,
with `lead_mask` and `ecg_lengths`. Every decision about what a model sees of a signal lives here, because a checkpoint
must carry it (`preprocessor_config.json`). Input that does not fit raises `ECGInputError`; nothing is repaired without
being asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin

from .configuration_base_ecgllm import preprocessing_fingerprint
from .ecg_input_ecgllm import (
    FLAT_AMPLITUDE,
    check_choice,
    check_millivolt,
    handle_non_finite,
    is_list,
    order_leads,
    unpack,
)
from .filters_ecgllm import apply_filters, checked_filters
from .heart_ecgllm import NO_HEART, find_heart
from .saving_ecgllm import PushedWithOwnCard, copy_code
from .signal_ecgllm import (
    LEADS,
    ECGInputError,
    complete_limb_leads,
    remove_baseline,
    resample,
)

_BASELINES = ("highpass", "none")
_SCALINGS = ("millivolt", "zscore", "minmax", "record_zscore", "record_minmax")
_NAN_POLICIES = ("raise", "interpolate", "drop_lead")


class ECGFeatureExtractor(PushedWithOwnCard, FeatureExtractionMixin):
    """Turn ECGs into model input; the signal path of a checkpoint, saved with it in `preprocessor_config.json`.

    Each ECG by itself: order leads by name -> samples that are not finite -> resample (each lead's median taken off
    before and put back after) -> remove baseline wander -> filter -> check amplitudes -> derive missing limb leads ->
    scale (-> resample once more, where filter_rate is set); then pad to the longest.

    Args:
        sampling_rate: rate of the output in Hz.
        leads: standard lead names, the rows of the output; a lead neither given nor derivable is zeros.
        min_duration, max_duration: accepted durations in s.
        baseline: "highpass" (`remove_baseline` at `baseline_cutoff` Hz) or "none".
        scaling: "millivolt" (mV * `millivolt_factor`; amplitudes keep their meaning), "zscore" (each lead to mean 0,
            deviation 1) or "minmax" (each lead to [-1, 1]); a flat lead becomes zeros under these two. With
            "record_zscore" (mean 0, deviation 1) and "record_minmax" ([0, 1]) the leads that are there have one scale
            together, as other groups' encoders want it.
        filters: for encoders that were trained behind filters, a list of them (`filters_ecgllm.checked_filters`).
        filter_rate: rate in Hz at which baseline, filters and scaling work, where it is not sampling_rate.
        nan_policy: what to do with samples that are not finite: "raise", "interpolate" (linear within the lead, ends
            held; refused when fewer than half of a lead's samples are finite) or "drop_lead" (the lead is missing).
    Raises: ECGInputError for a setting outside these; TypeError for an unknown one.
    """

    model_input_names = ["ecg_values", "lead_mask", "ecg_lengths"]

    def __init__(
        self,
        sampling_rate: float = 100,
        leads: Sequence[str] = LEADS,
        min_duration: float = 1.0,
        max_duration: float = 120.0,
        baseline: str = "highpass",
        baseline_cutoff: float = 0.5,
        scaling: str = "millivolt",
        millivolt_factor: float = 1.0,
        nan_policy: str = "raise",
        filters: Sequence[Mapping[str, Any]] | None = None,
        filter_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        # The base class would store any keyword; a setting mistyped, or saved by a newer version, must not be lost.
        own = ("feature_extractor_type", "processor_class", "auto_map", "transformers_version")
        unknown = [key for key in kwargs if key not in own and not key.startswith("_")]
        if unknown:
            raise TypeError(
                f"ECGFeatureExtractor got unknown settings {unknown}; check the spelling, or update ecgllm"
            )
        super().__init__(**kwargs)
        self.sampling_rate = sampling_rate
        self.leads = [leads] if isinstance(leads, str) else list(leads)
        self.min_duration = min_duration
        self.max_duration = max_duration
        self.baseline = baseline
        self.baseline_cutoff = baseline_cutoff
        self.scaling = scaling
        self.millivolt_factor = millivolt_factor
        self.nan_policy = nan_policy
        self.filters = filters
        self.filter_rate = filter_rate
        self._validate()
        if filters is not None:
            self.filters = checked_filters(filters, self._working_rate)

    def _validate(self) -> None:
        check_choice("baseline", self.baseline, _BASELINES)
        check_choice("scaling", self.scaling, _SCALINGS)
        check_choice("nan_policy", self.nan_policy, _NAN_POLICIES)
        numbers = ["sampling_rate", "min_duration", "max_duration", "baseline_cutoff", "millivolt_factor"]
        for name in numbers + ["filter_rate"] * (self.filter_rate is not None):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not math.isfinite(value)
                or value <= 0
            ):
                raise ECGInputError(f"{name} is {value!r}; expected a positive finite number")
        if not self.leads or any(lead not in LEADS for lead in self.leads) or len(set(self.leads)) < len(self.leads):
            raise ECGInputError(
                f"leads are {self.leads}; expected one or more different names out of {', '.join(LEADS)}"
            )
        if self.min_duration * self.sampling_rate < 3:
            raise ECGInputError(
                f"min_duration {self.min_duration} s holds fewer than 3 samples at {self.sampling_rate} Hz; expected "
                "more"
            )
        if self.max_duration < self.min_duration:
            raise ECGInputError(f"max_duration {self.max_duration} s is below min_duration {self.min_duration} s")
        if self.baseline_cutoff >= self.sampling_rate / 2:
            raise ECGInputError(
                f"baseline_cutoff is {self.baseline_cutoff} Hz; expected less than half of sampling_rate, "
                f"{self.sampling_rate / 2} Hz. Diagnostic ECGs take 0.67 Hz or less"
            )

    @property
    def _working_rate(self) -> float:
        return self.sampling_rate if self.filter_rate is None else self.filter_rate

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The settings that define the model input of an ECG without missing samples; settings without effect are
        None."""
        others = {"filters": self.filters or None, "filter_rate": self.filter_rate}
        return {
            "version": 1,  # raised whenever the code of this file changes what a model sees
            "sampling_rate": float(self.sampling_rate),
            "leads": list(self.leads),
            "resampling": "polyphase-kaiser5",
            "baseline": self.baseline,
            "baseline_cutoff": float(self.baseline_cutoff) if self.baseline == "highpass" else None,
            "scaling": self.scaling,
            "millivolt_factor": float(self.millivolt_factor) if self.scaling == "millivolt" else None,
            # Only where they are set: the signal paths of checkpoints from before are known by their other fields.
            **{name: value for name, value in others.items() if value is not None},
        }

    @property
    def preprocessing_id(self) -> int:
        """CRC-32 of `preprocessing` as canonical JSON: equal ids mean equal signal paths."""
        return preprocessing_fingerprint(self.preprocessing)

    def __call__(
        self,
        ecgs: Any,
        sampling_rate: float | None = None,
        leads: Sequence[str] | None = None,
        return_tensors: str | None = "pt",
        **settings: Any,
    ) -> BatchFeature:
        """Turn one ECG or a list of ECGs into padded model input.

        Args:
            ecgs: an ECG or a flat list of them. An ECG is a mapping or an object with `signal` [leads, samples] in mV,
                `sampling_rate` in Hz and `leads`; or a 2-D array, with the next two arguments; or the path of a file;
                or what this method made before (a mapping with `ecg_values` [leads, samples], `lead_mask` [leads] and
                `preprocessing_id`), which is padded but not prepared again.
            sampling_rate, leads: of ECGs that do not carry their own.
            return_tensors: "pt", or "np" (also None) for NumPy arrays.
            settings: nan_policy, drop_unknown_leads, require_heart; see `prepare`.
        Returns: `ecg_values` float32 [ecgs, leads, samples] zero padded at the end, `lead_mask` bool [ecgs, leads]
            (True: given or derived), `ecg_lengths` int64 [ecgs] in samples.
        Raises: ECGInputError naming the ECG, what was found, what was expected and the way out.
        """
        check_choice("return_tensors", return_tensors, ("pt", "np", None))
        batch = self.prepare(ecgs, sampling_rate, leads, **settings)
        if not batch:
            raise ECGInputError("the list of ECGs is empty; expected at least one")
        lengths = np.array([ecg["ecg_values"].shape[-1] for ecg in batch], dtype=np.int64)
        padded = np.zeros((len(batch), len(self.leads), int(lengths.max())), dtype=np.float32)
        for row, ecg in zip(padded, batch, strict=True):
            row[:, : ecg["ecg_values"].shape[-1]] = ecg["ecg_values"]
        masks = np.stack([ecg["lead_mask"] for ecg in batch])
        return BatchFeature({"ecg_values": padded, "lead_mask": masks, "ecg_lengths": lengths}, return_tensors or "np")

    def prepare(
        self,
        ecgs: Any,
        sampling_rate: float | None = None,
        leads: Sequence[str] | None = None,
        nan_policy: str | None = None,
        drop_unknown_leads: bool = False,
        require_heart: bool = False,
    ) -> list[dict[str, Any]]:
        """ECGs as the model sees them, each of its own length. `__call__` also pads them.

        Args:
            ecgs, sampling_rate, leads: as in a call. nan_policy: overrides the setting for this call.
            drop_unknown_leads: leave out leads other than the twelve standard ones (X, V4R) instead of refusing.
            require_heart: refuse an ECG in which no heart beats (`find_heart`): a flat signal or noise alone, but also
                asystole and ventricular fibrillation. Set when questions are answered, not in training or in
                comparisons with noise.
        Returns: for each ECG a mapping that can be stored, and that `__call__` takes again: `ecg_values` float32
            [leads, samples], `lead_mask` bool [leads], `preprocessing_id`. ECGs that were prepared before are returned
            as they are.
        Raises: ECGInputError naming the ECG, what was found, what was expected and the way out.
        """
        policy = self.nan_policy if nan_policy is None else check_choice("nan_policy", nan_policy, _NAN_POLICIES)
        prepared, own = [], self.preprocessing_id
        for index, ecg in enumerate(ecgs if is_list(ecgs) else [ecgs]):
            try:
                if isinstance(ecg, Mapping) and "ecg_values" in ecg:
                    value, mask = self._prepared(ecg)
                    if require_heart:
                        factor = self.millivolt_factor if self.scaling == "millivolt" else 1.0
                        _require_heart(value[mask] / factor, self.sampling_rate)
                else:
                    signal, rate, names = unpack(ecg, sampling_rate, leads)
                    value, mask = self._extract(signal, rate, names, policy, drop_unknown_leads, require_heart)
            except ECGInputError as error:
                name = os.fspath(ecg) if isinstance(ecg, (str, os.PathLike)) else f"ecgs[{index}]"
                raise ECGInputError(f"{name}: {error}") from error
            prepared.append({"ecg_values": value, "lead_mask": mask, "preprocessing_id": own})
        return prepared

    def _prepared(self, ecg: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Values and lead mask of an ECG that was prepared before, in the same way."""
        if ecg.get("preprocessing_id") != self.preprocessing_id:
            raise ECGInputError(
                f"the ECG was prepared before with preprocessing_id {ecg.get('preprocessing_id')}; expected "
                f"{self.preprocessing_id}, this feature extractor's. Prepare it again from its signal"
            )
        values, mask = np.asarray(ecg["ecg_values"], dtype=np.float32), np.asarray(ecg["lead_mask"], dtype=bool)
        if (
            values.ndim != 2
            or values.shape[0] != len(self.leads)
            or not values.shape[1]
            or mask.shape != (len(self.leads),)
        ):
            raise ECGInputError(
                f"ecg_values {values.shape} and lead_mask {mask.shape} of an ECG that was prepared before; expected "
                f"[{len(self.leads)}, samples], not empty, and [{len(self.leads)}]"
            )
        return values, mask

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Save the settings, complete as remote code. Arguments as in transformers."""
        self.auto_map = {"AutoFeatureExtractor": f"feature_extraction_ecgllm.{type(self).__name__}"}
        files = [str(file) for file in super().save_pretrained(str(save_directory))]
        copy_code(save_directory, "feature_extraction_ecgllm")
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return files

    def _extract(
        self,
        signal: np.ndarray,
        rate: float,
        names: Sequence[str],
        nan_policy: str,
        drop_unknown_leads: bool,
        require_heart: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One ECG -> values float32 [leads, samples] and lead mask bool [leads]."""
        signal, names = order_leads(signal, names, drop_unknown_leads)
        duration = signal.shape[-1] / rate
        if duration < self.min_duration:
            raise ECGInputError(
                f"the ECG lasts {duration:.3g} s ({signal.shape[-1]} samples at {rate:g} Hz); expected at least "
                f"{self.min_duration:g} s. Check the sampling rate, or lower min_duration if the model was trained "
                "on such short ECGs"
            )
        if duration > self.max_duration:
            raise ECGInputError(
                f"the ECG lasts {duration:.6g} s ({signal.shape[-1]} samples at {rate:g} Hz); expected at most "
                f"{self.max_duration:g} s. Cut a segment of interest, or raise max_duration (memory grows with it)"
            )
        signal, names = handle_non_finite(signal, names, nan_policy)
        median = np.median(signal, axis=-1, keepdims=True)
        signal = resample(signal - median, rate, self._working_rate)
        if self.baseline == "highpass":  # which takes the median off for good
            signal = remove_baseline(signal, self._working_rate, self.baseline_cutoff)
        else:
            signal = signal + median
        if self.filters:
            signal = apply_filters(signal, self._working_rate, self.filters)
        check_millivolt(signal)
        if require_heart:  # once the unit is known to be right
            _require_heart(signal, self._working_rate)
        by_name = complete_limb_leads(dict(zip(names, signal, strict=True)))
        mask = np.array([lead in by_name for lead in self.leads])
        if not mask.any():
            raise ECGInputError(
                f"of the model's leads {self.leads} the ECG has none, it has {names}; expected one at least"
            )
        values = np.zeros((len(self.leads), signal.shape[-1]), dtype=np.float32)
        values[mask] = [by_name[lead] for lead in self.leads if lead in by_name]
        values[mask] = self._scale(values[mask])
        if self._working_rate != self.sampling_rate:
            median = np.median(values, axis=-1, keepdims=True)
            values = resample(values - median, self._working_rate, self.sampling_rate) + median
        return values, mask

    def _scale(self, values: np.ndarray) -> np.ndarray:
        """Scale the leads that are there, mV [leads, samples]."""
        if self.scaling == "millivolt":
            return values * np.float32(self.millivolt_factor)
        axis = None if self.scaling.startswith("record_") else -1
        low, high = values.min(axis=axis, keepdims=True), values.max(axis=axis, keepdims=True)
        flat = high - low <= FLAT_AMPLITUDE
        if self.scaling.endswith("minmax"):
            scaled = (values - low) / np.where(flat, 1, high - low)
            scaled = 2 * scaled - 1 if self.scaling == "minmax" else scaled
        else:
            mean, deviation = (of(values, axis=axis, keepdims=True) for of in (np.mean, np.std))
            scaled = (values - mean) / np.where(flat, 1, deviation)
        return np.where(flat, 0, scaled).astype(np.float32)


def _require_heart(signal: np.ndarray, rate: float) -> None:
    heart = find_heart(signal, rate)
    if not heart.found:
        raise ECGInputError(
            f"{NO_HEART.format(found=heart.missing)}. Pass require_heart=False to give it to the model in any case"
        )


__all__ = ["LEADS", "ECGFeatureExtractor", "ECGInputError"]
