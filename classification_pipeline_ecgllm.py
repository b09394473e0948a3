"""Pipeline: ECGs in, a score for each label of a classifier out (`ecg-classification`).

`pipeline(model=checkpoint, trust_remote_code=True)` gives it, of a classifier's checkpoint. Output: what transformers'
own audio-classification gives, for ECGs. Decided here: a score is what the classifier learned to give, by its
`problem_type`: a probability of its own for each of several labels, one that competes where an ECG has a single
label, and the number itself of a regression.
"""

from typing import Any

import torch

from .errors_ecgllm import ECGError
from .pipeline_base_ecgllm import ECGModelPipeline, check_settings

_FUNCTIONS = {
    "multi_label_classification": "sigmoid",
    "single_label_classification": "softmax",
    "regression": "none",
}


class ECGClassificationPipeline(ECGModelPipeline):
    """Label ECGs.

    Examples:
        pipe("patient.hea")  # [{"score": 0.93, "label": "atrial fibrillation"}, ...], the highest first
        pipe([first, second], batch_size=32, top_k=5)  # a list of them
        pipe(KeyDataset(corpus, "ecg"), batch_size=32)  # an iterator
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if not hasattr(self.model, "classifier"):
            raise ECGError(
                f"The model is a {type(self.model).__name__}, which has no head for labels; expected an "
                "ECGForSequenceClassification. Put a head on an encoder with its from_encoder, and train it."
            )

    def _sanitize_parameters(
        self, top_k: int | None = None, function_to_apply: str | None = None, **ecg_settings: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_settings(ecg_settings, "top_k, function_to_apply")
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise ECGError(f"top_k is {top_k!r}; expected a number of labels from 1 on, or None for all.")
        if function_to_apply not in (None, *_FUNCTIONS.values()):
            expected = ", ".join(map(repr, _FUNCTIONS.values()))
            raise ECGError(f"function_to_apply is {function_to_apply!r}; expected one of {expected}.")
        given = {"top_k": top_k, "function_to_apply": function_to_apply}
        return ecg_settings, {}, {name: value for name, value in given.items() if value is not None}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Label one ECG or many.

        Args:
            inputs: an ECG: whatever `ECGFeatureExtractor` takes (a file's path where `ecgllm` is installed, a record,
                a mapping with signal, sampling_rate and leads, an array with the arguments of these names); or a list,
                generator, data set or column of them.
            top_k: how many labels; None (default), or more than there are, for all.
            function_to_apply: "sigmoid", "softmax" or "none" (logits); by default what the classifier learned by: the
                first for several labels of an ECG, the second for one of several, the third for numbers.
            batch_size: ECGs per call of the model. num_workers: processes that read and prepare ECGs.
            sampling_rate, leads, nan_policy, drop_unknown_leads: for ECGs, see `ECGFeatureExtractor`.
            require_heart: False to label an ECG in which no heart beats, which is refused otherwise.
        Returns: for each ECG a list of {"score", "label"}, the highest score first. A list for a list, an iterator for
            other many.
        Raises: ECGError where the classifier does not say its `problem_type` and function_to_apply is not given;
            ECGInputError as `ECGFeatureExtractor`, and for an ECG that is flat or noise alone; TypeError for an
            unknown argument.
        """
        if not {"function_to_apply"} & {*kwargs, *self._postprocess_params}:
            self._function()
        return super().__call__(inputs, **kwargs)

    def _function(self) -> str:
        stated = self.model.config.problem_type
        if stated not in _FUNCTIONS:
            raise ECGError(
                f"The classifier's problem_type is {stated!r}, as of one that was never trained: whether its labels "
                "exclude each other is not known. Pass function_to_apply='sigmoid', 'softmax' or 'none', or set "
                f"model.config.problem_type to one of {', '.join(_FUNCTIONS)}."
            )
        return _FUNCTIONS[stated]

    def _forward(self, model_inputs: dict[str, list[Any]]) -> dict[str, torch.Tensor]:
        """Label a batch: logits [ecgs, labels]."""
        return {"logits": self.model(**self.feature_extractor(model_inputs["ecgs"]).to(self.device)).logits}

    def postprocess(
        self, model_outputs: dict[str, torch.Tensor], top_k: int | None = None, function_to_apply: str | None = None
    ) -> list[dict[str, Any]]:
        scores, function = model_outputs["logits"][0].float(), function_to_apply or self._function()
        if function != "none":
            scores = scores.sigmoid() if function == "sigmoid" else scores.softmax(dim=-1)
        best = scores.topk(min(top_k or len(scores), len(scores)))
        names = self.model.config.id2label
        return [
            {"score": score, "label": names[number]}
            for score, number in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


__all__ = ["ECGClassificationPipeline"]
