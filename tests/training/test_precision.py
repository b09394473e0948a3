"""What learns is float32 beside a bfloat16 language model or text encoder; what is saved has the types that load."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, TrainerCallback

from ecgllm import (
    ECGBeatEncoder,
    ECGBeatEncoderConfig,
    ECGEncoderConfig,
    ECGLLMForConditionalGeneration,
    ECGTextDualEncoder,
)
from ecgllm.processing_ecgllm import ECGFeatureExtractor
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.data.encoded_signals import EncodedSignals, encode_signals
from ecgllm.training.recipe import LanguageModelRecipe, LoraRecipe, TextEncoderRecipe
from ecgllm.training.text_models import build_language_model, build_text_encoder
from ecgllm.training.tuning import (
    learn_in_float32,
    logits_in_float32,
    parameter_types,
    prepare_for_tuning,
    restore_types,
)

from .conftest import RECIPE

ENCODER = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SENTENCES = ["Is there atrial fibrillation? yes no", "sinus rhythm, normal ECG"]
HALF = torch.bfloat16


@pytest.fixture(scope="module")
def half_precision(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a tiny language model and of a tiny text encoder, both in bfloat16, with their tokenizers."""
    folder = tmp_path_factory.mktemp("bfloat16")
    torch.manual_seed(0)
    config = RECIPE["language_model"]["config"]
    language_model, tokenizer = build_language_model(LanguageModelRecipe(config=config, vocab_size=400), SENTENCES)
    text_encoder, own = build_text_encoder(
        TextEncoderRecipe(config=RECIPE["text_encoder"]["config"] | {"hidden_dropout_prob": 0.1}, vocab_size=400),
        SENTENCES,
    )
    for name, parts in {"language_model": (language_model, tokenizer), "text_encoder": (text_encoder, own)}.items():
        parts[0].to(HALF)
        for part in parts:
            part.save_pretrained(folder / name)
    assert AutoModelForCausalLM.from_pretrained(folder / "language_model").dtype == HALF
    assert AutoModel.from_pretrained(folder / "text_encoder").dtype == HALF
    return {name: str(folder / name) for name in ("language_model", "text_encoder")}


class Learning(TrainerCallback):
    """Types of what the optimizer moves, the model's own types, and losses."""

    def __init__(self) -> None:
        self.moved: set[torch.dtype] = set()
        self.types: dict[str, torch.dtype] = {}
        self.weights: dict[str, torch.Tensor] = {}
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.dropout = {m.p for name, m in model.named_modules() if isinstance(m, torch.nn.Dropout) and "text" in name}
        self.before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.moved |= {p.dtype for group in kwargs["optimizer"].param_groups for p in group["params"]}
        self.types = parameter_types(kwargs["model"])

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.losses += [logs["loss"]] if "loss" in logs else []

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def moved_shares(self, part: str) -> list[float]:
        """Share of the numbers of each of a part's tensors that are not what they were."""
        return [
            float((self.weights[name] != self.before[name]).float().mean()) for name in self.weights if part in name
        ]


def stage(**changes: Any) -> dict[str, Any]:
    training = {"max_steps": 6, "learning_rate": 3e-5, "logging_steps": 1, "save_steps": 3}
    return {"batch_size": 8, "evaluate": 0, "questions": {"per_record": 2}, "training": training} | changes


@pytest.mark.parametrize("tune", ["frozen", "full"])
def test_what_learns_beside_bfloat16_is_float32(
    tune: str, write_recipe: Callable[..., Path], half_precision: dict[str, str]
) -> None:
    found = Learning()
    recipe = write_recipe(
        stages={"finetune": stage(tune=tune)},
        language_model={"name": half_precision["language_model"]},
        limit=40,
    )
    run = run_recipe(load_recipe(recipe), [found])
    assert found.moved == {torch.float32}
    frozen = {name for name in found.types if name not in found.weights}
    assert all(found.types[name] == HALF for name in frozen) and frozen
    assert [name for name in found.weights if "projector" in name]
    # At a learning rate of 3e-5 most weights of bfloat16 would be what they were.
    assert min(found.moved_shares("projector")) > 0.95
    saved = load_file(run / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {HALF}
    elsewhere = {"language_model": half_precision["language_model"]} if tune == "frozen" else {}
    model = ECGLLMForConditionalGeneration.from_pretrained(run, **elsewhere)
    assert model.dtype == HALF and model.projector.layers[0].weight.dtype == HALF
    trained = next(value for name, value in found.weights.items() if name.endswith("layers.0.weight"))
    assert torch.equal(model.projector.layers[0].weight, trained.to(HALF))


def test_an_adapter_learns_in_float32_and_by_itself_answers_as_the_merged_model(
    write_recipe: Callable[..., Path], half_precision: dict[str, str]
) -> None:
    own = stage(tune="lora", training={"max_steps": 12, "learning_rate": 1e-2, "save_steps": 12})
    found = Learning()
    language_model = {"name": half_precision["language_model"], "merge": True}
    run = run_recipe(load_recipe(write_recipe(stages={"finetune": own}, language_model=language_model)), [found])
    assert found.moved == {torch.float32} and len([name for name in found.weights if "lora_" in name]) == 28
    adapter = load_file(run / "finetune" / "adapter" / "adapter_model.safetensors")
    assert {value.dtype for value in adapter.values()} == {torch.float32}
    merged = ECGLLMForConditionalGeneration.from_pretrained(run / "finetune" / "model")
    base = ECGLLMForConditionalGeneration.from_pretrained(run / "finetune" / "base")
    assert base.dtype == merged.dtype == HALF
    by_itself = PeftModel.from_pretrained(base, str(run / "finetune" / "adapter")).merge_and_unload()
    for (name, expected), value in zip(merged.named_parameters(), by_itself.parameters(), strict=True):
        assert torch.equal(value.to(HALF), expected), name


@pytest.mark.slow
def test_a_run_beside_bfloat16_that_is_taken_up_again_ends_in_the_same_bits(
    write_recipe: Callable[..., Path], half_precision: dict[str, str]
) -> None:
    ends = []
    for killed in (False, True):
        recipe = load_recipe(
            write_recipe(
                stages={"finetune": stage(tune="lora")},
                limit=40,
                language_model={"name": half_precision["language_model"]},
                lora={"r": 4, "dropout": 0.1},
            )
        )
        found = Learning()
        run = run_recipe(recipe, [found])
        if killed:
            shutil.rmtree(run / "finetune" / "model")
            shutil.rmtree(run / "finetune" / "checkpoint-6")
            (run / "finetune" / "metrics.json").unlink()
            found = Learning()
            run_recipe(recipe, [found])
            assert len(found.losses) == 3
        ends.append(found.weights)
    assert all(value.dtype == torch.float32 for value in ends[1].values())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("tune", ["frozen", "full"])
def test_a_bfloat16_text_encoder_needs_no_autocast(
    tune: str, write_recipe: Callable[..., Path], half_precision: dict[str, str]
) -> None:
    found = Learning()
    recipe = write_recipe(
        stages={"pretrain": {"batch_size": 8, "text": "both", "training": stage()["training"]}},
        text_encoder={"name": half_precision["text_encoder"], "tune": tune},
        limit=40,
    )
    run = run_recipe(load_recipe(recipe), [found])
    assert found.moved == {torch.float32}
    text = {value for name, value in found.types.items() if name.startswith("text_encoder") and "pooler" not in name}
    assert text == {torch.float32 if tune == "full" else HALF}
    assert found.dropout == ({0.0, 0.1} if tune == "full" else {0.0})
    assert torch.isfinite(torch.tensor(found.losses)).all()
    assert ECGTextDualEncoder.from_pretrained(run).ecg_encoder.dtype == torch.float32


def test_what_learns_and_what_it_was_before() -> None:
    language_model, tokenizer = build_language_model(
        LanguageModelRecipe(config=RECIPE["language_model"]["config"], vocab_size=300), SENTENCES
    )
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        ECGEncoderConfig(**ENCODER), language_model.to(HALF), tokenizer=tokenizer
    )
    model.language_model.model.norm.float()  # as models keep some of their weights
    before = parameter_types(model)
    tuned = prepare_for_tuning(model, "lora", LoraRecipe())
    learns = {name: p.dtype for name, p in tuned.named_parameters() if p.requires_grad}
    assert set(learns.values()) == {torch.float32} and any("projector" in name for name in learns)
    merged = tuned.merge_and_unload()
    assert parameter_types(merged) != before
    restore_types(merged, before)
    assert parameter_types(merged) == before


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_logits_are_those_of_single_precision_under_autocast(tune: str) -> None:
    torch.manual_seed(0)
    language_model, tokenizer = build_language_model(
        LanguageModelRecipe(config=RECIPE["language_model"]["config"], vocab_size=300), SENTENCES
    )
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        ECGEncoderConfig(**ENCODER), language_model, tokenizer=tokenizer
    )
    tuned = prepare_for_tuning(model, tune, LoraRecipe())
    head = model.language_model.get_output_embeddings()
    before = set(tuned.state_dict())
    hidden = 30 * torch.randn(4, head.in_features)
    expected = torch.nn.functional.linear(hidden, head.weight)
    with torch.autocast("cpu", dtype=HALF):
        coarse = head(hidden)
        logits_in_float32(tuned)
        found = head(hidden)
        ids = torch.tensor([tokenizer("Is it?")["input_ids"]])
        output = tuned(input_ids=ids, labels=ids)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    assert coarse.dtype == HALF and not torch.allclose(coarse.float(), expected, atol=1e-2)
    assert output.logits.dtype == torch.float32 and set(tuned.state_dict()) == before
    output.loss.backward()
    assert any(parameter.grad is not None for parameter in tuned.parameters())


def test_what_is_frozen_stays_as_it_is() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to(HALF)
    model[0].requires_grad_(False)
    assert learn_in_float32(model)[0].weight.dtype == HALF and model[1].weight.dtype == torch.float32


def test_a_bfloat16_encoder_seeks_beats_in_the_signal_as_it_is(tmp_path: Path) -> None:
    """Encoded before training or in every step: the same, beats included."""
    from ecgllm.corpora import records_to_corpus
    from ecgllm.signals.simulation import simulate_ecgs
    from ecgllm.training.data.prepared_signals import load_signals, prepare_signals

    extractor = ECGFeatureExtractor()
    torch.manual_seed(0)
    config = ECGBeatEncoderConfig(**ENCODER, preprocessing=extractor.preprocessing)
    encoder = ECGBeatEncoder(config).to(HALF).eval()
    prepare_signals(records_to_corpus(simulate_ecgs(4, seed=1), source="test"), extractor, tmp_path / "signals")
    signals = load_signals(tmp_path / "signals")
    encode_signals(encoder, extractor, signals, signals, tmp_path / "encoded", batch_size=1)
    encoded = EncodedSignals(tmp_path / "encoded")
    for name in signals:
        with torch.no_grad():
            expected = encoder(**extractor([signals[name]])).last_hidden_state[0].float()
        assert torch.equal(torch.from_numpy(encoded[name]["ecg_embeds"].copy()), expected)
