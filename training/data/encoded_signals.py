"""Encoded signals: every record through a frozen encoder once, on disk, memory-mapped.

In: an encoder and prepared signals. Out: `EncodedSignals`, a mapping from record id to what `ECGProcessor.collate`
takes in place of a signal. Decided here: the folder's name is a fingerprint of the encoder's weights, of the
preprocessing and of the augmentation, so that signals encoded by other weights are never used by mistake. A frozen
encoder then costs one pass over the records instead of one per step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets.utils import tqdm
from transformers import PreTrainedModel

from ...atomic_writing import write_json, written_whole
from ...configuration_ecgllm import count_tokens
from ...processing_ecgllm import ECGFeatureExtractor
from ...weights_ecgllm import tensors_sha256
from .augmentations import Augmenter
from .prepared_signals import PreparedSignals
from .record_index import RecordIndex, encoded_ids

_VALUES, _INDEX, _IDS, _ROWS = "patches.bin", "index.json", "ids.npy", "rows.npy"
_FORMAT = b"2"  # of the folder: raised when older ones can no longer be read
# A new encoder's settings have no dtype, a loaded one's do; the dtype of the weights shows in their bytes.
_NOT_OF_THE_FUNCTION = ("_name_or_path", "architectures", "auto_map", "dtype", "transformers_version")


class EncodedSignals(Mapping):
    """Record id -> {"ecg_embeds" float32 [patches, encoder size], "ecg_length" samples, "preprocessing_id"}."""

    def __init__(self, folder: Path):
        self.folder = folder
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self.preprocessing_id: int = index["preprocessing_id"]
        self._index = RecordIndex(np.load(folder / _IDS))
        self._rows = np.load(folder / _ROWS, mmap_mode="r")  # [records, (first patch, patches, samples)]
        shape = (index["patches"], index["hidden_size"])
        self._values = np.memmap(folder / _VALUES, dtype="<f4", mode="r", shape=shape)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        # For spawned workers: a memory-mapped array would be pickled with all its data.
        return type(self), (self.folder,)

    def __getitem__(self, record_id: str) -> dict[str, Any]:
        start, patches, length = self._rows[self._index[record_id]].tolist()
        return {
            "ecg_embeds": self._values[start : start + patches],
            "ecg_length": length,
            "preprocessing_id": self.preprocessing_id,
        }

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._index

    def __iter__(self):
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def length(self, record_id: str) -> int:
        """Samples of a record, at the model's rate."""
        return int(self._rows[self._index[record_id], 2])


def fingerprint(
    encoder: PreTrainedModel, feature_extractor: ECGFeatureExtractor, augmenter: Augmenter | None = None
) -> str:
    """16 hex digits that change with any weight or setting of the encoder, of the preprocessing and of the
    augmentation."""
    digest = hashlib.sha256(_FORMAT + str(feature_extractor.preprocessing_id).encode())
    if augmenter is not None:
        digest.update(augmenter.identity())
    settings = {key: value for key, value in encoder.config.to_dict().items() if key not in _NOT_OF_THE_FUNCTION}
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(tensors_sha256(sorted(encoder.state_dict().items())).encode())
    return digest.hexdigest()[:16]


@torch.no_grad()
def encode_signals(
    encoder: PreTrainedModel,
    feature_extractor: ECGFeatureExtractor,
    signals: PreparedSignals,
    record_ids: Iterable[str],
    folder: Path,
    batch_size: int = 64,
    augmenter: Augmenter | None = None,
) -> None:
    """Encode records and write them to `folder`, which appears only once it is complete.

    augmenter: varies each record once, before it is encoded. Records are encoded in order of length, so that little is
    padded; each is stored without padding.
    """
    ids = sorted(set(record_ids), key=lambda record_id: (signals.length(record_id), record_id))
    training = encoder.training
    encoder.eval()
    rows = np.empty((len(ids), 3), dtype=np.int64)
    total, done = 0, 0
    with written_whole(folder) as partial, open(partial / _VALUES, "wb") as file:
        for start in tqdm(range(0, len(ids), batch_size), desc="Encoding ECGs", unit="batch"):
            batch = ids[start : start + batch_size]
            prepared = [signals[record_id] for record_id in batch]
            if augmenter is not None:
                prepared = [augmenter(ecg, _number(own)) for own, ecg in zip(batch, prepared, strict=True)]
            features = feature_extractor(prepared, return_tensors="pt")
            # Without the preprocessing's fingerprint: the model checks it, not the encoder.
            inputs = {name: features[name].to(encoder.device) for name in ("ecg_values", "lead_mask", "ecg_lengths")}
            encoded = encoder(**inputs).last_hidden_state.float().cpu().numpy().astype("<f4", copy=False)
            counts = count_tokens(features["ecg_lengths"], encoder.config.patch_size).tolist()
            lengths = features["ecg_lengths"].tolist()
            for patches, count, length in zip(encoded, counts, lengths, strict=True):
                file.write(np.ascontiguousarray(patches[:count]).tobytes())
                rows[done] = total, count, length
                total, done = total + count, done + 1
        write_json(
            partial / _INDEX,
            {
                "preprocessing_id": feature_extractor.preprocessing_id,
                "hidden_size": encoder.config.hidden_size,
                "patches": total,
            },
        )
        np.save(partial / _IDS, encoded_ids(ids))
        np.save(partial / _ROWS, rows)
    encoder.train(training)


def _number(record_id: str) -> int:
    """The number of a record for an augmenter: the same whichever records are encoded with it."""
    return int.from_bytes(hashlib.blake2b(record_id.encode(), digest_size=8).digest(), "big")
