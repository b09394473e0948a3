"""From a corpus' folder, or from records, to a `datasets.Dataset` of records.

In: the name of a corpus and its folder, or `ECGRecord`s. Out: one row per record with the columns of
`CORPUS_FEATURES`, every signal embedded. Decided here: that one unreadable file never ends a run, and that nothing is
lost in silence: what could not be read and what no one has mapped is counted in the `CorpusReport`, and the counts are
kept in `dataset.info.description`. The report of a record, its statements and its time stay whole: training needs
them.
"""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value
from datasets.utils import tqdm
from transformers.utils import logging

from ...errors_ecgllm import ECGError
from ...findings.labels import describe, findings_from_statements, implied, severity
from .arrow_datasets import dataset_from_rows
from .duplicates import check_groups, duplicate_rows, with_one_split_each, without_copies
from .ecg_feature import ECG
from .entry import Entry, Found
from .refused_by_models import why_refused
from .report_lines import counted, listed
from .sources import cinc2021, code15, folder, ludb, mimic_iv_ecg, ptbxl
from .splits import check_patient_split, split_of

logger = logging.get_logger(__name__)

# bpm, ms and degrees, named as in ECGRecord.measurements; null where nobody has measured
MEASUREMENTS = ("heart_rate", "pr", "qrs", "qt", "qtc", "axis")

CORPUS_FEATURES = Features(
    {
        "id": Value("string"),
        "patient_id": Value("string"),
        "ecg": ECG(),
        "report": Value("string"),
        "findings": List(Value("string")),
        "statements": List(Value("string")),
        "finding_leads": List({"finding": Value("string"), "leads": List(Value("string"))}),
        "measurements": {name: Value("float32") for name in MEASUREMENTS},
        "age": Value("float32"),
        "sex": Value("string"),
        "recorded_at": Value("string"),
        "device": Value("string"),
        "severity": Value("int32"),
        "split": Value("string"),
        "source": Value("string"),
    }
)

_LOADERS: dict[str, Callable[..., Found]] = {
    "ludb": ludb.entries,
    "cinc2021": cinc2021.entries,
    **{
        name: partial(cinc2021.entries, corpus=name)
        for name in ("chapman-shaoxing", "ningbo", "chapman-ningbo", "cpsc2018")
    },
    "ptbxl": ptbxl.entries,
    "mimic-iv-ecg": mimic_iv_ecg.entries,
    "code15": code15.entries,
    "folder": folder.entries,
}
CORPORA = (*_LOADERS, "simulation")
_LISTED = 50  # lines of one kind in a printed report
_FEW = 5  # ids in one line


@dataclass
class CorpusReport:
    """What happened while a corpus was made. unreadable: (record id, reason). unmapped: statement -> records bearing
    it. unclear: words of the source that were not understood -> records. notes: what the folder holds beside them.
    copies: ids that are one recording. left_out: id of a copy -> that of the record that was kept. noticed: what
    readers did or noticed (kinds of `ECGRecord.notes`) -> files. refused: why models refuse records, which are in the
    corpus all the same -> their ids.

    Printed, unmapped and unclear are counts; the texts are in the attributes, and in `text(statements=True)`."""

    name: str
    records: int = 0
    without_findings: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    unmapped: Counter[str] = field(default_factory=Counter, repr=False)
    unclear: Counter[str] = field(default_factory=Counter, repr=False)
    notes: list[str] = field(default_factory=list)
    copies: list[tuple[str, ...]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    noticed: Counter[str] = field(default_factory=Counter)
    refused: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text(_LISTED)

    def text(
        self, most: int | None = None, all_in: str | os.PathLike[str] | None = None, statements: bool = False
    ) -> str:
        """The report, how many records there are last; at most `most` lines of one kind, all in the file `all_in`.

        statements: with what the source says and nobody has mapped or understood, which is else only counted: it may
        name a person, and reports are kept and passed on.
        """
        lines = listed([f"unreadable: {record_id}: {reason}" for record_id, reason in self.unreadable], most, all_in)
        for what, counts in (("mapped", self.unmapped), ("understood", self.unclear)):
            lines += counted(f"not {what}", counts, "records", statements)
        lines += listed([f"one recording: {', '.join(group)}" for group in self.copies], most, all_in)
        if self.copies:
            lines.append(f"copies: {len(self.copies)} recordings stand in it more than once, under these ids")
        kept = [f"left out: {copy}, the same recording as {record}" for copy, record in self.left_out.items()]
        lines += listed(kept, most, all_in)
        noticed = [
            f"notes of readers: {count:,} file{'s' if count > 1 else ''}: {kind}"
            for kind, count in self.noticed.most_common()
        ]
        lines += listed(noticed, most, all_in)
        for reason, ids in self.refused.items():
            shown = ", ".join(ids[:_FEW]) + (f" and {len(ids) - _FEW:,} more" if len(ids) > _FEW else "")
            lines.append(f"train will leave out {len(ids):,} of {self.records:,} records ({shown}): {reason}")
        lines += [f"note: {note}" for note in self.notes]
        if self.splits:
            lines.append("split: " + ", ".join(f"{split} {count}" for split, count in sorted(self.splits.items())))
        unread = f", {len(self.unreadable)} could not be read" if self.unreadable else ""
        lines.append(f"{self.name}: {self.records} records, {self.without_findings} without any finding{unread}")
        return "\n".join(lines)


def prepare(
    name: str, src: str | os.PathLike[str] | None = None, seed: int = 0, limit: int | None = None, **options: Any
) -> Dataset:
    """Make the corpus `name`; see `prepare_with_report`, of which this returns the data set alone. What was lost is
    logged."""
    return _logged(*prepare_with_report(name, src, seed=seed, limit=limit, **options))


def _logged(dataset: Dataset, report: CorpusReport) -> Dataset:
    if report.unreadable or report.unmapped or report.unclear:
        logger.warning(str(report))
    return dataset


def prepare_with_report(
    name: str,
    src: str | os.PathLike[str] | None = None,
    seed: int = 0,
    limit: int | None = None,
    min_likelihood: float = 0.0,
    drop_copies: bool = False,
    **options: Any,
) -> tuple[Dataset, CorpusReport]:
    """Make a corpus and say what was lost on the way.

    A recording that stands in it under several ids (`duplicates`) is told in the report. Where the split is drawn here
    its records share one; where the corpus has a split of its own, which it would cross, that is an error.

    Args:
        name: one of `CORPORA`. "simulation" takes no `src` and makes `limit` records, 1,000 by default.
        src: the folder into which the corpus was unpacked.
        seed: of the split by patient (where the corpus has none of its own) and of the simulation.
        limit: read only the first so many records.
        min_likelihood: least likelihood (percent) of PTB-XL's diagnostic statements; see `findings_from_statements`.
        drop_copies: of each recording keep one record alone, that of the test split if there is one.
        options: of the corpus: `sampling_rate` (ptbxl: 500 or 100 Hz), `unit` (code15), `table` (folder: the CSV
            file), how `read_ecg` reads the files (folder: see `sources.folder.entries`), `reader_spread` (simulation,
            see `simulate_ecgs`).
    Returns: (data set with `CORPUS_FEATURES`, report).
    Raises: ValueError for an unknown name or option, a patient or recording in two splits or a corpus without one
        readable record, FileNotFoundError for a folder that does not hold the corpus.
    """
    if name == "simulation":
        unknown = sorted(set(options) - {"reader_spread"})
        if src is not None or unknown:
            extra = ", ".join([*([f"the folder {src}"] if src is not None else []), *unknown])
            raise ECGError(
                f"the corpus 'simulation' takes no folder and no option but reader_spread "
                f"(for more: ecgllm simulate); found {extra}"
            )
        simulate = import_module("...signals.simulation", __package__).stream_ecgs
        records = simulate(1000 if limit is None else limit, seed=seed, **options)
        return _from_records(records, name, seed, min_likelihood, drop_copies)
    found = find_entries(name, src, **options)
    return corpus_of(name, found, seed=seed, limit=limit, min_likelihood=min_likelihood, drop_copies=drop_copies)


def find_entries(name: str, src: str | os.PathLike[str] | None, **options: Any) -> Found:
    """The records of a corpus' folder, not yet read. Arguments and errors as of `prepare_with_report`."""
    if name not in _LOADERS:
        more = "ecg-qa, a set of questions, is made by prepare_ecg_qa (ecgllm prepare ecg-qa)"
        raise ECGError(f"there is no corpus {name!r}; expected one of {', '.join(CORPORA)}; {more}")
    if src is None:
        raise ECGError(f"the corpus {name!r} needs its folder: prepare({name!r}, src)")
    known = [option for option in inspect.signature(_LOADERS[name]).parameters if option not in ("src", "corpus")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ECGError(f"the corpus {name!r} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    return _LOADERS[name](Path(src), **options)


def corpus_of(
    name: str,
    found: Found,
    seed: int = 0,
    limit: int | None = None,
    min_likelihood: float = 0.0,
    drop_copies: bool = False,
) -> tuple[Dataset, CorpusReport]:
    """Read the records that a loader has found. Arguments, result and errors as of `prepare_with_report`."""
    total = found.total if limit is None or found.total is None else min(limit, found.total)
    outcomes = (_read_row(entry, name, seed, min_likelihood) for entry in islice(found.entries, limit))
    return _corpus(name, outcomes, total if total is not None else limit, found.notes, drop_copies)


def records_to_corpus(records: Iterable[Any], source: str, seed: int = 0) -> Dataset:
    """A corpus of `ECGRecord`s in memory: simulated ones, or your own.

    A record without an id gets `<source>-<position>`, one without a patient id counts as a patient of its own, one
    without findings gets those that its statements map to, one without a report gets its findings as English
    sentences.
    Raises: ValueError for no records, two records of one id, or a finding outside the vocabulary.
    """
    return _logged(*_from_records(records, source, seed, min_likelihood=0.0))


def _from_records(
    records: Iterable[Any], source: str, seed: int, min_likelihood: float, drop_copies: bool = False
) -> tuple[Dataset, CorpusReport]:
    def outcomes() -> Iterator[_Outcome]:
        for position, record in enumerate(records):
            record_id = record.id or f"{source}-{position:06d}"
            entry = Entry(id=record_id, path=Path(), patient_id=record.patient_id or record_id)
            yield _row(entry, record, source, seed, min_likelihood)

    return _corpus(source, outcomes(), None, [], drop_copies)


@dataclass
class _Outcome:
    """A record's row, or the reason why there is none. unmapped, unclear, noticed and refused (why models do): for
    the report."""

    id: str
    row: dict[str, Any] | None = field(default=None, repr=False)
    reason: str = ""
    unmapped: tuple[str, ...] = field(default=(), repr=False)
    unclear: tuple[str, ...] = field(default=(), repr=False)
    noticed: tuple[str, ...] = ()
    refused: str | None = None
    split_is_own: bool = False


def _read_row(entry: Entry, name: str, seed: int, min_likelihood: float) -> _Outcome:
    try:
        if entry.load is not None:
            record = entry.load()
        else:
            record = import_module("...signals", __package__).read_ecg(entry.path)
        record = replace(record, **entry.changes)
    except (ValueError, OSError) as error:  # ECGReadError is a ValueError, as are the record's own checks
        return _Outcome(entry.id, reason=str(error))
    note_kind = import_module("...signals.summary", __package__).note_kind
    noticed = tuple(dict.fromkeys(map(note_kind, record.notes)))
    return replace(_row(entry, record, name, seed, min_likelihood), noticed=noticed)


def _row(entry: Entry, record: Any, name: str, seed: int, min_likelihood: float) -> _Outcome:
    unmapped: tuple[str, ...] = ()
    if record.findings is not None:
        findings = implied(record.findings)
    else:
        statements = [entry.read_as.get(statement, statement) for statement in record.statements]
        findings, unmapped = findings_from_statements(statements, min_likelihood)
        if (unmapped and entry.whole_report) or entry.of_patient:
            findings = ()
    row = {
        "id": entry.id,
        "patient_id": entry.patient_id,
        "ecg": CORPUS_FEATURES["ecg"].encode_example(record),
        # PTB-XL's reports are its cardiologists' words: a row without one stays without
        "report": record.report or (describe(findings) if findings and name != "ptbxl" else None),
        "findings": list(findings),
        "statements": list(record.statements),
        "finding_leads": [
            {"finding": finding, "leads": list(leads)} for finding, leads in (record.finding_leads or {}).items()
        ],
        "measurements": {name: (record.measurements or {}).get(name) for name in MEASUREMENTS},
        "age": record.age,
        "sex": record.sex,
        "recorded_at": record.recorded_at.isoformat() if record.recorded_at else None,
        "device": record.device,
        "severity": severity(findings),
        "split": entry.split or split_of(entry.patient_id, seed),
        "source": entry.source or name,
    }
    return _Outcome(
        entry.id,
        row,
        unmapped=unmapped,
        unclear=entry.unclear,
        refused=why_refused(record),
        split_is_own=entry.split is not None,
    )


def _corpus(
    name: str, outcomes: Iterable[_Outcome], total: int | None, notes: list[str], drop_copies: bool
) -> tuple[Dataset, CorpusReport]:
    report, seen, own_split = CorpusReport(name), set(), set()

    def rows() -> Iterator[dict[str, Any]]:
        for outcome in tqdm(outcomes, total=total, desc=f"Reading {name}", unit="record"):
            if outcome.row is None:
                report.unreadable.append((outcome.id, outcome.reason or "unknown reason"))
                continue
            if outcome.id in seen:
                raise ECGError(f"two records of {name} have the id {outcome.id!r}; give every record its own")
            seen.add(outcome.id)
            report.records += 1
            report.without_findings += not outcome.row["findings"]
            if outcome.split_is_own:
                own_split.add(outcome.row["patient_id"])
            report.unmapped.update(set(outcome.unmapped))
            report.unclear.update(set(outcome.unclear))
            report.noticed.update(outcome.noticed)
            if outcome.refused:
                report.refused.setdefault(outcome.refused, []).append(outcome.id)
            yield outcome.row

    # 100 signals a batch: a random access reads its batch's index, and 1,000 of 5,000 samples would fill 120 MB first
    dataset = dataset_from_rows(rows(), CORPUS_FEATURES, batch_size=100)
    report.notes = list(notes)  # a loader may add to them until its last record
    if not report.records:
        raise ECGError(f"{name}: not one record could be read{_first_reason(report)}")
    dataset = _without_crossing_copies(dataset, report, own_split, drop_copies)
    report.splits = Counter(dataset["split"])
    dataset.info.description = str(report)
    check_patient_split(dataset)
    return dataset, report


def _without_crossing_copies(
    dataset: Dataset, report: CorpusReport, own_split: set[str], drop_copies: bool
) -> Dataset:
    """The corpus with every recording in one split, or as one record alone. own_split: patients whose split is the
    corpus' own."""
    groups = duplicate_rows(dataset)
    if drop_copies:
        dataset, report.left_out = without_copies(dataset, groups)
        report.records = len(dataset)
        refused = {
            reason: [each for each in ids if each not in report.left_out] for reason, ids in report.refused.items()
        }
        report.refused = {reason: ids for reason, ids in refused.items() if ids}
        return dataset
    if groups:
        patients = dataset["patient_id"][:]
        free = [group for group in groups if not any(patients[row] in own_split for row in group)]
        dataset = with_one_split_each(dataset, free)
        report.copies = check_groups(
            dataset,
            groups,
            "The corpus has this split of its own; keep one record of each: drop_copies=True (--drop-copies)",
        )
    return dataset


def _first_reason(report: CorpusReport) -> str:
    if not report.unreadable:
        return "; there is none"
    return " of {}; the first, {}: {}".format(len(report.unreadable), *report.unreadable[0])
