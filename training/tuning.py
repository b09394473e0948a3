"""What learns in a question stage: the language model (all, a LoRA adapter, nothing), the projector, the encoder.

In: a model and a stage's choices. Out: the same model with `requires_grad` set, wrapped by PEFT for LoRA, and a table
that says what learns. Encoder weights are never part of an adapter. Decided here: trainable parameters are float32,
whatever the rest of the model is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel, TrainerCallback

from ..modeling_ecgllm import ECGLLMForConditionalGeneration
from .recipe import LoraRecipe, RecipeError


def prepare_for_tuning(
    model: ECGLLMForConditionalGeneration,
    tune: str,
    lora: LoraRecipe,
    encoder: bool = False,
    projector: bool = True,
    adapter: Path | None = None,
) -> PreTrainedModel | PeftModel:
    """Set what learns: the language model by `tune` ("frozen", "lora", "full"), encoder and projector by flag.

    adapter: folder of the one with which LoRA goes on; a new one begins where there is none.
    With "lora" the result is a PEFT model whose adapter folder holds the adapter and, where it learns, the projector;
    encoder weights are never part of an adapter.
    Raises: RecipeError when nothing would learn, or the encoder is to learn beside LoRA.
    """
    model.requires_grad_(False)
    model.projector.requires_grad_(projector)
    model.ecg_encoder.requires_grad_(encoder)
    if not encoder:
        switch_dropout_off(model.ecg_encoder)
    if tune == "lora":
        if encoder:
            raise RecipeError("tune_encoder goes with tune: full or frozen; an adapter holds no encoder weights.")
        config = lora_config(lora, projector) if adapter is None else _adapter_config(adapter, lora, projector)
        model = get_peft_model(model, config)
        if adapter is not None:
            _set_adapter(model, adapter)
        return learn_in_float32(model)
    model.language_model.requires_grad_(tune == "full")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise RecipeError("Nothing learns in this stage: tune is frozen, tune_encoder and tune_projector are false.")
    return learn_in_float32(model)


def learn_in_float32(model: torch.nn.Module) -> torch.nn.Module:
    """Convert trainable parameters to float32, in place; the rest stays as it is. Returns: the model.

    bfloat16 has 8 bits of precision: an update below some 1/512 of a weight is lost, and larger ones are rounded.
    Source: Micikevicius et al. 2018, "Mixed precision training", arXiv 1710.03740, section 3.1 (a master copy of the
    weights).
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
    return model


def logits_in_float32(model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
    """Let the language model's output layer compute in its weights' type under autocast, too. Returns: the model.

    A bfloat16 logit of 16 to 32 is a multiple of 1/8, more than yes and no differ by while a model begins to learn.
    SmolLM2 behind an encoder after 20 steps: loss .344 in float32, .363 so, .470 without (one run each).
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    head = base.language_model.get_output_embeddings()
    if isinstance(head, torch.nn.Linear):
        plain = head.forward

        def forward(hidden_states: torch.Tensor) -> torch.Tensor:
            with torch.autocast(hidden_states.device.type, enabled=False):
                return plain(hidden_states.to(head.weight.dtype))

        head.forward = forward
    return model


def parameter_types(model: torch.nn.Module) -> dict[str, torch.dtype]:
    """Name -> type of every parameter."""
    return {name: parameter.dtype for name, parameter in model.named_parameters()}


def restore_types(model: torch.nn.Module, types: dict[str, torch.dtype]) -> None:
    """Convert parameters back to their earlier types, in place. A checkpoint is loaded in one type; the model that is
    evaluated and saved must be the one that is loaded.
    """
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(types[name])


def switch_dropout_off(part: torch.nn.Module) -> None:
    """A frozen encoder must give the same output for the same input; the parts after it have their own dropout."""
    for module in part.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        # Attention holds the number itself, under a name that differs between families.
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


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


def _adapter_config(adapter: Path, lora: LoraRecipe, projector: bool) -> LoraConfig:
    """That of an adapter, which goes on learning: beside the projector, with the recipe's dropout."""
    config = LoraConfig.from_pretrained(str(adapter))
    config.modules_to_save = [*(config.modules_to_save or ()), *(["projector"] if projector else [])] or None
    config.lora_dropout, config.inference_mode = lora.dropout, False
    return config


def _set_adapter(model: PeftModel, adapter: Path) -> None:
    """Put an adapter's weights into a model; what it learns beside them keeps its values."""
    state = load_file(adapter / "adapter_model.safetensors")
    state |= {key: value for key, value in get_peft_model_state_dict(model).items() if ".lora_" not in key}
    set_peft_model_state_dict(model, state)


class AdapterCheck(TrainerCallback):
    """Refuses adapters that no forward pass goes through, before the first step is taken.

    Some language models (Mamba's `dt_proj`) use a layer's weight without calling the layer: its adapter would learn
    nothing, and merging it would change the model. No extra forward pass is needed: hooks watch the first batch of
    training, whatever the device and wrapping.
    Raises: RecipeError naming the layers.
    """

    def __init__(self, model: PeftModel):
        self._model = model
        self._called: set[str] = set()
        self._hooks: list[RemovableHandle] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for name, module in self._adapted().items():
            self._hooks.append(module.register_forward_hook(lambda *_, name=name: self._called.add(place_of(name))))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._hooks:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        idle = sorted({name.rsplit(".", 1)[-1] for name in self._adapted() if place_of(name) not in self._called})
        if idle:
            raise RecipeError(
                f"LoRA is put on the layers {', '.join(idle)}, which this language model never calls: their adapters "
                "would learn nothing, and merging them would change the model. Name other layers in "
                "lora.target_modules."
            )

    def _adapted(self) -> dict[str, BaseTunerLayer]:
        return {name: module for name, module in self._model.named_modules() if isinstance(module, BaseTunerLayer)}


def place_of(name: str) -> str:
    """A module's or parameter's name without numbers: the same for all layers, and for all experts, of which a batch
    uses a few."""
    return re.sub(r"\d+", "#", name)


def freeze_unreached(module: torch.nn.Module, output: torch.Tensor) -> list[str]:
    """Freeze the parameters on which an output does not depend, such as those of a pooler after it.

    A trainable parameter that no loss reaches stops distributed training, and shrinks by weight decay.
    Args: output: of the module, with a graph. Returns: the names of those that were frozen.
    """
    reached = _behind(output)
    places = {place_of(name) for name, parameter in module.named_parameters() if id(parameter) in reached}
    others = [name for name, parameter in module.named_parameters() if place_of(name) not in places]
    for name in others:
        module.get_parameter(name).requires_grad_(False)
    return others


def _behind(output: torch.Tensor) -> set[int]:
    """Ids of the leaves from which a tensor was computed."""
    seen, waiting, leaves = set(), [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        waiting += [following for following, _ in node.next_functions]
    return leaves


def count_parameters(model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """Part of the model, or "all" -> (parameters, trainable ones); adapters count towards the part that they are
    in."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    # PEFT keeps an untouched copy of the module that an adapter replaces; it is not part of the model.
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
