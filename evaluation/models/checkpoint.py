"""A checkpoint of ours behind the protocol: an ECG language model, a dual encoder or a classifier.

In: a folder or Hub id, or model and processor. Out: a `Model`. Decided here: a closed question is answered by
comparing its candidates, and with them the refusal of a model that learned one; an open one by the likeliest words; an
ECG that the tool refuses (no heart in it, broken amplitudes) is refused here, too, and what the model would have said
is given beside the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PretrainedConfig

from ...asking import check_checkpoint, load_answerer
from ...errors_ecgllm import CheckpointError, ECGError
from ...findings.question_scope import why_not_answered
from ...prefix_scoring_ecgllm import AnswerScorer
from ...processing_ecgllm import ECGProcessor
from ...scoring_ecgllm import encode_answers, write_answers
from ...signals import ECGRecord
from ..protocol import Answer, Asked, Model, ShownECG
from .asked_parts import parts
from .encoded_ecgs import EncodedECGs, why_refused
from .weights import WithWeights

_AT_ONCE = 1024  # questions whose tokens and ECGs are in memory together
LANGUAGE_MODEL, DUAL_ENCODER, CLASSIFIER = KINDS = ("ecgllm", "ecgllm_dual_encoder", "ecgllm_classifier")


class CheckpointModel(WithWeights):
    """An ECG language model.

    Args:
        model: an `ECGLLMForConditionalGeneration`, where it shall run. processor: its processor. batch_size: prompts
            per call of the model. name: whose answers these are. check_questions: whether what `ecgllm ask` would not
            ask is refused here, too, beside what the model says of it. ecg_settings: nan_policy, drop_unknown_leads;
            see `ECGFeatureExtractor.prepare`.
    """

    def __init__(
        self,
        model: Any,
        processor: ECGProcessor,
        batch_size: int = 64,
        name: str = "checkpoint",
        check_questions: bool = False,
        **ecg_settings: Any,
    ):
        if batch_size < 1:
            raise ECGError(f"batch_size is {batch_size}; expected at least 1")
        processor.check_model(model)
        self.model, self.processor, self.batch_size, self.name = model.eval(), processor, batch_size, name
        self.check_questions = check_questions
        if processor.max_positions is None:  # saved before processors knew
            processor.max_positions = model.config.max_positions
        self._scorer = AnswerScorer(model, processor, batch_size)
        self._encoded = EncodedECGs(
            processor.feature_extractor, self._scorer.encode, measuring=processor.reads_measured, **ecg_settings
        )

    @cached_property
    def identity(self) -> str:
        """As of the weights, and apart where questions are checked."""
        return super().identity + ("-checked" if self.check_questions else "")

    @property
    def reads_measured(self) -> bool:
        """Whether it is told what is measured on the ECGs that it is shown."""
        return self.processor.reads_measured

    @property
    def remark(self) -> str | None:
        """What a report opens with, of a model that is told more than the signal."""
        if not self.reads_measured:
            return None
        return (
            "The model is told what is measured on every ECG that it is shown (rate, intervals, axis), as ecgllm ask "
            "tells it: what it gains over another ECG may come from these numbers, too. How much does stands under "
            "reliance."
        )

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """One answer to each question: of candidates the likeliest with the probabilities of all, else what is
        written, and how likely it is."""
        answers: list[Answer | None] = [None] * len(asked)
        order = sorted(range(len(asked)), key=lambda number: asked[number].ecgs)  # questions about an ECG together
        for start in range(0, len(order), _AT_ONCE):
            part = {number: asked[number] for number in order[start : start + _AT_ONCE]}
            encoded = self._encoded.of((shown for one in part.values() for shown in one.ecgs), ecgs)
            waiting: dict[tuple[bool, bool], dict[int, _Shown]] = defaultdict(dict)
            for number, one in part.items():
                own = [encoded[shown] for shown in one.ecgs]
                reason = why_refused(own)
                if reason is None and self.check_questions:
                    reason = why_not_answered(one.question, len(one.ecgs))
                answers[number] = Answer(None, refused=reason)
                if all(ecg.value is not None for ecg in own):
                    shown = _Shown(one, [ecg.value for ecg in own], answers[number].refused)
                    waiting[bool(one.candidates), one.prompt is not None][number] = shown
            for (closed, in_prompt), shown in waiting.items():
                asking = {
                    (True, False): self._score,
                    (True, True): self._score_prompts,
                    (False, False): self._write,
                    (False, True): self._write_prompts,
                }[closed, in_prompt]
                for number, answer in self._where_it_fits(asking, shown).items():
                    answers[number] = answer
        return answers

    def _where_it_fits(
        self, asking: Callable[[list[_Shown]], list[Answer]], shown: dict[int, _Shown]
    ) -> dict[int, Answer]:
        """The answers, with a refusal of each question that the model has too few positions for."""
        try:
            return dict(zip(shown, asking(list(shown.values())), strict=True))
        except ValueError:
            long = {number: reason for number, one in shown.items() if (reason := self._too_long(one))}
            if not long:
                raise
        rest = {number: one for number, one in shown.items() if number not in long}
        answers = {number: Answer(None, refused=reason) for number, reason in long.items()}
        return answers | (self._where_it_fits(asking, rest) if rest else {})

    def _too_long(self, shown: _Shown) -> str | None:
        tokens = max(len(row["input_ids"]) for row in self._rows(shown))
        try:
            self.processor.check_length(tokens, of_answer=0 if shown.asked.candidates else 1)
        except ValueError as error:  # an ECGError, maybe of the checkpoint's own code
            return str(error)
        return None

    def _score(self, shown: list[_Shown]) -> list[Answer]:
        questions, candidates = [one.asked.question for one in shown], [one.asked.candidates for one in shown]
        ecgs, refusal = [one.ecgs for one in shown], self.processor.refusal
        return _compared(shown, self._scorer.score(questions, ecgs, candidates, refusal), refusal)

    def _score_prompts(self, shown: list[_Shown]) -> list[Answer]:
        rows = [self._rows(one) for one in shown]
        return _compared(shown, self._scorer.score_rows(rows, [one.ecgs for one in shown]), self.processor.refusal)

    def _write(self, shown: list[_Shown]) -> list[Answer]:
        texts, logs = self._scorer.write([one.asked.question for one in shown], [one.ecgs for one in shown])
        return _written(shown, texts, logs)

    def _write_prompts(self, shown: list[_Shown]) -> list[Answer]:
        answers = []
        for start in range(0, len(shown), self.batch_size):
            batch = shown[start : start + self.batch_size]
            rows = [row for one in batch for row in self._rows(one)]
            tokens, logs = write_answers(self.model, self.processor, rows, [one.ecgs for one in batch])
            answers += _written(batch, self.processor.batch_decode(tokens[:, 0], skip_special_tokens=True), logs[:, 0])
        return answers

    def _rows(self, shown: _Shown) -> list[dict[str, list[int]]]:
        """Tokens of a question, followed by each of its candidates if it has some."""
        measured = iter(ecg.get("measured") for ecg in shown.ecgs)
        content = [
            part if part["type"] == "text" else part | {"measured": next(measured)} for part in parts(shown.asked)
        ]
        conversation = [{"role": "user", "content": content}]
        lengths = [ecg["ecg_length"] for ecg in shown.ecgs]
        if shown.asked.candidates:
            return encode_answers(
                self.processor, conversation, lengths, shown.asked.candidates, self.processor.refusal
            )
        return [self.processor.encode_conversation(conversation, lengths, add_generation_prompt=True)]


class _Shown(NamedTuple):
    """A question with its ECGs, encoded, and why the tool would not take them."""

    asked: Asked
    ecgs: list[Mapping[str, Any]]
    refused: str | None


def _compared(shown: Sequence[_Shown], logs: Sequence[torch.Tensor], refusal: str | None) -> list[Answer]:
    """The likeliest candidate, or the refusal where that is likelier than each; scores are of the candidates alone."""
    answers = []
    for one, log in zip(shown, logs, strict=True):
        candidates, log = one.asked.candidates, log.double()
        said = candidates if refusal is None else (*candidates, refusal)
        best, shares = int(log.argmax()), log[: len(candidates)].softmax(dim=0).tolist()
        scores = dict(zip(candidates, shares, strict=True))
        answers.append(Answer(said[best], scores, float(log[best].exp()), one.refused))
    return answers


def _written(shown: Sequence[_Shown], texts: Sequence[str], logs: torch.Tensor) -> list[Answer]:
    likely = logs.double().exp().tolist()
    return [
        Answer(text.strip(), None, share, one.refused) for one, text, share in zip(shown, texts, likely, strict=True)
    ]


def load_checkpoint(
    model: str | Path,
    trust_remote_code: bool = False,
    language_model: str | None = None,
    batch_size: int = 64,
    nan_policy: str | None = None,
    drop_unknown_leads: bool = False,
    check_questions: bool = False,
) -> Model:
    """A checkpoint as a model that is evaluated.

    Args:
        model: a folder, or a Hub id where its code is trusted: of an ECG language model, a dual encoder or a
            classifier. trust_remote_code, language_model: see `asking.load_answerer`. The rest: see
            `CheckpointModel`.
    Raises: CheckpointError as `asking.check_checkpoint`, and where it cannot be loaded.
    """
    check_checkpoint(model, trust_remote_code, kinds=KINDS)
    ecg_settings = {"nan_policy": nan_policy, "drop_unknown_leads": drop_unknown_leads}
    name = Path(model).resolve().name if Path(model).is_dir() else str(model)
    kind = _kind(model)
    if kind == LANGUAGE_MODEL:
        answerer = load_answerer(model, trust_remote_code, language_model)
        return CheckpointModel(answerer.model, answerer.processor, batch_size, name, check_questions, **ecg_settings)
    if check_questions:
        raise CheckpointError(f"{model} is of type {kind!r}, which knows no questions; leave check_questions out")
    if language_model is not None:
        raise CheckpointError(f"{model} is of type {kind!r}, which has no language model; leave language_model out")
    from .finding_models import ClassifierModel, DualEncoderModel

    loaded = {DUAL_ENCODER: DualEncoderModel, CLASSIFIER: ClassifierModel}[kind]
    return loaded.from_pretrained(model, trust_remote_code, batch_size=batch_size, name=name, **ecg_settings)


def _kind(model: str | Path) -> str:
    try:
        kind = PretrainedConfig.get_config_dict(str(model))[0].get("model_type")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{model} cannot be loaded: {error}") from error
    if kind not in KINDS:
        raise CheckpointError(f"{model} holds a model of type {kind!r}; expected {' or '.join(map(repr, KINDS))}")
    return kind
