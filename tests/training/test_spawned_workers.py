"""Workers that are spawned, as on macOS and Windows, are sent what they read by pickle, and read the same."""

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from ecgllm import ECGEncoder, ECGEncoderConfig, ECGFeatureExtractor, ECGProcessor, ECGTextDualEncoderProcessor
from ecgllm.corpora import build_questions, prepare
from ecgllm.corpora.records.silence import sources_of, stated_by_source
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.data.augmentations import Augmenter, AugmentRecipe
from ecgllm.training.data.encoded_signals import EncodedSignals, encode_signals
from ecgllm.training.data.parquet_windows import ParquetWindows
from ecgllm.training.data.prepared_signals import PreparedSignals, load_signals, prepare_signals
from ecgllm.training.data.pretraining_examples import PretrainingCollator, PretrainingExamples
from ecgllm.training.data.question_examples import QuestionCollator, QuestionExamples
from ecgllm.training.data.statement_targets import StatementTargets
from ecgllm.training.data.streams import SimulatedWindows, StreamedExamples, StreamOrder

ENCODER = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    return prepare("simulation", limit=16, seed=1)


@pytest.fixture(scope="module")
def signals(corpus: Dataset, tmp_path_factory: pytest.TempPathFactory) -> PreparedSignals:
    folder = tmp_path_factory.mktemp("signals") / "signals"
    prepare_signals(corpus, ECGFeatureExtractor(), folder)
    return load_signals(folder)


def augmenter() -> Augmenter:
    return Augmenter(AugmentRecipe(crop=0.2, noise=0.5, baseline=0.1), ECGFeatureExtractor(), seed=2)


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(np.array_equal(found, expected))


def sent(value: Any) -> Any:
    """As a worker has it."""
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("kind", ["prepared", "varied", "encoded"])
def test_examples_of_questions(
    kind: str, corpus: Dataset, signals: PreparedSignals, tiny_llm: Any, tmp_path: Path
) -> None:
    model, processor = tiny_llm()
    read: Any = signals
    if kind == "encoded":
        encode_signals(model.ecg_encoder, processor.feature_extractor, signals, signals, tmp_path / "encoded")
        read = EncodedSignals(tmp_path / "encoded")
    questions = build_questions(corpus, per_record=2, seed=0)
    examples = QuestionExamples(questions, read, processor, augmenter() if kind == "varied" else None)
    first = examples[0]  # so that there is something remembered
    again = sent(examples)
    assert same(again[0], first) and same(again[5], examples[5])
    again.set_epoch(1)
    assert same(again[0], first) == (kind != "varied")
    rows = [examples[index] for index in range(4)]
    assert same(dict(sent(QuestionCollator(processor, 2))(rows)), dict(QuestionCollator(processor, 2)(rows)))


def test_what_is_encoded_is_opened_again_and_not_sent(signals: PreparedSignals, tmp_path: Path) -> None:
    torch.manual_seed(0)
    extractor = ECGFeatureExtractor()
    encoder = ECGEncoder(ECGEncoderConfig(**ENCODER, preprocessing=extractor.preprocessing)).eval()
    encode_signals(encoder, extractor, signals, signals, tmp_path / "encoded")
    assert len(pickle.dumps(EncodedSignals(tmp_path / "encoded"))) < 1000
    assert len((tmp_path / "encoded" / "patches.bin").read_bytes()) > 10_000


def test_examples_of_pretraining(
    corpus: Dataset, signals: PreparedSignals, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    stated = stated_by_source(corpus["findings"], sources_of(corpus))
    statements = StatementTargets(corpus["findings"], stated, 0, sources_of(corpus))
    examples = PretrainingExamples(corpus, signals, "both", statements, augmenter())
    assert same(sent(examples)[3], examples[3])
    tiny_tokenizer.pad_token = "</s>"
    collate = PretrainingCollator(ECGTextDualEncoderProcessor(ECGFeatureExtractor(), tiny_tokenizer, 64))
    assert same(sent(collate)([examples[0], examples[1]]), collate([examples[0], examples[1]]))
    corpus.select(range(8)).to_parquet(tmp_path / "records.parquet")
    everyone_trains = Dataset.from_parquet(str(tmp_path / "records.parquet"), cache_dir=str(tmp_path / "cache"))
    everyone_trains = everyone_trains.remove_columns("split").add_column("split", ["train"] * 8)
    everyone_trains.to_parquet(tmp_path / "records.parquet")
    for windows in (SimulatedWindows(0, []), ParquetWindows(tmp_path, "report", [], seed=0)):
        stream = StreamedExamples(windows, ECGFeatureExtractor(), 4, text="both", statements=statements)
        place = list(StreamOrder(windows, 1, 1, 1))
        assert same(sent(stream).__getitems__(place)[0], stream.__getitems__(place)[0])


def test_spawned_workers_train_what_no_worker_trains(write_recipe: Callable[..., Path]) -> None:
    """Through the Trainer, with ECGs that are varied anew in each epoch. Workers of a fork server are sent their work
    by pickle too, and start faster."""
    ends = []
    for workers in ({}, {"dataloader_num_workers": 1, "dataloader_multiprocessing_context": "forkserver"}):
        stage = {
            "batch_size": 8,
            "evaluate": 0,
            "cache_encoder": False,
            "augment": {"amplitude": 0.5},
            "questions": {"per_record": 1, "types": ["verify"]},
            "training": {"num_train_epochs": 2, "learning_rate": 1e-3, "save_strategy": "no"} | workers,
        }
        run = run_recipe(load_recipe(write_recipe(stages={"finetune": stage}, limit=16)))
        ends.append(load_file(run / "model.safetensors"))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.slow  # what is trained from spawned workers is compared above
def test_a_stream_is_read_by_spawned_workers() -> None:
    stream = StreamedExamples(SimulatedWindows(0, []), ECGFeatureExtractor(), 2, text="report")
    order = StreamOrder(stream.windows, 2, 1, 2)
    loader = DataLoader(stream, 2, sampler=order, num_workers=1, multiprocessing_context="spawn", collate_fn=list)
    found, expected = next(iter(loader)), stream.__getitems__(list(order))
    assert all(same(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_processor_collates_in_workers(tiny_llm: Any, make_ecg: Any, method: str) -> None:
    """As a loop of one's own has it. What is sent to spawned ones is compared below."""
    _, processor = tiny_llm()
    asked = [processor.build_conversation("Is there?", [make_ecg(seconds)], answer="no") for seconds in (2, 3, 2, 4)]
    collate = partial(processor.apply_chat_template, tokenize=True, return_labels=True)
    here, found = (
        list(DataLoader(asked, 2, collate_fn=collate, **workers))
        for workers in ({}, {"num_workers": 1, "multiprocessing_context": method})
    )
    assert len(found) == 2 and all(same(*map(dict, pair)) for pair in zip(found, here, strict=True))
    sent_collate = sent(collate)
    assert same(dict(sent_collate(asked[:2])), dict(here[0]))


def test_a_processor_is_sent_whole(tiny_llm: Any, make_ecg: Any) -> None:
    _, processor = tiny_llm()
    assert isinstance(sent(processor), ECGProcessor)
    asked = "Is there atrial fibrillation?"
    expected, found = (own(text=f"{asked} <|ecg|>", ecgs=[make_ecg()]) for own in (processor, sent(processor)))
    assert same({**found}, {**expected})
