"""What processors share: a feature extractor and a tokenizer, loaded and saved as one, and fitting a model.

In: a checkpoint's folder or Hub id, or a model's configuration. Out: `ECGProcessorParts`, from which the processors of
ECG language models and of dual encoders derive; and whether a feature extractor prepares ECGs as an encoder was
trained with (`check_fits`). Decided here: the parts of a folder are loaded by our own classes, whoever trusts it.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, FeatureExtractionMixin
from transformers.configuration_utils import PreTrainedConfig
from transformers.processing_utils import ProcessorMixin

from .configuration_ecgllm import describe_difference, preprocessing_fingerprint
from .errors_ecgllm import ECGError
from .feature_extraction_ecgllm import ECGFeatureExtractor
from .saving_ecgllm import PushedWithOwnCard, copy_code


class ECGProcessorParts(PushedWithOwnCard, ProcessorMixin):
    """A processor of a feature extractor and a tokenizer, in this order the first arguments of its `__init__`."""

    _code_module: str
    """The file of the class without its ending."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        # transformers looks the class up among its own; ours is any feature extractor that prepares ECGs.
        if argument_name == "feature_extractor":
            return FeatureExtractionMixin
        return super().check_argument_for_proper_class(argument_name, argument)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        # By its own class: transformers would look for the feature extractor among the Auto classes, which know ours
        # only as remote code and would ask for trust inside the package itself. So would the tokenizer for the sake of
        # config.json, which says nothing of tokenizers: an empty configuration stands for it.
        trust = kwargs.pop("trust_remote_code", None)
        feature_extractor = ECGFeatureExtractor.from_pretrained(pretrained_model_name_or_path, **kwargs)
        tokenizer = AutoTokenizer.from_pretrained(
            pretrained_model_name_or_path, config=PreTrainedConfig(), trust_remote_code=trust, **kwargs
        )
        return [feature_extractor, tokenizer]

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Save tokenizer, feature extractor and processor, complete as remote code. Arguments as in transformers."""
        self.auto_map = {"AutoProcessor": f"{self._code_module}.{type(self).__name__}"}
        # First, as it states where its own class is found, which the processor's file repeats.
        files = self.feature_extractor.save_pretrained(save_directory)
        files += super().save_pretrained(str(save_directory))
        copy_code(save_directory, self._code_module)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return files


def feature_extractor_for(encoder_config: PreTrainedConfig) -> ECGFeatureExtractor:
    """The feature extractor that prepares ECGs as an encoder's configuration says.

    Raises: ECGError where it does not say.
    """
    if encoder_config.preprocessing is None:
        raise ECGError(
            "The model's encoder does not say how its ECGs were prepared (encoder_config.preprocessing is None); pass "
            "feature_extractor=."
        )
    settings = inspect.signature(ECGFeatureExtractor.__init__).parameters
    stated = encoder_config.preprocessing.items()
    return ECGFeatureExtractor(**{name: value for name, value in stated if name in settings and value is not None})


def check_fits(feature_extractor: ECGFeatureExtractor, encoder_config: PreTrainedConfig) -> None:
    """Check that a feature extractor prepares ECGs as an encoder was trained with.

    Raises: ECGError naming the first difference in leads or preprocessing (all of its fields).
    """
    if len(feature_extractor.leads) != encoder_config.num_leads:
        raise ECGError(
            f"The processor makes {len(feature_extractor.leads)} leads, the model's encoder takes "
            f"{encoder_config.num_leads}. Load the processor from the model's own folder "
            "(AutoProcessor.from_pretrained)."
        )
    expected = encoder_config.preprocessing
    if expected is not None and preprocessing_fingerprint(expected) != feature_extractor.preprocessing_id:
        raise ECGError(
            "The processor prepares ECGs in another way than the checkpoint's encoder was trained with: "
            f"{describe_difference(feature_extractor.preprocessing, expected)}. Load the processor from the "
            "model's own folder (AutoProcessor.from_pretrained)."
        )


__all__ = ["ECGProcessorParts", "check_fits", "feature_extractor_for"]
