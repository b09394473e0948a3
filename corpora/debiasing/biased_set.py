"""The biased question set that a hospital gives: severity decides which questions are asked, and the answers.

In: a corpus with findings, simulated ones above all, as nothing else biases them. Out: verify questions in the schema
of `build_questions`, biased by a known amount: the laboratory for de-biasing. Decided here: the selection model
(`confound`), and that severity is that of the findings not asked about, so that at strength 0 nothing is confounded.
Another confounder may take the place of severity, which is then the same for yes and no. With a negative certainty the
same confounder tells the opposite: training set and test set of a prior shift (VQA-CP: Agrawal et al., CVPR 2018).
Source of the idea: arXiv 2411.14795 (severity confounds question and answer).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ...errors_ecgllm import ECGError
from ...findings.labels import VOCABULARY, check_findings
from ...findings.vocabulary import NOISES
from ..questions.about_findings import Stated
from ..questions.paraphrases import PARAPHRASES, SUSPECTING
from ..questions.sampling import Facts, Rows, facts_of, in_a_sentence
from .confounders import AGE_BANDS, other_severity

_TEMPLATE = "verify-finding"
_HIGHEST = 4  # a severity of so many other findings and more is one stratum
_SIDES = (False, True)
_CANDIDATES = 4
_TRIES = 5  # draws per question, as one that is there already is drawn again


def _severity(record: Facts, finding: str) -> int:
    return min(other_severity(record.findings, finding), _HIGHEST)


def _age(record: Facts, finding: str) -> int | None:
    return None if record.age is None else sum(record.age >= limit for limit, _ in AGE_BANDS)


#: Confounder -> its level of a record that is asked about a finding; None where it is not known.
_LEVELS: dict[str, Callable[[Facts, str], int | None]] = {
    "severity": _severity,
    "age": _age,
    "sex": lambda record, finding: {"female": 0, "male": 1}.get(record.sex),
    "noise": lambda record, finding: int(not record.findings.isdisjoint(NOISES)),
}


@dataclass(frozen=True)
class _Cell:
    """Records of one finding, severity and level of the confounder: who answers yes, who no, and how many questions
    both can bear."""

    finding: str
    level: int
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
    *,
    confounder: str = "severity",
    question_strength: float | None = None,
    attributes: Iterable[str] | None = None,
) -> Dataset:
    """Ask questions whose paraphrase, subject and answer depend on how sick the patient is.

    The selection model, from which every question is drawn on its own. Of a record asked about a finding let s be the
    number of its other abnormal findings (`confounders.other_severity`) and h = 1 if s is above a threshold ("sick"),
    else -1; h is either with probability 1/2. Given h, and independently of each other, with strength a, certainty
    c, and b the strength of what is asked (a unless `question_strength` says otherwise):

        P(finding is a grave one | h) = (1 + b h) / 2     grave: one of those that come with many others
        P(paraphrase is suspecting | h)  = (1 + b h) / 2     `paraphrases.SUSPECTING`: "Would you diagnose ..."
        P(answer is yes | h)          = (1 + c a h) / 2

    Within that, findings and severities are as frequent as there are records to answer both ways, the same for yes and
    no. At strength 0 neither finding, paraphrase nor severity tells the answer. The best guess from the question
    alone is right with probability (1 + |c| a b) / 2, that from severity alone with (1 + |c| a) / 2.

    Another confounder takes the place of s: the age (in bands), the sex (h = 1 of men), or whether the recording is
    noisy. Grave findings are then those with the higher levels of it, and severity is the same for yes and no.

    Args:
        corpus: records with findings. strength: 0 to 1. certainty: how sure the answers are at strength 1, 0 to 1;
            down to -1 the other way round: the sick answer no.
        seed: same arguments and seed, same questions. per_record: questions per record; fewer where the corpus cannot
            bear them. paraphrases: "train" or "test".
        confounder: "severity", "age", "sex" or "noise"; of records that do not state it nothing is asked.
        question_strength: 0 to 1; at 0 what is asked, and how, tells nothing of the confounder.
        attributes: ask only about these findings.
    Returns: rows with `QUESTION_FEATURES` in random order; severity is the record's whole severity.
    Raises: ValueError for arguments out of range, or a corpus in which no finding has records that answer yes and no
        among the sick and among the healthy.
    """
    asked = strength if question_strength is None else question_strength
    _check(strength, asked, certainty, paraphrases, per_record, confounder)
    wanted = None if attributes is None else [name.lower() for name in attributes]
    check_findings(wanted or ())
    stated, rows = Stated(facts_of(corpus), 1, wanted), Rows(paraphrases, seed)
    strata = _strata(_cells(stated, _LEVELS[confounder]), confounder)
    texts = {kind: _paraphrases(paraphrases, kind) for kind in _SIDES}
    size = min(round(per_record * len(stated.records)), _bearable(strata, min(map(len, texts.values()))))
    selection = _Selection(strata, texts, np.array([asked, asked, strength * certainty]), rows.rng("confound"))
    for _ in range(size * _TRIES):
        if len(rows) == size:
            break
        selection.ask(rows)
    return rows.dataset()


class _Selection:
    """The selection model of `confound`.

    strata: (grave, sick) -> cells. texts: whether suspecting -> paraphrases. agreeing: how surely finding, paraphrase
    and answer go with the confounder, -1 to 1.
    """

    def __init__(
        self,
        strata: dict[tuple[bool, bool], list[_Cell]],
        texts: dict[bool, Sequence[str]],
        agreeing: np.ndarray,
        rng: np.random.Generator,
    ):
        self._strata, self._texts, self._agreeing, self._rng = strata, texts, agreeing, rng
        self._steps = {key: np.cumsum([cell.mass for cell in cells]) for key, cells in strata.items()}
        self._used: Counter = Counter()

    def ask(self, rows: Rows) -> None:
        """Draw a question, and add it if it is not there already."""
        sick = self._rng.random() < 0.5
        agrees = self._rng.random(3) < (1 + self._agreeing) / 2
        grave, suspecting, yes = (bool(one) is sick for one in agrees)
        cell = self._cell(grave, sick)
        record = self._record(cell.side(yes))
        texts = self._texts[suspecting]
        question = texts[int(self._rng.integers(len(texts)))].format(**in_a_sentence(cell.finding))
        if rows.add(_TEMPLATE, cell.finding, "verify", question, (record,), ["yes" if yes else "no"]):
            self._used[record.id] += 1

    def _cell(self, grave: bool, sick: bool) -> _Cell:
        """Each as often as it can bear questions."""
        steps = self._steps[grave, sick]
        return self._strata[grave, sick][int(np.searchsorted(steps, self._rng.integers(steps[-1]), side="right"))]

    def _record(self, records: Sequence[Facts]) -> Facts:
        """Of a few candidates the one asked least so far: no record carries the set."""
        candidates = [records[i] for i in self._rng.integers(len(records), size=_CANDIDATES)]
        return min(candidates, key=lambda one: self._used[one.id])


def _check(
    strength: float, asked: float, certainty: float, paraphrases: str, per_record: float, confounder: str
) -> None:
    for name, value, least in (
        ("strength", strength, 0), ("question_strength", asked, 0), ("certainty", certainty, -1)
    ):  # fmt: skip
        if not least <= value <= 1:
            raise ECGError(f"{name}={value}; expected a number from {least} to 1")
    if paraphrases not in ("train", "test"):
        raise ECGError(f"paraphrases={paraphrases!r}; expected 'train' or 'test'")
    if per_record <= 0:
        raise ECGError(f"per_record={per_record}; expected a positive number")
    if confounder not in _LEVELS:
        raise ECGError(f"confounder={confounder!r}; expected one of {', '.join(_LEVELS)}")


def _cells(stated: Stated, level_of: Callable[[Facts, str], int | None]) -> list[_Cell]:
    names = [name for name in stated.findings if VOCABULARY[name].abnormal and VOCABULARY[name].category != "noise"]
    found = []
    for name in names:
        sides: dict[tuple[int, int], dict[bool, list[Facts]]] = defaultdict(lambda: {True: [], False: []})
        for record in stated.records:
            answer, level = stated.label(record, name), level_of(record, name)
            if answer is not None and level is not None:
                sides[level, _severity(record, name)][answer].append(record)
        found += [_Cell(name, level, both[True], both[False]) for (level, _), both in sorted(sides.items())]
    return [cell for cell in found if cell.mass]


def _strata(cells: list[_Cell], confounder: str) -> dict[tuple[bool, bool], list[_Cell]]:
    """(grave, sick) -> cells. Both lines are drawn where they leave the scarcest of the four the most."""
    weight: Counter = Counter()
    for cell in cells:
        weight[cell.finding] += cell.mass
    gravity = {
        name: sum(cell.level * cell.mass for cell in cells if cell.finding == name) / mass
        for name, mass in weight.items()
    }
    best, most = None, 0
    ranked = sorted(gravity, key=lambda name: (gravity[name], name))
    for threshold in range(1, max((cell.level for cell in cells), default=0) + 1):
        for split in range(1, len(ranked)):
            grave = set(ranked[split:])
            masses = Counter()
            for cell in cells:
                masses[cell.finding in grave, cell.level >= threshold] += cell.mass
            scarcest = min(masses[a, b] for a in _SIDES for b in _SIDES)
            if scarcest > most:
                best, most = (grave, threshold), scarcest
    if best is None:
        raise ECGError(
            f"the corpus has {len(gravity)} abnormal findings that some records show and others of the same severity "
            f"do not; expected at least two, each with such records on both sides of the confounder ({confounder}: of "
            "severity among the healthy and among the sick). Take more records"
        )
    grave, threshold = best
    return {
        (a, b): [cell for cell in cells if ((cell.finding in grave), cell.level >= threshold) == (a, b)]
        for a in _SIDES
        for b in _SIDES
    }


def _bearable(strata: dict[tuple[bool, bool], list[_Cell]], paraphrases: int) -> int:
    """How many questions there can be at any strength without the same question of the same record twice."""
    return min(2 * paraphrases * sum(cell.mass for cell in cells) for cells in strata.values())


def _paraphrases(paraphrases: str, suspecting: bool) -> Sequence[str]:
    return [text for text in PARAPHRASES[_TEMPLATE][paraphrases] if (text in SUSPECTING) is suspecting]
