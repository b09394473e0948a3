"""A question as parts, words and ECGs in their order, which each kind of model writes in its own way.

In: `Asked`. Out: parts {"type": "text", "text"} and {"type": "ecg", "ecg": ShownECG}, as turns of a conversation hold
them. Decided here: without a prompt of the question's own its ECGs are introduced in the words of the paper.
"""

from __future__ import annotations

from typing import Any

from ...conversation_ecgllm import ecg_prompt
from ...errors_ecgllm import ECGError
from ..predictions import YES_NO
from ..protocol import Asked

ECG_PLACE, QUESTION_PLACE = "{ecg}", "{question}"


def parts(asked: Asked) -> list[dict[str, Any]]:
    """The words of a question with its ECGs in their places.

    Raises: ECGError for a prompt with another number of places than there are ECGs, or without one for the question.
    """
    ecgs = iter(asked.ecgs)
    found = ecg_prompt(asked.question, len(asked.ecgs)) if asked.prompt is None else _around(asked)
    return [part if part["type"] == "text" else part | {"ecg": next(ecgs)} for part in found]


def _around(asked: Asked) -> list[dict[str, Any]]:
    places, questions = asked.prompt.count(ECG_PLACE), asked.prompt.count(QUESTION_PLACE)
    if places != len(asked.ecgs) or not questions:
        raise ECGError(
            f"the prompt {asked.prompt!r} has {places} {ECG_PLACE} and {questions} {QUESTION_PLACE} for "
            f"{len(asked.ecgs)} ECGs; expected one {ECG_PLACE} for each, and {QUESTION_PLACE}"
        )
    first, *rest = (text.replace(QUESTION_PLACE, asked.question) for text in asked.prompt.split(ECG_PLACE))
    found = [{"type": "text", "text": first}] if first else []
    for text in rest:
        found += [{"type": "ecg"}] + ([{"type": "text", "text": text}] if text else [])
    return found


def choice(asked: Asked) -> str:
    """What a model that writes is told of a closed question; "" of an open one."""
    if not asked.candidates:
        return ""
    if set(asked.candidates) == set(YES_NO):
        return "Answer yes or no."
    return f"Answer with one of: {'; '.join(asked.candidates)}."
