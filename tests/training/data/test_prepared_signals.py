"""Prepared signals equal direct feature extraction; what is refused is kept with its reason and never trained on."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.atomic_writing import written_whole
from ecgllm.corpora import build_questions, prepare, records_to_corpus
from ecgllm.dual_encoder_processing_ecgllm import ECGTextDualEncoderProcessor
from ecgllm.processing_ecgllm import ECGFeatureExtractor
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training.data.prepared_signals import load_signals, prepare_signals
from ecgllm.training.data.pretraining_examples import PretrainingCollator, PretrainingExamples
from ecgllm.training.data.question_examples import QuestionExamples
from ecgllm.training.text_models import train_tokenizer


@pytest.fixture
def corpus() -> Dataset:
    """Twelve simulated records, then one with NaN, one too short, one without a report, with fewer leads."""
    records = simulate_ecgs(12, seed=0, sampling_rate=250.0)
    good = records[0]
    with_nan = good.signal.copy()
    with_nan[3, 100:200] = np.nan
    odd = [
        ECGRecord(with_nan, 250.0, good.leads, id="nan", report="Not a number.", findings=("sinus rhythm",)),
        ECGRecord(good.signal[:, :100], 250.0, good.leads, id="short", report="Short.", findings=("sinus rhythm",)),
        ECGRecord(good.signal[:2, :2001], 250.0, good.leads[:2], id="two-leads", report="Sinusrhythmus, übergroß."),
    ]
    return records_to_corpus([*records, *odd], source="test")


def test_prepared_equals_extracted_directly(corpus: Dataset, tmp_path: Path) -> None:
    extractor = ECGFeatureExtractor(scaling="zscore")
    prepare_signals(corpus, extractor, tmp_path / "signals")
    signals = load_signals(tmp_path / "signals")
    ids = [record_id for record_id in corpus["id"] if record_id in signals]
    assert len(ids) == len(signals) == 13
    rows = [row["ecg"] for row in corpus if row["id"] in signals]
    direct, prepared = extractor(rows), extractor([signals[record_id] for record_id in ids])
    assert direct.keys() == prepared.keys()
    for name in direct:
        assert (direct[name] == prepared[name]).all(), name
    assert [signals.length(record_id) for record_id in ids] == direct["ecg_lengths"].tolist()
    # two leads of four give six, as Einthoven and Goldberger say; the rest is marked missing
    assert signals["two-leads"]["lead_mask"].sum() == 6


def test_refused_records_are_listed_with_the_reason_and_left_out(corpus: Dataset, tmp_path: Path) -> None:
    prepare_signals(corpus, ECGFeatureExtractor(), tmp_path / "signals")
    signals = load_signals(tmp_path / "signals")
    assert set(signals.refused) == {"nan", "short"}
    assert "NaN" in signals.refused["nan"]
    assert "0.4" in signals.refused["short"]
    assert "nan" not in signals and "nan" not in list(signals)
    with pytest.raises(KeyError):
        signals["nan"]
    pairs = PretrainingExamples(corpus, signals)
    assert len(pairs) == 13 and pairs.skipped == 2
    assert not {"Not a number.", "Short."} & {pair["report"] for pair in pairs}


def test_several_processes_prepare_what_one_does(corpus: Dataset, tmp_path: Path) -> None:
    for processes in (1, 2):
        prepare_signals(corpus, ECGFeatureExtractor(), tmp_path / f"by-{processes}", processes)
    one, two = (load_signals(tmp_path / f"by-{processes}") for processes in (1, 2))
    assert list(one) == list(two) and one.refused == two.refused
    assert all((one[name]["ecg_values"] == two[name]["ecg_values"]).all() for name in one)
    assert len(list((tmp_path / "by-2").iterdir())) == 2  # a file of each, and no copy in a cache


def test_another_nan_policy_keeps_the_record(corpus: Dataset, tmp_path: Path) -> None:
    prepare_signals(corpus, ECGFeatureExtractor(nan_policy="interpolate"), tmp_path / "signals")
    assert set(load_signals(tmp_path / "signals").refused) == {"short"}


def test_questions_about_refused_records_are_skipped(corpus: Dataset, tmp_path: Path) -> None:
    prepare_signals(corpus, ECGFeatureExtractor(), tmp_path / "signals")
    signals = load_signals(tmp_path / "signals")
    questions = build_questions(corpus, per_record=8)
    about = [set(ids) for ids in questions["ecg_ids"]]
    lost = sum(bool(ids & {"nan", "short"}) for ids in about)
    assert lost
    examples = QuestionExamples(questions, signals, processor=None)
    assert examples.skipped == lost and len(examples) == len(questions) - lost


def test_reports_in_other_languages_and_records_without_one(tmp_path: Path) -> None:
    corpus = prepare("simulation", limit=4)
    reports = ["Sinusrhythmus, Überleitung verlängert.", "", None, "窦性心律"]
    corpus = corpus.remove_columns("report").add_column("report", reports)
    extractor = ECGFeatureExtractor()
    prepare_signals(corpus, extractor, tmp_path / "signals")
    pairs = PretrainingExamples(corpus, load_signals(tmp_path / "signals"))
    assert len(pairs) == pairs.skipped == 2
    tokenizer = train_tokenizer(["Sinus rhythm."], 400)
    batch = PretrainingCollator(ECGTextDualEncoderProcessor(extractor, tokenizer, 64))([pairs[0], pairs[1]])
    # byte level: what the tokenizer never saw comes back unchanged
    assert tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True) == [reports[0], reports[3]]


def test_one_report_has_one_id_whatever_its_case(tmp_path: Path) -> None:
    corpus = prepare("simulation", limit=3).remove_columns("report").add_column("report", ["A b", " a B ", "c"])
    extractor = ECGFeatureExtractor()
    prepare_signals(corpus, extractor, tmp_path / "signals")
    pairs = PretrainingExamples(corpus, load_signals(tmp_path / "signals"))
    collate = PretrainingCollator(ECGTextDualEncoderProcessor(extractor, train_tokenizer(["a"], 300), 16))
    ids = collate(list(pairs))["report_ids"].tolist()
    assert ids[0] == ids[1] != ids[2]


def test_what_a_kill_left_half_written_is_written_again(corpus: Dataset, tmp_path: Path) -> None:
    stale = tmp_path / "signals.partial"
    stale.mkdir()
    (stale / "signals.arrow").write_bytes(b"half a file")
    (stale / "of-an-older-attempt").write_bytes(b"")
    prepare_signals(corpus, ECGFeatureExtractor(), tmp_path / "signals")
    assert len(load_signals(tmp_path / "signals")) == 13
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["signals", "signals.arrow"]


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), written_whole(tmp_path / "folder") as partial:
        (partial / "file").touch()
        raise RuntimeError
    assert not (tmp_path / "folder").exists()
    with written_whole(tmp_path / "folder") as partial:
        pass
    assert list((tmp_path / "folder").iterdir()) == []
