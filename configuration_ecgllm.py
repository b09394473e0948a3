"""Configurations of what is made with an ECG encoder, and those of encoders by the names of their checkpoints.

`ECGTextDualEncoderConfig` adds a text encoder for contrastive pre-training; `ECGLLMConfig` joins an encoder, the
projector and any causal language model; `ECGClassifierConfig` puts a head for labels on an encoder. The encoders' own
configurations (`encoder_configuration_ecgllm`) are found here, too: checkpoints name them so.
"""

from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig

from .configuration_base_ecgllm import (
    FORMAT_VERSION,
    OF_ENCODER,
    OwnConfig,
    UntrustedConfig,
    as_sub_config,
    count_tokens,
    describe_difference,
    encoder_configs,
    migrated,
    preprocessing_fingerprint,
)
from .encoder_configuration_ecgllm import (
    ECGBeatEncoderConfig,
    ECGEncoderAdapterConfig,
    ECGEncoderConfig,
    ECGFounderConfig,
    MERLConfig,
    as_encoder_config,
)
from .errors_ecgllm import ECGError

PROJECTOR_FIELDS = {
    "type": "projector_type",
    "hidden_size": "projector_hidden_size",
    "patches_per_token": "patches_per_token",
    "summary": "projector_summary",
}
"""Options of the projector, as a recipe calls them -> fields of `ECGLLMConfig`."""

ECG_TOKEN = "<|ecg|>"
"""The placeholder that stands for one ECG in a text; the processor repeats it once per ECG token."""


class ECGTextDualEncoderConfig(OwnConfig):
    """Configuration of `ECGTextDualEncoder`: an ECG encoder and any Hugging Face text encoder in one embedding space.

    Args:
        encoder_config: the ECG encoder (`as_encoder_config`). text_config: any text encoder that `AutoModel` knows
            (default BERT).
        projection_dim: size of the common space.
        loss_type: "infonce" (CLIP, arXiv 2103.00020) or "sigmoid" (SigLIP, arXiv 2303.15343).
        logit_scale_init_value: logarithm of the initial inverse temperature; None gives the published start of either
            loss, ln(1/0.07) or ln(10). logit_bias_init_value: start of the sigmoid loss' bias (-10 as published).
    """

    model_type = "ecgllm_dual_encoder"
    sub_configs = {"encoder_config": AutoConfig, "text_config": AutoConfig}

    encoder_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_dim: int = 256
    loss_type: str = "infonce"
    logit_scale_init_value: float | None = None
    logit_bias_init_value: float = -10.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        self.encoder_config = as_encoder_config(self.encoder_config)
        self.text_config = as_sub_config(self.text_config, "text_config", "bert")
        super().__post_init__(**kwargs)
        self._check_sizes("projection_dim")
        if self.loss_type not in ("infonce", "sigmoid"):
            raise ECGError(f"loss_type is {self.loss_type!r}; expected 'infonce' or 'sigmoid'.")


class ECGClassifierConfig(OwnConfig):
    """Configuration of `ECGForSequenceClassification`: an ECG encoder and a linear head.

    Args:
        encoder_config: the ECG encoder (`as_encoder_config`).
        classifier_dropout: of what the head reads.
        num_labels, id2label, label2id, problem_type: as in transformers. Names give numbers: label2id follows from
            id2label.
    """

    model_type = "ecgllm_classifier"
    sub_configs = {"encoder_config": AutoConfig}

    encoder_config: dict | PreTrainedConfig | None = None
    classifier_dropout: float = 0.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        self.encoder_config = as_encoder_config(self.encoder_config)
        super().__post_init__(**kwargs)
        self.label2id = {name: number for number, name in self.id2label.items()}

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """As in transformers. From a folder with another model it takes only the part about the ECG encoder."""
        values, kwargs = super().get_config_dict(*args, **kwargs)
        values = migrated(values) if values else values
        if values and values.get("model_type") != cls.model_type:
            kept = {key: values[key] for key in ("dtype", "trained_on") if values.get(key) is not None}
            if "trained_on" in kept:
                kept["trained_on"] = OF_ENCODER + kept["trained_on"].removeprefix(OF_ENCODER)
            values = {"encoder_config": values.get("encoder_config", values), **kept}
        return values, kwargs

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers, where names that are passed on come too late for label2id. Errors as of the others."""
        names = {key: kwargs.pop(key) for key in ("id2label",) if kwargs.get(key) is not None}
        return super().from_dict(config_dict | names, **kwargs)


class ECGLLMConfig(OwnConfig):
    """Configuration of `ECGLLMForConditionalGeneration`: ECG encoder, projector and any causal language model.

    Args:
        encoder_config: the ECG encoder (`as_encoder_config`). text_config: any model that `AutoModelForCausalLM` knows
            (default Llama).
        projector_type: "linear" (the paper, arXiv 2411.14795) or "mlp" (two layers, as LLaVA 1.5, arXiv 2310.03744).
        projector_hidden_size: width of the MLP projector; None takes the language model's hidden size.
        projector_hidden_act: activation of the MLP projector.
        patches_per_token: neighbouring patches that are joined into one token for the language model, whose cost grows
            linearly with tokens.
        projector_summary: whether each token gets the projected mean of the ECG's patches, too. Contrastive
            pre-training compares that mean with the report, never a single patch.
        ecg_token_id: id of the placeholder token in the language model's vocabulary.
        language_model_base: of a trained-only checkpoint (`composition_ecgllm`), the language model that it leaves
            out: name, revision, tensors_sha256, and whether there is an adapter on it. None: it is in the checkpoint.
    """

    model_type = "ecgllm"
    sub_configs = {"encoder_config": AutoConfig, "text_config": AutoConfig}

    encoder_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projector_type: str = "linear"
    projector_hidden_size: int | None = None
    projector_hidden_act: str = "gelu"
    patches_per_token: int = 1
    projector_summary: bool = False
    ecg_token_id: int | None = None
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    language_model_base: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        self.encoder_config = as_encoder_config(self.encoder_config)
        self.text_config = as_sub_config(self.text_config, "text_config", "llama")
        # The language model ties its own weights; transformers asks the outer configuration.
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        super().__post_init__(**kwargs)
        if self.projector_type not in ("linear", "mlp"):
            raise ECGError(f"projector_type is {self.projector_type!r}; expected 'linear' or 'mlp'.")
        self._check_sizes("patches_per_token")
        if self.projector_hidden_size is not None:
            self._check_sizes("projector_hidden_size")

    @property
    def samples_per_token(self) -> int:
        """Input samples behind one ECG token of the language model."""
        return self.encoder_config.patch_size * self.patches_per_token

    @property
    def max_positions(self) -> int | None:
        """Tokens that the language model was made for, ECG tokens included; None where there is no limit."""
        return getattr(self.text_config.get_text_config(), "max_position_embeddings", None)

    def num_ecg_tokens(self, lengths: Any) -> Any:
        """Language model tokens of ECGs of these lengths (samples), for an int an int and for a tensor a tensor."""
        return count_tokens(lengths, self.samples_per_token)


__all__ = [
    "ECG_TOKEN",
    "FORMAT_VERSION",
    "ECGBeatEncoderConfig",
    "ECGClassifierConfig",
    "ECGEncoderAdapterConfig",
    "ECGEncoderConfig",
    "ECGFounderConfig",
    "ECGLLMConfig",
    "ECGTextDualEncoderConfig",
    "MERLConfig",
    "UntrustedConfig",
    "as_encoder_config",
    "count_tokens",
    "describe_difference",
    "encoder_configs",
    "migrated",
    "preprocessing_fingerprint",
]
