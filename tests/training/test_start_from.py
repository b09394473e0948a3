"""Runs that start from the checkpoint of another: what they take, what they refuse, what they write down."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ecgllm.training import dry_run, load_recipe, run_recipe
from ecgllm.training.planning.planned_models import planned_model
from ecgllm.training.recipe import RecipeError
from ecgllm.training.start_from import read_start

from .conftest import RECIPE, ROOT

ASKED = {"batch_size": 8, "evaluate": 4, "questions": {"per_record": 2, "types": ["verify"]}}
NOTHING = {"max_steps": 1, "learning_rate": 0.0}
# What a recipe may leave out when it starts from a checkpoint.
OPEN: dict[str, Any] = dict.fromkeys(("encoder", "projector", "language_model", "text_encoder"))


def weights(folder: Path, part: str = "") -> dict[str, torch.Tensor]:
    found = load_file(folder / "model.safetensors")
    return {name: value for name, value in found.items() if name.startswith(part)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("tune", ["full", "lora", "frozen"])
def test_it_starts_from_the_whole_model(
    tune: str, finished_run: Path, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """A rate of zero leaves what it took: all but LoRA, whose merging adds zeros, is bit for bit the same."""
    stage = ASKED | {"tune": tune, "training": NOTHING}
    file = write_recipe(**OPEN, start_from=str(finished_run), stages={"finetune": stage}, limit=40, seed=11)
    recipe = load_recipe(file)
    assert recipe.encoder["hidden_size"] == 32 and recipe.projector.patches_per_token == 5
    run = run_recipe(recipe)
    assert same(weights(run), weights(finished_run))
    noted = json.loads((run / "start.json").read_text())
    assert noted["name"] == finished_run.name and noted["trained_on"] == "49 simulated ECGs, no patient's data"
    card = (run / "README.md").read_text()
    assert f"Training started from the checkpoint `{finished_run.name}` (tensors sha256 " in card
    assert str(finished_run.parent) not in card
    config = json.loads((run / "config.json").read_text())
    assert config["trained_on"].startswith("49 simulated ECGs, no patient's data; then ")
    if tune == "lora":
        adapter = json.loads((run / "finetune" / "adapter" / "adapter_config.json").read_text())
        assert adapter["base_model_name_or_path"] == str(finished_run.resolve())


def test_pretrain_goes_on_with_its_encoder_and_questions_with_the_rest(
    finished_run: Path, write_recipe: Callable[..., Path]
) -> None:
    stages = {"pretrain": {"batch_size": 8, "training": NOTHING}, "finetune": ASKED | {"training": NOTHING}}
    changes = OPEN | {"text_encoder": RECIPE["text_encoder"], "language_model": {"tune": "lora"}}
    run = run_recipe(load_recipe(write_recipe(**changes, start_from=str(finished_run), stages=stages)))
    assert same(weights(run / "pretrain" / "model", "ecg_encoder."), weights(finished_run, "ecg_encoder."))
    assert same(weights(run), weights(finished_run))
    # an encoder that another stage trained stands on no one else's folder
    adapter = json.loads((run / "finetune" / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str((run / "finetune" / "base").resolve())


def test_an_encoder_alone(finished_run: Path, write_recipe: Callable[..., Path]) -> None:
    """The checkpoint of pretrain brings no language model: the recipe must."""
    start, stages = str(finished_run / "pretrain" / "model"), {"finetune": ASKED | {"training": NOTHING}}
    run = run_recipe(load_recipe(write_recipe(encoder=None, start_from=start, stages=stages)))
    assert same(weights(run, "ecg_encoder."), weights(Path(start), "ecg_encoder."))
    with pytest.raises(RecipeError, match="an encoder without a language model; add a language_model"):
        run_recipe(load_recipe(write_recipe(**OPEN, start_from=start, stages=stages)))


def test_its_projector_with_the_summary_is_what_is_planned_and_what_is_built() -> None:
    """The checkpoint that ships has one: the plan of its recipe, and of a run from its sizes, must have it, too."""
    shipped = ROOT / "checkpoints" / "ecgllm-tiny"
    shapes = {name: value.shape for name, value in weights(shipped, "projector.").items()}
    assert "projector.summary.weight" in shapes
    from_scratch = read_start(str(shipped), weights=False).model()[0]
    planned = planned_model(load_recipe("sim-tiny"), "debias")[0]
    for model in (from_scratch, planned):
        own = {name: value.shape for name, value in model.state_dict().items() if name.startswith("projector.")}
        assert own == shapes


def test_weights_keep_the_words_that_they_were_trained_in_and_a_new_start_does_not(tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(ROOT / "checkpoints" / "ecgllm-tiny", older)
    settings = json.loads((older / "processor_config.json").read_text())
    settings["trained_words"] = {"right superior axis": "extreme axis"}
    (older / "processor_config.json").write_text(json.dumps(settings))
    assert read_start(str(older)).model()[1].trained_words == {"right superior axis": "extreme axis"}
    assert read_start(str(older), weights=False).model()[1].trained_words is None


def test_from_scratch_with_its_sizes(finished_run: Path, write_recipe: Callable[..., Path]) -> None:
    stage = ASKED | {"tune": "full", "training": NOTHING}
    file = write_recipe(**OPEN, start_from=str(finished_run), start_weights=False, stages={"finetune": stage})
    run = run_recipe(load_recipe(file))
    own, other = weights(run), weights(finished_run)
    assert {name: value.shape for name, value in own.items()} == {n: value.shape for n, value in other.items()}
    matrices = [name for name, value in own.items() if value.dim() > 1]
    assert not any(torch.equal(own[name], other[name]) for name in matrices)
    assert (run / "tokenizer.json").read_bytes() == (finished_run / "tokenizer.json").read_bytes()
    assert json.loads((run / "config.json").read_text())["trained_on"] == "49 simulated ECGs, no patient's data"
    assert "no weight is" in (run / "README.md").read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("encoder.hidden_size=64", "encoder.hidden_size is 64 and there 32"),
        ("feature_extractor.scaling=minmax", "feature_extractor.scaling is 'minmax' and there 'millivolt'"),
        ("projector.patches_per_token=2", "projector.patches_per_token is 2 and there 5"),
        ("projector.summary=true", "projector.summary is True and there False"),
        ("language_model.name=gpt2", "language_model.name is 'gpt2' and there is a language model of its own"),
        ("language_model={config: {model_type: gpt2}}", "model_type is 'gpt2' and there 'llama'"),
    ],
)
def test_what_contradicts_it_is_refused(
    override: str, message: str, finished_run: Path, write_recipe: Callable[..., Path]
) -> None:
    file = write_recipe(**OPEN, start_from=str(finished_run), stages={"finetune": ASKED})
    with pytest.raises(RecipeError, match=message):
        load_recipe(file, [override])


def test_what_is_no_checkpoint_is_refused(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    file = write_recipe(stages={"finetune": ASKED})
    recipe = load_recipe(file, [f"start_from={tmp_path / 'nowhere'}"])  # there may be one by the time it runs
    with pytest.raises(RecipeError, match="nowhere, which is no folder; expected a finished run"):
        run_recipe(recipe)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match="holds no config.json"):
        load_recipe(file, [f"start_from={tmp_path / 'empty'}"])
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(RecipeError, match="a model of type 'llama'; expected ecgllm or ecgllm_dual_encoder"):
        load_recipe(file, [f"start_from={tmp_path / 'empty'}"])


def test_weights_that_changed_are_refused_and_the_same_in_another_file_are_not(
    finished_run: Path, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    start = Path(shutil.copytree(finished_run / "pretrain" / "model", tmp_path / "start"))
    recipe = load_recipe(write_recipe(start_from=str(start), stages={"finetune": ASKED | {"training": NOTHING}}))
    run, file = run_recipe(recipe), start / "model.safetensors"
    noted = json.loads((run / "start.json").read_text())
    # A run of an earlier version, which noted a hash of the files, goes on as well.
    earlier = noted | {"weights": f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}"}
    (run / "start.json").write_text(json.dumps(earlier))
    run_recipe(recipe)
    (run / "start.json").write_text(json.dumps(noted))
    own = load_file(file)
    save_file(own, file, metadata={"format": "pt", "saved by": "another version"})
    run_recipe(recipe)
    save_file(own | {"logit_scale": own["logit_scale"] + 1}, file, metadata={"format": "pt"})
    for before in (noted, earlier):
        (run / "start.json").write_text(json.dumps(before))
        with pytest.raises(RecipeError, match="has changed since"):
            run_recipe(recipe)


def test_a_dry_run_takes_the_sizes_of_the_checkpoint(
    finished_run: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_recipe(**OPEN, start_from=str(finished_run), stages={"finetune": ASKED | {"tune": "full"}})
    dry_run(load_recipe(file))
    log = (finished_run.parent / "log.txt").read_text()
    total = log[log.index("[2/3]") :].split("  all  ")[1].split()[0]
    assert capsys.readouterr().out.split("  all  ")[1].split()[0] == total
    dry_run(load_recipe(file, ["start_from=nowhere"]))
    assert "sizes and memory unknown: start_from is nowhere, which is not there" in capsys.readouterr().out


def test_records_are_split_anew_and_those_of_the_test_split_are_asked_about(
    write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stage = ASKED | {"evaluate_split": "test", "training": NOTHING}
    run = run_recipe(load_recipe(write_recipe(split={"validation": 0.1, "test": 0.34}, stages={"finetune": stage})))
    said = capsys.readouterr().out
    assert "60 ECGs (36 train, 7 validation, 17 test)" in said and "test questions" in said
    metrics = json.loads((run / "metrics.json").read_text())["finetune"]
    assert metrics["answers_about"] == "test" and metrics["answers"]["all"]["questions"] == 4
    assert "Test records, questions" in (run / "README.md").read_text()
    for split in ({"test": 1.5}, {"validation": 0.5, "test": 0.5}, {"holdout": 0.1}):
        with pytest.raises(RecipeError, match="split"):
            load_recipe(write_recipe(split=split))


def test_any_encoder_goes_on(
    tiny_llm: Callable, tiny_tokenizer: Any, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """Of a checkpoint whose encoder is none that a recipe has fields for."""
    from transformers import PatchTSTConfig

    from ecgllm import ECGEncoderAdapter, ECGEncoderAdapterConfig, ECGLLMForConditionalGeneration, ECGProcessor

    whole, processor = tiny_llm()
    backbone = PatchTSTConfig(d_model=16, ffn_dim=16, num_attention_heads=2, num_hidden_layers=1, context_length=100,
                              patch_length=20, patch_stride=20, num_input_channels=12)  # fmt: skip
    encoder = ECGEncoderAdapterConfig(
        backbone_config=backbone, input_name="past_values", input_layout="samples", window=100, patch_size=20,
        preprocessing=processor.feature_extractor.preprocessing,
    )  # fmt: skip
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, whole.language_model, tokenizer=tiny_tokenizer, patches_per_token=5
    )
    model.save_pretrained(tmp_path / "start")
    ECGProcessor.for_model(model, tiny_tokenizer).save_pretrained(tmp_path / "start")
    asked = ASKED | {"training": {"max_steps": 3, "learning_rate": 1e-3}, "tune": "full", "tune_encoder": True}
    changes = {"start_from": str(tmp_path / "start"), "stages": {"finetune": asked}, "limit": 20}
    with pytest.raises(RecipeError, match="encoder has fields of ECGEncoder .* there is an 'ecgllm_encoder_adapter'"):
        load_recipe(write_recipe(**OPEN | {"encoder": {"hidden_size": 32}}, **changes))
    recipe = load_recipe(write_recipe(**OPEN, **changes))
    planned, _ = planned_model(recipe, "finetune")
    assert sum(p.numel() for p in planned.ecg_encoder.parameters()) == sum(
        p.numel() for p in model.ecg_encoder.parameters()
    )
    trained = ECGLLMForConditionalGeneration.from_pretrained(run_recipe(recipe))
    assert type(trained.ecg_encoder) is ECGEncoderAdapter
    pairs = zip(trained.ecg_encoder.parameters(), model.ecg_encoder.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
