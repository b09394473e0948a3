"""A dry run counts what training would do, runs on every shipped recipe, and leaves nothing behind."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from datasets import load_from_disk

from ecgllm.train import main
from ecgllm.training import dry_run, load_recipe
from ecgllm.training.planning.estimates import Part, memory_of, text_of_bytes, text_of_seconds
from ecgllm.training.planning.planned_models import planned_model
from ecgllm.training.recipe import LanguageModelRecipe
from ecgllm.training.start_from import find_start
from ecgllm.training.text_models import build_language_model

from ..conftest import ROOT

TABLE = re.compile(r"^  (\w+) +([\d,]+) +([\d,]+)$", re.MULTILINE)


RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
# Those of which this machine can take three steps of each stage as they are, as a dry run does, in a minute in all.
STEPS_TAKEN = ("sim-demo", "sim-tiny", "ablate-projector", "ludb-tiny")


def _dry_runs() -> list:
    counted = [pytest.param(file, False, id=file.stem) for file in RECIPES]
    taken = [file for file in RECIPES if file.stem in STEPS_TAKEN]
    return counted + [
        pytest.param(file, True, id=f"{file.stem}-steps-taken", marks=pytest.mark.slow) for file in taken
    ]


@pytest.mark.parametrize(("file", "steps_taken"), _dry_runs())
def test_every_shipped_recipe_as_it_is(
    file: Path, steps_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # What is counted and measured on 240 records is on 40 here.
    for name in ("dry_run", "data_survey"):
        monkeypatch.setattr(import_module(f"ecgllm.training.planning.{name}"), "SAMPLE", 40)
    # However fast the machine is just now.
    affordable = float("inf") if steps_taken else 0.0
    monkeypatch.setattr(import_module("ecgllm.training.planning.dry_run"), "_AFFORDABLE", affordable)
    assert main([str(file), "--dry-run"]) is None
    said, recipe = capsys.readouterr().out, load_recipe(file)
    for number, stage in enumerate(recipe.stages, start=1):
        part = said.split(f"[{number}/{len(recipe.stages)}] {stage}\n")[1]
        assert re.search(r"steps of \d+ examples", part)
        if recipe.start_from and find_start(recipe.start_from) is None:
            assert f"sizes and memory unknown: start_from is {recipe.start_from}" in part
            continue
        assert re.search(r"memory per process: [\d.]+ [kMGT]?B", part)
        assert "  all  " in part and re.search(r"time: [\d.]+" if steps_taken else "time: unknown", part)
    assert ("three steps measured on this machine" in said) == steps_taken
    if file.stem == "mimic-llama3-8b":
        assert "language_model      8,033,669,120" in said  # 8,030,261,248, and adapters on two layers of 32 blocks
    if recipe.data is None and recipe.corpus != "simulation":
        assert f"{recipe.corpus}: not there" in said
    assert not list(tmp_path.iterdir())


def test_it_counts_what_the_run_has(
    write_recipe: Callable[..., Path], finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_recipe()
    dry_run(load_recipe(file))
    said, log = capsys.readouterr().out, (finished_run.parent / "log.txt").read_text()
    assert "simulation: 60 ECGs (49 train, 4 validation, 7 test)" in said
    # parameters and trainable ones, by part and stage
    assert TABLE.findall(said) == TABLE.findall(log) and len(TABLE.findall(said)) == 14
    for stage in ("debias", "finetune"):
        asked = load_from_disk(finished_run / "questions" / f"{stage}-train")
        assert f"{stage}, train: {len(asked):,} questions" in said
    assert "three steps measured on this machine" in said
    assert not (file.parent / "run").exists()


def test_sizes_that_nobody_states_are_said_to_be_unknown(
    write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"name": "nobody/no-such-model", "tune": "lora"}
    dry_run(load_recipe(write_recipe(language_model=named)))
    said = capsys.readouterr().out
    assert said.count("nobody/no-such-model is not in the local cache") == 2
    assert said.count("time: unknown") == 3 and "Time of all stages: unknown" in said
    sizes = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 1000}
    dry_run(load_recipe(write_recipe(language_model=named | {"sizes": sizes})), processes=2)
    said = capsys.readouterr().out
    assert said.count("nobody/no-such-model, not in the local cache: by the recipe's language_model.sizes") == 2
    assert said.count("ZeRO-3 over 2 processes") == 3 and "not measured: it is planned for 2 processes" in said


def test_a_classifier_is_planned_for_the_labels_that_were_counted() -> None:
    model, _ = planned_model(load_recipe("ptbxl-classify"), "classify", labels=37)
    assert model.classifier.out_features == 37 and model.classifier.weight.is_meta


def test_what_would_be_refused_is_said(write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    stages = {"pretrain": {"batch_size": 50}, "finetune": {"questions": {"path": "nowhere"}, "batch_size": 9}}
    dry_run(load_recipe(write_recipe(stages=stages, corpus="ludb", data="nowhere")), processes=4)
    said = capsys.readouterr().out
    assert "ludb: not there: nowhere is no folder" in said
    assert "the batch cannot be divided by 4" in said
    dry_run(load_recipe(write_recipe(stages=stages, limit=40)))
    said = capsys.readouterr().out
    assert "questions not counted: questions.path is nowhere, which holds no data set" in said
    assert "do not fill one batch: this stage would be refused" in said
    assert "finetune, train: questions not counted" in said


def test_a_stream_is_not_the_corpus(write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    file = write_recipe(stages={"pretrain": {"batch_size": 8, "stream": True, "training": {"max_steps": 7}}})
    dry_run(load_recipe(file))
    said = capsys.readouterr().out
    assert "7 steps of 8 examples (1 process)" in said and "times each of" not in said


@pytest.mark.parametrize(
    "overrides",
    [
        ("early_stopping_patience=3",),
        pytest.param(
            (
                "early_stopping_patience=3",
                "training.eval_strategy=epoch",
                "training.save_strategy=epoch",
                "training.save_steps=null",
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("training.load_best_model_at_end=true", "training.greater_is_better=true"), marks=pytest.mark.slow
        ),
    ],
)
def test_steps_are_measured_without_the_validation_that_stopping_needs(
    overrides: tuple[str, ...], write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stage = {"batch_size": 8, "questions": {"per_record": 2}, "training": {"max_steps": 24, "save_steps": 4}}
    file = write_recipe(stages={"finetune": stage})
    dry_run(load_recipe(file, [f"stages.finetune.{override}" for override in overrides]))
    assert "three steps measured on this machine" in capsys.readouterr().out


@pytest.mark.parametrize("tune", ["full", "lora", "frozen"])
def test_memory_is_estimated_within_a_factor_of_two(tune: str) -> None:
    """Against the bytes that autograd keeps for the backward pass of a language model of like proportions as usual."""
    sizes = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}
    config = {"model_type": "llama", "num_key_value_heads": 4, **sizes}
    model, _ = build_language_model(LanguageModelRecipe(config=config, vocab_size=400), ["a text"])
    if tune != "full":
        model.requires_grad_(False)
    embeds = torch.randn(4, 100, 128, requires_grad=True)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter) and tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(inputs_embeds=embeds, logits_to_keep=torch.arange(8)).logits.float().sum()
    part = Part(model, 400, frozen_below=False, output_tokens=32)
    estimated, found = part.activations(4, checkpointed=False), sum(kept.values())
    print(f"{tune}: estimated {text_of_bytes(estimated)}, kept {text_of_bytes(found)}")
    assert 0.5 < estimated / found < 2
    loss.backward()


def test_a_step_of_a_large_model_by_hand(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe())
    model, _ = planned_model(recipe, "debias")
    memory = memory_of(model, [], 4, False)
    parameters = sum(p.numel() for p in model.parameters())
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * parameters, 4 * learning, 8 * learning)
    assert 4 * learning < memory_of(model, [], 4, False, "muon").optimizer < 8 * learning  # one moment for matrices
    encoder = Part(model.ecg_encoder, tokens=10)
    body = sum(p.numel() for p in model.ecg_encoder.parameters())
    assert encoder.flops() == 2 * body * 10 and encoder.activations(4, False) == 0  # frozen, and nothing learns below
    language = Part(model.language_model, tokens=10, output_tokens=3)
    embedding = model.language_model.get_input_embeddings().weight.numel()  # tied: the output's matrix, too
    body = sum(p.numel() for p in model.language_model.parameters()) - embedding
    assert language.flops() == 6 * (body * 10 + embedding * 3)


def test_figures_are_readable() -> None:
    assert [text_of_bytes(n) for n in (12, 1234, 5.6e9, 2e15)] == ["12 B", "1.23 kB", "5.6 GB", "2e+03 TB"]
    seconds = [text_of_seconds(n) for n in (0.0123, 42, 75, 7200, 10 * 86400)]
    assert seconds == ["0.012 s", "42 s", "1 min 15 s", "2.0 h", "10.0 days"]
