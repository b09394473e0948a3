"""ECGs and text to model input: the signal path (`ECGFeatureExtractor`) and the prompts (`ECGProcessor`).

In: ECGs (leads x samples in mV) with their sampling rates and lead names, and texts or conversations. Out:
`ecg_values` zero padded at the end, with `lead_mask` and `ecg_lengths`, and token ids with one placeholder per ECG
token. Every decision about what a model sees of a signal lives here, because a checkpoint must carry it
(`preprocessor_config.json`). Input that does not fit raises `ECGInputError`; nothing is repaired unasked.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AddedToken, AutoTokenizer, BatchFeature, FeatureExtractionMixin
from transformers.configuration_utils import PreTrainedConfig
from transformers.processing_utils import ProcessorMixin
from transformers.utils.chat_template_utils import _get_template_variables, render_jinja_template

from .configuration_ecgllm import ECG_TOKEN, count_tokens, describe_difference, preprocessing_fingerprint
from .errors_ecgllm import ECGError
from .heart_ecgllm import NO_HEART, find_heart
from .signal_ecgllm import (
    LEADS,
    ECGInputError,
    complete_limb_leads,
    positive_rate,
    remove_baseline,
    resample,
    standard_lead_name,
)
from .words_ecgllm import TrainedWords, translated

# Robust peak-to-peak amplitudes of the median lead in LUDB, PTB-XL, CinC 2021 and CODE-15 % (631 records) lie between
# 0.4 and 34 mV, the latter a saturated recording; in microvolt the same records start at 400. Recorder noise alone
# exceeds 0.01 mV.
_MAX_MEDIAN_AMPLITUDE = 50.0
_MIN_LARGEST_AMPLITUDE = 0.01
_FLAT_AMPLITUDE = 1e-6

_BASELINES = ("highpass", "none")
_SCALINGS = ("millivolt", "zscore", "minmax")
_NAN_POLICIES = ("raise", "interpolate", "drop_lead")


class ECGFeatureExtractor(FeatureExtractionMixin):
    """Turn ECGs into model input; the signal path of a checkpoint, saved with it in `preprocessor_config.json`.

    Every ECG alone: order leads by name -> samples that are not finite -> resample (each lead's median taken off
    before and put back after) -> remove drift -> check amplitudes -> derive missing limb leads -> scale; then pad to
    the longest.

    Args:
        sampling_rate: rate of the output in Hz.
        leads: standard lead names, the rows of the output; a lead neither given nor derivable is zeros.
        min_duration, max_duration: accepted durations in s.
        baseline: "highpass" (`remove_baseline` at `baseline_cutoff` Hz) or "none".
        scaling: "millivolt" (mV * `millivolt_factor`; keeps what amplitude means), "zscore" (each lead to mean 0,
            deviation 1) or "minmax" (each lead to [-1, 1]); a flat lead becomes zeros under the last two.
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
        self._validate()

    def _validate(self) -> None:
        _check_choice("baseline", self.baseline, _BASELINES)
        _check_choice("scaling", self.scaling, _SCALINGS)
        _check_choice("nan_policy", self.nan_policy, _NAN_POLICIES)
        for name in ("sampling_rate", "min_duration", "max_duration", "baseline_cutoff", "millivolt_factor"):
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
    def preprocessing(self) -> dict[str, Any]:
        """What defines the values that a finite ECG becomes; settings without effect are None."""
        return {
            "version": 1,  # raised whenever the code of this file changes what a model sees
            "sampling_rate": float(self.sampling_rate),
            "leads": list(self.leads),
            "resampling": "polyphase-kaiser5",
            "baseline": self.baseline,
            "baseline_cutoff": float(self.baseline_cutoff) if self.baseline == "highpass" else None,
            "scaling": self.scaling,
            "millivolt_factor": float(self.millivolt_factor) if self.scaling == "millivolt" else None,
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
        nan_policy: str | None = None,
        drop_unknown_leads: bool = False,
        require_heart: bool = False,
    ) -> BatchFeature:
        """Turn one ECG or a list of ECGs into padded model input.

        Args:
            ecgs: an ECG or a flat list of them. An ECG is a mapping or an object with `signal` [leads, samples] in mV,
                `sampling_rate` in Hz and `leads`; or a 2-D array, with the next two arguments; or the path of a file;
                or what this method made before (a mapping with `ecg_values` [leads, samples], `lead_mask` [leads] and
                `preprocessing_id`), which is padded but not prepared again.
            sampling_rate, leads: of ECGs that do not carry their own.
            return_tensors: "pt", or "np" (also None) for NumPy arrays.
            nan_policy: overrides the setting for this call.
            drop_unknown_leads: leave out leads other than the twelve standard ones (X, V4R) instead of refusing.
            require_heart: refuse an ECG in which no heart beats (`find_heart`): flat, noise alone, but asystole and
                ventricular fibrillation, too. Whoever answers a question about one asks for it; whoever trains or
                compares with noise does not.
        Returns: `ecg_values` float32 [ecgs, leads, samples] zero padded at the end, `lead_mask` bool [ecgs, leads]
            (True: given or derived), `ecg_lengths` int64 [ecgs] in samples.
        Raises: ECGInputError naming the ECG, what was found, what was expected and the way out.
        """
        _check_choice("return_tensors", return_tensors, ("pt", "np", None))
        policy = self.nan_policy if nan_policy is None else _check_choice("nan_policy", nan_policy, _NAN_POLICIES)
        batch = list(ecgs) if _is_list(ecgs) else [ecgs]
        if not batch:
            raise ECGInputError("the list of ECGs is empty; expected at least one")
        values, masks = [], []
        for index, ecg in enumerate(batch):
            try:
                if isinstance(ecg, Mapping) and "ecg_values" in ecg:
                    value, mask = self._prepared(ecg)
                    if require_heart:
                        factor = self.millivolt_factor if self.scaling == "millivolt" else 1.0
                        _require_heart(value[mask] / factor, self.sampling_rate)
                else:
                    signal, rate, names = _unpack(ecg, sampling_rate, leads)
                    value, mask = self._extract(signal, rate, names, policy, drop_unknown_leads, require_heart)
            except ECGInputError as error:
                name = os.fspath(ecg) if isinstance(ecg, (str, os.PathLike)) else f"ecgs[{index}]"
                raise ECGInputError(f"{name}: {error}") from error
            values.append(value)
            masks.append(mask)
        lengths = np.array([value.shape[-1] for value in values], dtype=np.int64)
        padded = np.zeros((len(values), len(self.leads), int(lengths.max())), dtype=np.float32)
        for row, value in zip(padded, values, strict=True):
            row[:, : value.shape[-1]] = value
        data = {"ecg_values": padded, "lead_mask": np.stack(masks), "ecg_lengths": lengths}
        if return_tensors == "pt":
            data = {name: torch.from_numpy(array) for name, array in data.items()}
        return BatchFeature(data)

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
        self.auto_map = {"AutoFeatureExtractor": f"processing_ecgllm.{type(self).__name__}"}
        files = [str(file) for file in super().save_pretrained(str(save_directory))]
        _copy_code(Path(save_directory))
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
        signal, names = _order_leads(signal, names, drop_unknown_leads)
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
        signal, names = _handle_non_finite(signal, names, nan_policy)
        median = np.median(signal, axis=-1, keepdims=True)
        signal = resample(signal - median, rate, self.sampling_rate)
        if self.baseline == "highpass":  # which takes the median off for good
            signal = remove_baseline(signal, self.sampling_rate, self.baseline_cutoff)
        else:
            signal = signal + median
        _check_millivolt(signal)
        if require_heart:  # once the unit is known to be right
            _require_heart(signal, self.sampling_rate)
        by_name = complete_limb_leads(dict(zip(names, signal, strict=True)))
        mask = np.array([lead in by_name for lead in self.leads])
        if not mask.any():
            raise ECGInputError(
                f"of the model's leads {self.leads} the ECG has none, it has {names}; expected one at least"
            )
        values = np.zeros((len(self.leads), signal.shape[-1]), dtype=np.float32)
        values[mask] = [by_name[lead] for lead in self.leads if lead in by_name]
        return self._scale(values), mask

    def _scale(self, values: np.ndarray) -> np.ndarray:
        """Scale mV [leads, samples]; rows of zeros (missing leads) stay zeros."""
        if self.scaling == "millivolt":
            return values * np.float32(self.millivolt_factor)
        low, high = values.min(axis=-1, keepdims=True), values.max(axis=-1, keepdims=True)
        flat = high - low <= _FLAT_AMPLITUDE
        if self.scaling == "minmax":
            scaled = 2 * (values - low) / np.where(flat, 1, high - low) - 1
        else:
            scaled = (values - values.mean(axis=-1, keepdims=True)) / np.where(
                flat, 1, values.std(axis=-1, keepdims=True)
            )
        return np.where(flat, 0, scaled).astype(np.float32)


def _is_list(value: Any) -> bool:
    """Whether a value is several ECGs: a list, a tuple, or a column of a `datasets.Dataset`."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


_CODE_FILES = (
    "configuration_ecgllm.py",
    "errors_ecgllm.py",
    "heart_ecgllm.py",
    "processing_ecgllm.py",
    "signal_ecgllm.py",
    "words_ecgllm.py",
)


def _copy_code(folder: Path) -> None:
    """Copy the files that a saved processor needs as remote code."""
    for name in _CODE_FILES:
        source = Path(__file__).resolve().parent / name
        if source != (folder / name).resolve():
            shutil.copyfile(source, folder / name)


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ECGInputError(f"{name} is {value!r}; expected one of {', '.join(repr(choice) for choice in choices)}")
    return value


def _unpack(ecg: Any, sampling_rate: float | None, leads: Sequence[str] | None) -> tuple[np.ndarray, float, list[str]]:
    """Signal float32 [leads, samples], rate and lead names as given, of one ECG in any accepted form."""
    if isinstance(ecg, (str, os.PathLike)):
        ecg = _read(ecg)
    if isinstance(ecg, Mapping):
        signal, own_rate, own_leads = (ecg.get(key) for key in ("signal", "sampling_rate", "leads"))
    elif hasattr(ecg, "signal"):
        signal, own_rate, own_leads = (getattr(ecg, key, None) for key in ("signal", "sampling_rate", "leads"))
    else:
        signal, own_rate, own_leads = ecg, None, None
    if isinstance(ecg, Mapping) and str(ecg.get("unit", "mV")).lower() not in ("mv", "millivolt", "millivolts"):
        raise ECGInputError(
            f"the ECG's unit is {ecg['unit']!r}; expected mV. Convert the signal, then leave the unit out"
        )
    if isinstance(signal, torch.Tensor):
        signal = signal.detach().cpu().numpy()
    elif isinstance(signal, list):  # what JSON gives
        try:
            signal = np.asarray(signal, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ECGInputError(
                "the signal's lists are no numbers in rows of one length; expected [leads, samples] in mV"
            ) from error
    if not isinstance(signal, np.ndarray) or signal.dtype.kind not in "fiu":
        found = f"an array of {signal.dtype}" if isinstance(signal, np.ndarray) else type(signal).__name__
        raise ECGInputError(
            f"the ECG's signal is {found}; expected a real-valued array [leads, samples] in mV, a mapping or object "
            "with signal, sampling_rate and leads, or the path of a file"
        )
    if signal.ndim != 2 or 0 in signal.shape:
        raise ECGInputError(
            f"the signal has shape {signal.shape}; expected [leads, samples], neither empty. Give several ECGs as a "
            "list, and a single lead as signal[None]"
        )
    rate = _own_or_given("sampling_rate", own_rate, sampling_rate)
    names = _own_or_given("leads", _as_names(own_leads), _as_names(leads))
    if names is None:
        raise ECGInputError(
            f"the signal of shape {signal.shape} comes without lead names; expected one for each row. Pass "
            "leads=[...] in the order of the rows: the order differs between sources and cannot be guessed"
        )
    if len(names) != len(signal):
        transposed = len(names) == signal.shape[1]
        raise ECGInputError(
            f"the signal has {signal.shape[0]} rows for {len(names)} lead names; expected [leads, samples]. "
            + ("It looks transposed: pass signal.T" if transposed else "Name every row once, in the order of the rows")
        )
    return signal.astype(np.float32, copy=False), positive_rate(rate), names


def _read(path: str | os.PathLike[str]) -> Any:
    # By name: the readers do not travel with a checkpoint, where a written import of them would fail.
    try:
        signals = importlib.import_module("ecgllm.signals")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"cannot read {os.fspath(path)}: files are read by the ecgllm package, which is not installed completely "
            f"({error}). Install ecgllm, or pass a mapping with signal [leads, samples] in mV, sampling_rate and leads"
        ) from error
    return signals.read_ecg(path)


def _as_names(leads: Any) -> list[str] | None:
    return None if leads is None else [leads] if isinstance(leads, str) else list(leads)


def _own_or_given(name: str, own: Any, given: Any) -> Any:
    if own is not None and given is not None and own != given:
        raise ECGInputError(
            f"the ECG says {name} {own}, the call {given}; expected one of them or equal ones. Leave out the wrong one"
        )
    return given if own is None else own


def _order_leads(signal: np.ndarray, names: Sequence[str], drop_unknown: bool) -> tuple[np.ndarray, list[str]]:
    """Rows in the order of `LEADS`, so that the order of the input cannot matter, and their standard names."""
    rows: dict[str, int] = {}
    unknown = []
    for row, name in enumerate(names):
        try:
            standard = standard_lead_name(name)
        except ECGInputError:
            unknown.append(name)
            continue
        if standard in rows:
            raise ECGInputError(
                f"lead {standard} is given twice, as {names[rows[standard]]!r} in row {rows[standard]} and {name!r} "
                f"in row {row}; expected every lead once. Leave one of the rows out"
            )
        rows[standard] = row
    if unknown and not drop_unknown:
        raise ECGInputError(
            f"unknown lead names {unknown}; expected {', '.join(LEADS)} or a usual alias. Rename them, or pass "
            "drop_unknown_leads=True to leave them out"
        )
    if not rows:
        raise ECGInputError(
            f"no usable lead: the names are {list(names)}; expected at least one of {', '.join(LEADS)}"
        )
    ordered = [lead for lead in LEADS if lead in rows]
    return signal[[rows[lead] for lead in ordered]], ordered


def _handle_non_finite(signal: np.ndarray, names: list[str], policy: str) -> tuple[np.ndarray, list[str]]:
    finite = np.isfinite(signal)
    if finite.all():
        return signal, names
    total = signal.shape[-1]
    counts = {name: total - int(row.sum()) for name, row in zip(names, finite, strict=True) if not row.all()}
    found = ", ".join(f"{name} {count} of {total}" for name, count in counts.items())
    if policy == "raise":
        raise ECGInputError(
            f"samples that are not finite (NaN or infinite) in lead {found}; expected finite values in mV. Pass "
            "nan_policy='interpolate' to fill short gaps, nan_policy='drop_lead' to count the leads as missing, or "
            "cut a clean segment"
        )
    if policy == "drop_lead":
        kept = [row for row, name in enumerate(names) if name not in counts]
        if not kept:
            raise ECGInputError(
                f"no usable lead: every lead has samples that are not finite ({found}); expected one clean lead at "
                "least"
            )
        return signal[kept], [names[row] for row in kept]
    sparse = [name for name, count in counts.items() if count > total / 2]
    if sparse:
        raise ECGInputError(
            f"fewer than half of the samples are finite in lead {', '.join(sparse)} ({found} are not); expected half "
            "at least to interpolate. Pass nan_policy='drop_lead', or cut a clean segment"
        )
    filled = signal.copy()
    time = np.arange(total)
    for name in counts:
        row = names.index(name)
        filled[row] = np.interp(time, time[finite[row]], signal[row, finite[row]])
    return filled, names


def _require_heart(signal: np.ndarray, rate: float) -> None:
    heart = find_heart(signal, rate)
    if not heart.found:
        raise ECGInputError(
            f"{NO_HEART.format(found=heart.missing)}. Pass require_heart=False to give it to the model in any case"
        )


def _check_millivolt(signal: np.ndarray) -> None:
    """Refuse [leads, samples] whose amplitudes no ECG in mV has; exactly flat input passes."""
    amplitude = np.ptp(signal, axis=-1)
    varying = amplitude > _FLAT_AMPLITUDE
    if not varying.any():
        return
    largest = float(amplitude.max())
    if largest < _MIN_LARGEST_AMPLITUDE:
        raise ECGInputError(
            f"the largest lead spans {largest:.2g} mV peak to peak; expected an ECG in mV, which spans some 0.2 to "
            "10. This looks like volts: multiply the signal by 1000"
        )
    if np.median(amplitude[varying]) <= _MAX_MEDIAN_AMPLITUDE:
        return
    # Only now, because it takes time: without the largest and smallest half per cent of samples, as pacing spikes are
    # not the unit.
    low, high = np.percentile(signal[varying], [0.5, 99.5], axis=-1)
    median = float(np.median(high - low))
    if median > _MAX_MEDIAN_AMPLITUDE:
        raise ECGInputError(
            f"the leads span {median:.3g} mV peak to peak (median lead); expected an ECG in mV, which spans some 0.2 "
            "to 10. This looks like microvolts or raw ADC counts: divide the signal by 1000, or by the gain that the "
            "file's header states"
        )


ECGInput = Any
"""One ECG: a mapping with signal, sampling_rate and leads; an object with these attributes; an array; or a path."""

# For language models without a chat template. The newline opens a turn, so that an answer ends with the
# end-of-sequence.
PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}User: {{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}Assistant: {{ message['content'] }}{{ eos_token }}"
    "{% else %}{{ raise_exception('roles are system, user and assistant; found ' + message['role']) }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\nAssistant:' }}{% endif %}"
)

_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def add_ecg_token(tokenizer: Any, ecg_token: str = ECG_TOKEN) -> int:
    """Add the ECG placeholder to a tokenizer as a special token, once, and return its id."""
    # Being in the vocabulary is not enough: only an added token is never split. It keeps the id that it has there.
    if ecg_token not in tokenizer.get_added_vocab():
        tokenizer.add_tokens([AddedToken(ecg_token, special=True, normalized=False)], special_tokens=True)
    return tokenizer.convert_tokens_to_ids(ecg_token)


def ecg_prompt(question: str, num_ecgs: int) -> list[dict[str, Any]]:
    """The parts of a user's turn that introduces `num_ecgs` ECGs and asks a question (wording: arXiv 2411.14795).

    Returns: text parts, and parts {"type": "ecg"} where the ECGs go.
    """
    if num_ecgs == 0:
        return [{"type": "text", "text": question}]
    if num_ecgs == 1:
        texts = ["Here is an electrocardiogram: ", f"\n{question}"]
    else:
        word = _NUMBER_WORDS[num_ecgs] if num_ecgs < len(_NUMBER_WORDS) else str(num_ecgs)
        ordinals = [_ORDINALS[i] if i < len(_ORDINALS) else f"ECG number {i + 1}" for i in range(num_ecgs)]
        texts = [f"Here are {word} electrocardiograms. The {ordinals[0]} is "]
        texts += [f", the {ordinal} is " for ordinal in ordinals[1:-1]]
        texts += [f", and the {ordinals[-1]} is ", f".\n{question}"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": texts[0]}]
    for text in texts[1:]:
        parts += [{"type": "ecg"}, {"type": "text", "text": text}]
    return parts


class ECGProcessor(ProcessorMixin):
    """Text with ECGs to model inputs: feature extractor + tokenizer + prompts.

    Args:
        feature_extractor: the signal path. tokenizer: the language model's; must be a fast one for labels.
        chat_template: Jinja template; the tokenizer's own by default, a plain one where it has none.
        samples_per_token: input samples per ECG token of the language model (`ECGLLMConfig.samples_per_token`).
        ecg_token: the placeholder, added to the tokenizer when it is not there.
        samples_trimmed: samples that the encoder's stem takes away first (`ECGLLMConfig.samples_trimmed`).
        max_positions: tokens that the language model has positions for (`ECGLLMConfig.max_positions`), ECG tokens
            included; longer texts are refused. None where it is unknown, or there is no end.
        trained_words: today's words -> those that the model was trained in (`TrainedWords`), where they differ. Every
            text is put into them, and what is decoded is put back.
    """

    def __init__(
        self,
        feature_extractor: ECGFeatureExtractor | None = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        samples_per_token: int = 20,
        ecg_token: str = ECG_TOKEN,
        samples_trimmed: int = 0,
        max_positions: int | None = None,
        trained_words: Mapping[str, str] | None = None,
    ):
        if feature_extractor is None or tokenizer is None:
            raise ECGError("ECGProcessor needs a feature_extractor and a tokenizer; at least one of them is None.")
        self.samples_per_token = samples_per_token
        self.samples_trimmed = samples_trimmed
        self.max_positions = max_positions
        self._words = TrainedWords({} if trained_words is None else trained_words)
        self.trained_words = None if trained_words is None else dict(trained_words)
        self.ecg_token = ecg_token
        self.ecg_token_id = add_ecg_token(tokenizer, ecg_token)
        if tokenizer.pad_token_id is None:
            if tokenizer.eos_token is None:
                raise ECGError("The tokenizer has neither a pad nor an eos token; set tokenizer.pad_token first.")
            # Padded positions are masked, so that the end-of-sequence token can fill them, as is usual.
            tokenizer.pad_token = tokenizer.eos_token
        template = chat_template or getattr(tokenizer, "chat_template", None) or PLAIN_CHAT_TEMPLATE
        if template == PLAIN_CHAT_TEMPLATE and tokenizer.eos_token is None:
            raise ECGError(
                "The tokenizer has neither a chat template nor an eos token, so that an answer would have no end; set "
                "tokenizer.eos_token, or pass chat_template=."
            )
        super().__init__(feature_extractor, tokenizer, chat_template=template)

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        # transformers looks the class up among its own; ours is any feature extractor that prepares ECGs.
        if argument_name == "feature_extractor":
            return FeatureExtractionMixin
        return super().check_argument_for_proper_class(argument_name, argument)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        # By its own class: transformers would look for the feature extractor among the Auto classes, which know ours
        # only as remote code and would ask for trust inside the package itself. So would the tokenizer for the sake of
        # config.json, which says nothing of tokenizers: an empty configuration stands for it.
        trust = kwargs.pop("trust_remote_code", None)
        feature_extractor = ECGFeatureExtractor.from_pretrained(pretrained_model_name_or_path, **kwargs)
        tokenizer = AutoTokenizer.from_pretrained(
            pretrained_model_name_or_path, config=PreTrainedConfig(), trust_remote_code=trust, **kwargs
        )
        return [feature_extractor, tokenizer]

    @classmethod
    def for_model(
        cls, model: Any, tokenizer: Any, feature_extractor: ECGFeatureExtractor | None = None
    ) -> ECGProcessor:
        """The processor that fits a model (or its configuration) and the tokenizer of its language model.

        Raises: ValueError when the preprocessing is unknown and none is given, or does not fit the model.
        """
        config = getattr(model, "config", model)
        if feature_extractor is None:
            if config.encoder_config.preprocessing is None:
                raise ECGError(
                    "The model's encoder does not say how its ECGs were prepared (encoder_config.preprocessing is "
                    "None); pass feature_extractor=."
                )
            settings = inspect.signature(ECGFeatureExtractor.__init__).parameters
            stated = config.encoder_config.preprocessing.items()
            feature_extractor = ECGFeatureExtractor(
                **{name: value for name, value in stated if name in settings and value is not None}
            )
        processor = cls(
            feature_extractor,
            tokenizer,
            samples_per_token=config.samples_per_token,
            samples_trimmed=config.samples_trimmed,
            max_positions=config.max_positions,
        )
        processor.check_model(config)
        return processor

    @property
    def model_input_names(self) -> list[str]:
        names = [*self.tokenizer.model_input_names, *self.feature_extractor.model_input_names]
        return list(dict.fromkeys([*names, "ecg_mask", "preprocessing_id"]))

    def check_model(self, model: Any) -> None:
        """Check that a model (or its configuration) was trained on what this processor makes.

        Raises: ValueError naming the first difference in leads, preprocessing (all of its fields), samples per token,
            samples trimmed or the ECG token's id.
        """
        config = getattr(model, "config", model)
        if not hasattr(config, "encoder_config") or not hasattr(config, "samples_per_token"):
            raise ECGError(
                f"The model is a {type(model).__name__}, which has no ECG encoder in front of a language model; "
                "expected an ECGLLMForConditionalGeneration or its configuration."
            )
        expected = config.encoder_config.preprocessing
        if len(self.feature_extractor.leads) != config.encoder_config.num_leads:
            raise ECGError(
                f"The processor makes {len(self.feature_extractor.leads)} leads, the model's encoder takes "
                f"{config.encoder_config.num_leads}. Load the processor from the model's own folder "
                "(AutoProcessor.from_pretrained)."
            )
        if expected is not None and preprocessing_fingerprint(expected) != self.feature_extractor.preprocessing_id:
            raise ECGError(
                "The processor prepares ECGs in another way than the checkpoint's encoder was trained with: "
                f"{describe_difference(self.feature_extractor.preprocessing, expected)}. Load the processor from the "
                "model's own folder (AutoProcessor.from_pretrained)."
            )
        if self.samples_per_token != config.samples_per_token:
            raise ECGError(
                f"The processor makes one ECG token per {self.samples_per_token} samples, the model one per "
                f"{config.samples_per_token}; make it with ECGProcessor.for_model(model, tokenizer)."
            )
        if self.samples_trimmed != config.samples_trimmed:
            raise ECGError(
                f"The processor counts on a stem that takes {self.samples_trimmed} samples away, the model's takes "
                f"{config.samples_trimmed}; make it with ECGProcessor.for_model(model, tokenizer)."
            )
        if config.ecg_token_id is not None and self.ecg_token_id != config.ecg_token_id:
            raise ECGError(
                f"The tokenizer gives {self.ecg_token} the id {self.ecg_token_id}, the model expects "
                f"{config.ecg_token_id}; use the tokenizer that was saved with the model."
            )

    def num_ecg_tokens(self, ecg_length: int) -> int:
        """Placeholder tokens for an ECG of this many samples (at the model's rate)."""
        return count_tokens(int(ecg_length), self.samples_per_token, self.samples_trimmed)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        ecgs: ECGInput | Sequence[ECGInput] | Sequence[Sequence[ECGInput]] | None = None,
        *,
        sampling_rate: float | None = None,
        leads: Sequence[str] | None = None,
        nan_policy: str | None = None,
        drop_unknown_leads: bool = False,
        add_special_tokens: bool = True,
        padding: bool | str = True,
        padding_side: str | None = None,
        max_length: int | None = None,
        return_tensors: str | None = "pt",
        label_spans: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> BatchFeature:
        """Prepare texts that hold one `ecg_token` per ECG.

        Args:
            text: one text or a batch. ecgs: for one text an ECG or a list of them; for a batch one such entry (or
                None) per text. sampling_rate, leads, nan_policy, drop_unknown_leads: see `ECGFeatureExtractor`.
            padding: True or "longest", "max_length" (with max_length), or False. padding_side: "left" or "right".
            max_length: longest allowed sequence; nothing is truncated, since ECG tokens would be lost.
            label_spans: per text, character spans (start, end) of `text` that are to be learned; gives `labels`.
        Returns: input_ids, attention_mask [batch, tokens]; with ECGs also ecg_values [batch, ecgs, leads, samples],
            ecg_mask [batch, ecgs], lead_mask [batch, ecgs, leads], ecg_lengths [batch, ecgs], preprocessing_id
            [batch]; with label_spans labels [batch, tokens], -100 where nothing is learned.
        Raises: ECGError when placeholders and ECGs differ in number, or a sequence is longer than max_length or the
            model's positions.
        """
        if text is None:
            raise ECGError("text is missing; for signals alone use processor.feature_extractor(ecgs).")
        texts, nested = _as_batch(text, ecgs)
        learned_in = [self._words.to_trained(one) for one in texts]
        if label_spans is not None and learned_in != texts:
            raise ECGError(
                f"label_spans were given of texts that this checkpoint was trained on in other words: "
                f"{self.trained_words}. Write the texts in these, or use apply_chat_template(return_labels=True)."
            )
        texts = learned_in
        if label_spans is not None and len(label_spans) != len(texts):
            raise ECGError(f"{len(texts)} texts were given with {len(label_spans)} label_spans; expected one each.")
        for row, (one, row_ecgs) in enumerate(zip(texts, nested, strict=True)):
            count = one.count(self.ecg_token)
            if count != len(row_ecgs):
                raise ECGError(
                    f"Text {row} holds {count} {self.ecg_token} placeholders and {len(row_ecgs)} ECGs were given for "
                    f"it; expected one {self.ecg_token} per ECG. Text: {_shorten(one)!r}"
                )
        flat = [ecg for row_ecgs in nested for ecg in row_ecgs]
        features = None
        if flat:
            features = self.feature_extractor(
                flat,
                sampling_rate=sampling_rate,
                leads=leads,
                nan_policy=nan_policy,
                drop_unknown_leads=drop_unknown_leads,
                return_tensors="np",
            )
        rows = [len(row_ecgs) for row_ecgs in nested]
        lengths = iter(() if features is None else features["ecg_lengths"].tolist())
        lengths_by_row = [[next(lengths) for _ in range(count)] for count in rows]
        encoded = self._tokenize(texts, lengths_by_row, add_special_tokens, label_spans)
        for ids in encoded["input_ids"]:
            self.check_length(len(ids))
        return self._assemble(encoded, features, rows, padding, padding_side, max_length, return_tensors)

    def check_length(self, tokens: int, of_answer: int = 0) -> None:
        """Refuse what the language model has no positions for, before it is asked. Raises: ECGError.

        Args: tokens: of the prompt, ECG tokens included. of_answer: those that must fit behind it.
        """
        if self.max_positions is not None and tokens + of_answer > self.max_positions:
            room = f", and {of_answer} for the answer" if of_answer else ""
            raise ECGError(
                f"The question with its ECGs has {tokens:,} tokens{room}; this language model has positions for "
                f"{self.max_positions:,}. Shorten the text, or use fewer or shorter ECGs."
            )

    def encode_conversation(
        self, conversation: list[dict[str, Any]], ecg_lengths: Sequence[int] = (), **template_kwargs: Any
    ) -> dict[str, list[int]]:
        """Token ids and labels of one conversation for training, before its ECGs are at hand.

        Args:
            conversation: as in `apply_chat_template`; ECG parts may be without "ecg". ecg_lengths: samples of its
                ECGs, in order, as `ECGFeatureExtractor` returns them. template_kwargs: variables of the template.
        Returns: {"input_ids", "labels"}, lists of equal length, to be put together by `collate`.
        """
        turns, ecgs = self._flatten(conversation, with_ecgs=False)
        if len(ecgs) != len(ecg_lengths):
            raise ECGError(
                f"The conversation has {len(ecgs)} ECG parts and {len(ecg_lengths)} ecg_lengths were given; expected "
                "one for each part."
            )
        template = self._template(None)
        text, spans = self._render_with_spans(turns, template, template_kwargs)
        encoded = self._tokenize([text], [list(ecg_lengths)], self._template_needs_bos(template), [spans])
        return {name: rows[0] for name, rows in encoded.items()}

    def collate(
        self,
        encoded: Sequence[Mapping[str, list[int]]],
        ecgs: Sequence[Sequence[Mapping[str, Any]]],
        padding_side: str = "right",
    ) -> BatchFeature:
        """Pad what `encode_conversation` made, with the ECGs.

        Args: ecgs: prepared before, or anything `__call__` takes; or all of them encoded before: mappings with
            `ecg_embeds` [patches, encoder size], `ecg_length` (samples) and `preprocessing_id`.
        Raises: ValueError when the ECGs of a conversation are not those whose lengths it was encoded with.
        """
        if not encoded or len(encoded) != len(ecgs):
            raise ECGError(f"{len(encoded)} conversations with {len(ecgs)} lists of ECGs; expected one for each.")
        flat = [ecg for row in ecgs for ecg in row]
        features: Mapping[str, np.ndarray] | None = None
        if flat:
            encoded_before = isinstance(flat[0], Mapping) and "ecg_embeds" in flat[0]
            prepare = self._stack_encoded if encoded_before else partial(self.feature_extractor, return_tensors="np")
            features = prepare(flat)
        sequences = {name: [list(row[name]) for row in encoded] for name in ("input_ids", "labels")}
        rows = [len(row) for row in ecgs]
        lengths = iter(() if features is None else features["ecg_lengths"].tolist())
        for row, (ids, count) in enumerate(zip(sequences["input_ids"], rows, strict=True)):
            found, expected = (
                ids.count(self.ecg_token_id),
                sum(self.num_ecg_tokens(next(lengths)) for _ in range(count)),
            )
            if found != expected:
                raise ECGError(
                    f"Conversation {row} was encoded with {found} ECG tokens, its {count} ECGs make {expected}; "
                    "expected the ECGs whose lengths encode_conversation was given."
                )
        return self._assemble(sequences, features, rows, True, padding_side, None, "pt")

    def _stack_encoded(self, ecgs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Zero-padded ecg_embeds [ecgs, patches, encoder size] and their lengths; encoders give zero past the end."""
        for index, ecg in enumerate(ecgs):
            if "ecg_embeds" not in ecg or ecg.get("preprocessing_id") != self.feature_extractor.preprocessing_id:
                raise ECGInputError(
                    f"ecgs[{index}] was not encoded before as the first was, with preprocessing_id "
                    f"{self.feature_extractor.preprocessing_id}; found the keys {sorted(ecg)} and "
                    f"{ecg.get('preprocessing_id')}. Encode all ECGs of a batch with one encoder and processor"
                )
        embeds = [np.asarray(ecg["ecg_embeds"], dtype=np.float32) for ecg in ecgs]
        stacked = np.zeros((len(embeds), max(len(rows) for rows in embeds), embeds[0].shape[1]), dtype=np.float32)
        for target, rows in zip(stacked, embeds, strict=True):
            target[: len(rows)] = rows
        return {"ecg_embeds": stacked, "ecg_lengths": np.array([ecg["ecg_length"] for ecg in ecgs], dtype=np.int64)}

    def _assemble(
        self,
        sequences: dict[str, list[list[int]]],
        features: Mapping[str, np.ndarray] | None,
        ecgs_per_text: list[int],
        padding: bool | str,
        padding_side: str | None,
        max_length: int | None,
        return_tensors: str | None,
    ) -> BatchFeature:
        """Pad token ids and labels, and put the ECGs beside them."""
        if max_length is not None:
            for row, ids in enumerate(sequences["input_ids"]):
                if len(ids) > max_length:
                    raise ECGError(
                        f"Text {row} with its ECGs has {len(ids)} tokens; max_length is {max_length}. Truncation "
                        "would cut the ECG or the question: shorten the text, use a shorter segment, or raise "
                        "max_length."
                    )
        data: dict[str, Any] = self._pad(sequences, padding, padding_side, max_length)
        if features is not None:
            data |= self._nest(features, ecgs_per_text)
        return BatchFeature(data, tensor_type=return_tensors)

    def _tokenize(
        self,
        texts: list[str],
        ecg_lengths: Sequence[Sequence[int]],
        add_special_tokens: bool,
        label_spans: Sequence[Sequence[tuple[int, int]]] | None,
    ) -> dict[str, list[list[int]]]:
        """Token ids per text, each placeholder repeated as often as its ECG has tokens."""
        with_labels = label_spans is not None
        if with_labels and not self.tokenizer.is_fast:
            raise ECGError(
                f"{type(self.tokenizer).__name__} is a slow tokenizer, which cannot tell where a token stands in the "
                "text; labels need a fast one (AutoTokenizer gives it where there is one)."
            )
        encoded = self.tokenizer(
            texts,
            add_special_tokens=add_special_tokens,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=with_labels,
        )
        sequences: dict[str, list[list[int]]] = {"input_ids": []} | ({"labels": []} if with_labels else {})
        for row, (text, ids, lengths) in enumerate(zip(texts, encoded["input_ids"], ecg_lengths, strict=True)):
            if ids.count(self.ecg_token_id) != len(lengths):
                raise ECGError(
                    f"Text {row} has {ids.count(self.ecg_token_id)} {self.ecg_token} tokens (id {self.ecg_token_id}) "
                    f"for {len(lengths)} ECGs; expected one each. The chat template leaves out or repeats a turn, or "
                    f"the tokenizer splits the placeholder. Text: {_shorten(text)!r}"
                )
            repeats = [1] * len(ids)
            places = [place for place, token_id in enumerate(ids) if token_id == self.ecg_token_id]
            for place, length in zip(places, lengths, strict=True):
                repeats[place] = self.num_ecg_tokens(length)
            sequences["input_ids"].append(_repeat(ids, repeats))
            if with_labels:
                learned = _learned_tokens(encoded["offset_mapping"][row], label_spans[row])
                labels = [
                    token_id if learn and token_id != self.ecg_token_id else -100
                    for token_id, learn in zip(ids, learned, strict=True)
                ]
                sequences["labels"].append(_repeat(labels, repeats))
        return sequences

    def _pad(
        self,
        sequences: dict[str, list[list[int]]],
        padding: bool | str,
        padding_side: str | None,
        max_length: int | None,
    ) -> dict[str, list[list[int]]]:
        _check_choice("padding", padding, (True, False, "longest", "max_length"))
        side = padding_side or self.tokenizer.padding_side
        if side not in ("left", "right"):
            raise ECGError(f"padding_side is {side!r}; expected 'left' or 'right'.")
        ids = sequences["input_ids"]
        if padding == "max_length":
            if max_length is None:
                raise ECGError("padding='max_length' needs max_length.")
            width = max_length
        else:
            width = max(len(row) for row in ids) if padding else None
        fill = {"input_ids": self.tokenizer.pad_token_id, "labels": -100, "attention_mask": 0}
        padded = sequences | {"attention_mask": [[1] * len(row) for row in ids]}
        if width is None:
            return padded
        return {
            name: [
                [fill[name]] * (width - len(row)) + row if side == "left" else row + [fill[name]] * (width - len(row))
                for row in rows
            ]
            for name, rows in padded.items()
        }

    def _nest(self, features: Mapping[str, np.ndarray], ecgs_per_text: list[int]) -> dict[str, np.ndarray]:
        """[ecgs, ...] of all texts -> [batch, ecgs, ...] with ecg_mask; places without an ECG are zero."""
        mask = np.arange(max(ecgs_per_text))[None] < np.asarray(ecgs_per_text)[:, None]
        nested: dict[str, np.ndarray] = {"ecg_mask": mask}
        for name in ("ecg_values", "ecg_embeds", "lead_mask", "ecg_lengths"):
            if name not in features:
                continue
            values = np.asarray(features[name])
            nested[name] = np.zeros((*mask.shape, *values.shape[1:]), dtype=values.dtype)
            nested[name][mask] = values
        nested["preprocessing_id"] = np.full(len(ecgs_per_text), self.feature_extractor.preprocessing_id, np.int64)
        return nested

    def build_conversation(
        self,
        question: str,
        ecgs: ECGInput | Sequence[ECGInput] = (),
        answer: str | None = None,
        system: str | None = None,
    ) -> list[dict[str, Any]]:
        """A conversation that asks one question about the given ECGs, in the paper's wording; see `ecg_prompt`.

        Raises: ECGError for a question without words.
        """
        if not isinstance(question, str) or not question.strip():
            raise ECGError(f"The question is {_shorten(repr(question))}; expected words.")
        ecgs = list(ecgs) if _is_list(ecgs) else [ecgs]
        content = ecg_prompt(question, len(ecgs))
        for part, ecg in zip((part for part in content if part["type"] == "ecg"), ecgs, strict=True):
            part["ecg"] = ecg
        conversation: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        conversation.append({"role": "user", "content": content})
        if answer is not None:
            conversation.append({"role": "assistant", "content": answer})
        return conversation

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]] | list[list[dict[str, Any]]],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_dict: bool = True,
        return_labels: bool = False,
        return_assistant_tokens_mask: bool = False,
        return_tensors: str | None = "pt",
        padding: bool | str = True,
        padding_side: str | None = None,
        max_length: int | None = None,
        sampling_rate: float | None = None,
        leads: Sequence[str] | None = None,
        nan_policy: str | None = None,
        drop_unknown_leads: bool = False,
        processor_kwargs: Mapping[str, Any] | None = None,
        **template_kwargs: Any,
    ) -> str | list[str] | BatchFeature | Any:
        """Render one conversation or a batch through the language model's chat template.

        Args:
            conversation: turns {"role", "content"}; content is a string or a list of parts {"type": "text", "text"}
                and {"type": "ecg", "ecg"}, in any order and in any turn. An ECG is what `ECGFeatureExtractor` takes.
            tokenize: False returns the rendered text. return_dict: with tokenize, all inputs, not the ids alone.
            return_labels: with tokenize, adds labels: the assistant's turns (with their end-of-turn token), else -100.
            return_assistant_tokens_mask: with tokenize, adds assistant_masks: 1 where labels would learn, else 0.
            padding_side: by default "right" with labels (training) and "left" without (generation).
            processor_kwargs: the arguments from return_tensors to drop_unknown_leads, as transformers passes them.
            template_kwargs: variables of the template. The rest: see `__call__` and transformers.
        Raises: ECGError for an unknown argument or part, a placeholder written out in the text, a template that writes
            nothing of what is said, or one in which the assistant's turns cannot be told apart.
        """
        processing = {
            "return_tensors": return_tensors,
            "padding": padding,
            "padding_side": padding_side,
            "max_length": max_length,
            "sampling_rate": sampling_rate,
            "leads": leads,
            "nan_policy": nan_policy,
            "drop_unknown_leads": drop_unknown_leads,
        }
        processing |= _checked_processor_kwargs(processor_kwargs or {}, processing)
        learned = "return_labels" if return_labels else "return_assistant_tokens_mask"
        with_spans = return_labels or return_assistant_tokens_mask
        if with_spans and not (tokenize and return_dict):
            raise ECGError(f"{learned} needs tokenize=True and return_dict=True: it is told for each token id.")
        if with_spans and (add_generation_prompt or continue_final_message):
            raise ECGError(
                f"{learned} is for training and goes with neither add_generation_prompt nor continue_final_message."
            )
        if not conversation:
            raise ECGError("The conversation is empty; expected turns, or a batch of conversations.")
        batched = not isinstance(conversation[0], Mapping)
        conversations = conversation if batched else [conversation]
        template = self._template(chat_template)
        if unknown := sorted(set(template_kwargs) - _get_template_variables(template)):
            raise ECGError(
                f"{', '.join(unknown)}: neither an argument of apply_chat_template nor a variable of the chat "
                f"template. Arguments are {', '.join(inspect.signature(self.apply_chat_template).parameters)}."
            )
        flattened = [self._flatten(turns) for turns in conversations]
        spans = None
        if with_spans:
            rendered = [self._render_with_spans(turns, template, template_kwargs) for turns, _ in flattened]
            texts, spans = [text for text, _ in rendered], [row for _, row in rendered]
        else:
            settings = template_kwargs | {
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
            }
            texts = [self._render(turns, template, **settings) for turns, _ in flattened]
        if not tokenize:
            return texts if batched else texts[0]
        processing["padding_side"] = processing["padding_side"] or ("right" if return_labels else "left")
        inputs = self(
            texts,
            [ecgs for _, ecgs in flattened],
            add_special_tokens=self._template_needs_bos(template),
            label_spans=spans,
            **processing,
        )
        if return_assistant_tokens_mask:
            inputs["assistant_masks"] = _where_learned(inputs["labels"])
            if not return_labels:
                del inputs["labels"]
        return inputs if return_dict else inputs["input_ids"]

    def batch_decode(self, *args: Any, **kwargs: Any) -> list[str]:
        """Texts of token ids, in today's words; arguments as in transformers."""
        return translated(super().batch_decode(*args, **kwargs), self._words)

    def decode(self, *args: Any, **kwargs: Any) -> str | list[str]:
        """The text of token ids, in today's words; arguments as in transformers."""
        return translated(super().decode(*args, **kwargs), self._words)

    def _flatten(
        self, conversation: list[dict[str, Any]], with_ecgs: bool = True
    ) -> tuple[list[dict[str, Any]], list[ECGInput]]:
        """`_flatten_content`, in the words that the checkpoint was trained in."""
        turns, ecgs = _flatten_content(conversation, self.ecg_token, with_ecgs)
        return [{**turn, "content": self._words.to_trained(turn["content"])} for turn in turns], ecgs

    def _template(self, chosen: str | None) -> str:
        """The Jinja text of a template given as such, by name, or not at all."""
        named = self.chat_template if isinstance(self.chat_template, Mapping) else {"default": self.chat_template}
        name = chosen or "default"
        if name not in named and chosen is None:
            raise ECGError(f"The chat templates are {', '.join(named)}, none is the default; pass chat_template=.")
        return named.get(name, name)

    def _render(self, turns: list[dict[str, Any]], template: str, **settings: Any) -> str:
        turns = _as_template_reads(turns, template)
        try:
            return self.tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False, **settings)
        except (ImportError, ValueError, TypeError):
            raise
        except Exception as error:  # whatever the template raises, such as "System role not supported"
            raise ECGError(
                f"The chat template cannot write a conversation with the roles {[turn['role'] for turn in turns]}: "
                f"{error}. Change the conversation, or pass another chat_template=."
            ) from error

    def _render_with_spans(
        self, turns: list[dict[str, Any]], template: str, template_kwargs: dict[str, Any]
    ) -> tuple[str, list[tuple[int, int]]]:
        """The rendered text and where the assistant's turns stand in it."""
        if all(turn["role"] != "assistant" for turn in turns):
            raise ECGError(
                f"A conversation with the roles {[turn['role'] for turn in turns]} has no assistant's turn to learn; "
                "labels need one."
            )
        render = partial(self._render, template=template, **template_kwargs)
        text = render(turns, add_generation_prompt=False)
        if _GENERATION_TAG.search(template):
            settings = self.tokenizer.special_tokens_map | template_kwargs
            _, spans = render_jinja_template(
                [_as_template_reads(turns, template)],
                chat_template=template,
                return_assistant_tokens_mask=True,
                **settings,
            )
            return text, spans[0]
        special = tuple(token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special)
        return text, _assistant_spans(turns, text, render, special)

    def _template_needs_bos(self, template: str) -> bool:
        # A chat template writes its special tokens itself; the plain one leaves the start token to the tokenizer.
        return template == PLAIN_CHAT_TEMPLATE and self._starts_with_bos()

    def _starts_with_bos(self) -> bool:
        """Whether the tokenizer adds a start token (and no end token, which would close the prompt)."""
        special = self.tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
        return special[0] == 1 and special[-1] == 0

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Save tokenizer, feature extractor and processor, complete as remote code. Arguments as in transformers."""
        self.auto_map = {"AutoProcessor": f"processing_ecgllm.{type(self).__name__}"}
        # First, as it states where its own class is found, which the processor's file repeats.
        files = self.feature_extractor.save_pretrained(save_directory)
        files += super().save_pretrained(str(save_directory))
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return files


# A template with these tags says itself what the assistant's words are.
_GENERATION_TAG = re.compile(r"\{%-?\s*generation\s*-?%\}")


_PROBE = "ecgllm"


@lru_cache(maxsize=32)
def _reads_parts(template: str) -> bool:
    """Whether a chat template writes only what stands in parts {"type": "text"}: it loops over them, and of a string
    would print nothing. Raises: ECGError for a template that writes neither.
    """
    written = False
    tokens = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "")
    for content in (_PROBE, [{"type": "text", "text": _PROBE}]):
        try:
            (text,), _ = render_jinja_template(
                [[{"role": "user", "content": content}]], chat_template=template, **tokens
            )
        except ImportError:
            raise
        except Exception:  # whatever a template raises of what it does not take, here or of every short conversation
            continue
        written = True
        if _PROBE in text:
            return not isinstance(content, str)
    if not written:
        return False  # the conversation itself shows what is wrong
    raise ECGError(
        "The chat template writes nothing of what a user says, neither of a string nor of parts "
        '{"type": "text", "text": ...}; pass another chat_template=.'
    )


def _as_template_reads(turns: list[dict[str, Any]], template: str) -> list[dict[str, Any]]:
    if not _reads_parts(template):
        return turns
    return [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]


def _checked_processor_kwargs(given: Mapping[str, Any], stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises: ECGError for what is no argument, or is stated beside it in another way."""
    defaults = inspect.signature(ECGProcessor.apply_chat_template).parameters
    wrong = [name for name in given if name not in stated]
    if wrong:
        raise ECGError(f"processor_kwargs holds {', '.join(wrong)}; expected some of {', '.join(stated)}.")
    twice = [name for name in given if stated[name] is not defaults[name].default and stated[name] != given[name]]
    if twice:
        raise ECGError(f"{', '.join(twice)}: given twice, by itself and otherwise in processor_kwargs; leave one out.")
    return given


def _where_learned(labels: Any) -> Any:
    """1 where there is a label, of a tensor, an array or lists."""
    if isinstance(labels, list):
        return [[int(label != -100) for label in row] for row in labels]
    learned = labels != -100
    return learned.long() if isinstance(learned, torch.Tensor) else learned.astype(np.int64)


def _as_batch(text: Any, ecgs: Any) -> tuple[list[str], list[list[ECGInput]]]:
    """Normalise one text or a batch to lists, with a list of ECGs per text."""
    if isinstance(text, str):
        row = [] if ecgs is None else list(ecgs) if _is_list(ecgs) else [ecgs]
        if len(row) == 1 and _is_list(row[0]):
            row = list(row[0])
        return [text], [row]
    texts = list(text)
    if not texts or any(not isinstance(one, str) for one in texts):
        raise ECGError(f"text is {_shorten(repr(text))}; expected a string, or one or more strings.")
    if ecgs is None:
        return texts, [[] for _ in texts]
    if not _is_list(ecgs) or len(ecgs) != len(texts):
        found = f"{len(ecgs)} entries" if _is_list(ecgs) else "one ECG"
        raise ECGError(
            f"{len(texts)} texts were given with {found} in ecgs; expected one entry per text: an ECG, a list "
            "of ECGs, or None."
        )
    return texts, [[] if item is None else list(item) if _is_list(item) else [item] for item in ecgs]


def _shorten(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _repeat(values: list[int], repeats: list[int]) -> list[int]:
    return [value for value, count in zip(values, repeats, strict=True) for _ in range(count)]


def _learned_tokens(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Which tokens stand in one of the spans.

    A token of blanks may have no width, as byte-level tokenizers trim blanks off; it counts when it is inside.
    """
    return [
        any((begin < end and start < stop) if end > start else begin < start < stop for begin, stop in spans)
        for start, end in offsets
    ]


def _flatten_content(
    turns: list[dict[str, Any]], ecg_token: str, with_ecgs: bool = True
) -> tuple[list[dict[str, Any]], list[ECGInput]]:
    """Turns with plain string content, a placeholder for every ECG part, and the ECGs in order."""
    if not turns:
        raise ECGError("The conversation is empty; expected turns.")
    flattened, ecgs = [], []
    for turn in turns:
        content = turn.get("content") if isinstance(turn, Mapping) else None
        if not isinstance(content, (str, Sequence)) or "role" not in turn:
            raise ECGError(
                f'Found the turn {_shorten(repr(turn))}; expected {{"role": ..., "content": ...}} with a string or a '
                "list of parts as content."
            )
        pieces = []
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            if kind == "text" and isinstance(part.get("text"), str):
                pieces.append(part["text"])
                if ecg_token in part["text"]:
                    raise ECGError(
                        f"The text of a {turn['role']} turn holds {ecg_token} itself: {_shorten(part['text'])!r}. "
                        'Give ECGs as parts {"type": "ecg", "ecg": ...}.'
                    )
            elif kind == "text":
                raise ECGError(f'A {turn["role"]} turn holds a part {{"type": "text"}} without a string as "text".')
            elif kind == "ecg":
                if with_ecgs and part.get("ecg") is None:
                    raise ECGError(
                        'A part {"type": "ecg"} has no "ecg"; expected a record, a mapping, an array or a path.'
                    )
                pieces.append(ecg_token)
                ecgs.append(part.get("ecg"))
            else:
                raise ECGError(f"A {turn['role']} turn holds a part of type {kind!r}; expected 'text' or 'ecg'.")
        flattened.append({**turn, "content": "".join(pieces)})
    return flattened, ecgs


def _assistant_spans(
    turns: list[dict[str, Any]], text: str, render: Callable[..., str], special_tokens: tuple[str, ...]
) -> list[tuple[int, int]]:
    """Where the assistant's turns stand in the rendered text, end-of-turn token included.

    A turn runs from the generation prompt of what precedes it to the end of the rendering that ends with it, which
    holds for every template that only appends; another template is refused rather than guessed. Blanks that follow
    the end-of-turn token (ChatML's newline) are no part of it: generation never comes to them.
    """
    if turns[0]["role"] == "assistant":
        raise ECGError("The conversation starts with the assistant; labels need a user's turn before.")
    spans = []
    for index, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        before = render(turns[:index], add_generation_prompt=True)
        last = index + 1 == len(turns)
        through = text if last else render(turns[: index + 1], add_generation_prompt=False)
        if not (text.startswith(before) and text.startswith(through) and len(before) < len(through)):
            raise ECGError(
                "In this chat template an earlier turn is written differently once a later one follows, or the "
                f"generation prompt is no part of the assistant's turn, so that turn {index} cannot be located for "
                "labels. For training pass another chat_template=, such as one with {% generation %} around what the "
                "assistant says."
            )
        trimmed = through.rstrip()
        end = len(trimmed) if special_tokens and trimmed.endswith(special_tokens) else len(through)
        spans.append((len(before), end))
    return spans


__all__ = [
    "LEADS",
    "ECGFeatureExtractor",
    "ECGInputError",
    "ECGProcessor",
    "add_ecg_token",
    "complete_limb_leads",
    "ecg_prompt",
    "remove_baseline",
    "resample",
    "standard_lead_name",
]
