"""Messages of libraries and readers without what they quote from a file, which may be a name or a date of birth.

In: a message, and the words that may stay (names of leads). Out: the message with "(not shown)" in place of the rest.
Decided here: from the first quotation mark to the last one everything goes, since a quoted name may hold quotation
marks itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NOT_SHOWN = "(not shown)"
# Within a word it is an apostrophe. Two patterns, as one of both with ".*" between takes time by the square of a text.
_OPENING, _CLOSING = re.compile(r"""(?<!\w)['"<]"""), re.compile(r"""['">](?!\w)""")


def without_quotes(text: str, kept: Iterable[str] = ()) -> str:
    """The text on one line without what it quotes, unless that is one of the words `kept`."""
    text = " ".join(text.split()).replace("\0", "")
    words = "|".join(sorted((re.escape(word) for word in kept if word), key=len, reverse=True))
    if not words:
        return _without_quoted(text)
    # ecgdatakit's words behind a lead's name belong to what is quoted.
    harmless = re.compile(rf"""(['"])(?:{words})(?: \((?:rhythm|median)\))?\1""", re.IGNORECASE)
    found: list[str] = []

    def marked(match: re.Match[str]) -> str:
        found.append(match[0])
        return f"\0{len(found) - 1}\0"

    bare = _without_quoted(harmless.sub(marked, text))
    return re.sub("\0(\\d+)\0", lambda match: found[int(match[1])], bare)


def _without_quoted(text: str) -> str:
    first, last = _OPENING.search(text), max(_CLOSING.finditer(text), key=re.Match.start, default=None)
    if first is None or last is None or last.start() <= first.start():
        return text
    return f"{text[: first.start()]}{NOT_SHOWN}{text[last.end() :]}"
