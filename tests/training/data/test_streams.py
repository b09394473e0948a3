"""Streams: every record once, by however many processes and workers; taken up again at the very record."""

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock, patch

import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from datasets import Dataset, concatenate_datasets
from torch.utils.data import DataLoader

from ecgllm.corpora import prepare
from ecgllm.corpora.records.arrow_datasets import with_column
from ecgllm.processing_ecgllm import ECGFeatureExtractor
from ecgllm.signals.simulation import CHUNK, simulate_ecgs
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.data.augmentations import Augmenter, AugmentRecipe
from ecgllm.training.data.parquet_windows import ParquetWindows
from ecgllm.training.data.streams import SimulatedWindows, StreamedExamples, StreamOrder, Windows
from ecgllm.training.pretrain_stage import _windows
from ecgllm.training.recipe import PretrainStage, RecipeError

EXTRACTOR = ECGFeatureExtractor()
BATCH = 24
STREAMED = {"training": {"max_steps": 1}}  # a stream has no end


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    return prepare("simulation", limit=150, seed=3)


@pytest.fixture(scope="module")
def shards(corpus: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus in three files of row groups of ten; ten records lack a report."""
    folder = tmp_path_factory.mktemp("shards")
    reported = corpus.map(
        lambda row, number: {"report": None if number % 15 == 7 else row["report"]}, with_indices=True
    )
    for index in range(3):
        reported.shard(3, index).to_parquet(folder / f"part-{index}.parquet", batch_size=10)
    return folder


def drawn(
    windows: Windows, batches: int, workers: int = 0, rank: int = 0, world_size: int = 1, start: int = 0
) -> list[list[tuple[int, bytes]]]:
    """Batches of (number, values), as a process draws them."""
    length = (start + batches) * world_size * BATCH
    augmenter = Augmenter(AugmentRecipe(crop=0.2), EXTRACTOR)
    examples = StreamedExamples(windows, EXTRACTOR, length, augmenter=augmenter)
    order = StreamOrder(windows, BATCH, world_size * max(workers, 1), length)
    loader = DataLoader(examples, BATCH, sampler=order, num_workers=workers, collate_fn=list, drop_last=True)
    # As the Trainer does.
    loader = prepare_data_loader(loader, num_processes=world_size, process_index=rank, put_on_device=False)
    return [
        [(each["example_id"], each["ecg"]["ecg_values"].tobytes()) for each in batch]
        for batch in skip_first_batches(loader, start)
    ]


def numbers(batches: list[list[tuple[int, bytes]]]) -> list[int]:
    return [number for batch in batches for number, _ in batch]


def test_simulated_records_begin_behind_the_corpus(corpus: Dataset) -> None:
    windows = SimulatedWindows(3, corpus["id"])
    assert windows.first == 2 * CHUNK  # 150 records are in two chunks
    assert SimulatedWindows(4, corpus["id"]).first == 0
    examples = StreamedExamples(windows, EXTRACTOR, BATCH)
    first = examples.__getitems__(list(StreamOrder(windows, 1, 1, 1)))[0]
    record = simulate_ecgs(CHUNK, 3, first=2 * CHUNK)[0]
    np.testing.assert_array_equal(first["ecg"]["ecg_values"], EXTRACTOR(record, return_tensors="np")["ecg_values"][0])
    assert first["report"] == record.report
    assert examples.names(first["example_id"]) == {"records": [record.id]} and record.id not in corpus["id"]
    again = examples[first["example_id"]]
    np.testing.assert_array_equal(again["ecg"]["ecg_values"], first["ecg"]["ecg_values"])


def test_simulated_records_say_what_those_of_a_corpus_say() -> None:
    """Reports and findings, broader ones included: a finding that is left out counts as denied."""
    streamed = SimulatedWindows(5, []).read(0).values()
    for record, row in zip(streamed, prepare("simulation", seed=5, limit=CHUNK), strict=True):
        assert list(record.findings) == row["findings"] and record.report == row["report"]
        np.testing.assert_allclose(record.ecg().signal, row["ecg"]["signal"], atol=0.001)  # stored in microvolts


def test_a_stream_is_read_by_the_readers_of_a_corpus() -> None:
    streamed = SimulatedWindows(5, [], reader_spread=1.0).read(0)
    corpus = prepare("simulation", seed=5, limit=CHUNK, reader_spread=1.0)
    assert [list(record.findings) for record in streamed.values()] == corpus["findings"][:]
    plain = prepare("simulation", seed=5, limit=CHUNK)
    assert plain["findings"][:] != corpus["findings"][:]


def test_the_readers_of_a_stream_are_its_own_or_the_corpus(corpus: Dataset) -> None:
    def readers(own: float | None) -> float:
        context = SimpleNamespace(recipe=SimpleNamespace(seed=3, reader_spread=0.25), corpus=corpus)
        return _windows(context, PretrainStage(**STREAMED, stream=True, reader_spread=own)).reader_spread

    assert [readers(own) for own in (None, 0.0, 1.0)] == [0.25, 0.0, 1.0]


def test_who_validates_or_tests_is_never_streamed(corpus: Dataset, shards: Path) -> None:
    """The files call them training records; the corpus that validates and tests knows better."""
    splits = list(corpus["split"])
    kept = [number for number, split in enumerate(splits) if split == "train" and number % 15 != 7]
    splits[kept[0]], splits[kept[1]] = "validation", "test"
    context = SimpleNamespace(
        recipe=SimpleNamespace(seed=3, reader_spread=0.0), corpus=with_column(corpus, "split", splits)
    )
    with patch("ecgllm.training.pretrain_stage.PartialState", return_value=Mock(num_processes=1)):
        windows = _windows(context, PretrainStage(**STREAMED, stream=str(shards)))
    assert windows.usable == len(kept) - 2


def test_records_say_their_source_and_a_stream_what_its_sources_state(corpus: Dataset, tmp_path: Path) -> None:
    assert {record.source for record in SimulatedWindows(5, []).read(0).values()} == {"simulation"}
    other = corpus.select(range(20, 40)).map(lambda row: {"source": "other", "findings": ["sinus rhythm"]})
    joined = concatenate_datasets([corpus.select(range(20)), other])
    joined.to_parquet(tmp_path / "joined" / "a.parquet", batch_size=7)
    windows = ParquetWindows(tmp_path / "joined", "report", [], seed=1)
    sources = dict(zip(joined["id"], joined["source"], strict=True))
    for number in next(windows.lane(0, 1))[1]:
        assert windows.read(windows.part_of(number))[number].source == sources[windows.name(number)]
    assert windows.stated["other"] == {"sinus rhythm"}
    assert windows.stated["simulation"] == {name for own in corpus["findings"][:20] for name in own}
    joined.remove_columns("source").to_parquet(tmp_path / "unknown" / "a.parquet")
    windows = ParquetWindows(tmp_path / "unknown", "findings", [], seed=1)
    assert list(windows.stated) == [None] and {record.source for record in windows.read(0).values()} == {None}


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_and_workers_draw_no_record_twice(workers: int) -> None:
    windows = SimulatedWindows(0, [])
    found = [number for rank in range(2) for number in numbers(drawn(windows, 8, workers, rank, 2))]
    assert len(found) == len(set(found)) == 2 * 8 * BATCH


@pytest.mark.parametrize("lanes", [1, 3])
def test_what_is_made_together_is_made_once(lanes: int) -> None:
    """By the worker whose lane it is in, for all its batches, of which some lie in two chunks."""
    windows = SimulatedWindows(0, [])
    places = list(StreamOrder(windows, BATCH, lanes, 12 * lanes * BATCH))
    batches = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
    for lane in range(lanes):
        examples = StreamedExamples(windows, EXTRACTOR, len(places))
        with patch.object(windows, "read", wraps=windows.read) as read:
            found = [each for batch in batches[lane::lanes] for each in examples.__getitems__(batch)]
        made = [call.args[0] for call in read.call_args_list]
        assert len(made) == len(set(made)) == 3 and len(found) == 12 * BATCH  # 288 records of chunks of 128


@pytest.mark.parametrize(("workers", "rank"), [pytest.param(0, 0, marks=pytest.mark.slow), (2, 1)])
def test_a_stream_goes_on_where_it_was(workers: int, rank: int, shards: Path) -> None:
    for windows in (SimulatedWindows(0, []), ParquetWindows(shards, "report", [], seed=1)):
        whole = drawn(windows, 9, workers, rank, 2)
        for start in (1, 4, 7):
            assert drawn(windows, 9 - start, workers, rank, 2, start) == whole[start:]


def test_a_pass_over_files_has_every_usable_record_once(corpus: Dataset, shards: Path) -> None:
    excluded = [row["patient_id"] for row in corpus.select(range(5)) if row["split"] == "train"]
    windows = ParquetWindows(shards, "report", excluded, seed=1)
    wanted = {
        row["id"]
        for number, row in enumerate(corpus)
        if row["split"] == "train" and number % 15 != 7 and row["patient_id"] not in excluded
    }
    assert windows.usable == len(wanted) and windows.left_out == 150 - len(wanted)
    one = [numbers for _, numbers in islice(windows.lane(0, 1), 2)]
    assert {windows.name(number) for number in one[0]} == wanted
    assert sorted(one[0]) == sorted(one[1]) != one[1] and one[0] != one[1]
    halves = [next(windows.lane(lane, 2))[1] for lane in range(2)]
    assert sorted(number for half in halves for number in half) == sorted(one[0])
    by_id = {row["id"]: row for row in corpus}
    for number in halves[0][:5]:
        row, record = by_id[windows.name(number)], windows.read(windows.part_of(number))[number]
        np.testing.assert_array_equal(record.ecg()["signal"], row["ecg"]["signal"])
        assert record.report == row["report"] and list(record.findings) == row["findings"]


def test_what_the_feature_extractor_refuses_is_replaced(tmp_path: Path) -> None:
    corpus = prepare("simulation", limit=30, seed=3)
    bad = next(number for number, split in enumerate(corpus["split"]) if split == "train")

    def broken(row: dict, number: int) -> dict:
        ecg = row["ecg"] | {"signal": row["ecg"]["signal"][:, :50] if number == bad else row["ecg"]["signal"]}
        return {"ecg": ecg}

    corpus.map(broken, with_indices=True).to_parquet(tmp_path / "all.parquet", batch_size=10)
    windows = ParquetWindows(tmp_path, "report", [], seed=0)
    examples = StreamedExamples(windows, EXTRACTOR, windows.usable)
    places = list(StreamOrder(windows, 1, 1, windows.usable))
    found = [each["example_id"] for each in examples.__getitems__(places)]
    assert bad not in found and len(set(found)) == windows.usable - 1


def test_folders_that_cannot_be_trained_on_are_refused(tmp_path: Path, shards: Path, corpus: Dataset) -> None:
    with pytest.raises(ValueError, match="holds no \\*.parquet file"):
        ParquetWindows(tmp_path, "report", [], 0)
    with pytest.raises(ValueError, match="none of the 150 records .* can be trained on"):
        ParquetWindows(shards, "report", corpus["patient_id"], 0)
    with pytest.raises(ValueError, match="row groups for 99 processes and workers; write smaller ones"):
        next(ParquetWindows(shards, "report", [], 0).lane(0, 99))
    corpus.remove_columns("report").to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(ValueError, match="bare.parquet lacks the columns report"):
        ParquetWindows(tmp_path, "findings", [], 0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stages.pretrain.stream=true", "corpus=ludb"], "stream is true.* and the corpus is ludb"),
        (["stages.pretrain.stream=true", "stages.pretrain.training.max_steps=-1"], "stream has no end; set training"),
        (["stages.debias.stream=true"], "stream is True, which says nothing to debias: it is for pretrain"),
    ],
)
def test_recipes_that_cannot_be_are_refused(
    write_recipe: Callable[..., Path], overrides: list[str], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write_recipe(), overrides)


@pytest.mark.parametrize("source", ["true", pytest.param("files", marks=pytest.mark.slow)])
def test_a_streamed_run_taken_up_again_ends_in_the_same_bits(
    source: str, write_recipe: Callable[..., Path], shards: Path
) -> None:
    """With dropout, whose numbers must not depend on where the stream began."""
    training = {"max_steps": 8, "learning_rate": 2e-3, "save_steps": 3, "save_total_limit": 9, "logging_steps": 1}
    stage = {
        "batch_size": 8,
        "text": "both",
        "stream": True if source == "true" else str(shards),
        "augment": {"crop": 0.2},
        "training": training | {"eval_strategy": "steps", "eval_steps": 4},
    }
    recipe = write_recipe(stages={"pretrain": stage})
    overrides = ["encoder.hidden_dropout=0.2", "limit=60"]
    run = run_recipe(load_recipe(recipe, overrides))
    weights = (run / "pretrain" / "model" / "model.safetensors").read_bytes()
    log = json.loads((run / "metrics.json").read_text())["pretrain"]["log"]
    for left in ("metrics.json", "model", "checkpoint-6", "checkpoint-8"):
        path = run / "pretrain" / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run_recipe(load_recipe(recipe, overrides))
    assert (run / "pretrain" / "model" / "model.safetensors").read_bytes() == weights
    again = json.loads((run / "metrics.json").read_text())["pretrain"]["log"]
    assert [entry["loss"] for entry in again if "loss" in entry] == [entry["loss"] for entry in log if "loss" in entry]
    said = (run / "README.md").read_text()
    assert ("113 simulated ECGs, no patient's data" in said) == (source == "true")  # 49 of the corpus and 8 x 8
    assert ("- made for pretrain, each seen once: 64 ECGs\n- train: 49 ECGs" in said) == (source == "true")
    assert torch.isfinite(
        torch.tensor(json.loads((run / "metrics.json").read_text())["pretrain"]["validation"]["eval_loss"])
    )


def test_too_few_row_groups_are_said_before_training(write_recipe: Callable[..., Path], shards: Path) -> None:
    stage = {"batch_size": 8, "stream": str(shards), "training": {"max_steps": 2, "dataloader_num_workers": 40}}
    with pytest.raises(RecipeError, match="stages.pretrain.stream: .* row groups for 40 processes and workers"):
        run_recipe(load_recipe(write_recipe(stages={"pretrain": stage})))
