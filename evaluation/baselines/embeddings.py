"""What an ECG encoder makes of records as a whole, for the regressions: a checkpoint's encoder, and one like it that
learned nothing.

In: a model of the protocol. Out: callables, records -> float [records, size]. Decided here: the pooled output, as
`ecgllm embed` gives it; ECGs that the signal path refuses are NaN; and the random encoder has the trained one's
configuration and is drawn from the seed of the evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...encoder_adapter_ecgllm import as_encoder, build_encoder
from ...errors_ecgllm import ECGError
from ...feature_extraction_ecgllm import ECGFeatureExtractor
from ...signals import ECGRecord
from ..material import Encoders

TRAINED, RANDOM = "encoder", "random encoder"


class PooledOutput:
    """float32 [records, size] of an encoder, where it lies; NaN where an ECG is refused."""

    def __init__(self, encoder: Any, extractor: ECGFeatureExtractor, batch_size: int = 32):
        self.encoder, self.extractor, self.batch_size = encoder.eval(), extractor, batch_size

    @torch.no_grad()
    def __call__(self, records: Sequence[ECGRecord]) -> np.ndarray:
        found: dict[int, np.ndarray] = {}
        prepared = [(row, ecg) for row, record in enumerate(records) for ecg in self._prepared(record)]
        prepared.sort(key=lambda item: item[1]["ecg_values"].shape[1])  # little is padded
        for start in range(0, len(prepared), self.batch_size):
            batch = prepared[start : start + self.batch_size]
            features = self.extractor([ecg for _, ecg in batch], return_tensors="pt")
            inputs = {
                name: features[name].to(self.encoder.device) for name in ("ecg_values", "lead_mask", "ecg_lengths")
            }
            vectors = self.encoder(**inputs, return_dict=True).pooler_output.float().cpu().numpy()
            found |= {row: vector for (row, _), vector in zip(batch, vectors, strict=True)}
        size = len(next(iter(found.values()))) if found else 0
        nothing = np.full(size, np.nan, dtype=np.float32)
        return np.stack([found.get(row, nothing) for row in range(len(records))]) if len(records) else np.zeros((0, 0))

    def _prepared(self, record: ECGRecord) -> list[dict[str, Any]]:
        try:
            return self.extractor.prepare(record)
        except ECGError:
            return []  # it has no row, and is counted as not answered


def encoders_of(model: Any, seed: int = 0) -> Encoders:
    """The encoder of a model of the protocol, and a random one like it; none of a model that holds no ECG encoder.

    Args: model: with `model`, a transformers model of ours, and its `extractor` or `processor`.
    """
    extractor = getattr(model, "extractor", None) or getattr(
        getattr(model, "processor", None), "feature_extractor", None
    )
    own = getattr(model, "model", None)
    if extractor is None or not isinstance(own, torch.nn.Module):  # an endpoint's is a name
        return {}
    try:
        trained = as_encoder(own)
    except ECGError:  # any other kind of model
        return {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random = build_encoder(trained.config).to(trained.device)
    return {TRAINED: PooledOutput(trained, extractor), RANDOM: PooledOutput(random, extractor)}
