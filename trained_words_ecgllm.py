"""The words that a checkpoint was trained in: where they differ from today's vocabulary, and the sentence of a label.

In: questions in today's words, and answers in the words that the model learned. Out: each in the words of the other
side. Decided here: a checkpoint carries the list itself (`processor_config.json`), so that nobody who asks it needs to
know how old it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .errors_ecgllm import CheckpointError

HYPOTHESIS_TEMPLATE = "ECG with {}"
"""In which a label is held against an ECG: a sentence that pre-training on statements uses, too."""


class TrainedWords:
    """A translation between today's words and those of a checkpoint.

    Args: words: today's words -> the trained ones, whole words, matched in any case. The replacement is spelled as in
    the list.
    Raises: CheckpointError for anything but texts, for two entries with the same word, and for a trained word that
    contains one of today's: translating a text twice would then change it.
    """

    def __init__(self, words: Mapping[str, str]):
        if not isinstance(words, Mapping) or not all(
            isinstance(word, str) and word.strip() for pair in words.items() for word in pair
        ):
            raise CheckpointError(f"trained_words are {words!r}; expected today's words -> those that were trained")
        self._trained = {today.lower(): trained for today, trained in words.items()}
        self._today = {trained.lower(): today for today, trained in words.items()}
        if len(self._today) < len(words) or len(self._trained) < len(words):
            raise CheckpointError(
                f"trained_words are {dict(words)!r}; two of them say the same, expected different ones"
            )
        for trained in words.values():
            if self.to_trained(trained) != trained:
                raise CheckpointError(
                    f"trained_words are {dict(words)!r}; {trained!r} holds one of today's words itself, so that a "
                    "text would change each time that it is translated"
                )

    def to_trained(self, text: str) -> str:
        """A text in the words of the checkpoint; the rest of it is unchanged."""
        return _replace(text, self._trained)

    def to_today(self, text: str) -> str:
        """What the model says, in today's words."""
        return _replace(text, self._today)


def _replace(text: str, words: dict[str, str]) -> str:
    if not words:
        return text
    longest_first = sorted(words, key=len, reverse=True)
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)"
    return re.sub(pattern, lambda found: words[found[0].lower()], text, flags=re.IGNORECASE)


def translated(decoded: Any, words: TrainedWords) -> Any:
    """What a tokenizer decodes, a text or a list of texts, in today's words."""
    return words.to_today(decoded) if isinstance(decoded, str) else [translated(one, words) for one in decoded]


__all__ = ["HYPOTHESIS_TEMPLATE", "TrainedWords", "translated"]
