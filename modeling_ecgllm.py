"""The ECG language model: an ECG encoder and a projector in front of any causal language model.

In: token ids with a placeholder for every ECG token, and ECGs. Out: the language model's logits and loss. The encoder
(`encoder_ecgllm`) turns ECGs into patches, `ECGProjector` these into tokens of the language model, which take the
placeholders' places among its input embeddings. The language model is kept whole: its head, scaling, tying, cache and
way of generating stay its own (`language_model_ecgllm` says how it is called).
"""

import copy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.generation import GenerationMixin, LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast, ModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .configuration_ecgllm import ECGEncoderConfig, ECGLLMConfig
from .dual_encoder_ecgllm import ECGTextDualEncoder
from .encoder_ecgllm import ECGEncoder, ECGPreTrainedModel, check_preprocessing
from .errors_ecgllm import ECGError
from .language_model_ecgllm import BesidePlaceholders, embedding_size, named_cache, run_language_model
from .losses_ecgllm import contrastive_loss, statement_loss

# Imported so that the pipeline's file travels with the model's, too: a folder has what relative imports reach.
from .pipeline_ecgllm import ECGTextToTextPipeline
from .processing_ecgllm import ECGProcessor, add_ecg_token


class ECGProjector(nn.Module):
    """Encoder tokens to the language model's embedding size: linear (the paper) or a two-layer MLP.

    `patches_per_token` neighbouring patches are joined by concatenation first: [ecgs, patches, size] ->
    [ecgs, ceil(patches / k), lm size].
    """

    def __init__(self, config: ECGLLMConfig, text_size: int):
        super().__init__()
        self.patches_per_token = config.patches_per_token
        in_size = config.encoder_config.hidden_size * config.patches_per_token
        if config.projector_type == "linear":
            self.layers = nn.Sequential(nn.Linear(in_size, text_size))
        else:
            hidden_size = config.projector_hidden_size or text_size
            self.layers = nn.Sequential(
                nn.Linear(in_size, hidden_size), ACT2FN[config.projector_hidden_act], nn.Linear(hidden_size, text_size)
            )

    def forward(self, patches: torch.Tensor, num_patches: torch.Tensor | None = None) -> torch.Tensor:
        """Args: num_patches: int [ecgs], how many are an ECG's own; all, if None."""
        patches = patches.to(self.layers[0].weight.dtype)
        padded = nn.functional.pad(patches, (0, 0, 0, -patches.shape[1] % self.patches_per_token))
        joined = padded.reshape(patches.shape[0], -1, patches.shape[2] * self.patches_per_token)
        return self.layers(joined)


class ECGSummaryProjector(ECGProjector):
    """A projector whose tokens also get the mean of all patches, by a linear layer of its own."""

    def __init__(self, config: ECGLLMConfig, text_size: int):
        super().__init__(config, text_size)
        self.summary = nn.Linear(config.encoder_config.hidden_size, text_size, bias=False)

    def forward(self, patches: torch.Tensor, num_patches: torch.Tensor | None = None) -> torch.Tensor:
        patches = patches.to(self.layers[0].weight.dtype)
        if num_patches is None:
            mean = patches.mean(dim=1)
        else:
            own = torch.arange(patches.shape[1], device=patches.device) < num_patches[:, None]
            mean = (patches * own[..., None]).sum(dim=1) / num_patches[:, None].clamp(min=1).to(patches.dtype)
        return super().forward(patches) + self.summary(mean)[:, None]


@dataclass
class ECGLLMCausalLMOutputWithPast(CausalLMOutputWithPast):
    """Outputs of the language model, and the ECG tokens that it read.

    loss; logits [batch, tokens, vocabulary]; the cache, under the name that this release of transformers gives it;
    hidden_states and attentions of the language model; ecg_hidden_states: projected ECG tokens of the whole batch,
    [tokens, lm size].
    """

    if not hasattr(CausalLMOutputWithPast, "cache"):  # where it is, it stands for all three
        cache_params: Cache | None = None
    ecg_hidden_states: torch.Tensor | None = None


_OF_THE_LANGUAGE_MODEL = tuple(
    field.name
    for field in fields(ECGLLMCausalLMOutputWithPast)
    if field.name not in ("loss", "logits", "ecg_hidden_states")
)
_ECG_ARGUMENTS = ("ecg_values", "ecg_embeds", "ecg_mask", "lead_mask", "ecg_lengths", "preprocessing_id")


class ECGLLMForConditionalGeneration(ECGPreTrainedModel, GenerationMixin):
    """An ECG encoder and a projector in front of any causal language model.

    The prompt holds one placeholder token per ECG token (`ECGProcessor` puts them there); the projected ECG tokens
    take their places in the input embeddings. Without ECGs the model is its language model, exactly. Any number of
    ECGs per prompt, of any duration, anywhere in the conversation.
    """

    config: ECGLLMConfig
    config_class = ECGLLMConfig
    _code_module = "modeling_ecgllm"
    base_model_prefix = "language_model"
    main_input_name = "input_ids"
    input_modalities = ("ecg", "text")

    def __init__(self, config: ECGLLMConfig):
        super().__init__(config)
        self.ecg_encoder = ECGEncoder(config.encoder_config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.projector = _new_projector(config, self.language_model)
        # What generation may do with caches is for the language model to say.
        self._is_stateful = self.language_model._is_stateful
        self._can_compile_fullgraph = self.language_model._can_compile_fullgraph
        self.post_init()
        self._suppress_placeholder()

    @classmethod
    def from_encoder_and_language_model(
        cls,
        encoder: "ECGEncoder | ECGTextDualEncoder | ECGEncoderConfig | str | Path",
        language_model: str | Path | PreTrainedModel,
        projector: str = "linear",
        *,
        tokenizer: Any = None,
        patches_per_token: int = 1,
        projector_hidden_size: int | None = None,
        projector_summary: bool = False,
        trained_on: str | None = None,
        **language_model_kwargs: Any,
    ) -> "ECGLLMForConditionalGeneration":
        """Put an ECG encoder in front of a causal language model; only the projector starts untrained.

        Args:
            encoder: an encoder, a dual encoder, the path of a checkpoint of either, or a configuration (random
            weights).
            language_model: name or path for `AutoModelForCausalLM`, or a loaded model.
            projector: "linear" or "mlp". patches_per_token, projector_hidden_size, projector_summary, trained_on: see
            `ECGLLMConfig`.
            tokenizer: the language model's; loaded from `language_model` when that is a name or path. The placeholder
                token is added to it. The language model keeps its rows: the placeholder needs none.
            language_model_kwargs: for `AutoModelForCausalLM.from_pretrained`.
        Raises: ValueError when no tokenizer is given for a loaded model.
        """
        if isinstance(language_model, PreTrainedModel):
            if tokenizer is None:
                raise ECGError(
                    "language_model is a loaded model and tokenizer is missing; pass tokenizer= so that the ECG "
                    "placeholder gets an id."
                )
        else:
            tokenizer = tokenizer if tokenizer is not None else AutoTokenizer.from_pretrained(language_model)
            language_model = AutoModelForCausalLM.from_pretrained(language_model, **language_model_kwargs)
        ecg_token_id = add_ecg_token(tokenizer)
        encoder = _as_encoder(encoder)
        config = ECGLLMConfig(
            encoder_config=encoder.config,
            text_config=language_model.config,
            projector_type=projector,
            projector_hidden_size=projector_hidden_size,
            patches_per_token=patches_per_token,
            projector_summary=projector_summary,
            ecg_token_id=ecg_token_id,
            trained_on=trained_on,
            dtype=language_model.dtype,
        )
        # The shell is built without memory: both parts exist, and must not be initialised again.
        with torch.device("meta"):
            model = cls(config)
        model.ecg_encoder, model.language_model = encoder, language_model
        model.projector = _new_projector(config, language_model)
        model.projector.apply(model._init_weights)
        for part in (model.ecg_encoder, model.projector):
            part.to(device=language_model.device, dtype=language_model.dtype)
        if language_model.generation_config is not None:
            model.generation_config = copy.deepcopy(language_model.generation_config)
        if model.generation_config.pad_token_id is None:
            model.generation_config.pad_token_id = tokenizer.pad_token_id
        model._suppress_placeholder()
        return model

    def _auto_map(self) -> dict[str, str]:
        model = f"{self._code_module}.{type(self).__name__}"
        return super()._auto_map() | {
            "AutoModelForCausalLM": model,
            "AutoModelForMultimodalLM": model,
            "AutoProcessor": f"processing_ecgllm.{ECGProcessor.__name__}",
        }

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> None:
        """As `CompleteFolder.save_pretrained`; the folder names its pipeline, too."""
        self.config.custom_pipelines = {
            "ecg-text-to-text": {
                "impl": f"pipeline_ecgllm.{ECGTextToTextPipeline.__name__}",
                "pt": ["AutoModel"],
                "tf": [],
                "type": "multimodal",
            }
        }
        super().save_pretrained(save_directory, push_to_hub, **kwargs)

    def _suppress_placeholder(self) -> None:
        # An untrained or confused model could otherwise emit a placeholder, which stands for a signal that is not
        # there.
        if self.config.ecg_token_id is not None and self.generation_config is not None:
            suppressed = set(self.generation_config.suppress_tokens or ())
            self.generation_config.suppress_tokens = sorted(suppressed | {self.config.ecg_token_id})

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def get_decoder(self) -> nn.Module:
        return self.language_model.get_decoder()

    @can_return_tuple
    def get_ecg_features(
        self,
        ecg_values: torch.Tensor | None = None,
        ecg_embeds: torch.Tensor | None = None,
        ecg_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Encode and project the ECGs of a batch.

        Args:
            ecg_values: [batch, ecgs, leads, samples], or in its place ecg_embeds [batch, ecgs, patches, encoder size],
                the encoder's last_hidden_state. ecg_mask: bool [batch, ecgs], False where a prompt has fewer ECGs.
                lead_mask: bool [batch, ecgs, leads]. ecg_lengths: int [batch, ecgs], samples before padding.
        Returns: last_hidden_state [ecgs, patches, encoder size] of the real ECGs; pooler_output [tokens, lm size], the
            projected tokens of all ECGs one after the other.
        """
        if (ecg_values is None) == (ecg_embeds is None):
            raise ECGError("Pass either ecg_values or ecg_embeds (encoder outputs), not both and not neither.")
        check_preprocessing(self.config.encoder_config, preprocessing_id)
        given = ecg_values if ecg_values is not None else ecg_embeds
        if given.ndim != 4:
            raise ECGError(
                f"ECG input has shape {tuple(given.shape)}; expected [batch, ecgs, leads, samples] for ecg_values and "
                "[batch, ecgs, patches, encoder size] for ecg_embeds, as ECGProcessor returns it."
            )
        if ecg_mask is None:
            ecg_mask = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
        ecg_mask = ecg_mask.bool()
        lengths = None if ecg_lengths is None else ecg_lengths[ecg_mask]
        if ecg_values is not None:
            encoded = self.ecg_encoder(
                ecg_values[ecg_mask],
                lead_mask=None if lead_mask is None else lead_mask[ecg_mask],
                ecg_lengths=lengths,
                **kwargs | {"return_dict": True},
            )
        else:
            encoded = BaseModelOutputWithPooling(last_hidden_state=ecg_embeds[ecg_mask])
        patches = encoded.last_hidden_state
        if lengths is None:
            tokens = self.projector(patches)
            flat = tokens.flatten(0, 1)
        else:
            tokens = self.projector(patches, self.ecg_encoder.num_patches(lengths.to(patches.device)))
            num_tokens = self.num_ecg_tokens(lengths)
            flat = tokens[torch.arange(tokens.shape[1], device=tokens.device) < num_tokens[:, None]]
        encoded.pooler_output = flat
        return encoded

    def num_ecg_tokens(self, ecg_lengths: torch.Tensor) -> torch.Tensor:
        """Language model tokens of ECGs of these lengths (samples)."""
        return self.config.num_ecg_tokens(ecg_lengths)

    def get_placeholder_mask(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor,
        ecg_features: torch.Tensor,
        tokens_per_prompt: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Where the ECG tokens go: bool [batch, tokens, size].

        Args: ecg_features: [tokens, size] of the whole batch. tokens_per_prompt: int [batch], how many of them belong
            to each prompt; with it every prompt is checked, without it their sum.
        Raises: ValueError when the prompt's placeholders are not as many as the ECG tokens.
        """
        if self.config.ecg_token_id is None:
            raise ECGError(
                "config.ecg_token_id is None: this model has no placeholder for ECGs. Build it with "
                "from_encoder_and_language_model, which gives it one."
            )
        if input_ids is None and self.config.ecg_token_id >= self.get_input_embeddings().weight.shape[0]:
            raise ECGError(
                "inputs_embeds were given without input_ids, and this language model has no embedding of the "
                "placeholder by which it could be found in them; pass input_ids."
            )
        if input_ids is None:
            placeholder = self.get_input_embeddings()(
                torch.full((), self.config.ecg_token_id, dtype=torch.long, device=inputs_embeds.device)
            )
            mask = (inputs_embeds == placeholder).all(-1)
        else:
            mask = (input_ids == self.config.ecg_token_id).to(inputs_embeds.device)
        if not torch.compiler.is_compiling():
            found, given = [int(mask.sum())], [ecg_features.shape[0]]
            if tokens_per_prompt is not None:
                found, given = mask.sum(dim=1).tolist(), tokens_per_prompt.tolist()
            if found != given:
                raise ECGError(
                    f"The prompts hold {found} ECG placeholder tokens (id {self.config.ecg_token_id}) and their ECGs "
                    f"give {given} tokens; expected the same numbers. Prepare text and ECGs together with "
                    "ECGProcessor, with one ECG per <|ecg|> in the text. With past_key_values, pass only the ECGs "
                    "whose placeholders are not in the cache yet."
                )
        return mask.unsqueeze(-1).expand_as(inputs_embeds)

    def _tokens_per_prompt(
        self,
        ecg_values: torch.Tensor | None,
        ecg_embeds: torch.Tensor | None,
        ecg_mask: torch.Tensor | None,
        ecg_lengths: torch.Tensor | None,
    ) -> torch.Tensor:
        if ecg_lengths is not None:
            tokens = self.num_ecg_tokens(ecg_lengths)
        elif ecg_values is not None:
            count = self.config.num_ecg_tokens(ecg_values.shape[3])
            tokens = torch.full(ecg_values.shape[:2], count, device=ecg_values.device)
        else:
            count = -(-ecg_embeds.shape[2] // self.config.patches_per_token)
            tokens = torch.full(ecg_embeds.shape[:2], count, device=ecg_embeds.device)
        return (tokens if ecg_mask is None else tokens * ecg_mask.bool()).sum(dim=1)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        ecg_values: torch.Tensor | None = None,
        ecg_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        ecg_embeds: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        cache: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ECGLLMCausalLMOutputWithPast:
        """Read text and ECGs.

        Args:
            input_ids: [batch, tokens], with `config.ecg_token_id` where ECG tokens go. ECG inputs: see
                `get_ecg_features`. preprocessing_id: int [batch], the processor's fingerprint, compared with the
                checkpoint's. labels: [batch, tokens], -100 where there is no loss. cache (transformers 5.24 and
                newer), past_key_values, cache_params: names of one thing, any of which is taken. The rest as in every
                causal LM.
        Raises: ValueError when placeholders and ECGs do not fit, the preprocessing is not the checkpoint's, or a cache
            is given twice.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ECGError("Pass either input_ids or inputs_embeds, not both and not neither.")
        ecg_tokens = None
        has_ecgs = ecg_values is not None or ecg_embeds is not None
        if has_ecgs and ecg_mask is not None and not torch.compiler.is_compiling():
            # Part of a batch may hold nothing but padding, which attention kernels refuse.
            has_ecgs = bool(ecg_mask.any())
        if has_ecgs:
            if inputs_embeds is None:
                # The placeholder's id is replaced before the look-up, which need not know it: the language model keeps
                # its rows.
                known = input_ids.masked_fill(input_ids == self.config.ecg_token_id, 0)
                inputs_embeds = self.get_input_embeddings()(known)
            ecg_tokens = self.get_ecg_features(
                ecg_values, ecg_embeds, ecg_mask, lead_mask, ecg_lengths, preprocessing_id, return_dict=True
            ).pooler_output.to(inputs_embeds.device, inputs_embeds.dtype)
            tokens_per_prompt = self._tokens_per_prompt(ecg_values, ecg_embeds, ecg_mask, ecg_lengths)
            mask = self.get_placeholder_mask(input_ids, inputs_embeds, ecg_tokens, tokens_per_prompt)
            inputs_embeds = inputs_embeds.masked_scatter(mask, ecg_tokens)
        elif input_ids is not None:
            self._refuse_placeholders_without_ecg(input_ids)

        loss_kwargs = {key: kwargs.pop(key) for key in ("num_items_in_batch", "shift_labels") if key in kwargs}
        kwargs |= named_cache(
            self.language_model,
            cache=cache,
            past_key_values=past_key_values,
            cache_params=kwargs.pop("cache_params", None),
        )
        outputs = run_language_model(
            self.language_model,
            input_ids=None if inputs_embeds is not None else input_ids,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        logits = outputs.logits
        loss = None
        if labels is not None:
            if self.config.ecg_token_id is not None:  # no word: it has no logit, and nothing is to be learned of it
                labels = labels.masked_fill(labels == self.config.ecg_token_id, -100)
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **loss_kwargs)
        return ECGLLMCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            ecg_hidden_states=ecg_tokens,
            **{name: outputs.get(name) for name in _OF_THE_LANGUAGE_MODEL},
        )

    def _refuse_placeholders_without_ecg(self, input_ids: torch.Tensor) -> None:
        if self.config.ecg_token_id is None or torch.compiler.is_compiling():
            return
        count = int((input_ids == self.config.ecg_token_id).sum())
        if count:
            raise ECGError(
                f"The prompt holds {count} ECG placeholder tokens and no ECG was given; pass ecg_values (or "
                "ecg_embeds) as ECGProcessor returns them, or take <|ecg|> out of the text."
            )

    # What generation does with caches, positions and new tokens is the language model's own business: state-space and
    # attention models differ in all three.

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        ecg_inputs = {name: kwargs.pop(name) for name in _ECG_ARGUMENTS if name in kwargs}
        model_inputs = self.language_model.prepare_inputs_for_generation(
            input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
        )
        # ECGs belong to the step whose ids still hold their placeholders: the prefill, or every step without a cache.
        ids = model_inputs.get("input_ids")
        if ids is not None:
            carries_ecgs = bool((ids == self.config.ecg_token_id).any())
        else:
            carries_ecgs = model_inputs.get("inputs_embeds") is not None
        if carries_ecgs:
            model_inputs.update({name: value for name, value in ecg_inputs.items() if value is not None})
        return model_inputs

    def _get_logits_processor(self, *args: Any, **kwargs: Any) -> LogitsProcessorList:
        processors = super()._get_logits_processor(*args, **kwargs)
        if (self.config.ecg_token_id or 0) < self.get_input_embeddings().weight.shape[0]:
            return processors
        return BesidePlaceholders(processors, self.config.ecg_token_id)

    def _prepare_cache_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        return self.language_model._prepare_cache_for_generation(*args, **kwargs)

    def _update_model_kwargs_for_generation(self, outputs: ModelOutput, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.language_model._update_model_kwargs_for_generation(outputs, *args, **kwargs)


def _new_projector(config: ECGLLMConfig, language_model: PreTrainedModel) -> ECGProjector:
    projector = ECGSummaryProjector if config.projector_summary else ECGProjector
    return projector(config, embedding_size(language_model))


def _as_encoder(encoder: Any) -> ECGEncoder:
    if isinstance(encoder, ECGEncoderConfig):
        return ECGEncoder(encoder)
    if isinstance(encoder, str | Path):
        # Both load from the checkpoint of either: the encoder's weights have the prefix ecg_encoder in a dual encoder.
        encoder = ECGEncoder.from_pretrained(encoder)
    return encoder if isinstance(encoder, ECGEncoder) else encoder.ecg_encoder


__all__ = [
    "ECGEncoder",
    "ECGLLMForConditionalGeneration",
    "ECGPreTrainedModel",
    "ECGProjector",
    "ECGSummaryProjector",
    "ECGTextDualEncoder",
    "check_preprocessing",
    "contrastive_loss",
    "statement_loss",
]
