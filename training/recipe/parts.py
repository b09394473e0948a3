"""The parts of a recipe beside its stages, as pydantic models: what each may say, and within which limits.

In: plain values. Out: a part with every default, or pydantic's `ValidationError` (`errors` puts it into words).
Decided here: keys that a part lacks are refused, and values of other types (whole numbers do for real ones); then what
a part's keys say of each other (`problems`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from transformers import CONFIG_MAPPING

from ...configuration_ecgllm import PROJECTOR_FIELDS
from .errors import RecipeError, nearest

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
NotNegativeCount = Annotated[int, Field(ge=0)]
# "encoder:" with nothing behind it is how YAML writes a mapping that is left at its defaults.
EMPTY = BeforeValidator(lambda values: {} if values is None else values)
SIMULATION = "simulation"
_SIZE = re.compile(r"(_size|_dim|_layers?|_heads|_max_position_embeddings|^max_position_embeddings)$")  # of a model


class Part(BaseModel):
    """Base of all parts of a recipe."""

    model_config = STRICT

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, values: Any) -> Any:
        return {} if values is None else values

    @model_validator(mode="after")
    def _consistent(self) -> Part:
        for problem in self.problems():
            raise RecipeError(problem)
        return self

    def problems(self) -> Iterator[str]:
        """What contradicts itself, or would be read and ignored, each with the way out."""
        yield from ()

    def stated(self) -> dict[str, Any]:
        """What is not at its default: in a resolved recipe, which has all keys, the others say nothing."""
        return self.model_dump(exclude_defaults=True)


class TextModelRecipe(Part):
    """A text model.

    name: Hub name or path. config: instead of a name, the configuration (with `model_type`) of a small model that
    starts untrained, with a tokenizer of `vocab_size` that is trained on the corpus' text, so that nothing is
    downloaded. sizes: configuration of the named model (with `model_type`), by which a dry run counts where the cache
    lacks it.
    """

    name: str | None = None
    config: dict[str, Any] | None = None
    sizes: dict[str, Any] | None = None
    vocab_size: Count = 1024

    def problems(self) -> Iterator[str]:
        for key in ("config", "sizes"):
            yield from _problems_of_config(key, getattr(self, key))
        own = sorted({"vocab_size", "pad_token_id", "bos_token_id", "eos_token_id"} & set(self.config or ()))
        if own:
            instead = ", and set vocab_size beside config" if "vocab_size" in own else ""
            yield f"config sets {', '.join(own)}, which the run's own tokenizer decides; leave it out{instead}."
        if self.sizes is not None and self.name is None:
            yield "sizes is for a model by name; config says the sizes already."


class HoldOut(Part):
    """Records that a run does not learn from, so that it can be asked about them: one run of a cross-validation.

    fold, of: the patients of fold `fold` (0 to `of` - 1) are the test split. sources: the records of these are.
    """

    fold: NotNegativeCount | None = None
    of: Annotated[int, Field(ge=2)] = 5
    sources: Annotated[list[str], Field(min_length=1)] | None = None

    def problems(self) -> Iterator[str]:
        if (self.fold is None) == (self.sources is None):
            yield "expected either fold or sources: what is held out of the training."
        if self.fold is not None and self.fold >= self.of:
            yield f"fold is {self.fold}; expected 0 to {self.of - 1}, since there are {self.of}."
        if self.sources is not None and "of" in self.stated():
            yield "of has no effect with sources; leave it out."


def _problems_of_config(key: str, config: dict[str, Any] | None) -> Iterator[str]:
    """key: under which a text model's configuration stands."""
    if config is None:
        return
    model_type = config.get("model_type")
    if model_type not in CONFIG_MAPPING:
        known = nearest(model_type, CONFIG_MAPPING.keys())
        yield f"{key} has model_type {model_type!r}, which transformers does not know{known}"
    known = {name for name in dir(CONFIG_MAPPING[model_type]()) if not name.startswith("_")}
    for name, value in config.items():
        if name not in known:
            yield f"{key} has the unknown key {name!r}{nearest(name, known)}"
        if _SIZE.search(name) and isinstance(value, (int, float)) and not isinstance(value, bool) and value < 1:
            yield f"{key}.{name} is {value}; expected 1 or more."


class LanguageModelRecipe(TextModelRecipe):
    """Which language model, and how much of it learns.

    tune: "frozen", "lora" (the paper) or "full". dtype: of a pretrained model, e.g. "bfloat16". merge: whether
    checkpoints hold the whole language model, LoRA added to its weights; else one by name is left out of them unless
    it is tuned in full (`composition_ecgllm`).
    """

    tune: Literal["frozen", "lora", "full"] = "lora"
    dtype: str = "auto"
    merge: bool = False

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.name is None and self.dtype != "auto":
            yield "dtype has no effect without name: an untrained model is float32; leave it out."
        if self.config is not None and self.merge:
            yield "merge has no effect on a model of a config, which is always in its checkpoints; leave it out."


class TextEncoderRecipe(TextModelRecipe):
    """Text side of contrastive pre-training."""

    tune: Literal["frozen", "full"] = "full"


class LoraRecipe(Part):
    """LoRA on the language model. target_modules: "all-linear" or layer names. Sizes: the authors' anyECG-chat."""

    r: Count = 8
    alpha: Count = 16
    dropout: Share = 0.1
    target_modules: str | list[str] = "all-linear"


class ProjectorRecipe(Part):
    """Projector; see `ECGLLMConfig`.

    start: of a new one; "words": its tokens have the scale of the language model's word embeddings
    (`projector_start`), or "random": that of the initialisation.
    """

    type: Literal["linear", "mlp"] = "linear"
    hidden_size: Count | None = None
    patches_per_token: Count = 1
    summary: bool = False
    start: Literal["words", "random"] = "words"

    def fields(self) -> dict[str, Any]:
        """Those of `ECGLLMConfig`."""
        return {field: getattr(self, key) for key, field in PROJECTOR_FIELDS.items()}


class AugmentRecipe(Part):
    """What may happen to an ECG (`data/augmentations.py`); 0 switches each off.

    lead_dropout: probability that a lead is missing, for each lead (one always stays). crop: largest share of the
    samples that is cut off, some before and some behind, so that what stays also moves in time. amplitude: largest
    relative change of all leads together; 0.1 is a factor from 1/1.1 to 1.1. noise: probability that noise is added.
    noise_source: "simulation", or a folder of records of noise in mV, in any format that is read. noise_level: its
    scale. baseline: largest wander of an electrode in mV, before the model's high-pass. sharpness: largest relative
    change of what is faster than some 10 to 50 Hz, as devices' filters and hearts differ in it. slow_share: largest
    share of what is slower than some 0.2 to 0.5 Hz that is taken off, as by devices' high-pass filters, in every
    other ECG. placement: standard deviation of the logarithm of a chest electrode's gain, and of that of all limb
    leads together: chests differ, and electrodes lie a little apart.
    """

    lead_dropout: Share = 0.0
    crop: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    amplitude: NotNegative = 0.0
    noise: Share = 0.0
    noise_source: str = SIMULATION
    noise_level: NotNegative = 1.0
    baseline: NotNegative = 0.0
    sharpness: Share = 0.0
    slow_share: Share = 0.0
    placement: NotNegative = 0.0

    def problems(self) -> Iterator[str]:
        for key in ("noise_source", "noise_level"):
            if key in self.stated() and not self.noise:
                yield f"{key} has no effect without noise, the probability of noise; set that, too."

    def check_scaling(self, scaling: str) -> None:
        """Raises: RecipeError where the feature extractor's scaling leaves no millivolts."""
        if (self.noise or self.baseline) and scaling != "millivolt":
            raise RecipeError(
                f"noise and baseline are in mV, and the feature extractor's scaling is {scaling!r}; set both to 0, or "
                "scaling: millivolt."
            )
