"""audit: how much of the answers the questions give away without the ECG, in figures.

In: questions (ours, or ECG-QA's in the same columns), and their corpus where it is at hand. Out: an `Audit`:
question-only accuracy beside chance and the commonest answer, information of paraphrase and answer, the same by
template, type and confounder, question and confounder together, and leaks between splits. The paper (arXiv
2411.14795) names the cause: severity decides which questions are asked and how they are answered.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from datasets import Dataset

from ...errors_ecgllm import ECGError
from ...progress_bar import progress
from ..questions.sampling import UNANSWERABLE
from ..records.duplicates import check_joined
from .asked_questions import check_columns
from .audit_groups import HEAD, Group, Tally, bounds_by_type, rows_by
from .baseline_scores import entropy, information
from .confounders import CONFOUNDERS, NUMBERS, Records
from .differences import Differences, differences_of
from .question_only_baseline import baseline_credits, transfer_credits
from .word_baseline import held_out_credits, transferred_credits

_FEW = 8  # questions of a cell
_WORDS = 10  # times as long as by keys takes a baseline of words
_Keys = Sequence[Sequence[Hashable]]


@dataclass
class Audit:
    """What `audit` found; `str` is a table, `to_dict` is for JSON. A score's value is None where cells are too small.

    overall: all questions. cells: questions in a cell (all alike in type, template, attribute and paraphrase) -> how
    many cells have so many. by: "type", "template" and confounders -> their groups. information_bits: of paraphrase
    and answer given the type, of answer_bits. confounders_alone: accuracy on verify questions from the confounders
    without the question, None without any. with_confounders: confounder -> accuracy on verify questions from the
    question and the confounder together: where each is balanced by itself, both may tell the answer. severity_gap:
    how far the severity of records that answer yes is from that of those that answer no, by attribute;
    other_severity_gap: the same of the findings that are not asked about, with a corpus. both_answers: share of
    verify questions whose paraphrase occurs with both answers. across_splits: question-only accuracy on another split
    of a baseline that saw "train". words, words_across_splits: the same of a classifier of n-grams (`word_baseline`).
    patient_leaks, paraphrase_leaks: what "train" shares with other splits. weighted: whether the column weight was
    used. patients_known: else every record counts as a patient. unknown: records asked about that the corpus lacks.
    unanswerable: questions that no ECG answers, which are left out: a refusal follows from the words, and shall.
    """

    questions: int
    overall: Group
    words: Group
    information_bits: float
    answer_bits: float
    both_answers: float | None
    by: dict[str, list[Group]]
    cells: dict[int, int] = field(default_factory=dict)
    across_splits: dict[str, Group] = field(default_factory=dict)
    words_across_splits: dict[str, Group] = field(default_factory=dict)
    confounders_alone: Group | None = None
    with_confounders: dict[str, Group] = field(default_factory=dict)
    severity_gap: Differences | None = None
    other_severity_gap: Differences | None = None
    patient_leaks: list[str] = field(default_factory=list)
    paraphrase_leaks: list[str] = field(default_factory=list)
    weighted: bool = False
    patients_known: bool = False
    unknown: int = 0
    unanswerable: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def blocks(self) -> dict[str, list[tuple[str, Group]]]:
        """Every group under its heading, in the order in which they are shown."""
        whole = [("all", self.overall), *((f"train -> {name}", one) for name, one in self.across_splits.items())]
        whole.append(("all, by words", self.words))
        whole += [(f"train -> {name}, by words", one) for name, one in self.words_across_splits.items()]
        found = {"": whole}
        found |= {f"by {kind}": [(group.name, group) for group in groups] for kind, groups in self.by.items()}
        if self.with_confounders:
            found["question and confounder together"] = [
                (f"question and {name}", group) for name, group in self.with_confounders.items()
            ]
        if self.confounders_alone is not None:
            found["without the question"] = [("confounders alone", self.confounders_alone)]
        return found

    def __str__(self) -> str:
        lines, cannot = [HEAD], False
        for heading, rows in self.blocks().items():
            lines += [heading] if heading else []
            lines += [group.line("  " if heading else "", name) for name, group in rows]
            cannot |= any(group.baseline.value is None for _, group in rows)
        lines += ["", self._cells_in_words()]
        if cannot:
            lines.append(
                "cannot tell: cells are too small for it; in brackets what is known at least and possible at most"
            )
        if self.weighted:
            lines.append("questions count by their weight")
        lines.append(
            f"paraphrase and answer share {self.information_bits:.3f} of the answers' {self.answer_bits:.3f} bits "
            "(given the type)"
        )
        if self.both_answers is not None:
            lines.append(
                f"{self.both_answers:.0%} of the verify questions have a paraphrase that occurs with both answers"
            )
        for what, gap in (("severity", self.severity_gap), ("of other findings", self.other_severity_gap)):
            if gap is not None:
                lines.append(
                    f"{what}, yes less no, by attribute: {gap}; pooled {gap.pooled:+.2f} (standard deviations)"
                )
        if self.unknown:
            lines.append(f"{self.unknown} records asked about are not in the corpus: nothing is known of them")
        if self.unanswerable:
            lines.append(f"{self.unanswerable} questions that no ECG answers are left out of all this")
        whose = "patients" if self.patients_known else "records (patients are not known without their corpus)"
        for what, leaks in ((whose, self.patient_leaks), ("paraphrases", self.paraphrase_leaks)):
            shown = f": {', '.join(leaks[:3])}{' ...' if len(leaks) > 3 else ''}" if leaks else ""
            lines.append(f"{len(leaks)} {what} of the train split occur in another split{shown}")
        return "\n".join(lines)

    def _cells_in_words(self) -> str:
        few = sum(size * count for size, count in self.cells.items() if size < _FEW) / self.questions
        return (
            f"{sum(self.cells.values()):,} cells (alike in type, template, attribute and paraphrase) of "
            f"{min(self.cells)} to {max(self.cells)} questions, {self.overall.cell} around the median question; "
            f"{few:.0%} of the questions are in cells of fewer than {_FEW}"
        )


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
    check_columns(questions)
    answerable = [row for row, kind in enumerate(questions["type"]) if kind != UNANSWERABLE]
    left_out = len(questions) - len(answerable)
    if not answerable:
        raise ECGError("there is no question to audit" + (f" but {left_out} that no ECG answers" if left_out else ""))
    questions = questions.select(answerable) if left_out else questions
    columns = {name: questions[name][:] for name in questions.column_names}
    names = (name or "" for name in columns["attribute"])
    keys = list(zip(columns["template"], names, columns["question"], strict=True))
    if corpus is not None:
        check_joined(corpus)
    records = Records(corpus)
    unknown = records.lacking(questions)[0]
    asked = _asked(columns, records)
    answers, rows = asked.answers, range(len(keys))
    severity = _severity(columns, records)
    verify = [row for row in rows if columns["type"][row].endswith("verify") and answers[row] in ("yes", "no")]
    confounders = _confounders(records, columns, severity)
    splits = columns.get("split") or [None] * len(answers)
    known = sum(split is not None for split in splits) if len(set(splits)) > 1 else 0
    with progress("Auditing", (_WORDS + 1) * (len(keys) + known) + len(verify) * (1 + 2 * len(confounders))) as bar:
        asked = replace(asked, done=bar.update)
        tally = asked.tally(keys, baseline_credits)
        by = {
            "type": tally.groups(columns["type"]),
            "template": tally.groups([str(name) for name in columns["template"]]),
        }
        by |= {name: tally.groups(values) for name, values in confounders.items()}
        words = asked.tally([(text,) for text in columns["question"]], _words_credits)
        across = asked.across(keys, splits, transfer_credits)
        words_across = asked.across([(text,) for text in columns["question"]], splits, _words_transferred)
        alone = _alone(confounders, verify, asked.of(verify))
        together = _with_confounders(confounders, [keys[row] for row in verify], verify, asked.of(verify))
    cells = list(zip(columns["type"], keys, strict=True))
    weights = asked.weights
    information_bits, answer_bits = _bits(columns["type"], columns["question"], answers, seed, weights)
    return Audit(
        questions=len(answers),
        overall=tally.group("all", rows),
        words=words.group("words", rows),
        information_bits=information_bits,
        answer_bits=answer_bits,
        both_answers=_both_answers(cells, answers, verify),
        by=by,
        cells=dict(sorted(Counter(Counter(cells).values()).items())),
        across_splits=across,
        words_across_splits=words_across,
        confounders_alone=alone,
        with_confounders=together,
        severity_gap=_gap(severity, columns, answers, verify, weights),
        other_severity_gap=_gap(_other_severity(records, columns), columns, answers, verify, weights),
        patient_leaks=_leaks([[records.patient(i) for i in ids] for ids in columns["ecg_ids"]], splits),
        paraphrase_leaks=_leaks([[question] for question in columns["question"]], splits),
        weighted="weight" in columns,
        patients_known=bool(records.column("patient_id")),
        unknown=unknown,
        unanswerable=left_out,
    )


@dataclass(frozen=True)
class _Asked:
    """Questions without their words: what every baseline predicts. Baselines know the type of a question. done: is
    told of each how many questions it has gone through, those of words counted `_WORDS` times."""

    types: Sequence[str]
    answers: Sequence[str]
    clusters: Sequence[Hashable]
    weights: np.ndarray
    done: Callable[[float], Any] = lambda _: None

    def of(self, rows: Sequence[int]) -> _Asked:
        cut = ([values[row] for row in rows] for values in (self.types, self.answers, self.clusters))
        return _Asked(*cut, self.weights[rows], self.done)

    def tally(self, keys: _Keys, credits_of: Callable[..., np.ndarray]) -> Tally:
        """What a baseline by these keys earns, cross-fitted, with the bounds of what the keys tell."""
        credits = np.zeros(len(keys))
        for own in rows_by(self.types).values():
            one = self.of(own)
            credits[own] = credits_of([keys[row] for row in own], one.answers, one.clusters, one.weights)
            self.done(len(own) * (_WORDS if credits_of is _words_credits else 1))
        evidence, sizes = bounds_by_type(self.types, keys, self.answers, self.clusters, self.weights, credits)
        return Tally(self.types, self.answers, credits, self.clusters, self.weights, evidence, sizes)

    def across(
        self, keys: _Keys, splits: Sequence[str | None], credits_of: Callable[..., np.ndarray]
    ) -> dict[str, Group]:
        """Split -> accuracy there of a baseline that saw the train split; of types that it did not see nothing."""
        rows = rows_by(splits)
        seen = rows_by([self.types[row] for row in rows.get("train", ())])
        asked = [row for row, split in enumerate(splits) if split not in ("train", None) and self.types[row] in seen]
        own, credits = self.of(asked), np.zeros(len(asked))
        for kind, places in rows_by(own.types).items():
            known = [rows["train"][place] for place in seen[kind]]
            one = self.of(known)
            train = ([keys[row] for row in known], one.answers, one.clusters, one.weights)
            test = ([keys[asked[place]] for place in places], [own.answers[place] for place in places])
            credits[places] = credits_of(train, test)
            self.done((len(known) + len(places)) * (_WORDS if credits_of is _words_transferred else 1))
        tally = Tally(own.types, own.answers, credits, own.clusters, own.weights)
        by_split = rows_by([splits[row] for row in asked])
        return {str(name): tally.group(str(name), places) for name, places in by_split.items()}


def _asked(columns: dict[str, list], records: Records) -> _Asked:
    answers = [" | ".join(sorted(answer)) for answer in columns["answers"]]
    clusters = [records.patient(ids[0]) if ids else "" for ids in columns["ecg_ids"]]
    weights = np.asarray(columns.get("weight") or np.ones(len(answers)), dtype=float)
    return _Asked(columns["type"], answers, clusters, weights)


def _words_credits(keys: _Keys, *asked: Any) -> np.ndarray:
    return held_out_credits([text for (text,) in keys], *asked)


def _words_transferred(train: tuple, test: tuple) -> np.ndarray:
    return transferred_credits(([text for (text,) in train[0]], *train[1:]), ([text for (text,) in test[0]], test[1]))


def _alone(confounders: dict[str, list[str]], verify: list[int], asked: _Asked) -> Group | None:
    """Accuracy on verify questions from the confounders without the question.

    Of severity the part is taken that is not the answer itself, where it is known.
    """
    used = {name: values for name, values in confounders.items() if name != "severity"}
    if "other severity" not in used and "severity" in confounders:
        used = {"severity": confounders["severity"], **used}
    if not used or not verify:
        return None
    keys = [tuple(values[row] for values in used.values()) for row in verify]
    tally = replace(asked, types=["verify"] * len(verify)).tally(keys, baseline_credits)
    return tally.group("confounders", range(len(verify)))


def _with_confounders(
    confounders: dict[str, list[str]], keys: _Keys, verify: list[int], asked: _Asked
) -> dict[str, Group]:
    """Confounder -> accuracy from the question and its value. Paraphrases may be too rare to be looked up with it, so
    the better of two baselines counts: by the paraphrase, or by the attribute, and the value."""
    found = {}
    for name, values in confounders.items() if verify else ():
        own = [values[row] for row in verify]
        by_paraphrase = [(*key, value) for key, value in zip(keys, own, strict=True)]
        by_attribute = [(*key[:2], value) for key, value in zip(keys, own, strict=True)]
        tallies = [asked.tally(one, baseline_credits) for one in (by_paraphrase, by_attribute)]
        best = tallies[int(np.argmax([one.credits @ one.weights for one in tallies]))]
        found[name] = best.group(name, range(len(verify)))
    return found


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


def _bits(
    types: Sequence[str], paraphrases: Sequence[str], answers: list[str], seed: int, weights: np.ndarray
) -> tuple[float, float]:
    """(Information of paraphrase and answer, entropy of the answers) within each type, weighted by its share."""
    shared = own = 0.0
    for rows in rows_by(types).values():
        given, share = [answers[row] for row in rows], len(rows) / len(answers)
        shared += share * information([paraphrases[row] for row in rows], given, seed, weights[rows])
        own += share * entropy(given)
    return shared, own


def _both_answers(keys: list[tuple], answers: list[str], verify: list[int]) -> float | None:
    if not verify:
        return None
    seen: dict[tuple, set[str]] = defaultdict(set)
    for row in verify:
        seen[keys[row]].add(answers[row])
    return sum(len(seen[keys[row]]) == 2 for row in verify) / len(verify)


def _gap(
    severity: list[int | None], columns: dict[str, list], answers: list[str], verify: list[int], weights: np.ndarray
) -> Differences | None:
    return differences_of(
        [severity[row] for row in verify],
        [answers[row] == "yes" for row in verify],
        [columns["attribute"][row] or str(columns["template"][row]) for row in verify],
        weights[verify],
    )


def _leaks(values: list[list[str]], splits: Sequence[str | None]) -> list[str]:
    """Values of the train split that another split has too."""
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for own, split in zip(values, splits, strict=True):
        if split is not None:
            seen[split == "train"].update(own)
    return sorted(seen[True] & seen[False])
