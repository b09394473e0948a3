"""Checkpoints that know findings and no questions: a dual encoder and a classifier.

In: `Asked` with a `finding`. Out: P(yes), and a refusal of every other question. Decided here: the words of a question
are not read, since such a model has no use for them; only one about a single ECG, and about whether it shows a
finding, is answered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...classification_ecgllm import ECGForSequenceClassification
from ...dual_encoder_ecgllm import ECGTextDualEncoder
from ...dual_encoder_processing_ecgllm import ECGTextDualEncoderProcessor
from ...errors_ecgllm import CheckpointError, ECGError
from ...feature_extraction_ecgllm import ECGFeatureExtractor
from ...processor_parts_ecgllm import check_fits
from ...signals import ECGRecord
from ...trained_words_ecgllm import HYPOTHESIS_TEMPLATE
from ..protocol import Answer, Asked, ShownECG
from .encoded_ecgs import EncodedECG, EncodedECGs, why_refused
from .weights import WithWeights

_AT_ONCE = 1024  # questions whose ECGs are in memory together
NEGATIVE_TEMPLATE = "ECG without {}"


class FindingModel(WithWeights, ABC):
    """What answers only whether one ECG shows a finding.

    Args: model: where it shall run. extractor: its signal path. batch_size: ECGs per call of the model. name: whose
        answers these are. ecg_settings: nan_policy, drop_unknown_leads; see `ECGFeatureExtractor.prepare`.
    """

    kind: str
    """What it is called where it refuses."""

    def __init__(
        self, model: Any, extractor: ECGFeatureExtractor, batch_size: int = 32, name: str = "", **ecg_settings: Any
    ):
        if batch_size < 1:
            raise ECGError(f"batch_size is {batch_size}; expected at least 1")
        check_fits(extractor, model.config.encoder_config)
        self.model, self.extractor, self.batch_size = model.eval(), extractor, batch_size
        self.name = name or self.kind
        self._encoded = EncodedECGs(extractor, self._encode, **ecg_settings)

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """ "yes" or "no" with the probabilities of both, where a question is about a finding that is known."""
        answers = [Answer(None, refused=self._why_not(question)) for question in asked]
        usable = [number for number, answer in enumerate(answers) if answer.refused is None]
        usable.sort(key=lambda number: asked[number].ecgs)  # questions about an ECG together
        for start in range(0, len(usable), _AT_ONCE):
            numbers = usable[start : start + _AT_ONCE]
            encoded = self._encoded.of((asked[number].ecgs[0] for number in numbers), ecgs)
            for number in numbers:
                answers[number] = self._answered(asked[number].finding, encoded[asked[number].ecgs[0]])
        return answers

    def _answered(self, finding: str, ecg: EncodedECG) -> Answer:
        refused = why_refused([ecg])
        if ecg.value is None:
            return Answer(None, refused=refused)
        yes = self._p_yes(finding, ecg.value)
        return Answer("yes" if yes > 0.5 else "no", {"yes": yes, "no": 1 - yes}, max(yes, 1 - yes), refused)

    def _why_not(self, asked: Asked) -> str | None:
        if asked.finding is None:
            return f"{self.kind} knows findings and no questions; this question is not whether an ECG shows a finding"
        if len(asked.ecgs) != 1:
            return f"{self.kind} sees one ECG at a time; {len(asked.ecgs)} are shown"
        return None

    @torch.no_grad()
    def _encode(self, prepared: list[Mapping[str, Any]]) -> list[np.ndarray]:
        found: list[Any] = [None] * len(prepared)
        order = sorted(range(len(prepared)), key=lambda number: prepared[number]["ecg_values"].shape[1])
        for start in range(0, len(order), self.batch_size):
            numbers = order[start : start + self.batch_size]
            features = self.extractor([prepared[number] for number in numbers]).to(self.model.device)
            for number, one in zip(numbers, self._seen(features), strict=True):
                found[number] = one.float().cpu().numpy()
        return found

    @abstractmethod
    def _seen(self, features: Any) -> torch.Tensor:
        """What the model makes of a batch of ECGs, [ecgs, size]."""

    @abstractmethod
    def _p_yes(self, finding: str, seen: np.ndarray) -> float:
        """How likely a finding is."""


class DualEncoderModel(FindingModel):
    """A dual encoder: an ECG is held against a sentence of the finding.

    P(yes) is what the zero-shot pipeline gives: of the sigmoid loss the finding's own probability. After InfoNCE,
    whose logits mean something only beside others, that of the sentence beside its negation, as CheXzero does (Tiu et
    al. 2022, doi 10.1038/s41551-022-00936-9).

    Args: processor: the dual encoder's. template, negative: with {} where the finding goes. The rest: see
        `FindingModel`.
    """

    kind = "a dual encoder"

    def __init__(
        self,
        model: ECGTextDualEncoder,
        processor: ECGTextDualEncoderProcessor,
        batch_size: int = 32,
        name: str = "",
        template: str = HYPOTHESIS_TEMPLATE,
        negative: str = NEGATIVE_TEMPLATE,
        **ecg_settings: Any,
    ):
        super().__init__(model, processor.feature_extractor, batch_size, name, **ecg_settings)
        self.processor, self.template, self.negative = processor, template, negative
        self._text = lru_cache(maxsize=4096)(self._text_embeds)

    @classmethod
    def from_pretrained(cls, folder: str | Path, trust_remote_code: bool = False, **settings: Any) -> DualEncoderModel:
        """Of a checkpoint. Raises: CheckpointError where it cannot be loaded."""
        model = _loaded(ECGTextDualEncoder, folder, trust_remote_code)
        return cls(model, _loaded(ECGTextDualEncoderProcessor, folder, trust_remote_code), **settings)

    @torch.no_grad()
    def _text_embeds(self, text: str) -> torch.Tensor:
        return self.model.get_text_embeds(**self.processor(text=[text]).to(self.model.device))

    def _seen(self, features: Any) -> torch.Tensor:
        return self.model.get_ecg_embeds(**features)

    @torch.no_grad()
    def _p_yes(self, finding: str, seen: np.ndarray) -> float:
        templates = (self.template,) if self.model.config.loss_type == "sigmoid" else (self.template, self.negative)
        texts = torch.cat([self._text(template.replace("{}", finding)) for template in templates])
        ecg = torch.from_numpy(seen)[None].to(texts)
        logits = self.model.logits(ecg, texts)[0].float()
        return float(logits[0].sigmoid() if len(templates) == 1 else logits.softmax(dim=0)[0])


class ClassifierModel(FindingModel):
    """A classifier whose labels are findings, in any case; P(yes) is its score of the label."""

    kind = "a classifier"

    def __init__(self, model: ECGForSequenceClassification, extractor: ECGFeatureExtractor, *args: Any, **kwargs: Any):
        super().__init__(model, extractor, *args, **kwargs)
        self.problem_type = model.config.problem_type
        if self.problem_type not in ("multi_label_classification", "single_label_classification"):
            raise CheckpointError(
                f"the classifier's problem_type is {self.problem_type!r}, whose scores are no probabilities of "
                "labels; expected multi_label_classification or single_label_classification"
            )
        self._number = {name.strip().lower(): number for number, name in model.config.id2label.items()}

    @classmethod
    def from_pretrained(cls, folder: str | Path, trust_remote_code: bool = False, **settings: Any) -> ClassifierModel:
        """Of a checkpoint. Raises: CheckpointError where it cannot be loaded, and of a regression."""
        model = _loaded(ECGForSequenceClassification, folder, trust_remote_code)
        return cls(model, _loaded(ECGFeatureExtractor, folder, trust_remote_code), **settings)

    def _why_not(self, asked: Asked) -> str | None:
        unknown = asked.finding is not None and asked.finding.lower() not in self._number
        return f"this classifier has no label {asked.finding!r}" if unknown else super()._why_not(asked)

    def _seen(self, features: Any) -> torch.Tensor:
        logits = self.model(**features).logits
        return logits.sigmoid() if self.problem_type.startswith("multi") else logits.softmax(dim=-1)

    def _p_yes(self, finding: str, seen: np.ndarray) -> float:
        return float(seen[self._number[finding.lower()]])


def _loaded(kind: Any, folder: str | Path, trust_remote_code: bool) -> Any:
    try:
        return kind.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (ECGError, MemoryError):
        raise
    except Exception as error:  # a damaged or incomplete folder fails in as many ways as there are files in it
        raise CheckpointError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error
