"""A corpus on the Hub: what arrives, what does not, and that `datasets` alone opens it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Value, load_dataset
from huggingface_hub import DatasetCard

from ecgllm.cli import main
from ecgllm.corpora import ECG, check_patient_split, for_sharing, push_corpus, records_to_corpus, save_corpus
from ecgllm.corpora.records.dataset_folders import plain
from ecgllm.errors_ecgllm import ECGError
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecg

from ...fake_hub import FakeHub
from ...launching import run_without_package

PLANTED = ("Lovelace", "Hopper", "Curie", "Noether", "1815-12-10", "Pfarrhaus", "Meitner")

# Run in a process of its own, where the package is unknown: argv is the dataset's name.
OPENED = """
import json, sys
from datasets import load_dataset
opened = {}
for split, rows in load_dataset(sys.argv[1]).items():
    for row in rows:
        opened[row["id"]] = [split, row["findings"], row["sex"], row["ecg"]["leads"], row["ecg"]["bytes"].hex()]
print(json.dumps(opened))
"""


@pytest.fixture
def telling() -> Dataset:
    """Five records of three patients that tell of them wherever they can."""
    records = []
    for number, patient in enumerate(("Lovelace", "Lovelace", "Hopper", "Curie", "Hopper")):
        made = simulate_ecg(findings=["sinus rhythm"], seed=number, duration=5)
        records.append(
            ECGRecord(
                made.signal,
                made.sampling_rate,
                made.leads,
                id=f"{patient}-{number}",
                patient_id=patient,
                report=f"report of {patient}",
                findings=["sinus rhythm"],
                statements=["seen by Noether"],
                recorded_at=datetime(1815, 12, 10, 10),
                age=93.0 if number == 3 else 41.0,
                sex="female",
            )  # fmt: skip
        )
    corpus = records_to_corpus(records, source="clinic")
    rows = [row | {"ecg": row["ecg"] | {"path": f"/home/Meitner/{row['id']}.hea"}, "device": "Pfarrhaus 3"}
            for row in plain(corpus)]  # fmt: skip
    changed = Dataset.from_list(rows, features=plain(corpus).features).cast_column("ecg", ECG())
    changed.info.description = "made by Curie"
    return changed.add_column("note", ["of Noether"] * len(rows), feature=Value("string"))


def test_a_corpus_goes_without_what_tells_of_its_patients(
    hub: FakeHub, telling: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert push_corpus(telling, "ecgs", "cc-by-4.0") == "someone/ecgs"
    assert not hub.holding(*PLANTED, str(tmp_path), hub.token)
    assert hub.repos["dataset", "someone/ecgs"].private

    opened = run_without_package(OPENED, tmp_path, "someone/ecgs", hub_cache=tmp_path / "cache", token=hub.token)
    expected = {
        f"record-{number:06d}": [
            row["split"],
            row["findings"],
            row["sex"],
            row["ecg"]["leads"],
            row["ecg"]["bytes"].hex(),
        ]
        for number, row in enumerate(plain(telling))
    }
    assert opened == expected

    found = load_dataset("someone/ecgs")
    for rows in found.values():
        assert set(rows["report"]) == {None} and all(age is None or age == 41 for age in rows["age"])
        check_patient_split(rows)
        signal = rows.cast_column("ecg", ECG())[0]["ecg"]["signal"]
        assert signal.shape[0] == 12 and np.isfinite(signal).all()
    patients = {row["id"]: row["patient_id"] for rows in found.values() for row in rows}
    assert [patients[f"record-{number:06d}"] for number in range(5)] == [
        f"patient-{number:06d}" for number in (0, 0, 1, 2, 1)
    ]


def test_a_corpus_has_a_card(hub: FakeHub, telling: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    push_corpus(telling, "someone/ecgs", "cc-by-4.0", keep=["report"], private=False)
    card = DatasetCard.load("someone/ecgs")
    card.validate()
    assert card.data.license == "cc-by-4.0" and "ecg" in card.data.tags
    assert "5 ECGs of clinic" in card.text and "kept on purpose: report" in card.text
    reports = {report for rows in load_dataset("someone/ecgs").values() for report in rows["report"]}
    assert "report of Lovelace" in reports
    assert {found.rsplit(": ")[-1] for found in hub.holding(*PLANTED)} == {"lovelace", "hopper", "curie"}


def test_a_public_place_is_not_taken_for_a_private_one(
    hub: FakeHub, telling: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    push_corpus(telling, "someone/open", "cc-by-4.0", private=False)
    before = hub.files("someone/open", "dataset")
    with pytest.raises(ECGError, match="everybody can read it; pass private=False"):
        push_corpus(telling, "someone/open", "cc-by-4.0", keep=["report"])
    with pytest.raises(ECGError, match=r"keep is \['reports'\]; expected some of id, .*, note"):
        push_corpus(telling, "someone/open", "cc-by-4.0", keep=["reports"])
    assert hub.files("someone/open", "dataset") == before


def test_other_columns_go_when_they_are_named(telling: Dataset) -> None:
    assert "note" not in for_sharing(telling).column_names
    assert set(for_sharing(telling, ["note", "age"])["note"]) == {"of Noether"}
    assert 93 in for_sharing(telling, ["note", "age"])["age"]
    assert {row["ecg"]["path"] for row in plain(for_sharing(telling))} == {None}


def test_the_command_shares(
    hub: FakeHub, telling: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    save_corpus(telling, tmp_path / "corpus")
    for arguments, said in (
        (["someone/ecgs", "--license", "cc-by-4.0"], "5 records in someone/ecgs, private"),
        (["-o", str(tmp_path / "copy"), "--parquet"], "5 records in"),
        (["someone/ecgs"], "under which licence"),
        ([], "or -o with a folder"),
    ):
        with pytest.raises(SystemExit):
            main(["share", str(tmp_path / "corpus"), *arguments])
        captured = capsys.readouterr()
        assert said in captured.out + captured.err
    assert len(load_dataset(str(tmp_path / "copy"), cache_dir=str(tmp_path / "cache"))["train"]) > 0
    assert not hub.holding(*PLANTED)
