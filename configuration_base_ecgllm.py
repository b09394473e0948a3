"""What all configurations share: their format, how a part is read, and how a signal path is known again.

In: values of a `config.json`. Out: the same in today's format (`migrated`), and the configuration that a part of them
names. Decided here: what a configuration of an earlier format means; that another model's checkpoint is refused; that
a part whose code comes with a folder stays as it is until somebody trusts it (`UntrustedConfig`). All files of
configurations are uploaded with every checkpoint, so they import nothing but transformers.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .errors_ecgllm import CheckpointError, ECGError

FORMAT_VERSION = 2
"""Of the configurations here. In format 1, which names none, an encoder with beats was an `ECGEncoderConfig`."""

_ENCODER, _BEAT_ENCODER, _DUAL_ENCODER = "ecgllm_encoder", "ecgllm_beat_encoder", "ecgllm_dual_encoder"


def preprocessing_fingerprint(preprocessing: dict[str, Any]) -> int:
    """Number that identifies a signal path: CRC-32 of its canonical JSON, which fits into a tensor."""
    return zlib.crc32(json.dumps(preprocessing, sort_keys=True).encode("utf-8"))


def describe_difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The fields in which two signal paths differ, for error messages."""
    fields = sorted(set(found) | set(expected))
    return ", ".join(
        f"{field}: {found.get(field)!r} instead of {expected.get(field)!r}"
        for field in fields
        if found.get(field) != expected.get(field)
    )


def count_tokens(lengths: Any, samples_per_token: int) -> Any:
    """Number of tokens of ECGs, in one formula for encoder, language model and processor. A last, partial token
    counts.

    Args: lengths: samples, an int or a tensor of ints. Returns: an int or a tensor, as `lengths` is.
    """
    return (lengths + samples_per_token - 1) // samples_per_token


def migrated(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration, and the encoder's inside it, in today's format.

    Raises: CheckpointError for a later format than this, and for an encoder that this version no longer has.
    """
    values = dict(values)
    version = values.pop("format_version", 1)
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint's configuration has the format {version!r}; this version of ecgllm knows 1 to "
            f"{FORMAT_VERSION}. Update ecgllm (pip install --upgrade ecgllm)."
        )
    if isinstance(values.get("encoder_config"), dict):
        values["encoder_config"] = migrated(values["encoder_config"])
    if version == 1 and values.get("model_type") == _DUAL_ENCODER:
        for of_training in ("statement_targets", "statement_names"):
            values.pop(of_training, None)
    if version == 1 and values.get("model_type") == _ENCODER:
        if values.pop("stem_padding", "same") != "same":
            raise CheckpointError(
                "the checkpoint's encoder has stem_padding 'valid', which this version of ecgllm no longer has; load "
                "it with the version that made it, or train it again."
            )
        if values.get("beat_sampling_rate") is not None:
            values["model_type"] = _BEAT_ENCODER
        else:
            values = {key: value for key, value in values.items() if not key.startswith("beat_")}
    return values


class UntrustedConfig(PreTrainedConfig):
    """The configuration of a model whose code comes with the checkpoint, as it was saved; its code did not run.

    `loading_ecgllm.run_code_of` turns it into the model's own configuration.
    """


def as_sub_config(value: Any, field: str, default_model_type: str | None = None) -> PreTrainedConfig:
    """Turn a dict (as read from config.json) into the configuration class that its `model_type` names."""
    if isinstance(value, PreTrainedConfig):
        return value
    value = dict(value or {})
    model_type = value.pop("model_type", default_model_type)
    if model_type in CONFIG_MAPPING:
        return CONFIG_MAPPING[model_type](**value)
    if "auto_map" in value:
        return type("UntrustedConfig", (UntrustedConfig,), {"model_type": model_type})(**value)
    raise ECGError(
        f"{field} has model_type {model_type!r}, which this version of transformers does not know. Expected the "
        "model_type of a model inside transformers: upgrade transformers, register the model's classes (AutoConfig, "
        "AutoModel), or pass a configuration object."
    )


def encoder_configs(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    """The encoder's configuration inside a model's, and that of the model inside an adapter."""
    for part in ("encoder_config", "backbone_config"):
        if hasattr(config, part):
            yield getattr(config, part)
            yield from encoder_configs(getattr(config, part))


def _is_path(name: Any) -> bool:
    return isinstance(name, str) and (Path(name).is_absolute() or Path(name).exists())


OF_ENCODER = "ECG encoder: "
"""Before what an encoder learned from, in `trained_on` of a model that was made with it."""


class OwnConfig(PreTrainedConfig):
    """A configuration that refuses the checkpoint of another model type; transformers only warns."""

    format_version: int = FORMAT_VERSION
    trained_on: str | None = None
    """One line that says what the checkpoint learned from; shown with answers and in the model card."""
    card_data: dict[str, Any] | None = None
    """What the model card states beside what is known: license, datasets, language, base_model, ..., as the Hub names
    them (https://huggingface.co/docs/hub/model-cards#model-card-metadata)."""

    def _check_sizes(self, *names: str) -> None:
        """Raises: ECGError for a size, or one in a list of sizes, that is not a whole number of at least 1."""
        for name in names:
            value = getattr(self, name)
            sizes = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
                raise ECGError(f"{name} is {value!r}; expected 1 or more (whole numbers).")

    def to_dict(self) -> dict[str, Any]:
        """As in transformers, without the local paths of the models inside."""
        values = super().to_dict()
        for part in values.values():
            if isinstance(part, dict) and _is_path(part.get("_name_or_path")):
                del part["_name_or_path"]
        return values

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers.

        Raises: CheckpointError for a model of another type, such as a plain language model, and for a later format.
        """
        config_dict = migrated(config_dict)
        found = config_dict.get("model_type") or cls.model_type
        if found != cls.model_type:
            raise CheckpointError(
                f"the checkpoint holds a model of type {found!r}; expected {cls.model_type!r}. A language model "
                "without an ECG encoder gets one by ECGLLMForConditionalGeneration.from_encoder_and_language_model."
            )
        return super().from_dict(config_dict, **kwargs)
