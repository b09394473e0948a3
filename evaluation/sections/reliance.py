"""Does the answer come from the ECG? The same questions with the true ECG, with others, and with none.

Asks: yes-or-no questions about one record, in pairs with the same words, one to be answered yes and one no, and 2 x 2
groups, two questions about two records with opposite answers; the pairs under all `CONDITIONS`. Says: accuracy, P(yes)
and share of yes under each, and the verdict by the rule of the module `reliance`. Decided here: right is what is right
of the true record, so that without it accuracy falls to one half; a model that is told what is measured is asked twice
more (`TOLD`), for what it owes to the numbers and what to the ECG, and the verdict is of both together; the opposite
ECG is that of the pair's other question; random patients' ECGs are those of `DRAWN` patients, and the mean counts, for
the gain over one alone depends on who was drawn. They are no clusters of an interval: whether yes is the right
answer has nothing to do with who was drawn, so that questions are not right together for having drawn the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ... import intervals
from ...errors_ecgllm import ECGError
from ..figures import Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import percent
from ..finding_questions import finding_row
from ..material import Material
from ..predictions import YES_NO, planned
from ..tallies import (
    MODEL,
    is_right,
    left_out,
    missing_sentence,
    patients_of,
    said,
    says_yes,
    sentence,
    wants_yes,
)
from ..verdict import verdict

NAME, TITLE = "reliance", "Does the answer come from the ECG?"
CONDITIONS = ("true", "opposite", "random", "phase-shuffled", "noise", "flat", "none")
FIGURES, SIGNAL = TOLD = ("figures of the true ECG", "nothing told")
"""With a random patient's ECG and the figures of the true one; with the true ECG and no figures."""
DRAWN = 5
"""Random patients whose ECGs are shown with each question."""
_PER_PAIR = 2 * len(CONDITIONS)
_GROUPED = "2x2"  # wording of rows that are asked for the groups alone


def plan(material: Material) -> pd.DataFrame:
    """So many pairs that with one ECG a condition they are about `Settings.questions` questions; and groups."""
    rng = material.rng(NAME)
    pairs = _pairs(material)
    most = max(material.settings.questions // _PER_PAIR, 1)
    if len(pairs) > most:
        pairs = [pairs[number] for number in sorted(rng.choice(len(pairs), most, replace=False))]
    rows = []
    for number, pair in enumerate(pairs):
        for own, other in (pair, pair[::-1]):
            rows += [_row(material, own, other, condition, f"pair {number}") for condition in CONDITIONS[:2]]
            for record_id in others_than(material, own["ecg_ids"][0], DRAWN, rng):
                rows.append(_row(material, own, other, "random", f"pair {number}", record_id))
            rows += [_row(material, own, other, condition, f"pair {number}") for condition in CONDITIONS[3:]]
            if material.told:
                rows += _told_rows(material, own, other, f"pair {number}", rows[-len(CONDITIONS[3:]) - 1]["shown_ids"])
    return planned(rows + _groups(material, most // 2, rng))


def _pairs(material: Material) -> list[tuple[dict, dict]]:
    """(to be answered yes, to be answered no): questions with the same words, of different patients."""
    by_words: dict[str, tuple[list, list]] = defaultdict(lambda: ([], []))
    for row in material.questions.to_list():
        if len(row["ecg_ids"]) == 1 and row["answers"] in (["yes"], ["no"]):
            by_words[row["question"]][row["answers"] == ["no"]].append(row)
    return [
        (yes, no)
        for some, others in by_words.values()
        for yes, no in zip(some, others, strict=False)
        if material.patient(yes["ecg_ids"][0]) != material.patient(no["ecg_ids"][0])
    ]


def _row(
    material: Material, own: dict, other: dict, condition: str, group: str, drawn: str | None = None
) -> dict[str, Any]:
    """drawn: the random patient's record."""
    shown = {"opposite": list(other["ecg_ids"]), "random": [drawn], "none": []}.get(condition, list(own["ecg_ids"]))
    change = "" if condition in ("true", "opposite", "random", "none") else condition
    return {
        "section": NAME,
        "condition": condition,
        "group": group,
        "question_id": own["question_id"],
        "template": own["template"],
        "attribute": own["attribute"],
        "type": own["type"],
        "question": own["question"],
        "record_ids": own["ecg_ids"],
        "shown_ids": shown,
        "change": change,
        "patients": material.patients([*own["ecg_ids"], *([] if condition == "random" else shown)]),
        "expected": own["answers"],
        "candidates": list(YES_NO),
        "finding": material.finding_of(own),
    }


def _told_rows(material: Material, own: dict, other: dict, group: str, drawn: list[str]) -> list[dict[str, Any]]:
    """drawn: the record of the random patient who was drawn last."""
    true = _row(material, own, other, "true", group)
    (record_id,) = own["ecg_ids"]
    return [
        true | {"condition": FIGURES, "shown_ids": drawn, "told": record_id},
        true | {"condition": SIGNAL, "told": ""},
    ]


def others_than(material: Material, record_id: str, number: int, rng: np.random.Generator) -> list[str]:
    """Records of so many other patients, one each, drawn from all records; of all others where there are fewer.

    Raises: ECGError where there is no other patient.
    """
    taken, found, records = {material.patient(record_id)}, [], list(material.about)
    if len(set(material.all_patients)) < 2:
        raise ECGError("all records are of one patient; a random patient's ECG needs another.")
    for place in rng.permutation(len(records)):
        if material.all_patients[place] not in taken:
            taken.add(material.all_patients[place])
            found.append(records[place])
        if len(found) == number:
            break
    return found


def _groups(material: Material, number: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """2 x 2 groups: one record shows the first finding and not the second, the other one the reverse."""
    labels = material.labels
    names = labels.frequent(material.all_patients, material.settings.least)
    rows: list[dict[str, Any]] = []
    records = list(material.about)
    for _ in range(50 * number):
        if len(rows) >= 4 * number or len(names) < 2:
            break
        one, two = rng.choice(len(names), 2, replace=False)
        first, second = labels.column(names[one]), labels.column(names[two])
        some, others = np.flatnonzero((first == 1) & (second == 0)), np.flatnonzero((first == 0) & (second == 1))
        if not len(some) or not len(others):
            continue
        a, b = records[int(rng.choice(some))], records[int(rng.choice(others))]
        if material.patient(a) == material.patient(b):
            continue
        columns = {
            "section": NAME,
            "group": f"group {len(rows) // 4}",
            "wording": _GROUPED,
            "patients": material.patients([a, b]),
        }
        for record_id, answers in ((a, (True, False)), (b, (False, True))):
            for name, answer in zip((names[one], names[two]), answers, strict=True):
                rows.append(finding_row(material, record_id, name, answer, **columns))
    return rows


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    model = answered[answered["by"] == MODEL]
    pairs = model[model["wording"] != _GROUPED]
    if pairs.empty:
        return SectionFigures(NAME, TITLE, ["No question is to be answered yes of one ECG and no of another."])
    conditions = {name: _Condition(own) for name, own in pairs.groupby("condition", sort=False)}
    true = conditions["true"]
    others = {name: conditions[name] for name in CONDITIONS[1:] if name in conditions}
    if np.isnan(true.right + conditions["random"].right).all() or true.both_right() is None:
        return SectionFigures(NAME, TITLE, [_SILENT, *missing_sentence(MODEL, model)])
    found = verdict(
        true.right,
        true.patients,
        {name: one.right for name, one in others.items()},
        {name: one.patients for name, one in others.items() if name != "random"},
        pairs=true.right.reshape(-1, 2),
        pair_patients=true.pair_patients(),
        says_yes=None if np.isnan(true.yes).all() else true.yes,
        margin=material.settings.margin,
        more=_more(material, len(true.rows) // 2),
    )
    values: dict[str, Any] = {
        "verdict": found,
        "conditions": {name: one.values(true) for name, one in conditions.items()},
        "pairs": {name: one.both_right() for name, one in conditions.items()},
        "groups": _all_right(model[model["wording"] == _GROUPED]),
    }
    sentences = [
        *_without_the_ecg(values["conditions"]),
        *_by_what(values["conditions"]),
        f"The rule of the verdict: {found.rule}",
        *missing_sentence(MODEL, model),
    ]
    return SectionFigures(
        NAME, TITLE, sentences, [_table(values), _pair_table(values)], [_chart(values)], values, _headlines(values)
    )


def _more(material: Material, asked: int) -> str:
    """How the same records can be asked more; "" where all was asked."""
    there = len(_pairs(material))
    if asked >= there:
        return ""
    most = _PER_PAIR * there
    return f"these records give {there:,} pairs of questions, and {asked:,} were put; --questions {most} puts all"


def _headlines(values: dict[str, Any]) -> list[Headline]:
    random, both = values["conditions"]["random"]["accuracy"], values["pairs"]["true"]
    return [
        Headline("right answers, yes as often true as no", values["verdict"].figures.true,
                 ("a random patient's ECG", random), "accuracy"),
        Headline("right about both of two ECGs with opposite answers", both, ("tossing coins", 0.25)),
    ]  # fmt: skip


def _without_the_ecg(conditions: dict[str, dict[str, Any]]) -> list[str]:
    parts = [
        f"with {_SHOWN[name]} {percent(conditions[name]['accuracy'])}"
        for name in ("noise", "flat", "none")
        if name in conditions and conditions[name]["accuracy"] is not None
    ]
    moves = conditions["random"]["p_yes_moves"]
    if moves is not None:
        parts.append(f"with a random patient's ECG P(yes) moves by {percent(moves)}")
    return [sentence(f"in the place of the ECG, of right answers: {'; '.join(parts)}.")] if parts else []


def _by_what(conditions: dict[str, dict[str, Any]]) -> list[str]:
    """How much is owed to the figures that the model is told, and how much to the ECG."""
    if any(name not in conditions or conditions[name]["accuracy"] is None for name in TOLD):
        return []
    figures, signal = (percent(conditions[name]["accuracy"]) for name in TOLD)
    return [
        sentence(
            f"told the figures of the true ECG and shown a random patient's, it is right in {figures}; shown the true "
            f"ECG and told no figures, in {signal}."
        )
    ]


class _Condition:
    """Answers under one condition, by group and expected answer, so that conditions stand question by question.

    right: share of right answers of each question, over the ECGs that it was asked with; NaN where there is no answer.
    yes: the same of a yes, NaN where it is neither yes nor no. place: which question each row asks.
    """

    def __init__(self, rows: pd.DataFrame):
        rows = rows.assign(wanted=wants_yes(rows), right_or_not=np.where(said(rows), is_right(rows), np.nan))
        rows = rows.assign(yes=says_yes(rows)).sort_values(["group", "wanted"], kind="stable")
        questions = rows.groupby(["group", "wanted"], sort=False)
        # Pairs of rows: with the first random patients, with the second, and so on.
        self.rows = rows.assign(group=rows["group"] + " " + questions.cumcount().astype(str))
        self.right, self.yes = (questions[name].mean().to_numpy() for name in ("right_or_not", "yes"))
        self.place, self.patients = questions.ngroup().to_numpy(), patients_of(questions.head(1))

    def both_right(self) -> intervals.Estimate | None:
        """Share of the pairs with an answer to both questions of which both are right."""
        return _all_right(self.rows)

    def pair_patients(self) -> list[list[str]]:
        return [sorted({*one, *two}) for one, two in zip(self.patients[::2], self.patients[1::2], strict=True)]

    def values(self, true: _Condition) -> dict[str, Any]:
        counts = left_out(self.rows)
        return {
            "accuracy": _mean(self.right, self.patients),
            "true_less_this": None if self is true else self._less(true),
            "yes": _mean(self.yes, self.patients),
            "p_yes_moves": None if self is true else self._moves(true),
            "refused": counts["refused"],
            "unreadable": counts["unread"],
            "silent": counts["silent"],
            "questions": counts["asked"],
        }

    def _less(self, true: _Condition) -> intervals.Estimate | None:
        """Right with the true ECG less right with this, of the questions that have an answer in both."""
        known = np.flatnonzero(~np.isnan(true.right + self.right))
        both = self._whose(true, known)
        return intervals.share_difference(true.right[known], self.right[known], both) if len(known) else None

    def _moves(self, true: _Condition) -> intervals.Estimate | None:
        """Mean of how far P(yes) is from that with the true ECG."""
        stated = true.rows["p_yes"].to_numpy(float)[self.place]
        moved = (self.rows["p_yes"] - stated).abs().groupby(self.place).mean().to_numpy(float)
        return _mean(moved, self._whose(true, range(len(moved))))

    def _whose(self, true: _Condition, rows: Sequence[int]) -> list[tuple[str, ...]]:
        return [tuple(dict.fromkeys((*true.patients[row], *self.patients[row]))) for row in rows]


def _mean(values: np.ndarray, patients: Sequence[tuple[str, ...]]) -> intervals.Estimate | None:
    """Over the questions of which something is known."""
    known = np.flatnonzero(~np.isnan(values))
    return intervals.share(values[known], [patients[row] for row in known]) if len(known) else None


def _all_right(rows: pd.DataFrame) -> intervals.Estimate | None:
    """Share of the groups of questions with an answer to each of which all are right."""
    groups = rows.assign(said=said(rows), right=is_right(rows)).groupby("group", sort=False)
    whole = groups["said"].all()
    right = groups["right"].min()[whole]
    patients = groups["patients"].agg(lambda own: sorted({name for one in own for name in one}))[whole]
    return intervals.share(right.to_numpy(), patients.tolist()) if len(right) else None


def _table(values: dict[str, Any]) -> Table:
    head = ("ECG shown", "right", "true less this", "says yes", "P(yes) moves by", "refused", "no answer", "questions")
    keys = ("accuracy", "true_less_this", "yes", "p_yes_moves", "refused", "silent", "questions")
    rows = [(_SHOWN[name], *(one[key] for key in keys)) for name, one in values["conditions"].items()]
    return Table("The same questions with the true ECG, another, and none", head, rows,
                 "Half of the questions are to be answered yes of the true ECG. Each is put with the ECGs of "
                 f"{DRAWN} random patients, and the mean of these counts. Refused: by the tool, as no ECG; what the "
                 "model says all the same is counted. Without any answer a question is left out.")  # fmt: skip


def _pair_table(values: dict[str, Any]) -> Table:
    rows = [(f"both right of a pair, {_SHOWN[name]}", one, 0.25) for name, one in values["pairs"].items()]
    rows.append(("all four right of a 2 x 2 group, the true ECGs", values["groups"], 0.0625))
    note = "Same words, opposite answers: who does not look at the ECG is never right of both."
    return Table("Pairs and groups", ("what", "share", "by tossing coins"), rows, note)


def _chart(values: dict[str, Any]) -> Chart:
    shares = {_SHOWN[name]: one["accuracy"] for name, one in values["conditions"].items() if one["accuracy"]}
    series = Series("model", list(shares), list(shares.values()))
    return Chart("Right answers by what is shown", "dots", [series], "", "right", 0.5)


_SILENT = "The model answers no question with the true ECG and with a random patient's: nothing can be said."
_SHOWN = {
    "true": "the true ECG",
    "opposite": "one with the opposite answer",
    "random": "a random patient's",
    "phase-shuffled": "phases shuffled",
    "noise": "noise",
    "flat": "a flat line",
    "none": "no ECG",
    FIGURES: "a random patient's, told the true one's figures",
    SIGNAL: "the true ECG, told nothing",
}
