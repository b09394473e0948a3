"""From what a function or a program gives to an `Answer`: a text, probabilities, P(yes), or that it does not answer.

In: any value. Out: `Answer`; an `ECGError` that says which question it was for what cannot be meant. Decided here: a
number is P(yes); probabilities of candidates are made to add up to one; nothing else is read into a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors_ecgllm import ECGError, shorten
from ..predictions import YES_NO
from ..protocol import Answer, Asked

SILENT = "it gave no answer"


def answer_of(value: Any, asked: Asked, where: str) -> Answer:
    """An answer as it was given.

    Args: value: `Answer`, text, number from 0 to 1 (P(yes)), True or False (yes or no), mapping candidate ->
        probability, or None for none. where: what an error says of whom it is, "NAME, question 3".
    """
    if isinstance(value, Answer):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a number of NumPy or torch
        value = value.item()
    if value is None:
        return Answer(None, refused=SILENT)
    if isinstance(value, bool):
        return Answer("yes" if value else "no")
    if isinstance(value, str):
        return Answer(value.strip())
    if isinstance(value, int | float):
        return _from_p_yes(float(value), asked, where)
    if isinstance(value, Mapping):
        return _from_scores(value, asked, where)
    raise ECGError(
        f"{where}: found a {type(value).__name__}, {shorten(repr(value))}; expected a text, P(yes) as a number, a "
        "mapping of answers to probabilities, or None"
    )


def probability(value: Any, what: str, where: str) -> float:
    """A number from 0 to 1. Raises: ECGError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:  # NaN is not, either
        raise ECGError(f"{where}: {what} is {shorten(repr(value))}; expected a number from 0 to 1")
    return float(value)


def _from_p_yes(value: float, asked: Asked, where: str) -> Answer:
    yes = probability(value, "P(yes)", where)
    if asked.candidates is not None and set(asked.candidates) != set(YES_NO):
        raise ECGError(
            f"{where}: found a number, which is P(yes); the answers to choose from are "
            f"{', '.join(map(repr, asked.candidates))}: give one of them, or the probability of each"
        )
    return Answer("yes" if yes > 0.5 else "no", {"yes": yes, "no": 1 - yes})


def _from_scores(value: Mapping[Any, Any], asked: Asked, where: str) -> Answer:
    scores = {}
    for candidate, share in value.items():
        share = share.item() if hasattr(share, "item") and getattr(share, "ndim", 0) == 0 else share
        if not isinstance(candidate, str):
            raise ECGError(f"{where}: found the answer {candidate!r}; expected texts")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < math.inf:
            raise ECGError(
                f"{where}: {candidate!r} has {shorten(repr(share))}; expected a probability, 0 or more (no logits)"
            )
        scores[candidate] = float(share)
    wanted = scores if asked.candidates is None else asked.candidates
    if set(scores) != set(wanted):
        raise ECGError(
            f"{where}: found probabilities of {shorten(', '.join(map(repr, scores)))}; expected one of each of "
            f"{', '.join(map(repr, wanted))}"
        )
    total = sum(scores.values())
    if not total:
        raise ECGError(f"{where}: all probabilities are 0; expected one above")
    relative = {candidate: scores[candidate] / total for candidate in wanted}
    return Answer(max(relative, key=relative.__getitem__), relative)
