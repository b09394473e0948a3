"""What learns in a question stage: the language model (all, a LoRA adapter, nothing), the projector, the encoder.

In: a model and a stage's choices. Out: the same model with `requires_grad` set, wrapped by PEFT for LoRA, and a table
that says what learns. Encoder weights are never part of an adapter.
"""

from __future__ import annotations

import re

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from ..modeling_ecgllm import ECGLLMForConditionalGeneration
from .recipe import LoraRecipe, RecipeError


def prepare_for_tuning(
    model: ECGLLMForConditionalGeneration,
    tune: str,
    lora: LoraRecipe,
    encoder: bool = False,
    projector: bool = True,
) -> PreTrainedModel | PeftModel:
    """Set what learns: the language model by `tune` ("frozen", "lora", "full"), encoder and projector by flag.

    With "lora" the result is a PEFT model whose adapter folder holds the adapter and, where it learns, the projector;
    encoder weights are never part of an adapter.
    Raises: RecipeError when nothing would learn, or the encoder is to learn beside LoRA.
    """
    model.requires_grad_(False)
    model.projector.requires_grad_(projector)
    model.ecg_encoder.requires_grad_(encoder)
    if not encoder:
        _switch_dropout_off(model.ecg_encoder)
    if tune == "lora":
        if encoder:
            raise RecipeError("tune_encoder goes with tune: full or frozen; an adapter holds no encoder weights.")
        return get_peft_model(model, lora_config(lora, projector))
    model.language_model.requires_grad_(tune == "full")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise RecipeError("Nothing learns in this stage: tune is frozen, tune_encoder and tune_projector are false.")
    return model


def _switch_dropout_off(encoder: torch.nn.Module) -> None:
    """A frozen encoder is one function of the ECG; what learns behind it has dropout of its own."""
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0


def lora_config(lora: LoraRecipe, projector: bool = True) -> LoraConfig:
    """LoRA on the language model only: a bare layer name or "all-linear" would also match layers of the encoder."""
    if lora.target_modules == "all-linear":
        targets = {"target_modules": "all-linear", "exclude_modules": r"(.*\.)?(ecg_encoder|projector)\..*"}
    else:
        names = [lora.target_modules] if isinstance(lora.target_modules, str) else lora.target_modules
        targets = {"target_modules": rf"(.*\.)?language_model\..*\.({'|'.join(map(re.escape, names))})"}
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        modules_to_save=["projector"] if projector else None,
        task_type=None,
        **targets,
    )


@torch.no_grad()
def check_adapters_are_called(model: PeftModel, batch: dict[str, torch.Tensor]) -> None:
    """Run one batch and refuse adapters that no forward pass goes through.

    Some language models (Mamba's `dt_proj`) use a layer's weight without calling the layer: its adapter would learn
    nothing, and merging it would change the model.
    Raises: RecipeError naming the layers.
    """
    called: set[str] = set()
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    hooks = [module.register_forward_hook(lambda *_, name=name: called.add(name)) for name, module in adapted.items()]
    training = model.training
    try:
        model.eval()(**{name: value.to(model.device) for name, value in batch.items()})
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    idle = sorted({name.rsplit(".", 1)[-1] for name in adapted.keys() - called})
    if idle:
        raise RecipeError(
            f"LoRA is put on the layers {', '.join(idle)}, which this language model never calls: their adapters "
            "would learn nothing, and merging them would change the model. Name other layers in lora.target_modules."
        )


def count_parameters(model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """Part of the model, or "all" -> (parameters, trainable ones); adapters count to the part they are in."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    # PEFT keeps an untouched copy of what an adapter replaces, which is no part of the model.
    parameters = {name: p for name, p in base.named_parameters() if ".original_module." not in name}
    rows: dict[str, list[torch.nn.Parameter]] = {name: [] for name, _ in base.named_children()}
    for name, parameter in parameters.items():
        # A temperature or bias belongs to no part.
        rows.setdefault(name.split(".")[0], []).append(parameter)
    rows["all"] = list(parameters.values())
    return {
        name: (sum(p.numel() for p in members), sum(p.numel() for p in members if p.requires_grad))
        for name, members in rows.items()
    }


def trainable_table(model: torch.nn.Module) -> str:
    """What learns: the counts of `count_parameters` as lines."""
    lines = [f"  {'part':<18}{'parameters':>15}{'trainable':>15}"]
    lines += [f"  {name:<18}{total:>15,}{learn:>15,}" for name, (total, learn) in count_parameters(model).items()]
    return "\n".join(lines)
