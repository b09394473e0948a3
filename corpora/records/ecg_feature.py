"""The `ECG` feature: how one ECG lies in an Arrow table and how it comes out again.

In: a record, a mapping, a path or the stored struct. Stored: int16 little endian samples, lead-major, with one gain
per lead (1 microvolt per step unless a lead needs more), lead names and sampling rate. Out: float32 millivolts,
decoded lazily. `cast_column` with another `ECG` changes the rate or the leads that come out, never what is stored.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from datasets.features import Value
from datasets.features.features import List, register_feature
from datasets.table import array_cast

from ...errors_ecgllm import ECGError
from ...signal_ecgllm import resample
from ...signals.io.tables.stored_ecg import DEFAULT_GAIN, MISSING, check_stored, millivolts, stored_steps
from ...signals.limits import check_rate
from ...signals.record import known_lead_name


@dataclass
class ECG:
    """ECG [`Feature`] that stores signals compactly and decodes them to millivolts on access.

    Input, any of:
    - an object with `signal` (float [leads, samples], mV), `sampling_rate` (Hz) and `leads` (names), such as
    `ECGRecord`;
    - a `dict` with the same three keys;
    - a `str` or path: only the path is stored; the file is read by `ecgllm.signals.read_ecg` when it is decoded or
    embedded;
    - the stored struct itself: `{"bytes", "gain", "leads", "sampling_rate", "path"}`.

    Output: `{"signal": float32 [leads, samples] in mV, "sampling_rate": float Hz, "leads": list of str}`. NaN samples
    stay NaN.

    Args:
        sampling_rate: rate in Hz to resample to (band-limited) when decoding. `None`: as stored.
        leads: leads to return, in this order. A lead that a record lacks is an error, never derived. `None`: as
            stored.
        decode: `False` returns the stored struct.

    Example:

    ```py
    >>> corpus = corpus.cast_column("ecg", ECG(sampling_rate=100, leads=["I", "II", "V5"]))
    >>> corpus[0]["ecg"]["signal"].shape
    (3, 1000)
    ```
    """

    sampling_rate: float | None = None
    leads: list[str] | None = None
    decode: bool = True
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "dict"
    pa_type: ClassVar[Any] = pa.struct(
        {
            "bytes": pa.binary(),
            "gain": pa.list_(pa.float32()),
            "leads": pa.list_(pa.string()),
            "sampling_rate": pa.float64(),
            "path": pa.string(),
        }
    )
    _type: str = field(default="ECG", init=False, repr=False)

    def __post_init__(self) -> None:
        if self.sampling_rate is not None:
            self.sampling_rate = check_rate("ECG", float(self.sampling_rate))
        if self.leads is not None:
            self.leads = _checked_leads(self.leads)

    def __call__(self) -> pa.DataType:
        return self.pa_type

    def encode_example(self, value: Any) -> dict[str, Any]:
        """Encode one ECG (see the class for what is accepted) to the stored struct.

        Raises: TypeError for another kind of object, ValueError for a signal, rate or lead list that cannot be right.
        """
        if isinstance(value, (str, os.PathLike)):
            return {"bytes": None, "gain": None, "leads": None, "sampling_rate": None, "path": os.fspath(value)}
        if isinstance(value, Mapping):
            if "signal" in value:
                missing = [key for key in ("sampling_rate", "leads") if value.get(key) is None]
                if missing:
                    raise ECGError(
                        f"an ECG mapping with a signal lacks {', '.join(missing)}; give sampling_rate in Hz and one "
                        "lead name per row of the signal"
                    )
                return encode_signal(value["signal"], value["sampling_rate"], value["leads"])
            if value.get("bytes") is not None or value.get("path") is not None:
                return _checked_struct(value)
            raise ECGError(
                f"an ECG mapping has the keys {sorted(value)}; expected signal, sampling_rate and leads, or the "
                "stored struct with bytes or path"
            )
        if all(hasattr(value, name) for name in ("signal", "sampling_rate", "leads")):
            return encode_signal(value.signal, value.sampling_rate, value.leads)
        raise TypeError(
            f"cannot store {type(value).__name__} as an ECG; expected an ECGRecord, a mapping with signal, "
            "sampling_rate and leads, or a path"
        )

    def decode_example(self, value: dict[str, Any], token_per_repo_id: dict | None = None) -> dict[str, Any]:
        """Decode the stored struct to `{"signal", "sampling_rate", "leads"}`; a value already decoded is returned as
        is."""
        if not self.decode:
            raise RuntimeError("decoding is off for this feature; use ECG(decode=True)")
        if "signal" in value:
            return value
        if value["bytes"] is None:
            value = _read_struct(value["path"])
        leads = list(value["leads"])
        steps, gain = stored_steps(value["bytes"], len(leads)), np.asarray(value["gain"], dtype=np.float32)
        if self.leads is not None:
            rows = _rows_of(self.leads, leads)
            steps, gain, leads = steps[rows], gain[rows], list(self.leads)
        signal = millivolts(steps, gain)
        rate = float(value["sampling_rate"])
        if self.sampling_rate is not None and self.sampling_rate != rate:
            signal, rate = resample(signal, rate, self.sampling_rate), self.sampling_rate
        return {"signal": signal, "sampling_rate": rate, "leads": leads}

    def flatten(self) -> dict[str, Any]:
        """The stored fields as features. Raises: ValueError while decoding is on."""
        if self.decode:
            raise ECGError("cannot flatten a decoded ECG feature; cast the column to ECG(decode=False) first")
        return {
            "bytes": Value("binary"),
            "gain": List(Value("float32")),
            "leads": List(Value("string")),
            "sampling_rate": Value("float64"),
            "path": Value("string"),
        }

    def cast_storage(self, storage: pa.Array) -> pa.StructArray:
        """Cast paths, a struct of the stored fields in any order, or a struct with a signal to the stored type."""
        if pa.types.is_null(storage.type):
            return pa.array([None] * len(storage), type=self.pa_type)
        if pa.types.is_string(storage.type) or pa.types.is_large_string(storage.type):
            values = [None if path is None else self.encode_example(path) for path in storage.to_pylist()]
            return pa.array(values, type=self.pa_type)
        if not pa.types.is_struct(storage.type):
            raise TypeError(f"cannot cast {storage.type} to an ECG; expected paths or a struct with bytes or a signal")
        if storage.type.get_field_index("signal") >= 0:
            values = [None if value is None else self.encode_example(value) for value in storage.to_pylist()]
            return pa.array(values, type=self.pa_type)
        names = {child.name for child in storage.type}
        if not names & {"bytes", "path"} or not names <= {child.name for child in self.pa_type}:
            raise TypeError(f"cannot cast a struct with fields {sorted(names)} to an ECG; expected {self.pa_type}")
        children = dict(zip([child.name for child in storage.type], storage.flatten(), strict=True))
        arrays = [
            array_cast(children[child.name], child.type)
            if child.name in children
            else pa.nulls(len(storage), type=child.type)
            for child in self.pa_type
        ]
        return pa.StructArray.from_arrays(arrays, fields=list(self.pa_type), mask=storage.is_null())

    def embed_storage(
        self,
        storage: pa.StructArray,
        token_per_repo_id: dict | None = None,
        local_files: bool = True,
        remote_files: bool = True,
    ) -> pa.StructArray:
        """Read the files of path-only entries into the table. Their paths are dropped: a file name can name a
        patient."""
        bytes_missing = storage.field("bytes").is_null().to_numpy(zero_copy_only=False)
        if not local_files or not (bytes_missing & storage.is_valid().to_numpy(zero_copy_only=False)).any():
            return array_cast(storage, self.pa_type)
        values = [
            _read_struct(value["path"]) if value is not None and value["bytes"] is None else value
            for value in storage.to_pylist()
        ]
        return pa.array(values, type=self.pa_type)


with warnings.catch_warnings():
    # `datasets` calls register_feature experimental on every import; tests of the round trips watch it for us
    warnings.filterwarnings("ignore", message=".*register_feature.*", category=UserWarning)
    register_feature(ECG, "ECG")


def encode_signal(signal: Any, sampling_rate: float, leads: Sequence[str]) -> dict[str, Any]:
    """Quantise a signal to the stored struct.

    Args: signal [leads, samples] in mV, NaN allowed; sampling_rate in Hz; one name per row.
    Returns: the struct of `ECG.pa_type`. Every sample is within half a step: 0.5 microvolt where the lead stays within
    +-32.767 mV, else half of (largest magnitude / 32767).
    Raises: ValueError for a wrong shape, infinite samples, a rate that is not positive, or lead names that do not fit.
    """
    leads = _checked_leads(leads)
    signal = np.asarray(signal)
    if signal.dtype.kind not in "fiu":
        raise ECGError(f"ECG signal has dtype {signal.dtype}; expected numbers in millivolts")
    if signal.ndim != 2 or signal.shape[0] != len(leads) or signal.shape[1] == 0:
        raise ECGError(
            f"ECG signal has shape {signal.shape} with {len(leads)} lead names; expected [leads, samples] with one "
            "row per name (transpose a [samples, leads] array)"
        )
    if np.isinf(signal).any():
        raise ECGError("ECG signal holds infinite samples; mark samples that are missing as NaN")
    missing = np.isnan(signal) if signal.dtype.kind == "f" else np.zeros(signal.shape, dtype=bool)
    # float64: at 32 mV a float32 product is too coarse to round 1 microvolt steps the same way every time
    filled = np.where(missing, 0.0, signal).astype(np.float64)
    peak = np.abs(filled).max(axis=1)
    gain = np.where(peak <= 32.767, np.float64(DEFAULT_GAIN), np.nextafter((peak / 32767).astype(np.float32), np.inf))
    steps = np.where(peak[:, None] <= 32.767, np.rint(filled * 1000.0), np.rint(filled / gain[:, None]))
    steps[missing] = MISSING
    return {
        "bytes": steps.astype("<i2").tobytes(),
        "gain": [float(step) for step in gain],
        "leads": leads,
        "sampling_rate": check_rate("ECG", float(sampling_rate)),
        "path": None,
    }


def _read_struct(path: str | None) -> dict[str, Any]:
    if path is None:
        raise ECGError("an ECG entry holds neither bytes nor a path")
    # by name: signals need not be there for a corpus whose signals are all embedded
    record = import_module("...signals", __package__).read_ecg(path)
    return encode_signal(record.signal, record.sampling_rate, record.leads)


def _checked_struct(value: Mapping[str, Any]) -> dict[str, Any]:
    if value.get("bytes") is None:
        return {"bytes": None, "gain": None, "leads": None, "sampling_rate": None, "path": str(value["path"])}
    missing = [key for key in ("gain", "leads", "sampling_rate") if value.get(key) is None]
    if missing:
        raise ECGError(f"a stored ECG has bytes but lacks {', '.join(missing)}")
    leads, gain, samples = _checked_leads(value["leads"]), [float(g) for g in value["gain"]], bytes(value["bytes"])
    try:
        check_stored(samples, gain, leads)
    except ECGError as error:
        raise ECGError(f"a stored ECG {error}") from None
    rate = check_rate("ECG", float(value["sampling_rate"]))
    return {"bytes": samples, "gain": gain, "leads": leads, "sampling_rate": rate, "path": value.get("path")}


def _checked_leads(leads: Sequence[str]) -> list[str]:
    if isinstance(leads, str):
        raise ECGError(f"leads is the string {leads!r}; expected a list of lead names")
    names = [known_lead_name(str(lead)) for lead in leads]  # X, V7 and the like as they are
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ECGError(f"lead names {names} " + (f"hold {', '.join(twice)} twice" if twice else "are empty"))
    return names


def _rows_of(wanted: Sequence[str], present: Sequence[str]) -> list[int]:
    missing = [lead for lead in wanted if lead not in present]
    if missing:
        raise ECGError(
            f"lead {', '.join(missing)} was asked for, the record holds {', '.join(present)}; leads are not derived "
            "here: use ECGFeatureExtractor, or choose leads that every record holds"
        )
    return [present.index(lead) for lead in wanted]
