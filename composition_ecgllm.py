"""An ECG language model put together from parts that exist, and saved without the part that was not trained.

In: an ECG encoder and a language model (`from_encoder_and_language_model`), or a trained-only checkpoint
(`from_pretrained`). Out: the whole model. A trained-only checkpoint is a folder with

    config.json         with `language_model_base`: the frozen language model's name, revision and `tensors_sha256`
    model.safetensors   ECG encoder and projector
    adapter/            the language model's adapter as PEFT saves it, where it has one

The adapter lies in a folder of its own, since an adapter_config.json beside config.json makes transformers load the
adapter's base in place of this model. Decided here: each part is loaded by its own class, then they are joined, so
that dtype, device_map and quantisation reach the language model as they reach any; weights other than the named ones
are refused unless the caller says otherwise; and a language model that was changed is never left out.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.utils import cached_file

from .configuration_base_ecgllm import OF_ENCODER
from .configuration_ecgllm import PROJECTOR_FIELDS, ECGLLMConfig
from .encoder_adapter_ecgllm import as_encoder, build_encoder
from .encoder_ecgllm import ECGPreTrainedModel
from .errors_ecgllm import CheckpointError, ECGError
from .language_model_base_ecgllm import commit_of, describe_base, load_base, of_adapter, plain_name
from .language_model_ecgllm import embedding_size
from .loading_ecgllm import HUB_ARGUMENTS
from .processing_ecgllm import add_ecg_token
from .projector_ecgllm import new_projector

ADAPTER_FOLDER = "adapter"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_OF_QUANTISED = ("hf_quantizer", "is_quantized", "quantization_method", "is_loaded_in_4bit", "is_loaded_in_8bit")
"""What transformers, PEFT and Trainer ask of a model with quantised layers."""


class TrainedParts(ECGPreTrainedModel):
    """Encoder and projector of an ECG language model: the weights in a trained-only checkpoint."""

    config: ECGLLMConfig
    config_class = ECGLLMConfig
    _code_module = "modeling_ecgllm"

    def __init__(self, config: ECGLLMConfig):
        super().__init__(config)
        self.ecg_encoder = build_encoder(config.encoder_config)
        with torch.device("meta"):
            size = embedding_size(AutoModelForCausalLM.from_config(config.text_config))
        self.projector = new_projector(config, size)
        self.post_init()


class ComposedModel(ECGPreTrainedModel):
    """Base of the ECG language model: how it is put together of encoder, projector and language model."""

    config: ECGLLMConfig
    language_model_revision: str | None = None
    """Commit of the Hub from which the language model came."""

    @classmethod
    def from_encoder_and_language_model(
        cls,
        encoder: PreTrainedModel | PreTrainedConfig | str | Path,
        language_model: str | Path | PreTrainedModel,
        projector: str = "linear",
        *,
        tokenizer: Any = None,
        **arguments: Any,
    ) -> Any:
        """Put an ECG encoder in front of a causal language model; only the projector starts untrained.

        Args:
            encoder: any ECG encoder, a model that holds one, the path of a checkpoint of either (an ECG language
                model's, too), or a configuration (random weights); see `as_encoder`.
            language_model: name or path for `AutoModelForCausalLM`, or a loaded model.
            projector: "linear" or "mlp".
            tokenizer: the language model's; loaded from `language_model` when that is a name or path. The placeholder
                token is added to it. The language model keeps its rows: the placeholder needs none.
            arguments: of `ECGLLMConfig`, the projector's (`PROJECTOR_FIELDS`), `card_data`, and `trained_on`, by
                default what the encoder's checkpoint says of itself; all others are for
                `AutoModelForCausalLM.from_pretrained`.
        Raises: ECGError when no tokenizer is given for a loaded model.
        """
        fields = (*PROJECTOR_FIELDS.values(), "trained_on", "card_data")
        own = {key: arguments.pop(key) for key in fields if key in arguments}
        revision = None
        if isinstance(language_model, PreTrainedModel):
            if tokenizer is None:
                raise ECGError(
                    "language_model is a loaded model and tokenizer is missing; pass tokenizer= so that the ECG "
                    "placeholder gets an id."
                )
        else:
            tokenizer = tokenizer if tokenizer is not None else AutoTokenizer.from_pretrained(language_model)
            hub = {key: arguments[key] for key in HUB_ARGUMENTS if key in arguments}
            revision = commit_of(language_model, **hub)
            language_model = AutoModelForCausalLM.from_pretrained(language_model, **arguments)
        ecg_token_id = add_ecg_token(tokenizer)
        own.setdefault("trained_on", _provenance(encoder))
        encoder = as_encoder(encoder)
        config = ECGLLMConfig(
            encoder_config=encoder.config,
            text_config=language_model.config,
            ecg_token_id=ecg_token_id,
            dtype=language_model.dtype,
            **{"projector_type": projector} | own,
        )
        new = new_projector(config, embedding_size(language_model))
        model = cls._joined(config, encoder, new, language_model)
        model.projector.apply(model._init_weights)
        model.language_model_revision = revision
        if language_model.generation_config is not None:
            model.generation_config = copy.deepcopy(language_model.generation_config)
        if model.generation_config.pad_token_id is None:
            model.generation_config.pad_token_id = tokenizer.pad_token_id
        model._suppress_placeholder()
        return model

    @classmethod
    def _joined(cls, config: ECGLLMConfig, encoder: nn.Module, projector: nn.Module, language_model: Any) -> Any:
        # The shell is built without memory: its parts exist, and must not be initialised again.
        with torch.device("meta"):
            model = cls(config)
        model.ecg_encoder, model.projector, model.language_model = encoder, projector, language_model
        device = language_model.get_input_embeddings().weight.device
        if device.type != "meta":  # where accelerate keeps it on a disk
            encoder.to(device), projector.to(device)
        encoder.to(language_model.dtype), projector.to(language_model.dtype)
        for name in _OF_QUANTISED:
            if hasattr(language_model, name):
                setattr(model, name, getattr(language_model, name))
        places = getattr(language_model, "hf_device_map", None)
        if places is not None:
            own = dict.fromkeys(("ecg_encoder", "projector"), encoder.device)
            model.hf_device_map = {f"language_model.{name}".rstrip("."): place for name, place in places.items()} | own
        return model

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *args: Any,
        adapter: str = "keep",
        language_model: str | Path | PreTrainedModel | None = None,
        allow_other_language_model: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As in transformers, for whole checkpoints and for trained-only ones.

        Args, for trained-only checkpoints:
            adapter: "keep" leaves the adapter beside the language model's layers, as PEFT does; "merge" adds it to
                their weights, which is faster and gives the same answers; "leave" does not load it, for
                `PeftModel.from_pretrained(model, FOLDER + "/adapter", is_trainable=True)`.
            language_model: a path or Hub name where the named language model lies, or a loaded model.
            allow_other_language_model: True takes weights other than those that the checkpoint names.
            dtype, device_map, max_memory, quantization_config, attn_implementation and the like go to the language
                model; cache_dir, token, local_files_only and force_download hold for both.
        Raises: CheckpointError as `WholeWeights.from_pretrained`, and where the language model is not found, has other
            weights than the named ones, or is not needed.
        """
        if _named_language_model(pretrained_model_name_or_path, kwargs) is None:
            if language_model is not None or adapter != "keep" or allow_other_language_model:
                raise CheckpointError(
                    f"{pretrained_model_name_or_path} is no trained-only checkpoint: its language model is in it. "
                    "Leave language_model, adapter and allow_other_language_model out."
                )
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        if adapter not in ("keep", "merge", "leave"):
            raise ECGError(f"adapter is {adapter!r}; expected 'keep', 'merge' or 'leave'.")
        if "_adapter_model_path" in kwargs:
            raise CheckpointError(
                f"{kwargs['_adapter_model_path']} is an adapter on {pretrained_model_name_or_path}, which is a "
                "trained-only checkpoint with an adapter of its own; merge that one first (ecgllm merge)."
            )
        given = {"language_model": language_model, "allow_other": allow_other_language_model}
        return cls._from_trained_only(pretrained_model_name_or_path, adapter, given, kwargs)

    @classmethod
    def _from_trained_only(cls, name: Any, adapter: str, given: dict[str, Any], kwargs: dict[str, Any]) -> Any:
        hub = {key: kwargs.pop(key) for key in HUB_ARGUMENTS if key in kwargs}
        with_info = kwargs.pop("output_loading_info", False)
        trust = {key: kwargs.pop(key) for key in ("trust_remote_code", "code_revision") if key in kwargs}
        # What Auto classes note of this repository is wrong of the language model's.
        kwargs = {key: value for key, value in kwargs.items() if not key.startswith("_") and key != "adapter_kwargs"}
        config = kwargs.pop("config", None)
        dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", None))
        parts, info = TrainedParts.from_pretrained(
            name, **{} if config is None else {"config": config}, **hub, **trust, output_loading_info=True
        )
        config = parts.config
        dtype = config.dtype if dtype in (None, "auto") else dtype
        base = load_base(config, name, hub, dtype=dtype, **given, **kwargs)
        model = cls._joined(config, parts.ecg_encoder, parts.projector, base)
        model.name_or_path = str(name)
        model.language_model_revision = config.language_model_base["revision"]
        model.generation_config = GenerationConfig.from_pretrained(name, **hub)
        if config.language_model_base["adapter"] and adapter != "leave":
            folder = _adapter_folder(name, hub)
            if adapter == "merge":
                model = _merged(model, folder)
            else:
                model.load_adapter(str(folder))
        elif adapter == "merge":
            model.config.language_model_base = None
        model.eval()
        return (model, info) if with_info else model

    def save_pretrained(
        self, save_directory: str | Path, push_to_hub: bool = False, *, trained_only: bool | None = None, **kwargs: Any
    ) -> None:
        """Save a folder that is complete as remote code.

        Args: trained_only: True saves encoder, projector and adapter, and names the language model; None does so where
            the model was loaded from such a checkpoint. Others as in transformers.
        Raises: CheckpointError for trained_only where the language model was changed, or is in no checkpoint of its
            own by which it could be named; and for trained_only=False where the adapter is not merged.
        """
        base = self.config.language_model_base
        if not (trained_only or (trained_only is None and base is not None)):
            if base is not None and any(of_adapter(name) for name, _ in self.named_parameters()):
                raise CheckpointError(
                    "The adapter is beside the language model's layers, and transformers would save it alone, without "
                    'encoder and projector. Load the checkpoint with adapter="merge" to save the whole model.'
                )
            self.config.language_model_base = None
            try:
                return super().save_pretrained(save_directory, push_to_hub, **kwargs)
            finally:
                self.config.language_model_base = base
        own, adapter = _trained_tensors(self, kwargs.pop("state_dict", None))
        self.config.language_model_base = describe_base(self, adapter)
        with _as_plain_parts(self):
            if adapter and kwargs.get("is_main_process", True):
                _save_adapter(self, Path(save_directory) / ADAPTER_FOLDER, adapter)
            super().save_pretrained(save_directory, push_to_hub, state_dict=own, save_original_format=False, **kwargs)


def _provenance(encoder: Any) -> str | None:
    """What the checkpoint of an encoder says that it learned from."""
    if isinstance(encoder, str | Path):
        found = PreTrainedConfig.get_config_dict(encoder)[0].get("trained_on")
    else:
        found = getattr(getattr(encoder, "config", None), "trained_on", None)
    return None if found is None else OF_ENCODER + found.removeprefix(OF_ENCODER)


def leaves_language_model_out(name: str | Path, **hub: Any) -> bool:
    """Whether a folder or Hub name holds a trained-only checkpoint."""
    return _named_language_model(name, hub) is not None


def _named_language_model(name: Any, kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint's configuration says of a language model that it leaves out."""
    config = kwargs.get("config")
    if isinstance(config, PreTrainedConfig) or (name is None and config is None):
        return getattr(config, "language_model_base", None)
    hub = {key: kwargs[key] for key in HUB_ARGUMENTS if key in kwargs}
    try:
        return PreTrainedConfig.get_config_dict(config or name, **hub)[0].get("language_model_base")
    except (OSError, ValueError):  # an adapter's folder, or what the loading itself says better
        return None


def _trained_tensors(
    model: Any, state: Mapping[str, torch.Tensor] | None
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(tensors of encoder and projector as they were trained, tensors of the language model's adapter)."""
    state = model.state_dict() if state is None else state
    own = {
        plain_name(key): value
        for key, value in state.items()
        if key.startswith(("ecg_encoder.", "projector.")) and not of_adapter(key)
    }
    if not getattr(model, "peft_config", None):
        return own, {}
    adapters = list(model.peft_config)
    if len(adapters) != 1:
        raise CheckpointError(f"The model has the adapters {', '.join(adapters)}; expected one. Delete the others.")
    adapter = _peft().get_peft_model_state_dict(model, state_dict=state, adapter_name=adapters[0])
    whole = {key for key in adapter if key.startswith(("ecg_encoder.", "projector.")) and key in own}
    own |= {key: adapter.pop(key) for key in whole}
    # A checkpoint loads in one type; what is trained may have been held in a finer one.
    return {key: _of_type(value, model.language_model.dtype) for key, value in own.items()}, adapter


def _of_type(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _save_adapter(model: Any, folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    config = copy.deepcopy(next(iter(model.peft_config.values())))
    # Encoder and projector are in the checkpoint itself.
    others = [name for name in config.modules_to_save or () if name not in ("projector", "ecg_encoder")]
    config.modules_to_save, config.inference_mode = others or None, True
    config.base_model_name_or_path = None
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"base_model.model.{key}": value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(named, folder / _ADAPTER_FILES[1], metadata={"format": "pt"})
    config.save_pretrained(str(folder))


@contextmanager
def _as_plain_parts(model: Any) -> Iterator[None]:
    """While it is saved, the model is neither quantised nor adapted: what is written is not."""
    held = {name: vars(model).pop(name) for name in (*_OF_QUANTISED, "_hf_peft_config_loaded") if name in vars(model)}
    text = model.config.text_config
    quantised = vars(text).pop("quantization_config", None)
    try:
        yield
    finally:
        vars(model).update(held)
        if quantised is not None:
            text.quantization_config = quantised


def _adapter_folder(name: Any, hub: Mapping[str, Any]) -> Path:
    inside = "/".join(part for part in (hub.get("subfolder"), ADAPTER_FOLDER) if part)
    hub = {key: value for key, value in hub.items() if key != "subfolder"}
    try:
        files = [cached_file(name, file, subfolder=inside, **hub) for file in _ADAPTER_FILES]
    except OSError as error:
        raise CheckpointError(
            f"{name} is no whole checkpoint: its adapter is missing ({inside}/). Copy the checkpoint again."
        ) from error
    return Path(files[0]).parent


def _merged(model: Any, folder: Path) -> Any:
    if getattr(model, "hf_quantizer", None) is not None:
        raise CheckpointError("An adapter is not merged into a quantised language model, which would round it away.")
    model = _peft().PeftModel.from_pretrained(model, str(folder)).merge_and_unload(safe_merge=True)
    model.config.language_model_base = None
    model.language_model.name_or_path = ""  # it is no longer that model
    return model


def _peft() -> Any:
    try:  # a plain transformers install lacks it, and most checkpoints need none
        import peft
    except ImportError as error:
        raise ECGError("This checkpoint has an adapter, for which peft is needed: pip install peft") from error
    return peft


__all__ = ["ADAPTER_FOLDER", "ComposedModel", "TrainedParts", "leaves_language_model_out"]
