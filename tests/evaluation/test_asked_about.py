"""No question that means something else is taken for a plain one about a finding: neither in words that were looked at
nor in those kept back."""

from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.corpora.questions.sampling import in_a_sentence
from ecgllm.evaluation import kept_back_words, rewording
from ecgllm.findings import VOCABULARY
from ecgllm.findings.asked_names import asked_names
from ecgllm.measured_answers import finding_names


def test_plain_questions_are_found_and_others_are_not() -> None:
    names = finding_names()
    for finding, own in VOCABULARY.items():
        for words in (*PARAPHRASES["verify-finding"]["train"], *PARAPHRASES["verify-finding"]["test"]):
            assert names.asked_about(words.format(**in_a_sentence(finding))) == finding
        for name in asked_names(finding):
            assert names.asked_about(f"Is there {name}?") in (finding, None)  # None: other findings have it, too
        for turn in range(2):
            assert names.asked_about(rewording.negated(finding, turn)) is None
            assert names.asked_about(rewording.leading(finding, turn == 0)) is None
        if own.category != "clinical":
            for turn in range(4):
                for kind, question in kept_back_words.worded(finding, turn):
                    plain = finding if kind in ("test", "test (others)", "train", "synonym") else None
                    assert names.asked_about(question) in (plain, None), question
