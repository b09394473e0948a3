"""A checkpoint of ours behind the protocol: an ECG language model, a dual encoder or a classifier.

In: a folder or Hub id, or model and processor. Out: a `Model`. Decided here: a closed question is answered by
comparing its candidates, an open one by the likeliest words; an ECG that the tool refuses (no heart in it, broken
amplitudes) is refused here, too, and what the model would have said is given beside the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig

from ...asking import check_checkpoint, load_answerer
from ...configuration_base_ecgllm import count_tokens
from ...errors_ecgllm import CheckpointError, ECGError
from ...processing_ecgllm import ECGProcessor
from ...scoring_ecgllm import encode_answers, score_answers, write_answers
from ...signals import ECGRecord
from ..protocol import Answer, Asked, Model, ShownECG
from .asked_parts import parts
from .encoded_ecgs import EncodedECG, EncodedECGs, why_refused

_AT_ONCE = 1024  # questions whose tokens and ECGs are in memory together
LANGUAGE_MODEL, DUAL_ENCODER, CLASSIFIER = KINDS = ("ecgllm", "ecgllm_dual_encoder", "ecgllm_classifier")


class CheckpointModel:
    """An ECG language model.

    Args:
        model: an `ECGLLMForConditionalGeneration`, where it shall run. processor: its processor. batch_size: prompts
            per call of the model. name: whose answers these are. ecg_settings: nan_policy, drop_unknown_leads; see
            `ECGFeatureExtractor.prepare`.
    """

    def __init__(
        self, model: Any, processor: ECGProcessor, batch_size: int = 32, name: str = "checkpoint", **ecg_settings: Any
    ):
        if batch_size < 1:
            raise ECGError(f"batch_size is {batch_size}; expected at least 1")
        processor.check_model(model)
        self.model, self.processor, self.batch_size, self.name = model.eval(), processor, batch_size, name
        if processor.max_positions is None:  # saved before processors knew
            processor.max_positions = model.config.max_positions
        self._encoded = EncodedECGs(processor.feature_extractor, self._encode, **ecg_settings)

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """One answer to each question: of candidates the likeliest with the probabilities of all, else what is
        written, and how likely it is."""
        answers: list[Answer | None] = [None] * len(asked)
        order = sorted(range(len(asked)), key=lambda number: asked[number].ecgs)  # questions about an ECG together
        for start in range(0, len(order), _AT_ONCE):
            numbers = order[start : start + _AT_ONCE]
            encoded = self._encoded.of((shown for number in numbers for shown in asked[number].ecgs), ecgs)
            for number, answer in self._answered({number: asked[number] for number in numbers}, encoded):
                answers[number] = answer
        return answers

    def _answered(self, asked: dict[int, Asked], encoded: dict[ShownECG, EncodedECG]) -> list[tuple[int, Answer]]:
        found, kinds = [], defaultdict(list)
        for number, question in asked.items():
            own = [encoded[shown] for shown in question.ecgs]
            refused = why_refused(own)
            if any(ecg.value is None for ecg in own):
                found.append((number, Answer(None, refused=refused)))
                continue
            rows = self._rows(question, [ecg.value["ecg_length"] for ecg in own])
            tokens = max(len(row["input_ids"]) for row in rows)
            try:
                self.processor.check_length(tokens, of_answer=0 if question.candidates else 1)
            except ValueError as error:  # an ECGError, maybe of the checkpoint's own code
                found.append((number, Answer(None, refused=str(error))))
                continue
            kind = len(question.candidates or ())  # the scorer takes equally many answers at once
            kinds[kind].append((tokens, number, rows, [ecg.value for ecg in own], refused))
        for kind, waiting in kinds.items():
            waiting.sort(key=lambda one: one[:2])  # of about one length together
            for start in range(0, len(waiting), size := max(1, self.batch_size // max(kind, 1))):
                _, numbers, rows, own, refused = zip(*waiting[start : start + size], strict=True)
                given = self._score(asked, numbers, rows, own) if kind else self._write(rows, own)
                found += [
                    (number, Answer(*answer, refused=why))
                    for number, answer, why in zip(numbers, given, refused, strict=True)
                ]
        return found

    def _rows(self, asked: Asked, lengths: list[int]) -> list[dict[str, list[int]]]:
        """Tokens of a question, followed by each of its candidates if it has some."""
        conversation = [{"role": "user", "content": parts(asked)}]
        if asked.candidates:
            return encode_answers(self.processor, conversation, lengths, asked.candidates)
        return [self.processor.encode_conversation(conversation, lengths, add_generation_prompt=True)]

    def _score(
        self, asked: dict[int, Asked], numbers: Sequence[int], rows: Any, ecgs: Any
    ) -> list[tuple[str, dict[str, float], float]]:
        logs = score_answers(self.model, self.processor, rows, ecgs).double()
        given = []
        for number, log in zip(numbers, logs, strict=True):
            candidates, best = asked[number].candidates, int(log.argmax())
            scores = dict(zip(candidates, log.softmax(dim=0).tolist(), strict=True))
            given.append((candidates[best], scores, float(log[best].exp())))
        return given

    def _write(self, rows: Any, ecgs: Any) -> list[tuple[str, None, float]]:
        tokens, logs = write_answers(self.model, self.processor, [row for (row,) in rows], ecgs)
        texts = self.processor.batch_decode(tokens[:, 0], skip_special_tokens=True)
        return [(text.strip(), None, float(log.double().exp())) for text, log in zip(texts, logs[:, 0], strict=True)]

    @torch.no_grad()
    def _encode(self, prepared: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        extractor, patch = self.processor.feature_extractor, self.model.config.encoder_config.patch_size
        encoded: list[Any] = [None] * len(prepared)
        order = sorted(range(len(prepared)), key=lambda number: prepared[number]["ecg_values"].shape[1])
        for start in range(0, len(order), self.batch_size):
            numbers = order[start : start + self.batch_size]
            features = extractor([prepared[number] for number in numbers]).to(self.model.device)
            output = self.model.get_ecg_features(**{name: value[:, None] for name, value in features.items()})
            patches = output.last_hidden_state.float().cpu().numpy()
            for number, own, length in zip(numbers, patches, features["ecg_lengths"].tolist(), strict=True):
                encoded[number] = {
                    "ecg_embeds": own[: count_tokens(length, patch)],
                    "ecg_length": length,
                    "preprocessing_id": extractor.preprocessing_id,
                }
        return encoded


def load_checkpoint(
    model: str | Path,
    trust_remote_code: bool = False,
    language_model: str | None = None,
    batch_size: int = 32,
    nan_policy: str | None = None,
    drop_unknown_leads: bool = False,
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
        return CheckpointModel(answerer.model, answerer.processor, batch_size, name, **ecg_settings)
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
