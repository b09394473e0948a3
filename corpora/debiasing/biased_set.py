"""The biased question set that a hospital gives: severity decides which questions are asked, and the answers.

In: a corpus with findings, simulated ones above all, as nothing else biases them. Out: verify questions in the schema
of `build_questions`, biased by a known amount: the laboratory for de-biasing. Decided here: the selection model
(`confound`), and that severity is that of the findings not asked about, so that at strength 0 nothing is confounded.
Source of the idea: arXiv 2411.14795 (severity confounds question and answer).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ...errors_ecgllm import ECGError
from ...findings.labels import VOCABULARY
from ..questions.about_findings import Stated
from ..questions.paraphrases import PARAPHRASES, SUSPECTING
from ..questions.sampling import Facts, Rows, facts_of, in_a_sentence
from .confounders import other_severity

_TEMPLATE = "verify-finding"
_HIGHEST = 4  # a severity of so many other findings and more is one stratum
_SIDES = (False, True)
_CANDIDATES = 4
_TRIES = 5  # draws per question, as one that is there already is drawn again


@dataclass(frozen=True)
class _Cell:
    """Records of one finding and one severity: who answers yes, who no, and how many questions both can bear."""

    finding: str
    severity: int
    yes: list[Facts]
    no: list[Facts]

    def side(self, yes: bool) -> list[Facts]:
        return self.yes if yes else self.no

    @property
    def mass(self) -> int:
        return min(len(self.yes), len(self.no))


def confound(
    corpus: Dataset,
    strength: float = 1.0,
    seed: int = 0,
    per_record: float = 2.0,
    certainty: float = 0.9,
    paraphrases: str = "train",
) -> Dataset:
    """Ask questions whose paraphrase, subject and answer depend on how sick the patient is.

    The selection model, from which every question is drawn on its own. Of a record asked about a finding let s be the
    number of its other abnormal findings (`confounders.other_severity`) and h = 1 if s is above a threshold ("sick"),
    else -1; h is either with probability 1/2. Given h, and independently of each other, with strength a and certainty
    c:

        P(finding is a grave one | h) = (1 + a h) / 2     grave: one of those that come with many others
        P(paraphrase is suspecting | h)  = (1 + a h) / 2     `paraphrases.SUSPECTING`: "Would you diagnose ..."
        P(answer is yes | h)          = (1 + c a h) / 2

    Within that, findings and severities are as frequent as there are records to answer both ways, the same for yes and
    no. At strength 0 neither finding, paraphrase nor severity tells the answer. The best guess from the question
    alone is right with probability (1 + c a^2) / 2, that from severity alone with (1 + c a) / 2.

    Args:
        corpus: records with findings. strength: 0 to 1. certainty: 0 to 1, how sure the answers are at strength 1.
        seed: same arguments and seed, same questions. per_record: questions per record; fewer where the corpus cannot
            bear them. paraphrases: "train" or "test".
    Returns: rows with `QUESTION_FEATURES` in random order; severity is the record's whole severity.
    Raises: ValueError for arguments out of range, or a corpus in which no finding has records that answer yes and no
        among the sick and among the healthy.
    """
    for name, value in (("strength", strength), ("certainty", certainty)):
        if not 0 <= value <= 1:
            raise ECGError(f"{name}={value}; expected a number from 0 to 1")
    if paraphrases not in ("train", "test"):
        raise ECGError(f"paraphrases={paraphrases!r}; expected 'train' or 'test'")
    if per_record <= 0:
        raise ECGError(f"per_record={per_record}; expected a positive number")
    stated, rows = Stated(facts_of(corpus), 1, None), Rows(paraphrases, seed)
    strata = _strata(_cells(stated))
    texts = {kind: _paraphrases(paraphrases, kind) for kind in _SIDES}
    size = min(round(per_record * len(stated.records)), _bearable(strata, min(map(len, texts.values()))))
    rng, used = rows.rng("confound"), Counter()
    masses = {key: np.cumsum([cell.mass for cell in cells]) for key, cells in strata.items()}
    for _ in range(size * _TRIES):
        if len(rows) == size:
            break
        sick = rng.random() < 0.5
        agrees = rng.random(3) < (1 + strength * np.array([1, 1, certainty])) / 2
        grave, suspecting, yes = (bool(one) is sick for one in agrees)
        steps = masses[grave, sick]
        cell = strata[grave, sick][int(np.searchsorted(steps, rng.integers(steps[-1]), side="right"))]
        # Of a few candidates the one asked least so far: no record carries the set.
        candidates = [cell.side(yes)[i] for i in rng.integers(len(cell.side(yes)), size=_CANDIDATES)]
        record = min(candidates, key=lambda one: used[one.id])
        question = texts[suspecting][int(rng.integers(len(texts[suspecting])))].format(**in_a_sentence(cell.finding))
        if rows.add(_TEMPLATE, cell.finding, "verify", question, (record,), ["yes" if yes else "no"]):
            used[record.id] += 1
    return rows.dataset()


def _cells(stated: Stated) -> list[_Cell]:
    names = [name for name in stated.findings if VOCABULARY[name].abnormal and VOCABULARY[name].category != "noise"]
    found = []
    for name in names:
        sides: dict[tuple[int, bool], list[Facts]] = defaultdict(list)
        for record in stated.records:
            answer = stated.label(record, name)
            if answer is not None:
                sides[min(other_severity(record.findings, name), _HIGHEST), answer].append(record)
        found += [
            _Cell(name, severity, sides[severity, True], sides[severity, False]) for severity in range(_HIGHEST + 1)
        ]
    return [cell for cell in found if cell.mass]


def _strata(cells: list[_Cell]) -> dict[tuple[bool, bool], list[_Cell]]:
    """(grave, sick) -> cells. Both lines are drawn where they leave the scarcest of the four the most."""
    weight: Counter = Counter()
    for cell in cells:
        weight[cell.finding] += cell.mass
    gravity = {
        name: sum(cell.severity * cell.mass for cell in cells if cell.finding == name) / mass
        for name, mass in weight.items()
    }
    best, most = None, 0
    ranked = sorted(gravity, key=lambda name: (gravity[name], name))
    for threshold in range(1, _HIGHEST + 1):
        for split in range(1, len(ranked)):
            grave = set(ranked[split:])
            masses = Counter()
            for cell in cells:
                masses[cell.finding in grave, cell.severity >= threshold] += cell.mass
            scarcest = min(masses[a, b] for a in _SIDES for b in _SIDES)
            if scarcest > most:
                best, most = (grave, threshold), scarcest
    if best is None:
        raise ECGError(
            f"the corpus has {len(gravity)} abnormal findings that some records show and others of the same severity "
            "do not; expected at least two, each with such records among the healthy and among the sick. Take more "
            "records"
        )
    grave, threshold = best
    return {
        (a, b): [cell for cell in cells if ((cell.finding in grave), cell.severity >= threshold) == (a, b)]
        for a in _SIDES
        for b in _SIDES
    }


def _bearable(strata: dict[tuple[bool, bool], list[_Cell]], paraphrases: int) -> int:
    """How many questions there can be at any strength without the same question of the same record twice."""
    return min(2 * paraphrases * sum(cell.mass for cell in cells) for cells in strata.values())


def _paraphrases(paraphrases: str, suspecting: bool) -> Sequence[str]:
    return [text for text in PARAPHRASES[_TEMPLATE][paraphrases] if (text in SUSPECTING) is suspecting]
