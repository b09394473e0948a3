"""What all pipelines here share (`ECGPipeline`): inputs of any kind, one by one or in batches, and whole folders; and
what those of models that see ECGs alone do (`ECGModelPipeline`).

In: an ECG or a list, generator or data set of ECGs (for questions: of what is asked about them). Out: what
transformers' pipelines give: one result, a list for a list, an iterator for all else. Decided here: items of a batch
are put together as lists, and padded where the model is called, which knows of them.
"""

from collections.abc import Iterable, Mapping, Sized
from os import PathLike
from pathlib import Path
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from .errors_ecgllm import ECGError
from .processor_parts_ecgllm import check_fits, feature_extractor_for
from .saving_ecgllm import PushedWithOwnCard, split_hub_arguments

ECG_SETTINGS = ("sampling_rate", "leads", "nan_policy", "drop_unknown_leads", "require_heart")
"""Arguments of a pipeline that are for `ECGFeatureExtractor.prepare`."""


class ECGPipeline(PushedWithOwnCard, Pipeline):
    """A pipeline whose `preprocess` gives lists of what its `_forward` takes together."""

    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.model.eval()  # it may come from training, where dropout changes what it gives

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Save a folder that `pipeline` loads again; arguments as in transformers, which leaves the processor out."""
        hub, kwargs = split_hub_arguments(save_directory, kwargs)
        super().save_pretrained(save_directory, **kwargs)
        if self.processor is not None:
            self.processor.save_pretrained(save_directory)
        if push_to_hub:  # as one commit, of model and processor
            self.push_to_hub(**hub)

    def _write_card(self, folder: Path) -> None:
        self.model._write_card(folder)

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> PipelineIterator:
        """As in transformers, but items are put together here and padded in `_forward`."""
        sized = isinstance(inputs, Sized)
        dataset = (PipelineDataset if sized else PipelineIterator)(inputs, self.preprocess, preprocess_params)
        # Each worker would go through all of what has no length.
        workers = num_workers if sized else min(num_workers, 1)
        loader = DataLoader(dataset, num_workers=workers, batch_size=batch_size, collate_fn=_join)
        outputs = PipelineIterator(loader, self.forward, forward_params, loader_batch_size=batch_size)
        return PipelineIterator(outputs, self.postprocess, postprocess_params)


class ECGModelPipeline(ECGPipeline):
    """A pipeline of a model that sees ECGs alone: an encoder, or a model that holds one."""

    _load_processor = False
    _load_feature_extractor = None  # else as the encoder's configuration says

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        config = self.model.config
        self.encoder_config = getattr(config, "encoder_config", config)
        if not hasattr(self.encoder_config, "patch_size"):
            raise ECGError(
                f"The model is a {type(self.model).__name__}, in which there is no ECG encoder; expected an encoder, "
                "or a model that holds one."
            )
        if self.feature_extractor is None:
            self.feature_extractor = feature_extractor_for(self.encoder_config)
        check_fits(self.feature_extractor, self.encoder_config)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        inputs = one_or_many(inputs)
        return [] if isinstance(inputs, list) and not inputs else super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any, **settings: Any) -> dict[str, list[Any]]:
        return {"ecgs": [prepare_one(self.feature_extractor, inputs, **settings)]}


def _join(items: list[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    return {name: [one for item in items for one in item[name]] for name in items[0]}


def one_or_many(inputs: Any) -> Any:
    """ECGs in the form in which a pipeline of transformers tells one from many: a list, a generator or a data set is
    many, as is any other iterable (a column of a `datasets.Dataset`, an iterator) that is no ECG.
    """
    if isinstance(inputs, list | tuple):
        return list(inputs)
    if isinstance(inputs, str | PathLike | Mapping | np.ndarray | torch.Tensor | Dataset | GeneratorType):
        return inputs
    if hasattr(inputs, "signal") or not isinstance(inputs, Iterable):
        return inputs
    return (item for item in inputs)


def check_settings(given: Mapping[str, Any], own: str) -> None:
    """Raises: TypeError for an argument that is neither the pipeline's own nor of `ECG_SETTINGS`."""
    if unknown := sorted(set(given) - set(ECG_SETTINGS)):
        raise TypeError(f"Unknown arguments {unknown}; expected some of {own}, {', '.join(ECG_SETTINGS)}.")


def prepare_one(feature_extractor: Any, ecg: Any, require_heart: bool = True, **settings: Any) -> dict[str, Any]:
    """One ECG as the model sees it (`ECGFeatureExtractor.prepare`), in which a heart beats unless asked otherwise.

    Raises: ECGInputError as `prepare`; ECGError for several ECGs in one item.
    """
    prepared = feature_extractor.prepare(ecg, require_heart=require_heart, **settings)
    if len(prepared) != 1:
        raise ECGError(f"Found {len(prepared)} ECGs in one item; expected one. Give several as one flat list.")
    return prepared[0]


__all__ = ["ECG_SETTINGS", "ECGModelPipeline", "ECGPipeline", "check_settings", "one_or_many", "prepare_one"]
