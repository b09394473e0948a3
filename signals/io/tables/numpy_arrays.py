"""NumPy's .npy and .npz files: an array [leads, samples] in, an ECGRecord in millivolt out.

Decided here: that an array of Python objects, or one that promises more than the file holds, is refused unread, and
when an array is [samples, leads].
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ....errors_ecgllm import ECGError
from ...limits import check_leads
from ...quotes import without_quotes
from ...record import ECGReadError, ECGRecord, known_lead_name
from .tabular import TableDescription, table_record


def read_numpy(
    data: bytes, described: TableDescription, *, name: str, record_id: str | None, max_bytes: int
) -> ECGRecord:
    """Read a .npy or .npz file: [leads, samples], or the transpose where only that fits the number of leads.

    An .npz may hold `signal`, `sampling_rate`, `leads` and `unit`; whatever it lacks the caller says.
    """
    if data.startswith(b"PK"):
        arrays = _npz(data, name, max_bytes)
        source = "npz"
    else:
        arrays, source = {"signal": _npy(data, name, max_bytes)}, "npy"
    signal = arrays.pop("signal", None)
    if signal is None:
        raise ECGReadError(f"{name}: holds {len(arrays) or 'no'} arrays, none called 'signal'; expected that one.")
    if signal.dtype.kind not in "fiu":
        kind = signal.dtype if signal.dtype.names is None else "a structure"  # whose fields have names
        raise ECGReadError(f"{name}: holds {kind}; expected numbers, [leads, samples].")
    leads = described.leads
    if "leads" in arrays:
        leads = tuple(str(lead) for lead in np.atleast_1d(arrays["leads"]))
    if not leads:
        raise ECGReadError(
            f"{name}: does not name its leads. Pass leads=['I', 'II', ...] (--leads I,II,...) in the order of "
            "its rows."
        )
    check_leads(name, len(leads))
    if signal.ndim == 1:
        signal = signal[None]
    notes = []
    if signal.ndim == 2 and signal.shape[0] != len(leads) and signal.shape[1] == len(leads):
        signal = signal.T
        notes.append("the array is [samples, leads]; it was transposed")
    if signal.ndim != 2 or signal.shape[0] != len(leads) or not signal.shape[1]:
        raise ECGReadError(
            f"{name}: has the shape {signal.shape}, {len(leads)} leads are named; expected [{len(leads)}, samples]."
        )
    rate, unit = _scalar(arrays, "sampling_rate", name), _scalar(arrays, "unit", name)
    if rate is not None and not isinstance(rate, (int, float)):
        raise ECGReadError(f"{name}: its sampling_rate is {type(rate).__name__}; expected a number of Hz.")
    scale = described.millivolt(name, None if unit is None else str(unit))
    rate = described.rate(name, None if rate is None else float(rate))
    names = [known_lead_name(lead) for lead in leads]
    return table_record(name, signal.astype(np.float64) * scale, rate, names, record_id, source, notes)


def _npy(data: bytes, name: str, max_bytes: int) -> np.ndarray:
    """One array, its header compared with the file before anything is allocated."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(stream, max_header_size=10_000)
        if dtype.hasobject:
            raise ECGError("it holds Python objects, which could run code")
        count = math.prod(shape)
        promised, held = count * dtype.itemsize, len(data) - stream.tell()
        if count < 0 or promised > min(held, max_bytes):
            raise ECGError(f"it promises {shape} x {dtype.itemsize} bytes = {promised:,} and holds {held:,}")
        array = np.frombuffer(data, dtype=dtype, count=count, offset=stream.tell())
        return array.reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:
        # NumPy quotes the header, Python a line of it; what is said above is said
        cause = error if isinstance(error, ECGError) else f"{type(error).__name__}: {without_quotes(str(error))}"
        raise ECGReadError(f"{name}: is no readable NumPy array: {cause}. Save or copy it again.") from None


def _npz(data: bytes, name: str, max_bytes: int) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            total = sum(entry.file_size for entry in entries)  # zipfile reads no more than this of an entry
            if total > max_bytes:
                raise ECGReadError(
                    f"{name}: unpacks to {total:,} bytes; the limit is {max_bytes:,} (in Python: max_bytes=...)."
                )
            return {entry.filename[:-4]: _npy(archive.read(entry), name, max_bytes) for entry in entries}
    except ECGReadError:
        raise
    except Exception as error:  # zipfile raises its own errors, and those of zlib, struct and the codecs
        raise ECGReadError(
            f"{name}: is no readable .npz archive: {without_quotes(str(error))}. Save or copy it again."
        ) from None


def _scalar(arrays: Mapping[str, np.ndarray], key: str, name: str) -> Any:
    if key not in arrays:
        return None
    if arrays[key].size != 1:
        raise ECGReadError(f"{name}: its {key} has {arrays[key].size} values; expected one.")
    return arrays[key].item()
