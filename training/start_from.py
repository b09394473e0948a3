"""Where a run starts: untrained parts, a checkpoint (`start_from`), or its encoder alone (`encoder: {from: ...}`).

In: a folder with an ECG encoder, alone or in a dual encoder or ECG language model, and what a recipe says. Out: the
recipe completed by the checkpoint's preprocessing and sizes; its encoder and, for `start_from` where it has them,
projector, language model and processor. Decided here: what a recipe states and the checkpoint contradicts is refused,
what it leaves out is the checkpoint's; with `start_weights: false` the parts are the checkpoint's in everything but
their weights, to train from scratch; an encoder that brings code of its own runs it where the recipe trusts it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraConfig
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.utils import FEATURE_EXTRACTOR_NAME

from ..asking import check_code
from ..composition_ecgllm import ADAPTER_FOLDER
from ..configuration_ecgllm import (
    PROJECTOR_FIELDS,
    ECGEncoderAdapterConfig,
    ECGEncoderConfig,
    ECGLLMConfig,
    ECGTextDualEncoderConfig,
    as_encoder_config,
)
from ..encoder_adapter_ecgllm import ECGEncoderAdapter, as_encoder, build_encoder
from ..errors_ecgllm import CheckpointError, ECGError
from ..loading_ecgllm import check_files, read_json
from ..modeling_ecgllm import ECGLLMForConditionalGeneration
from ..processing_ecgllm import ECGFeatureExtractor, ECGProcessor
from ..processor_parts_ecgllm import feature_extractor_for
from ..weights_ecgllm import folder_sha256
from .recipe import Recipe, RecipeError
from .recipe.forwarded_arguments import ADAPTER_FIELDS, encoder_fields

_OF_FILES = "sha256 "  # what runs of earlier versions noted: the bytes of all files, whatever is in them
_CONFIGS = {config.model_type: config for config in (ECGLLMConfig, ECGTextDualEncoderConfig)}


@dataclass
class Start:
    """A checkpoint to start from.

    weights: whether they are taken, too. encoder_only: whether no more than the encoder and its preprocessing is.
    trust_remote_code: whether code that the folder brings may run. adapted: whether the folder holds a model that
    knows nothing of ECGs, and config is that of the adapter around it.
    """

    folder: Path
    config: PreTrainedConfig
    weights: bool = True
    encoder_only: bool = False
    trust_remote_code: bool = False
    adapted: bool = False

    @property
    def has_language_model(self) -> bool:
        return isinstance(self.config, ECGLLMConfig) and not self.encoder_only

    @property
    def encoder_config(self) -> PreTrainedConfig:
        return getattr(self.config, "encoder_config", self.config)

    @property
    def trained_on(self) -> str | None:
        return getattr(self.config, "trained_on", None) if self.weights else None

    def encoder(self) -> PreTrainedModel:
        """The checkpoint's encoder, or one of its sizes that is untrained."""
        if not self.weights:
            return build_encoder(self.encoder_config)
        if self.adapted:
            return self._adapter_with_weights()
        if self.trust_remote_code:
            return as_encoder(AutoModel.from_pretrained(self.folder, trust_remote_code=True))
        return as_encoder(self.folder)

    def _adapter_with_weights(self) -> ECGEncoderAdapter:
        fields = (*ADAPTER_FIELDS, "num_leads", "preprocessing")
        return ECGEncoderAdapter.from_backbone(
            self.folder,
            trust_remote_code=self.trust_remote_code,
            **{field: getattr(self.config, field) for field in fields},
        )

    def feature_extractor(self) -> ECGFeatureExtractor | None:
        """What prepares ECGs for the encoder; None where the folder of another's encoder does not say."""
        if self.adapted:  # how others prepare ECGs is the recipe's to say, whatever file of theirs is there
            return None
        if (self.folder / FEATURE_EXTRACTOR_NAME).is_file():
            return ECGFeatureExtractor.from_pretrained(self.folder)
        stated = getattr(self.encoder_config, "preprocessing", None) is not None
        return feature_extractor_for(self.encoder_config) if stated else None

    def adapter(self) -> Path | None:
        """The adapter on the language model, which training goes on with; of a trained-only checkpoint."""
        base = getattr(self.config, "language_model_base", None)
        return self.folder / ADAPTER_FOLDER if self.weights and base is not None and base["adapter"] else None

    def model(self, **trained_only: Any) -> tuple[ECGLLMForConditionalGeneration, ECGProcessor]:
        """The checkpoint's whole model, or an untrained one of its sizes, and its processor.

        Args: trained_only: of `from_pretrained`, where the checkpoint is a trained-only one.
        """
        processor = ECGProcessor.from_pretrained(self.folder)
        if self.weights:
            apart = self.config.language_model_base is not None
            options = (trained_only if apart else {}) | {"trust_remote_code": self.trust_remote_code}
            return ECGLLMForConditionalGeneration.from_pretrained(self.folder, **options), processor
        model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
            self.encoder(),
            AutoModelForCausalLM.from_config(self.config.text_config),
            tokenizer=processor.tokenizer,
            **{field: getattr(self.config, field) for field in PROJECTOR_FIELDS.values()},
        )
        return model, ECGProcessor.for_model(model, processor.tokenizer, processor.feature_extractor)

    def identity(self) -> dict[str, Any]:
        """What a run notes of its start, without the path: folders are of the machine that trained."""
        weights = "not taken"
        if self.weights:
            weights = f"tensors sha256 {folder_sha256(self.folder)}"
            if (adapter := self.adapter()) is not None and not self.encoder_only:
                weights += f", adapter {folder_sha256(adapter)}"
        return {
            "name": self.folder.resolve().name,
            "model_type": self.config.model_type,
            "trained_on": self.trained_on,
            "weights": weights,
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


def start_of(recipe: Recipe) -> Start | None:
    """The checkpoint that a recipe starts from; None for untrained parts. Raises: as `read_start`."""
    if recipe.start_from is not None:
        return read_start(recipe.start_from, recipe.start_weights, trusts_code(recipe))
    if "from" not in recipe.encoder:
        return None
    return read_encoder(
        recipe.encoder["from"], trusts_code(recipe), recipe.encoder.get("adapter"), recipe.feature_extractor
    )


def trusts_code(recipe: Recipe) -> bool:
    """Whether code that comes with an encoder may run; the run's own checkpoints bring it along."""
    return recipe.encoder.get("trust_remote_code", False)


def read_start(name: str, weights: bool = True, trust_remote_code: bool = False) -> Start:
    """Raises: RecipeError when the folder is not there, or holds no checkpoint of this package, or a damaged one."""
    folder = _checked_folder("start_from", name, trust_remote_code, weights=weights)
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in _CONFIGS:
        raise RecipeError(
            f"start_from is {folder}, a model of type {kind!r}; expected {' or '.join(_CONFIGS)}. Another encoder is "
            "taken by encoder: {from: FOLDER}."
        )
    return Start(folder, _CONFIGS[kind].from_pretrained(folder), weights, trust_remote_code=trust_remote_code)


def read_encoder(
    name: str,
    trust_remote_code: bool = False,
    adapter: dict[str, Any] | None = None,
    feature_extractor: dict[str, Any] | None = None,
) -> Start:
    """The encoder in a checkpoint of this package, or any other that `docs/encoders.md` speaks of.

    Args: adapter: fields of `ECGEncoderAdapterConfig`, for a model that knows nothing of ECGs. feature_extractor: of
        `ECGFeatureExtractor`, which prepares ECGs for such a model.
    Raises: RecipeError as `read_start`, and for a model that is no ECG encoder.
    """
    folder = _checked_folder("encoder.from", name, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        if adapter is not None:
            extractor = ECGFeatureExtractor(**feature_extractor or {})
            config = ECGEncoderAdapterConfig(
                backbone_config=config,
                num_leads=len(extractor.leads),
                preprocessing=extractor.preprocessing,
                **adapter,
            )
        as_encoder_config(getattr(config, "encoder_config", config))
    except (ECGError, ValueError, TypeError) as error:
        raise RecipeError(f"encoder.from is {folder}: {error}") from error
    adapted = adapter is not None
    return Start(folder, config, encoder_only=True, trust_remote_code=trust_remote_code, adapted=adapted)


def _checked_folder(key: str, name: str, trust_remote_code: bool, weights: bool = True) -> Path:
    folder = find_start(name)
    if folder is None:
        raise RecipeError(
            f"{key} is {name}, which is no folder; expected a finished run or a checkpoint. One on the Hub comes by "
            f"`hf download {name} --local-dir FOLDER`."
        )
    if not (folder / "config.json").is_file():
        raise RecipeError(f"{key} is {folder}, which holds no config.json; expected a finished run or checkpoint.")
    try:
        if not trust_remote_code:
            check_code(folder)
        if weights:
            check_files(folder)
    except CheckpointError as error:
        raise RecipeError(f"{key} is {folder}: {error}.") from error
    return folder


def with_start(values: Any, where: str) -> Any:
    """A recipe's plain values, completed by the checkpoint that they start from, where it is there.

    Raises: RecipeError for what contradicts it.
    """
    start = _start_of_values(values)
    if start is None:
        return values
    wrong: list[str] = []
    extractor = start.feature_extractor()
    completed = dict(values)
    parts: dict[str, dict[str, Any]] = {}
    if extractor is not None:
        parts["feature_extractor"] = {key: getattr(extractor, key) for key in _keys("feature_extractor")}
    encoder, fields = start.encoder_config, encoder_fields(values.get("encoder") or {})
    if isinstance(encoder, ECGEncoderConfig):
        parts["encoder"] = {
            key: getattr(encoder, key, None) for key in encoder_fields(dict.fromkeys(_keys("encoder")))
        }
    elif fields:
        wrong.append(f"encoder has fields of ECGEncoder ({', '.join(fields)}) and there is an {encoder.model_type!r}")
    if start.has_language_model:
        parts["projector"] = {key: getattr(start.config, field) for key, field in PROJECTOR_FIELDS.items()}
        stated = values.get("projector")
        if isinstance(stated, dict) and stated.get("start", "words") != "words":
            wrong.append(f"projector.start is {stated['start']!r}, of a new projector, and there is one")
        wrong += _language_model_differences(values.get("language_model"), start.config)
    if (adapter := start.adapter()) is not None and start.has_language_model:
        own = LoraConfig.from_pretrained(str(adapter))
        parts["lora"] = {"r": own.r, "alpha": own.lora_alpha}
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


def _start_of_values(values: Any) -> Start | None:
    """Of plain values that are not checked yet; None where they name none, or one that is not there (yet)."""
    if not isinstance(values, dict):
        return None
    whole, encoder = values.get("start_from"), values.get("encoder")
    name = encoder.get("from") if isinstance(encoder, dict) else None
    if whole is not None and name is not None:
        return None  # which the check of the recipe refuses
    trust = isinstance(encoder, dict) and encoder.get("trust_remote_code") is True
    if isinstance(whole, str) and find_start(whole) is not None:
        return read_start(whole, trust_remote_code=trust)
    if isinstance(name, str) and find_start(name) is not None:
        adapter, extractor = encoder.get("adapter"), values.get("feature_extractor")
        wrong = any(not isinstance(each, dict | None) for each in (adapter, extractor))
        return None if wrong else read_encoder(name, trust, adapter, extractor)
    return None


def _keys(part: str) -> Iterable[str]:
    """What a recipe may say of a part that is passed on as it is."""
    return Recipe.model_fields[part].annotation.__annotations__


def _language_model_differences(stated: Any, start: ECGLLMConfig) -> list[str]:
    if not isinstance(stated, dict):
        return []
    # Of a trained-only checkpoint it says where the language model lies; other weights are refused when they are read.
    if stated.get("name") is not None and start.language_model_base is None:
        return [
            f"language_model.name is {stated['name']!r} and there is a language model of its own (encoder: "
            "{from: FOLDER} takes the encoder alone)"
        ]
    own = start.text_config.to_dict()
    return [
        f"language_model.config.{key} is {value!r} and there {own.get(key)!r}"
        for key, value in (stated.get("config") or {}).items()
        if own.get(key) != value
    ]
