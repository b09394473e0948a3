"""Where a new projector starts: its tokens as long as the language model's words, and different from ECG to ECG.

In: a model whose projector is untrained, and records. Out: the same model; `ECGProjector.start_at_norm` says how.
Decided here: the norm is the mean over the vocabulary, as the language model itself embeds it, and the ECGs are some
of the run's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..configuration_ecgllm import count_tokens
from ..modeling_ecgllm import ECGLLMForConditionalGeneration
from ..processing_ecgllm import ECGFeatureExtractor
from .data.prepared_signals import PreparedSignals

ECGS = 256
"""As many as say what mean and norm are; a pass of a second through the encoder."""
_BATCH = 64


@torch.no_grad()
def start_at_word_scale(
    model: ECGLLMForConditionalGeneration,
    feature_extractor: ECGFeatureExtractor,
    signals: PreparedSignals,
    record_ids: Sequence[str],
) -> None:
    """Scale a new projector to the word embeddings, on the first `ECGS` of the records that have a usable signal."""
    usable = [own for own in record_ids if own in signals][:ECGS]
    if not usable:
        return  # the stage says that nothing is left to learn from
    encoder = model.ecg_encoder
    training = encoder.training
    encoder.eval()
    encoded, counts = [], []
    for start in range(0, len(usable), _BATCH):
        features = feature_extractor([signals[own] for own in usable[start : start + _BATCH]], return_tensors="pt")
        inputs = {name: features[name].to(encoder.device) for name in ("ecg_values", "lead_mask", "ecg_lengths")}
        own = count_tokens(features["ecg_lengths"], encoder.config.patch_size).tolist()
        encoded += [ecg[:count] for ecg, count in zip(encoder(**inputs).last_hidden_state.float(), own, strict=True)]
        counts += own
    encoder.train(training)
    patches = torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True)
    num_patches = torch.tensor(counts, device=patches.device)
    model.projector.start_at_norm(word_norm(model), patches, num_patches)


@torch.no_grad()
def word_norm(model: ECGLLMForConditionalGeneration) -> float:
    """The mean norm of the vocabulary's embeddings, with whatever scale the language model gives them."""
    embed = model.get_input_embeddings()
    ids = torch.arange(embed.weight.shape[0], device=embed.weight.device)
    return torch.cat([embed(part).float().norm(dim=-1) for part in ids.split(4096)]).mean().item()
