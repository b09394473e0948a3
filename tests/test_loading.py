"""Checkpoints that are not whole are refused by the names of what is wrong, by every door; whole ones load."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import peft
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch.testing._internal.two_tensor import TwoTensor
from transformers import AutoModel, AutoModelForCausalLM, BertConfig, BertModel, PreTrainedModel, pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from ecgllm import (
    ECGBeatEncoder,
    ECGBeatEncoderConfig,
    ECGEncoder,
    ECGError,
    ECGLLMForConditionalGeneration,
    ECGTextDualEncoder,
)
from ecgllm.errors_ecgllm import CheckpointError
from ecgllm.loading_ecgllm import _is_finite, check_files
from ecgllm.training.recipe import RecipeError
from ecgllm.training.start_from import read_start

AGAIN = "Copy the checkpoint again"


@pytest.fixture
def models(tiny_llm):
    """A model of each class by its name, the encoder with beats among them."""
    model, processor = tiny_llm()
    text = BertModel(
        BertConfig(vocab_size=60, hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32)
    )
    with_beats = ECGBeatEncoderConfig(**model.ecg_encoder.config.to_dict() | {"beat_hidden_size": 8})
    return {
        "llm": (model, processor),
        "dual": (ECGTextDualEncoder.from_encoder_and_text_encoder(model.ecg_encoder, text), None),
        "encoder": (model.ecg_encoder, None),
        "beats": (ECGBeatEncoder(with_beats), None),
    }


@pytest.fixture
def folder(models, tmp_path):
    """The folder of the ECG language model, complete."""
    for part in models["llm"]:
        part.save_pretrained(tmp_path / "llm")
    return tmp_path / "llm"


def change(folder: Path, edit) -> None:
    """Edit the tensors of a folder in place."""
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def without(prefix: str):
    def edit(weights):
        gone = [name for name in weights if name.startswith(prefix)]
        assert gone
        for name in gone:
            del weights[name]

    return edit


def renamed(old: str, new: str):
    return lambda weights: weights.update({new: weights.pop(old)})


def spoilt(name: str, value: float):
    def edit(weights):
        weights[name].view(-1)[-1] = value

    return edit


PROJECTOR = "projector.layers.0.weight"
LAYER = "ecg_encoder.layers.1.q_proj.weight".replace("q_proj", "attention.q_proj")
DAMAGES = {
    "no encoder": (without("ecg_encoder."), r"tensors are missing \(all \d+ of ecg_encoder\)"),
    "no projector": (without("projector."), r"2 of its tensors are missing \(all 2 of projector\)"),
    "a layer": (
        without("ecg_encoder.layers.1."),
        r"16 of its tensors are missing .*layers\.1\.attention.* and 8 more",
    ),
    "no language model": (without("language_model."), "missing .all .* of language_model"),
    "a layer of the language model": (without("language_model.model.layers.0."), r"missing \(language_model\.model"),
    "a name": (
        renamed(PROJECTOR, "projector.weight"),
        rf"missing \({PROJECTOR}\); 1 .* not known .*projector\.weight",
    ),
    "one too many": (
        lambda weights: weights.update({"head.weight": torch.zeros(2)}),
        r"not known to it \(head\.weight",
    ),
    "another shape": (
        lambda weights: weights.update({PROJECTOR: torch.zeros(3, 3)}),
        rf"1 of its tensors are of another shape \({PROJECTOR}\)",
    ),
    "NaN in the encoder": (spoilt(LAYER, float("nan")), rf"no finite numbers .* in 1 tensors \({re.escape(LAYER)}\)"),
    "an infinite projector": (spoilt(PROJECTOR, float("-inf")), rf"no finite numbers .*{PROJECTOR}"),
    "NaN in the language model": (
        spoilt("language_model.model.norm.weight", float("nan")),
        "language_model.model.norm",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_is_not_whole_is_refused_by_name(folder, damage):
    edit, message = DAMAGES[damage]
    change(folder, edit)
    with pytest.raises(CheckpointError, match=f"^{folder} .*{message}.*{AGAIN}"):
        ECGLLMForConditionalGeneration.from_pretrained(folder)


@pytest.mark.parametrize("damage", ["no encoder", "NaN in the encoder", "another shape"])
def test_as_remote_code_and_in_the_pipeline_too(folder, damage):
    edit, message = DAMAGES[damage]
    change(folder, edit)
    as_remote_code = get_class_from_dynamic_module("modeling_ecgllm.ECGLLMForConditionalGeneration", str(folder))
    for auto in (AutoModel, AutoModelForCausalLM, as_remote_code):
        with pytest.raises(ValueError, match=f"{message}.*{AGAIN}") as refused:
            auto.from_pretrained(folder, trust_remote_code=True)
    assert type(refused.value).__module__.startswith("transformers_modules.")
    with pytest.raises(ValueError, match=f"(?s){message}.*{AGAIN}"):
        pipeline(model=str(folder), trust_remote_code=True)


@pytest.mark.parametrize("kind", ["dual", "encoder", "beats"])
def test_every_class_refuses(models, tmp_path, kind):
    model, _ = models[kind]
    model.save_pretrained(tmp_path)
    type(model).from_pretrained(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    for name in list(whole)[:: max(1, len(whole) // 6)]:
        for edit, message in (
            (without(name), rf"missing \({re.escape(name)}"),
            (spoilt(name, float("nan")), rf"no finite numbers .*\({re.escape(name)}"),
        ):
            save_file(whole, tmp_path / "model.safetensors", {"format": "pt"})
            change(tmp_path, edit)
            with pytest.raises(CheckpointError, match=message):
                type(model).from_pretrained(tmp_path)


def test_an_encoder_is_taken_out_of_a_larger_model_and_checked(models, tmp_path):
    for kind in ("llm", "dual"):
        whole, _ = models[kind]
        whole.save_pretrained(tmp_path / kind)
        loaded, info = ECGEncoder.from_pretrained(tmp_path / kind, output_loading_info=True)
        assert not info["missing_keys"]
        assert torch.equal(loaded.norm.weight, whole.ecg_encoder.norm.weight)
        change(tmp_path / kind, without("ecg_encoder.layers.0.attention.k_proj."))
        with pytest.raises(CheckpointError, match=r"missing \(layers\.0\.attention\.k_proj\.bias"):
            ECGEncoder.from_pretrained(tmp_path / kind)


def test_one_class_of_checkpoint_is_not_another(models, tmp_path):
    for kind in ("llm", "dual", "encoder"):
        models[kind][0].save_pretrained(tmp_path / kind)
    language_model = models["llm"][0].language_model
    language_model.save_pretrained(tmp_path / "plain")
    for kind, other in (("llm", "dual"), ("llm", "plain"), ("llm", "encoder"), ("dual", "llm"), ("encoder", "plain")):
        with pytest.raises(CheckpointError, match="holds a model of type .*; expected 'ecgllm"):
            type(models[kind][0]).from_pretrained(tmp_path / other)


def test_the_caller_s_own_word_starts_what_is_missing_anew(folder):
    change(folder, lambda weights: (without("projector.")(weights), weights.update({LAYER: torch.zeros(1)})))
    model = ECGLLMForConditionalGeneration.from_pretrained(folder, ignore_mismatched_sizes=True)
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    change(folder, spoilt("language_model.model.norm.weight", float("nan")))
    with pytest.raises(CheckpointError, match="no finite numbers"):  # nobody starts from NaN
        ECGLLMForConditionalGeneration.from_pretrained(folder, ignore_mismatched_sizes=True)


def test_a_head_that_is_new_on_purpose_says_so_in_one_line(models, tmp_path):
    models["encoder"][0].save_pretrained(tmp_path)

    class WithHead(ECGEncoder):
        _keys_to_ignore_on_load_missing = [r"^head\."]

        def __init__(self, config):
            super().__init__(config)
            self.head = torch.nn.Linear(config.hidden_size, 2)

    loaded = WithHead.from_pretrained(tmp_path)
    assert torch.equal(loaded.norm.weight, models["encoder"][0].norm.weight)
    change(tmp_path, without("norm."))
    with pytest.raises(CheckpointError, match=r"2 of its tensors are missing \(all 2 of norm\)"):
        WithHead.from_pretrained(tmp_path)


def test_a_state_dict_is_taken_as_in_transformers(models):
    model, _ = models["llm"]
    given = {name: value for name, value in model.state_dict().items() if not name.startswith("projector.")}
    loaded = ECGLLMForConditionalGeneration.from_pretrained(None, config=model.config, state_dict=given)
    assert torch.equal(loaded.ecg_encoder.norm.weight, model.ecg_encoder.norm.weight)


@pytest.mark.parametrize("damage", ["no projector", "a name", "NaN in the encoder"])
def test_shards_and_files_of_pytorch_are_read_alike(models, tmp_path, damage):
    edit, message = DAMAGES[damage]
    model, _ = models["llm"]
    weights = {
        name: value.clone() for name, value in model.state_dict().items() if name != "language_model.lm_head.weight"
    }
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "shards")
    shutil.copytree(tmp_path / "shards", tmp_path / "bin", ignore=shutil.ignore_patterns("*.safetensors*"))
    torch.save(weights, tmp_path / "bin" / "pytorch_model.bin")
    ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "bin")
    edit(weights)
    torch.save(weights, tmp_path / "bin" / "pytorch_model.bin")
    index = json.loads((tmp_path / "shards" / "model.safetensors.index.json").read_text())
    for name in set(index["weight_map"].values()):
        save_file({}, tmp_path / "shards" / name, {"format": "pt"})
    save_file(weights, tmp_path / "shards" / name, {"format": "pt"})
    for kind in ("shards", "bin"):
        with pytest.raises(CheckpointError, match=message):
            ECGLLMForConditionalGeneration.from_pretrained(tmp_path / kind)


@pytest.mark.parametrize(
    "options", [{"dtype": torch.bfloat16}, {"dtype": torch.float16}, {"device_map": "auto"}, "disk"]
)
def test_however_it_is_placed(folder, tmp_path, options):
    if options == "disk":
        where = {"ecg_encoder": "disk", "projector": "cpu", "language_model": "cpu"}
        options = {"device_map": where, "offload_folder": tmp_path / "offload"}
    ECGLLMForConditionalGeneration.from_pretrained(folder, **options)
    for edit, message in (
        (spoilt(LAYER, float("nan")), "no finite numbers"),
        (without("projector."), "all 2 of projector"),
    ):
        change(folder, edit)
        with pytest.raises(CheckpointError, match=message):
            ECGLLMForConditionalGeneration.from_pretrained(folder, **options)
        change(folder, lambda weights: spoilt(LAYER, 0.0)(weights))


def test_weights_that_overflow_in_the_asked_type_are_refused(folder):
    change(folder, spoilt(PROJECTOR, 1e6))
    ECGLLMForConditionalGeneration.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="no finite numbers"):
        ECGLLMForConditionalGeneration.from_pretrained(folder, dtype=torch.float16)


@pytest.fixture
def adapter(folder, tmp_path):
    """The folder of an adapter that stands on `folder`."""
    lora = peft.LoraConfig(
        target_modules=r"language_model.*q_proj", modules_to_save=["projector"], init_lora_weights=False
    )
    adapted = peft.get_peft_model(ECGLLMForConditionalGeneration.from_pretrained(folder), lora)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda weights: weights.pop(next(name for name in weights if "lora_A" in name)), "1 .*missing .*lora_A"),
        (lambda weights: weights.pop(next(name for name in weights if "lora_B" in name)), "1 .*missing .*lora_B"),
        (lambda weights: [weights.pop(name) for name in list(weights) if "lora" in name], "missing .*all .*random"),
        (lambda weights: next(iter(weights.values())).fill_(float("nan")), "no finite numbers .*lora"),
    ],
)
def test_peft_itself_takes_no_adapter_that_is_not_whole(folder, adapter, edit, message):
    """`PeftModel.from_pretrained` and its `load_adapter` leave what is missing random, with a warning at most."""

    def load(name="default"):
        model = ECGLLMForConditionalGeneration.from_pretrained(folder)
        return peft.PeftModel.from_pretrained(model, str(adapter), adapter_name=name)

    load().load_adapter(str(adapter), adapter_name="second")  # a second one beside it is whole by itself
    weights = load_file(adapter / "adapter_model.safetensors")
    whole = load("first")
    edit(weights)
    save_file(weights, adapter / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=message):
        load()
    with pytest.raises(CheckpointError, match=message):
        whole.load_adapter(str(adapter), adapter_name="second")


def test_the_scales_of_a_quantiser_s_tensor_are_looked_at():
    """torchao's weights are tensors made of others; bitsandbytes keeps scales as tensors of their own."""
    part = torch.ones(2)
    assert _is_finite(TwoTensor(part, torch.ones(2))) and _is_finite(torch.ones(2, dtype=torch.int8))
    assert not _is_finite(TwoTensor(part, torch.tensor([1.0, float("nan")])))
    assert not _is_finite(torch.nn.Parameter(TwoTensor(torch.tensor([float("inf"), 0.0]), part)))


def test_what_a_quantiser_cannot_make_random_is_named(folder, monkeypatch):
    """transformers fails on it before it says what is missing: int8 has no normal distribution."""

    def fail(*_):
        raise NotImplementedError("normal_kernel_cpu not implemented for 'Char'")

    monkeypatch.setattr(PreTrainedModel, "_finalize_model_loading", staticmethod(fail))
    model = ECGLLMForConditionalGeneration.from_pretrained
    settings = SimpleNamespace(
        pretrained_model_name_or_path=folder, ignore_mismatched_sizes=False, hf_quantizer=object(), device_map=None
    )
    found = SimpleNamespace(mismatched_keys=[], missing_keys={"projector.layers.0.weight"}, unexpected_keys=set())
    empty = torch.nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match=r"quantised Linear; missing are projector\.layers\.0\.weight"):
        model.__self__._finalize_model_loading(empty, settings, found)
    settings.hf_quantizer = None
    with pytest.raises(NotImplementedError):
        model.__self__._finalize_model_loading(empty, settings, found)


def test_an_adapter_is_checked_and_so_is_its_base(folder, adapter):
    def load_adapter(name):
        return ECGLLMForConditionalGeneration.from_pretrained(folder).load_adapter(name)

    file = adapter / "adapter_model.safetensors"
    whole = load_file(file)
    for load in (ECGLLMForConditionalGeneration.from_pretrained, load_adapter):
        load(str(adapter))
        for edit, message in (
            (
                lambda weights: weights.pop(next(name for name in weights if "lora_A" in name)),
                r"1 .* missing .*lora_A",
            ),
            (
                lambda weights: weights.pop(next(name for name in weights if "projector" in name)),
                "missing .*projector",
            ),
            (
                lambda weights: weights.update({"base_model.model.head.weight": torch.zeros(1)}),
                "not known .*head.weight",
            ),
            (lambda weights: next(iter(weights.values())).fill_(float("nan")), "no finite numbers .*lora"),
            (lambda weights: weights.update({next(iter(weights)): torch.zeros(1, 1)}), "other shapes"),
        ):
            weights = {name: value.clone() for name, value in whole.items()}
            edit(weights)
            save_file(weights, file, {"format": "pt"})
            with pytest.raises(CheckpointError, match=f"^{adapter} .*{message}"):
                load(str(adapter))
        file.write_bytes(b"")
        with pytest.raises(CheckpointError, match=f"^{file} is damaged"):
            load(str(adapter))
        save_file(whole, file, {"format": "pt"})
    change(folder, without("ecg_encoder."))
    with pytest.raises(CheckpointError, match=f"^{folder} .*all .* of ecg_encoder"):
        ECGLLMForConditionalGeneration.from_pretrained(str(adapter))


# ---------------------------------------------------------------------------------------------------------------------
# Damaged files
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    save_arrays({"b": np.arange(12, dtype=np.float32), "a": np.ones((3, 4), np.float16)}, file, {"format": "pt"})
    return file


def test_whole_files_pass(weights: Path) -> None:
    check_files(weights.parent)
    save_arrays({}, weights)  # none, as of a checkpoint that keeps them elsewhere
    check_files(weights.parent)
    check_files(weights.parent / "of-the-hub" / "no-folder")


@pytest.mark.parametrize("left", [0, 5, 40, -1])
def test_a_file_that_is_cut_off_is_named(weights: Path, left: int) -> None:
    weights.write_bytes(weights.read_bytes()[:left])
    with pytest.raises(CheckpointError, match=f"^{weights} is damaged: it holds .* {AGAIN}"):
        check_files(weights.parent)


def test_a_file_that_is_too_long_or_no_safetensors_is_named(weights: Path) -> None:
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes() + b"more")
    with pytest.raises(CheckpointError, match=f"holds {size + 4:,} bytes and a header that promises {size:,}"):
        check_files(weights.parent)
    for content in (b"<!DOCTYPE html>", (2).to_bytes(8, "little") + b"[]", (6).to_bytes(8, "little") + b'{"":0}'):
        weights.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{len(content)} bytes and no header of safetensors"):
            check_files(weights.parent)


def test_a_file_of_pytorch_that_is_cut_off_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.zeros(9)}, file)
    check_files(tmp_path)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(CheckpointError, match=f"^{file} is damaged: .* no archive of PyTorch"):
        check_files(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_a_damaged_file_is_named_by_every_door(folder, name):
    if name.endswith(".json"):
        (folder / "model.safetensors").unlink()
        (folder / name).write_text('{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:-100])
    for load in (
        ECGLLMForConditionalGeneration.from_pretrained,
        lambda path: AutoModel.from_pretrained(path, trust_remote_code=True),
    ):
        with pytest.raises((ECGError, ValueError, OSError), match="model.*safetensors"):
            load(folder)


def test_a_run_does_not_start_from_damaged_weights(weights: Path) -> None:
    (weights.parent / "config.json").write_text(json.dumps({"model_type": "ecgllm"}), encoding="utf-8")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RecipeError, match=f"start_from is {weights.parent}: {weights} is damaged"):
        read_start(str(weights.parent))
