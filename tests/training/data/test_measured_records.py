"""What is measured on training records stands beside them in the share that was asked for, and a run repeats it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from ecgllm import ECGFeatureExtractor, ECGProcessor
from ecgllm.asking import answer_question, load_answerer
from ecgllm.corpora import records_to_corpus
from ecgllm.measured_figures_ecgllm import FLAGS, NUMBERS
from ecgllm.signals import measure
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.data.measured_records import MeasuredRecords, MeasuredSignals, measure_records
from ecgllm.training.data.question_examples import QuestionExamples

FIGURES = {f"r{number}": {"pr": (160.0 + number, 0.9), "qrs": (90.0, 0.8), "regular": True} for number in range(400)}


def test_said_as_often_as_asked_and_each_left_out_one_time_in_ten() -> None:
    records = MeasuredRecords(FIGURES, 0.7, seed=1)
    each = [records.of([name])[0] for name in FIGURES]
    said = [one for one in each if one is not None]
    assert len(said) / len(each) == pytest.approx(0.7, abs=0.07)
    for name in ("pr", "qrs", "regular"):
        assert sum(name in one for one in said) / len(said) == pytest.approx(0.9, abs=0.06)
    assert all(set(one.items()) <= set(FIGURES[name].items()) for name, one in zip(FIGURES, each, strict=True) if one)
    assert each == [MeasuredRecords(FIGURES, 0.7, seed=1).of([name])[0] for name in FIGURES]
    records.set_epoch(1)
    assert each != [records.of([name])[0] for name in FIGURES]
    assert records.whole(["r3", "unknown"]) == (FIGURES["r3"], None)
    both = [MeasuredRecords(FIGURES, 0.5).of(["r1", name]) for name in FIGURES]
    assert all((one is None) is (two is None) for one, two in both)


def test_alone_are_some_of_those_that_are_said() -> None:
    records = MeasuredRecords(FIGURES, 0.7, seed=1, alone=0.4)
    said = [name for name in FIGURES if records.of([name]) != (None,)]
    alone = [name for name in FIGURES if records.alone([name])]
    assert set(alone) <= set(said) and len(alone) / len(said) == pytest.approx(0.4, abs=0.09)
    assert alone == [name for name in FIGURES if records.alone([name])]
    assert not records.alone(["unknown"]) and not any(MeasuredRecords(FIGURES, 0.7).alone([name]) for name in FIGURES)
    records.set_epoch(1)
    assert alone != [name for name in FIGURES if records.alone([name])]


@pytest.mark.parametrize("field", ["ecg_values", "ecg_embeds"])
def test_an_ecg_is_blank_where_its_figures_stand_alone(tiny_tokenizer: Any, field: str) -> None:
    signals = {name: {field: np.ones((12, 400), np.float32), "lead_mask": np.ones(12, bool)} for name in FIGURES}

    processor = ECGProcessor(ECGFeatureExtractor(), tiny_tokenizer, samples_per_token=40)
    processor.reads_measured = True

    class Signals(dict):
        length = staticmethod(lambda _: 400)

    rows = {"question": "Is it?", "answers": ["yes"]}
    questions = Dataset.from_list([rows | {"question_id": name, "ecg_ids": [name]} for name in FIGURES])
    said = MeasuredRecords(FIGURES, 0.7, seed=1, alone=0.4)
    examples = QuestionExamples(questions, Signals(signals), processor, measured=said)
    for example, name in zip(examples, FIGURES, strict=True):
        blank = not example["ecgs"][0][field].any()
        assert blank is said.alone([name]) and example["ecgs"][0][field].shape == (12, 400)
        assert example["ecgs"][0]["lead_mask"].all() and signals[name][field].all()


def test_records_are_measured_once_and_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = simulate_ecgs(5, 3)
    corpus = records_to_corpus(records, source="simulation")
    found = measure_records(corpus, tmp_path / "measured.json")
    for record, (name, figures) in zip(corpus, found.items(), strict=True):
        assert record["id"] == name and set(figures) <= {*NUMBERS, *FLAGS} and "heart_rate" in figures
    expected = measure(records[2]).figures()
    own = list(found.values())[2]
    assert own["heart_rate"][0] == pytest.approx(expected["heart_rate"][0], abs=1)
    monkeypatch.setattr("ecgllm.training.data.measured_records.measure", lambda *_: pytest.fail("measured again"))
    assert measure_records(corpus, tmp_path / "measured.json") == found
    signals = MeasuredSignals({"a": {"ecg_values": 1}, "b": {}}, {"a": {"pr": 1}})
    assert (
        signals["a"] == {"ecg_values": 1, "measured": {"pr": 1}} and signals["b"] == {} and list(signals) == ["a", "b"]
    )


def test_a_stage_that_says_it_makes_a_checkpoint_that_is_told(write_recipe: Callable[..., Path]) -> None:
    stage = {"batch_size": 8, "measured": 0.5, "questions_per_row": 8, "evaluate": 4}
    stage |= {"questions": {"per_record": 1, "words": {"unanswerable": 0.3}}}
    recipe = write_recipe(stages={"finetune": stage | {"training": {"max_steps": 2, "save_steps": 10}}}, limit=30)
    run_recipe(load_recipe(recipe))
    folder = recipe.parent / "run"
    figures = json.loads((folder / "measured.json").read_text())
    assert len(figures) == 30
    model = folder / "finetune" / "model"
    processor = ECGProcessor.from_pretrained(model)
    assert processor.reads_measured and processor.refusal == "cannot tell"  # which some of its questions were answered
    answerer = load_answerer(model)
    seen = []
    build = answerer.processor.build_conversation
    answerer.processor.build_conversation = lambda *args, **named: seen.append(named) or build(*args, **named)
    record = simulate_ecgs(1, 3)[0]
    answer_question(answerer, [record], "Is there atrial fibrillation?", ["yes", "no"])
    assert seen == [{"measured": [measure(record).figures()]}]
    assert answerer("Is it?", ecgs=record, measured={"pr": 200}, candidates=["yes", "no"])["candidates"]
    plain = answerer("Is it?", ecgs=record, candidates=["yes", "no"])["candidates"]
    told = answerer({"question": "Is it?", "ecgs": record, "measured": {"pr": 200}}, candidates=["yes", "no"])
    assert told["candidates"] != plain
