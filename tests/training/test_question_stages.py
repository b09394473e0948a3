"""What learns in which mode, what a stage without validation does, and what stages refuse."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import load_from_disk
from transformers import Trainer, TrainingArguments

from ecgllm import ECGEncoderConfig, ECGLLMForConditionalGeneration
from ecgllm.corpora import build_questions, debias, prepare
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import LanguageModelRecipe, LoraRecipe, RecipeError
from ecgllm.training.text_models import build_language_model
from ecgllm.training.trainers.trainer import StageTrainer
from ecgllm.training.tuning import AdapterCheck, freeze_unreached, prepare_for_tuning, trainable_table

ENCODER = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def model() -> ECGLLMForConditionalGeneration:
    config = {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    language_model, tokenizer = build_language_model(LanguageModelRecipe(config=config, vocab_size=300), ["a text"])
    return ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        ECGEncoderConfig(**ENCODER), language_model, tokenizer=tokenizer
    )


def learning(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_frozen_leaves_the_projector_to_learn(model: ECGLLMForConditionalGeneration) -> None:
    assert {name.split(".")[0] for name in learning(prepare_for_tuning(model, "frozen", LoraRecipe()))} == {
        "projector"
    }


def test_full_is_the_whole_language_model_and_the_projector(model: ECGLLMForConditionalGeneration) -> None:
    names = learning(prepare_for_tuning(model, "full", LoraRecipe()))
    expected = {name for name, _ in model.named_parameters() if not name.startswith("ecg_encoder.")}
    assert names == expected


def test_encoder_and_projector_by_flag(model: ECGLLMForConditionalGeneration) -> None:
    names = learning(prepare_for_tuning(model, "frozen", LoraRecipe(), encoder=True, projector=False))
    assert {name.split(".")[0] for name in names} == {"ecg_encoder"}


@pytest.mark.parametrize(
    ("target", "layers"),
    [
        ("all-linear", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        # the encoder has layers of these names too
        (["q_proj", "o_proj"], {"q_proj", "o_proj"}),
        ("v_proj", {"v_proj"}),
    ],
)
def test_lora_is_on_the_language_model_only(
    model: ECGLLMForConditionalGeneration, target: str | list[str], layers: set[str]
) -> None:
    names = learning(prepare_for_tuning(model, "lora", LoraRecipe(target_modules=target)))
    adapters = {name for name in names if "lora_" in name}
    assert all(".language_model." in name for name in adapters)
    assert {name.split(".lora_")[0].split(".")[-1] for name in adapters} == layers
    assert all(".projector.modules_to_save." in name for name in names - adapters) and names - adapters


def test_lora_without_the_projector(model: ECGLLMForConditionalGeneration) -> None:
    assert all("lora_" in name for name in learning(prepare_for_tuning(model, "lora", LoraRecipe(), projector=False)))


def test_a_frozen_encoder_has_no_dropout_and_one_that_learns_has() -> None:
    config = {"model_type": "llama", **ENCODER}
    for learns in (False, True):
        language_model, tokenizer = build_language_model(LanguageModelRecipe(config=config, vocab_size=300), ["text"])
        for dropout in ("hidden_dropout", "attention_dropout"):
            encoder = ECGEncoderConfig(**ENCODER, **{dropout: 0.5})
            model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
                encoder, language_model, tokenizer=tokenizer
            )
            prepare_for_tuning(model, "frozen", LoraRecipe(), encoder=learns).train()
            values = torch.randn(2, 12, 200)
            found = [model.ecg_encoder(values).pooler_output for _ in range(2)]
            assert torch.equal(*found) != learns, dropout


def test_what_cannot_learn_is_refused(model: ECGLLMForConditionalGeneration) -> None:
    with pytest.raises(RecipeError, match="Nothing learns in this stage"):
        prepare_for_tuning(model, "frozen", LoraRecipe(), projector=False)
    with pytest.raises(RecipeError, match="an adapter holds no encoder weights"):
        prepare_for_tuning(model, "lora", LoraRecipe(), encoder=True)


def test_table_counts_every_parameter_once(model: ECGLLMForConditionalGeneration) -> None:
    total = sum(parameter.numel() for parameter in model.parameters())
    projector = sum(parameter.numel() for parameter in model.projector.parameters())
    tuned = prepare_for_tuning(model, "lora", LoraRecipe(r=2, target_modules="q_proj"))
    adapter = 2 * 2 * 32
    rows = {
        line.split()[0]: [int(number.replace(",", "")) for number in line.split()[1:]]
        for line in trainable_table(tuned).splitlines()[1:]
    }
    assert rows["projector"] == [projector, projector]
    assert rows["ecg_encoder"][1] == 0
    assert rows["all"] == [total + adapter, projector + adapter]


FEW = ["stages.{0}.training.max_steps=2", "stages.{0}.training.save_steps=2", "stages.{0}.batch_size=4"]


def few_steps(*stages: str) -> list[str]:
    return [override.format(stage) for stage in stages for override in FEW]


def test_first_lora_stage_keeps_its_base(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    """A single stage, with an encoder that was never trained: the adapter's base is a model made on the spot."""
    stages = {"finetune": {"tune": "lora", "evaluate": 0, "questions": {"per_record": 1, "types": ["verify"]}}}
    run = run_recipe(load_recipe(write_recipe(stages=stages), [f"output={tmp_path / 'run'}", *few_steps("finetune")]))
    config = json.loads((run / "finetune" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(run / "finetune" / "base")
    base = ECGLLMForConditionalGeneration.from_pretrained(run / "finetune" / "base")
    assert base.config.trained_on == "49 simulated ECGs, no patient's data"


def test_no_validation_records_no_validation(
    write_recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ecgllm.corpora import prepare

    corpus = prepare("simulation", limit=40)
    corpus.select([row for row, split in enumerate(corpus["split"]) if split == "train"]).save_to_disk(
        tmp_path / "own"
    )
    overrides = [f"output={tmp_path / 'run'}", f"data={tmp_path / 'own'}", "corpus=own", "limit="]
    stages = {"pretrain": {}, "debias": {"tune": "frozen", "questions": {"per_record": 4}}}
    run = run_recipe(load_recipe(write_recipe(stages=stages), [*overrides, *few_steps("pretrain", "debias")]))
    assert "debias: no question about the 0 validation records; it is not validated" in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())
    assert "validation" not in metrics["pretrain"] and metrics["debias"]["answers"] == {}
    assert "not measured (no validation records)" in (run / "README.md").read_text()


def test_the_loss_is_taken_on_as_many_validation_questions_as_the_recipe_says(
    write_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = []
    evaluate = StageTrainer.evaluate
    monkeypatch.setattr(
        StageTrainer, "evaluate", lambda self: validated.append(len(self.eval_dataset)) or evaluate(self)
    )
    for limit, run in ((3, "some"), (10_000, "all")):
        stages = {
            "debias": {"tune": "frozen", "evaluate": 0, "validation_limit": limit, "questions": {"per_record": 4}}
        }
        run_recipe(load_recipe(write_recipe(stages=stages), [f"output={tmp_path / run}", *few_steps("debias")]))
    assert validated[0] == 3 < validated[1]


def test_validation_during_training_is_for_the_recipe_to_ask(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    stages = {"pretrain": {"loss": "sigmoid", "training": {"eval_strategy": "steps", "eval_steps": 1}}}
    run = run_recipe(load_recipe(write_recipe(stages=stages), [f"output={tmp_path / 'run'}", *few_steps("pretrain")]))
    log = json.loads((run / "metrics.json").read_text())["pretrain"]["log"]
    assert [entry["step"] for entry in log if "eval_loss" in entry] == [1, 2, 2]
    # the root of a run that ends with pretrain is the dual encoder
    assert json.loads((run / "config.json").read_text())["architectures"] == ["ECGTextDualEncoder"]


def test_a_batch_larger_than_the_data_is_refused(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    overrides = [f"output={tmp_path / 'run'}", "stages.pretrain.batch_size=64"]
    with pytest.raises(RecipeError, match="pretrain has 49 training examples, fewer than its batch_size 64"):
        run_recipe(load_recipe(write_recipe(), overrides))


def train_steps(model: torch.nn.Module, tmp_path: Path, check: AdapterCheck, steps: int = 2) -> int:
    """Steps of a Trainer over short prompts; returns how many were taken."""
    rows = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}] * 4
    args = TrainingArguments(
        str(tmp_path),
        max_steps=steps,
        per_device_train_batch_size=2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, args, train_dataset=rows, callbacks=[check])
    try:
        trainer.train()
    finally:
        taken = trainer.state.global_step
    return taken


def test_adapters_on_layers_that_are_never_called_are_refused_before_the_first_step(
    model: ECGLLMForConditionalGeneration, tmp_path: Path
) -> None:
    """Watched in the first batch: no forward pass is made for it, on whatever device."""
    tuned = prepare_for_tuning(model, "lora", LoraRecipe())
    assert train_steps(tuned, tmp_path, AdapterCheck(tuned)) == 2
    assert not any(module._forward_hooks for module in tuned.modules())
    config = {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}
    language_model, tokenizer = build_language_model(LanguageModelRecipe(config=config, vocab_size=300), ["a text"])
    mamba = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        ECGEncoderConfig(**ENCODER), language_model, tokenizer=tokenizer
    )
    tuned = prepare_for_tuning(mamba, "lora", LoraRecipe())
    before = {name: value.clone() for name, value in tuned.state_dict().items()}
    with pytest.raises(RecipeError, match="layers dt_proj, which this language model never calls"):
        train_steps(tuned, tmp_path, AdapterCheck(tuned))
    assert all(torch.equal(value, before[name]) for name, value in tuned.state_dict().items())


def test_a_stage_of_adapters_is_checked(
    write_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}
    stages = {"finetune": {"tune": "lora", "evaluate": 0, "questions": {"per_record": 1, "types": ["verify"]}}}
    recipe = write_recipe(stages=stages, language_model={"config": config, "vocab_size": 300})
    with pytest.raises(RecipeError, match="layers dt_proj, which this language model never calls"):
        run_recipe(load_recipe(recipe, [f"output={tmp_path / 'run'}", *few_steps("finetune")]))


class Experts(torch.nn.Module):
    """Two experts, of which the first answers, and a layer behind them that is never asked."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(2))
        self.pooler = torch.nn.Linear(2, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.pooler(values)
        return self.experts[0](values)


def test_what_no_loss_reaches_does_not_learn() -> None:
    model = Experts()
    assert freeze_unreached(model, model(torch.ones(1, 2))) == ["pooler.weight", "pooler.bias"]
    assert learning(model) == {f"experts.{number}.{name}" for number in (0, 1) for name in ("weight", "bias")}


def test_a_prompt_past_the_last_position_says_so() -> None:
    config = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 16}
    language_model, tokenizer = build_language_model(LanguageModelRecipe(config=config, vocab_size=300), ["a text"])
    gpt2 = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        ECGEncoderConfig(**ENCODER), language_model, tokenizer=tokenizer
    )
    with pytest.raises(ValueError, match="prompt has 20 tokens, .* positions for 16"):
        gpt2(input_ids=torch.full((1, 20), 5))


def test_a_run_that_failed_before_its_corpus_takes_a_corrected_recipe(tmp_path: Path) -> None:
    output = f"output={tmp_path / 'run'}"
    with pytest.raises(RecipeError, match="pass data=FOLDER, where the corpus ludb lies"):
        run_recipe(load_recipe("ludb-tiny", [output]))
    with pytest.raises(FileNotFoundError):  # of the data, not a complaint about the recipe
        run_recipe(load_recipe("ludb-tiny", [output, f"data={tmp_path / 'nowhere'}"]))


def test_questions_from_a_folder(write_recipe: Callable[..., Path], tmp_path: Path, capsys) -> None:
    corpus = prepare("simulation", limit=60, seed=3)
    questions = build_questions(corpus, types=["verify"], per_record=2)
    questions.save_to_disk(tmp_path / "questions")
    overrides = [
        "limit=50",  # ten of the records are not there
        "stages.pretrain.training.max_steps=1",
        "stages.debias.training.max_steps=1",
        "stages.finetune=null",
        f"stages.finetune.questions.path={tmp_path / 'questions'}",
        "stages.finetune.batch_size=8",
        "stages.finetune.evaluate=0",
        "stages.finetune.training.max_steps=1",
    ]
    run = run_recipe(load_recipe(write_recipe(), overrides))
    assert "are about records that the corpus lacks; left out" in capsys.readouterr().out
    used = load_from_disk(run / "questions" / "finetune-train")
    expected = questions.filter(lambda row: row["split"] == "train")["question_id"]
    assert 0 < len(used) < len(expected) and set(used["question_id"]) < set(expected)


def test_weighted_questions_are_asked_as_often_as_they_weigh(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    corpus = prepare("simulation", limit=60, seed=3)
    asked = ["sinus rhythm", "arrhythmia", "st-t abnormality"]
    questions = build_questions(corpus, ["verify"], per_record=2, no_per_yes=0.5, attributes=asked)
    weighted = debias(questions, corpus=corpus, match_on=["sex"], method="weight")
    weighted.save_to_disk(tmp_path / "questions")
    overrides = [
        "stages.pretrain.training.max_steps=1",
        "stages.debias.training.max_steps=1",
        "stages.finetune=null",
        f"stages.finetune.questions.path={tmp_path / 'questions'}",
        "stages.finetune.batch_size=8",
        "stages.finetune.evaluate=0",
        "stages.finetune.training.max_steps=1",
    ]
    used = load_from_disk(run_recipe(load_recipe(write_recipe(), overrides)) / "questions" / "finetune-train")
    counts = Counter(used["question_id"])
    own = weighted.filter(lambda row: row["split"] == "train")
    assert max(counts.values()) > 1 and "weight" not in used.column_names
    for name, weight in zip(own["question_id"], own["weight"], strict=True):
        assert counts[name] in (int(weight), int(weight) + 1)


@pytest.mark.slow
def test_confounders_are_matched_only_where_questions_are_debiased(write_recipe: Callable[..., Path]) -> None:
    with pytest.raises(RecipeError, match="match_on is .*but its questions are not de-biased"):
        load_recipe(write_recipe(), ["stages.finetune.match_on=[severity]"])
    steps = [f"stages.{name}.training.max_steps=1" for name in ("pretrain", "debias", "finetune")]
    folder = run_recipe(load_recipe(write_recipe(), ["stages.debias.match_on=[sex]", *steps]))
    assert "sex, matched" in (folder / "questions" / "debias-train.txt").read_text()


def test_a_folder_without_questions_is_refused(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    overrides = ["stages.debias=null", f"stages.debias.questions.path={tmp_path}", "limit=20"]
    with pytest.raises(RecipeError, match="expected what `ecgllm questions` wrote"):
        run_recipe(load_recipe(write_recipe(), overrides))


def test_a_frozen_text_encoder_is_one_function_of_the_text() -> None:
    from ecgllm.training.recipe import TextEncoderRecipe
    from ecgllm.training.text_models import build_text_encoder
    from ecgllm.training.tuning import switch_dropout_off

    for model_type in ("bert", "roberta", "distilbert", "gpt2"):
        config = {"model_type": model_type}
        text_encoder, _ = build_text_encoder(TextEncoderRecipe(config=config | TINY[model_type]), ["a text"])
        text_encoder.train()
        ids = torch.tensor([[5, 6, 7, 8]])
        assert not torch.equal(*(text_encoder(ids).last_hidden_state for _ in range(2)))
        switch_dropout_off(text_encoder)
        assert torch.equal(*(text_encoder(ids).last_hidden_state for _ in range(2))), model_type


BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TINY = {
    "bert": BERT,
    "roberta": BERT,
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
}
