"""ECG and text encoder in one space (`ECGTextDualEncoder`): contrastive pre-training, and use without training.

In: ECGs [ecgs, leads, samples], with their reports, with statements that each ECG is held against, or with both. Out:
unit vectors, logits between them, and the loss (`losses_ecgllm`).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .configuration_ecgllm import ECGEncoderConfig, ECGTextDualEncoderConfig
from .encoder_ecgllm import ECGEncoder, ECGPreTrainedModel, check_preprocessing
from .errors_ecgllm import ECGError
from .losses_ecgllm import contrastive_loss, statement_loss

_MAX_SCALE = 4.6052  # ln(100), CLIP's bound: an inverse temperature over 100 makes training unstable
_STATEMENT_SCALE = 2.3026  # ln(10), as the sigmoid loss starts


@dataclass
class ECGTextDualEncoderOutput(ModelOutput):
    """loss; logits_per_ecg [ecgs, texts] and its transpose logits_per_text; ecg_embeds, text_embeds and
    statement_embeds [.., projection_dim], unit length; statement_logits [ecgs, statements], whose sigmoid says how
    likely each holds; ecg_model_output and text_model_output: what the two encoders returned. None where there was no
    such input.
    """

    loss: torch.Tensor | None = None
    logits_per_ecg: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    ecg_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    ecg_model_output: BaseModelOutputWithPooling | None = None
    text_model_output: ModelOutput | None = None
    statement_embeds: torch.Tensor | None = None
    statement_logits: torch.Tensor | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


class ECGTextDualEncoder(ECGPreTrainedModel):
    """ECG encoder and any Hugging Face text encoder in one space, for contrastive pre-training and zero-shot use."""

    config: ECGTextDualEncoderConfig
    config_class = ECGTextDualEncoderConfig
    _code_module = "dual_encoder_ecgllm"
    base_model_prefix = "dual_encoder"
    main_input_name = "input_ids"
    input_modalities = ("ecg", "text")

    def __init__(self, config: ECGTextDualEncoderConfig):
        super().__init__(config)
        self.ecg_encoder = ECGEncoder(config.encoder_config)
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
        statements = config.statement_targets
        self.statement_scale = nn.Parameter(torch.tensor(_STATEMENT_SCALE)) if statements else None
        self.statement_bias = nn.Parameter(torch.zeros(())) if statements else None
        names = config.statement_names
        self.statement_prototypes = nn.Parameter(torch.zeros(len(names), config.projection_dim)) if names else None
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ECGTextDualEncoder):
            init.constant_(module.logit_scale, module.logit_scale_init_value)
            if module.logit_bias is not None:
                init.constant_(module.logit_bias, module.config.logit_bias_init_value)
            if module.statement_scale is not None:
                init.constant_(module.statement_scale, _STATEMENT_SCALE)
                init.zeros_(module.statement_bias)
            if module.statement_prototypes is not None:
                init.normal_(module.statement_prototypes, mean=0.0, std=self.config.initializer_range)

    @classmethod
    def from_encoder_and_text_encoder(
        cls, encoder: ECGEncoder | ECGEncoderConfig, text_encoder: str | PreTrainedModel, **config_fields: Any
    ) -> "ECGTextDualEncoder":
        """Join an ECG encoder (or its configuration) with a pretrained text encoder (name, path or model)."""
        if not isinstance(text_encoder, PreTrainedModel):
            text_encoder = AutoModel.from_pretrained(text_encoder)
        encoder_config = encoder if isinstance(encoder, ECGEncoderConfig) else encoder.config
        config = ECGTextDualEncoderConfig(
            encoder_config=encoder_config, text_config=text_encoder.config, **config_fields
        )
        # The pretrained parts come in after the initialisation, which must not touch them.
        model = cls(config)
        model.text_encoder = text_encoder
        if isinstance(encoder, ECGEncoder):
            model.ecg_encoder = encoder
        return model

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
        # A text encoder may be in another type than what stands behind it, in whose type the mean is taken.
        hidden = encoded.last_hidden_state.to(self.text_projection.weight.dtype)
        if attention_mask is None:
            pooled = hidden.mean(dim=1)
        else:
            weight = attention_mask[..., None].to(hidden.dtype)
            pooled = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return BaseModelOutputWithPooling(
            last_hidden_state=encoded.last_hidden_state,
            pooler_output=self.text_projection(pooled),
            hidden_states=encoded.get("hidden_states"),
            attentions=encoded.get("attentions"),
        )

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

    def get_statement_prototypes(self) -> torch.Tensor:
        """Unit vectors [statements, projection_dim] of `config.statement_names`, learned as they are, without words.

        Raises: ValueError for a model that has none.
        """
        if self.statement_prototypes is None:
            raise ECGError("config.statement_names is empty: this model knows statements by their wordings alone.")
        return nn.functional.normalize(self.statement_prototypes, dim=-1)

    def get_statement_logits(self, ecg_embeds: torch.Tensor, statement_embeds: torch.Tensor) -> torch.Tensor:
        """Logits [ecgs, statements] that a statement holds of an ECG, from unit vectors [.., projection_dim].

        Raises: ValueError for a model that did not learn from statements.
        """
        if self.statement_scale is None:
            raise ECGError(
                "config.statement_targets is False: this model has no temperature and bias for statements. Compare "
                "statements by logits_per_ecg, or train with text: findings or both."
            )
        scale = self.statement_scale.clamp(max=_MAX_SCALE).exp()
        return scale * ecg_embeds @ statement_embeds.T + self.statement_bias

    def loss_of_embeds(
        self,
        ecg_embeds: torch.Tensor,
        text_embeds: torch.Tensor | None = None,
        report_ids: torch.Tensor | None = None,
        statement_embeds: torch.Tensor | None = None,
        statement_targets: torch.Tensor | None = None,
        statement_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss as a function of unit vectors [.., projection_dim] alone: `contrastive_loss` of ECGs and their
        reports, plus `statement_loss` of ECGs and statements, each where it is given.

        With `config.statement_names`, ECGs are held against the prototypes, too: an untrained text encoder learns over
        hundreds of steps to tell statements apart, and until then hides from the ECG encoder what it shall see.
        """
        # Of a cosine times a scale of up to 100, bfloat16 leaves two digits; mixed precision would compute it so.
        with torch.autocast(ecg_embeds.device.type, enabled=False):
            ecg_embeds, text_embeds, statement_embeds = map(
                _at_least_float32, (ecg_embeds, text_embeds, statement_embeds)
            )
            loss = ecg_embeds.new_zeros(())
            if text_embeds is not None:
                scale = self.logit_scale.clamp(max=_MAX_SCALE).exp()
                loss = loss + contrastive_loss(
                    ecg_embeds, text_embeds, scale, self.logit_bias, self.config.loss_type, report_ids
                )
            if statement_targets is not None:
                logits = self.get_statement_logits(ecg_embeds, statement_embeds)
                loss = loss + statement_loss(logits, statement_targets, statement_weights)
                if self.statement_prototypes is not None:
                    prototypes = _at_least_float32(self.get_statement_prototypes())
                    logits = self.get_statement_logits(ecg_embeds, prototypes)
                    # Further texts, which are only measured, have no target.
                    logits = nn.functional.pad(logits, (0, statement_targets.shape[1] - logits.shape[1]))
                    loss = loss + statement_loss(logits, statement_targets, statement_weights)
            return loss

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        ecg_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        report_ids: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        statement_input_ids: torch.Tensor | None = None,
        statement_attention_mask: torch.Tensor | None = None,
        statement_targets: torch.Tensor | None = None,
        statement_weights: torch.Tensor | None = None,
        return_loss: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ECGTextDualEncoderOutput:
        """Embed ECGs [ecgs, leads, samples] beside their reports [ecgs, tokens], statements [statements, tokens] that
        every ECG is held against, or both; see `contrastive_loss` and `statement_loss` for the targets.
        """
        check_preprocessing(self.config.encoder_config, preprocessing_id)
        if input_ids is None and statement_input_ids is None:
            raise ECGError("No text was given; pass input_ids (a report per ECG), statement_input_ids or both.")
        kwargs = kwargs | {"return_dict": True}
        ecg_output = self.get_ecg_features(ecg_values, lead_mask, ecg_lengths, **kwargs)
        ecg_embeds = nn.functional.normalize(ecg_output.pooler_output, dim=-1)
        text_output = text_embeds = logits = statement_embeds = statement_logits = None
        if input_ids is not None:
            text_output = self.get_text_features(input_ids, attention_mask, **kwargs)
            text_embeds = nn.functional.normalize(text_output.pooler_output, dim=-1)
            logits = self.logit_scale.clamp(max=_MAX_SCALE).exp() * ecg_embeds @ text_embeds.T
        if statement_input_ids is not None:
            statement_embeds = self.get_text_embeds(statement_input_ids, statement_attention_mask)
            if self.statement_scale is not None:
                statement_logits = self.get_statement_logits(ecg_embeds, statement_embeds)
        loss = None
        if return_loss and (text_embeds is not None or statement_targets is not None):
            loss = self.loss_of_embeds(
                ecg_embeds, text_embeds, report_ids, statement_embeds, statement_targets, statement_weights
            )
        return ECGTextDualEncoderOutput(
            loss=loss,
            logits_per_ecg=logits,
            logits_per_text=None if logits is None else logits.T,
            ecg_embeds=ecg_embeds,
            text_embeds=text_embeds,
            ecg_model_output=ecg_output,
            text_model_output=text_output,
            statement_embeds=statement_embeds,
            statement_logits=statement_logits,
        )


def _at_least_float32(embeds: torch.Tensor | None) -> torch.Tensor | None:
    return embeds.float() if embeds is not None and embeds.dtype in (torch.bfloat16, torch.float16) else embeds


__all__ = ["ECGTextDualEncoder", "ECGTextDualEncoderOutput"]
