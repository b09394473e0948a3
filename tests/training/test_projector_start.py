"""A new projector starts at the scale of the language model's words."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from ecgllm import ECGFeatureExtractor
from ecgllm.errors_ecgllm import ECGError
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.projector_start import start_at_word_scale, word_norm


@pytest.fixture
def prepared(make_ecg) -> dict:
    extractor = ECGFeatureExtractor(sampling_rate=100)
    return {str(seed): extractor.prepare(make_ecg(10 if seed % 2 else 4, seed))[0] for seed in range(6)}


@pytest.mark.parametrize(
    "fields", [{}, {"projector_summary": True}, {"projector_type": "mlp"}, {"patches_per_token": 3}], ids=str
)
def test_tokens_have_the_norm_of_words_and_no_mean(fields, prepared, tiny_llm) -> None:
    model, _ = tiny_llm(**fields)
    words = model.get_input_embeddings().weight
    torch.nn.init.normal_(words, std=0.3)
    extractor = ECGFeatureExtractor(sampling_rate=100)
    start_at_word_scale(model, extractor, prepared, [*prepared, "refused"])

    tokens = []
    for ecg in prepared.values():  # one by one: nothing is padded
        features = extractor([ecg], return_tensors="pt")
        with torch.no_grad():
            patches = model.eval().ecg_encoder(features["ecg_values"]).last_hidden_state
            tokens.append(model.projector(patches)[0])
    tokens = torch.cat(tokens)
    assert word_norm(model) == pytest.approx(words.norm(dim=1).mean().item(), rel=1e-5)
    torch.testing.assert_close(tokens.norm(dim=1).mean(), words.norm(dim=1).mean(), rtol=1e-3, atol=0)
    assert tokens.mean(dim=0).norm() < 1e-3 * word_norm(model)
    assert tokens.std(dim=0).min() > 0


def test_tokens_that_are_all_alike_are_refused(prepared, tiny_llm) -> None:
    model, _ = tiny_llm(patches_per_token=100)
    alone = {"0": prepared["0"]}  # one token
    with pytest.raises(ECGError, match="all alike.*projector.start: random"):
        start_at_word_scale(model, ECGFeatureExtractor(sampling_rate=100), alone, ["0"])


@pytest.mark.slow
def test_a_recipe_starts_so_or_as_initialised(write_recipe: Callable[..., Path]) -> None:
    found = {}
    training = {"max_steps": 1, "learning_rate": 1.0e-9}
    stages = {"debias": {"batch_size": 8, "tune": "frozen", "evaluate": 0, "training": training}}
    for start in ("words", "random"):
        folder = run_recipe(load_recipe(write_recipe(stages=stages), [f"projector.start={start}"]))
        found[start] = AutoModel.from_pretrained(folder, trust_remote_code=True).projector.layers[-1].weight
    ratio = found["words"] / found["random"]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)
    assert abs(ratio.mean() - 1) > 0.1
