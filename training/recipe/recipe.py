"""Recipes: one YAML file per training run, checked before anything is spent.

In: plain values (`yaml_file`). Out: a `Recipe`, or a `RecipeError` that names the key. Every key is known here
or in a part (`parts`, `stage`, `forwarded_arguments`), so a typo is an error that names the nearest key. Decided here:
what a key may say beside those of other parts. Neither models nor checkpoints are touched; what a recipe takes from
the checkpoint that it starts from is filled in before (`training/recipe_loading.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ...configuration_ecgllm import ECGLLMConfig, as_encoder_config
from ...corpora.records.dataset_folders import is_saved
from ...feature_extraction_ecgllm import ECGFeatureExtractor
from .corpus_check import problems_of_corpus
from .errors import RecipeError, recipe_error
from .forwarded_arguments import Encoder, FeatureExtractor, encoder_fields, refused
from .parts import (
    EMPTY,
    Count,
    HoldOut,
    LanguageModelRecipe,
    LoraRecipe,
    NotNegative,
    Part,
    ProjectorRecipe,
    Share,
    TextEncoderRecipe,
)
from .stage import QuestionStage, Stages


class Recipe(Part):
    """A training run; see docs/training.md.

    corpus: name for `corpora.prepare`. data: its folder, or the folder of a prepared corpus. limit: records at most.
    reader_spread: 0 to 1: how far the limits by which simulated ECGs are read differ (`signals.simulate_ecgs`), in the
    corpus and, where a stage does not say otherwise, in its stream.
    split: shares of patients for "validation" and "test", in place of the corpus' own split. hold_out: what is the
    test split in one run of a cross-validation (`HoldOut`). start_from: run folder whose checkpoint the first stage
    starts from (`training/start_from.py`). start_weights: false for its sizes and tokenizer alone. output: the run
    folder. encoder: fields of `ECGEncoderConfig`. feature_extractor: of `ECGFeatureExtractor`. trained_on: one line
    for answers and the model card; written from the corpus where it is None. card: what the model card states beside
    what is known, in the Hub's words (license, datasets, tags, ...).
    """

    corpus: str
    output: str
    data: str | None = None
    limit: Count | None = None
    reader_spread: Share = 0.0
    split: Annotated[dict[Literal["validation", "test"], NotNegative], EMPTY] = Field(default_factory=dict)
    hold_out: HoldOut | None = None
    start_from: str | None = None
    start_weights: bool = True
    description: str = ""
    trained_on: str | None = None
    card: Annotated[dict[str, Any], EMPTY] = Field(default_factory=dict)
    seed: int = 0
    feature_extractor: FeatureExtractor = Field(default_factory=dict)
    encoder: Encoder = Field(default_factory=dict)
    projector: ProjectorRecipe = Field(default_factory=ProjectorRecipe)
    language_model: LanguageModelRecipe = Field(default_factory=LanguageModelRecipe)
    text_encoder: TextEncoderRecipe = Field(default_factory=TextEncoderRecipe)
    lora: LoraRecipe = Field(default_factory=LoraRecipe)
    stages: Annotated[Stages, Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _without_sweep(cls, values: Any) -> Any:
        """Run folders of earlier versions say that they are part of no sweep."""
        return {key: value for key, value in values.items() if (key, value) != ("sweep", {})}

    def to_dict(self) -> dict[str, Any]:
        """Plain values with every default, of which `parse_recipe` makes the same recipe."""
        return self.model_dump()

    @property
    def encoder_fields(self) -> dict[str, Any]:
        """Fields of the encoder's configuration."""
        return encoder_fields(self.encoder)

    def unused_parts(self) -> list[str]:
        """Parts that the recipe describes and none of its stages uses; a run says so."""
        asked = [stage for stage in self.stages.values() if isinstance(stage, QuestionStage)]
        used = {
            "text_encoder": "pretrain" in self.stages,
            "language_model": bool(asked),
            "projector": bool(asked),
            "lora": any((stage.tune or self.language_model.tune) == "lora" for stage in asked),
        }
        unused = [name for name, needed in used.items() if not needed and getattr(self, name).stated()]
        if "tune" in self.language_model.stated() and asked and all(stage.tune for stage in asked):
            unused.append("language_model.tune")
        return unused

    def problems(self) -> Iterator[str]:
        if sum(self.split.get(name, 0.1) for name in ("validation", "test")) >= 1:
            yield f"split is {self.split}; expected shares of patients from 0 whose sum is below 1."
        if self.hold_out is not None and self.split.get("test"):
            yield "split.test and hold_out both say what the test split is; leave one out."
        if self.hold_out is not None and self.limit is not None:
            yield "hold_out divides the whole corpus, and limit takes a part of it; leave one out."
        if self.hold_out is not None and not (is_saved(self.data) or is_saved(Path(self.output) / "corpus")):
            yield "hold_out divides a prepared corpus; `ecgllm prepare` or `ecgllm join` writes one, for data=FOLDER."
        yield from self._problems_of_data()
        yield from self._problems_of_models()
        if self.start_from is None and "from" not in self.encoder:  # else the keys are the checkpoint's, used or not
            yield from self._without_effect()

    def _problems_of_data(self) -> Iterator[str]:
        prepared, simulated = is_saved(self.data), self.corpus == "simulation"
        pretrain = self.stages.get("pretrain")
        streamed = pretrain is not None and pretrain.stream is True
        spread_used = simulated and (not prepared or (streamed and pretrain.reader_spread is None))
        if self.reader_spread and not spread_used:
            yield (
                f"reader_spread is {self.reader_spread}, and the findings of the corpus {self.corpus!r} are known "
                "already; leave it out, or take corpus: simulation without data."
            )
        yield from problems_of_corpus(self.corpus, self.data, self.output)
        if streamed and not simulated:
            yield (
                "stages.pretrain: stream is true, which means ever new simulated records, and the corpus is "
                f"{self.corpus}; give a folder of Parquet files instead, or take the corpus simulation."
            )

    def _problems_of_models(self) -> Iterator[str]:
        language, asked = self.language_model, set(self.stages) - {"pretrain", "classify"}
        if asked and "classify" in self.stages:
            yield (
                "stages has classify beside questions, of which neither builds on the other; take a recipe of its own "
                "for classify, with encoder.from."
            )
        # The checkpoint may bring one.
        brought = self.start_from is not None and language.name is None and language.config is None
        used = {"text_encoder": "pretrain" in self.stages, "language_model": asked and not brought}
        for key, needed in used.items():
            part = getattr(self, key)
            if needed and (part.name is None) == (part.config is None):
                yield f"{key} needs either a name or a config, not both and not neither."
            if part.config is None and "vocab_size" in part.stated():
                yield f"{key}.vocab_size has no effect without config: a model by name has its own; leave it out."
        whole = {"encoder_config": self.encoder_fields, "patches_per_token": self.projector.patches_per_token}
        if self.start_from is not None and "from" in self.encoder:
            yield "start_from and encoder.from are both given; a run starts from one checkpoint: leave one out."
        if not self.start_weights and self.start_from is None:
            yield "start_weights has no effect without start_from; name a checkpoint."
        if "trust_remote_code" in self.encoder and "from" not in self.encoder and self.start_from is None:
            yield "encoder.trust_remote_code has no effect without encoder.from or start_from; leave it out."
        if "adapter" in self.encoder and "from" not in self.encoder:
            yield "encoder.adapter has no effect without encoder.from; leave it out."
        for key, kind, arguments in (
            ("encoder", as_encoder_config, {"value": self.encoder_fields}),
            ("projector", ECGLLMConfig, whole),
            ("feature_extractor", ECGFeatureExtractor, self.feature_extractor),
        ):
            for problem in refused(kind, **arguments):
                yield f"{key}: {problem}"
        scaling = self.feature_extractor.get("scaling", "millivolt")
        for name, stage in self.stages.items():
            for problem in refused(stage.augment.check_scaling, scaling):
                yield f"stages.{name}.augment: {problem}"

    def _without_effect(self) -> Iterator[str]:
        kind = self.projector.type
        if self.projector.hidden_size is not None and kind != "mlp":
            yield f"projector.hidden_size has no effect with type: {kind}; set type: mlp, or leave it out."
        signal = ECGFeatureExtractor(**self.feature_extractor)
        for key, built, used, way_out in (
            ("feature_extractor.baseline_cutoff", signal, signal.baseline != "none", "baseline: highpass"),
            ("feature_extractor.millivolt_factor", signal, signal.scaling == "millivolt", "scaling: millivolt"),
        ):
            name = key.partition(".")[2]
            if not used and getattr(built, name) != getattr(type(built)(), name):
                yield f"{key} has no effect without {way_out}; set that, too, or leave it out."


def parse_recipe(values: Any, where: str) -> Recipe:
    """A checked recipe from plain values; `where` is what errors call them. Raises: RecipeError."""
    if not isinstance(values, dict):
        raise RecipeError(f"{where} holds {type(values).__name__}; expected a mapping of recipe keys.")
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise recipe_error(error, Recipe, values, where) from error
