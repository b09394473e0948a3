"""Simulated 12-lead ECGs whose labels are known: a seed and wishes in, ECGRecords with findings and report out.

`simulate_ecgs` draws a broad mix (or records that all bear given findings), `simulate_ecg` gives one,
`simulate_with_waves` adds where every wave begins and ends, and `simulate_follow_ups` gives pairs of one patient with
a known change. Decided here: how plans, hearts, noise and reports make a record, and that a record that does not
show what was asked for is drawn again. docs/simulation.md has the model and its limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from ...errors_ecgllm import ECGError
from ...findings.vocabulary import NOISES
from ...signal_ecgllm import LEADS
from ..electrodes import twelve_leads
from ..record import ECGRecord
from .change import changed_plans, is_intended
from .criteria import draw_limits
from .heart import Hearts, draw_hearts, labels_of, rendered
from .labels import Labels
from .noise import draw_noise
from .plan import draw_plan
from .reports import write_report
from .rhythm import ATRIAL, VENTRICULAR, seen
from .wishes import ARMS_EXCHANGED, NORMAL, checked_findings, may_show

CHUNK = 128  # records drawn and rendered at once: small enough for the cache, large enough for numpy
_MIN_DURATION = 5.0  # seconds; a premature beat must fit at any rate
_ATTEMPTS = 60  # batches drawn before a wish is called impossible
_MEASUREMENTS = ("heart_rate", "pr", "qrs", "qt", "qtc", "axis")


@dataclass(frozen=True, eq=False)
class WaveAnnotations:
    """Where the waves of a record begin and end, in seconds; those that lie in the record as a whole.

    p, qrs: [waves, 2] onset and offset. t_end: [beats], for each row of `qrs`. kinds: for
    each row of `qrs` "usual", "premature ventricular" or "premature atrial".
    """

    p: np.ndarray
    qrs: np.ndarray
    t_end: np.ndarray
    kinds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FollowUp:
    """Two records of one patient. new, resolved: findings of the heart that only the second, or only the first, has;
    both are empty where nothing changed."""

    first: ECGRecord
    second: ECGRecord
    new: tuple[str, ...]
    resolved: tuple[str, ...]


def simulate_ecgs(
    n: int,
    seed: int,
    sampling_rate: float = 100.0,
    duration: float = 10.0,
    noise: float = 1.0,
    findings: Iterable[str] | None = None,
    heart_rate: float | None = None,
    first: int = 0,
    reader_spread: float = 0.0,
    exchanged_arms: float = 0.0,
) -> list[ECGRecord]:
    """Simulate `n` 12-lead ECGs; the same arguments give the same bytes.

    Args:
        n: how many. seed: of the random generator. sampling_rate: Hz. duration: seconds, at least 5.
        noise: scale of the electrodes' noise, 0 for none.
        findings: what every record shall show, of `FINDINGS`; what is not named is normal. None draws a mix.
        heart_rate: beats per minute of every record, or None to draw it.
        first: number of the first record, a multiple of `CHUNK`. A seed is one endless series of records, of which
            each chunk can be made alone: `simulate_ecgs(256, 0)` is `simulate_ecgs(128, 0)` and then
            `simulate_ecgs(128, 0, first=128)`.
        reader_spread: 0 to 1: how much the diagnostic criteria vary from record to record around the published ones
            (`criteria`). Signals are the same.
        exchanged_arms: share of records, 0 to 1, whose electrodes of the arms are exchanged. They bear "suspected arm
            lead reversal"; other findings are those of the heart, with only their chest leads, and there is no axis.

    Returns: records of float32 [12, duration * sampling_rate] in mV, each of its own patient, with all findings that
    hold, the leads of those that are local (`finding_leads`), an English report, age, sex, and measurements:
    heart_rate (bpm over the record), qrs, qt, qtc (Bazett) and, where a P wave is conducted to each QRS, pr (ms), axis
    (degrees, from the net amplitudes in I and aVF).
    Raises: ValueError for unknown or contradictory findings, or a heart rate that they exclude.
    """
    settings = (sampling_rate, duration, noise, findings, heart_rate, first, reader_spread, exchanged_arms)
    return list(stream_ecgs(n, seed, *settings))


def stream_ecgs(n: int, seed: int, *settings: Any, **named: Any) -> Iterator[ECGRecord]:
    """The records of `simulate_ecgs` one by one, made as they are asked for: for more than memory holds."""
    return (record for record, _ in _simulated(_Settings(n, seed, *settings, **named)))


def simulate_ecg(
    findings: Iterable[str] = (NORMAL,), heart_rate: float | None = None, seed: int = 0, **settings: Any
) -> ECGRecord:
    """Simulate one ECG that shows `findings`, everything else normal; settings as of `simulate_ecgs`."""
    return simulate_ecgs(1, seed, findings=findings, heart_rate=heart_rate, **settings)[0]


def simulate_with_waves(n: int, seed: int, *settings: Any, **named: Any) -> list[tuple[ECGRecord, WaveAnnotations]]:
    """The records of `simulate_ecgs`, each with the onsets and offsets of its waves."""
    wanted = _Settings(n, seed, *settings, **named)
    return [(record, _waves(hearts, wanted.duration)) for record, hearts in _simulated(wanted)]


def simulate_follow_ups(n: int, seed: int, *settings: Any, **named: Any) -> list[FollowUp]:
    """The pairs of `stream_follow_ups` as a list."""
    return list(stream_follow_ups(n, seed, *settings, **named))


def stream_follow_ups(
    n: int,
    seed: int,
    sampling_rate: float = 100.0,
    duration: float = 10.0,
    noise: float = 1.0,
    reader_spread: float = 0.0,
) -> Iterator[FollowUp]:
    """Simulate `n` pairs of ECGs of one patient each, in about equal parts with a new finding, with one that is gone,
    and without a change; they are made as they are asked for.

    Both records have the same patient_id, sex and body; the second is days to years later (`recorded_at`, `age`), its
    electrodes sit a little differently, its noise is its own. Noise is no change. Same arguments, same bytes.
    Raises: ValueError as `simulate_ecgs`.
    """
    settings = _Settings(n, seed, sampling_rate, duration, noise, reader_spread=reader_spread)
    attempt = number = 0
    while number < n:
        seeds = [seed, 1, attempt]
        rng = np.random.default_rng(seeds)
        attempt += 1
        before, after, intended = changed_plans(rng, CHUNK)
        hearts = [
            draw_hearts(np.random.default_rng([*seeds, 2]), np.random.default_rng([*seeds, 3 + visit]), plan, duration)
            for visit, plan in enumerate((before, after))
        ]
        # The same criteria for both visits: others would show changes where there are none.
        limits = draw_limits(np.random.default_rng([*seeds, 7]), CHUNK, reader_spread)
        labels = [labels_of(each, duration, limits) for each in hearts]
        rows = [row for row in range(CHUNK) if is_intended(*(own.findings(row) for own in labels), *intended[row])]
        rows = np.array(rows[: n - number], dtype=int)
        made = (
            _records(np.random.default_rng([*seeds, 5 + visit]), hearts[visit][rows], labels[visit][rows], settings)
            for visit in range(2)
        )
        start = datetime(2015, 1, 1)
        for first, second in zip(*made, strict=True):
            name, patient = f"sim-{seed}-pair-{number:06d}", f"sim-{seed}-pair-patient-{number:06d}"
            at = start + timedelta(minutes=float(rng.integers(0, 60 * 24 * 2500)))
            gap = timedelta(minutes=round(float(np.exp(rng.uniform(np.log(60.0), np.log(60 * 24 * 900))))))
            one = _named(first, f"{name}-1", patient, recorded_at=at)
            age = float(min(first["age"] + round(gap.days / 365.25), 110))
            two = _named(second | {"age": age}, f"{name}-2", patient, recorded_at=at + gap)
            new, gone = _difference(one.findings, two.findings), _difference(two.findings, one.findings)
            yield FollowUp(one, two, new, gone)
            number += 1


@dataclass(frozen=True)
class _Settings:
    """What `simulate_ecgs` takes. Raises: ECGError for what cannot be made."""

    n: int
    seed: int
    sampling_rate: float = 100.0
    duration: float = 10.0
    noise: float = 1.0
    findings: Iterable[str] | None = None
    heart_rate: float | None = None
    first: int = 0
    reader_spread: float = 0.0
    exchanged_arms: float = 0.0

    def __post_init__(self) -> None:
        n, duration, rate, noise, first = self.n, self.duration, self.sampling_rate, self.noise, self.first
        if n < 0 or duration < _MIN_DURATION or rate < 50 or noise < 0:
            raise ECGError(
                f"n={n}, duration={duration} s, sampling_rate={rate} Hz, noise={noise}; expected n and noise of "
                f"at least 0, a duration of at least {_MIN_DURATION:g} s and a rate of at least 50 Hz."
            )
        if first < 0 or first % CHUNK:
            raise ECGError(f"first is {first}; expected a multiple of {CHUNK}, as records are drawn by so many.")
        if not 0 <= self.exchanged_arms <= 1:
            raise ECGError(f"exchanged_arms is {self.exchanged_arms}; expected a share of records, 0 to 1.")
        noises = self.noises or ()  # which looks at the findings
        if self.heart_rate is not None and not 30 <= self.heart_rate <= 180:
            raise ECGError(f"heart_rate is {self.heart_rate}; the simulator makes 30 to 180 beats per minute.")
        if noise == 0 and noises:
            raise ECGError(f"noise is 0, which excludes {min(noises)!r}; leave one of them out.")

    @cached_property
    def wanted(self) -> frozenset[str] | None:
        return None if self.findings is None else checked_findings(self.findings, self.heart_rate)

    @property
    def noises(self) -> frozenset[str] | None:
        """What is spoilt on purpose; None leaves that to chance."""
        return None if self.wanted is None else self.wanted.intersection(NOISES)


def _simulated(settings: _Settings) -> Iterator[tuple[ECGRecord, Hearts]]:
    """Records one by one, each with its heart (a batch of one)."""
    start, end = settings.first, settings.first + settings.n
    for first in range(start, end, CHUNK):
        seeds = [settings.seed, first]
        hearts, labels = _drawn(seeds, min(CHUNK, end - first), settings)
        for number, fields in enumerate(_records(np.random.default_rng([*seeds, 9]), hearts, labels, settings), first):
            names = (f"sim-{settings.seed}-{kind}{number:06d}" for kind in ("", "patient-"))
            yield _named(fields, *names), hearts[number - first : number - first + 1]


def _drawn(seeds: list[int], count: int, settings: _Settings) -> tuple[Hearts, Labels]:
    """`count` hearts; where something was wished, only those whose waves show it and nothing else."""
    wanted, heart_rate, duration = settings.wanted, settings.heart_rate, settings.duration
    parts: list[tuple[Hearts, Labels]] = []
    missing = count
    shown = must = frozenset()
    if wanted is not None:
        shown, must = may_show(wanted, heart_rate), wanted.difference(NOISES)
    for attempt in range(_ATTEMPTS):
        body, visit = (np.random.default_rng([*seeds, attempt, part]) for part in (0, 1))
        size = missing if wanted is None else min(CHUNK, 2 * missing + 10)
        plan = draw_plan(body, size, wanted, heart_rate)
        hearts = draw_hearts(body, visit, plan, duration)
        limits = draw_limits(np.random.default_rng([*seeds, attempt, 2]), size, settings.reader_spread)
        labels = labels_of(hearts, duration, limits)
        if wanted is None:
            return hearts, labels
        fits = [must <= found <= shown for found in (frozenset(labels.findings(row)) for row in range(size))]
        rows = np.flatnonzero(fits)[:missing]
        parts.append((hearts[rows], labels[rows]))
        missing -= len(rows)
        if not missing:
            return _stacked(parts)
    raise ECGError(
        f"{count - missing} of {count} records of {duration:g} s could be made that show {', '.join(sorted(wanted))}"
        f"{'' if heart_rate is None else f' at {heart_rate:g} beats per minute'} and nothing else. Leave a finding or "
        "the heart rate out, or make them longer."
    )


def _stacked(parts: list[tuple[Hearts, Labels]]) -> tuple[Hearts, Labels]:
    if len(parts) == 1:
        return parts[0]
    labels = [own for _, own in parts]
    joined = (
        {name: np.concatenate([getattr(own, part)[name] for own in labels]) for name in getattr(labels[0], part)}
        for part in ("measurements", "holds", "leads")
    )
    return Hearts.stacked([hearts for hearts, _ in parts]), Labels(*joined)


def _records(rng: np.random.Generator, hearts: Hearts, labels: Labels, settings: _Settings) -> list[dict]:
    """Fields of the records of a batch, without names."""
    n, sampling_rate = len(hearts.qrs), settings.sampling_rate
    times = np.arange(round(settings.duration * sampling_rate)) / sampling_rate
    reporting = np.random.default_rng(rng.integers(0, 2**63))  # so that noise does not change the report
    eight, spoilt = rendered(hearts, times), [{} for _ in range(n)]
    if settings.noise > 0 and n:
        added, spoilt = draw_noise(rng, n, times, settings.noise, settings.noises, hearts.smoothing)
        eight += added
    exchanged = np.random.default_rng(hearts.seeds).random(n) < settings.exchanged_arms
    eight[exchanged, 1] -= eight[exchanged, 0]  # II becomes III, and I is upside down; chest leads stay
    eight[exchanged, 0] *= -1
    signal = twelve_leads(eight)
    records = []
    for i in range(n):
        findings, leads = labels.findings(i), labels.finding_leads(i) | spoilt[i]
        findings = (*findings, *(kind for kind in NOISES if kind in spoilt[i]))
        values = {name: float(labels.measurements[name][i]) for name in _MEASUREMENTS}
        if exchanged[i]:
            findings, values["axis"] = (*findings, ARMS_EXCHANGED), np.nan
            chest = {name: tuple(lead for lead in own if lead in LEADS[6:]) for name, own in leads.items()}
            leads = {name: own for name, own in chest.items() if own}
        records.append(
            {
                "signal": signal[i],
                "sampling_rate": sampling_rate,
                "findings": findings,
                "finding_leads": leads,
                "report": write_report(reporting, findings, leads, values["heart_rate"]),
                "measurements": {name: value for name, value in values.items() if not np.isnan(value)},
                "age": float(hearts.plan.age[i]),
                "sex": "female" if hearts.plan.female[i] else "male",
            }
        )
    return records


def _named(fields: dict, name: str, patient: str, **rest: object) -> ECGRecord:
    return ECGRecord(**fields, leads=LEADS, id=name, patient_id=patient, source="simulation", **rest)


def _difference(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in after if name not in before and name not in NOISES)


def _waves(hearts: Hearts, duration: float) -> WaveAnnotations:
    rhythm = hearts.rhythm
    inside = seen(rhythm.qrs[0], duration)
    onset, kind = rhythm.qrs[0][inside], rhythm.kind[0][inside]
    ectopic = kind == VENTRICULAR
    length = np.where(ectopic, hearts.ectopic_qrs[0], hearts.qrs[0])
    ectopic_end = hearts.ectopic.centers[0, -1] + 2 * hearts.ectopic.widths[0, -1]
    p = np.concatenate([rhythm.p[0], rhythm.early_p[0], rhythm.retrograde_p[0]])
    p = np.sort(p[(p >= 0) & (p + hearts.p_length[0] <= duration)])  # NaN is neither
    names = {VENTRICULAR: "premature ventricular", ATRIAL: "premature atrial"}
    return WaveAnnotations(
        np.stack([p, p + hearts.p_length[0]], axis=1),
        np.stack([onset, onset + length], axis=1),
        onset + np.where(ectopic, ectopic_end, hearts.qt[0]),
        tuple(names.get(each, "usual") for each in kind.tolist()),
    )
