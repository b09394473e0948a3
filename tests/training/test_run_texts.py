"""What a tokenizer that is made for a run is trained on: nothing that tests are made of."""

from datasets import Dataset

from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.training.run import _texts


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
