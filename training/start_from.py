"""Where a run starts: untrained parts, or the checkpoint of another run (`start_from`).

In: a folder with a dual encoder or an ECG language model, and what a recipe says. Out: the recipe completed by the
checkpoint's preprocessing and sizes; its encoder and, where it has them, projector, language model and processor.
Decided here: what a recipe states and the checkpoint contradicts is refused, what it leaves out is the checkpoint's;
with `start_weights: false` the parts are the checkpoint's in everything but their weights, to train from scratch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from ..asking import check_code
from ..configuration_ecgllm import PROJECTOR_FIELDS, ECGEncoderConfig, ECGLLMConfig, ECGTextDualEncoderConfig
from ..encoder_adapter_ecgllm import build_encoder
from ..errors_ecgllm import CheckpointError
from ..loading_ecgllm import check_files, read_json
from ..modeling_ecgllm import ECGLLMForConditionalGeneration, ECGTextDualEncoder
from ..processing_ecgllm import ECGFeatureExtractor, ECGProcessor
from ..weights_ecgllm import folder_sha256
from .recipe import Recipe, RecipeError

_OF_FILES = "sha256 "  # what runs of earlier versions noted: the bytes of all files, whatever is in them
_CONFIGS = {config.model_type: config for config in (ECGLLMConfig, ECGTextDualEncoderConfig)}


@dataclass
class Start:
    """A checkpoint to start from. weights: whether they are taken, too."""

    folder: Path
    config: ECGLLMConfig | ECGTextDualEncoderConfig
    weights: bool = True

    @property
    def has_language_model(self) -> bool:
        return isinstance(self.config, ECGLLMConfig)

    @property
    def trained_on(self) -> str | None:
        return getattr(self.config, "trained_on", None) if self.weights else None

    def encoder(self) -> PreTrainedModel:
        """The checkpoint's encoder, or one of its sizes that is untrained."""
        if not self.weights:
            return build_encoder(self.config.encoder_config)
        kind = ECGLLMForConditionalGeneration if self.has_language_model else ECGTextDualEncoder
        return kind.from_pretrained(self.folder).ecg_encoder

    def model(self) -> tuple[ECGLLMForConditionalGeneration, ECGProcessor]:
        """The checkpoint's whole model, or an untrained one of its sizes, and its processor."""
        processor = ECGProcessor.from_pretrained(self.folder)
        if self.weights:
            return ECGLLMForConditionalGeneration.from_pretrained(self.folder), processor
        model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
            self.encoder(),
            AutoModelForCausalLM.from_config(self.config.text_config),
            tokenizer=processor.tokenizer,
            **{field: getattr(self.config, field) for field in PROJECTOR_FIELDS.values()},
        )
        return model, ECGProcessor.for_model(model, processor.tokenizer, processor.feature_extractor)

    def identity(self) -> dict[str, Any]:
        """What a run notes of its start, without the path: folders are of the machine that trained."""
        return {
            "name": self.folder.resolve().name,
            "model_type": self.config.model_type,
            "trained_on": self.trained_on,
            "weights": f"tensors sha256 {folder_sha256(self.folder)}" if self.weights else "not taken",
        }

    def has_weights(self, noted: str) -> bool:
        """Whether the weights are those that a run noted: today's hash of tensors, or an earlier one of files."""
        if not noted.startswith(_OF_FILES):
            return noted == self.identity()["weights"]
        digest = hashlib.sha256()
        for file in sorted(self.folder.glob("*.safetensors")):
            digest.update(file.read_bytes())
        return noted == _OF_FILES + digest.hexdigest()


def find_start(name: str | None) -> Path | None:
    """The folder that a recipe's `start_from` names: a path, or one that ships with the package; None where it is
    not there."""
    if name is None:
        return None
    for folder in (Path(name), Path(__file__).resolve().parent.parent / name):
        if folder.is_dir():
            return folder
    return None


def read_start(name: str, weights: bool = True) -> Start:
    """Raises: RecipeError when the folder is not there, or holds no checkpoint of this package, or a damaged one."""
    folder = find_start(name)
    if folder is None:
        raise RecipeError(f"start_from is {name}, which is no folder; expected the run folder of another recipe.")
    file = folder / "config.json"
    if not file.is_file():
        raise RecipeError(
            f"start_from is {folder}, which holds no config.json; expected a finished run or checkpoint."
        )
    try:
        kind = read_json(file).get("model_type")
        check_code(folder)
    except CheckpointError as error:
        raise RecipeError(f"start_from is {folder}: {error}.") from error
    if kind not in _CONFIGS:
        raise RecipeError(f"start_from is {folder}, a model of type {kind!r}; expected {' or '.join(_CONFIGS)}.")
    if weights:
        try:
            check_files(folder)
        except CheckpointError as error:
            raise RecipeError(f"start_from is {folder}: {error}.") from error
    return Start(folder, _CONFIGS[kind].from_pretrained(folder), weights)


def with_start(values: Any, where: str) -> Any:
    """A recipe's plain values, completed by the checkpoint that they start from, where it is there.

    Raises: RecipeError for what contradicts it.
    """
    name = values.get("start_from") if isinstance(values, dict) else None
    if not isinstance(name, str) or find_start(name) is None:
        return values
    start = read_start(name)
    wrong: list[str] = []
    extractor = _feature_extractor(start)
    completed = dict(values)
    parts: dict[str, dict[str, Any]] = {
        "feature_extractor": {key: getattr(extractor, key) for key in _keys("feature_extractor")},
    }
    encoder = start.config.encoder_config
    if isinstance(encoder, ECGEncoderConfig):
        parts["encoder"] = {key: getattr(encoder, key, None) for key in _keys("encoder")}
    elif values.get("encoder"):
        wrong.append(f"encoder has fields of ECGEncoder and there is an {encoder.model_type!r}")
    if start.has_language_model:
        parts["projector"] = {key: getattr(start.config, field) for key, field in PROJECTOR_FIELDS.items()}
        wrong += _language_model_differences(values.get("language_model"), start.config.text_config)
    for key, own in parts.items():
        stated = values.get(key) or {}
        if not isinstance(stated, dict):
            continue  # the check of types says so
        wrong += [
            f"{key}.{name} is {stated[name]!r} and there {own[name]!r}"
            for name in own
            if name in stated and stated[name] != own[name]
        ]
        completed[key] = own | stated
    if wrong:
        raise RecipeError(
            f"{where} contradicts the checkpoint {start.folder} that it starts from: {'; '.join(wrong)}. Leave these "
            "keys out, or start from another checkpoint."
        )
    return completed


def _keys(part: str) -> Iterable[str]:
    """What a recipe may say of a part that is passed on as it is."""
    return Recipe.model_fields[part].annotation.__annotations__


def _language_model_differences(stated: Any, config: Any) -> list[str]:
    if not isinstance(stated, dict):
        return []
    if stated.get("name") is not None:
        return [f"language_model.name is {stated['name']!r} and there is a language model of its own"]
    own = config.to_dict()
    return [
        f"language_model.config.{key} is {value!r} and there {own.get(key)!r}"
        for key, value in (stated.get("config") or {}).items()
        if own.get(key) != value
    ]


def _feature_extractor(start: Start) -> ECGFeatureExtractor:
    if start.has_language_model:
        return ECGProcessor.from_pretrained(start.folder).feature_extractor
    return ECGFeatureExtractor.from_pretrained(start.folder)
