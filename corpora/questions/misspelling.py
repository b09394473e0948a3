"""Names of findings as a hurried hand types them: one slip in one word.

In: a name. Out: every way in which training may misspell it. Decided here: words of fewer than five letters are left
alone, since there a slip soon makes another word (ST, AT; PR, QR); a slip is never one letter away from another word
of the findings' names ("interior" may be inferior or anterior, "anormal" normal or abnormal); and the letters in the
middle of the longest word are neither dropped nor swapped, as `ecgllm evaluate` misspells names there, nor is every
fourth slip made, which are kept back for it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import cache

from ...findings.asked_names import known_names

LETTERS = 5  # of the shortest word that is misspelt
_KEPT_BACK = 4  # one slip in so many
_MIDDLE = 2  # letters on either side of the middle
# Keys beside each key in its row, and below or above it, of a keyboard with US layout.
_ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
_PLACE = {key: (row, x + offset) for row, (keys, offset) in enumerate(_ROWS) for x, key in enumerate(keys)}


@cache
def misspellings(name: str) -> tuple[str, ...]:
    """All slips in a name that training may make, in a fixed order; none where every word of it is short."""
    return tuple(slip for slip in _slips(name, middle=False) if not _is_kept_back(slip))


@cache
def kept_back_misspellings(name: str) -> tuple[str, ...]:
    """Slips that training never makes; for `ecgllm evaluate --words kept-back` alone."""
    return tuple(slip for slip in _slips(name, middle=True) if _is_kept_back(slip))


def _slips(name: str, middle: bool) -> tuple[str, ...]:
    """Names with one slip. middle: whether letters are dropped and swapped in the middle of the longest word, too."""
    words = re.findall(r"[A-Za-z]+", name)
    longest = max(words, key=len, default="")
    found: dict[str, None] = {}
    for place in re.finditer(rf"\b[A-Za-z][a-z]{{{LETTERS - 1},}}\b", name):
        word = place[0]
        for slip in _of_a_word(word, spared=len(word) // 2 if len(word) == len(longest) and not middle else None):
            if not _may_be_another(slip.lower(), word.lower()):
                found[name[: place.start()] + slip + name[place.end() :]] = None
    known = known_names()
    return tuple(slip for slip in found if slip.lower() not in known)


def _of_a_word(word: str, spared: int | None) -> Iterator[str]:
    """A letter that is beside the right one on the keyboard, a letter twice, a letter left out, two swapped; never the
    first, which a reader goes by."""
    for at in range(1, len(word)):
        letter, before, after = word[at], word[:at], word[at + 1 :]
        yield from (before + key + after for key in _beside(letter))
        if letter != word[at - 1] and (not after or after[0] != letter):
            yield before + letter + letter + after
        if spared is not None and abs(at - spared) <= _MIDDLE:
            continue
        yield before + after
        if after and after[0] != letter:
            yield before + after[0] + letter + after[1:]


@cache
def _beside(key: str) -> tuple[str, ...]:
    row, x = _PLACE[key]
    return tuple(
        other
        for other, (own_row, own_x) in _PLACE.items()
        if other != key and abs(own_row - row) <= 1 and abs(own_x - x) <= (1 if own_row == row else 0.8)
    )


@cache
def _may_be_another(slip: str, word: str) -> bool:
    return any(other != word and _at_most_one_letter_apart(slip, other) for other in _known_words())


def _at_most_one_letter_apart(one: str, other: str) -> bool:
    """Whether they are equal, or differ in one letter more, less, changed, or two neighbours swapped."""
    if abs(len(one) - len(other)) > 1:
        return False
    alike = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if alike is None:
        return True
    one, other = one[alike:], other[alike:]
    swapped = one[:2] == other[1::-1] and one[2:] == other[2:]
    return swapped or one[1:] == other[1:] or one[1:] == other or one == other[1:]


@cache
def _known_words() -> frozenset[str]:
    return frozenset(word for name in known_names() for word in re.findall(r"[a-z]+", name))


def _is_kept_back(slip: str) -> bool:
    return zlib.crc32(slip.lower().encode()) % _KEPT_BACK == 0
