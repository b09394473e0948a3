"""A small corpus of simulated ECGs with questions, and models of which it is known what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from ecgllm.corpora import build_questions, debias, records_to_corpus
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.protocol import Answer, Asked, ShownECG
from ecgllm.findings import VOCABULARY
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs

WHOLE = ("verify-finding", "verify-normal", "verify-group", "verify-abnormality")


@pytest.fixture(scope="session")
def material() -> Material:
    corpus = records_to_corpus(simulate_ecgs(120, seed=3), source="simulation")
    built = build_questions(corpus, types=("verify",), paraphrases="test", per_record=6)
    built = built.filter(lambda template: template in WHOLE, input_columns="template")
    questions = debias(built, by_split=False)
    return Material(corpus, questions, Settings(questions=1400, least=5))


class Seeing:
    """Knows the truth of whatever it is shown, by its record; of a changed ECG, or of none, it says no."""

    name = "seeing"

    def __init__(self, material: Material):
        self.labels = material.labels
        self.about = dict(zip(material.questions["question"], material.questions["attribute"], strict=True))

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        return [self._one(one) for one in asked]

    def _one(self, asked: Asked) -> Answer:
        p_yes = 0.1
        name = asked.finding or self.about.get(asked.question) or _named_in(asked.question)
        if asked.ecgs and not asked.ecgs[0].change and name is not None:
            p_yes = 0.9 if self.labels.of(asked.ecgs[0].record_id, name) else 0.1
        return Answer(None, {"yes": p_yes, "no": 1 - p_yes})


def _named_in(question: str) -> str | None:
    return max((name for name in VOCABULARY if name in question), key=len, default=None)


class Blind:
    """Answers by the words alone, half of them with yes."""

    name = "blind"

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        return [Answer("Yes." if sum(map(ord, one.question)) % 2 else "No.") for one in asked]


class YesSayer:
    """Says yes to everything."""

    name = "yes-sayer"

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        return [Answer("Yes, there is.") for _ in asked]
