"""audit: how much of the answers the questions give away without the ECG, in figures.

In: questions (ours, or ECG-QA's in the same columns), and their corpus where it is at hand. Out: an `Audit`: blind
accuracy beside chance and the commonest answer, information of wording and answer, the same by template, type and
confounder, and leaks between splits. The paper (arXiv 2411.14795) names the cause: severity decides which questions
are asked and how they are answered.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from datasets import Dataset

from ..errors_ecgllm import ECGError
from .blindness import Score, blind_credits, entropy, information, score, transfer_credits
from .confounders import AGE_BANDS, CONFOUNDERS, NUMBERS, Records
from .word_guesser import held_out_credits, word_credits

_COLUMNS = ("template", "type", "attribute", "question", "ecg_ids", "answers")
_RANKS = {
    "unknown": len(AGE_BANDS),
    **{name: rank for rank, (_, name) in enumerate(AGE_BANDS)},
}  # else by the alphabet


@dataclass(frozen=True)
class Group:
    """One group of questions: how often a blind guesser is right. yes: share of "yes" among its verify questions."""

    name: str
    blind: Score
    majority: float
    chance: float
    yes: float | None


@dataclass
class Audit:
    """What `audit` found; `str` is a table, `to_dict` is for JSON.

    overall: all questions. by: "type", "template" and confounders -> their groups. information_bits: of wording and
    answer given the type, of answer_bits. confounders_alone: accuracy on verify questions from the confounders without
    the question, None without any. severity_gap: mean severity of records that answer yes less that of those that
    answer no, in standard deviations; other_severity_gap: the same of the findings that are not asked about, with a
    corpus. both_answers: share of verify questions whose wording occurs with both answers. across_splits: blind
    accuracy on another split of a guesser that saw "train". words, words_across_splits: the same of a classifier of
    n-grams (`word_guesser`); None without scikit-learn. patient_leaks, phrasing_leaks: what "train" shares with other
    splits. weighted: whether the column weight was used. patients_known: else every record counts as a patient.
    unknown: records asked about that the corpus lacks.
    """

    questions: int
    overall: Group
    information_bits: float
    answer_bits: float
    both_answers: float | None
    by: dict[str, list[Group]]
    across_splits: dict[str, Group] = field(default_factory=dict)
    confounders_alone: Group | None = None
    severity_gap: float | None = None
    patient_leaks: list[str] = field(default_factory=list)
    phrasing_leaks: list[str] = field(default_factory=list)
    words: Group | None = None
    words_across_splits: dict[str, Group] = field(default_factory=dict)
    other_severity_gap: float | None = None
    weighted: bool = False
    patients_known: bool = False
    unknown: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        head = f"{'':<34}{'questions':>10}{'blind accuracy [95 %]':>26}{'commonest':>11}{'chance':>8}{'yes':>7}"
        lines = [head, _line("all", self.overall)]
        for name, group in self.across_splits.items():
            lines.append(_line(f"train -> {name}", group))
        if self.words is not None:
            lines.append(_line("all, by words", self.words))
        for name, group in self.words_across_splits.items():
            lines.append(_line(f"train -> {name}, by words", group))
        for kind, groups in self.by.items():
            lines.append(f"by {kind}")
            lines += [_line(f"  {group.name}", group) for group in groups]
        if self.confounders_alone is not None:
            lines += ["without the question", _line("  confounders alone", self.confounders_alone)]
        lines.append("")
        if self.words is None:
            lines.append("without a classifier of words: it needs scikit-learn, pip install 'ecgllm[audit]'")
        if self.weighted:
            lines.append("questions count by their weight")
        lines.append(
            f"wording and answer share {self.information_bits:.3f} of the answers' {self.answer_bits:.3f} bits "
            "(given the type)"
        )
        if self.both_answers is not None:
            lines.append(
                f"{self.both_answers:.0%} of the verify questions have a wording that occurs with both answers"
            )
        if self.severity_gap is not None:
            lines.append(f"severity of yes less severity of no: {self.severity_gap:+.2f} standard deviations")
        if self.other_severity_gap is not None:
            lines.append(f"the same of findings not asked about: {self.other_severity_gap:+.2f} standard deviations")
        if self.unknown:
            lines.append(f"{self.unknown} records asked about are not in the corpus: nothing is known of them")
        whose = "patients" if self.patients_known else "records (patients are not known without their corpus)"
        for what, leaks in ((whose, self.patient_leaks), ("wordings", self.phrasing_leaks)):
            shown = f": {', '.join(leaks[:3])}{' ...' if len(leaks) > 3 else ''}" if leaks else ""
            lines.append(f"{len(leaks)} {what} of the train split occur in another split{shown}")
        return "\n".join(lines)


def audit(questions: Dataset, corpus: Dataset | None = None, seed: int = 0) -> Audit:
    """Measure what questions give away.

    Args:
        questions: rows with template, type, attribute, question, ecg_ids, answers; split and severity where known. By
            the column weight (`debias` with method="weight") questions count more or less, where there is one.
        corpus: the records asked about, for age, sex, device, noise, severity and patients. Questions about records
            that it lacks count as of unknown ones.
        seed: of permutations.
    Raises: ValueError if a column is missing or there is no question.
    """
    missing = [name for name in _COLUMNS if name not in questions.column_names]
    if missing:
        raise ECGError(f"the questions lack the column {', '.join(missing)}; make them by build_questions")
    if not len(questions):
        raise ECGError("there is no question to audit")
    columns = {name: questions[name][:] for name in questions.column_names}
    answers = [" | ".join(sorted(answer)) for answer in columns["answers"]]
    keys = list(
        zip(
            columns["type"], columns["template"], (name or "" for name in columns["attribute"]), columns["question"],
            strict=True,
        )
    )  # fmt: skip
    records = Records(corpus)
    unknown = records.lacking(questions)[0]
    clusters = [records.patient(ids[0]) if ids else "" for ids in columns["ecg_ids"]]
    weights = np.asarray(columns.get("weight") or np.ones(len(answers)), dtype=float)
    tally = _Tally(columns["type"], answers, blind_credits(keys, answers, clusters, weights), clusters, weights)
    rows = range(len(answers))

    by = {
        "type": tally.groups(columns["type"]),
        "template": tally.groups([str(name) for name in columns["template"]]),
    }
    severity = _severity(columns, records)
    verify = [row for row in rows if columns["type"][row].endswith("verify") and answers[row] in ("yes", "no")]
    confounders = _confounders(records, columns, severity)
    for name, values in confounders.items():
        by[name] = tally.groups(values)
    splits = columns.get("split") or [None] * len(answers)
    words, words_across = _words(columns, answers, clusters, splits, weights)
    return Audit(
        questions=len(answers),
        overall=tally.group("all", rows),
        information_bits=_conditional(columns["type"], columns["question"], answers, seed, weights),
        answer_bits=sum(
            len(own) / len(answers) * entropy([answers[row] for row in own]) for own in _by(columns["type"]).values()
        ),
        both_answers=_both_answers(keys, answers, verify),
        by=by,
        across_splits=_across(keys, answers, columns["type"], splits, clusters, weights, transfer_credits),
        confounders_alone=_alone(confounders, answers, verify, clusters, weights),
        severity_gap=_gap(severity, answers, verify, weights),
        patient_leaks=_leaks([[records.patient(i) for i in ids] for ids in columns["ecg_ids"]], splits),
        phrasing_leaks=_leaks([[question] for question in columns["question"]], splits),
        words=words,
        words_across_splits=words_across,
        other_severity_gap=_gap(_other_severity(records, columns), answers, verify, weights),
        weighted="weight" in columns,
        patients_known=bool(records.column("patient_id")),
        unknown=unknown,
    )


class _Tally:
    """Groups of questions with their blind accuracy, commonest answer and chance."""

    def __init__(
        self,
        types: Sequence[str],
        answers: list[str],
        credits: np.ndarray,
        clusters: list[Hashable],
        weights: np.ndarray,
    ):
        self.types, self.answers, self.credits, self.clusters = types, answers, credits, clusters
        self.weights = weights

    def groups(self, names: Sequence[Any]) -> list[Group]:
        ordered = sorted(_by(names).items(), key=lambda item: (_RANKS.get(item[0], 0), str(item[0])))
        return [self.group(str(name), rows) for name, rows in ordered]

    def group(self, name: str, rows: Sequence[int]) -> Group:
        rows = list(rows)
        answers = [self.answers[row] for row in rows]
        # The commonest answer, and guessing, know the type of a question: yes or no is no answer to "which".
        by_type = _by([self.types[row] for row in rows])
        mass = self.weights[rows]
        counts = []
        for own in by_type.values():
            counts.append(Counter())
            for i in own:
                counts[-1][answers[i]] += float(mass[i])
        verify = [i for i, row in enumerate(rows) if self.types[row].endswith("verify")]
        said = float(sum(mass[i] for i in verify))
        return Group(
            name=name,
            blind=score(self.credits[rows], [self.clusters[row] for row in rows], mass),
            majority=sum(max(count.values()) for count in counts) / float(mass.sum()),
            chance=sum(sum(count.values()) / max(2, len(count)) for count in counts) / float(mass.sum()),
            yes=float(sum(mass[i] for i in verify if answers[i] == "yes")) / said if verify else None,
        )


def _alone(
    confounders: dict[str, list[str]],
    answers: list[str],
    verify: list[int],
    clusters: list[Hashable],
    weights: np.ndarray,
) -> Group | None:
    """Accuracy on verify questions from the confounders without the question.

    Of severity the part is taken that is not the answer itself, where it is known.
    """
    used = {name: values for name, values in confounders.items() if name != "severity"}
    if "other severity" not in used and "severity" in confounders:
        used["severity"] = confounders["severity"]
    if not used or not verify:
        return None
    keys = [tuple(values[row] for values in used.values()) for row in verify]
    truth, patients, mass = [answers[row] for row in verify], [clusters[row] for row in verify], weights[verify]
    tally = _Tally(["verify"] * len(verify), truth, blind_credits(keys, truth, patients, mass), patients, mass)
    return tally.group("confounders", range(len(verify)))


def _words(
    columns: dict[str, list],
    answers: list[str],
    clusters: list[Hashable],
    splits: Sequence[str | None],
    weights: np.ndarray,
) -> tuple[Group | None, dict[str, Group]]:
    """The classifier of n-grams: held out, and from the train split to another. It knows the type of a question."""
    if find_spec("sklearn") is None:
        return None, {}
    credits = np.zeros(len(answers))
    for rows in _by(columns["type"]).values():
        texts, truth = [columns["question"][row] for row in rows], [answers[row] for row in rows]
        credits[rows] = held_out_credits(texts, truth, [clusters[row] for row in rows], weights[rows])
    words = _Tally(columns["type"], answers, credits, clusters, weights).group("words", range(len(answers)))
    texts = [(kind, text) for kind, text in zip(columns["type"], columns["question"], strict=True)]
    return words, _across(texts, answers, columns["type"], splits, clusters, weights, _words_by_type)


def _words_by_type(train: tuple, test: tuple) -> np.ndarray:
    credits, seen = np.zeros(len(test[1])), _by([kind for kind, _ in train[0]])
    for kind, rows in _by([kind for kind, _ in test[0]]).items():
        own = seen[kind]
        credits[rows] = word_credits(
            ([train[0][i][1] for i in own], [train[1][i] for i in own], np.asarray(train[2])[own]),
            ([test[0][i][1] for i in rows], [test[1][i] for i in rows]),
        )
    return credits


def _confounders(records: Records, columns: dict[str, list], severity: list[int | None]) -> dict[str, list[str]]:
    """Name -> value of every question's last record; only those that tell questions apart."""
    asked = [
        (ids[-1] if ids else "", name or "")
        for ids, name in zip(columns["ecg_ids"], columns["attribute"], strict=True)
    ]
    found = {
        name: ["unknown" if (value := look(records, *one)) is None else str(value) for one in asked]
        for name, look in CONFOUNDERS.items()
    }
    found["other severity"] = found["severity"]
    found["severity"] = [
        "unknown" if value is None else str(value) if value < 5 else "5 and more" for value in severity
    ]
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _severity(columns: dict[str, list], records: Records) -> list[int | None]:
    """Of every question's last record, by the questions' own column or the corpus."""
    own = columns.get("severity") or [None] * len(columns["question"])
    found = []
    for value, ids in zip(own, columns["ecg_ids"], strict=True):
        last = value[-1] if isinstance(value, (list, tuple)) and value else value if isinstance(value, int) else None
        found.append(last if last is not None else records.get("severity", ids[-1]) if ids else None)
    return found


def _other_severity(records: Records, columns: dict[str, list]) -> list[int | None]:
    look = NUMBERS["severity"]
    return [
        look(records, ids[-1], name or "") if ids else None
        for ids, name in zip(columns["ecg_ids"], columns["attribute"], strict=True)
    ]


def _by(names: Sequence[Any]) -> dict[Any, list[int]]:
    rows: dict[Any, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[name].append(row)
    return rows


def _conditional(
    types: Sequence[str], wordings: Sequence[str], answers: list[str], seed: int, weights: np.ndarray
) -> float:
    """Information of wording and answer, within each type, weighted by its share."""
    return sum(
        len(rows)
        / len(answers)
        * information([wordings[r] for r in rows], [answers[r] for r in rows], seed, weights[rows])
        for rows in _by(types).values()
    )


def _both_answers(keys: list[tuple], answers: list[str], verify: list[int]) -> float | None:
    if not verify:
        return None
    seen: dict[tuple, set[str]] = defaultdict(set)
    for row in verify:
        seen[keys[row]].add(answers[row])
    return sum(len(seen[keys[row]]) == 2 for row in verify) / len(verify)


def _across(
    keys: list[tuple],
    answers: list[str],
    types: Sequence[str],
    splits: Sequence[str | None],
    clusters: list[Hashable],
    weights: np.ndarray,
    credits_of: Callable[[tuple, tuple], np.ndarray],
) -> dict[str, Group]:
    """Split -> accuracy there of what saw the train split."""
    rows = _by(splits)
    if "train" not in rows:
        return {}
    own = rows["train"]
    train = ([keys[r] for r in own], [answers[r] for r in own], weights[own])
    known, found = {types[row] for row in own}, {}
    for name, everything in rows.items():
        asked = [row for row in everything if types[row] in known]  # of other types the guesser saw nothing
        if name not in ("train", None) and asked:
            truth = [answers[r] for r in asked]
            credits = credits_of(train, ([keys[r] for r in asked], truth))
            tally = _Tally([types[r] for r in asked], truth, credits, [clusters[r] for r in asked], weights[asked])
            found[str(name)] = tally.group(str(name), range(len(asked)))
    return found


def _gap(severity: list[int | None], answers: list[str], verify: list[int], weights: np.ndarray) -> float | None:
    means, variances = [], []
    for side in ("yes", "no"):
        own = [row for row in verify if answers[row] == side and severity[row] is not None]
        if len(own) < 2:
            return None
        values, share = np.array([severity[row] for row in own], dtype=float), weights[own] / weights[own].sum()
        means.append(share @ values)
        variances.append(share @ (values - means[-1]) ** 2)
    spread = np.sqrt(np.mean(variances))
    return float((means[0] - means[1]) / spread) if spread else 0.0


def _leaks(values: list[list[str]], splits: Sequence[str | None]) -> list[str]:
    """Values of the train split that another split has too."""
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for own, split in zip(values, splits, strict=True):
        if split is not None:
            seen[split == "train"].update(own)
    return sorted(seen[True] & seen[False])


def _line(name: str, group: Group) -> str:
    yes = "" if group.yes is None else f"{group.yes:.0%}"
    return (
        f"{name[:33]:<34}{group.blind.n:>10,}{str(group.blind):>26}{group.majority:>11.1%}{group.chance:>8.0%}{yes:>7}"
    )
