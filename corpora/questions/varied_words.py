"""Questions in more words than their paraphrases: other names of findings, slips, registers, negation, questions
without an answer.

In: rows that `build_questions` asked in training paraphrases, and shares (`SHARES`). Out: the same rows, as many of
them as the shares say in other words (`in_other_words`), and further rows whose answer is a refusal
(`without_an_answer`). Decided here: a yes and a no of one question get the same words, always two and two, so that
neither a form nor a name tells the answer; where a question is turned ("this ECG lacks X") the answer is turned, and
its template is `TURNED`, since its attribute is then what must not be there; what stands alone keeps its words.

    rows of a question -> pairs (yes, no) -> a form (registers.FORMS) and a name (asked_names, misspelling) for each
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import cycle
from numbers import Real
from string import Formatter
from typing import Any

import numpy as np

from ...errors_ecgllm import ECGError
from ...findings.asked_names import Name, names_of, printed_name, synonyms_of, with_article
from ...findings.vocabulary import VOCABULARY
from ...signal_ecgllm import LEADS
from .misspelling import misspellings
from .paraphrases import PARAPHRASES
from .refusals import KINDS, REFUSALS, question_without_answer
from .registers import FORMS, FORMS_OF, Sentence
from .sampling import UNANSWERABLE, Facts, in_a_sentence, question_id

Row = dict[str, Any]
TURNED = "verify-absence"
NAMES = ("names", "misspelt")
SHARES: dict[str, float] = {
    "names": 0.35,
    "misspelt": 0.15,
    "terse": 0.1,
    "cardiologist": 0.1,
    "emergency": 0.1,
    "student": 0.1,
    "stated": 0.1,
    "negated": 0.2,
    "leading": 0.15,
    "bare": 0.0,
    "unanswerable": 0.1,
}
"""What "varied" stands for: of the questions that name one finding, how many name it otherwise (a synonym, an
abbreviation, as it is printed, with an article) and how many misspell it; of those that ask whether an ECG shows it,
how many are put in each of the forms; of all, how many have no answer."""
_DRAWS = 50  # for a question that a record is not asked yet: some kinds have few sentences


def word_shares(words: str | Mapping[str, float] | None) -> dict[str, float]:
    """Shares as `build_questions` takes them: every one of `SHARES`, 0 where nothing is said.

    Raises: ECGError for another text than "varied", an unknown share, a number outside 0 to 1, and for shares of forms
        or of names that come to more than 1.
    """
    if words is None:
        return dict.fromkeys(SHARES, 0.0)
    if isinstance(words, str):
        if words != "varied":
            raise ECGError(f"words={words!r}; expected 'varied', or shares of {', '.join(SHARES)}")
        return dict(SHARES)
    if not isinstance(words, Mapping) or (unknown := set(words) - set(SHARES)):
        found = words if not isinstance(words, Mapping) else ", ".join(sorted(map(str, unknown)))
        raise ECGError(f"words: found {found}; expected shares of {', '.join(SHARES)}")
    wrong = [
        f"{name}={share!r}" for name, share in words.items() if not isinstance(share, Real) or not 0 <= share <= 1
    ]
    if wrong or words.get("unanswerable", 0) == 1:
        raise ECGError(
            f"words: found {', '.join(wrong) or 'unanswerable=1'}; expected shares from 0 to 1, and of questions "
            "without an answer less than 1"
        )
    for what, together in (("forms", FORMS), ("names", NAMES)):
        if (total := sum(words.get(name, 0) for name in together)) > 1 + 1e-9:
            raise ECGError(
                f"words: the shares of {', '.join(together)} come to {total:g}; expected 1 at most, as a question has "
                f"one of these {what}"
            )
    return {name: float(words.get(name, 0)) for name in SHARES}


def in_other_words(rows: Sequence[Row], shares: Mapping[str, float], seed: int) -> list[Row]:
    """The rows in their order, some in other words; a turned one with the other answer.

    Args: rows: with `QUESTION_FEATURES`, asked in training paraphrases. shares: of `SHARES`.
    """
    rng = np.random.default_rng([seed, 1])
    units = _units(rows)
    pairs = [unit for unit in units if rows[unit[0]]["template"] in FORMS_OF and len(unit) == 2]
    forms = dict(zip(map(tuple, pairs), _dealt(len(pairs), {name: shares[name] for name in FORMS}, rng), strict=True))
    named = [unit for unit in units if rows[unit[0]]["template"] in _naming()]
    names = dict(zip(map(tuple, named), _dealt(len(named), {name: shares[name] for name in NAMES}, rng), strict=True))
    found, ids = list(rows), {row["question_id"] for row in rows}
    for unit in units:
        form, how = (dealt.get(tuple(unit)) for dealt in (forms, names))
        if form is None and how is None:
            continue
        new = _reworded([rows[place] for place in unit], form, how, rng)
        new_ids = {row["question_id"] for row in new}
        if len(new_ids) == len(unit) and ids.isdisjoint(new_ids):  # else one record is asked the same twice
            ids |= new_ids
            for place, row in zip(unit, new, strict=True):
                found[place] = row
    return found


def without_an_answer(records: Sequence[Facts], number: int, known: Iterable[str], seed: int) -> list[Row]:
    """Rows about single records whose answer is a refusal (`refusals.REFUSALS`); their attribute is the kind.

    Args: records: to ask, each as often as any other. number: how many rows; fewer where there are not so many
        different ones. known: findings that stand in them.
    """
    rng = np.random.default_rng([seed, 2])
    abnormal = sorted(name for name in known if VOCABULARY[name].abnormal)
    rows: dict[str, Row] = {}
    kinds, rounds = cycle(KINDS), -(-number // max(1, len(records)))
    places = [place for _ in range(rounds) for place in rng.permutation(len(records))]
    for place in places[:number]:
        kind = next(kinds)
        drawn = (_refused(records[place], kind, abnormal, rng) for _ in range(_DRAWS))
        row = next((row for row in drawn if row["question_id"] not in rows), None)
        if row is not None:
            rows[row["question_id"]] = row
    return list(rows.values())


def _refused(record: Facts, kind: str, known: Sequence[str], rng: np.random.Generator) -> Row:
    template, question = f"{UNANSWERABLE}-{kind.replace(' ', '-')}", question_without_answer(kind, known, rng)
    return {
        "question_id": question_id(template, kind, UNANSWERABLE, question, [record.id]),
        "template": template,
        "attribute": kind,
        "type": UNANSWERABLE,
        "question": question,
        "ecg_ids": [record.id],
        "answers": [REFUSALS[kind]],
        "severity": [record.severity],
        "split": record.split,
    }


def _units(rows: Sequence[Row]) -> list[list[int]]:
    """What gets the same words: a yes and a no of one question and split, and alone what is answered by a list.

    A yes without a no, or a no without a yes, is in no unit.
    """
    answered: dict[tuple, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    units = []
    for place, row in enumerate(rows):
        if row["template"] not in (*FORMS_OF, *_naming()):
            continue
        if row["answers"] in (["yes"], ["no"]):
            key = tuple(row[name] for name in ("template", "type", "attribute", "question", "split"))
            answered[key][row["answers"][0]].append(place)
        elif row["type"] == "query":
            units.append([place])
    for places in answered.values():
        units += [list(pair) for pair in zip(places["yes"], places["no"], strict=False)]
    return sorted(units)


def _reworded(rows: Sequence[Row], form: str | None, how: str | None, rng: np.random.Generator) -> list[Row]:
    """The rows of a unit in one sentence with one name; themselves where there is none."""
    template, asked_for = rows[0]["template"], rows[0]["attribute"]
    # A bare abbreviation is what `ecgllm evaluate` asks.
    name, fields = _name(asked_for, None if form == "bare" else how, rng)
    more: Mapping[str, str] = {}
    sentence = None
    if form is None and name is not None:
        paraphrase, more = _asked_in(template, asked_for).get(rows[0]["question"], (None, {}))
        if paraphrase == "{finding}?" and name.text != asked_for:
            form = "terse"  # a bare abbreviation is what `ecgllm evaluate` asks
        elif paraphrase is not None:
            sentence = Sentence(paraphrase)
    if form is not None:
        sentences = [one for one in FORMS_OF[template][form] if _fits(one, asked_for)]
        sentence = sentences[int(rng.integers(len(sentences)))] if sentences else None
    if sentence is None:
        return list(rows)
    question = sentence.text.format(**fields, **more)
    return [_asked(row, question, sentence.turned) for row in rows]


def _fits(sentence: Sentence, asked_for: str) -> bool:
    """Whether a sentence may ask for it. What lacks "infarction or ischemia" may lack one of the two, or both."""
    of_two = not {"or", "and"}.isdisjoint(asked_for.split())
    abnormal = VOCABULARY[asked_for].abnormal if asked_for in VOCABULARY else asked_for != "noise"
    return not (sentence.turned and of_two) and (abnormal or not sentence.abnormal)


def _asked(row: Row, question: str, turned: bool) -> Row:
    template = TURNED if turned else row["template"]
    answers = [{"yes": "no", "no": "yes"}[answer] for answer in row["answers"]] if turned else row["answers"]
    known_by = question_id(template, row["attribute"], row["type"], question, row["ecg_ids"])
    return row | {"question_id": known_by, "template": template, "question": question, "answers": answers}


def _name(asked_for: str, how: str | None, rng: np.random.Generator) -> tuple[Name | None, dict[str, str]]:
    """A name of a finding, and what it fills; None and its own where there is no other, as of a group."""
    if asked_for not in VOCABULARY:
        return None, with_article(printed_name(asked_for)).in_a_sentence()
    own, others = names_of(asked_for), synonyms_of(asked_for)
    options: Sequence[Name] = ()
    if how == "names":
        options = others if others and (len(own) == 1 or rng.random() < 2 / 3) else own[1:]
    elif how == "misspelt":
        options = [name for name in (*own, *others) if misspellings(name.text)]
    if not options:
        return None, own[0].in_a_sentence() | in_a_sentence(asked_for)
    name = options[int(rng.integers(len(options)))]
    if how == "misspelt":
        slips = misspellings(name.text)
        name = replace(name, text=slips[int(rng.integers(len(slips)))])
    return name, name.in_a_sentence()


def _dealt(number: int, shares: Mapping[str, float], rng: np.random.Generator) -> list[str | None]:
    """For each of `number` things one name or None, each name as often as its share says."""
    dealt: list[str | None] = []
    for name, end in zip(shares, np.cumsum([*shares.values()]), strict=True):
        dealt += [name] * (round(float(end) * number) - len(dealt))
    dealt += [None] * (number - len(dealt))
    return [dealt[place] for place in rng.permutation(number)]


@cache
def _naming() -> frozenset[str]:
    """Templates whose paraphrases name one finding, and need nothing else but perhaps a lead."""
    fields = {
        template: {field for text in both["train"] for _, field, _, _ in Formatter().parse(text) if field}
        for template, both in PARAPHRASES.items()
    }
    filled = {"finding", "Is", "is_", "Has", "has", "lead"}
    return frozenset(template for template, needs in fields.items() if "finding" in needs and needs <= filled)


@cache
def _asked_in(template: str, finding: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Question -> its training paraphrase, and what fills it beside the name."""
    found = {}
    for paraphrase in PARAPHRASES[template]["train"]:
        for more in [{"lead": lead} for lead in LEADS] if "{lead}" in paraphrase else [{}]:
            found[paraphrase.format(**in_a_sentence(finding), **more)] = paraphrase, more
    return found
