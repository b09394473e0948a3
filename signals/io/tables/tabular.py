"""What tables and arrays do not say of themselves, and the record that is made of them.

In: what a CSV, NumPy or Parquet file states and what the caller adds. Out: a rate, a unit, an ECGRecord in millivolt.
Decided here: what neither of the two says is asked for, and a contradiction is refused. A unit is never guessed from
amplitudes. The readers: `csv_tables`, `numpy_arrays`, `parquet_rows`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...limits import check_rate
from ...record import ECGReadError, ECGRecord
from ..wfdb.header import unit_in_millivolt


class TableDescription:
    """What the caller says of a file that does not say it itself."""

    def __init__(self, sampling_rate: float | None, unit: str | None, leads: Sequence[str] | None) -> None:
        self.sampling_rate, self.unit = sampling_rate, unit
        self.leads = None if leads is None else tuple(leads)

    def rate(self, name: str, found: float | None, where: str = "the file") -> float:
        """The rate in Hz, by file or caller. Raises: ECGReadError where neither says it, or they differ."""
        given = self.sampling_rate
        if found is not None and given is not None and abs(found - given) > 1e-3 * given:
            raise ECGReadError(
                f"{name}: {where} says {found:g} Hz, sampling_rate={given:g} was passed; drop one of them."
            )
        value = found if given is None else float(given)
        if value is None:
            raise ECGReadError(
                f"{name}: does not say its sampling rate. Pass sampling_rate=... in Hz (--sampling-rate), or write a "
                "first line such as '# sampling_rate: 500'; it cannot be guessed from the samples."
            )
        return check_rate(name, value)

    def millivolt(self, name: str, found: str | None) -> float:
        """Millivolts per unit, by file or caller. Raises: ECGReadError where neither names one, or they differ."""
        scales = {unit: unit_in_millivolt(unit) for unit in (found, self.unit) if unit is not None}
        for unit, scale in scales.items():
            if scale is None:  # the file's own words are not quoted
                said = f"unit={unit!r} was passed" if unit == self.unit else "states a unit that is no voltage"
                raise ECGReadError(f"{name}: {said}; expected mV, uV, V or nV.")
        if len(set(scales.values())) > 1:
            raise ECGReadError(f"{name}: the file says {found}, unit={self.unit!r} was passed; drop one of them.")
        if not scales:
            raise ECGReadError(
                f"{name}: does not say in which unit it is. Pass unit='mV' or unit='uV' (--unit), or write a first "
                "line such as '# unit: mV'; a unit is never guessed, as a wrong one is off by a thousand."
            )
        return next(iter(scales.values()))


def table_record(
    name: str,
    signal: np.ndarray,
    rate: float,
    names: list[str],
    record_id: str | None,
    source: str,
    notes: Sequence[str] = (),
) -> ECGRecord:
    notes = list(notes)
    missing = np.isnan(signal)
    if missing.all():
        raise ECGReadError(f"{name}: holds no number at all.")
    if missing.any():
        lacking = ", ".join(lead for lead, row in zip(names, missing, strict=True) if row.any())
        notes.append(f"{int(missing.sum())} missing samples are NaN, in {lacking}")
    try:
        with np.errstate(over="ignore"):
            samples = signal.astype(np.float32)
        return ECGRecord(samples, rate, tuple(names), id=record_id, notes=tuple(notes), source=source)
    except (TypeError, ValueError) as error:
        raise ECGReadError(f"{name}: {error}") from error
