"""What a tokenizer that is made for a run is trained on: nothing that tests are made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.training import load_recipe
from ecgllm.training.run import _asked_texts, _prepare_data, _texts
from ecgllm.training.run_folder import RunFolder


def test_a_run_s_tokenizer_sees_no_test_paraphrase_and_no_report_of_another_split() -> None:
    corpus = Dataset.from_dict(
        {
            "report": ["Sinus rhythm.", "Validated words.", "Tested words.", None],
            "split": ["train", "validation", "test", "train"],
            "findings": [["sinus rhythm"], ["atrial flutter"], [], []],
        }
    )
    texts = _texts(corpus)
    assert texts.count("Sinus rhythm.") == 1 and None not in texts
    assert not any("Validated" in text or "Tested" in text for text in texts)
    asked = {text.partition("Assistant: yes ")[2] for text in texts}
    trained = {text for paraphrases in PARAPHRASES.values() for text in paraphrases["train"]}
    tested = {text for paraphrases in PARAPHRASES.values() for text in paraphrases["test"]} - trained
    assert trained <= asked and tested and not tested & asked
    # The names of all findings, of whatever split: they are the vocabulary's, and asked about in every one.
    assert "atrial flutter" in texts


@pytest.mark.parametrize("own", [{}, {"questions": {"words": {"misspelt": 0.5}}}, {"measured": 0.5}])
def test_a_language_model_s_tokenizer_reads_what_its_stages_ask(
    write_recipe: Callable[..., Path], own: dict[str, Any]
) -> None:
    recipe = load_recipe(write_recipe(stages={"finetune": {"batch_size": 8, "training": {"max_steps": 2}} | own}))
    run = RunFolder(recipe.output)
    run.open(recipe)
    _prepare_data(recipe, run)
    texts = _asked_texts(recipe, run)
    assert texts == _asked_texts(recipe, run) and bool(texts) is bool(own)
    if own:
        asked = Dataset.load_from_disk(run.folder / "questions" / "finetune-train")
        assert all(question in text for question, text in zip(asked["question"], texts, strict=True))
        assert any("(measured: rate " in text for text in texts) is ("measured" in own)
