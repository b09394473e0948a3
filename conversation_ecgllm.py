"""Conversations about ECGs: turns whose parts are text and ECGs.

In: a question with its ECGs, or turns {"role", "content"} in transformers' form. Out: the turns that ask the question
(`build_conversation`); turns of plain text with a placeholder for every ECG, and the ECGs in order
(`flatten_content`). Decided here: the text around an ECG in a prompt; what was measured on it stands right behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors_ecgllm import ECGError, shorten
from .feature_extraction_ecgllm import is_list
from .measured_figures_ecgllm import Figures, measured_text

_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def behind_ecg(measured: Figures | None) -> str:
    """What stands behind an ECG in a prompt: what was measured on it; "" where that is nothing."""
    found = "" if measured is None else measured_text(measured)
    return f" (measured: {found})" if found else ""


def ecg_prompt(question: str, num_ecgs: int) -> list[dict[str, Any]]:
    """The parts of a user's turn that introduces `num_ecgs` ECGs and asks a question (text: arXiv 2411.14795).

    Returns: text parts, and parts {"type": "ecg"} where the ECGs go.
    """
    if num_ecgs == 0:
        return [{"type": "text", "text": question}]
    if num_ecgs == 1:
        texts = ["Here is an electrocardiogram: ", f"\n{question}"]
    else:
        word = _NUMBER_WORDS[num_ecgs] if num_ecgs < len(_NUMBER_WORDS) else str(num_ecgs)
        ordinals = [_ORDINALS[i] if i < len(_ORDINALS) else f"ECG number {i + 1}" for i in range(num_ecgs)]
        texts = [f"Here are {word} electrocardiograms. The {ordinals[0]} is "]
        texts += [f", the {ordinal} is " for ordinal in ordinals[1:-1]]
        texts += [f", and the {ordinals[-1]} is ", f".\n{question}"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": texts[0]}]
    for text in texts[1:]:
        parts += [{"type": "ecg"}, {"type": "text", "text": text}]
    return parts


def build_conversation(
    question: str,
    ecgs: Any | Sequence[Any] = (),
    answer: str | None = None,
    system: str | None = None,
    measured: Figures | Sequence[Figures | None] | None = None,
) -> list[dict[str, Any]]:
    """A conversation that asks one question about the given ECGs, in the words of the paper; see `ecg_prompt`.

    Args: measured: what was measured on each ECG, None where nothing is known (`measured_figures_ecgllm`).
    Raises: ECGError for a question without words, and for figures of another number of ECGs.
    """
    if not isinstance(question, str) or not question.strip():
        raise ECGError(f"The question is {shorten(repr(question))}; expected words.")
    ecgs = list(ecgs) if is_list(ecgs) else [ecgs]
    content = ecg_prompt(question, len(ecgs))
    if measured is not None and not isinstance(measured, Mapping | Sequence):
        raise ECGError(f"Measured is {shorten(repr(measured))}; expected figures by name, or a list of them.")
    each = [measured] if isinstance(measured, Mapping) else [None] * len(ecgs) if measured is None else list(measured)
    if len(each) != len(ecgs):
        raise ECGError(
            f"{len(each)} ECGs were measured and {len(ecgs)} are asked about; expected figures, or None, of each."
        )
    for part, ecg, figures in zip((part for part in content if part["type"] == "ecg"), ecgs, each, strict=True):
        part["ecg"] = ecg
        if figures is not None:
            part["measured"] = figures
    conversation: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    conversation.append({"role": "user", "content": content})
    if answer is not None:
        conversation.append({"role": "assistant", "content": answer})
    return conversation


def flatten_content(
    turns: list[dict[str, Any]], ecg_token: str, with_ecgs: bool = True
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Turns with plain string content, a placeholder for every ECG part, and the ECGs in order.

    Args: with_ecgs: refuse an ECG part without "ecg".
    Raises: ECGError where there is no turn, and for anything that is not a turn or a part.
    """
    if not turns:
        raise ECGError("The conversation is empty; expected turns.")
    flattened, ecgs = [], []
    for turn in turns:
        content = turn.get("content") if isinstance(turn, Mapping) else None
        if not isinstance(content, (str, Sequence)) or "role" not in turn:
            raise ECGError(
                f'Found the turn {shorten(repr(turn))}; expected {{"role": ..., "content": ...}} with a string or a '
                "list of parts as content."
            )
        if beside := [key for key in ("ecg", "ecgs") if turn.get(key) is not None]:
            raise ECGError(
                f"A {turn['role']} turn has {beside[0]!r} beside its content, where nobody reads it. Give ECGs as "
                'parts of the content, {"type": "ecg", "ecg": ...}.'
            )
        pieces = []
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            if kind == "text" and part.get("ecg") is not None:
                raise ECGError(f'A {turn["role"]} turn holds a text with an "ecg"; expected parts of their own.')
            if kind == "text" and isinstance(part.get("text"), str):
                pieces.append(part["text"])
                if ecg_token in part["text"]:
                    raise ECGError(
                        f"The text of a {turn['role']} turn holds {ecg_token} itself: {shorten(part['text'])!r}. "
                        'Give ECGs as parts {"type": "ecg", "ecg": ...}.'
                    )
            elif kind == "text":
                raise ECGError(f'A {turn["role"]} turn holds a part {{"type": "text"}} without a string as "text".')
            elif kind == "ecg":
                if with_ecgs and part.get("ecg") is None:
                    raise ECGError(
                        'A part {"type": "ecg"} has no "ecg"; expected a record, a mapping, an array or a path.'
                    )
                pieces.append(ecg_token + behind_ecg(part.get("measured")))
                ecgs.append(part.get("ecg"))
            else:
                raise ECGError(f"A {turn['role']} turn holds a part of type {kind!r}; expected 'text' or 'ecg'.")
        flattened.append({**turn, "content": "".join(pieces)})
    return flattened, ecgs


def says_measured(turns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some ECG stands there with what was measured on it."""
    parts = (part for turn in turns if not isinstance(turn["content"], str) for part in turn["content"])
    return any(part.get("measured") is not None for part in parts)


__all__ = ["behind_ecg", "build_conversation", "ecg_prompt", "flatten_content", "says_measured"]
