"""Pipeline: ECGs and labels in words in, a score for each label out (`zero-shot-ecg-classification`).

`pipeline("zero-shot-ecg-classification", model=checkpoint, trust_remote_code=True)` gives it, of a dual encoder's
checkpoint. Decided here: scores follow from the loss that the dual encoder learned by. After InfoNCE they are a
softmax over the labels, which compete (arXiv 2103.00020); after the sigmoid loss each label has a probability of its
own (arXiv 2303.15343).
"""

from collections.abc import Sequence
from typing import Any

import torch

from .errors_ecgllm import ECGError
from .pipeline_base_ecgllm import ECGPipeline, check_settings, one_or_many, prepare_one
from .trained_words_ecgllm import HYPOTHESIS_TEMPLATE


class ZeroShotECGClassificationPipeline(ECGPipeline):
    """Score ECGs against labels in words.

    Examples:
        pipe("patient.hea", candidate_labels=["atrial fibrillation", "sinus rhythm"])
        pipe([first, second], candidate_labels=[...], batch_size=32)
        pipe(ecg, candidate_labels=["Vorhofflimmern", "Sinusrhythmus"], hypothesis_template="EKG mit {}")
    """

    _load_processor = True
    _load_feature_extractor = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ECGError("The pipeline has no processor; pass processor=, or the folder or Hub id of a checkpoint.")
        self.processor.check_model(self.model)
        self._held: tuple[list[str], torch.Tensor] | None = None

    def _sanitize_parameters(
        self,
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str | None = None,
        **ecg_settings: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_settings(ecg_settings, "candidate_labels, hypothesis_template")
        forward: dict[str, Any] = {}
        if candidate_labels is not None:
            forward["candidate_labels"] = _checked_labels(candidate_labels)
        if hypothesis_template is not None:
            forward["hypothesis_template"] = _checked_template(hypothesis_template)
        return ecg_settings, forward, {}

    def __call__(self, inputs: Any, candidate_labels: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """Score one ECG or many.

        Args:
            inputs: an ECG: whatever `ECGFeatureExtractor` takes; or a list, generator, data set or column of them.
            candidate_labels: labels in words. hypothesis_template: a text with {} where a label goes; "{}" where the
                labels are whole texts. Both may also be given to `pipeline`, for all calls.
            batch_size: ECGs per call of the model. num_workers: processes that read and prepare ECGs.
            sampling_rate, leads, nan_policy, drop_unknown_leads: for ECGs, see `ECGFeatureExtractor`.
            require_heart: False to score an ECG in which no heart beats, which is refused otherwise.
        Returns: for each ECG a list of {"score", "label"}, the highest score first. A list for a list, an iterator for
            other many.
        Raises: ECGError for no labels, and for a template without a place for them; ECGInputError as
            `ECGFeatureExtractor`, and for an ECG that is flat or noise alone.
        """
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        elif "candidate_labels" not in self._forward_params:
            raise ECGError("candidate_labels is missing; expected a list of labels in words.")
        inputs = one_or_many(inputs)
        self._held = None  # the weights may be others than in the last call
        return [] if isinstance(inputs, list) and not inputs else super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any, **settings: Any) -> dict[str, list[Any]]:
        return {"ecgs": [prepare_one(self.processor.feature_extractor, inputs, **settings)]}

    def _forward(
        self,
        model_inputs: dict[str, list[Any]],
        candidate_labels: list[str],
        hypothesis_template: str = HYPOTHESIS_TEMPLATE,
    ) -> dict[str, Any]:
        """Score a batch: scores [ecgs, labels]."""
        texts = [hypothesis_template.replace("{}", label) for label in candidate_labels]
        if self._held is None or self._held[0] != texts:  # the same for all ECGs of a call
            self._held = texts, self.model.get_text_embeds(**self.processor(text=texts).to(self.device))
        ecgs = self.model.get_ecg_embeds(**self.processor.feature_extractor(model_inputs["ecgs"]).to(self.device))
        logits = self.model.logits(ecgs, self._held[1]).float()
        sigmoid = self.model.config.loss_type == "sigmoid"
        scores = logits.sigmoid() if sigmoid else logits.softmax(dim=-1)
        return {"scores": scores, "candidate_labels": [candidate_labels] * len(scores)}

    def postprocess(self, model_outputs: dict[str, Any]) -> list[dict[str, Any]]:
        labels, scores = model_outputs["candidate_labels"], model_outputs["scores"][0].tolist()
        # transformers takes a batch apart, and leaves a list of one as it is only where the batch was one.
        labels = labels[0] if isinstance(labels[0], list) else labels
        ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0])
        return [{"score": score, "label": label} for score, label in ranked]


def _checked_labels(labels: Sequence[str]) -> list[str]:
    if (
        isinstance(labels, str)
        or not labels
        or any(not isinstance(label, str) or not label.strip() for label in labels)
    ):
        raise ECGError(f"candidate_labels is {labels!r}; expected a list of one or more labels in words.")
    if len(set(labels)) < len(labels):
        raise ECGError(f"candidate_labels are {list(labels)}; expected different labels.")
    return list(labels)


def _checked_template(template: str) -> str:
    if not isinstance(template, str) or template.count("{}") != 1:
        raise ECGError(f"hypothesis_template is {template!r}; expected a text with one {{}}, where the label goes.")
    return template


__all__ = ["ZeroShotECGClassificationPipeline"]
