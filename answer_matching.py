"""How answers are compared: as sets, order and case free, as ECG-QA does.

In: predicted and reference answers. Out: right or wrong for one question (`set_match`), the share of right ones by
question type (`exact_match`), and the options that a free text names (`answers_in_text`). Source: Oh et al.,
ECG-QA, NeurIPS 2023, and its code: the answers that the text names among the options, and the expected ones, both in
lower case, are compared as sets; no answer stands for "none"; shares are given by type of question.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from .errors_ecgllm import ECGError


def set_match(prediction: str | Iterable[str], reference: str | Iterable[str]) -> bool:
    """Whether two answers are the same set: order, case, repetition and outer blanks do not count.

    A bare string is one answer; it is not split at commas, as some answers hold one (`answers_in_text` takes a text
    apart). No answer equals ["none"].
    """
    return answer_set(prediction) == answer_set(reference)


def exact_match(
    predictions: Sequence[str | Iterable[str]],
    references: Sequence[str | Iterable[str]],
    types: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Share of questions whose answers match exactly, over all and by question type.

    Args: as many predictions, references and, if given, types (the column `type` of a question set).
    Returns: {"exact_match": share, "questions": n, "by_type": {type: {"exact_match": share, "questions": n}}} and,
        with types, "macro_exact_match", the mean over them. The published ECG-QA figure is that of each type; the mean
        over all questions depends on how many of a type there are, so name both. `intervals.macro_share` has the same
        with intervals over patients.
    Raises: ValueError for lengths that differ, or no question.
    """
    kinds = ["all"] * len(references) if types is None else list(types)
    if not len(predictions) == len(references) == len(kinds):
        raise ECGError(
            f"{len(predictions)} predictions, {len(references)} references and {len(kinds)} types; expected as many "
            "of each"
        )
    if not kinds:
        raise ECGError("there is no question; expected at least one")
    right: dict[str, list[bool]] = defaultdict(list)
    for prediction, reference, kind in zip(predictions, references, kinds, strict=True):
        right[kind].append(set_match(prediction, reference))
    total = [value for values in right.values() for value in values]
    if types is None:
        return {**_share(total), "by_type": {}}
    by_type = {kind: _share(values) for kind, values in sorted(right.items())}
    macro = sum(one["exact_match"] for one in by_type.values()) / len(by_type)
    return {**_share(total), "macro_exact_match": macro, "by_type": by_type}


def answers_in_text(text: str, options: Iterable[str]) -> list[str]:
    """The options that a generated text names, sorted; ["none"] if it names none.

    A longer option is looked for first and whole words only, so that "not sure" is not "no", and "non-specific st
    depression" not "st depression". (The published code looks for the options in their order, which can find the
    shorter.)
    """
    found, rest = set(), " ".join(text.lower().split())
    for option in sorted(
        {" ".join(option.lower().split()) for option in options} - {"", "none"}, key=len, reverse=True
    ):
        rest, times = re.subn(rf"(?<!\w){re.escape(option)}(?!\w)", "|", rest)
        if times:
            found.add(option)
    return sorted(found) or ["none"]


def answer_set(answers: str | Iterable[str]) -> frozenset[str]:
    """Answers as they are compared: lower case, single blanks, {"none"} for none."""
    if isinstance(answers, str):
        answers = [answers]
    return frozenset(plain for answer in answers if (plain := " ".join(answer.lower().split()))) or frozenset(["none"])


def _share(right: list[bool]) -> dict[str, float | int]:
    return {"exact_match": sum(right) / len(right), "questions": len(right)}
