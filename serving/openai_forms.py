"""What clients of OpenAI's API send (https://platform.openai.com/docs/api-reference), as far as it is known here.

In: the JSON of a request. Out: `ChatRequest`, `EmbeddingsRequest`, and of a chat its turns and the files of its ECGs
(`Chat`). Decided here: an ECG is a `file` part with its bytes; files that share their name up to the suffix, one of
them a WFDB header, are one ECG; what would be ignored is refused by name, and so is what this server cannot do.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..errors_ecgllm import ECGError, shorten
from .ecg_files import ECGFiles, ecgs_of

_DATA_URL = re.compile(r"^data:[^,]{0,200}?;base64,")
MOST_ECGS, MOST_EMBEDDED = 16, 256
"""Of a chat, and of one request for embeddings."""


class RequestError(ECGError):
    """A request that cannot be answered as it is.

    parameter: which of its fields. code: a word for programs. status: of HTTP.
    """

    def __init__(self, message: str, parameter: str | None = None, code: str = "invalid_value", status: int = 400):
        super().__init__(message)
        self.parameter, self.code, self.status = parameter, code, status


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _can_be_said(text: str) -> str:
    """Half of a surrogate pair is no character, and no tokenizer takes it. Raises: ECGError."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ECGError(f"character {error.start} is half of a surrogate pair; expected text") from None
    return text


Words = Annotated[str, AfterValidator(_can_be_said)]


class FileContent(_Form):
    """filename: decides nothing but which files of a WFDB record belong together. file_data: base64, or a data URL."""

    file_data: str
    filename: str = Field("ecg", min_length=1, max_length=255)


class TextPart(_Form):
    type: Literal["text"]
    text: Words


class FilePart(_Form):
    type: Literal["file"]
    file: FileContent


class Message(_Form):
    role: Literal["system", "developer", "user", "assistant"]
    content: Words | list[Annotated[TextPart | FilePart, Field(discriminator="type")]]
    name: str | None = None


class StreamOptions(_Form):
    include_usage: bool = False
    include_obfuscation: bool = False


class _Request(_Form):
    model: str
    user: Any = None
    metadata: Any = None
    store: Any = None
    seed: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None


class Reading(_Form):
    """Of files that do not say it themselves, as `read_ecg` takes it: Hz, mV or uV, names of leads, a format."""

    sampling_rate: float | None = Field(None, gt=0)
    unit: Literal["mV", "uV"] | None = None
    leads: list[str] | None = None
    format: str | None = None
    allow_truncated: bool = False
    verify_checksum: bool = True


_OF_READING = re.compile(rf"\b({'|'.join(Reading.model_fields)})=")


def as_in_a_request(text: str) -> str:
    """The message of a reader, which names the arguments of Python and the command line, with where they go here."""
    named = ", ".join(f'"{name}": ...' for name in dict.fromkeys(_OF_READING.findall(text)))
    return f'{text} In a request, beside its messages: "reading": {{{named}}}.' if named else text


class ChatRequest(_Request):
    """OpenAI's, and of our own: candidates, answers to choose from; prevalence, of the finding that is asked about;
    check_questions, false to ask the model what no ECG answers; reading, of all its files."""

    messages: list[Message] = Field(min_length=1, max_length=64)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=4096)
    max_completion_tokens: int | None = Field(None, ge=1, le=4096)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    n: int | None = Field(None, ge=1, le=1)
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    candidates: list[Words] | None = Field(None, min_length=1, max_length=256)
    prevalence: float | None = Field(None, gt=0, lt=1)
    check_questions: bool = True
    reading: Reading = Field(default_factory=Reading)

    def check(self) -> None:
        """Raises: RequestError for what would change an answer elsewhere, and does not here."""
        neutral = {"temperature": (0, 1), "top_p": (1,), "presence_penalty": (0,), "frequency_penalty": (0,)}
        for name, values in neutral.items():
            if (given := getattr(self, name)) is not None and given not in values:
                raise RequestError(
                    f"{name} is {given:g}, and answers are the likeliest ones here, never drawn; leave it out.", name
                )
        if self.top_logprobs and not self.logprobs:
            raise RequestError("top_logprobs goes with logprobs: true; set it, or leave both out.", "top_logprobs")
        if self.candidates is not None and (
            len(set(self.candidates)) < len(self.candidates) or not all(one.strip() for one in self.candidates)
        ):
            raise RequestError(
                f"candidates are {shorten(repr(self.candidates))}; expected different answers.", "candidates"
            )

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class EmbeddingsRequest(_Request):
    """input: an ECG, or several: each base64 or a data URL of one file, or a file part as in a chat."""

    input: str | FilePart | list[str | FilePart]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    reading: Reading = Field(default_factory=Reading)


@dataclass(frozen=True)
class Chat:
    """turns: (role, words, how many ECGs it brings). ecgs: the files of each, in order."""

    turns: Sequence[tuple[str, str, int]]
    ecgs: Sequence[ECGFiles]

    @property
    def question(self) -> str | None:
        """The words of a chat that is one question; None of several turns, whose answer hangs on all of them."""
        return self.turns[0][1] if len(self.turns) == 1 else None


def chat_of(request: ChatRequest) -> Chat:
    """Raises: RequestError for turns that no model was asked in, and for files that are no base64."""
    turns, ecgs = [], []
    for number, message in enumerate(request.messages):
        where = f"messages[{number}]"
        parts = [TextPart(type="text", text=message.content)] if isinstance(message.content, str) else message.content
        words = "\n".join(part.text for part in parts if isinstance(part, TextPart)).strip()
        own = _ecgs_of([part.file for part in parts if isinstance(part, FilePart)], where)
        role = "system" if message.role == "developer" else message.role
        if own and role != "user":
            raise RequestError(f"{where} of the {role} brings an ECG; expected them in turns of the user.", where)
        if not words:
            raise RequestError(f"{where} has no words; expected a question beside its ECGs.", where)
        turns.append((role, words, len(own)))
        ecgs += own
    if turns[-1][0] != "user":
        raise RequestError("The last message is not the user's; expected the question there.", "messages")
    if not ecgs:  # the model would answer all the same, and a client that lost its file would believe it
        raise RequestError(
            'There is no ECG in this chat; expected one as a content part {"type": "file", ...} of the user.',
            "messages",
            "no_ecg",
        )
    if len(ecgs) > MOST_ECGS:
        raise RequestError(f"Found {len(ecgs)} ECGs; expected {MOST_ECGS} at most.", "messages")
    return Chat(turns, ecgs)


def input_of(request: EmbeddingsRequest) -> list[ECGFiles]:
    """The files of each ECG. Raises: RequestError."""
    if request.dimensions is not None:
        raise RequestError("dimensions cannot be chosen here; leave it out.", "dimensions")
    given = request.input if isinstance(request.input, list) else [request.input]
    if not 1 <= len(given) <= MOST_EMBEDDED:
        raise RequestError(f"input holds {len(given)} ECGs; expected 1 to {MOST_EMBEDDED}.", "input")
    found = []
    for number, one in enumerate(given):
        file = one.file if isinstance(one, FilePart) else FileContent(file_data=one)
        found.append({file.filename: _bytes_of(file, f"input[{number}]")})
    return found


def _ecgs_of(files: Sequence[FileContent], where: str) -> list[ECGFiles]:
    try:
        return ecgs_of([(file.filename, _bytes_of(file, where)) for file in files])
    except RequestError:
        raise
    except ECGError as error:
        raise RequestError(f"{where}: {error}", where) from error


def _bytes_of(file: FileContent, where: str) -> bytes:
    text = _DATA_URL.sub("", file.file_data, count=1)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"{where}: the file's data are no base64 ({error}); expected file_data as base64, or as "
            '"data:application/octet-stream;base64,...".',
            where,
        ) from None
    if not data:
        raise RequestError(f"{where}: the file {shorten(repr(file.filename))} is empty.", where)
    return data


__all__ = [
    "Chat",
    "ChatRequest",
    "ECGFiles",
    "EmbeddingsRequest",
    "RequestError",
    "as_in_a_request",
    "chat_of",
    "input_of",
]
