from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.corpora import records_to_corpus
from ecgllm.corpora.records.recognition import FILE, SeenRecords, find_seen_records, seen_records
from ecgllm.errors_ecgllm import ECGError
from ecgllm.signal_ecgllm import resample
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs

RECORDS = list(simulate_ecgs(60, seed=11))


def corpus_of(records: list[ECGRecord], split: str) -> Dataset:
    corpus = records_to_corpus(records, source="test")
    return corpus.remove_columns("split").add_column("split", [split] * len(corpus))


def otherwise(record: ECGRecord) -> ECGRecord:
    """Another rate, gain and order of leads."""
    signal = np.asarray(resample(record.signal, record.sampling_rate, 125.0))[::-1] * 0.9
    return replace(record, signal=signal.astype(np.float32), sampling_rate=125.0, leads=record.leads[::-1])


def test_a_record_is_known_again_whatever_its_file_and_no_other_is() -> None:
    seen = seen_records(corpus_of(RECORDS[:30], "train"))
    told = seen.of(corpus_of([otherwise(record) for record in RECORDS], "test"))
    assert told == ["trained"] * 30 + ["new"] * 30


def test_what_settings_were_chosen_on_is_told_apart() -> None:
    seen = seen_records(corpus_of(RECORDS[:5], "train")).joined(seen_records(corpus_of(RECORDS[5:9], "validation")))
    assert seen.of(corpus_of(RECORDS[:10], "test")) == ["trained"] * 5 + ["chosen"] * 4 + ["new"]


def test_a_record_without_its_leads_cannot_be_told() -> None:
    short = replace(RECORDS[0], signal=RECORDS[0].signal[:1], leads=RECORDS[0].leads[:1])
    seen = seen_records(corpus_of([short, RECORDS[1]], "train"))
    assert seen.missing == ("1 records without a fingerprint",)
    assert seen.of(corpus_of([short], "test")) == [None]


def test_the_file_holds_no_name_and_is_found_from_a_checkpoint(tmp_path: Path) -> None:
    seen = seen_records(corpus_of(RECORDS[:5], "train"), missing=("a stream",))
    seen.save(tmp_path / FILE)
    model = tmp_path / "finetune" / "model"
    model.mkdir(parents=True)
    again = SeenRecords.load(find_seen_records(model))
    assert again.missing == ("a stream",)
    assert (again.trained == seen.trained).all()
    written = (tmp_path / FILE).read_bytes()
    assert not any(record.id.encode() in written for record in RECORDS[:5] if record.id)
    assert find_seen_records(tmp_path.parent / "elsewhere") is None


def test_another_file_is_refused(tmp_path: Path) -> None:
    corpus_of(RECORDS[:2], "train").select_columns(["id"]).to_parquet(tmp_path / FILE)
    with pytest.raises(ECGError, match="holds no signatures"):
        SeenRecords.load(tmp_path / FILE)
