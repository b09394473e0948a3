"""The stages of a recipe, as pydantic models: a class for each kind, which refuses the keys of the others.

In: plain values. Out: a stage with every default, or pydantic's `ValidationError` (`errors` puts it into words).
Decided here: what follows from other keys cannot be set against them, and a key without effect is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_serializer, model_validator
from typing_extensions import TypedDict

from .forwarded_arguments import Questions, Training, problems_of_questions, problems_of_training
from .ignored_arguments import ignored_arguments
from .parts import STRICT, AugmentRecipe, Count, Part, Share

STAGES = ("pretrain", "debias", "finetune", "classify")


class StageRecipe(Part):
    """What all stages have.

    batch_size: over all processes and accumulation steps, so that a recipe means the same on any machine.
    gradient_accumulation_steps: parts in which a process works a batch off (1 in pretrain).
    optimizer: "adamw" (or whatever `training.optim` names), or "muon" for the weights of linear layers
    (`trainers/optimizer.py`). augment: how training ECGs are varied: anew in every epoch, or once where they are
    encoded once. early_stopping_patience: after so many validations without a gain of more than
    early_stopping_threshold a stage ends, and the best checkpoint goes on. training: fields of
    `transformers.TrainingArguments`.
    """

    batch_size: Count = 32
    gradient_accumulation_steps: Count = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    augment: AugmentRecipe = Field(default_factory=AugmentRecipe)
    early_stopping_patience: Count | None = None
    early_stopping_threshold: float = 0.0
    training: Training = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _without_keys_of_others(cls, values: Any) -> Any:
        """Run folders of earlier versions have the keys of all kinds in every stage; at their defaults they say
        nothing."""
        if not isinstance(values, dict):
            return values
        there = (
            dict(PretrainStage.model_construct()) | dict(QuestionStage.model_construct()) | {"questions_per_row": 8}
        )
        own = cls.model_fields
        return {key: value for key, value in values.items() if key in own or key not in there or value != there[key]}

    @field_serializer("augment")
    def _brief(self, augment: AugmentRecipe) -> dict[str, Any]:
        return augment.stated()

    def stopping_arguments(self) -> dict[str, Any]:
        """Training arguments that early stopping and keeping the best checkpoint need; the recipe's own come first."""
        if self.early_stopping_patience is None and not self.training.get("load_best_model_at_end"):
            return {}
        settings: dict[str, Any] = {
            "load_best_model_at_end": True,
            "eval_strategy": self.training.get("save_strategy", "steps"),
            # How often in a row nothing was better belongs to what a killed run takes up again.
            "restore_callback_states_from_checkpoint": True,
        }
        if settings["eval_strategy"] == "steps":
            settings["eval_steps"] = self.training.get("save_steps", 200)
        return settings

    def problems(self) -> Iterator[str]:
        yield from problems_of_training(self.training)
        for key in ("optim", "optim_args", "fsdp", "deepspeed"):
            if self.optimizer == "muon" and self.training.get(key):
                why = "it needs whole matrices" if key in ("fsdp", "deepspeed") else "that is for other optimizers"
                yield f"optimizer is muon and training.{key} {self.training[key]}, but {why}; leave one of them out."
        if self.early_stopping_threshold and self.early_stopping_patience is None:
            yield "early_stopping_threshold has no effect without early_stopping_patience; set that, too."
        stopping = self.stopping_arguments()
        if stopping:
            yield from self._problems_of_stopping(stopping | self.training)
        for key, why in ignored_arguments(self.training, validated=bool(stopping)):
            yield f"{key} has no effect {why}."

    def _problems_of_stopping(self, settings: dict[str, Any]) -> Iterator[str]:
        if settings["load_best_model_at_end"] is False:
            yield (
                "early_stopping_patience keeps the best checkpoint, and load_best_model_at_end is false; leave one of "
                "them out."
            )
        evaluated, saved = settings["eval_strategy"], settings.get("save_strategy", "steps")
        # Not only "no": YAML reads an unquoted no as false.
        if evaluated not in ("steps", "epoch") or evaluated != saved:
            yield (
                "the best checkpoint is found among those that are validated, and eval_strategy is "
                f"{evaluated!r} while save_strategy is {saved!r}; set both to steps, or both to epoch."
            )
        every = settings.get("save_steps", 200)
        if saved == "steps" and every % settings["eval_steps"]:
            yield (
                f"save_steps {every} is not a multiple of eval_steps {settings['eval_steps']}, so that the best "
                "checkpoint might not be saved."
            )


class PretrainStage(StageRecipe):
    """Contrastive pre-training of the encoder, which always learns here.

    text: what an ECG is held against: its "report", statements of "findings", or "both". loss: "infonce" or "sigmoid",
    of reports. projection_dim: of the common space. cache_chunk: how many examples of a process are in memory at once,
    whatever the batch (`trainers/gradient_cache.py`). stream: train on ever new simulated records (true, with the
    corpus simulation), or on those of a folder of Parquet files, instead of the corpus' training records.
    reader_spread: of the simulated records of a stream; None: that of the recipe.
    """

    text: Literal["report", "findings", "both"] = "report"
    loss: Literal["infonce", "sigmoid"] = "infonce"
    projection_dim: Count = 256
    cache_chunk: Count | None = None
    stream: bool | str = False
    reader_spread: Share | None = None

    def problems(self) -> Iterator[str]:
        if self.gradient_accumulation_steps != 1:
            yield (
                "gradient_accumulation_steps is not 1: parts of a batch would not see each other's negatives, which "
                "changes the loss. Set cache_chunk to bound the memory, or use more processes."
            )
        if self.cache_chunk is not None and self.training.get("fp16"):
            yield "cache_chunk does not go with fp16, whose losses are scaled; set bf16: true."
        if self.training.get("label_smoothing_factor"):
            yield "training.label_smoothing_factor is for answers' tokens, and pretrain has none; leave it out."
        if self.text == "findings" and self.loss != "infonce":
            yield "loss has no effect with text: findings, which has a loss of its own; set text: report or both."
        if self.stream and self.training.get("max_steps", -1) < 1:
            yield "stream has no end; set training.max_steps."
        if self.reader_spread is not None and self.stream is not True:
            yield (
                f"reader_spread is for a stream of simulated records, and stream is {self.stream!r}; set stream: "
                "true, or leave it out (null); for the corpus the recipe has one."
            )
        yield from super().problems()


class QuestionStage(StageRecipe):
    """Training on questions with answers.

    tune: overrides `language_model.tune`. tune_encoder, tune_projector: whether these learn. cache_encoder: a frozen
    encoder encodes every record once, before the first step, instead of in every step; None: where it is frozen.
    group_by_length: a batch of questions holds prompts of about one length, so that little is padded.
    questions_per_row: above 1, so many questions about the same ECGs share a row of the batch at most, and their ECGs
    are read once (`shared_ecgs.py`), where the language model can do it. questions: arguments of
    `corpora.build_questions`, or {"path": folder of questions with their own splits}. balance: whether they are
    de-biased (`corpora.debias`); None: in the stage debias. match_on: confounders that de-biasing matches, such as
    severity, age and sex. measured: in which share of the training examples what `signals.measure` finds stands beside
    the ECG; above 0 the checkpoint takes it (`ECGProcessor.reads_measured`). measured_alone: in which share of these
    the ECG itself is blank, so that the figures have to be read. validation_limit: on how many questions of the
    validation split, drawn by the recipe's seed, the loss is taken; None: on all. evaluate: how many questions are
    answered at the end, about records of evaluate_split.
    """

    tune: Literal["frozen", "lora", "full"] | None = None
    tune_encoder: bool = False
    tune_projector: bool = True
    cache_encoder: bool | None = None
    group_by_length: bool = True
    questions_per_row: Count = 1
    questions: Questions = Field(default_factory=dict)
    balance: bool | None = None
    match_on: list[str] = Field(default_factory=list)
    measured: Share = 0.0
    measured_alone: Share = 0.0
    validation_limit: Count | None = None
    evaluate: int = Field(200, ge=0)
    evaluate_split: Literal["validation", "test"] = "validation"

    @property
    def is_balanced(self) -> bool:
        """Whether the questions are de-biased."""
        return bool(self.balance)

    def problems(self) -> Iterator[str]:
        yield from problems_of_questions(self.questions)
        if self.match_on and not self.is_balanced:
            yield f"match_on is {self.match_on}, but its questions are not de-biased; set balance: true."
        if self.cache_encoder and self.tune_encoder:
            yield "cache_encoder: true has no effect with tune_encoder: true: only a frozen encoder can be cached."
        if self.measured_alone and not self.measured:
            yield "measured_alone has no effect with measured: 0; set measured, or leave it out."
        if self.evaluate_split != "validation" and not self.evaluate:
            yield "evaluate_split has no effect with evaluate: 0; ask questions, or leave it out."
        metric = (self.training.get("metric_for_best_model") or "loss").removeprefix("eval_")
        if self.stopping_arguments() and metric != "loss":
            yield f"metric_for_best_model is {metric!r}; a stage of questions is validated by loss."
        yield from super().problems()


class DebiasStage(QuestionStage):
    """Training on the de-biased set."""

    @property
    def is_balanced(self) -> bool:
        return self.balance is not False


LabelSet = Literal[
    "findings", "ptbxl-super", "ptbxl-sub", "ptbxl-diagnostic", "ptbxl-form", "ptbxl-rhythm", "ptbxl-all"
]


class ClassifyStage(StageRecipe):
    """A head for labels on the encoder.

    labels: a published label set of PTB-XL, "findings" (all that are frequent enough in the corpus), or names of
    findings. tune_encoder: whether the encoder learns, too, by `training`; else a logistic regression on what it gives
    is all (a linear probe), and no step is taken. evaluate_split: of which records the AUROC is told.
    """

    labels: LabelSet | list[str] = "findings"
    tune_encoder: bool = False
    evaluate_split: Literal["validation", "test"] = "test"

    def problems(self) -> Iterator[str]:
        if not self.tune_encoder:
            own = ("labels", "evaluate_split", "batch_size")
            stated = {key: value for key, value in self.stated().items() if value and key not in own}
            if set(self.training) <= {"use_cpu"}:
                stated.pop("training", None)
            for key in stated:
                yield (
                    f"{key} has no effect on a linear probe, which takes no steps; leave it out, or set tune_encoder: "
                    "true."
                )
        if self.training.get("label_smoothing_factor"):
            yield "training.label_smoothing_factor is for answers, and there are none; leave it out."
        yield from super().problems()


class Stages(TypedDict, total=False):
    """The stages by name, in their order: they build on each other, so the order in a file cannot differ."""

    __pydantic_config__ = STRICT

    pretrain: PretrainStage
    debias: DebiasStage
    finetune: QuestionStage
    classify: ClassifyStage
