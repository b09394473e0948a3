"""Pipeline: ECGs in, embeddings out (`ecg-feature-extraction`).

`pipeline("ecg-feature-extraction", model=checkpoint, trust_remote_code=True)` gives it, of an encoder's checkpoint and
of a dual encoder's; `pipeline(model=...)` finds it by itself for an encoder. Input: an ECG or any number of them, of
any durations. Output: one vector an ECG, and its tokens where they are asked for.
"""

from typing import Any

import numpy as np
import torch

from .configuration_ecgllm import count_tokens
from .errors_ecgllm import ECGError
from .pipeline_base_ecgllm import ECGModelPipeline, check_settings


class ECGFeatureExtractionPipeline(ECGModelPipeline):
    """Embed ECGs.

    Examples:
        pipe("patient.hea")  # [hidden]
        pipe([first, second], batch_size=32)  # a list of them
        pipe(KeyDataset(corpus, "ecg"), batch_size=32)  # an iterator
        pipe(ecg, return_tokens=True)["tokens"]  # [tokens, hidden]
    """

    def _sanitize_parameters(
        self, return_tokens: bool | None = None, return_tensors: str | None = None, **ecg_settings: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_settings(ecg_settings, "return_tokens, return_tensors")
        if return_tensors not in (None, "np", "pt"):
            raise ECGError(f"return_tensors is {return_tensors!r}; expected 'np' or 'pt'.")
        forward = {} if return_tokens is None else {"return_tokens": return_tokens}
        return ecg_settings, forward, {} if return_tensors is None else {"return_tensors": return_tensors}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Embed one ECG or many.

        Args:
            inputs: an ECG: whatever `ECGFeatureExtractor` takes (a file's path where `ecgllm` is installed, a record,
                a mapping with signal, sampling_rate and leads, an array with the arguments of these names); or a list,
                generator, data set or column of them.
            return_tokens: give the tokens, too. return_tensors: "np" (default) or "pt".
            batch_size: ECGs per call of the model. num_workers: processes that read and prepare ECGs.
            sampling_rate, leads, nan_policy, drop_unknown_leads: for ECGs, see `ECGFeatureExtractor`.
            require_heart: False to embed an ECG in which no heart beats, which is refused otherwise.
        Returns: for each ECG a vector float32 [hidden], the mean of its tokens; of a dual encoder [projection_dim], in
            the space of its texts, not of unit length. With return_tokens a mapping: embedding, and tokens [tokens,
            hidden], one per `patch_size` samples, in order. A list for a list, an iterator for other many.
        Raises: ECGInputError as `ECGFeatureExtractor`, and for an ECG that is flat or noise alone; TypeError for an
            unknown argument.
        """
        return super().__call__(inputs, **kwargs)

    def _forward(self, model_inputs: dict[str, list[Any]], return_tokens: bool = False) -> dict[str, torch.Tensor]:
        """Embed a batch: embeddings [ecgs, hidden]; tokens [ecgs, tokens, hidden], and how many are each ECG's own
        [ecgs]."""
        batch = self.feature_extractor(model_inputs["ecgs"]).to(self.device)
        # A dual encoder projects what its encoder gives; of any other model the encoder is meant.
        if hasattr(self.model, "ecg_projection"):
            encoded = self.model.get_ecg_features(**batch)
        else:
            encoded = getattr(self.model, "ecg_encoder", self.model)(**batch)
        found = {"embeddings": encoded.pooler_output}
        if return_tokens:
            counts = count_tokens(batch["ecg_lengths"], self.encoder_config.patch_size)
            found |= {"tokens": encoded.last_hidden_state, "counts": counts}
        return found

    def postprocess(self, model_outputs: dict[str, torch.Tensor], return_tensors: str = "np") -> Any:
        def given(tensor: torch.Tensor) -> torch.Tensor | np.ndarray:
            tensor = tensor.float().clone()  # not a view of the whole batch
            return tensor.numpy() if return_tensors == "np" else tensor

        embedding = given(model_outputs["embeddings"][0])
        if "tokens" not in model_outputs:
            return embedding
        return {"embedding": embedding, "tokens": given(model_outputs["tokens"][0, : int(model_outputs["counts"])])}


__all__ = ["ECGFeatureExtractionPipeline"]
