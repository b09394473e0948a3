"""ECG and text encoder in one space (`ECGTextDualEncoder`): contrastive pre-training, and use without training.

In: ECGs [ecgs, leads, samples] and texts. Out: unit vectors, and logits between them. Its losses are in
`training.contrastive`, apart from the model as in open_clip.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers import initialization as init
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .configuration_ecgllm import ECGTextDualEncoderConfig
from .dual_encoder_processing_ecgllm import ECGTextDualEncoderProcessor
from .encoder_adapter_ecgllm import as_encoder, build_encoder
from .encoder_ecgllm import EMBEDDING_PIPELINE, ECGPreTrainedModel, check_preprocessing
from .zero_shot_pipeline_ecgllm import ZeroShotECGClassificationPipeline

_MAX_SCALE = 4.6052  # ln(100), CLIP's bound: an inverse temperature over 100 makes training unstable


@dataclass
class ECGTextDualEncoderOutput(ModelOutput):
    """logits_per_ecg [ecgs, texts] and its transpose logits_per_text; ecg_embeds and text_embeds [.., projection_dim],
    unit length; ecg_model_output and text_model_output: what the two encoders returned.
    """

    logits_per_ecg: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    ecg_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    ecg_model_output: BaseModelOutputWithPooling | None = None
    text_model_output: ModelOutput | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


class ECGTextDualEncoder(ECGPreTrainedModel):
    """ECG encoder and any Hugging Face text encoder in one space, for contrastive pre-training and zero-shot use."""

    config: ECGTextDualEncoderConfig
    config_class = ECGTextDualEncoderConfig
    _code_module = "dual_encoder_ecgllm"
    _hub_task = "feature-extraction"
    _pipelines = EMBEDDING_PIPELINE | {
        "zero-shot-ecg-classification": f"zero_shot_pipeline_ecgllm.{ZeroShotECGClassificationPipeline.__name__}"
    }
    base_model_prefix = "dual_encoder"
    main_input_name = "input_ids"
    # What training learned about statements; it stands in folders of unfinished runs and of earlier versions.
    _left_in_folder = r"statement_(scale|bias|prototypes)$"
    input_modalities = ("ecg", "text")

    def __init__(self, config: ECGTextDualEncoderConfig):
        super().__init__(config)
        self.ecg_encoder = build_encoder(config.encoder_config)
        self.text_encoder = AutoModel.from_config(config.text_config)
        text_size = config.text_config.get_text_config().hidden_size
        self.ecg_projection = nn.Linear(config.encoder_config.hidden_size, config.projection_dim, bias=False)
        self.text_projection = nn.Linear(text_size, config.projection_dim, bias=False)
        start = config.logit_scale_init_value
        if start is None:
            start = 2.6593 if config.loss_type == "infonce" else 2.3026  # ln(1/0.07), ln(10)
        self.logit_scale_init_value = start
        self.logit_scale = nn.Parameter(torch.tensor(start))
        # A parameter that its loss does not use would stop distributed training.
        sigmoid = config.loss_type == "sigmoid"
        self.logit_bias = nn.Parameter(torch.tensor(config.logit_bias_init_value)) if sigmoid else None
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ECGTextDualEncoder):
            init.constant_(module.logit_scale, module.logit_scale_init_value)
            if module.logit_bias is not None:
                init.constant_(module.logit_bias, module.config.logit_bias_init_value)

    @classmethod
    def from_encoder_and_text_encoder(
        cls, encoder: PreTrainedModel | PreTrainedConfig | str | Path, text_encoder: Any, **config_fields: Any
    ) -> "ECGTextDualEncoder":
        """Join an ECG encoder (`as_encoder`) with a pretrained text encoder (name, path or model)."""
        if not isinstance(text_encoder, PreTrainedModel):
            text_encoder = AutoModel.from_pretrained(text_encoder)
        encoder = as_encoder(encoder)
        config = ECGTextDualEncoderConfig(
            encoder_config=encoder.config, text_config=text_encoder.config, **config_fields
        )
        # The pretrained parts come in after the initialisation, which must not touch them.
        model = cls(config)
        model.ecg_encoder, model.text_encoder = encoder, text_encoder
        return model

    def _auto_map(self) -> dict[str, str]:
        return super()._auto_map() | {
            "AutoProcessor": f"dual_encoder_processing_ecgllm.{ECGTextDualEncoderProcessor.__name__}"
        }

    def get_input_embeddings(self) -> nn.Module:
        return self.text_encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_encoder.set_input_embeddings(value)

    @can_return_tuple
    def get_ecg_features(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """The encoder's output for ECGs [ecgs, leads, samples]; pooler_output [ecgs, projection_dim], projected."""
        encoded = self.ecg_encoder(
            ecg_values, lead_mask=lead_mask, ecg_lengths=ecg_lengths, **kwargs | {"return_dict": True}
        )
        encoded.pooler_output = self.ecg_projection(encoded.pooler_output.to(self.ecg_projection.weight.dtype))
        return encoded

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """The text encoder's output for texts [texts, tokens]; pooler_output [texts, projection_dim], the mean of the
        tokens, projected.
        """
        encoded = self.text_encoder(
            input_ids=input_ids, attention_mask=attention_mask, **kwargs | {"return_dict": True}
        )
        return BaseModelOutputWithPooling(
            last_hidden_state=encoded.last_hidden_state,
            pooler_output=self.text_projection(self._mean(encoded.last_hidden_state, attention_mask)),
            hidden_states=encoded.get("hidden_states"),
            attentions=encoded.get("attentions"),
        )

    def _mean(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """The mean of a text's own tokens, [texts, size]."""
        # A text encoder may have another dtype than the projection after it, whose dtype the mean takes.
        hidden = hidden.to(self.text_projection.weight.dtype)
        if attention_mask is None:
            return hidden.mean(dim=1)
        weight = attention_mask[..., None].to(hidden.dtype)
        return (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)

    def get_ecg_embeds(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Unit vectors [ecgs, projection_dim] of ECGs [ecgs, leads, samples]."""
        features = self.get_ecg_features(ecg_values, lead_mask, ecg_lengths, return_dict=True)
        return nn.functional.normalize(features.pooler_output, dim=-1)

    def get_text_embeds(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Unit vectors [texts, projection_dim] of texts [texts, tokens]."""
        features = self.get_text_features(input_ids, attention_mask, return_dict=True)
        return nn.functional.normalize(features.pooler_output, dim=-1)

    def temperature(self, scale: torch.Tensor) -> torch.Tensor:
        """The inverse temperature from its learned logarithm, 100 at most."""
        return scale.clamp(max=_MAX_SCALE).exp()

    def logits(self, ecg_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """[ecgs, texts] from unit vectors: the larger, the better a text fits an ECG. After the sigmoid loss their
        sigmoid is a probability, after InfoNCE their softmax over the texts.
        """
        logits = self.temperature(self.logit_scale) * ecg_embeds @ text_embeds.T
        return logits if self.logit_bias is None else logits + self.logit_bias

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor,
        ecg_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ECGTextDualEncoderOutput:
        """Embed ECGs [ecgs, leads, samples] and texts [texts, tokens], and compare each ECG with each text."""
        check_preprocessing(self.config.encoder_config, preprocessing_id)
        kwargs = kwargs | {"return_dict": True}
        ecg_output = self.get_ecg_features(ecg_values, lead_mask, ecg_lengths, **kwargs)
        text_output = self.get_text_features(input_ids, attention_mask, **kwargs)
        ecg_embeds, text_embeds = (
            nn.functional.normalize(output.pooler_output, dim=-1) for output in (ecg_output, text_output)
        )
        logits = self.logits(ecg_embeds, text_embeds)
        return ECGTextDualEncoderOutput(
            logits_per_ecg=logits,
            logits_per_text=logits.T,
            ecg_embeds=ecg_embeds,
            text_embeds=text_embeds,
            ecg_model_output=ecg_output,
            text_model_output=text_output,
        )


__all__ = ["ECGTextDualEncoder", "ECGTextDualEncoderOutput"]
