"""Checkpoints that leave the frozen language model out: same answers, megabytes, no other model in silence."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load, load_file
from transformers import AutoModel, AutoModelForCausalLM, LlamaConfig

from ecgllm import ECGFeatureExtractor, ECGForSequenceClassification, ECGLLMForConditionalGeneration, ECGProcessor
from ecgllm.errors_ecgllm import CheckpointError, ECGError

LORA = LoraConfig(
    r=4,
    target_modules="all-linear",
    exclude_modules=r".*(ecg_encoder|projector).*",
    modules_to_save=["projector"],
    init_lora_weights=False,
)


@pytest.fixture
def language_model(tmp_path: Path, tiny_tokenizer) -> Path:
    """A folder with a language model of its own, as the Hub's are."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    folder = tmp_path / "models" / "tiny-llama"
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def joined(language_model: Path, tiny_encoder_config, tiny_tokenizer):
    """(model, processor) around that language model."""
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        tiny_encoder_config, language_model, patches_per_token=5, trained_on="nothing"
    )
    return model.eval(), ECGProcessor.for_model(model, tiny_tokenizer, ECGFeatureExtractor())


@pytest.fixture
def inputs(joined, make_ecg):
    processor = joined[1]
    conversation = processor.build_conversation("Is there atrial fibrillation?", [make_ecg(2.0)])
    return processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)


def _logits(model, inputs) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs).logits


@pytest.fixture
def trained(joined, inputs) -> tuple[PeftModel, torch.Tensor]:
    """(a PEFT model whose projector and adapter were trained, its logits)."""
    model = get_peft_model(joined[0], LORA)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.02)
                assert "lora_" in name or "projector" in name
    return model, _logits(model, inputs)


@pytest.fixture
def folder(trained, tmp_path: Path) -> Path:
    """The trained-only checkpoint of that model."""
    folder = tmp_path / "models" / "trained-only"
    trained[0].get_base_model().save_pretrained(folder, trained_only=True)
    return folder


def test_the_folder_holds_what_was_trained_and_names_the_rest(folder: Path, language_model: Path, trained) -> None:
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert {name.split(".")[0] for name in names} == {"ecg_encoder", "projector"}
    assert not any("modules_to_save" in name or "original_module" in name for name in names)
    with safe_open(folder / "adapter" / "adapter_model.safetensors", "pt") as file:
        assert all(".lora_" in name and "language_model" in name for name in file.keys())  # noqa: SIM118
    assert not (folder / "adapter_config.json").exists()  # which would make AutoModel load the base instead
    base = json.loads((folder / "config.json").read_text())["language_model_base"]
    assert base["name"] == "tiny-llama" and len(base["tensors_sha256"]) == 64
    # No path of this machine travels.
    said = [file.read_text() for file in (*folder.rglob("*.json"), folder / "README.md")]
    assert not any(str(language_model.parent) in text for text in said)
    # The model in memory is as it was: its adapter is still there, and learns.
    assert any(".lora_A." in name for name, _ in trained[0].named_parameters())


@pytest.mark.parametrize("adapter", ["keep", "merge"])
def test_same_logits(folder: Path, trained, inputs, adapter: str) -> None:
    model = ECGLLMForConditionalGeneration.from_pretrained(folder, adapter=adapter)
    assert torch.allclose(_logits(model, inputs), trained[1], atol=1e-5)
    assert not model.training and model.config.trained_on == "nothing"
    assert any(".lora_A." in name for name, _ in model.named_parameters()) == (adapter == "keep")
    tokens = [each.generate(**inputs, max_new_tokens=4, do_sample=False) for each in (model, trained[0])]
    assert tokens[0].tolist() == tokens[1].tolist()


def test_saved_again_in_either_form(folder: Path, trained, inputs, tmp_path: Path) -> None:
    kept = ECGLLMForConditionalGeneration.from_pretrained(folder)
    with pytest.raises(CheckpointError, match='adapter="merge" to save the whole model'):
        kept.save_pretrained(tmp_path / "whole", trained_only=False)
    kept.save_pretrained(tmp_path / "models" / "again")
    again = AutoModel.from_pretrained(tmp_path / "models" / "again")
    assert torch.allclose(_logits(again, inputs), trained[1], atol=1e-5)

    merged = ECGLLMForConditionalGeneration.from_pretrained(folder, adapter="merge")
    whole_folder = tmp_path / "merged"
    merged.save_pretrained(whole_folder)
    whole = AutoModel.from_pretrained(whole_folder)
    assert whole.config.language_model_base is None
    assert torch.allclose(_logits(whole, inputs), trained[1], atol=1e-5)
    with pytest.raises(CheckpointError, match="no checkpoint of its own"):
        merged.save_pretrained(tmp_path / "lost", trained_only=True)
    sizes = [sum(file.stat().st_size for file in place.rglob("*.safetensors")) for place in (folder, whole_folder)]
    assert sizes[0] < sizes[1]


def test_training_goes_on_with_the_adapter(folder: Path, trained, inputs) -> None:
    model = ECGLLMForConditionalGeneration.from_pretrained(folder, adapter="leave")
    model = PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True)
    assert torch.allclose(_logits(model, inputs), trained[1], atol=1e-5)
    assert {name.split(".lora_")[0].rsplit(".", 1)[-1] for name, p in model.named_parameters() if p.requires_grad}


def test_a_frozen_language_model_needs_no_adapter(joined, inputs, tmp_path: Path) -> None:
    model = joined[0]
    model.save_pretrained(tmp_path / "models" / "projector-only", trained_only=True)
    assert not (tmp_path / "models" / "projector-only" / "adapter").exists()
    again = AutoModel.from_pretrained(tmp_path / "models" / "projector-only", dtype=torch.float64)
    assert again.dtype == torch.float64 and again.projector.layers[0].weight.dtype == torch.float64
    assert torch.allclose(_logits(again, inputs).float(), _logits(model, inputs), atol=1e-4)
    # Its encoder is there for others, too, without the language model.
    classifier = ECGForSequenceClassification.from_pretrained(tmp_path / "models" / "projector-only", num_labels=3)
    for key, value in model.ecg_encoder.state_dict().items():
        assert torch.equal(classifier.ecg_encoder.state_dict()[key], value)


def test_another_language_model_is_refused(folder: Path, language_model: Path, joined, inputs, tmp_path: Path) -> None:
    torch.manual_seed(2)
    other = AutoModelForCausalLM.from_config(LlamaConfig.from_pretrained(language_model))
    other.save_pretrained(tmp_path / "other")
    load = ECGLLMForConditionalGeneration.from_pretrained
    with pytest.raises(CheckpointError, match="another language model.*allow_other_language_model"):
        load(folder, language_model=tmp_path / "other")
    with pytest.raises(CheckpointError, match="allow_other_language_model"):
        load(folder, language_model=other)
    taken = load(folder, language_model=tmp_path / "other", allow_other_language_model=True)
    assert not torch.allclose(_logits(taken, inputs), _logits(load(folder), inputs), atol=1e-2)
    moved = tmp_path / "elsewhere" / "its name does not matter"
    shutil.move(language_model, moved)
    with pytest.raises(CheckpointError, match="tiny-llama.*not found.*language_model=PATH"):
        load(folder)
    load(folder, language_model=moved)


def test_one_changed_value_is_noticed(folder: Path, language_model: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="another language model"):
        ECGLLMForConditionalGeneration.from_pretrained(
            folder, language_model=_changed(language_model, tmp_path / "changed")
        )


def test_a_language_model_that_was_trained_is_not_left_out(joined, tmp_path: Path) -> None:
    model = joined[0]
    with torch.no_grad():
        model.language_model.model.layers[1].mlp.up_proj.weight[3, 4] += 0.5
    with pytest.raises(CheckpointError, match="no longer.*up_proj"):
        model.save_pretrained(tmp_path / "lost", trained_only=True)
    model.save_pretrained(tmp_path / "whole")


def test_damage_is_named(folder: Path, trained, inputs) -> None:
    shutil.rmtree(folder / "adapter")
    with pytest.raises(CheckpointError, match="adapter is missing"):
        AutoModel.from_pretrained(folder)


def test_arguments_of_trained_only_checkpoints_have_no_silent_effect(joined, folder: Path, tmp_path: Path) -> None:
    fresh = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        joined[0].ecg_encoder.config, joined[0].language_model, tokenizer=joined[1].tokenizer
    )
    fresh.save_pretrained(tmp_path / "whole", trained_only=False)
    with pytest.raises(CheckpointError, match="no trained-only checkpoint"):
        ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "whole", adapter="merge")
    with pytest.raises(ECGError, match="'keep', 'merge' or 'leave'"):
        ECGLLMForConditionalGeneration.from_pretrained(folder, adapter="fuse")


def test_provenance_survives_a_change_of_language_model(folder: Path, language_model: Path, caplog) -> None:
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(folder, language_model)
    assert model.config.trained_on == "ECG encoder: nothing"
    assert "UNEXPECTED" not in caplog.text


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "before 2020"])
def test_a_language_model_without_safetensors_is_known_by_the_same_tensors(
    language_model: Path, joined, trained, inputs, folder: Path, tmp_path: Path, old_format: bool
) -> None:
    """It was saved whole by a run, gigabytes a stage, and refused with trained_only."""
    weights = load_file(language_model / "model.safetensors")
    (language_model / "model.safetensors").unlink()
    torch.save(weights, language_model / "pytorch_model.bin", _use_new_zipfile_serialization=not old_format)
    again = tmp_path / "models" / "again"
    trained[0].get_base_model().save_pretrained(again, trained_only=True)
    named = [json.loads((each / "config.json").read_text())["language_model_base"] for each in (folder, again)]
    assert named[0] == named[1] and "model.safetensors" in {file.name for file in again.iterdir()}
    model = ECGLLMForConditionalGeneration.from_pretrained(again)
    assert torch.allclose(_logits(model, inputs), trained[1], atol=1e-5)
    weights["lm_head.weight"] = weights["lm_head.weight"] + 1e-3
    torch.save(weights, language_model / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="is another language model"):
        ECGLLMForConditionalGeneration.from_pretrained(again)


def test_the_command_line_asks_and_merges(
    folder: Path, joined, trained, language_model: Path, tmp_path: Path, shared_data: Path, capsys, inputs
) -> None:
    from ecgllm.cli import main

    joined[1].save_pretrained(folder)
    elsewhere = tmp_path / "elsewhere" / "lm"
    shutil.move(language_model, elsewhere)
    whole, record = tmp_path / "whole", next((shared_data / "ludb").rglob("*.hea"))
    for arguments, code, said in (
        (["merge", folder, "-o", whole], 2, "language_model=PATH (--language-model)"),
        (["merge", folder, "-o", whole, "--language-model", elsewhere], 0, ""),
        (["merge", whole, "-o", tmp_path / "again"], 2, "no trained-only checkpoint"),
        (["ask", record, "Is it?", "-m", folder, "--language-model", elsewhere], 0, ""),
    ):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert (end.value.code or 0) == code and said in printed.err, printed
    assert torch.allclose(_logits(AutoModel.from_pretrained(whole), inputs), trained[1], atol=1e-5)


def test_an_8b_model_writes_megabytes_a_stage(capsys) -> None:
    """By the plan: nothing of that size is built here."""
    from ecgllm.training import dry_run, load_recipe

    for overrides, unit in (([], "MB"), (["language_model.merge=true"], "GB")):
        dry_run(load_recipe("mimic-llama3-8b", [*overrides, "corpus=simulation", "data=null", "limit=30"]))
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  writes: ")]
        assert len(lines) == 3 and all(f" {unit} of weights" in line for line in lines[1:]), lines


# Run in a process of its own, where ecgllm is not: argv is a folder with the inputs.
ELSEWHERE = """
import sys
sys.modules["ecgllm"] = None
import torch
from transformers import AutoModel
inputs = torch.load(sys.argv[1] + "/inputs.pt")
with torch.no_grad():
    logits = [AutoModel.from_pretrained("someone/trained", trust_remote_code=True, adapter=adapter)(**inputs).logits
              for adapter in ("keep", "merge")]
torch.save(logits, sys.argv[1] + "/logits.pt")
"""


@pytest.mark.slow
def test_from_the_hub_where_the_package_is_and_where_it_is_not(
    hub, language_model: Path, tiny_encoder_config, inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The language model is brought by its name at the commit of training, whatever was put there since."""
    commit = hub.add("org/lm", language_model)
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        tiny_encoder_config, "org/lm", patches_per_token=5
    )
    model = get_peft_model(model, LORA)
    expected = _logits(model, inputs)
    hub.add("org/lm", _changed(language_model, tmp_path / "changed"))
    assert HfApi().model_info("org/lm").sha != commit
    monkeypatch.setenv("HF_TOKEN", hub.token)
    model.get_base_model().save_pretrained(
        tmp_path / "trained", trained_only=True, push_to_hub=True, repo_id="someone/trained"
    )
    sent = hub.files("someone/trained")
    base = json.loads(sent["config.json"])["language_model_base"]
    assert (base["name"], base["revision"]) == ("org/lm", commit)
    assert "adapter/adapter_model.safetensors" in sent and "adapter_config.json" not in sent
    assert not hub.holding(str(tmp_path))

    assert torch.allclose(_logits(AutoModel.from_pretrained("someone/trained"), inputs), expected, atol=1e-5)
    torch.save(dict(inputs), tmp_path / "inputs.pt")
    for offline in (False, True):  # the second time from the caches of the first
        before = len(hub.requests)
        run = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, str(tmp_path)],
            env=hub.environment(tmp_path / "home", offline=offline),
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        assert all(torch.allclose(logits, expected, atol=1e-5) for logits in torch.load(tmp_path / "logits.pt"))
        assert (len(hub.requests) == before) == offline
    merged = AutoModel.from_pretrained("someone/trained", adapter="merge")
    merged.push_to_hub("someone/merged", token=hub.token)
    assert any("language_model" in name for name in load(hub.files("someone/merged")["model.safetensors"]))


def _changed(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    whole = bytearray((target / "model.safetensors").read_bytes())
    whole[-1] ^= 1
    (target / "model.safetensors").write_bytes(whole)
    return target


def test_the_backbone_ends_before_the_head(joined, inputs) -> None:
    """Trainers with a head of their own ask `base_model` for last_hidden_state and multiply by the head's weights."""
    model = joined[0]
    with torch.no_grad():
        hidden = model.base_model(**inputs).last_hidden_state
        assert torch.allclose(model.get_output_embeddings()(hidden), model(**inputs).logits, atol=1e-6)
    assert model.base_model.config is model.language_model.config
    with pytest.raises(ECGError, match="no ECG was given"):
        model.base_model(input_ids=inputs["input_ids"])
