"""Two ECGs: does the model know which is which, and do the words around them matter?

Yes-or-no questions about two ECGs in the order given; in the other order, in which "new" and "resolved", "first" and
"second" change places; about one ECG shown twice, in which nothing can be new; and in other prompts (the second
experiment that arXiv 2411.14795 asks for). Decided here: what is right in another order follows from what the corpus
states of both records, never from the words of a question; where it states too little the question is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from ...conversation_ecgllm import ecg_prompt
from ...corpora.questions.about_measurements import FEATURES, OUTSIDE
from ...corpora.questions.comparisons import CHANGED_OR_NOT
from ...intervals import holm
from ..figures import Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import percent
from ..material import Material
from ..predictions import YES_NO, planned
from ..tallies import (
    MODEL,
    beside,
    by_whom,
    is_right,
    left_out,
    missing_sentence,
    named,
    read,
    right_difference,
    right_share,
    says_yes,
    sentence,
    share_of,
)

NAME, TITLE = "two_ecgs", "Two ECGs: their order, and the prompt around them"
TYPES = ("comparison-verify", "comparison-irrelevant-verify")
CHANGES = (
    "compare-new",
    "compare-resolved",
    "compare-measurement",
    "compare-range-abnormal",
    "compare-range-normal",
)
"""Templates of questions that an ECG beside itself answers by no."""
ONE = ("compare-first", "compare-second")
OWN = "own"
PROMPTS = {
    "numbered": "ECG 1: {ecg}\nECG 2: {ecg}\n{question}",
    "before and after": "Before: {ecg}\nAfter: {ecg}\n{question}",
    "plain": "{ecg}{ecg}\n{question}",
    "question first": "{question}\nThe first electrocardiogram: {ecg}\nThe second electrocardiogram: {ecg}",
    "question between": "The first electrocardiogram is {ecg}.\n{question}\nThe second electrocardiogram is {ecg}.",
}
"""Format -> prompt. The paper's sentence is not among them: it is what every model is asked in that brings no words of
its own around ECGs (`conversation_ecgllm.ecg_prompt`), and so stands under `OWN`."""
_ROWS = 3 + len(PROMPTS)
_OWN_WORDS = "".join(part.get("text", "{ecg}") for part in ecg_prompt("{question}", 2))


def plan(material: Material) -> pd.DataFrame:
    """Comparisons of `material.questions`, each template and answer alike often, in all orders and prompts."""
    rows: list[dict] = []
    for number, question in enumerate(_drawn(material)):
        first, second = pair = question["ecg_ids"]
        given = question["answers"] == ["yes"]
        base = {
            "section": NAME,
            "group": question["question_id"],
            "wording": OWN,
            "record_ids": question["ecg_ids"],
            "patients": material.patients(question["ecg_ids"]),
            "candidates": list(YES_NO),
            **{name: question[name] for name in ("question_id", "template", "attribute", "type", "question")},
        }
        rows.append(base | {"expected": _words(given)})
        rows += [
            base | {"wording": name, "prompt": prompt, "expected": _words(given)} for name, prompt in PROMPTS.items()
        ]
        if truth(material, question, given, pair) is not given:
            continue  # labels that are not the corpus' own: nothing is known of another order
        one = pair[number % 2]
        for condition, shown in (("swapped", [second, first]), ("same", [one, one])):
            right = truth(material, question, given, shown)
            if right is not None:
                of = {"record_ids": shown, "shown_ids": shown, "patients": material.patients(shown)}
                rows.append(base | of | {"condition": condition, "expected": _words(right)})
    return planned(rows)


def _drawn(material: Material) -> list[dict]:
    """So many questions as the settings allow, from each type, template and answer in turn."""
    cells = defaultdict(list)
    for question in material.questions.with_format(None).select_columns(
        ["question_id", "template", "attribute", "type", "question", "ecg_ids", "answers"]
    ):
        if question["type"] in TYPES and len(question["ecg_ids"]) == 2 and question["answers"] in (["yes"], ["no"]):
            cells[question["type"], question["template"], question["answers"][0]].append(question)
    rng = material.rng(NAME, "questions")
    shuffled = [[cell[i] for i in rng.permutation(len(cell))] for _, cell in sorted(cells.items())]
    most = max(1, material.settings.questions // _ROWS)
    turns = [(turn, number) for number, cell in enumerate(shuffled) for turn in range(len(cell))]
    return [shuffled[number][turn] for turn, number in sorted(turns)[:most]]


def truth(material: Material, question: dict[str, Any], given: bool, shown: Sequence[str]) -> bool | None:
    """What is right when the records `shown` are the two ECGs; None where they leave it open.

    Args: question: with template and attribute, about the records of its ecg_ids, to which the answer is `given`.
    """
    if question["template"] == "compare-measurement":
        return _changed(material, question, given, shown)
    outside = question["template"] in OUTSIDE
    known = partial(_outside, material) if outside else material.labels.of
    first, second = (known(record_id, question["attribute"]) for record_id in shown)
    if first is None or second is None:
        return None
    if question["template"] in ONE:
        return second if question["template"] == "compare-second" else first
    answers_yes = (OUTSIDE | CHANGED_OR_NOT).get(question["template"])
    return None if answers_yes is None else (first, second) == answers_yes


def _outside(material: Material, record_id: str, feature: str) -> bool | None:
    """Whether a measurement lies outside the normal range; None near a limit, and where it is not known."""
    about = material.about[record_id]
    column = next((name for name, one in FEATURES.items() if one.name.lower() == feature), None)
    value = (about.get("measurements") or {}).get(column)
    side = None if column is None or value is None else FEATURES[column].range_of(value, about.get("sex"))
    return None if side is None else side != "within"


def _changed(material: Material, question: dict[str, Any], given: bool, shown: Sequence[str]) -> bool | None:
    """Whether a measurement is longer, or shorter, in the second; which of them is asked follows from the answer."""
    column = next((name for name, one in FEATURES.items() if one.name.lower() == question["attribute"]), None)
    values = [
        [(material.about[record_id].get("measurements") or {}).get(column) for record_id in ids]
        for ids in (question["ecg_ids"], shown)
    ]
    if column is None or None in values[0] + values[1]:
        return None
    asked, other = (second - first for first, second in values)
    clear = FEATURES[column].change
    if abs(other) < clear / 2:
        return False
    if min(abs(asked), abs(other)) < clear:
        return None
    return given is ((asked > 0) == (other > 0))


def _words(answer: bool) -> list[str]:
    return ["yes" if answer else "no"]


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    values: dict[str, Any] = {}
    tables, sentences, series = [], [], []
    for by, rows in by_whom(answered).items():
        found = values[by] = _figures_of(rows)
        tables += [_orders_table(by, found), _prompts_table(by, found)]
        sentences += _sentences(by, rows, found)
        formats = {name: own["right"] for name, own in found["prompts"].items() if own["right"] is not None}
        series.append(Series(by, list(formats), list(formats.values())))
    if not series:
        sentences = ["There is no yes-or-no question about two ECGs."]
    chart = Chart("Right answers with each prompt around two ECGs", "dots", series, y_label="right", chance=0.5)
    return SectionFigures(NAME, TITLE, sentences, tables, [chart] if series else [], values,
                          _headlines(values.get(MODEL)))  # fmt: skip


def _figures_of(rows: pd.DataFrame) -> dict[str, Any]:
    """All figures of one model."""
    own = rows[rows["wording"] == OWN]
    orders = {}
    for condition in ("true", "swapped", "same"):
        asked = own[own["condition"] == condition]
        changes, one = asked["template"].isin(CHANGES), asked["template"].isin(ONE)
        parts = (("change", changes), ("one of the two", one), ("both or neither", ~(changes | one)))
        orders[condition] = {name: left_out(asked[part]) | {"right": right_share(asked[part])} for name, part in parts}
    true = own[own["condition"] == "true"]
    turning, as_given = beside(own[own["condition"] == "swapped"], true)
    turns = turning["expected"].map(list).to_numpy() != as_given["expected"].map(list).to_numpy()
    turning, as_given = turning[turns], as_given[turns]
    both = is_right(turning) * is_right(as_given)
    turned = says_yes(turning).to_numpy() != says_yes(as_given).to_numpy()
    same = read(own[(own["condition"] == "same") & own["template"].isin(CHANGES)])
    prompts = {OWN: left_out(true) | {"right": right_share(true), "difference": None}}
    for name in PROMPTS:
        part = rows[(rows["wording"] == name) & (rows["condition"] == "true")]
        if len(part):
            difference = right_difference(part, true)
            prompts[name] = left_out(part) | {"right": right_share(part), "difference": difference}
    tested = {name: each["difference"].p_value for name, each in prompts.items() if each["difference"] is not None}
    for name, p_value in zip(tested, holm(list(tested.values())), strict=True):
        prompts[name]["p_value_holm"] = float(p_value)
    return {
        "orders": orders,
        "in_one_order_only": int((~true["group"].isin(own.loc[own["condition"] == "swapped", "group"])).sum()),
        "turned_with_order": share_of(turning, turned),
        "right_in_both_orders": share_of(turning, both),
        "change_seen_in_the_same_ecg": share_of(same, says_yes(same)),
        "prompts": prompts,
    }


def _orders_table(by: str, found: dict[str, Any]) -> Table:
    names = {"true": "as given", "swapped": "the second first", "same": "one ECG twice"}
    lines: list[tuple] = []
    for condition, parts in found["orders"].items():
        for what, own in parts.items():
            if own["asked"]:
                lines.append((names[condition], what, own["asked"], own["silent"], own["right"]))
    lines += [
        ("both orders", "the answer turns where it must", None, None, found["turned_with_order"]),
        ("both orders", "right in both, where it must turn", None, None, found["right_in_both_orders"]),
        ("one ECG twice", "a change is seen where there is none", None, None, found["change_seen_in_the_same_ecg"]),
    ]
    columns = ("ECGs", "asked about", "asked", "no answer", "share")
    note = (
        "Change: new, resolved, faster, longer and so on in the second; one of the two: what the first shows, or the "
        "second; both or neither: what both show, or neither does. Shares are of right answers unless the line says "
        "of what."
    )
    if found["in_one_order_only"]:
        note += (
            f" {found['in_one_order_only']} questions were asked in one order only: the records do not say what is "
            "right in the other."
        )
    return Table(f"Order, answers of {named(by)}", columns, lines, note)


def _prompts_table(by: str, found: dict[str, Any]) -> Table:
    lines = [
        (name, _in_a_line(PROMPTS.get(name, _OWN_WORDS)), own["asked"], own["silent"],
         own["right"], own["difference"], own.get("p_value_holm"))
        for name, own in found["prompts"].items()
    ]  # fmt: skip
    columns = ("prompt", "words", "asked", "no answer", "right", "beside own", "p (Holm)")
    note = (
        f"{OWN.capitalize()}: the model's, or the paper's sentence where it brings none. The same questions about the "
        "same ECGs in each. Differences are paired, p-values adjusted for all prompts."
    )
    return Table(f"Prompts, answers of {named(by)}", columns, lines, note)


def _in_a_line(prompt: str) -> str:
    return " / ".join(prompt.split("\n"))


def _headlines(found: dict[str, Any] | None) -> list[Headline]:
    named = (
        ("answers that turn with the order of two ECGs, where they must", "turned_with_order"),
        ("a change seen between an ECG and itself", "change_seen_in_the_same_ecg"),
    )
    return [Headline(name, found[key]) for name, key in named if found is not None and found[key] is not None]


def _sentences(by: str, rows: pd.DataFrame, found: dict[str, Any]) -> list[str]:
    parts = []
    if (turned := found["turned_with_order"]) is not None:
        parts.append(f"{named(by)} turns {percent(turned)} of the answers that another order of the two ECGs turns")
    if (seen := found["change_seen_in_the_same_ecg"]) is not None:
        parts.append(f"it sees a change between an ECG and itself in {percent(seen)}")
    formats = {name: own["right"].value for name, own in found["prompts"].items() if own["right"] is not None}
    if formats:
        low, high = min(formats.values()), max(formats.values())
        spread = f"{percent(low)} to {percent(high)}" if low < high else f"{percent(low)} with each of them"
        parts.append(f"over prompts it is right in {spread}")
    first = "; ".join(parts) or f"{named(by)} gives no two readable answers to compare"
    return [sentence(f"{first}."), *missing_sentence(by, rows)]
