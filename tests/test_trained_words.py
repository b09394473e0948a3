"""A checkpoint that was trained in other words is asked in these, by whatever way, and answers in today's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecgllm import ECGProcessor
from ecgllm.asking import load_answerer
from ecgllm.corpora import VOCABULARY
from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.corpora.questions.sampling import in_a_sentence
from ecgllm.errors_ecgllm import CheckpointError, ECGError
from ecgllm.pipeline_ecgllm import ECGTextToTextPipeline
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.trained_words_ecgllm import TrainedWords

pytestmark = pytest.mark.smoke

WORDS = {"superior axis": "odd axis", "a superior axis": "an odd axis", "wpw pattern": "wpw syndrome"}
ECG = {"signal": np.random.default_rng(0).normal(scale=0.3, size=(2, 500)), "sampling_rate": 100, "leads": ["I", "II"]}
TODAY, TRAINED = "Is there a superior axis, or WPW pattern?", "Is there an odd axis, or wpw syndrome?"


@pytest.fixture
def asked(tiny_llm: Callable) -> tuple:
    """A model, the processor that has the words, and one that has none."""
    model, plain = tiny_llm()
    known = ECGProcessor.for_model(model, plain.tokenizer)
    known = ECGProcessor(
        known.feature_extractor,
        known.tokenizer,
        samples_per_token=known.samples_per_token,
        max_positions=known.max_positions,
        trained_words=WORDS,
    )
    return model, known, plain


def test_whole_words_are_translated_there_and_back() -> None:
    words = TrainedWords(WORDS)
    assert words.to_trained(TODAY) == TRAINED and words.to_trained(TRAINED) == TRAINED
    assert words.to_today(TRAINED) == "Is there a superior axis, or wpw pattern?"
    assert words.to_trained("a superior axis-line, superior axiss") == "an odd axis-line, superior axiss"
    assert TrainedWords({}).to_trained(TODAY) == TODAY


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"axis": ""}, "expected today's words"),
        (["axis"], "expected today's words"),
        ({"axis": 1}, "expected today's words"),
        ({"left": "x", "right": "X"}, "two of them say the same"),
        ({"axis": "Axis of old"}, "holds one of today's words itself"),
    ],
)
def test_what_cannot_be_translated_back_is_refused(given: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        TrainedWords(given)


def test_every_way_of_asking_reaches_the_model_in_its_words(asked: tuple) -> None:
    _, known, plain = asked
    for ask in (
        lambda processor, text: processor.apply_chat_template(
            processor.build_conversation(text, [ECG]), tokenize=True, add_generation_prompt=True
        )["input_ids"],
        lambda processor, text: processor.apply_chat_template(
            processor.build_conversation("What is it?", [ECG], answer=text), tokenize=True, return_labels=True
        )["labels"],
        lambda processor, text: processor.encode_conversation(
            processor.build_conversation("What is it?", [{}], answer=text), [500]
        )["labels"],
        lambda processor, text: processor(text, [])["input_ids"],
        lambda processor, text: processor([text, "<|ecg|>" + text], [[], [ECG]])["input_ids"],
    ):
        today, trained, without = ask(known, TODAY), ask(plain, TRAINED), ask(plain, TODAY)
        assert np.array_equal(today, trained) and not np.array_equal(today, without)
    with pytest.raises(ECGError, match="in other words"):
        known(TODAY, [], label_spans=[[(0, 3)]])
    assert "labels" in known(TRAINED, [], label_spans=[[(0, 3)]])


def test_what_the_model_says_is_given_in_today_s_words(asked: tuple) -> None:
    model, known, plain = asked
    ids = plain.tokenizer("odd axis, Wpw syndrome", add_special_tokens=False)["input_ids"]
    assert known.decode(ids) == "superior axis, wpw pattern"
    assert known.batch_decode([ids, ids[:1]])[0] == "superior axis, wpw pattern"
    assert plain.decode(ids) == "odd axis, Wpw syndrome"

    options = {"ecgs": ECG, "require_heart": False}
    asking = {
        name: ECGTextToTextPipeline(model=model, processor=processor, task="ecg-text-to-text")
        for name, processor in (("known", known), ("plain", plain))
    }
    found = asking["known"](TODAY, candidates=["superior axis", "no"], **options)
    expected = asking["plain"](TRAINED, candidates=["odd axis", "no"], **options)
    assert found["candidates"] == pytest.approx(
        {"superior axis": expected["candidates"]["odd axis"], "no": expected["candidates"]["no"]}
    )


def test_the_words_are_saved_and_a_checkpoint_without_any_is_as_before(asked: tuple, tmp_path: Path) -> None:
    _, known, plain = asked
    known.save_pretrained(tmp_path / "known")
    plain.save_pretrained(tmp_path / "plain")
    loaded = ECGProcessor.from_pretrained(tmp_path / "known")
    assert loaded.trained_words == WORDS
    assert loaded(TODAY, [])["input_ids"].tolist() == plain(TRAINED, [])["input_ids"].tolist()
    assert not json.loads((tmp_path / "plain" / "processor_config.json").read_text()).get("trained_words")
    assert ECGProcessor.from_pretrained(tmp_path / "plain").trained_words is None
    assert (tmp_path / "known" / "trained_words_ecgllm.py").is_file()  # which the remote code needs


RENAMED = {
    "a right superior axis": "an indeterminate axis",
    "right superior axis": "indeterminate axis",
    "wolff-parkinson-white pattern": "wolff-parkinson-white syndrome",
}
"""Findings that were called otherwise when earlier checkpoints were trained."""


def test_a_copy_of_what_ships_is_asked_as_it_was_trained(tmp_path: Path) -> None:
    """By folder, as `--model`, and as remote code, as from the Hub: the answer is that to the old words."""
    words = RENAMED
    shutil.copytree(shipped_checkpoint(), tmp_path / "copy")
    without = tmp_path / "without"
    shutil.copytree(tmp_path / "copy", without)
    config = json.loads((without / "processor_config.json").read_text())
    for folder, own in ((without, {}), (tmp_path / "copy", {"trained_words": words})):
        stated = {key: value for key, value in config.items() if key != "trained_words"} | own
        (folder / "processor_config.json").write_text(json.dumps(stated))
    assert {name.removeprefix("a ") for name in words} <= set(VOCABULARY)

    record = simulate_ecgs(1, seed=5)[0]

    def log_odds(answerer: ECGTextToTextPipeline, finding: str) -> float:
        found = answerer(f"Is there {finding}?", ecgs=record, candidates=["yes", "no"])["candidates"]
        return float(np.log(found["yes"] / found["no"]))

    plain, remote = load_answerer(without), load_answerer(tmp_path / "copy", trust_remote_code=True)
    for today, trained in words.items():
        expected = log_odds(plain, trained)
        assert abs(log_odds(plain, today) - expected) > 0.05
        for answerer in (load_answerer(tmp_path / "copy"), remote):
            assert log_odds(answerer, today) == pytest.approx(expected, abs=1e-3)


def test_every_paraphrase_reaches_a_checkpoint_as_it_was_trained() -> None:
    """A finding's old name in a paraphrase is what today's name becomes, the article before it included."""
    translated = TrainedWords(RENAMED).to_trained
    for today, trained in RENAMED.items():
        if today not in VOCABULARY:
            continue
        for paraphrases in PARAPHRASES.values():
            for text in (*paraphrases["train"], *paraphrases["test"]):
                if "{finding}" not in text:
                    continue
                names = [in_a_sentence(name) | {"lead": "V1"} for name in (today, trained)]
                assert translated(text.format_map(_Lenient(names[0]))) == text.format_map(_Lenient(names[1]))


class _Lenient(dict):
    def __missing__(self, key: str) -> str:
        return key
