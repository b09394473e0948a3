"""From a corpus' folder, or from records, to a `datasets.Dataset` of records.

In: the name of a corpus and its folder, or `ECGRecord`s. Out: one row per record with the columns of
`CORPUS_FEATURES`, every signal embedded. Decided here: that one unreadable file never ends a run, and that nothing is
lost in silence: what could not be read and what no one has mapped is counted in the `CorpusReport`, logged, and kept
in `dataset.info.description`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter
from datasets.utils import tqdm
from transformers.utils import logging

from . import cinc2021, ludb, ptbxl
from .ecg_feature import ECG
from .entry import Entry
from .findings import describe, findings_from_statements, implied, severity
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

_LOADERS: dict[str, Callable[[Path], list[Entry]]] = {
    "ludb": ludb.entries,
    "cinc2021": cinc2021.entries,
    "ptbxl": ptbxl.entries,
}


@dataclass
class CorpusReport:
    """What happened while a corpus was made. unreadable: (record id, reason). unmapped: statement -> records bearing
    it."""

    name: str
    records: int = 0
    without_findings: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    unmapped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.records} records, {self.without_findings} without any finding"]
        lines += [f"unreadable: {record_id}: {reason}" for record_id, reason in self.unreadable]
        lines += [f"not mapped: {statement} ({count} records)" for statement, count in self.unmapped.most_common()]
        return "\n".join(lines)


def prepare(
    name: str, src: str | os.PathLike[str] | None = None, seed: int = 0, limit: int | None = None, **options: Any
) -> Dataset:
    """Make the corpus `name`; see `prepare_with_report`, of which this returns the data set alone."""
    return prepare_with_report(name, src, seed=seed, limit=limit, **options)[0]


def prepare_with_report(
    name: str,
    src: str | os.PathLike[str] | None = None,
    seed: int = 0,
    limit: int | None = None,
    min_likelihood: float = 0.0,
) -> tuple[Dataset, CorpusReport]:
    """Make a corpus and say what was lost on the way.

    Args:
        name: "ludb", "cinc2021", "ptbxl", or "simulation" (which takes no `src`, and makes `limit` records, 1,000 by
            default).
        src: the folder into which the corpus was unpacked.
        seed: of the split by patient (where the corpus has none of its own) and of the simulation.
        limit: read only the first so many records.
        min_likelihood: least likelihood (percent) of PTB-XL's diagnostic statements; see `findings_from_statements`.
    Returns: (data set with `CORPUS_FEATURES`, report).
    Raises: ValueError for an unknown name or a corpus without one readable record, FileNotFoundError for a folder
        that does not hold the corpus.
    """
    if name == "simulation":
        simulate = import_module("..signals.simulation", __package__).simulate_ecgs
        records = simulate(1000 if limit is None else limit, seed=seed)
        return _corpus(name, (_from_record(record, name, i) for i, record in enumerate(records)), seed, min_likelihood)
    if name not in _LOADERS:
        raise ValueError(f"there is no corpus {name!r}; expected one of {', '.join([*_LOADERS, 'simulation'])}")
    if src is None:
        raise ValueError(f"the corpus {name!r} needs its folder: prepare({name!r}, src)")
    found = list(islice(_LOADERS[name](Path(src)), limit))
    return _corpus(name, _read(found), seed, min_likelihood, total=len(found))


def records_to_corpus(records: Iterable[Any], source: str, seed: int = 0, min_likelihood: float = 0.0) -> Dataset:
    """A corpus of `ECGRecord`s in memory: simulated ones, or your own.

    A record without an id gets `<source>-<position>`, one without a patient id counts as a patient of its own, one
    without findings gets those that its statements map to, one without a report gets its findings as English
    sentences.
    Raises: ValueError for no records, two records of one id, or a finding outside the vocabulary.
    """
    rows = (_from_record(record, source, position) for position, record in enumerate(records))
    return _corpus(source, rows, seed, min_likelihood)[0]


_Loaded = tuple[Entry, Any, str | None]  # entry, record or None, reason why there is no record


def _from_record(record: Any, source: str, position: int) -> _Loaded:
    record_id = record.id or f"{source}-{position:06d}"
    return Entry(id=record_id, path=Path(), patient_id=record.patient_id or record_id), record, None


def _read(entries: list[Entry]) -> Iterator[_Loaded]:
    read_ecg = import_module("..signals", __package__).read_ecg
    for entry in entries:
        try:
            yield entry, replace(read_ecg(entry.path), **entry.changes), None
        except (ValueError, OSError) as error:  # ECGReadError is a ValueError, as are the record's own checks
            yield entry, None, str(error)


def _corpus(
    name: str, loaded: Iterable[_Loaded], seed: int, min_likelihood: float, total: int | None = None
) -> tuple[Dataset, CorpusReport]:
    report = CorpusReport(name)
    folder = tempfile.mkdtemp(prefix="ecgllm-corpus-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # the table is memory-mapped until the process ends
    path = os.path.join(folder, "corpus.arrow")
    seen: set[str] = set()
    # 100 signals a batch: a random access reads its batch's index, and 1,000 of 5,000 samples would fill 120 MB first
    with ArrowWriter(features=CORPUS_FEATURES, path=path, writer_batch_size=100) as writer:
        for entry, record, reason in tqdm(loaded, total=total, desc=f"Reading {name}", unit="record"):
            if record is None:
                report.unreadable.append((entry.id, reason or "unknown reason"))
                continue
            if entry.id in seen:
                raise ValueError(f"two records of {name} have the id {entry.id!r}; give every record its own")
            seen.add(entry.id)
            writer.write(CORPUS_FEATURES.encode_example(_row(name, entry, record, seed, min_likelihood, report)))
            report.records += 1
        if report.records:
            writer.finalize()
    if not report.records:
        raise ValueError(f"{name}: not one record could be read\n{report}")
    dataset = Dataset.from_file(path)
    dataset.info.description = str(report)
    check_patient_split(dataset)
    if report.unreadable or report.unmapped:
        logger.warning(str(report))
    return dataset, report


def _row(
    name: str, entry: Entry, record: Any, seed: int, min_likelihood: float, report: CorpusReport
) -> dict[str, Any]:
    if record.findings is not None:
        findings = implied(record.findings)
    else:
        findings, unmapped = findings_from_statements(record.statements, min_likelihood)
        report.unmapped.update(set(unmapped))
    report.without_findings += not findings
    return {
        "id": entry.id,
        "patient_id": entry.patient_id,
        "ecg": record,
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
        "source": name,
    }
