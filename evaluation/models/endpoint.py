"""An OpenAI-compatible chat endpoint behind the protocol.

In: an address, a model's name. Out: a `Model`. An ECG goes into the request as a file, a drawn picture or words
(`rewritten_ecgs`), always written anew from its signal. Decided here: temperature 0; several requests at a time; a
busy or broken server is asked again, later each time; the key comes from the environment alone, is never sent
elsewhere (no redirect is followed) and never shown.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from http.client import HTTPException
from math import exp
from threading import Lock
from typing import Any

from ...errors_ecgllm import ECGError, shorten
from ...signals import ECGRecord
from ..protocol import Answer, Asked, ShownECG
from .asked_parts import choice, parts
from .rewritten_ecgs import IN_WORDS, as_csv, as_picture, as_words
from .told_apart import identity_of

KEY = "ECGLLM_API_KEY"
FORMS = ("file", "picture", "words")
_LATER = (408, 409, 425, 429)  # and 5xx
_NOT_THIS_ONE = (400, 413, 422)  # of one question among others that are answered: too long, most often
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_WRITTEN = 64  # ECGs whose form is remembered


class EndpointModel:
    """A model behind a chat endpoint.

    Args:
        address: up to the version, "https://host/v1"; /chat/completions is added. model: its name there.
        ecgs_as: "file" (a CSV as a file part), "picture" (a PNG as an image part) or "words" (text).
        key_from: environment variable of the key; without one no key is sent. at_once: requests at a time.
        attempts: how often a request is tried. timeout_s: for an answer. max_tokens: of an answer. say_choice: name
            the candidates of a closed question behind it. logprobs: ask for the likelihood of the first token, and
            give P(yes) from it where the server says it. more: what else goes into every request; None takes a field
            out. name: whose answers these are.
    Raises: ECGError for an address that is none, and for a key that would go unencrypted to another machine.
    """

    def __init__(
        self,
        address: str,
        model: str,
        ecgs_as: str = "file",
        key_from: str = KEY,
        at_once: int = 4,
        attempts: int = 6,
        timeout_s: float = 120.0,
        max_tokens: int = 256,
        say_choice: bool = True,
        logprobs: bool = False,
        more: Mapping[str, Any] | None = None,
        name: str | None = None,
    ):
        where = urllib.parse.urlsplit(address)
        if where.scheme not in ("http", "https") or not where.hostname or not model:
            raise ECGError(f"found the address {address!r} and model {model!r}; expected https://host/v1 and a name")
        if where.username or where.password or where.query:
            raise ECGError(f"the address names a user or a query; expected it bare, and a key in ${key_from}")
        if ecgs_as not in FORMS:
            raise ECGError(f"ecgs_as is {ecgs_as!r}; expected {', '.join(FORMS)}")
        if at_once < 1 or attempts < 1:
            raise ECGError(f"at_once is {at_once} and attempts {attempts}; expected 1 or more")
        if not timeout_s > 0:
            raise ECGError(f"timeout_s is {timeout_s}; expected seconds, more than 0")
        self._key_from = key_from
        self._key = os.environ.get(key_from, "").strip()
        if self._key and where.scheme == "http" and where.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ECGError(f"{address} is not encrypted, so that ${key_from} could be read; use https, or unset it")
        self._url = f"{address.rstrip('/')}/chat/completions"
        self.model, self.ecgs_as, self.at_once, self.attempts = model, ecgs_as, at_once, attempts
        self.timeout_s, self.say_choice = timeout_s, say_choice
        self.name = name or f"{where.netloc}#{model}"
        body = {"model": model, "temperature": 0, "max_tokens": max_tokens}
        body |= {"logprobs": True, "top_logprobs": 20} if logprobs else {}
        self._body = {key: value for key, value in (body | dict(more or {})).items() if value is not None}
        self._opener = urllib.request.build_opener(_NoRedirect())
        self._answered = False  # whether it ever was

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """What the endpoint says. Raises: ECGError where it cannot be reached, refuses the key, or says no answer."""
        one_at_a_time = Lock()  # a data set need not be read by several threads

        @lru_cache(maxsize=_WRITTEN)
        def written(shown: ShownECG) -> dict[str, Any]:
            with one_at_a_time:
                record = ecgs[shown]
            return self._part(record)

        order = sorted(range(len(asked)), key=lambda number: asked[number].ecgs)  # each is written once
        answers: list[Answer | None] = [None] * len(asked)
        with ThreadPoolExecutor(self.at_once) as pool:
            try:
                found = {number: pool.submit(self._ask, asked[number], written) for number in order}
                for number, future in found.items():
                    answers[number] = future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return answers

    @property
    def remark(self) -> str | None:
        """What a report has to say of its answers."""
        return IN_WORDS if self.ecgs_as == "words" else None

    @property
    def identity(self) -> str:
        """Tells its answers from those under other settings; not from those of other weights behind the address."""
        return identity_of([self._url, self._body, self.ecgs_as, self.say_choice])

    def _ask(self, asked: Asked, written: Any) -> Answer:
        content = [part if part["type"] == "text" else written(part["ecg"]) for part in parts(asked)]
        if self.say_choice and (words := choice(asked)):
            content.append({"type": "text", "text": f"\n{words}"})
        if all(part["type"] == "text" for part in content):  # some servers take nothing but a text here
            content = "".join(part["text"] for part in content)
        body = self._body | {"messages": [{"role": "user", "content": content}]}
        found = self._post(json.dumps(body).encode())
        return found if isinstance(found, Answer) else self._read(found)

    def _part(self, record: ECGRecord) -> dict[str, Any]:
        """A record as a part of a message."""
        if self.ecgs_as == "words":
            return {"type": "text", "text": as_words(record)}
        if self.ecgs_as == "picture":
            return {"type": "image_url", "image_url": {"url": _data("image/png", as_picture(record))}}
        return {"type": "file", "file": {"filename": "ecg.csv", "file_data": _data("text/csv", as_csv(record))}}

    def _post(self, body: bytes) -> Any:
        """What the server answers, as JSON; an `Answer` where it refuses this question alone."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "ecgllm"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        for attempt in range(1, self.attempts + 1):
            wait = None
            try:
                request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
                with self._opener.open(request, timeout=self.timeout_s) as response:
                    text = response.read().decode(errors="replace")
                self._answered = True
                return self._parsed(text)
            except urllib.error.HTTPError as error:
                said = f"HTTP {error.code}: {self._shown(error.read().decode(errors='replace'))}"
                if error.code in _NOT_THIS_ONE and self._answered:
                    return Answer(None, refused=said)
                if error.code not in _LATER and error.code < 500:
                    raise ECGError(f"{self._url} refuses the request, {said}{self._way_out(error.code)}") from None
                wait = error.headers.get("Retry-After")
            except (OSError, HTTPException) as error:  # no connection, or one that broke
                said = self._shown(str(getattr(error, "reason", error)) or type(error).__name__)
            if attempt < self.attempts:
                time.sleep(_wait_s(attempt, wait))
        raise ECGError(f"{self._url} does not answer, {self.attempts} times; the last time: {said}")

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise ECGError(
                f"{self._url} answers with {self._shown(text)!r}; expected JSON. Is it a chat API?"
            ) from None

    def _read(self, found: Any) -> Answer:
        try:
            chosen = found["choices"][0]
            message = chosen["message"]
            text, refused = message.get("content"), message.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ECGError(
                f"{self._url} answers with {self._shown(json.dumps(found))}; expected choices[0].message.content, as "
                "of a chat completion"
            ) from None
        if isinstance(text, list):  # in parts
            text = "".join(part.get("text") or "" for part in text if isinstance(part, Mapping))
        text = text.strip() if isinstance(text, str) and text.strip() else None
        if text is None and not refused:
            refused = f"it gave no text (finish_reason {chosen.get('finish_reason')!r})"
        return Answer(text, _yes_no_scores(chosen), refused=refused or None)

    def _shown(self, text: str) -> str:
        """What a server says as an error may show it: some servers repeat the key."""
        return shorten(text.replace(self._key, "***") if self._key else text, 300)

    def _way_out(self, code: int) -> str:
        if code in (401, 403):
            return f". Set ${self._key_from} to a key that it takes" if not self._key else ". It does not take the key"
        if code in (400, 415, 422):
            return f". If it does not read an ECG as {self.ecgs_as!r}, set ecgs_as to another of {', '.join(FORMS)}"
        if 300 <= code < 400:
            return ". It redirects, which is not followed: the key would go to another place. Name that address"
        return ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _wait_s(attempt: int, asked_for: str | None) -> float:
    """How long until the next attempt: what the server asks for, or twice as long each time, at random."""
    try:
        return min(max(float(asked_for), 0.0), 2 * _LONGEST_WAIT_S)
    except (TypeError, ValueError):
        return min(_FIRST_WAIT_S * 2 ** (attempt - 1), _LONGEST_WAIT_S) * random.uniform(0.75, 1.25)


def _yes_no_scores(chosen: Any) -> dict[str, float] | None:
    """P(yes) and P(no) relative to each other from the likely first tokens, where the server gave both."""
    try:
        likely = chosen["logprobs"]["content"][0]["top_logprobs"]
        shares = [(each["token"].strip().lower(), exp(each["logprob"])) for each in likely]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    yes, no = (sum(share for token, share in shares if token == word) for word in ("yes", "no"))
    return {"yes": yes / (yes + no), "no": no / (yes + no)} if yes and no else None
