"""Texts and ECGs to the inputs of a dual encoder (`ECGTextDualEncoderProcessor`).

In: texts, ECGs, or both. Out: token ids and what the feature extractor makes of the ECGs, side by side: a dual encoder
compares each ECG with each text, so that they need not be equally many. Decided here: a text that is too long is
refused unless it may be cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature
from transformers.configuration_utils import PreTrainedConfig

from .errors_ecgllm import ECGError, shorten
from .feature_extraction_ecgllm import ECGFeatureExtractor
from .processor_parts_ecgllm import ECGProcessorParts, check_fits, feature_extractor_for

_MOST_TEXT_TOKENS = 512


class ECGTextDualEncoderProcessor(ECGProcessorParts):
    """Texts and ECGs to model inputs: feature extractor + the text encoder's tokenizer.

    Args:
        feature_extractor: the signal path. tokenizer: the text encoder's.
        max_text_length: tokens of a text at most, which the text encoder has positions for.
    """

    _code_module = "dual_encoder_processing_ecgllm"

    def __init__(
        self,
        feature_extractor: ECGFeatureExtractor | None = None,
        tokenizer: Any = None,
        max_text_length: int = _MOST_TEXT_TOKENS,
    ):
        if feature_extractor is None or tokenizer is None:
            raise ECGError(
                "ECGTextDualEncoderProcessor needs a feature_extractor and a tokenizer; at least one of them is None."
            )
        self.max_text_length = max_text_length
        super().__init__(feature_extractor, tokenizer)

    @classmethod
    def for_model(
        cls, model: Any, tokenizer: Any, feature_extractor: ECGFeatureExtractor | None = None
    ) -> ECGTextDualEncoderProcessor:
        """The processor that fits a dual encoder (or its configuration) and the tokenizer of its text encoder.

        Raises: ECGError when the preprocessing is unknown and none is given, or does not fit the model.
        """
        config: PreTrainedConfig = getattr(model, "config", model)
        if feature_extractor is None:
            feature_extractor = feature_extractor_for(config.encoder_config)
        positions = getattr(config.text_config, "max_position_embeddings", None) or _MOST_TEXT_TOKENS
        processor = cls(feature_extractor, tokenizer, max_text_length=min(positions, _MOST_TEXT_TOKENS))
        processor.check_model(config)
        return processor

    @property
    def model_input_names(self) -> list[str]:
        names = [*self.tokenizer.model_input_names, *self.feature_extractor.model_input_names, "preprocessing_id"]
        return list(dict.fromkeys(name for name in names if name != "token_type_ids"))

    def check_model(self, model: Any) -> None:
        """Check that a dual encoder (or its configuration) was trained on the input that this processor makes.

        Raises: ECGError for another kind of model, and naming the first difference in leads or preprocessing.
        """
        config = getattr(model, "config", model)
        if not hasattr(config, "encoder_config") or not hasattr(config, "projection_dim"):
            raise ECGError(
                f"The model is a {type(model).__name__}, which has no ECG and text encoder in one space; expected an "
                "ECGTextDualEncoder or its configuration."
            )
        check_fits(self.feature_extractor, config.encoder_config)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        ecgs: Any = None,
        *,
        truncation: bool = False,
        return_tensors: str | None = "pt",
        **ecg_settings: Any,
    ) -> BatchFeature:
        """Prepare texts, ECGs, or both.

        Args:
            text: one text or several. ecgs: one ECG or a list of them, as `ECGFeatureExtractor` takes them.
            truncation: True cuts texts off after max_text_length tokens, as training does with reports.
            ecg_settings: sampling_rate, leads, nan_policy, drop_unknown_leads, require_heart; see
                `ECGFeatureExtractor`.
        Returns: input_ids and attention_mask [texts, tokens]; ecg_values [ecgs, leads, samples], lead_mask [ecgs,
            leads], ecg_lengths [ecgs] and preprocessing_id [ecgs].
        Raises: ECGError for neither texts nor ECGs, and for a text that is too long; ECGInputError as
            `ECGFeatureExtractor`.
        """
        if text is None and ecgs is None:
            raise ECGError("Both text and ecgs are missing; pass one of them or both.")
        inputs: dict[str, Any] = {}
        if text is not None:
            inputs |= self._encode([text] if isinstance(text, str) else list(text), truncation, return_tensors)
        if ecgs is not None:
            inputs |= self.feature_extractor(ecgs, return_tensors=return_tensors, **ecg_settings)
            ids = torch.full((len(inputs["ecg_lengths"]),), self.feature_extractor.preprocessing_id)
            inputs["preprocessing_id"] = ids if return_tensors == "pt" else ids.numpy()
        return BatchFeature(inputs)

    def _encode(self, texts: list[str], truncation: bool, return_tensors: str | None) -> dict[str, Any]:
        if not texts or any(not isinstance(text, str) for text in texts):
            raise ECGError(f"text is {shorten(repr(texts))}; expected one or more texts.")
        if not truncation:
            for text, ids in zip(texts, self.tokenizer(texts, verbose=False)["input_ids"], strict=True):
                if len(ids) > self.max_text_length:
                    raise ECGError(
                        f"A text has {len(ids)} tokens ({shorten(text)!r}); this model takes {self.max_text_length}. "
                        "Shorten it, or pass truncation=True to leave out its end."
                    )
        encoded = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.max_text_length,
            return_tensors=return_tensors or "np",
        )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}


__all__ = ["ECGTextDualEncoderProcessor"]
