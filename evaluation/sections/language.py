"""Language: does an answer depend on the words of the question?

The same questions about findings in other words, all about the same ECG: paraphrases, abbreviations, misspellings,
negation (which must turn the answer) and leading words (which must not), and once, in the first wording, about another
patient's ECG that has the other answer. Decided here: a question is asked consistently where all its paraphrases get
one answer, and its answer follows the ECG where it turns with the other ECG; a model that is consistent and does not
follow is called dangerous (arXiv 2603.20985), since nothing in its answers warns of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ...corpora.questions.paraphrases import PARAPHRASES
from ...intervals import Estimate, share_difference
from ...reliance import quadrants
from .. import kept_back_words, rewording
from ..figures import Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import percent
from ..finding_questions import balanced_sample, finding_row
from ..labels_of_records import question_about
from ..material import KEPT_BACK, Material
from ..predictions import planned
from ..tallies import (
    MODEL,
    beside,
    by_whom,
    left_out,
    missing_sentence,
    named,
    patients_of,
    read,
    right_difference,
    right_share,
    said,
    says_yes,
    sentence,
    share_of,
)

NAME, TITLE = "language", "Language: the same question in other words"
OTHER_ECG = "opposite"
NEGATION = "negation"
PARAPHRASED = ("test", "test (others)", "train")
WORDINGS = {
    "test": "first wording",
    "test (others)": "other paraphrases",
    "train": "paraphrases for training",
    "abbreviation": "abbreviated",
    "synonym": "another name",
    "misspelling": "misspelled",
    "misspelling (swapped)": "two letters swapped",
    "misspelling (dropped)": "a letter dropped",
    NEGATION: "negated",
    "leading (yes)": "suggesting yes",
    "leading (no)": "suggesting no",
}
"""Wording -> what a report calls it."""
QUADRANTS = {
    "ideal": "consistent, follows the ECG (ideal)",
    "fragile": "inconsistent, follows the ECG (fragile)",
    "dangerous": "consistent, does not follow the ECG (dangerous)",
    "worst": "inconsistent, does not follow the ECG (worst)",
}
"""Names of `reliance.quadrants` -> what they mean here."""
_TRAIN = 2  # of the paraphrases for training
_ROWS = 13  # that one question makes, about


def plan(material: Material) -> pd.DataFrame:
    """Questions about findings, as many yes as no, each in all wordings, and once about another patient's ECG.

    A normal ECG is not asked about: its name cannot be abbreviated or negated.
    """
    rng = material.rng(NAME, "other")
    ids = np.array(list(material.about))
    turns: Counter = Counter()
    worded = kept_back_words.worded if material.settings.words == KEPT_BACK else _worded
    rows: list[dict] = []
    for record_id, finding, answer in balanced_sample(
        material, material.settings.questions // _ROWS, without=["normal ecg"]
    ):
        turn = turns[finding, answer]
        turns[finding, answer] += 1
        questions = list(worded(finding, turn))
        for wording, question in questions:
            right = answer is (wording != NEGATION)
            row = _row(material, record_id, finding, right, wording=wording, question=question)
            # A model that knows findings and no words can be asked in one wording alone.
            rows.append(row if wording == "test" else row | {"finding": None})
        patient = material.patient(record_id)
        opposite = ids[material.labels.column(finding) == float(not answer)]
        others = [other for other in opposite.tolist() if material.patient(other) != patient]
        if others:
            other = others[int(rng.integers(len(others)))]
            patients = material.patients([record_id, other])
            plain = {"condition": OTHER_ECG, "question": questions[0][1]}
            rows.append(_row(material, record_id, finding, answer, shown_ids=[other], patients=patients, **plain))
    return planned(rows)


def _worded(finding: str, turn: int) -> list[tuple[str, str]]:
    """(Wording, question) of one finding. turn: which of several forms; the i-th yes and the i-th no have the same."""
    others = range(1, len(PARAPHRASES["verify-finding"]["test"]))
    worded = [("test", question_about(finding))]
    worded += [("test (others)", question_about(finding, number)) for number in others]
    worded += [("train", question_about(finding, _TRAIN * turn + number, "train")) for number in range(_TRAIN)]
    if (short := rewording.abbreviated(finding, turn)) is not None:
        worded.append(("abbreviation", short))
    plain = question_about(finding)
    for way in ("swapped", "dropped"):
        worded.append((f"misspelling ({way})", plain.replace(finding, rewording.misspelled(finding, way))))
    worded.append((NEGATION, rewording.negated(finding, turn)))
    worded += [(f"leading ({word})", rewording.leading(finding, word == "yes")) for word in ("yes", "no")]
    return worded


def _row(material: Material, record_id: str, finding: str, right: bool, **columns: Any) -> dict:
    return finding_row(material, record_id, finding, right, section=NAME, **columns)


def consistent(answered: pd.DataFrame, wordings: Collection[str] = PARAPHRASED) -> pd.Series:
    """Group -> whether all its wordings got one answer; of a negated question the other answer is the same.

    Args: answered: rows of one model. wordings: those that count.
    A question that is answered in some wordings and not in others is not consistent; one that is answered in none is
    left out.
    """
    rows = answered[(answered["condition"] == "true") & answered["wording"].isin(wordings)]
    groups = _meaning(rows).groupby(rows["group"])
    known = groups.count()
    return ((groups.nunique() == 1) & (known == groups.size()))[known > 0]


def follows_the_ecg(answered: pd.DataFrame) -> pd.Series:
    """Group -> whether the answer turns when an ECG that has the other answer is shown; without an answer to both it
    is left out. answered: rows of one model."""
    same, other = _beside_other_ecg(answered)
    return pd.Series((says_yes(same).to_numpy() != says_yes(other).to_numpy()), index=other["group"], dtype=bool)


def _meaning(rows: pd.DataFrame) -> pd.Series:
    """Whether the answer says that the finding is there: 1, 0, or NaN where there is no answer."""
    said = says_yes(rows)
    return said.where(rows["wording"] != NEGATION, 1 - said)


def _beside_other_ecg(answered: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    plain = answered[answered["wording"] == "test"]
    other, same = beside(plain[plain["condition"] == OTHER_ECG], plain[plain["condition"] == "true"])
    return same, other


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    values: dict[str, Any] = {}
    tables, sentences, series = [], [], []
    for by, rows in by_whom(answered).items():
        found = _figures_of(rows)
        values[by] = found
        tables += [_wordings_table(by, rows, found), _groups_table(by, found)]
        sentences += _sentences(by, rows, found)
        names = [name for name in WORDINGS if found["wordings"].get(name, {}).get("right")]
        shown = [WORDINGS[name] for name in names]
        series.append(Series(by, shown, [found["wordings"][name]["right"] for name in names]))
    chart = Chart("Right answers in each wording", "dots", series, y_label="right", chance=0.5)
    return SectionFigures(
        NAME, TITLE, sentences, tables, [chart] if series else [], values, _headlines(values.get(MODEL))
    )


def _headlines(found: dict[str, Any] | None) -> list[Headline]:
    if found is None:
        return []
    plain, negated = (found["wordings"].get(name, {}).get("right") for name in ("test", NEGATION))
    named = (
        ("one answer to all paraphrases", found["consistent"], None),
        ("right answers, the question negated", negated, plain and ("not negated", plain)),
    )
    return [Headline(name, value, beside) for name, value, beside in named if value is not None]


def _figures_of(rows: pd.DataFrame) -> dict[str, Any]:
    """All figures of one model."""
    true = rows[rows["condition"] == "true"]
    reference = true[true["wording"] == "test"]
    wordings = {}
    for wording in WORDINGS:
        own = true[true["wording"] == wording]
        if len(own):
            wordings[wording] = left_out(own) | {
                "right": right_share(own),
                "difference": None if wording == "test" else right_difference(own, reference),
                "otherwise": None if wording == "test" else _otherwise(own, reference),
                "otherwise_by_chance": None if wording == "test" else _by_chance(own, reference),
            }
    patients = dict(zip(rows["group"], patients_of(rows), strict=True))
    same, strict, follows = consistent(rows), consistent(rows, tuple(WORDINGS)), follows_the_ecg(rows)
    if not said(true[true["wording"].isin(PARAPHRASED[1:])]).any():
        same, strict = same.iloc[:0], strict.iloc[:0]  # it reads no words, as a dual encoder, and was asked in one way
    both = same.index.intersection(follows.index)
    four = quadrants(same[both], follows[both], [patients[group] for group in both]) if len(both) else None
    return {
        "wordings": wordings,
        "consistent": _share_of_groups(same, patients),
        "consistent_in_all_wordings": _share_of_groups(strict, patients),
        "follows_the_ecg": _share_of_groups(follows, patients),
        "quadrants": None
        if four is None
        else {name: getattr(four, name) for name in QUADRANTS} | {"model": four.model},
        "swayed": _swayed(true),
    }


def _share_of_groups(values: pd.Series, patients: dict[str, Any]) -> Estimate | None:
    rows = pd.DataFrame({"patients": [patients[group] for group in values.index]})
    return share_of(rows, values.to_numpy())


def _otherwise(rows: pd.DataFrame, reference: pd.DataFrame) -> Estimate | None:
    """How often the finding is said to be there in one wording and not in the other."""
    ours, theirs = beside(rows, reference)
    return share_of(ours, _meaning(ours).to_numpy() != _meaning(theirs).to_numpy())


def _by_chance(rows: pd.DataFrame, reference: pd.DataFrame) -> float | None:
    """The same of a model that says yes as often in both wordings, and at random."""
    ours, theirs = (_meaning(read(each)).mean() for each in (rows, reference))
    return None if np.isnan(ours) or np.isnan(theirs) else float(ours * (1 - theirs) + theirs * (1 - ours))


def _swayed(true: pd.DataFrame) -> Estimate | None:
    """How much oftener yes is said when yes was suggested than when no was."""
    ours, theirs = beside(true[true["wording"] == "leading (yes)"], true[true["wording"] == "leading (no)"])
    return share_difference(says_yes(ours), says_yes(theirs), patients_of(ours)) if len(ours) else None


def _wordings_table(by: str, rows: pd.DataFrame, found: dict[str, Any]) -> Table:
    first = rows[rows["condition"] == "true"].drop_duplicates("wording").set_index("wording")["question"]
    lines = [
        (
            WORDINGS[name], first[name], own["asked"], own["silent"], own["right"], own["difference"],
            own["otherwise"], own["otherwise_by_chance"],
        )
        for name, own in found["wordings"].items()
    ]  # fmt: skip
    columns = (
        "wording",
        "such as",
        "asked",
        "no answer",
        "right",
        "less first wording",
        "says otherwise",
        "by chance",
    )
    note = (
        "Recipes of this package train on none of the paraphrases but those for training. A negation turns the right "
        "answer. Says otherwise: the finding is said to be there in this wording or in the first one only, a negated "
        "question's answer being turned. By chance: the same of answers that are yes as often and know nothing of "
        "each other."
    )
    return Table(f"Wordings, answers of {named(by)}", columns, lines, note)


def _groups_table(by: str, found: dict[str, Any]) -> Table:
    lines = [
        ("one answer to all paraphrases", found["consistent"]),
        ("one answer in all wordings, negation and leading ones too", found["consistent_in_all_wordings"]),
        ("the answer turns with an ECG that has the other answer", found["follows_the_ecg"]),
        *((words, found["quadrants"][name]) for name, words in QUADRANTS.items() if found["quadrants"]),
        ("yes after 'I think so', less yes after 'not seen'", found["swayed"]),
    ]
    note = (
        "Consistent: one answer to all paraphrases. Follows: another answer with an ECG that has the other answer. "
        "The four are those of arXiv 2603.20985."
    )
    return Table(f"Consistency and the ECG, answers of {named(by)}", ("of the questions", "share"), lines, note)


def _sentences(by: str, rows: pd.DataFrame, found: dict[str, Any]) -> list[str]:
    parts = []
    steady, follows = found["consistent"], found["follows_the_ecg"]
    if steady is not None:
        parts.append(f"gives one answer to all paraphrases of {percent(steady)} of the questions")
    if follows is not None:
        parts.append(f"turns {percent(follows)} of its answers with an ECG that has the other answer")
    negated = found["wordings"].get(NEGATION, {}).get("otherwise")
    if negated is not None:
        turned = replace(negated, value=1 - negated.value, low=1 - negated.high, high=1 - negated.low)
        parts.append(f"turns {percent(turned)} with a negation")
    sentences = [sentence(f"{named(by)} {'; it '.join(parts) or 'gives no two readable answers to compare'}.")]
    if found["quadrants"] is not None:
        warned = ": nothing in the answers warns of it" if found["quadrants"]["dangerous"].value else ""
        sentences.append(
            f"{percent(found['quadrants']['dangerous'])} of the questions get one answer in all paraphrases and "
            f"whatever ECG is shown, which is dangerous{warned}."
        )
    return [*sentences, *missing_sentence(by, rows[rows["condition"] == "true"])]
