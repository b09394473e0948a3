"""Yes or no, for many questions at once: the pipeline's probabilities, pairs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from datasets.arrow_dataset import Column

from ecgllm.corpora import records_to_corpus
from ecgllm.pipeline_ecgllm import ECGTextToTextPipeline
from ecgllm.signals.simulation import simulate_ecg
from ecgllm.training.answer_accuracy import generate_answers
from ecgllm.training.data.encoded_signals import EncodedSignals, encode_signals
from ecgllm.training.data.prepared_signals import load_signals, prepare_signals
from ecgllm.training.yes_no_probabilities import opposite_pairs, yes_probabilities

QUESTIONS = ["Is there atrial fibrillation?", "Is it?", "What is new in the second ECG, and what is gone?", "Is it?"]
IDS = [["0"], ["1"], ["1", "2"], ["2"]]


@pytest.fixture
def corpus() -> Dataset:
    durations = (10.0, 6.0, 8.0)  # so that a batch is padded
    records = [simulate_ecg(("sinus rhythm",), seed=number, duration=each) for number, each in enumerate(durations)]
    named = (replace(record, id=str(number)) for number, record in enumerate(records))
    return records_to_corpus(named, source="simulation")


@pytest.mark.parametrize("encoded", [False, True])
def test_probabilities_are_those_of_the_pipeline(
    encoded: bool, corpus: Dataset, tmp_path: Path, tiny_llm: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny_llm()
    prepare_signals(corpus, processor.feature_extractor, tmp_path / "signals")
    signals = load_signals(tmp_path / "signals")
    pipe = ECGTextToTextPipeline(model=model, processor=processor)
    expected = [
        pipe(question, ecgs=[signals[record_id] for record_id in ids], candidates=["yes", "no"])["candidates"]["yes"]
        for question, ids in zip(QUESTIONS, IDS, strict=True)
    ]
    if not encoded:  # answers that are written are the pipeline's, too
        asked = Dataset.from_dict({"question": QUESTIONS, "ecg_ids": IDS})
        answers = [
            pipe(question, ecgs=[signals[record_id] for record_id in ids], max_new_tokens=3)["generated_text"]
            for question, ids in zip(QUESTIONS, IDS, strict=True)
        ]
        assert generate_answers(model, processor, asked, signals, batch_size=3, max_new_tokens=3) == answers
    assert len({round(each, 4) for each in expected}) == len(QUESTIONS)  # the random model tells them apart
    if encoded:
        encode_signals(model.ecg_encoder, processor.feature_extractor, signals, signals, tmp_path / "encoded")
        signals = EncodedSignals(tmp_path / "encoded")
    for batch_size in (1, 3):
        found = yes_probabilities(model, processor, QUESTIONS, IDS, signals, batch_size)
        np.testing.assert_allclose(found, expected, atol=2e-5)
    columns = Dataset.from_dict({"question": QUESTIONS, "ecg_ids": IDS})
    monkeypatch.setattr(Column, "__getitem__", lambda column, row: pytest.fail("a column is read row by row"))
    found = yes_probabilities(model, processor, columns["question"], columns["ecg_ids"], signals)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # A language model that gives all logits or none.
    for module in ("scoring_ecgllm", "prefix_cache_ecgllm"):
        monkeypatch.setattr(f"ecgllm.{module}.takes_positions", lambda model: False)
    np.testing.assert_allclose(yes_probabilities(model, processor, QUESTIONS, IDS, signals), expected, atol=2e-5)


def test_pairs_are_of_the_same_words_and_each_question_is_in_one() -> None:
    columns = {
        "question": ["a?", "a?", "b?", "a?", "b?", "a?", "c?", "which?"],
        "answers": [["yes"], ["no"], ["no"], ["yes"], ["yes"], ["yes"], ["yes"], ["none"]],
    }
    assert opposite_pairs(columns) == [(0, 1), (4, 2)]
