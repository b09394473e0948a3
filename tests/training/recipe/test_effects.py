"""What a recipe says is what runs: every key has an effect, or is refused by name with the way out."""

import ast
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from ecgllm import ECGLLMConfig
from ecgllm.training import load_recipe, run_folder
from ecgllm.training.recipe import (
    AugmentRecipe,
    ClassifyStage,
    DebiasStage,
    LanguageModelRecipe,
    LoraRecipe,
    PretrainStage,
    ProjectorRecipe,
    QuestionStage,
    Recipe,
    RecipeError,
    TextEncoderRecipe,
    parse_recipe,
)
from ecgllm.training.recipe.forwarded_arguments import OWN_TRAINING_ARGUMENTS
from ecgllm.training.recipe.ignored_arguments import ignored_arguments

TRAINING = Path(run_folder.__file__).parent
EARLIER = {"pretrain": PretrainStage, "debias": DebiasStage, "finetune": QuestionStage}
KINDS = EARLIER | {"classify": ClassifyStage}
NOT_DEFAULT: dict[str, Any] = {
    "tune": "full",
    "tune_encoder": True,
    "tune_projector": False,
    "cache_encoder": False,
    "group_by_length": False,
    "questions_per_row": 3,
    "questions": {"per_record": 2},
    "balance": True,
    "match_on": ["severity"],
    "measured": 0.5,
    "measured_alone": 0.5,
    "validation_limit": 5,
    "evaluate": 7,
    "evaluate_split": "test",
    "labels": "ptbxl-super",
    "text": "findings",
    "loss": "sigmoid",
    "projection_dim": 8,
    "cache_chunk": 4,
    "stream": True,
    "reader_spread": 0.5,
}
FIELDS = {key for kind in KINDS.values() for key in kind.model_fields}
ELSEWHERE = [(stage, key) for stage, kind in KINDS.items() for key in sorted(FIELDS - set(kind.model_fields))]


def test_every_key_that_some_stages_lack_is_tried() -> None:
    assert {key for _, key in ELSEWHERE} == set(NOT_DEFAULT), "a new key needs a value here that is not its default"


@pytest.mark.parametrize(("stage", "key"), ELSEWHERE, ids=[f"{stage}.{key}" for stage, key in ELSEWHERE])
def test_a_key_of_other_stages_is_refused(write_recipe: Callable[..., Path], stage: str, key: str) -> None:
    values: dict[str, Any] = {"corpus": "simulation", "output": "run", "stages": {stage: {key: NOT_DEFAULT[key]}}}
    values["text_encoder"] = values["language_model"] = {"config": {"model_type": "bert"}}
    values["stages"][stage]["training"] = {"max_steps": 4}
    with pytest.raises(RecipeError, match=rf"stages\.{stage}: {key}\b") as caught:
        parse_recipe(values, "recipe")
    there = ", ".join(name for name, kind in KINDS.items() if key in kind.model_fields)
    assert f"it is for {there}. Leave it out, or set it there." in str(caught.value)


@pytest.mark.parametrize("stage", EARLIER)
def test_a_stage_of_earlier_run_folders_has_the_keys_of_all(stage: str, write_recipe: Callable[..., Path]) -> None:
    values = load_recipe(write_recipe(stages={stage: None})).to_dict()
    own = values["stages"][stage]
    others = {key: value for kind in EARLIER.values() for key, value in kind.model_construct().model_dump().items()}
    others["questions_per_row"] = 8  # their default
    assert len(others) > len(own)
    earlier = values | {"stages": {stage: others | own}}
    assert parse_recipe(earlier, "resolved").to_dict() == values


@pytest.mark.parametrize(
    "kind",
    [Recipe, *KINDS.values(), LanguageModelRecipe, TextEncoderRecipe, LoraRecipe, AugmentRecipe],
)
def test_every_declared_key_is_read_by_what_runs(kind: type) -> None:
    files = [file for file in TRAINING.rglob("*.py") if file.parent.name != "recipe"]
    read = {
        node.attr
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert set(kind.model_fields) - {"balance"} <= read  # which `is_balanced` reads


def test_every_key_of_the_projector_is_one_of_the_model() -> None:
    fields = ProjectorRecipe(type="mlp", hidden_size=3, patches_per_token=2, summary=True).fields()
    assert len(fields) == len(set(ProjectorRecipe.model_fields) - {"start"})  # which is no part of a model
    config = ECGLLMConfig(**fields)
    assert fields == {name: getattr(config, name) for name in fields}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stages.debias.training.num_train_epochs=3"], "num_train_epochs has no effect beside max_steps 24"),
        (["stages.pretrain.questions.per_record=2"], "stages.pretrain: questions is {'per_record': 2}, which says"),
        (["stages.pretrain.evaluate=3"], "evaluate is 3, which says nothing to pretrain: it is for debias, finetune"),
        (["stages.finetune.loss=sigmoid"], "loss is 'sigmoid', which says nothing to finetune: it is for pretrain"),
        (["stages.finetune.projection_dim=8"], "projection_dim is 8, which says nothing to finetune"),
        (["stages.pretrain.text=findings", "stages.pretrain.loss=sigmoid"], "loss has no effect with text: findings"),
        (["stages.debias.early_stopping_threshold=0.1"], "no effect without early_stopping_patience"),
        (["stages.debias.cache_encoder=true", "stages.debias.tune_encoder=true"], "cache_encoder: true has no effect"),
        (["stages.debias.evaluate=0", "stages.debias.evaluate_split=test"], "evaluate_split has no effect"),
        (["stages.debias.augment.noise_level=2"], "stages.debias.augment: noise_level has no effect without noise"),
        (["stages.debias.training.eval_steps=2"], "training.eval_steps has no effect without eval_strategy: steps"),
        (["stages.pretrain.training.metric_for_best_model=x"], "no effect without load_best_model_at_end"),
        (["stages.pretrain.training.do_train=true"], "training.do_train has no effect (a stage always trains)"),
        (["start_weights=false"], "start_weights has no effect without start_from"),
        (["language_model.dtype=bfloat16"], "language_model: dtype has no effect without name"),
        (["language_model.config=", "language_model.name=gpt2"], "language_model.vocab_size has no effect without"),
        (["projector.hidden_size=8"], "projector.hidden_size has no effect with type: linear; set type: mlp"),
        (["projector.hidden_size=0", "projector.type=mlp"], "projector.hidden_size is 0; expected 1 or more"),
        (["lora.alpha=-1"], "lora.alpha is -1; expected 1 or more"),
        (["language_model.vocab_size=0"], "language_model.vocab_size is 0; expected 1 or more"),
        (["text_encoder.config.hidden_size=-32"], "text_encoder: config.hidden_size is -32; expected 1 or more"),
        (["language_model.config.num_hidden_layers=0"], "language_model: config.num_hidden_layers is 0"),
        (["stages.debias.training.max_steps=0"], "training.max_steps is 0; expected 1 or more"),
        (["stages.debias.training.max_steps=many"], "training.max_steps is 'many'; expected a valid integer"),
        (["stages.debias.training.max_steps=", "stages.debias.training.num_train_epochs=0"], "num_train_epochs is 0"),
        (
            ["stages.debias.training.save_strategy=epoch"],
            "training.save_steps has no effect without save_strategy: steps",
        ),
        (["feature_extractor.baseline=none", "feature_extractor.baseline_cutoff=0.3"], "without baseline: highpass"),
        (["feature_extractor.scaling=zscore", "feature_extractor.millivolt_factor=2"], "without scaling: millivolt"),
        (
            ["encoder.beat_hidden_size=8"],
            "ECGEncoderConfig has no beat_hidden_size; an encoder with beats",
        ),
        (["encoder.beat_window=[0.3, 0.3]"], "ECGEncoderConfig has no beat_window; an encoder with beats"),
    ],
)
def test_what_would_be_ignored_is_refused(
    write_recipe: Callable[..., Path], overrides: list[str], message: str
) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(write_recipe(), overrides)


# Each argument of Trainer that another one leaves without effect: (what is ignored, what makes it so, the cure).
DEPENDENT: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"save_steps": 9}, {"save_strategy": "epoch"}, {"save_strategy": "steps"}),
    ({"save_total_limit": 3}, {"save_strategy": False}, {"save_strategy": "epoch"}),
    ({"save_only_model": True}, {"save_strategy": "no"}, {}),
    ({"logging_steps": 9}, {"logging_strategy": "epoch"}, {}),
    ({"logging_first_step": True}, {"logging_strategy": "no"}, {"logging_strategy": "epoch"}),
    ({"eval_delay": 3}, {}, {"eval_strategy": "epoch"}),
    *(
        ({key: "x"}, {}, {"push_to_hub": True})
        for key in ("hub_model_id", "hub_strategy", "hub_token", "hub_revision")
    ),
    *(({key: True}, {}, {"push_to_hub": True}) for key in ("hub_private_repo", "hub_always_push")),
    ({"gradient_checkpointing_kwargs": {"use_reentrant": False}}, {}, {"gradient_checkpointing": True}),
    ({"fsdp_config": {"version": 2}}, {}, {"fsdp": "full_shard"}),
    ({"liger_kernel_config": {"rope": True}}, {}, {"use_liger_kernel": True}),
    ({"dataloader_prefetch_factor": 4}, {"dataloader_num_workers": 0}, {"dataloader_num_workers": 2}),
    ({"dataloader_persistent_workers": True}, {}, {"dataloader_num_workers": 2}),
    ({"run_name": "first"}, {}, {"report_to": "tensorboard"}),
    ({"project": "ecg"}, {"report_to": "tensorboard"}, {"report_to": ["trackio"]}),
    ({"warmup_steps": 0.1}, {"lr_scheduler_type": "constant"}, {"lr_scheduler_type": "constant_with_warmup"}),
    ({"lr_scheduler_kwargs": {"a": 1}}, {"lr_scheduler_type": "constant"}, {}),
    ({"adam_beta1": 0.8}, {"optim": "sgd"}, {}),
    ({"adam_epsilon": 1e-6}, {"optim": "lion_32bit"}, {"optim": "adamw_torch"}),
    ({"optim_target_modules": "all"}, {}, {"optim": "galore_adamw"}),
    ({"metric_for_best_model": "loss"}, {}, {"save_strategy": "best"}),
    *(({key: 1}, {}, None) for key in ("data_seed", "do_eval", "batch_eval_metrics")),
]


@pytest.mark.parametrize(
    ("ignored", "beside", "cure"), DEPENDENT, ids=[next(iter(ignored)) for ignored, _, _ in DEPENDENT]
)
def test_an_argument_that_another_leaves_without_effect_is_named(
    ignored: dict[str, Any], beside: dict[str, Any], cure: dict[str, Any] | None
) -> None:
    (key,) = ignored
    assert [name for name, _ in ignored_arguments(ignored | beside, False)] == [f"training.{key}"]
    if cure is not None:
        kept = {name: value for name, value in beside.items() if name not in cure and cure}
        assert ignored_arguments(ignored | kept | cure, False) == []


def test_every_argument_of_trainer_has_been_looked_at() -> None:
    """A field that is new in transformers fails here: does another one leave it without effect?"""
    looked_at = set(re.findall(r"\w+", (TRAINING / "recipe" / "ignored_arguments.py").read_text(encoding="utf-8")))
    looked_at |= set(OWN_TRAINING_ARGUMENTS) | set(ALWAYS_IN_EFFECT.split())
    fields = {item.name for item in dataclasses.fields(TrainingArguments) if item.init}
    assert fields <= looked_at, f"new: {sorted(fields - looked_at)}"


# Looked at in transformers 5.23: nothing in a recipe leaves these without effect (or only the machine does).
ALWAYS_IN_EFFECT = """
num_train_epochs max_steps learning_rate lr_scheduler_type optim optim_args weight_decay max_grad_norm bf16 fp16
label_smoothing_factor bf16_full_eval fp16_full_eval tf32 activation_checkpointing gradient_checkpointing
torch_compile torch_compile_backend torch_compile_mode use_liger_kernel use_cache neftune_noise_alpha
torch_empty_cache_steps auto_find_batch_size log_on_each_node include_num_input_tokens_seen log_level
log_level_replica disable_tqdm prediction_loss_only eval_on_start eval_do_concat_batches eval_use_gather_object
eval_accumulation_steps enable_jit_checkpoint ignore_data_skip restore_callback_states_from_checkpoint
full_determinism use_cpu accelerator_config parallelism_config dataloader_num_workers dataloader_pin_memory
dataloader_in_order ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph
ddp_backend ddp_timeout deepspeed debug skip_memory_metrics local_rank average_tokens_across_devices
logging_strategy load_best_model_at_end
"""


def test_null_takes_back_what_the_file_says(write_recipe: Callable[..., Path]) -> None:
    overrides = ["stages.debias.training.max_steps=null", "stages.debias.training.num_train_epochs=2"]
    training = load_recipe(write_recipe(), overrides).stages["debias"].training
    assert "max_steps" not in training and training["num_train_epochs"] == 2
    overrides = ["stages.debias.training.save_strategy=epoch", "stages.debias.training.save_steps=null"]
    training = load_recipe(write_recipe(), [*overrides, "stages.debias.training.save_total_limit=null"])
    training = training.stages["debias"].training
    assert "save_steps" not in training and training["save_total_limit"] is None  # null is a value there: all are kept


def test_a_resolved_recipe_which_has_every_key_is_the_same_recipe(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe())
    assert parse_recipe(recipe.to_dict(), "resolved") == recipe


def test_parts_that_no_stage_uses_are_named(write_recipe: Callable[..., Path]) -> None:
    assert load_recipe(write_recipe()).unused_parts() == []
    each = ["language_model.tune=frozen", "stages.debias.tune=lora", "stages.finetune.tune=lora"]
    assert load_recipe(write_recipe(), each).unused_parts() == ["language_model.tune"]
    only = load_recipe(write_recipe(stages={"pretrain": {"batch_size": 8}}))
    assert only.unused_parts() == ["language_model", "projector", "lora"]
    assert load_recipe(write_recipe(stages={"debias": None})).unused_parts() == ["text_encoder", "lora"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"corpus: " + b"[" * 3000 + b"]" * 3000, "is nested too deeply to be read"),
        (b"corpus: ludb\noutput: x\ncorpus: ptbxl\n", "the key 'corpus' stands twice, in lines 1 and 3; keep one"),
        (b"stages:\n  debias: {evaluate: 1, evaluate: 2}\n", "the key 'evaluate' stands twice"),
        ("corpus: ludb\ndescription: K\u00fchl".encode("latin-1"), "is not UTF-8 (byte 27 is 0xfc); save it as UTF-8"),
        (b"corpus: 2024-99-99\n", "is no YAML: month must be in"),
        (b"corpus: \x00", "is no YAML"),
    ],
)
def test_a_file_that_is_not_what_it_looks_like_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "recipe.yaml").write_bytes(data)
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(tmp_path / "recipe.yaml")


def test_a_mark_of_byte_order_and_merged_keys_are_read(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    text = write_recipe().read_text(encoding="utf-8") + "sweep: {}\n"  # which earlier versions wrote
    (tmp_path / "recipe.yaml").write_text("\ufeff" + text, encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml").seed == 3
    merged = "encoder: {<<: {hidden_size: 8, patch_size: 40}, hidden_size: 32}"
    lines = "corpus: simulation\noutput: x\nstages: {pretrain: }\ntext_encoder: {config: {model_type: bert}}\n"
    (tmp_path / "merged.yaml").write_text(lines + merged, encoding="utf-8")
    assert load_recipe(tmp_path / "merged.yaml").encoder == {"hidden_size": 32, "patch_size": 40}
