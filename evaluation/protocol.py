"""What a model is asked, and what it has to give: the one protocol behind which any model is evaluated.

In: `Asked`, one question about the ECGs that are shown with it. Out: one `Answer` to each. A model is any object with
`name` and `answer`; the wrappers of `models` make one of a checkpoint, a pipeline, a function, a program or a server.
Decided here: a model that compares given answers gives `scores`; one that writes gives `text` alone; one that will not
answer says why in `refused`, and nothing is put in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..signals import ECGRecord


class ShownECG(NamedTuple):
    """An ECG as it is shown: a record, and what was done to it ("" for nothing; names of `changes.CHANGES`).

    told: which record's figures a model is told that reads what is measured; None: those of this ECG, "": none.
    """

    record_id: str
    change: str = ""
    told: str | None = None

    def __lt__(self, other: tuple) -> bool:
        # What is told may be None, which has no order among texts.
        return tuple(map(str, self)) < tuple(map(str, other))

    @property
    def signal(self) -> ShownECG:
        """The ECG itself, whatever is told with it."""
        return ShownECG(self.record_id, self.change)


@dataclass(frozen=True)
class Asked:
    """One question.

    question: the words. ecgs: what is shown with it, in this order; none to ask without an ECG. candidates: answers to
    choose from; None where an answer is to be written. prompt: for several ECGs, words around them, with "{ecg}" in
    the place of each and "{question}"; None for the model's own. finding: the canonical finding that a yes-or-no
    question is about, where it is about one and its words are not what is tested; for models that know findings and no
    questions.
    """

    question: str
    ecgs: tuple[ShownECG, ...]
    candidates: tuple[str, ...] | None = None
    prompt: str | None = None
    finding: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a model answers.

    text: as it is written; of a model that only compares, the likeliest candidate. scores: candidate -> probability
    relative to the others; None from a model that gives none. probability: of `text` as a whole, where it is known.
    refused: why the question is not answered, or why the model's own tool would not let it be asked; text and scores
    may be given all the same, for what the model itself says.
    """

    text: str | None
    scores: Mapping[str, float] | None = None
    probability: float | None = None
    refused: str | None = None


class Model(Protocol):
    """A model that answers questions about ECGs.

    It may have `identity`, what tells it from others of its name, `trained_on`, what it says that it learned from, and
    `remark`, a sentence that a report opens with; all of them texts. And `reads_measured`, true of a model that is
    told what is measured on the ECGs.
    """

    name: str

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> Sequence[Answer]:
        """One answer to each question, in their order. ecgs: all that is shown, decoded when it is looked up."""
        ...
