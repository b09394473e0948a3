"""`ECGProcessor`: prompts, chat templates, labels, padding, and every refusal, with real tokenizers made here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BatchFeature, PreTrainedTokenizerFast, PythonBackend

from ecgllm import ECGEncoderConfig, ECGError, ECGFeatureExtractor, ECGLLMConfig, ECGProcessor, ECGRecord
from ecgllm.chat_template_ecgllm import guarded
from ecgllm.measured_figures_ecgllm import measured_text
from ecgllm.processing_ecgllm import LEADS, PLAIN_CHAT_TEMPLATE, add_ecg_token, ecg_prompt
from ecgllm.saving_ecgllm import code_files

SPECIAL = (
    "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<start_of_turn>", "<end_of_turn>",
)  # fmt: skip

CHATML = (  # Qwen2.5, which adds a system turn of its own
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{%- if not (message.role == 'system' and loop.first) %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
LLAMA3 = (
    "{{- bos_token }}{% for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
GEMMA = (  # refuses a system turn, calls the assistant "model", strips what is said
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
TAGGED = (  # a template that says itself what is learned
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
THINKING = (  # Qwen3: an empty thought in the last answer, taken out once another turn follows
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.role == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ message.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# template, and how an answer "yes" of it reads, end of turn included
TEMPLATES = {
    "plain": (None, " yes</s>"),
    "chatml": (CHATML, "yes<|im_end|>"),
    "llama3": (LLAMA3, "yes<|eot_id|>"),
    "gemma": (GEMMA, "yes<end_of_turn>"),
    "tagged": (TAGGED, "yes<|im_end|>"),
}


def make_tokenizer(bos: bool = False, pad: bool = True, **kwargs: Any) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer; with `bos`, one that starts every text with <s>, as Llama's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(["Is there atrial fibrillation? yes no", "Here is an electrocardiogram: "], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>" if pad else None,
        additional_special_tokens=list(SPECIAL[3:]), **kwargs,
    )  # fmt: skip


def make_processor(template: str | None = None, samples_per_token: int = 100, **kwargs: Any) -> ECGProcessor:
    return ECGProcessor(ECGFeatureExtractor(), make_tokenizer(**kwargs), template, samples_per_token)


@pytest.fixture(scope="module")
def processor() -> ECGProcessor:
    return make_processor()


def make_ecg(seconds: float = 2, leads: tuple[str, ...] = LEADS, rate: float = 250, seed: int = 0) -> dict[str, Any]:
    signal = np.random.default_rng(seed).normal(size=(len(leads), round(seconds * rate))).astype(np.float32)
    return {"signal": signal * 0.3, "sampling_rate": rate, "leads": list(leads)}


def user(*parts: Any) -> dict[str, Any]:
    """A user's turn: strings are text, the rest ECGs."""
    return {
        "role": "user",
        "content": [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "ecg", "ecg": part} for part in parts
        ],
    }


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def learned(processor: ECGProcessor, labels: torch.Tensor) -> list[str]:
    """The stretches of a row of labels that are learned, as text."""
    stretches: list[list[int]] = [[]]
    for label in labels.tolist():
        if label != -100:
            stretches[-1].append(label)
        elif stretches[-1]:
            stretches.append([])
    return [processor.tokenizer.decode(stretch) for stretch in stretches if stretch]


def assert_equal(one: Any, other: Any) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        assert value.dtype == other[name].dtype, name
        assert torch.equal(value, other[name]), name


# --- prompts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "Q?"),
        (1, "Here is an electrocardiogram: E\nQ?"),
        (2, "Here are two electrocardiograms. The first is E, and the second is E.\nQ?"),
        (3, "Here are three electrocardiograms. The first is E, the second is E, and the third is E.\nQ?"),
        (
            11,
            "Here are 11 electrocardiograms. The first is E, the second is E, the third is E, the fourth is E, the "
            "fifth is E, the sixth is E, the seventh is E, the eighth is E, the ninth is E, the tenth is E, and the "
            "ECG number 11 is E.\nQ?",
        ),
    ],
)  # fmt: skip
def test_prompts_for_any_number_of_ecgs(count: int, text: str) -> None:
    parts = ecg_prompt("Q?", count)
    assert "".join(part.get("text", "E") for part in parts) == text
    assert sum(part["type"] == "ecg" for part in parts) == count


def test_a_conversation_holds_its_ecgs_in_order(processor: ECGProcessor) -> None:
    first, second = make_ecg(), make_ecg(3)
    turns = processor.build_conversation("Q?", [first, second], answer="yes", system="Be brief.")
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]
    assert [part["ecg"] for part in turns[1]["content"] if part["type"] == "ecg"] == [first, second]
    assert processor.build_conversation("Q?")[0]["content"] == [{"type": "text", "text": "Q?"}]


def test_each_ecg_takes_as_many_tokens_as_it_is_long(processor: ECGProcessor) -> None:
    ecgs = [make_ecg(2), make_ecg(3.004), make_ecg(1)]  # 200, 301 and 100 samples of 100 per token
    batch = processor("a <|ecg|> b <|ecg|> c <|ecg|>", ecgs)
    assert processor.tokenizer.decode(batch["input_ids"][0]) == f"a {'<|ecg|>' * 2} b {'<|ecg|>' * 4} c <|ecg|>"
    assert batch["ecg_lengths"].tolist() == [[200, 301, 100]]


# --- chat templates and labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("bos", [False, True])
def test_labels_are_the_assistants_turns_with_their_end(name: str, bos: bool) -> None:
    template, answer = TEMPLATES[name]
    processor = make_processor(template, bos=bos)
    turns = [
        user("Here: ", make_ecg(), "\nIs there atrial fibrillation?"),
        assistant("yes"),
        user(make_ecg(3), " Is it new in ", make_ecg(1, ("I", "II")), "?"),
        assistant("no, it is not"),
    ]
    batch = processor.apply_chat_template(turns, tokenize=True, return_labels=True)
    assert learned(processor, batch["labels"][0]) == [answer, answer.replace("yes", "no, it is not")]
    ids, labels = batch["input_ids"][0], batch["labels"][0]
    assert torch.equal(labels[labels != -100], ids[labels != -100])
    assert int((ids == processor.ecg_token_id).sum()) == 2 + 3 + 1


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_is_what_training_saw_before_the_answer(name: str) -> None:
    processor = make_processor(TEMPLATES[name][0], bos=True)
    turns = processor.build_conversation("Is there atrial fibrillation?", make_ecg(), answer="yes")
    trained = processor.apply_chat_template(turns, tokenize=True, return_labels=True)
    prompt = processor.apply_chat_template(turns[:1], tokenize=True, add_generation_prompt=True)
    length = prompt["input_ids"].shape[1]
    assert torch.equal(trained["input_ids"][:, :length], prompt["input_ids"])
    assert (trained["labels"][:, :length] == -100).all()
    assert trained["labels"][0, length] != -100


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("bos", [False, True])
def test_one_start_token_where_the_model_expects_one(name: str, bos: bool) -> None:
    processor = make_processor(TEMPLATES[name][0], bos=bos)
    batch = processor.apply_chat_template([user("Hello")], tokenize=True, add_generation_prompt=True)
    # a chat template writes the token itself or goes without; only the plain one leaves it to the tokenizer
    expected = name in ("llama3", "gemma") or (name == "plain" and bos)
    assert (batch["input_ids"][0] == processor.tokenizer.bos_token_id).sum() == int(expected)


def test_no_end_token_closes_the_plain_prompt() -> None:
    tokenizer = make_tokenizer()
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    processor = ECGProcessor(ECGFeatureExtractor(), tokenizer)
    batch = processor.apply_chat_template([user("Hello")], tokenize=True, add_generation_prompt=True)
    assert processor.tokenizer.decode(batch["input_ids"][0]) == "User: Hello\nAssistant:"


def test_blanks_within_an_answer_are_learned(processor: ECGProcessor) -> None:
    turns = [user("Q?"), assistant("yes   no\n\n  V1")]
    batch = processor.apply_chat_template(turns, tokenize=True, return_labels=True)
    assert learned(processor, batch["labels"][0]) == [" yes   no\n\n  V1</s>"]


def test_ecgs_in_the_assistants_turn_are_read_and_not_learned(processor: ECGProcessor) -> None:
    turns = [user("Show one."), {**user("Here: ", make_ecg(), " it is."), "role": "assistant"}]
    batch = processor.apply_chat_template(turns, tokenize=True, return_labels=True)
    assert learned(processor, batch["labels"][0]) == [" Here: ", " it is.</s>"]


def test_a_template_that_rewrites_earlier_turns_is_refused_for_labels() -> None:
    processor = make_processor(THINKING)
    single = processor.build_conversation("Q?", answer="yes")
    batch = processor.apply_chat_template(single, tokenize=True, return_labels=True)
    assert learned(processor, batch["labels"][0]) == ["<think>\n\n</think>\n\nyes<|im_end|>"]
    several = [*single, user("Sure?"), assistant("yes")]
    with pytest.raises(ValueError, match=r"written differently once a later one follows.*turn 1.*\{% generation %\}"):
        processor.apply_chat_template(several, tokenize=True, return_labels=True)
    batch = processor.apply_chat_template(several, TAGGED, tokenize=True, return_labels=True)
    assert learned(processor, batch["labels"][0]) == ["yes<|im_end|>"] * 2
    assert "<think>" not in processor.apply_chat_template(several[:3], add_generation_prompt=True)


def test_what_a_template_raises_is_passed_on_with_the_way_out() -> None:
    processor = make_processor(GEMMA)
    turns = processor.build_conversation("Q?", make_ecg(), system="Be brief.")
    with pytest.raises(ValueError, match=r"\['system', 'user'\]: System role not supported.*chat_template="):
        processor.apply_chat_template(turns, add_generation_prompt=True)
    plain = make_processor()
    with pytest.raises(ValueError, match="roles are system, user and assistant; found tool"):
        plain.apply_chat_template([{"role": "tool", "content": "x"}])


def test_a_template_that_leaves_a_turn_out_is_refused(processor: ECGProcessor) -> None:
    last_only = "{{ messages[-1]['content'] }}"
    turns = [user("one ", make_ecg()), assistant("yes"), user("two ", make_ecg())]
    with pytest.raises(ValueError, match="holds 1 .* placeholders and 2 ECGs were given"):
        processor.apply_chat_template(turns, last_only, tokenize=True)
    other = make_processor("{% for m in messages %}{{ m['content'] * 2 }}{% endfor %}")
    with pytest.raises(ValueError, match="holds 2 .* placeholders and 1 ECGs were given"):
        other.encode_conversation([user("one ", make_ecg()), assistant("yes")], [200])


def test_templates_by_name() -> None:
    processor = ECGProcessor(
        ECGFeatureExtractor(), make_tokenizer(), {"default": CHATML, "short": "S {{ messages[0].content }}"}
    )
    assert processor.apply_chat_template([user("Hello")], "short") == "S Hello"
    assert processor.apply_chat_template([user("Hello")]).startswith("<|im_start|>system")
    nameless = ECGProcessor(ECGFeatureExtractor(), make_tokenizer(), {"short": "S"})
    with pytest.raises(ValueError, match="chat templates are short, none is the default"):
        nameless.apply_chat_template([user("Hello")])


def test_template_variables_and_continuing_an_answer() -> None:
    processor = make_processor(
        "{{ mood }}: {{ messages[0].content }} {% if messages[1] %}{{ messages[1].content }}!{% endif %}"
    )
    assert processor.apply_chat_template([user("Hi")], mood="calm") == "calm: Hi "
    turns = [user("Hi"), assistant("There is")]
    assert processor.apply_chat_template(turns, mood="calm", continue_final_message=True) == "calm: Hi There is"


def test_a_batch_renders_as_a_list(processor: ECGProcessor) -> None:
    assert processor.apply_chat_template([[user("a")], [user("b")]]) == ["User: a", "User: b"]
    ids = processor.apply_chat_template([[user("a")]], tokenize=True, return_dict=False)
    assert isinstance(ids, torch.Tensor)


# --- batches ---------------------------------------------------------------------------------------------------------

MIXED = [
    [user("Here: ", make_ecg(2, seed=1), " Is there atrial fibrillation?"), assistant("yes")],
    [
        user("Two: ", make_ecg(4, LEADS[:2], 300, seed=2), make_ecg(1, ("I", "II", *LEADS[6:]), 500, seed=3)),
        assistant("no"),
    ],
    [user("No ECG."), assistant("yes")],
    [user(make_ecg(1, seed=4)), assistant("no"), user("And ", make_ecg(3, ("V2",), seed=5)), assistant("yes")],
]  # fmt: skip


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_equals_its_rows(processor: ECGProcessor, side: str) -> None:
    settings: dict[str, Any] = {"tokenize": True, "return_labels": True, "padding_side": side}
    batch = processor.apply_chat_template(MIXED, **settings)
    assert batch["ecg_mask"].tolist() == [[True, False], [True, True], [False, False], [True, True]]
    for row, turns in enumerate(MIXED):
        single = processor.apply_chat_template(turns, **settings)
        real = batch["attention_mask"][row].bool()
        assert real.tolist() == sorted(real.tolist(), reverse=side == "right")
        for name in ("input_ids", "labels"):
            assert torch.equal(batch[name][row][real], single[name][0])
        assert (batch["input_ids"][row][~real] == processor.tokenizer.pad_token_id).all()
        assert (batch["labels"][row][~real] == -100).all()
        count = int(batch["ecg_mask"][row].sum())
        if not count:
            assert "ecg_values" not in single
            assert not batch["ecg_values"][row].any()
            continue
        assert torch.equal(batch["lead_mask"][row, :count], single["lead_mask"][0])
        assert torch.equal(batch["ecg_lengths"][row, :count], single["ecg_lengths"][0])
        samples = single["ecg_values"].shape[-1]
        assert torch.equal(batch["ecg_values"][row, :count, :, :samples], single["ecg_values"][0])
        assert not batch["ecg_values"][row, :, :, samples:].any()
        assert not batch["ecg_values"][row, count:].any()


@given(
    st.lists(st.lists(st.integers(100, 420), max_size=3), min_size=1, max_size=3),
    st.integers(1, 250),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=4, max_size=4),
)
def test_every_ecg_has_its_tokens_whatever_stands_around_it(
    lengths: list[list[int]], samples_per_token: int, texts: list[str]
) -> None:
    processor = make_processor_once(samples_per_token)
    extractor = processor.feature_extractor
    batch, encoded = [], []
    for row in lengths:
        ecgs = [
            {
                "ecg_values": np.full((12, length), length, np.float32),
                "lead_mask": np.ones(12, bool),
                "preprocessing_id": extractor.preprocessing_id,
            }
            for length in row
        ]
        parts = [piece for text, ecg in zip(texts, ecgs, strict=False) for piece in (text, ecg)]
        batch.append([user(*parts, texts[-1]), assistant(texts[0] + "yes")])
        encoded.append(processor.encode_conversation(batch[-1], row))
    whole = processor.apply_chat_template(batch, tokenize=True, return_labels=True)
    tokens = [[-(-length // samples_per_token) for length in row] for row in lengths]
    counts = (whole["input_ids"] == processor.ecg_token_id).sum(dim=1).tolist()
    assert counts == [sum(row) for row in tokens]
    for row, turns in enumerate(batch):
        assert learned(processor, whole["labels"][row]) == [f" {turns[-1]['content']}</s>"]
    ecgs = [[part["ecg"] for part in turns[0]["content"] if part["type"] == "ecg"] for turns in batch]
    assert_equal(processor.collate(encoded, ecgs), whole)


_PROCESSORS: dict[int, ECGProcessor] = {}


def make_processor_once(samples_per_token: int) -> ECGProcessor:
    if not _PROCESSORS:
        _PROCESSORS[0] = make_processor()
    _PROCESSORS[0].samples_per_token = samples_per_token
    return _PROCESSORS[0]


def test_generation_pads_left_and_training_right(processor: ECGProcessor) -> None:
    turns = [MIXED[1][:1], MIXED[2][:1]]
    prompts = processor.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    assert prompts["attention_mask"][1, 0] == 0
    assert prompts["attention_mask"][1, -1] == 1
    trained = processor.apply_chat_template(MIXED[1:3], tokenize=True, return_labels=True)
    assert trained["attention_mask"][1, -1] == 0


def test_padding_to_a_length_and_none(processor: ECGProcessor) -> None:
    batch = processor(["a", "b c d"], padding="max_length", max_length=32)
    assert batch["input_ids"].shape == (2, 32)
    rows = processor(["a", "b c d"], padding=False, return_tensors=None)["input_ids"]
    assert len(rows[0]) < len(rows[1])


def test_everything_is_a_tensor_that_moves(processor: ECGProcessor) -> None:
    batch = processor.apply_chat_template(MIXED, tokenize=True, return_labels=True)
    moved = {name: value.to("cpu") for name, value in batch.items()}
    assert all(isinstance(value, torch.Tensor) for value in moved.values())
    assert isinstance(batch, BatchFeature)
    assert set(batch) - {"labels"} <= set(processor.model_input_names)
    kinds = {name: str(value.dtype).removeprefix("torch.") for name, value in batch.items()}
    assert kinds == {
        "input_ids": "int64", "labels": "int64", "attention_mask": "int64", "ecg_mask": "bool",
        "ecg_values": "float32", "lead_mask": "bool", "ecg_lengths": "int64", "preprocessing_id": "int64",
    }  # fmt: skip
    assert batch.to("cpu", torch.float16)["ecg_values"].dtype == torch.float16


# --- how ECGs are given ----------------------------------------------------------------------------------------------


def test_every_form_of_an_ecg_gives_the_same(processor: ECGProcessor, tmp_path: Path) -> None:
    import wfdb

    # what a 16-bit file can hold exactly
    signal = (np.random.default_rng(0).integers(-900, 900, size=(12, 500)) / 1000).astype(np.float32)
    wfdb.wrsamp(
        "rec", fs=250, units=["mV"] * 12, sig_name=list(LEADS), p_signal=signal.T.astype(np.float64), fmt=["16"] * 12,
        adc_gain=[1000] * 12, baseline=[0] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    mapping = {"signal": signal, "sampling_rate": 250.0, "leads": list(LEADS)}
    expected = processor("x <|ecg|>", mapping)
    for ecg in (
        ECGRecord(signal=signal, sampling_rate=250.0, leads=LEADS),
        {**mapping, "signal": torch.from_numpy(signal)},
        tmp_path / "rec.hea",
        str(tmp_path / "rec.hea"),
        processed(processor, mapping),
    ):
        assert_equal(processor("x <|ecg|>", ecg), expected)
        assert_equal(processor("x <|ecg|>", [ecg]), expected)
        assert_equal(processor(["x <|ecg|>"], [[ecg]]), expected)
        turns = [{"role": "user", "content": [{"type": "text", "text": "x "}, {"type": "ecg", "ecg": ecg}]}]
        assert_equal(processor.apply_chat_template(turns, "{{ messages[0].content }}", tokenize=True), expected)
    for array in (signal, torch.from_numpy(signal)):
        assert_equal(processor("x <|ecg|>", array, sampling_rate=250, leads=LEADS), expected)
        turns = [user("x ", array)]
        batch = processor.apply_chat_template(
            turns, "{{ messages[0].content }}", tokenize=True, sampling_rate=250, leads=LEADS
        )
        assert_equal(batch, expected)


def processed(processor: ECGProcessor, ecg: Any) -> dict[str, Any]:
    """A prepared ECG, as training stores it."""
    extractor = processor.feature_extractor
    features = extractor(ecg, return_tensors="np")
    return {
        "ecg_values": features["ecg_values"][0],
        "lead_mask": features["lead_mask"][0],
        "preprocessing_id": extractor.preprocessing_id,
    }


def test_a_column_of_a_dataset_is_a_batch(processor: ECGProcessor) -> None:
    from datasets import Dataset, Features, Value

    from ecgllm.corpora import ECG

    ecgs = [make_ecg(1, seed=1), make_ecg(2, ("I", "II"), seed=2)]
    data = Dataset.from_dict(
        {"text": ["a <|ecg|>", "b <|ecg|>"], "ecg": ecgs}, Features({"text": Value("string"), "ecg": ECG()})
    )
    batch = processor(data["text"], data["ecg"])
    assert_equal(batch, processor(list(data["text"]), [data[0]["ecg"], data[1]["ecg"]]))
    assert batch["ecg_lengths"].tolist() == [[100], [200]]


def test_policies_reach_the_feature_extractor(processor: ECGProcessor) -> None:
    ecg = make_ecg(2, ("I", "II", "V9"))
    ecg["signal"][0, 3] = np.nan
    turns = [user("x ", ecg)]
    with pytest.raises(ValueError, match="V9"):
        processor.apply_chat_template(turns, tokenize=True)
    with pytest.raises(ValueError, match="not finite"):
        processor.apply_chat_template(turns, tokenize=True, drop_unknown_leads=True)
    batch = processor.apply_chat_template(turns, tokenize=True, drop_unknown_leads=True, nan_policy="drop_lead")
    assert batch["lead_mask"][0, 0].tolist() == [lead == "II" for lead in LEADS]


def test_missing_leads_are_marked_and_limb_leads_derived(processor: ECGProcessor) -> None:
    ecgs = [make_ecg(), make_ecg(2, ("I", "II", *LEADS[6:])), make_ecg(2, ("I", "II")), make_ecg(2, ("V3",))]
    mask = processor(["<|ecg|>"] * 4, ecgs)["lead_mask"][:, 0]
    assert mask.sum(dim=1).tolist() == [12, 12, 6, 1]


# --- training data that is encoded before its ECGs are at hand -------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_encoding_and_collating_equals_the_chat_template(name: str) -> None:
    processor = make_processor(TEMPLATES[name][0], bos=True)
    ecgs = [[part["ecg"] for turn in turns for part in turn["content"] if isinstance(part, dict) and "ecg" in part] for turns in MIXED]  # noqa: E501  # fmt: skip
    prepared = [[processed(processor, ecg) for ecg in row] for row in ecgs]
    encoded = [
        processor.encode_conversation(turns, [ecg["ecg_values"].shape[1] for ecg in row])
        for turns, row in zip(MIXED, prepared, strict=True)
    ]
    expected = processor.apply_chat_template(MIXED, tokenize=True, return_labels=True)
    assert_equal(processor.collate(encoded, prepared), expected)
    assert_equal(processor.collate(encoded, ecgs), expected)
    assert_equal(processor.collate(encoded[2:3], [[]]), processor.apply_chat_template(MIXED[2], tokenize=True, return_labels=True))  # noqa: E501  # fmt: skip
    prompts = [turns[:-1] for turns in MIXED]
    encoded = [
        processor.encode_conversation(turns, [ecg["ecg_values"].shape[1] for ecg in row], add_generation_prompt=True)
        for turns, row in zip(prompts, prepared, strict=True)
    ]
    expected = processor.apply_chat_template(prompts, tokenize=True, add_generation_prompt=True)
    assert_equal(processor.collate(encoded, prepared, padding_side="left"), expected)


def test_a_conversation_is_encoded_without_its_ecgs(processor: ECGProcessor) -> None:
    turns = [{"role": "user", "content": ecg_prompt("Q?", 1)}, assistant("yes")]
    encoded = processor.encode_conversation(turns, [250])
    assert len(encoded["input_ids"]) == len(encoded["labels"])
    assert encoded["input_ids"].count(processor.ecg_token_id) == 3


def test_collating_other_ecgs_than_were_encoded_is_refused(processor: ECGProcessor) -> None:
    encoded = [processor.encode_conversation(MIXED[0], [200])]
    with pytest.raises(ValueError, match="Conversation 0 was encoded with 2 ECG tokens, its 1 ECGs make 4"):
        processor.collate(encoded, [[make_ecg(4)]])
    with pytest.raises(ValueError, match="its 0 ECGs make 0"):
        processor.collate(encoded, [[]])
    with pytest.raises(ValueError, match="1 conversations with 2 lists"):
        processor.collate(encoded, [[], []])
    with pytest.raises(ValueError, match="holds 1 .* placeholders and 2 ECGs were given"):
        processor.encode_conversation(MIXED[0], [200, 200])


# --- tokenizers ------------------------------------------------------------------------------------------------------


def test_a_tokenizer_without_a_pad_token_pads_with_its_end() -> None:
    processor = make_processor(pad=False)
    batch = processor.apply_chat_template(MIXED[:3], tokenize=True, return_labels=True)
    assert processor.tokenizer.pad_token == "</s>"
    assert learned(processor, batch["labels"][2]) == [" yes</s>"]


def test_a_tokenizer_without_an_end_token_needs_a_template() -> None:
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="neither a chat template nor an eos token"):
        ECGProcessor(ECGFeatureExtractor(), tokenizer)
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="neither a pad nor an eos token"):
        ECGProcessor(ECGFeatureExtractor(), tokenizer, CHATML)
    with pytest.raises(ValueError, match="needs a feature_extractor and a tokenizer"):
        ECGProcessor(ECGFeatureExtractor())


def test_the_placeholder_is_added_once_and_never_split() -> None:
    tokenizer = make_tokenizer()
    size = len(tokenizer)
    assert add_ecg_token(tokenizer) == add_ecg_token(tokenizer) == size
    assert len(tokenizer) == size + 1
    # a word that the vocabulary holds already keeps its id
    word = tokenizer.convert_ids_to_tokens(size - 5)
    assert add_ecg_token(tokenizer, word) == size - 5
    assert tokenizer(f"a{word}{word}b")["input_ids"].count(size - 5) == 2


class CharacterTokenizer(PythonBackend):
    """A slow tokenizer: one token per character."""

    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, **kwargs: Any) -> None:
        self.characters = ["</s>", *map(chr, range(32, 127)), "\n"]
        super().__init__(eos_token="</s>", pad_token="</s>", **kwargs)

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    def get_vocab(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.characters)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self.characters.index(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self.characters[index]


def test_a_slow_tokenizer_prompts_and_is_refused_for_labels() -> None:
    processor = ECGProcessor(ECGFeatureExtractor(), CharacterTokenizer(), samples_per_token=100)
    turns = processor.build_conversation("Q?", make_ecg(), answer="yes")
    batch = processor.apply_chat_template(turns[:1], tokenize=True, add_generation_prompt=True)
    assert int((batch["input_ids"] == processor.ecg_token_id).sum()) == 2
    with pytest.raises(ValueError, match="CharacterTokenizer is a slow tokenizer"):
        processor.apply_chat_template(turns, tokenize=True, return_labels=True)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ecgs", "message"),
    [
        ("no place", make_ecg(), "Text 0 holds 0 <|ecg|> placeholders and 1 ECGs"),
        ("x <|ecg|>", None, "Text 0 holds 1 <|ecg|> placeholders and 0 ECGs"),
        ("x <|ecg|>", [make_ecg(), make_ecg()], "Text 0 holds 1 <|ecg|> placeholders and 2 ECGs"),
        ("<|ecg|> <|ecg|>", [make_ecg()], "Text 0 holds 2 <|ecg|> placeholders and 1 ECGs"),
        (["a", "b <|ecg|>"], [None, []], "Text 1 holds 1 <|ecg|> placeholders and 0 ECGs"),
        (["a <|ecg|>", "b"], make_ecg(), "2 texts were given with one ECG"),
        (["a <|ecg|>", "b"], [make_ecg()], "2 texts were given with 1 entries"),
        ([], None, "text is []; expected a string"),
        ([["a"]], None, "expected a string, or one or more strings"),
        (None, make_ecg(), "text is missing; for signals alone use processor.feature_extractor"),
    ],
)
def test_texts_and_ecgs_that_do_not_fit(processor: ECGProcessor, text: Any, ecgs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        processor(text, ecgs)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([user("look: <|ecg|>")], "text of a user turn holds <|ecg|> itself: 'look: <|ecg|>'"),
        ([{"role": "user", "content": "<|ecg|>"}], "text of a user turn holds <|ecg|> itself"),
        ([user("<|ec", "g|>")], "holds 1 <|ecg|> placeholders and 0 ECGs"),
        ([user("x", None)], 'A part {"type": "ecg"} has no "ecg"'),
        ([{"role": "user", "content": [{"type": "image"}]}], "a part of type 'image'; expected 'text' or 'ecg'"),
        ([{"role": "user", "content": ["x"]}], "a part of type 'str'; expected 'text' or 'ecg'"),
        ([{"role": "user", "content": [{"type": "text"}]}], 'without a string as "text"'),
        ([{"role": "user", "content": None}], "with a string or a list of parts as content"),
        ([{"content": "x"}], "with a string or a list of parts as content"),
        ([], "The conversation is empty"),
        ([[user("x")], []], "The conversation is empty"),
    ],
)
def test_conversations_that_cannot_be_right(processor: ECGProcessor, turns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        processor.apply_chat_template(turns, tokenize=True)


@pytest.mark.parametrize(
    ("turns", "settings", "message"),
    [
        ([user("Q?")], {"tokenize": True}, "no assistant's turn to learn"),
        ([assistant("yes")], {"tokenize": True}, "starts with the assistant"),
        ([user("Q?"), assistant("yes")], {}, "needs tokenize=True"),
        ([user("Q?"), assistant("yes")], {"tokenize": True, "add_generation_prompt": True}, "for training"),
    ],
)
def test_labels_that_cannot_be_right(turns: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_processor(CHATML).apply_chat_template(turns, return_labels=True, **settings)


def test_nothing_is_truncated(processor: ECGProcessor) -> None:
    with pytest.raises(ValueError, match=r"Text 1 with its ECGs has 5 tokens; max_length is 4"):
        processor(["a", "<|ecg|>"], [None, make_ecg(5)], max_length=4)
    assert processor("<|ecg|>", make_ecg(5), max_length=5)["input_ids"].shape == (1, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding": "longest_first"}, "padding is 'longest_first'"),
        ({"padding": "max_length"}, "needs max_length"),
        ({"padding_side": "middle"}, "padding_side is 'middle'"),
        ({"label_spans": []}, "1 texts were given with 0 label_spans"),
    ],
)
def test_settings_that_do_not_exist(processor: ECGProcessor, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        processor("a", **settings)


def test_a_prepared_ecg_of_another_signal_path_is_refused(processor: ECGProcessor) -> None:
    ecg = processed(processor, make_ecg())
    with pytest.raises(ValueError, match=r"prepared before with preprocessing_id 1; expected \d+"):
        processor("<|ecg|>", ecg | {"preprocessing_id": 1})
    with pytest.raises(ValueError, match=r"\[12, samples\], not empty"):
        processor("<|ecg|>", ecg | {"ecg_values": np.zeros((12, 0), np.float32)})


# --- models, and saving ----------------------------------------------------------------------------------------------


def make_config(processor: ECGProcessor, **changes: Any) -> ECGLLMConfig:
    encoder = {"preprocessing": processor.feature_extractor.preprocessing, **changes.pop("encoder", {})}
    fields = {"patches_per_token": 5, "ecg_token_id": processor.ecg_token_id} | changes
    return ECGLLMConfig(encoder_config=ECGEncoderConfig(**encoder), **fields)


def test_a_processor_for_a_model(processor: ECGProcessor) -> None:
    config = make_config(processor, encoder={"preprocessing": ECGFeatureExtractor(scaling="zscore").preprocessing})
    made = ECGProcessor.for_model(config, make_tokenizer())
    assert made.feature_extractor.scaling == "zscore"
    assert made.samples_per_token == 100
    unknown = make_config(processor, encoder={"preprocessing": None})
    with pytest.raises(ValueError, match="does not say how its ECGs were prepared"):
        ECGProcessor.for_model(unknown, make_tokenizer())
    assert ECGProcessor.for_model(unknown, make_tokenizer(), ECGFeatureExtractor()).samples_per_token == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"patches_per_token": 2}, "one ECG token per 100 samples, the model one per 40"),
        ({"encoder": {"patch_size": 10}}, "one ECG token per 100 samples, the model one per 50"),
        ({"ecg_token_id": 7}, r"gives <\|ecg\|> the id \d+, the model expects 7"),
        ({"encoder": {"preprocessing": ECGFeatureExtractor(sampling_rate=250).preprocessing}}, "sampling_rate: 100.0 instead of 250.0"),  # noqa: E501
        ({"encoder": {"preprocessing": ECGFeatureExtractor(baseline="none").preprocessing}}, "baseline: 'highpass' instead of 'none'"),  # noqa: E501
        ({"encoder": {"preprocessing": ECGFeatureExtractor(millivolt_factor=2).preprocessing}}, "millivolt_factor: 1.0 instead of 2.0"),  # noqa: E501
        ({"encoder": {"preprocessing": ECGFeatureExtractor(leads=LEADS[::-1]).preprocessing}}, "leads: .* instead of"),
        ({"encoder": {"preprocessing": {**ECGFeatureExtractor().preprocessing, "version": 2}}}, "version: 1 instead"),
        ({"encoder": {"num_leads": 8, "preprocessing": None}}, "makes 12 leads, the model's encoder takes 8"),
        ({"encoder": {"preprocessing": None}}, None),
    ],
)  # fmt: skip
def test_a_model_that_does_not_fit_is_named(processor: ECGProcessor, changes: dict, message: str | None) -> None:
    config = make_config(processor, **changes)
    if message is None:
        processor.check_model(config)
    else:
        with pytest.raises(ValueError, match=message):
            processor.check_model(config)


def test_a_model_of_another_kind_is_refused(processor: ECGProcessor) -> None:
    from transformers import LlamaConfig

    with pytest.raises(ValueError, match="is a LlamaConfig, which has no ECG encoder"):
        processor.check_model(LlamaConfig())


@pytest.mark.parametrize("template", [None, LLAMA3], ids=["plain", "llama3"])
def test_saving_and_loading_keeps_everything(tmp_path: Path, template: str | None) -> None:
    extractor = ECGFeatureExtractor(sampling_rate=125, scaling="zscore", max_duration=30)
    processor = ECGProcessor(extractor, make_tokenizer(bos=True, pad=False), template, samples_per_token=40)
    processor.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", *code_files("processing_ecgllm"),
    }  # fmt: skip
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert saved["auto_map"] == {"AutoProcessor": "processing_ecgllm.ECGProcessor"}
    loaded = ECGProcessor.from_pretrained(tmp_path)
    assert loaded.samples_per_token == 40
    assert loaded.ecg_token_id == processor.ecg_token_id
    assert loaded.chat_template == loaded.tokenizer.chat_template == guarded(template or PLAIN_CHAT_TEMPLATE)
    assert loaded.feature_extractor.to_dict() == extractor.to_dict()
    settings: dict[str, Any] = {"tokenize": True, "return_labels": True}
    assert_equal(loaded.apply_chat_template(MIXED, **settings), processor.apply_chat_template(MIXED, **settings))


def test_a_feature_extractor_alone_is_complete(tmp_path: Path) -> None:
    extractor = ECGFeatureExtractor(scaling="minmax")
    extractor.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "configuration_base_ecgllm.py", "errors_ecgllm.py", "feature_extraction_ecgllm.py", "heart_ecgllm.py",
        "ecg_input_ecgllm.py", "filters_ecgllm.py",
        "saving_ecgllm.py", "signal_ecgllm.py",
        "preprocessor_config.json",
    }  # fmt: skip
    assert ECGFeatureExtractor.from_pretrained(tmp_path).preprocessing_id == extractor.preprocessing_id


# ---------------------------------------------------------------------------------------------------------------------
# The arguments and templates of transformers
# ---------------------------------------------------------------------------------------------------------------------

PARTS = (  # as of templates that know pictures: the content is a list, of which the text is written
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% for part in message.content %}{% if part.type == 'text' %}{{ part.text | trim }}{% endif %}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_a_template_that_loops_over_parts_gets_parts() -> None:
    looping = make_processor(PARTS)
    turns = [user("Here is ", make_ecg(), ". Is it?"), assistant("yes")]
    user_turn, answer = (
        "<|im_start|>user\nHere is <|ecg|>. Is it?<|im_end|>\n",
        "<|im_start|>assistant\nyes<|im_end|>\n",
    )
    assert looping.apply_chat_template(turns) == user_turn + answer
    inputs = looping.apply_chat_template(turns, tokenize=True, return_labels=True)
    assert learned(looping, inputs["labels"][0]) == ["yes<|im_end|>"]
    assert looping.encode_conversation(turns, [200])["labels"] == inputs["labels"][0].tolist()


def test_a_template_that_writes_nothing_is_refused() -> None:
    mute = make_processor("{% for message in messages %}{{ message.role }}{% endfor %}")
    with pytest.raises(ECGError, match="writes nothing of what a user says"):
        mute.apply_chat_template([user("Is it?")])


def test_processor_kwargs_are_those_of_the_call(processor: ECGProcessor) -> None:
    turns = [user("Is it? ", make_ecg()["signal"])]
    settings = {"sampling_rate": 250, "leads": list(LEADS), "return_tensors": "np", "padding_side": "right"}
    expected = processor.apply_chat_template(turns, tokenize=True, **settings)
    found = processor.apply_chat_template(turns, tokenize=True, processor_kwargs=settings)
    assert found.keys() == expected.keys()
    assert all(isinstance(found[name], np.ndarray) and (found[name] == expected[name]).all() for name in expected)
    for wrong, message in (
        ({"sample_rate": 250}, "processor_kwargs holds sample_rate; expected some of return_tensors, padding"),
        ({"text_kwargs": {"padding": True}}, "processor_kwargs holds text_kwargs"),
        ({"sampling_rate": 500}, "sampling_rate: given twice"),
    ):
        with pytest.raises(ECGError, match=message):
            processor.apply_chat_template(turns, tokenize=True, sampling_rate=250, processor_kwargs=wrong)


def test_keywords_that_nobody_reads_are_refused() -> None:
    thinking = make_processor("{% if enable_thinking %}Think. {% endif %}" + CHATML)
    turns = [user("Is it?")]
    assert thinking.apply_chat_template(turns, enable_thinking=True).startswith("Think. ")
    for tokenize in (False, True):
        with pytest.raises(ECGError, match="sample_rate, tools: neither an argument .* nor a variable"):
            thinking.apply_chat_template(turns, tokenize=tokenize, sample_rate=5, tools=[], enable_thinking=True)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("tensors", ["pt", "np", None])
def test_assistant_masks_stand_where_labels_do(name: str, tensors: str | None) -> None:
    processor = make_processor(TEMPLATES[name][0])
    turns = [user("Is it? ", make_ecg()), assistant("yes"), user("And now?"), assistant("no")]
    options = {"tokenize": True, "return_tensors": tensors, "padding_side": "right"}
    both = processor.apply_chat_template(
        [turns, turns[:2]], return_labels=True, return_assistant_tokens_mask=True, **options
    )
    alone = processor.apply_chat_template([turns, turns[:2]], return_assistant_tokens_mask=True, **options)
    assert "labels" not in alone and set(both) == {*alone, "labels"}
    masks, labels = (np.asarray(rows) for rows in (alone["assistant_masks"], both["labels"]))
    assert masks.any(axis=1).all() and (masks == (labels != -100)).all()
    for wrong in ({"tokenize": False}, {"return_dict": False}, {"add_generation_prompt": True}):
        with pytest.raises(ECGError, match="return_assistant_tokens_mask"):
            processor.apply_chat_template(turns, **{"tokenize": True} | wrong, return_assistant_tokens_mask=True)


def test_the_tokenizer_alone_masks_what_labels_learn() -> None:
    """As TRL calls it for assistant_only_loss; a tokenizer that trims offsets loses the blank before an answer."""
    processor = make_processor(bos=True)
    turns = [user("Is it?"), assistant("yes"), user("Why?"), assistant("")]
    given = {"tokenize": True, "return_dict": True, "tools": None, "chat_template": None, "documents": None}
    found = processor.apply_chat_template(turns, return_labels=True, return_assistant_tokens_mask=True, **given)
    learned = (found["labels"][0] != -100).long().tolist()
    assert found["assistant_masks"][0].tolist() == learned and sum(learned) > 2
    alone = processor.tokenizer.apply_chat_template(turns, return_assistant_tokens_mask=True, **given)
    assert [0, *alone["assistant_masks"]] == learned  # which begins without <s>
    assert [0, *alone["input_ids"]] == found["input_ids"][0].tolist()


def test_texts_longer_than_the_model_s_positions_are_refused() -> None:
    processor = make_processor()
    count = processor("Is it? <|ecg|>", make_ecg())["input_ids"].shape[1]
    for positions, fits in ((count, True), (count - 1, False)):
        processor.max_positions = positions
        if fits:
            processor("Is it? <|ecg|>", make_ecg())
            continue
        with pytest.raises(ECGError, match=f"has {count} tokens; this language model has positions for {positions}"):
            processor("Is it? <|ecg|>", make_ecg())


def test_a_question_without_words_is_refused(processor: ECGProcessor) -> None:
    for question in ("", " \n\t", None, 7):
        with pytest.raises(ECGError, match="The question is .*; expected words"):
            processor.build_conversation(question, [make_ecg()])


def test_what_was_measured_stands_behind_its_ecg(processor: ECGProcessor) -> None:
    figures = {"axis": -30, "pr": (162.4, 0.3), "heart_rate": 71.6, "qrs": None, "regular": False, "paced": True}
    text = "rate 72, PR about 162 ms, axis -30, irregular, paced"
    assert measured_text(figures) == text and measured_text({"paced": False}) == ""
    with pytest.raises(ECGError, match="not trained with that"):
        conversation = processor.build_conversation("Is it regular?", [{}, {}], measured=[None, figures])
        processor.encode_conversation(conversation, [500, 500], add_generation_prompt=True)
    reading = ECGProcessor(processor.feature_extractor, processor.tokenizer, reads_measured=True)
    first, second = (
        reading.tokenizer.decode(reading.encode_conversation(turns, [20, 20], add_generation_prompt=True)["input_ids"])
        for turns in (conversation, reading.build_conversation("Is it regular?", [{}, {}]))
    )
    said = f" (measured: {text})"
    assert said in first and first.replace(said, "") == second
    assert first.index(said) > first.rindex(reading.ecg_token)
    one = reading.build_conversation("Is it regular?", {}, measured=figures)
    assert [part.get("measured") for part in one[0]["content"]] == [None, figures, None]


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"PR": 160}, "'PR'; expected some of heart_rate, pr"),
        ({"pr": 0.16}, "Measured pr is 0.16; expected 40 to 800 ms"),
        ({"pr": float("nan")}, "expected 40 to 800 ms"),
        ({"pr": (160, 7)}, "confidence from 0 to 1"),
        ({"pr": "160"}, "expected a number"),
        ({"regular": 1}, "expected True or False"),
        (["pr"], "expected figures by name"),
    ],
)
def test_figures_that_cannot_be_right(figures: Any, message: str) -> None:
    with pytest.raises(ECGError, match=re.escape(message)):
        measured_text(figures)


def test_as_many_figures_as_ecgs(processor: ECGProcessor) -> None:
    with pytest.raises(ECGError, match="1 ECGs were measured and 2 are asked about"):
        processor.build_conversation("Is it regular?", [{}, {}], measured={"pr": 160})
