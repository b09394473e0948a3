"""Questions in one row are answered as in rows of their own, in every language model that is let do it."""

from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version

from ecgllm import ECGEncoderConfig, ECGLLMForConditionalGeneration, ECGProcessor
from ecgllm.processing_ecgllm import ECGFeatureExtractor
from ecgllm.scoring_ecgllm import answer_positions
from ecgllm.training.data.question_examples import QuestionCollator
from ecgllm.training.data.shared_ecgs import share_beginning, sharing_is_exact, why_not_shared
from ecgllm.training.recipe import LanguageModelRecipe
from ecgllm.training.text_models import build_language_model

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
QUESTIONS = [("Is there atrial fibrillation?", "yes"), ("What is the rhythm?", "sinus rhythm"), ("Is it slow?", "no")]
FAMILIES = {
    "llama": {"num_key_value_heads": 2, **SIZES},
    "qwen2": {"num_key_value_heads": 1, **SIZES},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 16, **SIZES},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256},
    "gpt_neox": SIZES,
    "opt": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32,
            "word_embed_proj_dim": 32},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
}  # fmt: skip


def build(config: dict[str, Any]) -> tuple[ECGLLMForConditionalGeneration, ECGProcessor]:
    torch.manual_seed(0)
    recipe = LanguageModelRecipe(config=config, vocab_size=300)
    language_model, tokenizer = build_language_model(recipe, ["a text"])
    extractor = ECGFeatureExtractor()
    encoder = ECGEncoderConfig(**SIZES, preprocessing=extractor.preprocessing)
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, language_model, tokenizer=tokenizer, patches_per_token=5
    )
    return model.train(), ECGProcessor.for_model(model, tokenizer, extractor)


def batches(processor: ECGProcessor, make_ecg: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(apart, together) of questions about two ECGs and, once, about a third and fourth."""
    examples = []
    ecgs = {name: make_ecg(seconds=4 + seed, seed=seed) for seed, name in enumerate("abcd")}
    for records, asked in ((("a",), QUESTIONS), (("b",), QUESTIONS[:2]), (("c", "d"), QUESTIONS[:1])):
        lengths = [processor.feature_extractor(ecgs[name])["ecg_lengths"][0] for name in records]
        for question, answer in asked:
            conversation = processor.build_conversation(question, [{}] * len(records), answer=answer)
            encoded = processor.encode_conversation(conversation, lengths)
            examples.append({**encoded, "records": records, "ecgs": [ecgs[name] for name in records]})
    for number, example in enumerate(examples):
        example["example_id"] = number
    found = []
    for count in (1, 8):
        batch = QuestionCollator(processor, count)(examples)
        assert batch.pop("example_ids").tolist() == list(range(6))
        found.append(batch)
    return found[0], found[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_called_exact_has_the_loss_and_the_gradients_of_rows_apart(family: str, make_ecg: Any) -> None:
    model, processor = build({"model_type": family, **FAMILIES[family]})
    apart, together = batches(processor, make_ecg)
    assert len(apart["input_ids"]) == 6 and len(together["input_ids"]) == 3
    allowed = why_not_shared(model, 200) is None
    exact = allowed and sharing_is_exact(model, apart, together)
    assert model.training
    # Positions that are told by the place, a state that is handed on from token to token, and attention to which masks
    # are added instead of taken as true and false, can share nothing. With transformers 5.17 gemma2 was seen to share.
    if family != "gemma2" or Version(transformers.__version__) >= Version("5.23"):
        assert exact == (family not in ("bloom", "mamba", "gemma2")), family
    if not exact:
        return
    model.eval()  # dropout would draw other numbers
    gradients = []
    for batch in (apart, together):
        model.zero_grad()
        loss = model(**batch | answer_positions(batch["labels"])).loss
        loss.backward()
        own = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        gradients.append(own | {"loss": loss.detach()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_logits_are_needed_at_the_start_of_the_rows_alone(make_ecg: Any) -> None:
    _, processor = build({"model_type": "llama", **FAMILIES["llama"]})
    apart, together = batches(processor, make_ecg)
    kept = answer_positions(together["labels"])["logits_to_keep"]
    learned = (together["labels"] != -100).sum()
    assert learned == (apart["labels"] != -100).sum()
    longest_answers = (together["labels"] != -100).sum(dim=1).max() + 3  # with the token before each of three answers
    assert len(kept) <= longest_answers and kept.max() < longest_answers
    assert together["input_ids"].numel() < 0.75 * apart["input_ids"].numel()


def test_a_question_sees_nothing_of_another(make_ecg: Any) -> None:
    """Other words in one question change nothing of what is foretold for the others."""
    model, processor = build({"model_type": "llama", **FAMILIES["llama"]})
    model.eval()
    ecg = make_ecg(seconds=5)
    lengths = processor.feature_extractor(ecg)["ecg_lengths"]
    found = []
    for other in ("Is there noise?", "Yes or no: is it fast, and wide, and irregular?"):
        rows = []
        for question, answer in (("Is there a pause?", "yes"), (other, "no")):
            conversation = processor.build_conversation(question, [{}], answer=answer)
            encoded = processor.encode_conversation(conversation, lengths)
            rows.append({**encoded, "records": ("a",), "ecgs": [ecg], "example_id": len(rows)})
        batch = QuestionCollator(processor, 8)(rows)
        assert len(batch["input_ids"]) == 1
        del batch["example_ids"], batch["labels"]
        with torch.no_grad():
            found.append(model(**batch).logits[0, :2])  # the token before "yes", and "yes"
    torch.testing.assert_close(found[0], found[1])


def test_a_row_keeps_every_token_once_and_its_place() -> None:
    one = {"input_ids": [1, 2, 3, 4, 5], "labels": [-100, -100, -100, 4, 5]}
    other = {"input_ids": [1, 2, 6, 7, 8, 9], "labels": [-100, -100, -100, -100, 8, 9]}
    row = share_beginning([one, other])
    assert row["input_ids"] == [3, 4, 5, 7, 8, 9, 1, 2, 6]
    assert row["labels"] == [-100, 4, 5, -100, 8, 9, -100, -100, -100]
    assert row["position_ids"] == [2, 3, 4, 3, 4, 5, 0, 1, 2]
    assert row["segments"] == [1, 1, 1, 2, 2, 2, 0, 0, 2]


def test_what_follows_the_answer_is_left_out() -> None:
    """ChatML writes a newline after the end of an answer, which foretells nothing."""
    rows = [{"input_ids": [1, 2, own, 9, 8], "labels": [-100, -100, own, 9, -100]} for own in (5, 6)]
    assert 8 not in share_beginning(rows)["input_ids"]
    assert [label for label in share_beginning(rows)["labels"] if label != -100] == [5, 9, 6, 9]


def test_the_same_question_twice_is_still_learned_twice() -> None:
    one = {"input_ids": [1, 2, 3, 4], "labels": [-100, -100, 3, 4]}
    row = share_beginning([one, one])
    assert sorted(row["input_ids"]) == [1, 2, 2, 3, 3, 4, 4] and row["labels"].count(4) == 2
    assert row["labels"][0] == -100


def test_a_row_has_no_more_questions_than_it_may(make_ecg: Any) -> None:
    _, processor = build({"model_type": "llama", **FAMILIES["llama"]})
    ecg = make_ecg(seconds=5)
    lengths = processor.feature_extractor(ecg)["ecg_lengths"]
    conversation = processor.build_conversation("Is it slow?", [{}], answer="no")
    one = {**processor.encode_conversation(conversation, lengths), "records": ("a",), "ecgs": [ecg]}
    batch = QuestionCollator(processor, 4)([one | {"example_id": number} for number in range(9)])
    assert (batch["labels"] != -100).any(dim=1).tolist() == [True] * 3
    answers = (batch["labels"] != -100).sum(dim=1)
    assert answers[0] == answers[1] == 4 * answers[2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_let_try_and_why(dtype: torch.dtype) -> None:
    model, _ = build({"model_type": "llama", **FAMILIES["llama"]})
    model.to(dtype)
    assert why_not_shared(model, 4000) is None
    model.set_attn_implementation("eager")
    assert "eager" in why_not_shared(model, 100)
    model.set_attn_implementation("sdpa")
    config = model.config.get_text_config()
    config.sliding_window = 128
    assert why_not_shared(model, 128) is None and "sliding_window is 128" in why_not_shared(model, 129)
    config.sliding_window, config.layer_types = None, ["full_attention", "conv"]
    assert "conv" in why_not_shared(model, 100)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_bfloat16_is_exact_enough(family: str, make_ecg: Any) -> None:
    model, processor = build({"model_type": family, **FAMILIES[family]})
    apart, together = batches(processor, make_ecg)
    assert sharing_is_exact(model.to(torch.bfloat16), apart, together)
    # Each token sees all others when nothing tells it not to.
    assert not sharing_is_exact(
        model, apart, together | {"attention_mask": torch.ones_like(together["attention_mask"])}
    )


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: 2 GB"), True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4) at dimension 1"), False),
    ],
)
def test_want_of_memory_says_nothing_of_the_model(error: Exception, raised: bool, make_ecg: Any) -> None:
    model, processor = build({"model_type": "llama", **FAMILIES["llama"]})
    apart, together = batches(processor, make_ecg)

    def forward(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].shape == together["input_ids"].shape:
            raise error

    model.register_forward_pre_hook(forward, with_kwargs=True)
    if raised:
        with pytest.raises(type(error)):
            sharing_is_exact(model, apart, together)
    else:
        assert not sharing_is_exact(model, apart, together)
    assert model.training


def test_what_goes_wrong_with_rows_of_their_own_is_raised(make_ecg: Any) -> None:
    model, processor = build({"model_type": "llama", **FAMILIES["llama"]})
    apart, together = batches(processor, make_ecg)
    with pytest.raises(ValueError, match="placeholder"):
        sharing_is_exact(model, apart | {"ecg_mask": torch.zeros_like(apart["ecg_mask"])}, together)
