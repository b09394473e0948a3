"""ecgllm: ask questions about electrocardiograms with any causal language model.

`import ecgllm` is fast: nothing of torch or transformers is imported until one of the names below is first used.
The files of the model (`*_ecgllm.py`) also travel to the Hugging Face Hub as remote code; everything else needs this
package installed.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULE_OF = {
    "ECGError": "errors_ecgllm",
    "ECGBeatEncoderConfig": "configuration_ecgllm",
    "ECGClassifierConfig": "configuration_ecgllm",
    "ECGEncoderAdapterConfig": "configuration_ecgllm",
    "ECGEncoderConfig": "configuration_ecgllm",
    "ECGFounderConfig": "configuration_ecgllm",
    "ECGLLMConfig": "configuration_ecgllm",
    "ECGTextDualEncoderConfig": "configuration_ecgllm",
    "MERLConfig": "configuration_ecgllm",
    "LEADS": "signal_ecgllm",
    "ECGFeatureExtractor": "feature_extraction_ecgllm",
    "ECGProcessor": "processing_ecgllm",
    "ECGEncoder": "encoder_ecgllm",
    "ECGBeatEncoder": "beats_ecgllm",
    "ECGFounderEncoder": "ecgfounder_ecgllm",
    "MERLEncoder": "merl_ecgllm",
    "ECGEncoderAdapter": "encoder_adapter_ecgllm",
    "ECGForSequenceClassification": "classification_ecgllm",
    "ECGLLMForConditionalGeneration": "modeling_ecgllm",
    "ECGTextDualEncoder": "dual_encoder_ecgllm",
    "ECGTextDualEncoderProcessor": "dual_encoder_processing_ecgllm",
    "ECGTextToTextPipeline": "pipeline_ecgllm",
    "ECGFeatureExtractionPipeline": "embedding_pipeline_ecgllm",
    "ECGClassificationPipeline": "classification_pipeline_ecgllm",
    "ZeroShotECGClassificationPipeline": "zero_shot_pipeline_ecgllm",
    "ECGReadError": "signals",
    "ECGRecord": "signals",
    "read_ecg": "signals",
}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ecgllm' has no attribute {name!r}; it exports {', '.join(sorted(_MODULE_OF))}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
