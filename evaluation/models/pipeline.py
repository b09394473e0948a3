"""Any pipeline of transformers behind the protocol: ours, models that read pictures, and models that read text.

In: a pipeline, or what one is made of. Out: a `Model`. Decided here: a pipeline of ours is taken apart into its
checkpoint, so that questions share what they have in common; `image-text-to-text` sees each ECG drawn on paper;
`text-generation` reads it in words, among them what was measured, so that its answers are partly ours
(`rewritten_ecgs.as_words`). Both write, greedily, and give no probabilities.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from ...classification_pipeline_ecgllm import ECGClassificationPipeline
from ...errors_ecgllm import CheckpointError, ECGError, MissingExtraError
from ...pipeline_ecgllm import ECGTextToTextPipeline
from ...signals import ECGRecord
from ...weights_ecgllm import tensors_sha256
from ...zero_shot_pipeline_ecgllm import ZeroShotECGClassificationPipeline
from ..protocol import Answer, Asked, Model, ShownECG
from .asked_parts import choice, parts
from .checkpoint import CheckpointModel
from .finding_models import ClassifierModel, DualEncoderModel
from .rewritten_ecgs import IN_WORDS, as_picture, as_words
from .told_apart import identity_of

PICTURES, TEXT = "image-text-to-text", "text-generation"
_WRITTEN = 64  # ECGs whose form is remembered


class PipelineModel:
    """A pipeline that writes about pictures (`image-text-to-text`) or text (`text-generation`).

    Args:
        pipe: the pipeline. name: whose answers these are. batch_size: prompts per call of the model; above 1 the
            tokenizer must pad on the left. max_new_tokens: of an answer. say_choice: name the candidates of a closed
            question behind it. measured: give rate and intervals, as text or on the paper; by default to text alone.
        drawing: options of `signals.plot_ecg`.
    Raises: ECGError for another task, and where pictures cannot be put into a conversation.
    """

    def __init__(
        self,
        pipe: Any,
        name: str | None = None,
        batch_size: int = 1,
        max_new_tokens: int = 256,
        say_choice: bool = True,
        measured: bool | None = None,
        **drawing: Any,
    ):
        if pipe.task not in (PICTURES, TEXT):
            raise ECGError(f"the pipeline's task is {pipe.task!r}; expected {PICTURES!r} or {TEXT!r}, or one of ours")
        holder = pipe.processor if pipe.task == PICTURES else pipe.tokenizer
        self._chats = getattr(holder, "chat_template", None) is not None
        if pipe.task == PICTURES and not self._chats:
            raise ECGError("the pipeline's processor has no chat template, which says where pictures go; set one")
        self.pipe, self.batch_size, self.say_choice = pipe, batch_size, say_choice
        self.name = name or pipe.model.config._name_or_path or pipe.task
        self._written = {"max_new_tokens": max_new_tokens, "do_sample": False}
        self._measured, self._drawing = pipe.task == TEXT if measured is None else measured, drawing

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """What the pipeline writes about each question; a text that it has too few positions for is refused."""
        form = lru_cache(maxsize=_WRITTEN)(lambda shown: self._part(ecgs[shown]))
        answers: list[Answer | None] = [None] * len(asked)
        for numbers in self._batches(asked):
            prompts = {number: self._prompt(asked[number], form) for number in numbers}
            long = {number: reason for number, prompt in prompts.items() if (reason := self._too_long(prompt))}
            for number, reason in long.items():
                answers[number] = Answer(None, refused=reason)
            rest = [number for number in numbers if number not in long]
            texts = self._write([prompts[number] for number in rest]) if rest else []
            for number, text in zip(rest, texts, strict=True):
                answers[number] = Answer(text.strip() or None, refused=None if text.strip() else "it wrote nothing")
        return answers

    @property
    def remark(self) -> str | None:
        """What a report has to say of its answers."""
        return IN_WORDS if self.pipe.task == TEXT else None

    @cached_property
    def identity(self) -> str:
        """Tells its answers from those of other weights or settings."""
        weights = tensors_sha256(sorted(self.pipe.model.state_dict().items()))
        return identity_of([weights, self._written, self.say_choice, self._measured, self._drawing])

    def _batches(self, asked: Sequence[Asked]) -> Iterator[list[int]]:
        """Questions with equally many ECGs, which is what the pipelines put into a batch, those about one together."""
        order = sorted(range(len(asked)), key=lambda number: (len(asked[number].ecgs), asked[number].ecgs))
        for _, alike in groupby(order, key=lambda number: len(asked[number].ecgs)):
            numbers = list(alike)
            yield from (numbers[start : start + self.batch_size] for start in range(0, len(numbers), self.batch_size))

    def _prompt(self, asked: Asked, form: Any) -> Any:
        content = [part if part["type"] == "text" else form(part["ecg"]) for part in parts(asked)]
        if self.say_choice and (words := choice(asked)):
            content.append({"type": "text", "text": f"\n{words}"})
        if self.pipe.task == PICTURES:
            return [{"role": "user", "content": content}]
        text = "".join(part["text"] for part in content)
        return [{"role": "user", "content": text}] if self._chats else f"{text}\n"

    def _too_long(self, prompt: Any) -> str | None:
        """Why a text with its answer does not fit into the model."""
        most = getattr(getattr(self.pipe.model, "config", None), "max_position_embeddings", None)
        if self.pipe.task != TEXT or most is None:
            return None
        tokenizer, more = self.pipe.tokenizer, self._written["max_new_tokens"]
        if self._chats:
            prompt = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        tokens = len(tokenizer(prompt, add_special_tokens=not self._chats)["input_ids"])
        if tokens + more <= most:
            return None
        return f"{tokens} tokens and {more} of an answer are more than the model's {most} positions"

    def _part(self, record: ECGRecord) -> dict[str, Any]:
        if self.pipe.task == TEXT:
            return {"type": "text", "text": as_words(record, self._measured)}
        try:
            from PIL import Image
        except ImportError as error:
            raise MissingExtraError(f"pictures of ECGs need Pillow: pip install 'ecgllm[plot]' ({error})") from error
        picture = as_picture(record, measuring=self._measured, **self._drawing)
        return {"type": "image", "image": Image.open(io.BytesIO(picture)).convert("RGB")}

    def _write(self, prompts: list[Any]) -> list[str]:
        if self.pipe.task == PICTURES:
            given = self.pipe(
                text=prompts, batch_size=len(prompts), return_full_text=False, generate_kwargs=self._written
            )
        else:
            given = self.pipe(prompts, batch_size=len(prompts), return_full_text=False, **self._written)
        return [(one[0] if isinstance(one, list) else one)["generated_text"] for one in given]


def pipeline_model(pipe: Any, name: str | None = None, batch_size: int | None = None, **options: Any) -> Model:
    """The model of a pipeline.

    Args: pipe: `ecg-text-to-text`, `zero-shot-ecg-classification`, `ecg-classification` (ours), `image-text-to-text`
        or `text-generation`. options: of the model that is made of it.
    Raises: ECGError for any other task.
    """
    options |= {key: value for key, value in (("name", name), ("batch_size", batch_size)) if value is not None}
    kind = type(pipe).__name__  # a checkpoint's own code has classes of these names, too
    if kind == ECGTextToTextPipeline.__name__:
        return CheckpointModel(pipe.model, pipe.processor, **options)
    if kind == ZeroShotECGClassificationPipeline.__name__:
        return DualEncoderModel(pipe.model, pipe.processor, **options)
    if kind == ECGClassificationPipeline.__name__:
        return ClassifierModel(pipe.model, pipe.feature_extractor, **options)
    return PipelineModel(pipe, **options)


def load_pipeline(model: str | Path, trust_remote_code: bool = False, **options: Any) -> PipelineModel:
    """A model of transformers that reads pictures or text, from its folder or Hub id.

    Args: options: of `PipelineModel`.
    Raises: CheckpointError where it is neither, or cannot be loaded.
    """
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    try:
        kind = transformers.AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code).model_type
        task = next(
            (
                task
                for task, known in (
                    (PICTURES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
                    (TEXT, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
                )
                if kind in known
            ),
            None,
        )
        if task is None:
            raise CheckpointError(
                f"{model} holds a model of type {kind!r}, of which transformers knows no {PICTURES} or {TEXT}; make "
                "its pipeline or function yourself, and give that"
            )
        pipe = transformers.pipeline(task, model=str(model), trust_remote_code=trust_remote_code)
    except (ECGError, MemoryError):
        raise
    except Exception as error:  # a damaged or incomplete folder fails in as many ways as there are files in it
        raise CheckpointError(f"{model} cannot be loaded: {type(error).__name__}: {error}") from error
    return PipelineModel(pipe, **{"name": str(model)} | options)
