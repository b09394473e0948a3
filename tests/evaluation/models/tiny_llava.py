"""A random model that reads pictures."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "initializer_range": 1.0}
TEMPLATE = (
    "{% for turn in messages %}{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}\n"
)


def tiny_llava(tokenizer: Any) -> tuple[Any, Any]:
    """(model, processor); the tokenizer gets a token for pictures."""
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"], "pad_token": "</s>"})
    text = {**SIZES, "vocab_size": len(tokenizer), "num_hidden_layers": 1, "bos_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**SIZES, num_hidden_layers=2, image_size=28, patch_size=14),
            text_config=LlamaConfig(**text),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
    ).eval()
    images = CLIPImageProcessor(size={"height": 28, "width": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        images, tokenizer, patch_size=14, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return model, processor
