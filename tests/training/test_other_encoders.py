"""Recipes that take another group's encoder from its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from ecgllm import ECGFounderConfig, ECGFounderEncoder
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import RecipeError
from ecgllm.training.start_from import start_of

from .. import hubert_look_alike
from ..hubert_look_alike import write_hubert_ecg

STAGE: dict[str, Any] = {"batch_size": 8, "training": {"max_steps": 1, "learning_rate": 1e-3}}
TWO_STEPS = {"max_steps": 2, "learning_rate": 1e-3, "warmup_steps": 0}
ASKED = STAGE | {"tune": "frozen", "evaluate": 0, "questions": {"per_record": 1, "types": ["verify"]}}


def test_a_model_with_code_of_its_own_through_all_stages(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    """Every stage loads what the one before saved, whose code is the trusted folder's."""
    encoder = {"from": str(write_hubert_ecg(tmp_path / "hubert-ecg")), "adapter": hubert_look_alike.ADAPTER}
    stages = {"pretrain": STAGE | {"training": TWO_STEPS}, "debias": ASKED, "finetune": ASKED}
    fields = {"limit": 24, "stages": stages, "lora": None, "feature_extractor": hubert_look_alike.SIGNAL}
    fields["projector"] = {"patches_per_token": 1}
    with pytest.raises(RecipeError, match=r"hubert_ecg.HubertECG.*if you trust it say so"):
        load_recipe(write_recipe(encoder=encoder, **fields))
    with pytest.raises(RecipeError, match="window"):
        wrong = encoder | {"trust_remote_code": True, "adapter": hubert_look_alike.ADAPTER | {"window": 450}}
        load_recipe(write_recipe(encoder=wrong, **fields))
    run = run_recipe(load_recipe(write_recipe(encoder=encoder | {"trust_remote_code": True}, **fields)))
    config = json.loads((run / "config.json").read_text())["encoder_config"]
    assert config["input_layout"] == "joined" and config["preprocessing"]["filter_rate"] == 500
    model = AutoModel.from_pretrained(run, trust_remote_code=True)
    assert type(model.ecg_encoder.backbone).__name__ == "HubertECG" and model.config.samples_per_token == 100
    theirs = load_file(tmp_path / "hubert-ecg" / "model.safetensors")
    ours = model.ecg_encoder.backbone.state_dict()
    untouched = "label_embedding.0.weight"
    assert theirs.keys() == ours.keys() and torch.equal(theirs[untouched], ours[untouched])
    assert any(not torch.equal(theirs[key], ours[key]) for key in theirs)  # pretrain taught it

    more = dict.fromkeys(("language_model", "projector", "text_encoder", "lora"))
    more |= {"start_from": str(run), "stages": {"finetune": ASKED}}
    with pytest.raises(RecipeError, match=r"hubert_ecg.HubertECG.*if you trust it say so"):
        load_recipe(write_recipe(encoder=None, **more))
    start = start_of(load_recipe(write_recipe(encoder={"trust_remote_code": True}, **more)))
    assert type(start.model()[0].ecg_encoder.backbone).__name__ == "HubertECG"


def test_a_published_encoder_brings_its_signal_path(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    """By its configuration, where its folder has no file of a feature extractor."""
    extractor = ECGFounderEncoder.feature_extractor()
    config = ECGFounderConfig(base_channels=4, stage_channels=[8], stage_depths=[1], group_width=4)
    config.preprocessing = extractor.preprocessing
    torch.manual_seed(0)
    ECGFounderEncoder(config).save_pretrained(tmp_path / "ecgfounder")
    fields = {"stages": {"debias": ASKED}, "lora": None, "text_encoder": None}
    recipe = load_recipe(write_recipe(encoder={"from": str(tmp_path / "ecgfounder")}, **fields))
    assert recipe.feature_extractor["filters"] == extractor.filters
    assert type(start_of(recipe).encoder()) is ECGFounderEncoder
    with pytest.raises(RecipeError, match="feature_extractor.sampling_rate is 100 and there 500"):
        other = {"feature_extractor": {"sampling_rate": 100}}
        load_recipe(write_recipe(encoder={"from": str(tmp_path / "ecgfounder")}, **fields | other))
    with pytest.raises(RecipeError, match="encoder.adapter has no effect without encoder.from"):
        load_recipe(write_recipe(encoder={"adapter": {"window": 500}}, **fields))
