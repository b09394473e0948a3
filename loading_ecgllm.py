"""What `from_pretrained` refuses: checkpoints that are not whole, and would answer from random or broken weights.

In: what transformers found in a folder beside what a model is made of. Out: nothing, or a `CheckpointError` with the
names of the tensors. Decided here: a tensor that the folder lacks, or that no part of the model knows, is an error, as
is a value that is no number; and a damaged file is named before a library's reader fails on it.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from .configuration_base_ecgllm import UntrustedConfig, encoder_configs
from .errors_ecgllm import CheckpointError

_MOST_NAMES = 8
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_AGAIN = "Copy the checkpoint again, or train it again"


class WholeWeights(PreTrainedModel):
    """A model whose `from_pretrained` and `load_adapter` take whole checkpoints only.

    A subclass whose head is new on purpose says so in one line, in transformers' own words:
    `_keys_to_ignore_on_load_missing = [r"^classifier\\."]`.
    """

    _left_in_folder = r"(?!)"
    """Pattern of the tensors of a larger model that stay behind where this one is taken out of it; here: none. (What
    transformers has for it, `_keys_to_ignore_on_load_unexpected`, would hold of the larger model, too.)"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # peft puts an adapter's tensors into the model by `load_state_dict(strict=False)`, whatever it lacks.
        self.register_load_state_dict_pre_hook(_check_adapter)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, `from_pretrained(None, config=..., state_dict=...)` included.

        Args: ignore_mismatched_sizes: True leaves tensors that are missing, unknown or of another shape to chance.
        Raises: CheckpointError for a damaged file, and for tensors that are missing (in the folder, and in the base
            that an adapter's folder names), of another shape, unknown, or that hold a value that is no finite number.
        """
        if pretrained_model_name_or_path is not None:
            check_files(Path(pretrained_model_name_or_path) / kwargs.get("subfolder", ""))
            # A class that is itself a folder's code is there because that folder was trusted.
            if kwargs.get("trust_remote_code") or cls.__module__.startswith("transformers_modules."):
                kwargs = run_code_of(cls.config_class, pretrained_model_name_or_path, kwargs)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def _finalize_model_loading(cls, model: Any, load_config: Any, loading_info: Any) -> Any:
        # Where transformers knows both what it found and what it looked for; the public output_loading_info is the
        # adapter's alone where a folder holds an adapter, and says nothing of a base without an encoder.
        name = load_config.pretrained_model_name_or_path
        if name is None:
            return super()._finalize_model_loading(model, load_config, loading_info)
        if loading_info.mismatched_keys and not load_config.ignore_mismatched_sizes:
            _refuse(model, name, other_shape=[key for key, *_ in loading_info.mismatched_keys])
        left = {key for key in loading_info.unexpected_keys if re.match(cls._left_in_folder, key)}
        loading_info.unexpected_keys -= left  # of which no report should warn
        try:
            missing = set(loading_info.missing_keys)
            loading_info = super()._finalize_model_loading(model, load_config, loading_info)
        except RuntimeError as error:
            # Of packed weights transformers cannot make random ones, nor a weight without its scale.
            if load_config.hf_quantizer is None:
                raise
            lacking = f"; missing are {_listed(missing, set(model.state_dict()))}" if missing else ""
            raise CheckpointError(
                f"{name} is no whole checkpoint of a quantised {type(model).__name__}{lacking} ({error}). {_AGAIN}."
            ) from error
        if not load_config.ignore_mismatched_sizes:
            unknown = set(loading_info.unexpected_keys)
            if load_config.hf_quantizer is not None:
                unknown = {key for key in unknown if not _has_owner(model, key)}
            _refuse(model, name, missing=loading_info.missing_keys, unknown=unknown)
        _check_finite(model, name, on_disk="disk" in (load_config.device_map or {}).values())
        return loading_info

    def load_adapter(self, peft_model_id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """As in transformers. Raises: CheckpointError as `from_pretrained`, of the adapter's tensors."""
        if peft_model_id is not None:
            check_files(Path(peft_model_id))
        before = set(self.state_dict())
        try:
            info = super().load_adapter(peft_model_id, *args, **kwargs)
        except RuntimeError as error:
            if "ignore_mismatched_sizes" not in str(error):
                raise
            raise CheckpointError(
                f"{peft_model_id} holds an adapter whose tensors have other shapes than this model's; expected the "
                "base that its adapter_config.json names."
            ) from error
        if info is not None:
            _refuse(self, peft_model_id, missing=info.missing_keys, unknown=info.unexpected_keys)
        _check_finite(self, peft_model_id, chosen=lambda key: key not in before)
        return info


HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


def run_code_of(config_class: type[PreTrainedConfig], name: str | Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `from_pretrained`, with a configuration whose parts have the classes that the folder brings.

    For folders that the caller trusts: their code runs here.
    """
    config = arguments.get("config")
    if not isinstance(config, PreTrainedConfig):
        if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
            return arguments  # an adapter's
        hub = {key: arguments[key] for key in HUB_ARGUMENTS if key in arguments}
        config = config_class.from_pretrained(config or name, **hub)
    found = False
    for holder in (config, *encoder_configs(config)):
        for part in ("encoder_config", "backbone_config"):
            inner = getattr(holder, part, None)
            if isinstance(inner, UntrustedConfig):
                own = get_class_from_dynamic_module(inner.auto_map["AutoConfig"], str(name))
                own.register_for_auto_class()  # whoever saves the model takes this code along
                setattr(holder, part, own.from_dict(inner.to_dict(), name_or_path=str(name)))
                found = True
    return arguments | {"config": config} if found else arguments


if not hasattr(PreTrainedModel, "_finalize_model_loading"):
    raise ImportError(
        "this release of transformers loads weights in another way than the releases that ecgllm was tested with "
        "(5.18 to 5.24), and checkpoints that are not whole would go unnoticed: pip install 'transformers<5.25'"
    )


def refuse_missing(model: nn.Module, name: Any, info: dict[str, Any]) -> None:
    """Refuse what was loaded without some of its weights. Args: info: transformers' `output_loading_info`.

    Raises: CheckpointError.
    """
    _refuse(model, name, missing=info["missing_keys"], other_shape=[key for key, *_ in info["mismatched_keys"]])


def _refuse(
    model: nn.Module,
    name: Any,
    missing: Iterable[str] = (),
    unknown: Iterable[str] = (),
    other_shape: Iterable[str] = (),
) -> None:
    own = set(model.state_dict())
    said = [
        f"{len(set(keys))} of its tensors {what} ({_listed(keys, own)})"
        for what, keys in (
            ("are missing", missing),
            ("are of another shape", other_shape),
            ("are not known to it", unknown),
        )
        if keys
    ]
    if said:
        raise CheckpointError(
            f"{name} is no whole checkpoint of a {type(model).__name__}: {'; '.join(said)}. {_AGAIN}; to start from "
            "random values in their place, pass ignore_mismatched_sizes=True."
        )


def _listed(keys: Iterable[str], own: set[str]) -> str:
    """Names, whole parts as one: "all 12 of projector, language_model.norm.weight and 3 more"."""
    left, names = set(keys), []
    for part in sorted({key.split(".")[0] for key in left}):
        of_part = {key for key in own if key.split(".")[0] == part}
        if len(of_part) > 1 and of_part <= left:
            names.append(f"all {len(of_part)} of {part}")
            left -= of_part
    names += sorted(left)
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _has_owner(model: nn.Module, key: str) -> bool:
    """Whether a tensor belongs to a module of the model, as a quantiser's do: weight.absmax, weight_scale."""
    names = {name for name, _ in model.named_modules() if name}
    return any(parent in names for parent in (key.rpartition(".")[0], key.rpartition(".")[0].rpartition(".")[0]))


def _check_finite(
    model: nn.Module, name: Any, chosen: Callable[[str], bool] = lambda key: True, on_disk: bool = False
) -> None:
    state = model.state_dict().items()
    tensors = {key: value for key, value in state if chosen(key) and isinstance(value, torch.Tensor)}
    wrong = [key for key, value in tensors.items() if not _is_finite(value)]
    if on_disk:
        held_back = {key for key, value in tensors.items() if value.is_meta}
        wrong += [key for key, value in _stored(Path(name)) if key in held_back and not _is_finite(value)]
    if wrong:
        raise CheckpointError(
            f"{name} holds values that are no finite numbers (NaN or infinite) in {len(wrong)} tensors "
            f"({_listed(wrong, set(tensors))}), and every answer would be. {_AGAIN}."
        )


_OF_ADAPTER = re.compile(r"\.(?:lora_[A-Za-z_]+|modules_to_save)\.([^.]+)(?:\.|$)")


def _check_adapter(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuse an adapter's tensors that are not all that the adapter has in this model: those that are missing would
    stay random. Other state dicts pass.

    Raises: CheckpointError.
    """
    own: dict[str, set[str]] = {}
    for key in module.state_dict():
        if found := _OF_ADAPTER.search(f".{key}"):
            own.setdefault(found[1], set()).add(key)
    if not own:
        return
    given = {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}
    names = {found[1] for key in given if (found := _OF_ADAPTER.search(f".{key}"))}
    if not given:
        raise CheckpointError(
            f"The adapter holds no tensor of a {type(module).__name__}, and would be random. {_AGAIN}."
        )
    for name in sorted(names & set(own)):
        if missing := own[name] - set(given):
            raise CheckpointError(
                f"The adapter {name!r} is not whole: {len(missing)} of its tensors are missing "
                f"({_listed(missing, set(own[name]))}), and would be random. {_AGAIN}."
            )
        wrong = [key for key in own[name] if not _is_finite(given[key])]
        if wrong:
            raise CheckpointError(
                f"The adapter {name!r} holds values that are no finite numbers (NaN or infinite) in {len(wrong)} "
                f"tensors ({_listed(wrong, set(own[name]))}). {_AGAIN}."
            )


def _is_finite(tensor: torch.Tensor) -> bool:
    """True, too, for what has no values here, on the meta device. Of a quantiser's tensor its scales count."""
    if hasattr(tensor, "__tensor_flatten__"):
        parts = (getattr(tensor, part) for part in tensor.__tensor_flatten__()[0])
        return all(_is_finite(part) for part in parts)
    if tensor.is_meta or tensor.numel() == 0 or tensor.dtype not in _FLOATS:
        return True
    if type(tensor) not in (torch.Tensor, nn.Parameter):
        return True  # of a kind whose values only its own library knows
    # The extremes of a tensor with NaN are NaN; nothing of the tensor's size is allocated.
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor.detach()))


def _stored(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (it is no mapping)
                yield key, file.get_tensor(key)


CONFIGURATIONS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "adapter_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
"""Files of a checkpoint that hold a JSON object."""


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file. Raises: CheckpointError that names the file, for whatever else stands in it."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deep for a configuration. {_AGAIN}") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise CheckpointError(f"{path} is no JSON in UTF-8 ({error}). {_AGAIN}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}; expected a JSON object. {_AGAIN}")
    return found


def check_files(folder: str | Path) -> None:
    """Check a folder's configurations, and the sizes of its weights, which are not read.

    A folder that is not there passes: it may be a name on the Hub.
    A safetensors file is as long as its header promises (https://huggingface.co/docs/safetensors/index#format); one
    of PyTorch is a ZIP archive, whose table of contents stands at its end.
    Raises: CheckpointError that names the file.
    """
    for path in (Path(folder) / name for name in CONFIGURATIONS):
        if path.is_file():
            read_json(path)
    for path in sorted(Path(folder).glob("*.safetensors")):
        found, promised = path.stat().st_size, _promised_size(path)
        if found != promised:
            expected = "no header of safetensors" if promised is None else f"a header that promises {promised:,}"
            raise CheckpointError(
                f"{path} is damaged: it holds {found:,} bytes and {expected}. {_AGAIN}; a file that is too short was "
                "cut off while it was written or copied"
            )
    for pattern in ("pytorch_model*.bin", "adapter_model.bin"):
        for path in sorted(Path(folder).glob(pattern)):
            if not zipfile.is_zipfile(path):
                raise CheckpointError(
                    f"{path} is damaged: its {path.stat().st_size:,} bytes are no archive of PyTorch. {_AGAIN}"
                )


def _promised_size(path: Path) -> int | None:
    """8 bytes with the length of the header, the header, and the tensors up to the last one's end."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return None
        try:
            tensors = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
            return 8 + length + max(ends, default=0)
        except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
            return None


__all__ = ["CONFIGURATIONS", "HUB_ARGUMENTS", "WholeWeights", "check_files", "read_json", "refuse_missing"]
