"""Labels of an ECG from any ECG encoder and a linear head: `ECGForSequenceClassification`.

In: ECGs [ecgs, leads, samples] and, to train, labels. Out: logits [ecgs, labels] and a loss, as transformers' models
for sequence classification have it (`problem_type`, `num_labels`, `id2label`). The head reads the encoder's
`pooler_output`. Decided here: an encoder comes from whatever folder holds one, whole or not at all, and only the head
may be new; a label that nobody knows (NaN) teaches nothing.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple, logging

from .classification_pipeline_ecgllm import ECGClassificationPipeline
from .configuration_ecgllm import ECGClassifierConfig
from .encoder_adapter_ecgllm import as_encoder, build_encoder
from .encoder_ecgllm import ECGEncoder, ECGPreTrainedModel, check_preprocessing, check_values
from .errors_ecgllm import ECGError
from .loading_ecgllm import HUB_ARGUMENTS, check_files

logger = logging.get_logger(__name__)


class ECGForSequenceClassification(ECGPreTrainedModel):
    """An ECG encoder with a linear head: several labels, one of several, or numbers for each ECG.

    `from_pretrained` takes the folder of a classifier, or of any model that holds an encoder: that of an encoder, a
    dual encoder or an ECG language model gives its encoder, and the head is new (a warning says so).
    """

    config: ECGClassifierConfig
    config_class = ECGClassifierConfig
    _code_module = "classification_ecgllm"
    _pipelines = {"ecg-classification": f"classification_pipeline_ecgllm.{ECGClassificationPipeline.__name__}"}
    base_model_prefix = "ecg_encoder"
    main_input_name = "ecg_values"
    # The rest of the model that the encoder is taken out of; what it has of a head is refused by its shape.
    _keys_to_ignore_on_load_unexpected = [rf"^({ECGEncoder._left_in_folder})"]
    # The loss is a mean over a batch; Trainer divides it by the steps that it accumulates.
    accepts_loss_kwargs = False

    def __init__(self, config: ECGClassifierConfig):
        super().__init__(config)
        if type(self).__name__ not in (config.architectures or ()):
            self._keys_to_ignore_on_load_missing = [_HEAD]  # the folder is not that of a classifier: the head is new
        self.ecg_encoder = build_encoder(config.encoder_config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.encoder_config.hidden_size, config.num_labels)
        self.post_init()

    @classmethod
    def from_encoder(
        cls, encoder: PreTrainedModel | PreTrainedConfig | str | Path, **config_fields: Any
    ) -> "ECGForSequenceClassification":
        """Put a new head on an ECG encoder.

        Args:
            encoder: any ECG encoder, a model that holds one, the path of a checkpoint of either (another classifier
                gives its encoder without its head), or a configuration (random weights); see `as_encoder`.
            config_fields: of `ECGClassifierConfig`: `num_labels` or `id2label`, `problem_type`, ...
        """
        encoder = as_encoder(encoder)
        # The encoder comes in after the initialisation, which must not touch it.
        model = cls(ECGClassifierConfig(encoder_config=encoder.config, **{"dtype": encoder.dtype} | config_fields))
        model.ecg_encoder = encoder
        return model.to(device=encoder.device, dtype=encoder.dtype)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; of another model's folder the encoder is taken, with a new head.

        Args: num_labels, id2label, problem_type, classifier_dropout: of `ECGClassifierConfig`, in place of the
            folder's. All others as of `WholeWeights.from_pretrained`, and so are the errors.
        """
        stated = {key: kwargs[key] for key in _OF_THE_HEAD if key in kwargs}
        if stated and not isinstance(kwargs.get("config"), PreTrainedConfig):
            # Before the code of an encoder that brings its own makes a configuration of it, which takes no fields.
            kwargs = {key: value for key, value in kwargs.items() if key not in stated}
            hub = {key: kwargs[key] for key in HUB_ARGUMENTS if key in kwargs}
            check_files(Path(pretrained_model_name_or_path) / kwargs.get("subfolder", ""))
            name = kwargs.get("config") or pretrained_model_name_or_path
            kwargs["config"] = cls.config_class.from_pretrained(name, **stated, **hub)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def _finalize_model_loading(cls, model: Any, load_config: Any, loading_info: Any) -> Any:
        new_head = any(key.startswith("classifier.") for key in loading_info.missing_keys)
        loading_info = super()._finalize_model_loading(model, load_config, loading_info)
        if new_head and load_config.pretrained_model_name_or_path is not None:
            logger.warning(
                f"{load_config.pretrained_model_name_or_path} holds an ECG encoder and no head for "
                f"{model.config.num_labels} labels: the head is new, and has to be trained before its logits mean "
                "anything."
            )
        return loading_info

    def _auto_map(self) -> dict[str, str]:
        return super()._auto_map() | {
            "AutoModelForSequenceClassification": f"{self._code_module}.{type(self).__name__}"
        }

    def get_input_embeddings(self) -> nn.Module:
        return self.ecg_encoder.get_input_embeddings()

    def freeze_base_model(self) -> None:
        """Let the head learn alone: a linear probe."""
        self.ecg_encoder.requires_grad_(False)

    @can_return_tuple
    def forward(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Classify ECGs.

        Args:
            ecg_values: [ecgs, leads, samples]. lead_mask: bool [ecgs, leads]. ecg_lengths: int [ecgs]. All as
                `ECGFeatureExtractor` returns them.
            labels: of "multi_label_classification" [ecgs, labels], 0 to 1; of "single_label_classification" int
                [ecgs], a label's number; of "regression" [ecgs, labels], or [ecgs] where there is one. NaN in the
                first and the last: not known, and left out of the loss. Where the configuration has no
                `problem_type`, it is found from the first labels, as transformers does: one label is a regression,
                whole numbers are of single labels, others of several.
            preprocessing_id: int [ecgs], the feature extractor's, compared with the checkpoint's.
        Returns: loss (mean over the labels that are known), logits [ecgs, labels], and what the encoder gives of
            hidden_states and attentions.
        Raises: ECGError for labels of another shape or range, and for ECGs that were prepared in another way.
        """
        check_preprocessing(self.config.encoder_config, preprocessing_id)
        # peft names the arguments of a text model here, and gives them None.
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        encoded = self.ecg_encoder(
            ecg_values, lead_mask=lead_mask, ecg_lengths=ecg_lengths, **kwargs | {"return_dict": True}
        )
        logits = self.classifier(self.dropout(encoded.pooler_output.to(self.classifier.weight.dtype)))
        return SequenceClassifierOutput(
            loss=None if labels is None else self._loss(logits, labels.to(logits.device)),
            logits=logits,
            hidden_states=encoded.get("hidden_states"),
            attentions=encoded.get("attentions"),
        )

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        config = self.config
        if config.problem_type is None:
            whole = not labels.is_floating_point()
            config.problem_type = (
                "regression"
                if config.num_labels == 1
                else "single_label_classification"
                if whole
                else "multi_label_classification"
            )
        single = config.problem_type == "single_label_classification"
        expected = logits.shape[:1] if single else logits.shape
        if single and labels.is_floating_point():
            raise ECGError(f"labels are {labels.dtype}; expected whole numbers, one label's number for each ECG.")
        if labels.numel() != expected.numel() or len(labels) != len(logits):
            raise ECGError(
                f"labels have shape {list(labels.shape)}; expected {list(expected)} for the {config.problem_type} of "
                f"{len(logits)} ECGs with {config.num_labels} labels."
            )
        logits, labels = logits.float(), labels.view(expected)
        if single:
            return nn.functional.cross_entropy(logits, labels)
        labels = labels.float()
        known = ~labels.isnan()
        values = labels.nan_to_num()
        if config.problem_type == "regression":
            losses = nn.functional.mse_loss(logits, values, reduction="none")
        else:
            check_values(
                (values >= 0) & (values <= 1),
                lambda: (
                    f"labels lie between {float(values.min()):g} and {float(values.max()):g}; expected 0 to 1 for "
                    "several labels of an ECG, and NaN for one that is not known."
                ),
            )
            losses = nn.functional.binary_cross_entropy_with_logits(logits, values, reduction="none")
        return (losses * known).sum() / known.sum().clamp(min=1)


_HEAD = r"^classifier\."
_OF_THE_HEAD = ("num_labels", "id2label", "problem_type", "classifier_dropout")

__all__ = ["ECGForSequenceClassification"]
