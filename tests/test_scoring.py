"""The scorer of answers: what is given and what is written, in batches as alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ecgllm.errors_ecgllm import ECGError
from ecgllm.scoring_ecgllm import (
    answer_positions,
    encode_answers,
    score_answers,
    takes_positions,
    write_answers,
    written_log_probabilities,
)

QUESTIONS = (("Is it?", 1), ("What is new in the second ECG, and what is gone?", 2), ("Hello", 0))
ANSWERS = ("yes", "no", "none of them")


def asked(processor: Any, make_ecg: Callable) -> tuple[list[Any], list[list[int]], list[list[dict[str, Any]]]]:
    """Conversations of QUESTIONS without their ECGs, these ECGs' lengths, and these ECGs, prepared."""
    seconds = iter((2, 5, 3))
    ecgs = [processor.feature_extractor.prepare([make_ecg(next(seconds)) for _ in range(n)]) for _, n in QUESTIONS]
    lengths = [[ecg["ecg_values"].shape[1] for ecg in row] for row in ecgs]
    return [processor.build_conversation(text, [{}] * n) for text, n in QUESTIONS], lengths, ecgs


@pytest.mark.parametrize("positions", [True, False])
def test_scores_of_a_batch_are_those_of_each_alone_and_an_ecg_is_encoded_once(
    positions: bool, tiny_llm: Callable, make_ecg: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny_llm()
    assert takes_positions(model) and not takes_positions(model.language_model)
    monkeypatch.setattr("ecgllm.scoring_ecgllm.takes_positions", lambda model: positions)
    conversations, lengths, ecgs = asked(processor, make_ecg)
    encoded = [encode_answers(processor, *each, ANSWERS) for each in zip(conversations, lengths, strict=True)]
    expected = []
    for rows, own in zip(encoded, ecgs, strict=True):
        for row in rows:
            inputs = processor.collate([row], [own])
            with torch.no_grad():
                each = model(**inputs).logits[0, :-1].log_softmax(-1)
            learned = inputs["labels"][0, 1:] != -100
            expected.append(float(each[learned, inputs["labels"][0, 1:][learned]].sum()))
    seen: list[int] = []
    hook = model.ecg_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    found = score_answers(model, processor, encoded, ecgs)
    hook.remove()
    assert found.shape == (len(QUESTIONS), len(ANSWERS)) and seen == [3]
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_a_beginning_has_the_probability_of_all_that_begins_so(tiny_llm: Callable, make_ecg: Callable) -> None:
    model, processor = tiny_llm()
    conversations, lengths, ecgs = asked(processor, make_ecg)
    given = [conversations[0], lengths[0]]
    rows = encode_answers(processor, *given, ["no", "none of them"], beginning="none")
    assert len(rows) == 3
    learned = [token for token in rows[2]["labels"] if token != -100]
    assert processor.tokenizer.decode(learned).strip() == "none"  # without the end of the answer
    no, none, beginning = score_answers(model, processor, [rows], ecgs[:1])[0]
    inputs = processor.collate([rows[1]], ecgs[:1])
    with torch.no_grad():
        each = model(**inputs).logits[0, :-1].log_softmax(-1)
    labels = inputs["labels"][0, 1:]
    first = (labels != -100).nonzero().flatten()[: len(learned)]
    assert labels[first].tolist() == learned
    assert beginning.item() == pytest.approx(each[first, labels[first]].sum().item(), abs=1e-4)
    assert beginning > none


def test_earlier_turns_count_for_nothing(tiny_llm: Callable) -> None:
    _, processor = tiny_llm()
    turns = [*processor.build_conversation("Is it?", answer="yes"), *processor.build_conversation("And now?")]
    for row, answer in zip(encode_answers(processor, turns, [], ANSWERS), ANSWERS, strict=True):
        learned = [label for label in row["labels"] if label != -100]
        assert processor.decode(learned, skip_special_tokens=True).strip() == answer


def test_what_is_written_has_the_score_of_what_is_given(tiny_llm: Callable, make_ecg: Callable) -> None:
    """Tokens that the model writes, with the ECGs behind prompts of other lengths, scored as answers."""
    model, processor = tiny_llm()
    conversations, lengths, ecgs = asked(processor, make_ecg)
    prompts = [
        processor.encode_conversation(*each, add_generation_prompt=True)
        for each in zip(conversations, lengths, strict=True)
    ]
    tokens, found = write_answers(model, processor, prompts, ecgs, max_new_tokens=3, eos_token_id=None)
    assert tokens.shape == (3, 1, 3) and found.shape == (3, 1)
    rows = [
        [{"input_ids": ids + answer, "labels": [-100] * len(ids) + answer}]
        for ids, answer in zip((prompt["input_ids"] for prompt in prompts), tokens[:, 0].tolist(), strict=True)
    ]
    torch.testing.assert_close(score_answers(model, processor, rows, ecgs), found, atol=1e-4, rtol=0)
    processor.max_positions = len(prompts[1]["input_ids"])
    for ask, encoded in ((score_answers, rows), (write_answers, prompts)):
        with pytest.raises(ECGError, match="this language model has positions for"):
            ask(model, processor, encoded, ecgs)


def test_what_is_padded_behind_an_answer_counts_for_nothing() -> None:
    """Of a batch whose other answers go on: the first ends with its second token, the second with its third."""
    logits = torch.randn(3, 2, 7, generator=torch.Generator().manual_seed(0))
    found = written_log_probabilities(torch.tensor([[3, 5, 0], [4, 2, 5]]), tuple(logits), end=5)
    each = logits.log_softmax(-1)
    expected = [each[0, 0, 3] + each[1, 0, 5], each[0, 1, 4] + each[1, 1, 2] + each[2, 1, 5]]
    assert found.tolist() == pytest.approx(torch.stack(expected).tolist())


def test_a_batch_without_an_answer_keeps_one_position() -> None:
    kept = answer_positions(torch.full((2, 5), -100))
    assert kept["logits_to_keep"].tolist() == [0] and kept["shift_labels"].tolist() == [[-100], [-100]]
