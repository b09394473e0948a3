"""One scorer for many questions: what is shared changes nothing, in any family of language models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

from ecgllm.errors_ecgllm import ECGError
from ecgllm.language_model_ecgllm import CACHE_NAMES
from ecgllm.prefix_scoring_ecgllm import AnswerScorer
from ecgllm.scoring_ecgllm import encode_answers, score_answers, write_answers

from .test_modeling_architectures import ARCHITECTURES, GEMMA, GROUPED, SIZES, TOKENS

FAMILIES = ARCHITECTURES | {
    "gemma3-short-window": ("Gemma3TextConfig", GEMMA | {"query_pre_attn_scalar": 8, "sliding_window": 8}),
    "mistral-short-window": ("MistralConfig", GROUPED | {"sliding_window": 8}),
    "falcon-alibi": ("FalconConfig", SIZES | TOKENS | {"new_decoder_architecture": False, "alibi": True}),
    "mpt": ("MptConfig", TOKENS | {"vocab_size": 300, "d_model": 32, "n_layers": 2, "n_heads": 4}),
    "jamba": (
        "JambaConfig",
        GROUPED
        | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "mamba_d_state": 8, "mamba_dt_rank": 4},
    ),
}
RECURRENT = ("mamba", "mamba2", "jamba")
FEW = ("llama", "gpt2", "gemma3-short-window", "bloom", "mamba")  # positions of every kind, and none

# What is asked of which of three ECGs, and the possible answers.
YES_NO = ("yes", "no")
ASKED = (
    ("Is there atrial fibrillation?", (0,), YES_NO),
    ("What is new?", (0, 1), YES_NO),
    ("Is it?", (0,), ("yes", "no", "none of them, and no more")),
    ("Is there atrial flutter, or anything else?", (1,), YES_NO),
    ("Hello", (), YES_NO),
    ("Is there atrial fibrillation?", (2,), YES_NO),
    ("What is gone in the second of them?", (0, 1), ("no",)),
    ("Is it?", (1,), YES_NO),
    ("Is there?", (2,), YES_NO),
    ("Is there a heart?", (2,), YES_NO),
    ("Hello?", (), YES_NO),
)


def prepared(processor: Any, make_ecg: Callable) -> list[dict[str, Any]]:
    return processor.feature_extractor.prepare([make_ecg(2, 1), make_ecg(1.3, 2, leads=2), make_ecg(2, 3)])


def asked_of(ecgs: list[Any]) -> tuple[list[str], list[list[Any]], list[tuple[str, ...]]]:
    questions, numbers, candidates = zip(*ASKED, strict=True)
    return list(questions), [[ecgs[number] for number in own] for own in numbers], list(candidates)


def one_by_one(model: Any, processor: Any, ecgs: list[Any]) -> list[torch.Tensor]:
    found = []
    for question, own, candidates in zip(*asked_of(ecgs), strict=True):
        conversation = processor.build_conversation(question, [{}] * len(own))
        lengths = [ecg["ecg_values"].shape[1] for ecg in own]
        rows = encode_answers(processor, conversation, lengths, candidates)
        found.append(score_answers(model, processor, [rows], [own])[0])
    return found


def assert_same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert [len(own) for own in found] == [len(own) for own in expected]
    torch.testing.assert_close(torch.cat(found), torch.cat(expected), atol=1e-4, rtol=0)


@pytest.fixture
def built(request: pytest.FixtureRequest, tiny_llm: Callable) -> tuple[Any, Any]:
    """A model of a family and its processor. Its weights are large: an untrained model says the same of everything,
    and a wrong position or a lost token would not show."""
    name, fields = FAMILIES[request.param]
    model, processor = tiny_llm(getattr(transformers, name)(**fields))
    with torch.no_grad():
        for parameter in model.language_model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model, processor


def of(*families: str) -> pytest.MarkDecorator:
    values = [family if family in FEW else pytest.param(family, marks=pytest.mark.slow) for family in families]
    return pytest.mark.parametrize("built", values, indirect=True)


@pytest.mark.smoke
@of(*FAMILIES)
def test_scores_are_those_of_each_answer_alone(
    built: tuple[Any, Any], make_ecg: Callable, request: pytest.FixtureRequest
) -> None:
    model, processor = built
    family = request.node.callspec.params["built"]
    ecgs = prepared(processor, make_ecg)
    expected = one_by_one(model, processor, ecgs)
    assert torch.cat(expected).std() > 0.3
    seen: list[int] = []
    hook = model.ecg_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    for batch_size in (64, 2):
        scorer = AnswerScorer(model, processor, batch_size)
        assert_same(scorer.score(*asked_of(ecgs)), expected)
        assert scorer.reads_on == (family not in RECURRENT)
    hook.remove()
    assert sum(seen) == 2 * len(ecgs)


@pytest.mark.smoke
@of(*FEW)
def test_what_is_written_is_what_is_written_alone(built: tuple[Any, Any], make_ecg: Callable) -> None:
    model, processor = built
    ecgs = prepared(processor, make_ecg)
    questions, own, _ = asked_of(ecgs)
    expected, likely = [], []
    for question, each in zip(questions, own, strict=True):
        conversation = processor.build_conversation(question, [{}] * len(each))
        lengths = [ecg["ecg_values"].shape[1] for ecg in each]
        prompt = processor.encode_conversation(conversation, lengths, add_generation_prompt=True)
        tokens, found = write_answers(model, processor, [prompt], [each], max_new_tokens=4)
        expected.append(processor.decode(tokens[0, 0], skip_special_tokens=True).strip())
        likely.append(found[0])
    assert torch.cat(likely).std() > 0.01  # it tells the questions apart
    for batch_size in (64, 2):
        texts, found = AnswerScorer(model, processor, batch_size).write(questions, own, max_new_tokens=4)
        assert texts == expected
        torch.testing.assert_close(found, torch.cat(likely), atol=1e-4, rtol=0)


@of("llama")
def test_other_searches_are_written_too(built: tuple[Any, Any], make_ecg: Callable) -> None:
    scorer = AnswerScorer(*built)
    questions, own, _ = asked_of(prepared(built[1], make_ecg))
    greedy, likely = scorer.write(questions, own, max_new_tokens=3)
    beams, better = scorer.write(questions, own, max_new_tokens=3, num_beams=4)
    assert len(beams) == len(greedy) and beams != greedy and better.sum() > likely.sum()
    with pytest.raises(ECGError, match="answers were written to .* questions; expected one to each"):
        scorer.write(questions, own, do_sample=True, num_return_sequences=2)


@of("llama")
def test_an_adapter_is_asked_as_it_is(built: tuple[Any, Any], make_ecg: Callable) -> None:
    import peft

    model, processor = built
    ecgs = prepared(processor, make_ecg)
    without = torch.cat(one_by_one(model, processor, ecgs))
    places = r"language_model\..*\.(q|v)_proj"
    config = peft.LoraConfig(r=2, lora_dropout=0.5, target_modules=places, init_lora_weights=False)
    adapted = peft.get_peft_model(model, config)
    expected = one_by_one(adapted.eval(), processor, ecgs)
    assert (torch.cat(expected) - without).abs().max() > 0.01
    scorer = AnswerScorer(adapted.train(), processor)
    assert_same(scorer.score(*asked_of(ecgs)), expected)
    assert scorer.reads_on and adapted.training  # dropout was off, and is on again


@of("llama")
def test_a_model_that_does_not_read_on_is_asked_with_whole_prompts(built: tuple[Any, Any], make_ecg: Callable) -> None:
    """One whose positions are off by one behind a cache, which no class tells."""
    model, processor = built
    inner = model.language_model.model

    def misplaced(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        cache = next((kwargs[name] for name in CACHE_NAMES if kwargs.get(name) is not None), None)
        if cache is not None and cache.get_seq_length():
            kwargs["position_ids"] = kwargs["position_ids"] + 1
        return args, kwargs

    hook = inner.register_forward_pre_hook(misplaced, with_kwargs=True)
    ecgs = prepared(processor, make_ecg)
    expected = one_by_one(model, processor, ecgs)
    scorer = AnswerScorer(model, processor)
    assert_same(scorer.score(*asked_of(ecgs)), expected)
    assert scorer.reads_on is False
    hook.remove()
    model.language_model.config.rope_parameters["rope_type"] = "dynamic"  # wrong only where a length is passed
    scorer = AnswerScorer(model, processor)
    scorer.score(*asked_of(ecgs))
    assert scorer.reads_on is False


@of("llama")
def test_questions_that_stand_before_their_ecgs_share_nothing(
    built: tuple[Any, Any], make_ecg: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = built

    def build(question: str, ecgs: list[Any]) -> list[dict[str, Any]]:
        parts = [{"type": "text", "text": f"{question} "}, *({"type": "ecg", "ecg": ecg} for ecg in ecgs)]
        return [{"role": "user", "content": parts}]

    monkeypatch.setattr(processor, "build_conversation", build, raising=False)
    ecgs = prepared(processor, make_ecg)
    expected = one_by_one(model, processor, ecgs)
    scorer = AnswerScorer(model, processor)
    assert_same(scorer.score(*asked_of(ecgs)), expected)
    assert scorer.reads_on


@of("llama")
def test_what_was_measured_is_read_with_its_ecg(
    built: tuple[Any, Any], make_ecg: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = built
    ecgs = prepared(processor, make_ecg)
    without = AnswerScorer(model, processor).score(*asked_of(ecgs))
    monkeypatch.setattr(processor, "reads_measured", True)
    measured = [ecgs[0] | {"measured": {"pr": 160}}, ecgs[1] | {"measured": {"heart_rate": (50, 0.4)}}, ecgs[2]]
    scorer = AnswerScorer(model, processor)
    encoded = scorer.encode(measured)
    assert [ecg.get("measured") for ecg in encoded] == [{"pr": 160}, {"heart_rate": (50, 0.4)}, None]
    found = scorer.score(*asked_of(encoded))
    assert_same(scorer.score(*asked_of(measured)), found)
    plain = AnswerScorer(model, processor)
    plain.reads_on = False
    assert_same(plain.score(*asked_of(encoded)), found)
    for (_, numbers, _), one, other in zip(ASKED, found, without, strict=True):
        assert torch.allclose(one, other, atol=1e-5) is (not {0, 1} & set(numbers))


@of("llama")
def test_a_beginning_comes_last_and_changes_nothing_else(built: tuple[Any, Any], make_ecg: Callable) -> None:
    model, processor = built
    ecgs = prepared(processor, make_ecg)
    scorer, plain = AnswerScorer(model, processor), AnswerScorer(model, processor)
    plain.reads_on = False
    found = scorer.score(*asked_of(ecgs), beginning="no")
    assert scorer.reads_on
    assert_same(plain.score(*asked_of(ecgs), beginning="no"), found)
    assert_same([one[:-1] for one in found], scorer.score(*asked_of(ecgs)))
    candidates = asked_of(ecgs)[2]
    for own, scores in zip(candidates, found, strict=True):
        begun = [score for answer, score in zip(own, scores[:-1], strict=True) if answer.startswith("no")]
        assert all(scores[-1] > score for score in begun)
    assert any(answer.startswith("no") for own in candidates for answer in own)


@of("llama")
def test_encoded_ecgs_are_not_encoded_again(built: tuple[Any, Any], make_ecg: Callable) -> None:
    model, processor = built
    scorer = AnswerScorer(model, processor)
    ecgs = prepared(processor, make_ecg)
    encoded = scorer.encode(ecgs)
    assert [len(ecg["ecg_embeds"]) for ecg in encoded] == [10, 7, 10]  # 20 samples a patch
    assert scorer.encode(encoded) == encoded
    expected = scorer.score(*asked_of(ecgs))
    hook = model.ecg_encoder.register_forward_pre_hook(lambda *_: pytest.fail("an ECG was encoded again"))
    assert_same(scorer.score(*asked_of(encoded)), expected)
    hook.remove()
    assert_same(scorer.score(*asked_of([encoded[0], ecgs[1], encoded[2]])), expected)


@of("llama")
def test_what_cannot_be_scored_is_refused(built: tuple[Any, Any], make_ecg: Callable) -> None:
    scorer = AnswerScorer(*built)
    assert scorer.score([], [], []) == [] and scorer.write([], [])[0] == []
    with pytest.raises(ECGError, match="2 questions, 1 ecgs, 1 candidates; expected as many of each"):
        scorer.score(["Is it?", "Is it not?"], [[]], [YES_NO])
    for wrong in ([], "yes"):
        with pytest.raises(ECGError, match="The candidates of 'Is it\\?' are"):
            scorer.score(["Is it?"], [[]], [wrong])
    with pytest.raises(ECGError, match="batch_size is 0"):
        AnswerScorer(*built, batch_size=0)
    built[1].max_positions = 20
    with pytest.raises(ECGError, match="positions for 20"):
        scorer.score(["Is there atrial fibrillation in this electrocardiogram?"], [[]], [YES_NO])
