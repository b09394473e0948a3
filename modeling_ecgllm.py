"""The ECG language model: an ECG encoder and a projector in front of any causal language model.

In: token ids with a placeholder for every ECG token, and ECGs. Out: the language model's logits and loss. The encoder
(any, `encoder_adapter_ecgllm`) turns ECGs into patches, the projector (`projector_ecgllm`) these into tokens of the
language model, which take the placeholders' places among its input embeddings. The language model is kept whole: its
head, scaling, tying, cache and way of generating stay its own (`language_model_ecgllm` says how it is called).

Decided here: `forward` looks at no value of a tensor on a GPU (outside `check_values`), since that means to wait for
it; what depends on values is computed for all places, and masked.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoModelForSequenceClassification,
    AutoProcessor,
)
from transformers.cache_utils import Cache
from transformers.generation import GenerationMixin, LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast, ModelOutput
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .beats_ecgllm import ECGBeatEncoder
from .classification_ecgllm import ECGForSequenceClassification
from .classification_pipeline_ecgllm import ECGClassificationPipeline
from .composition_ecgllm import ComposedModel
from .configuration_ecgllm import ECGClassifierConfig, ECGLLMConfig, ECGTextDualEncoderConfig, count_tokens
from .dual_encoder_ecgllm import ECGTextDualEncoder
from .dual_encoder_processing_ecgllm import ECGTextDualEncoderProcessor
from .embedding_pipeline_ecgllm import ECGFeatureExtractionPipeline
from .encoder_adapter_ecgllm import ENCODERS, ECGEncoderAdapter, build_encoder
from .encoder_ecgllm import ECGEncoder, ECGPreTrainedModel, check_preprocessing, check_values, may_look
from .errors_ecgllm import ECGError
from .feature_extraction_ecgllm import ECGFeatureExtractor
from .language_model_ecgllm import BesidePlaceholders, embedding_size, named_cache, run_language_model

# Imported so that the pipeline's file travels with the model's, too: a folder has what relative imports reach.
from .pipeline_ecgllm import ECGTextToTextPipeline
from .processing_ecgllm import ECGProcessor
from .projector_ecgllm import ECGProjector, ECGSummaryProjector, new_projector
from .zero_shot_pipeline_ecgllm import ZeroShotECGClassificationPipeline


@dataclass
class ECGLLMCausalLMOutputWithPast(CausalLMOutputWithPast):
    """Outputs of the language model, and the ECG tokens that it read.

    loss; logits [batch, tokens, vocabulary]; the cache, under the name that this release of transformers gives it;
    hidden_states and attentions of the language model; ecg_hidden_states: projected ECG tokens
    [ecgs, tokens, lm size], those past an ECG's end unread.
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


class ECGLLMForConditionalGeneration(ComposedModel, GenerationMixin):
    """An ECG encoder and a projector in front of any causal language model.

    The prompt holds one placeholder token per ECG token (`ECGProcessor` puts them there); the projected ECG tokens
    take their places in the input embeddings. Without ECGs the model is its language model, exactly. Any number of
    ECGs per prompt, of any duration, anywhere in the conversation.
    """

    config: ECGLLMConfig
    config_class = ECGLLMConfig
    _code_module = "modeling_ecgllm"
    # Not text-generation, which would be answered without an ECG.
    _hub_task = "any-to-any"
    _pipelines = {"ecg-text-to-text": f"pipeline_ecgllm.{ECGTextToTextPipeline.__name__}"}
    base_model_prefix = "language_model"
    main_input_name = "input_ids"
    input_modalities = ("ecg", "text")

    def __init__(self, config: ECGLLMConfig):
        super().__init__(config)
        self.ecg_encoder = build_encoder(config.encoder_config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.projector = new_projector(config, embedding_size(self.language_model))
        # What generation may do with caches is for the language model to say.
        self._is_stateful = self.language_model._is_stateful
        self._can_compile_fullgraph = self.language_model._can_compile_fullgraph
        self.post_init()
        self._suppress_placeholder()

    def _auto_map(self) -> dict[str, str]:
        model = f"{self._code_module}.{type(self).__name__}"
        return super()._auto_map() | {
            "AutoModelForCausalLM": model,
            "AutoModelForMultimodalLM": model,
            "AutoProcessor": f"processing_ecgllm.{ECGProcessor.__name__}",
        }

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
        encoded, tokens, counts, places = self._encode(
            ecg_values, ecg_embeds, ecg_mask, lead_mask, ecg_lengths, preprocessing_id, **kwargs
        )
        own = torch.arange(tokens.shape[1], device=tokens.device) < counts.flatten()[places][:, None]
        encoded.pooler_output = tokens[own]
        return encoded

    def _encode(
        self,
        ecg_values: torch.Tensor | None,
        ecg_embeds: torch.Tensor | None,
        ecg_mask: torch.Tensor | None,
        lead_mask: torch.Tensor | None,
        ecg_lengths: torch.Tensor | None,
        preprocessing_id: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[BaseModelOutputWithPooling, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(the encoder's output, projected tokens [ecgs, tokens, lm size], how many are each ECG's own [batch, ecgs],
        0 where there is none, and which of the batch * ecgs places were encoded [ecgs]).

        Places without an ECG are left out where it costs nothing to look for them, on a CPU.
        """
        if (ecg_values is None) == (ecg_embeds is None):
            raise ECGError("Pass either ecg_values or ecg_embeds (encoder outputs), not both and not neither.")
        given = ecg_values if ecg_values is not None else ecg_embeds
        if given.ndim != 4:
            raise ECGError(
                f"ECG input has shape {tuple(given.shape)}; expected [batch, ecgs, leads, samples] for ecg_values and "
                "[batch, ecgs, patches, encoder size] for ecg_embeds, as ECGProcessor returns it."
            )
        config = self.config
        check_preprocessing(config.encoder_config, preprocessing_id)
        if ecg_mask is None:
            ecg_mask = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
        ecg_mask = ecg_mask.bool()
        places = torch.arange(ecg_mask.numel(), device=given.device)
        if may_look(ecg_mask):
            places = places[ecg_mask.flatten()]
        of_ecgs = {
            name: None if value is None else value.flatten(0, 1)[places]
            for name, value in (("lead_mask", lead_mask), ("ecg_lengths", ecg_lengths))
        }
        if ecg_values is not None:
            encoded = self.ecg_encoder(ecg_values.flatten(0, 1)[places], **of_ecgs, **kwargs | {"return_dict": True})
        else:
            encoded = BaseModelOutputWithPooling(last_hidden_state=ecg_embeds.flatten(0, 1)[places])
        patches, lengths = encoded.last_hidden_state, of_ecgs["ecg_lengths"]
        patch_size = config.encoder_config.patch_size
        counted = None if lengths is None else count_tokens(lengths.to(patches.device), patch_size)
        tokens = self.projector(patches, counted)
        counts = tokens.shape[1] if ecg_lengths is None else config.num_ecg_tokens(ecg_lengths)
        return encoded, tokens, counts * ecg_mask.long(), places

    def get_placeholder_mask(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Where the ECG tokens go: bool [batch, tokens].

        Args: counts: int [batch, ecgs], tokens of each ECG.
        Raises: ECGError when a prompt's placeholders are not as many as its ECGs' tokens.
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
        found, given = mask.sum(dim=1), counts.sum(dim=1).to(mask.device)
        check_values(
            found == given,
            lambda: (
                f"The prompts hold {found.tolist()} ECG placeholder tokens (id {self.config.ecg_token_id}) and their "
                f"ECGs give {given.tolist()} tokens; expected the same numbers. Prepare text and ECGs together with "
                "ECGProcessor, with one ECG per <|ecg|> in the text. With past_key_values, pass only the ECGs whose "
                "placeholders are not in the cache yet."
            ),
        )
        return mask

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
        ecgs = (ecg_values, ecg_embeds, ecg_mask, lead_mask, ecg_lengths, preprocessing_id)
        inputs_embeds, ecg_tokens = self._embed(input_ids, inputs_embeds, *ecgs)
        loss_kwargs = {key: kwargs.pop(key) for key in ("num_items_in_batch", "shift_labels") if key in kwargs}
        caches = {"cache": cache, "past_key_values": past_key_values, "cache_params": kwargs.pop("cache_params", None)}
        kwargs |= named_cache(self.language_model, **caches)
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

    def _embed(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None, *ecgs: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(input embeddings with ECG tokens in the placeholders' places, or None where the language model looks ids
        up by itself; the ECG tokens). Args: ecgs: in the order of `_ECG_ARGUMENTS`."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ECGError("Pass either input_ids or inputs_embeds, not both and not neither.")
        ecg_values, ecg_embeds, ecg_mask, *_ = ecgs
        given = ecg_values if ecg_values is not None else ecg_embeds
        if given is not None and ecg_mask is not None and may_look(ecg_mask) and not bool(ecg_mask.any()):
            given = None  # part of a batch may hold nothing but padding, which attention kernels refuse
        if given is None:
            if input_ids is not None:
                self._refuse_placeholders_without_ecg(input_ids)
            return inputs_embeds, None
        if inputs_embeds is None:
            # The placeholder's id is replaced before the look-up, which need not know it: the language model keeps its
            # rows.
            known = input_ids.masked_fill(input_ids == self.config.ecg_token_id, 0)
            inputs_embeds = self.get_input_embeddings()(known)
        _, ecg_tokens, counts, places = self._encode(*ecgs)
        ecg_tokens = ecg_tokens.to(inputs_embeds.device, inputs_embeds.dtype)
        mask = self.get_placeholder_mask(input_ids, inputs_embeds, counts)
        return _put_in_place(inputs_embeds, mask, ecg_tokens, counts.to(mask.device), places), ecg_tokens

    @property
    def base_model(self) -> "ECGLLMBackbone":
        """The model up to its last hidden state, for trainers that bring a head of their own, such as TRL's."""
        return ECGLLMBackbone(self)

    def _refuse_placeholders_without_ecg(self, input_ids: torch.Tensor) -> None:
        if self.config.ecg_token_id is None:
            return
        words = input_ids != self.config.ecg_token_id
        check_values(
            words,
            lambda: (
                f"The prompt holds {int((~words).sum())} ECG placeholder tokens and no ECG was given; pass ecg_values "
                "(or ecg_embeds) as ECGProcessor returns them, or take <|ecg|> out of the text."
            ),
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


class ECGLLMBackbone:
    """An ECG language model without its head: what the model takes in, the language model's last_hidden_state out.

    A view, not a module: it has no weights of its own, and for all else it is the language model.
    """

    def __init__(self, model: ECGLLMForConditionalGeneration):
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model.language_model, name)

    def __call__(
        self,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> ModelOutput:
        ecgs = (kwargs.pop(name, None) for name in _ECG_ARGUMENTS)
        inputs_embeds, _ = self._model._embed(input_ids, inputs_embeds, *ecgs)
        given = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
        return run_language_model(self._model.language_model.base_model, **given, **kwargs)


def _put_in_place(
    inputs_embeds: torch.Tensor,
    mask: torch.Tensor,
    ecg_tokens: torch.Tensor,
    counts: torch.Tensor,
    places: torch.Tensor,
) -> torch.Tensor:
    """Input embeddings [batch, tokens, size] with ECG tokens where `mask` [batch, tokens] has placeholders.

    The k-th placeholder of a prompt belongs to the ECG in whose tokens the k-th of the prompt lies.
    Args: ecg_tokens: [ecgs, tokens, size]. counts: int [batch, ecgs], how many are each ECG's own. places: which of
        the batch * ecgs places `ecg_tokens` has.
    """
    place = torch.zeros(counts.numel(), dtype=torch.long, device=mask.device)
    place[places.to(mask.device)] = torch.arange(len(ecg_tokens), device=mask.device)
    ends = counts.cumsum(dim=1)
    order = mask.cumsum(dim=1) - 1
    ecg = (order[..., None] >= ends[:, None]).sum(dim=-1).clamp(max=counts.shape[1] - 1)
    within = order - (ends - counts).gather(1, ecg)
    row = place.view_as(counts).gather(1, ecg) * ecg_tokens.shape[1] + within
    row = torch.where(mask, row, 0)
    return torch.where(mask[..., None], ecg_tokens.flatten(0, 1)[row], inputs_embeds)


_PIPELINES = {
    "ecg-text-to-text": ECGTextToTextPipeline,
    "ecg-feature-extraction": ECGFeatureExtractionPipeline,
    "ecg-classification": ECGClassificationPipeline,
    "zero-shot-ecg-classification": ZeroShotECGClassificationPipeline,
}


def _register() -> None:
    """Let transformers' Auto classes give the classes of this package."""
    for own in (*ENCODERS, ECGForSequenceClassification, ECGTextDualEncoder, ECGLLMForConditionalGeneration):
        AutoConfig.register(own.config_class.model_type, own.config_class)
        AutoModel.register(own.config_class, own)
        AutoFeatureExtractor.register(own.config_class, ECGFeatureExtractor)
    for auto in (AutoModelForCausalLM, AutoModelForMultimodalLM):
        auto.register(ECGLLMConfig, ECGLLMForConditionalGeneration)
    AutoModelForSequenceClassification.register(ECGClassifierConfig, ECGForSequenceClassification)
    AutoProcessor.register(ECGLLMConfig, ECGProcessor)
    AutoProcessor.register(ECGTextDualEncoderConfig, ECGTextDualEncoderProcessor)
    # For models that are passed to `pipeline` themselves; a folder says by itself which pipelines it has.
    for task, own in _PIPELINES.items():
        PIPELINE_REGISTRY.register_pipeline(task, own, pt_model=AutoModel, type="multimodal")


if __name__ == "ecgllm.modeling_ecgllm":
    # By the installed package only: then every checkpoint gets its classes, trusted or not. The code that travels with
    # a checkpoint must not, or another checkpoint's model would be built of it.
    _register()


__all__ = [
    "ECGBeatEncoder",
    "ECGEncoder",
    "ECGEncoderAdapter",
    "ECGForSequenceClassification",
    "ECGLLMForConditionalGeneration",
    "ECGPreTrainedModel",
    "ECGProjector",
    "ECGSummaryProjector",
    "ECGTextDualEncoder",
    "check_preprocessing",
]
