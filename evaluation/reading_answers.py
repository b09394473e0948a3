"""From what a model wrote to a set of answers that can be compared.

In: a text, and what could be answered. Out: the answers, sorted; None for a text that says none of them clearly.
Decided here: of yes or no, the word that an answer begins with, or the only one of the two that it holds; of a list,
the whole answer where its comma-separated parts are all options, else the options that it names (as ECG-QA's code
reads generated text). Nothing is guessed: "yes and no" is neither.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ..answer_matching import answer_set, answers_in_text
from .predictions import YES_NO

_FIRST_WORD = re.compile(r"[\s\W]*(yes|no)\b(?!\s*(?:and|or|/)\s*(?:yes|no)\b)", re.IGNORECASE)


def read_answer(text: str | None, options: Collection[str]) -> list[str] | None:
    """The answers that a text gives.

    Args: options: what could be answered, lower case; "yes" and "no" for a question of yes or no.
    """
    if text is None or not text.strip():
        return None
    if set(options) == set(YES_NO):
        return _yes_or_no(text)
    whole = answer_set(part for part in text.rstrip(". \n").split(","))
    if whole <= set(options):
        return sorted(whole)
    found = answers_in_text(text, options)
    return None if found == ["none"] and "none" not in text.lower() else found


def _yes_or_no(text: str) -> list[str] | None:
    first = _FIRST_WORD.match(text)
    if first:
        return [first.group(1).lower()]
    found = answers_in_text(text, YES_NO)
    return found if len(found) == 1 and found != ["none"] else None
