"""`ECGTextToTextPipeline` on a tiny random model: probabilities, candidates, batches, inputs, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, TextIteratorStreamer, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from ecgllm import (
    ECGEncoderConfig,
    ECGError,
    ECGFeatureExtractor,
    ECGLLMForConditionalGeneration,
    ECGProcessor,
    ECGTextToTextPipeline,
)
from ecgllm.answer_calibration_ecgllm import AnswerCalibration, FindingCalibration, fits, seeing_weights

pytestmark = pytest.mark.smoke

QUESTION = "Is there atrial fibrillation?"


def make_ecg(seconds: float = 2, leads: tuple[str, ...] = ("I", "II", "V2"), seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 250)) / 250
    beat = np.exp(-0.5 * (((time - rng.uniform(0.3, 0.5)) % 0.8 - 0.3) / 0.012) ** 2)
    signal = rng.uniform(0.5, 1.5, (len(leads), 1)) * beat + 0.03 * rng.normal(size=(len(leads), len(time)))
    return {"signal": signal.astype(np.float32), "sampling_rate": 250, "leads": list(leads)}


@pytest.fixture(scope="module")
def pipe() -> ECGTextToTextPipeline:
    torch.manual_seed(0)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=270, special_tokens=["</s>", "<pad>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    bpe.train_from_iterator(["User: Assistant: yes no"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>", pad_token="<pad>")
    extractor = ECGFeatureExtractor()
    encoder = ECGEncoderConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, stem_channels=[8, 8],
        preprocessing=extractor.preprocessing, initializer_range=0.2,
    )  # fmt: skip
    language_model = AutoModelForCausalLM.from_config(
        LlamaConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
            vocab_size=len(tokenizer), initializer_range=0.3, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        )
    )  # fmt: skip
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, language_model, tokenizer=tokenizer, patches_per_token=5
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return ECGTextToTextPipeline(model=model.eval(), processor=ECGProcessor.for_model(model, tokenizer))


def log_probability(pipe: ECGTextToTextPipeline, conversation: list[dict[str, Any]], answer: list[int]) -> float:
    """Of these tokens after a conversation: from one forward pass, with no generation and no cache."""
    inputs = pipe.processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)
    prompt = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=1)
    inputs = inputs.to(pipe.model.device)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        logits = pipe.model(**inputs).logits[0, prompt - 1 : -1]
    return float(logits.log_softmax(-1)[range(len(answer)), answer].sum())


def generated(pipe: ECGTextToTextPipeline, conversation: list[dict[str, Any]], **settings: Any) -> list[list[int]]:
    """The tokens that `generate` itself gives, up to and with the end."""
    inputs = pipe.processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)
    inputs = inputs.to(pipe.model.device)
    rows = pipe.model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :].tolist()
    end = pipe.processor.tokenizer.eos_token_id
    return [row[: row.index(end) + 1] if end in row else row for row in rows]


@pytest.mark.parametrize(
    "settings",
    [{}, {"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 2}, {"num_beams": 2, "length_penalty": -2.0}],
    ids=str,
)
def test_the_probability_is_that_of_the_answer(pipe: ECGTextToTextPipeline, settings: dict[str, Any]) -> None:
    for seed in range(3):
        ecgs = [make_ecg(seed=seed), make_ecg(3, seed=seed + 10)]
        turns = pipe.processor.build_conversation(QUESTION, ecgs)
        answers = pipe(QUESTION, ecgs=ecgs, max_new_tokens=5, generate_kwargs=settings)
        answers = answers if isinstance(answers, list) else [answers]
        rows = generated(pipe, turns, max_new_tokens=5, do_sample=False, **settings)
        assert len(answers) == len(rows)
        for answer, row in zip(answers, rows, strict=True):
            text = pipe.processor.tokenizer.decode(row, skip_special_tokens=True).strip()
            assert answer["generated_text"] == text
            assert np.log(answer["probability"]) == pytest.approx(log_probability(pipe, turns, row), abs=1e-4)
            json.dumps(answer, allow_nan=False)


def test_the_probability_ends_with_the_answer(pipe: ECGTextToTextPipeline) -> None:
    """An answer that ends at once, whatever is padded after it: any token can be named the end."""
    ecg = make_ecg()
    turns = pipe.processor.build_conversation(QUESTION, ecg)
    first = generated(pipe, turns, max_new_tokens=3, do_sample=False)[0][0]
    other = {"question": "Hello", "ecgs": []}
    answers = pipe(
        [{"question": QUESTION, "ecgs": ecg}, other], batch_size=2, max_new_tokens=4,
        generate_kwargs={"eos_token_id": first},
    )  # fmt: skip
    assert np.log(answers[0]["probability"]) == pytest.approx(log_probability(pipe, turns, [first]), abs=1e-4)


def test_an_answer_is_streamed_as_it_is_written(pipe: ECGTextToTextPipeline) -> None:
    streamer = TextIteratorStreamer(pipe.processor.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=60)
    answer = pipe(QUESTION, ecgs=make_ecg(), max_new_tokens=6, streamer=streamer)
    parts = list(streamer)
    assert answer["generated_text"] == "".join(parts).strip() and len(parts) > 1
    with pytest.raises(ECGError, match="streamer is for written answers"):
        pipe(QUESTION, ecgs=make_ecg(), candidates=["yes", "no"], streamer=streamer)


def test_sampled_answers(pipe: ECGTextToTextPipeline) -> None:
    settings = {"do_sample": True, "num_return_sequences": 3, "num_beams": 1}
    answers = pipe(QUESTION, ecgs=make_ecg(), max_new_tokens=2, generate_kwargs=settings)
    assert len(answers) == 3
    assert all(0 < answer["probability"] <= 1 for answer in answers)


def test_candidates_are_scored_as_each_alone(pipe: ECGTextToTextPipeline) -> None:
    ecgs = [make_ecg(seed=1), make_ecg(4, ("V1",), seed=2)]
    turns = pipe.processor.build_conversation(QUESTION, ecgs)
    candidates = ["yes", "no", "atrial flutter", "yes and no"]
    tokenizer = pipe.processor.tokenizer
    alone = [log_probability(pipe, turns, tokenizer(f" {answer}</s>")["input_ids"]) for answer in candidates]
    expected = dict(zip(candidates, torch.tensor(alone).softmax(0).tolist(), strict=True))
    answer = pipe(QUESTION, ecgs=ecgs, candidates=candidates)
    assert answer["candidates"] == pytest.approx(expected, abs=1e-5)
    assert sum(answer["candidates"].values()) == pytest.approx(1, abs=1e-6)
    assert answer["generated_text"] == max(expected, key=expected.__getitem__)
    assert answer["probability"] == max(answer["candidates"].values())
    reordered = pipe(QUESTION, ecgs=ecgs, candidates=candidates[::-1])
    assert reordered["candidates"] == pytest.approx(answer["candidates"], abs=1e-6)
    assert pipe(QUESTION, ecgs=[], candidates=["yes"])["probability"] == 1


def test_candidates_after_earlier_turns(pipe: ECGTextToTextPipeline) -> None:
    turns = [
        *pipe.processor.build_conversation(QUESTION, make_ecg(), answer="yes"),
        *pipe.processor.build_conversation("And here?", make_ecg(seed=3)),
    ]
    tokenizer = pipe.processor.tokenizer
    alone = [log_probability(pipe, turns, tokenizer(f" {answer}</s>")["input_ids"]) for answer in ("yes", "no")]
    answer = pipe(turns, candidates=["yes", "no"])
    assert [answer["candidates"]["yes"], answer["candidates"]["no"]] == pytest.approx(
        torch.tensor(alone).softmax(0).tolist(), abs=1e-5
    )


MIXED = [
    {"question": QUESTION, "ecgs": make_ecg(seed=1)},
    {"question": "What is new in the second ECG?", "ecgs": [make_ecg(3, seed=2), make_ecg(1, ("V5",), seed=3)]},
    {"question": "Hello", "ecgs": []},
]


def assert_same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert [answer["generated_text"] for answer in one] == [answer["generated_text"] for answer in other]
    assert [answer["probability"] for answer in one] == pytest.approx([a["probability"] for a in other], rel=1e-3)
    for answer, expected in zip(one, other, strict=True):
        assert answer.get("candidates", {}) == pytest.approx(expected.get("candidates", {}), abs=1e-5)


@pytest.mark.parametrize("settings", [{"max_new_tokens": 4}, {"candidates": ["yes", "no", "none"]}], ids=str)
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_batches_equal_single_questions(
    pipe: ECGTextToTextPipeline, batch_size: int, settings: dict[str, Any]
) -> None:
    single = [pipe(item, **settings) for item in MIXED]
    assert_same(pipe(MIXED, batch_size=batch_size, **settings), single)


def test_a_calibrated_checkpoint_says_what_a_yes_is_worth(
    pipe: ECGTextToTextPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = AnswerCalibration(
        {"atrial fibrillation": FindingCalibration(0.5, -1.0, 0.1, ("atrial fibrillation", "AF"))}, "10 records"
    )
    one, choose = make_ecg(), {"candidates": ["Yes", "No"]}
    assert "calibrated" not in pipe(QUESTION, ecgs=one, **choose)
    monkeypatch.setattr(pipe.processor, "calibration", own)
    found = pipe(QUESTION, ecgs=one, **choose)
    expected = own.of(QUESTION, found["candidates"]["Yes"])
    assert found["calibrated"] == asdict(expected) and expected.finding == "atrial fibrillation"
    rare = pipe(QUESTION, ecgs=one, prevalence=0.01, **choose)["calibrated"]
    assert rare["frequency"] == 0.01 and rare["probability"] < expected.probability
    asked = [{"question": words, "ecgs": [one] * number} for words, number in
             ((QUESTION, 1), ("Is there no AF?", 1), ("AF?", 2), ("AF?", 1), ("What is it?", 1))]  # fmt: skip
    for size in (1, 4):
        answers = pipe(asked, batch_size=size, **choose)
        assert ["calibrated" in answer for answer in answers] == [True, False, False, True, False]
        assert answers[0]["calibrated"]["probability"] == pytest.approx(expected.probability, abs=1e-4)
    turns = pipe.processor.build_conversation(QUESTION, one, answer="yes")
    turns.append({"role": "user", "content": "Is there AF?"})
    assert "calibrated" not in pipe(turns, **choose)
    ecg, asks = {"type": "ecg", "ecg": one}, {"type": "text", "text": f"\n{QUESTION}"}
    before = {"type": "text", "text": "Here is an electrocardiogram: "}
    assert "calibrated" in pipe([{"role": "user", "content": [before, ecg, asks]}], **choose)
    for content in ([ecg, {"type": "text", "text": "Is it wrong that there is "}, asks], [ecg, before, asks]):
        assert "calibrated" not in pipe([{"role": "user", "content": content}], **choose)
    told = {"role": "system", "content": "Answer yes where the finding is absent."}
    assert "calibrated" not in pipe([told, {"role": "user", "content": [before, ecg, asks]}], **choose)
    assert "calibrated" not in pipe(QUESTION, ecgs=one, candidates=["yes", "Yes", "no"])
    assert not fits(replace(own, weights="0" * 16), pipe.model)
    assert fits(replace(own, weights=seeing_weights(pipe.model)), pipe.model) and fits(own, pipe.model)
    assert "calibrated" not in pipe(QUESTION, ecgs=one, candidates=["yes", "perhaps"])
    for wrong in (0, 1, 30):
        with pytest.raises(ECGError, match="expected a share between 0 and 1"):
            pipe(QUESTION, ecgs=one, prevalence=wrong, **choose)
    pipe.processor.save_pretrained(tmp_path)
    assert ECGProcessor.from_pretrained(tmp_path).calibration == own
    pipe.processor.save_pretrained(tmp_path / "part")
    assert ECGProcessor.from_pretrained(tmp_path, subfolder="part").calibration == own
    monkeypatch.setattr(pipe.processor, "calibration", None)
    pipe.processor.save_pretrained(tmp_path)
    assert ECGProcessor.from_pretrained(tmp_path).calibration is None


def test_batches_with_several_answers_each(pipe: ECGTextToTextPipeline) -> None:
    settings = {"num_beams": 3, "num_return_sequences": 2}
    single = [pipe(item, max_new_tokens=3, generate_kwargs=settings) for item in MIXED]
    batched = pipe(MIXED, max_new_tokens=3, generate_kwargs=settings, batch_size=2)
    for one, other in zip(batched, single, strict=True):
        assert_same(one, other)


def test_conversations_generators_and_data_sets(pipe: ECGTextToTextPipeline) -> None:
    settings = {"max_new_tokens": 3}
    expected = pipe(MIXED, **settings)
    turns = [pipe.processor.build_conversation(item["question"], item["ecgs"]) for item in MIXED]
    assert_same([pipe(conversation, **settings) for conversation in turns], expected)
    assert_same(pipe(turns, **settings), expected)
    assert_same(pipe(tuple(MIXED), **settings), expected)
    assert_same(list(pipe((item for item in MIXED), batch_size=2, **settings)), expected)
    assert_same(list(pipe(iter(MIXED), **settings)), expected)
    assert_same(list(pipe((item for item in turns), batch_size=2, **settings)), expected)

    class Questions(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(MIXED)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return MIXED[index]

    assert_same(list(pipe(Questions(), batch_size=2, **settings)), expected)
    assert pipe([]) == []


def test_a_column_of_ecgs(pipe: ECGTextToTextPipeline) -> None:
    from datasets import Dataset, Features, List, Value

    from ecgllm.corpora import ECG

    rows = [item for item in MIXED if item["ecgs"]]
    data = Dataset.from_list(
        [{"question": row["question"], "ecgs": row["ecgs"] if isinstance(row["ecgs"], list) else [row["ecgs"]]} for row in rows],  # noqa: E501
        features=Features({"question": Value("string"), "ecgs": List(ECG())}),
    )  # fmt: skip
    answers = list(pipe(data, max_new_tokens=3))
    assert len(answers) == 2
    assert_same(answers, [pipe(item, max_new_tokens=3) for item in data])


def test_one_question_about_each_of_many_ecgs(pipe: ECGTextToTextPipeline, tmp_path: Path) -> None:
    ecgs = [make_ecg(seconds, seed=seed) for seed, seconds in enumerate((2, 5, 3.3))]
    paths = [str(tmp_path / f"{number}.npz") for number in range(3)]
    for path, ecg in zip(paths, ecgs, strict=True):
        np.savez(path, unit="mV", **ecg)
    expected = [pipe(QUESTION, ecgs=ecg, candidates=["yes", "no"])["probability"] for ecg in ecgs]
    rows = Dataset.from_dict({"path": paths})
    settings = {"question": QUESTION, "candidates": ["yes", "no"], "batch_size": 2}
    for many in (KeyDataset(rows, "path"), rows["path"], ecgs, iter(paths), (path for path in paths)):
        found = pipe(many, **settings)
        assert isinstance(found, list) == (many is ecgs)
        assert [each["probability"] for each in found] == pytest.approx(expected, abs=1e-5)
    assert pipe(paths[0], **settings)["probability"] == pytest.approx(expected[0], abs=1e-5)
    both = pipe(QUESTION, ecgs=ecgs[:2], candidates=["yes", "no"])["probability"]
    assert pipe([ecgs[:2]], **settings)[0]["probability"] == pytest.approx(both, abs=1e-5)
    assert pipe([], question=QUESTION) == []
    asking = pipeline("ecg-text-to-text", model=pipe.model, processor=pipe.processor, **settings)
    assert asking(paths)[1]["probability"] == pytest.approx(expected[1], abs=1e-5)
    with pytest.raises(ECGError, match="with question= the first argument are the ECGs"):
        pipe(QUESTION, ecgs=ecgs[0], question=QUESTION)
    with pytest.raises(ECGError, match="Found a str as input; .* pass question=, which each is asked about"):
        next(iter(pipe(KeyDataset(rows, "path"))))


def test_a_generator_is_read_as_it_is_asked(pipe: ECGTextToTextPipeline) -> None:
    taken: list[int] = []

    def stream() -> Iterator[dict[str, Any]]:
        for number in range(100):
            taken.append(number)
            yield MIXED[0]

    answers = pipe(stream(), max_new_tokens=1)
    next(iter(answers))
    assert len(taken) < 5


def test_arrays_with_rate_and_leads_in_the_call(pipe: ECGTextToTextPipeline) -> None:
    ecg = make_ecg()
    given = {"sampling_rate": 250, "leads": ecg["leads"], "max_new_tokens": 3}
    expected = pipe(QUESTION, ecgs=ecg, max_new_tokens=3)
    assert pipe(QUESTION, ecgs=ecg["signal"], **given) == expected
    assert pipe(QUESTION, ecgs=torch.from_numpy(ecg["signal"]), **given) == expected


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"question": QUESTION, "ecg": make_ecg()}, "keys ['ecg', 'question']; expected 'question' and 'ecgs'"),
        ({"ecgs": make_ecg()}, "Found the keys ['ecgs']"),
        ({"question": QUESTION, "ecgs": [], "id": 3}, "and no others"),
        ({"question": QUESTION}, "comes without an ECG; pass ecgs=, or ecgs=[] to ask without one"),
        ({"question": QUESTION, "ecgs": None}, "comes without an ECG"),
        (QUESTION, "comes without an ECG"),
        ([QUESTION], "Found a str as input"),
        ([{"role": "user", "content": [{"type": "text", "text": "Is it?"}, {"type": "ecg"}]}],
         'A part {"type": "ecg"} has no "ecg"'),
        ({"question": "", "ecgs": make_ecg()}, "The question is ''; expected words"),
        ({"question": " \n", "ecgs": make_ecg()}, "The question is ' \\n'; expected words"),
        ({"question": None, "ecgs": make_ecg()}, "The question is None; expected words"),
        ([{"role": "user", "content": [{"type": "ecg", "ecg": make_ecg()}]}], "holds no question"),
        ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": " "}], "holds no question"),
        ([{"role": "user", "content": "<|ecg|>"}], "holds <|ecg|> itself"),
        ({"question": QUESTION, "ecgs": [make_ecg(), make_ecg(0.5)]}, "ecgs[1]: the ECG lasts 0.5 s"),
    ],
)  # fmt: skip
def test_inputs_that_cannot_be_right(pipe: ECGTextToTextPipeline, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        pipe(inputs, max_new_tokens=1)


def test_what_the_model_has_no_positions_for_never_reaches_it(
    pipe: ECGTextToTextPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = pipe.model.config.text_config.max_position_embeddings
    assert pipe.processor.max_positions == positions == pipe.model.config.max_positions
    tokens = pipe.processor(QUESTION)["input_ids"].shape[1]
    monkeypatch.setattr(pipe.processor, "max_positions", tokens + 40)
    pipe(QUESTION, ecgs=[])  # an answer of at most as many tokens as are left

    def forward(*arguments: object, **inputs: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(pipe.model, "forward", forward)
    for long, more in ((f"{QUESTION} {'word ' * 20_000}", {}), (QUESTION, {"candidates": ["yes " * 90, "no"]})):
        with pytest.raises(ECGError, match=rf"tokens.*; this language model has positions for {tokens + 40:,}\."):
            pipe(long, ecgs=[], **more)
    prompt = pipe.processor.apply_chat_template([{"role": "user", "content": QUESTION}], add_generation_prompt=True)
    monkeypatch.setattr(pipe.processor, "max_positions", pipe.processor(prompt)["input_ids"].shape[1])
    with pytest.raises(ECGError, match="and 1 for the answer"):
        pipe(QUESTION, ecgs=[])


def test_ecgs_beside_a_mapping_are_refused(pipe: ECGTextToTextPipeline) -> None:
    with pytest.raises(ValueError, match="goes with a single question"):
        pipe(MIXED, ecgs=make_ecg())


@pytest.mark.parametrize("candidates", [[], "yes", ["yes", "yes"], [1]])
def test_candidates_that_cannot_be_right(pipe: ECGTextToTextPipeline, candidates: Any) -> None:
    with pytest.raises(ValueError, match="candidates"):
        pipe(MIXED[0], candidates=candidates)


def test_an_unknown_setting_is_refused(pipe: ECGTextToTextPipeline) -> None:
    with pytest.raises(TypeError, match=r"\['temperature'\]; generation settings go into generate_kwargs"):
        pipe(MIXED[0], temperature=0.5)


def test_a_processor_of_another_signal_path_is_refused_at_once(pipe: ECGTextToTextPipeline) -> None:
    other = ECGProcessor(ECGFeatureExtractor(sampling_rate=250), pipe.processor.tokenizer, samples_per_token=100)
    with pytest.raises(ValueError, match=r"sampling_rate: 250\.0 instead of 100\.0"):
        ECGTextToTextPipeline(model=pipe.model, processor=other)
    with pytest.raises(ValueError, match="no processor"):
        ECGTextToTextPipeline(model=pipe.model)


def test_a_saved_pipeline_loads_again(pipe: ECGTextToTextPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = pipeline(model=str(tmp_path), trust_remote_code=True)
    ecg = make_ecg(leads=("I",))
    assert again("Is it?", ecgs=ecg, candidates=["yes", "no"]) == pipe("Is it?", ecgs=ecg, candidates=["yes", "no"])


NOT_A_HEART = {
    "flat": lambda rng, time: np.zeros((12, len(time))),
    "white noise": lambda rng, time: rng.normal(size=(12, len(time))) * 0.3,
    "Brownian noise": lambda rng, time: rng.normal(size=(12, len(time))).cumsum(axis=1) * 0.03,
    "a slow sine": lambda rng, time: np.sin(2 * np.pi * 0.7 * time) * rng.uniform(0.5, 1.5, (12, 1)),
    "powerline interference": lambda rng, time: 0.3 * np.sin(2 * np.pi * 50 * time + rng.uniform(0, 6, (12, 1))),
    "asystole": lambda rng, time: 0.1 * np.sin(2 * np.pi * 0.3 * time) + 0.01 * rng.normal(size=(12, len(time))),
}


@pytest.mark.parametrize("kind", NOT_A_HEART)
def test_what_shows_no_heart_is_refused_unless_asked_for(pipe: ECGTextToTextPipeline, kind: str) -> None:
    leads = ["I", "II", "III", "aVR", "aVL", "aVF", *(f"V{n}" for n in range(1, 7))]
    signal = NOT_A_HEART[kind](np.random.default_rng(1), np.arange(2500) / 250)
    ecg = {"signal": signal, "sampling_rate": 250, "leads": leads}
    with pytest.raises(
        ValueError, match=r"(?s)ecgs\[0\]: no heart beats.*asystole.*ventricular fibrillation"
    ) as refusal:
        pipe(QUESTION, ecgs=ecg, candidates=["yes", "no"])
    assert "require_heart=False" in str(refusal.value)
    assert pipe(QUESTION, ecgs=ecg, candidates=["yes", "no"], require_heart=False)["generated_text"] in ("yes", "no")
    # One that was prepared before is looked at, too; preparing it, as training does, refuses nothing.
    extractor = pipe.processor.feature_extractor
    features = extractor(ecg, return_tensors="np")
    prepared = {
        "ecg_values": features["ecg_values"][0],
        "lead_mask": features["lead_mask"][0],
        "preprocessing_id": extractor.preprocessing_id,
    }
    with pytest.raises(ValueError, match="no heart beats"):
        pipe(QUESTION, ecgs=prepared, candidates=["yes", "no"])
