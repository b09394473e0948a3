"""Chat templates: conversations to text, and where in it the assistant speaks.

In: turns of plain text, as `flatten_content` makes them, and a Jinja template with its tokenizer. Out: one text per
conversation, and the spans of it that are learned. Decided here: how templates that take strings and templates that
take parts are fed. A template in which the assistant's turns cannot be located is refused; nothing is guessed. Every
template refuses an ECG that no processor has read (`guarded`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from transformers.utils.chat_template_utils import _get_template_variables, render_jinja_template

from .errors_ecgllm import ECGError

_GUARD = (
    "{% macro refuse_ecg() %}{{ raise_exception('this conversation holds an ECG that was not read: a tokenizer knows "
    "text alone. Give it to the processor (processor.apply_chat_template), or use the pipeline ecg-text-to-text') }}"
    "{% endmacro %}"
    "{% for message in messages %}{% set content = message['content'] %}"
    "{% if content is mapping or message['ecg'] | default(none) is not none"
    " or message['ecgs'] | default(none) is not none %}{{ refuse_ecg() }}"
    "{% elif content is iterable and content is not string %}{% for part in content %}"
    "{% if part is mapping and (part['type'] != 'text' or part['ecg'] | default(none) is not none) %}"
    "{{ refuse_ecg() }}{% endif %}{% endfor %}{% endif %}{% endfor %}{{ '' }}"
)

# For language models without a chat template. The newline opens a turn, so that an answer ends with the
# end-of-sequence. The tag says what labels learn, for whoever renders by the tokenizer alone (TRL's
# assistant_only_loss).
_PLAIN = (
    "{% macro words(content) %}{% if content is string %}{{ content }}{% else %}"
    "{% for part in content %}{{ part['text'] }}{% endfor %}{% endif %}{% endmacro %}"
    "{% for message in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}"
    "{% if message['role'] == 'system' %}{{ words(message['content']) }}"
    "{% elif message['role'] == 'user' %}User: {{ words(message['content']) }}"
    "{% elif message['role'] == 'assistant' %}Assistant:"
    "{% generation %} {{ words(message['content']) }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ raise_exception('roles are system, user and assistant; found ' + message['role']) }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\nAssistant:' }}{% endif %}"
)
PLAIN_CHAT_TEMPLATE = _GUARD + _PLAIN
_WITHOUT_TAG = _PLAIN.replace("{% generation %}", "").replace("{% endgeneration %}", "")
_OF_STRINGS = re.sub(r"words\((.*?)\)", r"\1", _WITHOUT_TAG[_WITHOUT_TAG.index("{% for message in messages") :])
_PLAIN_OF_BEFORE = (_WITHOUT_TAG, _OF_STRINGS)
"""Those of earlier checkpoints: without the tag, and the one that took strings alone."""

# A template with these tags says itself what the assistant's words are.
_GENERATION_TAG = re.compile(r"\{%-?\s*generation\s*-?%\}")


def guarded(template: str | Mapping[str, str]) -> Any:
    """A chat template, or several by name, that refuses an ECG which no processor has read.

    Whatever renders a conversation by the tokenizer alone, such as transformers' pipeline text-generation or TRL,
    would write an ECG part as text, or leave it out, and the model would answer about an ECG that it never got. The
    processor takes ECGs out before it renders. Text, as a string or in parts, is rendered as the template has it.
    """
    if isinstance(template, Mapping):
        return {name: guarded(each) for name, each in template.items()}
    if is_plain(template):
        return PLAIN_CHAT_TEMPLATE
    if template.startswith(_GUARD):
        return template
    # Jinja strips blanks before a block at the start of a line, where this one no longer stands.
    return _GUARD + re.sub(r"^[ \t]+(?=\{[%#][^+])", "", template)


def plain_text(turns: list[dict[str, Any]]) -> str:
    """Turns as the plain template writes them, without end tokens: texts to train a tokenizer on."""
    (text,), _ = render_jinja_template([turns], chat_template=PLAIN_CHAT_TEMPLATE, eos_token="")
    return text


class ChatTemplate:
    """A chat template with the tokenizer whose special tokens it writes.

    Args: text: the Jinja template. tokenizer: the language model's.
    Turns are {"role", "content"} with strings as content here, as `flatten_content` makes them.
    """

    def __init__(self, text: str, tokenizer: Any):
        self.text = text
        self.tokenizer = tokenizer

    @classmethod
    def chosen(cls, templates: str | Mapping[str, str], chosen: str | None, tokenizer: Any) -> ChatTemplate:
        """The template that is meant: Jinja text, the name of one of a processor's templates, or None for the
        default."""
        named = templates if isinstance(templates, Mapping) else {"default": templates}
        name = chosen or "default"
        if name not in named and chosen is None:
            raise ECGError(f"The chat templates are {', '.join(named)}, none is the default; pass chat_template=.")
        return cls(named.get(name, name), tokenizer)

    @property
    def variables(self) -> set[str]:
        """Names that the template reads."""
        return _get_template_variables(self.text)

    @property
    def needs_bos(self) -> bool:
        """Whether the tokenizer is to add a start token: a model's own template writes it, the plain one does not."""
        return is_plain(self.text) and _starts_with_bos(self.tokenizer)

    def render(self, turns: list[dict[str, Any]], **settings: Any) -> str:
        """The text of turns. Raises: ECGError for what the template itself refuses."""
        turns = _as_template_reads(turns, self.text)
        try:
            return self.tokenizer.apply_chat_template(turns, chat_template=self.text, tokenize=False, **settings)
        except (ImportError, ValueError, TypeError):
            raise
        except Exception as error:  # whatever the template raises, such as "System role not supported"
            raise ECGError(
                f"The chat template cannot write a conversation with the roles {[turn['role'] for turn in turns]}: "
                f"{error}. Change the conversation, or pass another chat_template=."
            ) from error

    def render_with_spans(self, turns: list[dict[str, Any]], **variables: Any) -> tuple[str, list[tuple[int, int]]]:
        """The text of turns, and where the assistant's stand in it: (start, end) in characters.

        Raises: ECGError where there are none, or where they cannot be located.
        """
        if all(turn["role"] != "assistant" for turn in turns):
            raise ECGError(
                f"A conversation with the roles {[turn['role'] for turn in turns]} has no assistant's turn to learn; "
                "labels need one."
            )
        render = partial(self.render, **variables)
        text = render(turns, add_generation_prompt=False)
        if _GENERATION_TAG.search(self.text):
            settings = self.tokenizer.special_tokens_map | variables
            _, spans = render_jinja_template(
                [_as_template_reads(turns, self.text)],
                chat_template=self.text,
                return_assistant_tokens_mask=True,
                **settings,
            )
            return text, spans[0]
        special = tuple(token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special)
        return text, _assistant_spans(turns, text, render, special)


def is_plain(template: Any) -> bool:
    """Whether a template is the plain one, today's or that of earlier checkpoints."""
    return isinstance(template, str) and template.removeprefix(_GUARD) in (_PLAIN, *_PLAIN_OF_BEFORE)


def _starts_with_bos(tokenizer: Any) -> bool:
    """Whether a tokenizer adds a start token (and no end token, which would close the prompt)."""
    special = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    return special[0] == 1 and special[-1] == 0


_PROBE = "ecgllm"


@lru_cache(maxsize=32)
def _reads_parts(template: str) -> bool:
    """Whether a chat template writes only parts {"type": "text"}: it loops over them, and would print nothing of a
    string. Raises: ECGError for a template that writes neither.
    """
    written = False
    tokens = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "")
    for content in (_PROBE, [{"type": "text", "text": _PROBE}]):
        try:
            (text,), _ = render_jinja_template(
                [[{"role": "user", "content": content}]], chat_template=template, **tokens
            )
        except ImportError:
            raise
        except Exception:  # whatever a template raises of what it does not take, here or of every short conversation
            continue
        written = True
        if _PROBE in text:
            return not isinstance(content, str)
    if not written:
        return False  # the conversation itself shows what is wrong
    raise ECGError(
        "The chat template writes nothing of what a user says, neither of a string nor of parts "
        '{"type": "text", "text": ...}; pass another chat_template=.'
    )


def _as_template_reads(turns: list[dict[str, Any]], template: str) -> list[dict[str, Any]]:
    if not _reads_parts(template):
        return turns
    return [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]


def _assistant_spans(
    turns: list[dict[str, Any]], text: str, render: Callable[..., str], special_tokens: tuple[str, ...]
) -> list[tuple[int, int]]:
    """Where the assistant's turns stand in the rendered text, end-of-turn token included.

    A turn begins after the generation prompt of the turns before it, and ends where the rendering up to it ends. This
    holds for every template that only appends; any other is refused. Whitespace after the end-of-turn token (ChatML's
    newline) does not belong to the turn, as generation stops before it.
    """
    if turns[0]["role"] == "assistant":
        raise ECGError("The conversation starts with the assistant; labels need a user's turn before.")
    spans = []
    for index, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        before = render(turns[:index], add_generation_prompt=True)
        last = index + 1 == len(turns)
        through = text if last else render(turns[: index + 1], add_generation_prompt=False)
        if not (text.startswith(before) and text.startswith(through) and len(before) < len(through)):
            raise ECGError(
                "In this chat template an earlier turn is written differently once a later one follows, or the "
                f"generation prompt is no part of the assistant's turn, so that turn {index} cannot be located for "
                "labels. For training pass another chat_template=, such as one with {% generation %} around what the "
                "assistant says."
            )
        trimmed = through.rstrip()
        end = len(trimmed) if special_tokens and trimmed.endswith(special_tokens) else len(through)
        spans.append((len(before), end))
    return spans


__all__ = ["PLAIN_CHAT_TEMPLATE", "ChatTemplate", "guarded", "is_plain", "plain_text"]
