"""Text models of a run: pretrained ones by name, or small untrained ones with a tokenizer of their own.

In: a recipe's language model or text encoder and the texts of the run. Out: tokenizer and model. A small model built
from a configuration needs no download; tests, demos and machines without a network use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ..errors_ecgllm import ECGError
from .fetch import way_to
from .recipe import LanguageModelRecipe, Recipe, RecipeError, TextEncoderRecipe


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE tokenizer trained on texts: any text can be encoded, and decoding gives it back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", padding_side="right"
    )


def check_fetched(recipe: Recipe) -> None:
    """Raises: RecipeError for a missing model that `ecgllm fetch` fetches, before hours are spent on earlier
    stages."""
    for key in {"text_encoder", "language_model"} - set(recipe.unused_parts()):
        name = getattr(recipe, key).name
        if name is not None and (way := way_to(name)):
            raise RecipeError(f"{key}.name is {name}, which is not there; {way}.")


def build_language_model(recipe: LanguageModelRecipe, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
    """(causal language model, its tokenizer)."""
    if recipe.name is not None:
        model = AutoModelForCausalLM.from_pretrained(recipe.name, dtype=recipe.dtype)
        return model, AutoTokenizer.from_pretrained(recipe.name)
    tokenizer = train_tokenizer(texts, recipe.vocab_size)
    return AutoModelForCausalLM.from_config(_untrained_config(recipe.config, tokenizer)), tokenizer


def build_text_encoder(recipe: TextEncoderRecipe, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
    """(text encoder, its tokenizer)."""
    if recipe.name is not None:
        return AutoModel.from_pretrained(recipe.name), AutoTokenizer.from_pretrained(recipe.name)
    tokenizer = train_tokenizer(texts, recipe.vocab_size)
    return AutoModel.from_config(_untrained_config(recipe.config, tokenizer)), tokenizer


def _untrained_config(config: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> Any:
    fields = dict(config)
    model_type = fields.pop("model_type", None)
    if model_type is None:
        raise ECGError(f"The model config {config} has no model_type; expected one, e.g. model_type: llama.")
    return AutoConfig.for_model(
        model_type,
        **fields,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
