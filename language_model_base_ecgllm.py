"""The language model that a trained-only checkpoint leaves out and names: found, compared, and told apart from others.

In: what a checkpoint says of it (`language_model_base`), and where the caller says that it lies; or a model that is to
be saved. Out: the loaded language model; or its name, revision and the hash of its tensors. Decided here: weights are
known by the hash of the tensors in their files (`weights_ecgllm`), which is taken before anything of them is loaded;
and a model whose language model is not what those files hold is not described by them.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)
from transformers.utils.hub import get_checkpoint_shard_files

from .configuration_ecgllm import ECGLLMConfig
from .errors_ecgllm import CheckpointError
from .loading_ecgllm import refuse_missing
from .weights_ecgllm import stored_tensors, tensors_sha256


def load_base(
    config: ECGLLMConfig,
    checkpoint: Any,
    hub: dict[str, Any],
    language_model: str | Path | PreTrainedModel | None,
    allow_other: bool,
    **arguments: Any,
) -> PreTrainedModel:
    """The language model that a configuration names, with the weights that it names.

    Args: checkpoint: the folder or Hub name that is loaded. hub: arguments of `from_pretrained` that say where from.
        language_model: where it lies, or itself. allow_other: take other weights. arguments: for
        `AutoModelForCausalLM.from_pretrained`.
    Raises: CheckpointError where it is not found or has other weights.
    """
    named = config.language_model_base
    if isinstance(language_model, PreTrainedModel):
        if not allow_other:
            raise CheckpointError(
                f"language_model is a loaded model, whose weights cannot be compared with those of {named['name']} "
                f"that {checkpoint} names; pass its name or path, or allow_other_language_model=True."
            )
        return language_model
    hub = {key: value for key, value in hub.items() if key not in ("revision", "subfolder")}
    if language_model is None:
        language_model = _found(named["name"], checkpoint)
        hub["revision"] = named["revision"]
    local = Path(language_model).is_dir()
    if local:
        hub.pop("revision", None)
    try:
        files = weight_files(language_model, **hub)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint} is a trained-only checkpoint on the language model {named['name']}"
            f"{'' if named['revision'] is None else ' at revision ' + named['revision']}, which is not found as "
            f"{language_model} ({str(error).splitlines()[0]}). Fetch it, or say where it lies: "
            "language_model=PATH (--language-model)."
        ) from error
    found = tensors_sha256(stored_tensors(files)) if files else "unknown, as no weights of it are here"
    if found != named["tensors_sha256"] and not allow_other:
        raise CheckpointError(
            f"{language_model} is another language model than the one that {checkpoint} was trained with: the sha256 "
            f"of its tensors is {found}; expected {named['tensors_sha256']} ({named['name']}). Pass the right one as "
            "language_model=PATH (--language-model); allow_other_language_model=True (--allow-other-language-model) "
            "takes this one, and what it answers was never measured."
        )
    model, info = AutoModelForCausalLM.from_pretrained(
        language_model,
        config=copy.deepcopy(config.text_config),
        output_loading_info=True,
        use_safetensors=_are_safetensors(files) if files else None,
        **hub,
        **arguments,
    )
    refuse_missing(model, language_model, info)
    return model


def _found(name: str, checkpoint: Any) -> str:
    """Where a named language model lies: as named, beside or in the checkpoint, or in the folder of `ecgllm fetch`;
    else its name, for the Hub."""
    beside = Path(str(checkpoint))
    for place in (Path(name), beside / name, beside.parent / name, Path("pretrained") / name):
        if (place / "config.json").is_file():
            return str(place)
    return name


def weight_files(name: str | Path, **hub: Any) -> list[str]:
    """Paths of the files of a model's weights, which are downloaded where they are not here; [] where it has none.

    They are safetensors, or, of a model that has none, what `torch.save` wrote.

    Args: hub: as for `from_pretrained`: revision, token, cache_dir, local_files_only.
    Raises: OSError where the model is not found.
    """
    cached_file(name, "config.json", **hub)
    optional = {"_raise_exceptions_for_missing_entries": False}
    for single, shards in ((SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME), (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)):
        if (file := cached_file(name, single, **hub, **optional)) is not None:
            return [file]
        if (index := cached_file(name, shards, **hub, **optional)) is not None:
            return get_checkpoint_shard_files(name, index, **hub)[0]
    return []


def _are_safetensors(files: list[str]) -> bool:
    return all(file.endswith(".safetensors") for file in files)


def commit_of(name: str | Path, **hub: Any) -> str | None:
    """Commit of the Hub at which a language model is now; None for a folder."""
    if Path(name).is_dir():
        return None
    folder = Path(cached_file(name, "config.json", **hub)).parent  # .../snapshots/COMMIT
    return folder.name if folder.parent.name == "snapshots" else hub.get("revision")


def describe_base(model: Any, adapter: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the language model that it leaves out.

    Raises: CheckpointError for one that is in no checkpoint of its own, or was changed.
    """
    language_model, revision = model.language_model, model.language_model_revision
    name = language_model.name_or_path
    way_out = "Save the whole model: trained_only=False."
    if not name:
        raise CheckpointError(
            f"The language model is in no checkpoint of its own, by which it could be named. {way_out}"
        )
    try:
        files = weight_files(name, **{} if Path(name).is_dir() else {"revision": revision})
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The language model {name} is not found any more ({error}). {way_out}") from error
    if not files:
        raise CheckpointError(f"{name} holds no weights, by which they could be known. {way_out}")
    current = {plain_name(key): value for key, value in language_model.state_dict().items() if not of_adapter(key)}
    changed, seen = [], set()

    def compared() -> Iterator[tuple[str, torch.Tensor]]:
        for key, stored in stored_tensors(files):
            if key in current:
                seen.add(key)
                if not _equal(stored, current[key]):
                    changed.append(key)
            yield key, stored

    digest = tensors_sha256(compared())
    tied = {current[key].data_ptr() for key in seen}
    unseen = {key for key in set(current) - seen if current[key].data_ptr() not in tied}
    quantised = getattr(language_model, "hf_quantizer", None) is not None  # which adds scales, and trains nothing
    if unseen and not changed and not quantised:  # saved under other names than the model gives its weights
        changed = _changed_against(name, revision, language_model, {key: current[key] for key in unseen})
    if changed:
        raise CheckpointError(
            f"The language model is no longer {name}: {len(changed)} of its tensors were changed ({changed[0]}, ...) "
            f"here, or there since, which a trained-only checkpoint would lose. {way_out}"
        )
    # A path of this machine is none of another's; what is known of the folder is its name and what it holds.
    return {
        "name": Path(name).name if Path(name).is_absolute() else str(name),
        "revision": None if Path(name).is_dir() else revision or commit_of(name),
        "tensors_sha256": digest,
        "adapter": bool(adapter),
    }


def _equal(stored: torch.Tensor, current: torch.Tensor) -> bool:
    if not current.is_floating_point() or type(current.data) is not torch.Tensor or current.is_meta:
        return True  # packed by a quantiser, which nothing trains, or held back on a disk
    return stored.shape == current.shape and torch.equal(stored.to(current.dtype), current.detach().cpu())


def _changed_against(
    name: str, revision: str | None, language_model: PreTrainedModel, unseen: Mapping[str, torch.Tensor]
) -> list[str]:
    config = copy.deepcopy(language_model.config)
    again = AutoModelForCausalLM.from_pretrained(
        name, config=config, dtype=language_model.dtype, **{} if revision is None else {"revision": revision}
    ).state_dict()
    return [key for key, value in unseen.items() if key not in again or not _equal(again[key], value)]


def plain_name(key: str) -> str:
    """A parameter's name without what PEFT puts around a layer."""
    return key.replace(".base_layer.", ".").replace(".original_module.", ".")


def of_adapter(key: str) -> bool:
    return ".lora_" in key or ".modules_to_save." in key


__all__ = ["commit_of", "describe_base", "load_base", "of_adapter", "plain_name", "weight_files"]
