"""What every request passes before anything reads it (`Gate`), and what is told of it afterwards.

In: an ASGI application. Out: the same behind keys and limits, with a request id on every answer, a line of JSON in the
log, and figures for `/metrics`. Decided here: a key is checked before a byte of the body is read; a body is cut off at
its limit; the log holds no words, no file names and no keys, but the first digits of a key's hash.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from .engine import NOBODY
from .openai_forms import RequestError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger("ecgllm.serving")
_OPEN = ("/health",)
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_ROUTES = ("/v1/chat/completions", "/v1/embeddings", "/v1/models", "/metrics", "/health")


@dataclass(frozen=True)
class Limits:
    """keys: one of which a request has to bring (`Authorization: Bearer KEY`); none: nobody is asked. seconds: for an
    answer. max_body: bytes of a request. at_once: requests of one key that are worked on. per_minute: requests of one
    key; None: no limit."""

    keys: tuple[str, ...] = ()
    seconds: float = 60.0
    max_body: int = 96 << 20
    at_once: int = 64
    per_minute: int | None = None


class Gate:
    def __init__(self, app: Any, limits: Limits, registry: CollectorRegistry):
        self._app, self._limits = app, limits
        self._owners = {key: hashlib.sha256(key.encode()).hexdigest()[:12] for key in limits.keys}
        self._working: dict[str, int] = defaultdict(int)
        self._came: dict[str, deque[float]] = defaultdict(deque)
        self._requests = Counter(
            "ecgllm_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "ecgllm_request_seconds", "Time to the end of an answer.", ["route"], registry=registry
        )

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        asked_id = headers.get("x-request-id", "")
        request_id = asked_id if _ID.fullmatch(asked_id) else uuid.uuid4().hex
        route = scope["path"] if scope["path"] in _ROUTES else "other"
        scope.setdefault("state", {})
        begun = False

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        owner = None
        try:
            try:
                owner = self._admitted(scope["path"], headers)
                scope["state"] |= {"owner": owner, "id": request_id, "until": time.monotonic() + self._limits.seconds}
                await self._app(scope, self._limited(headers, receive), answer)
            except RequestError as error:
                if begun:
                    raise
                await _refuse(answer, error)
        finally:
            if owner is not None and scope["path"] not in _OPEN:
                self._working[owner] -= 1
            taken = time.perf_counter() - started
            self._requests.labels(route, str(status)).inc()
            self._seconds.labels(route).observe(taken)
            line = {"id": request_id, "route": route, "status": status, "ms": round(1000 * taken, 1)}
            log.info(json.dumps(line | {"key": owner or None, "ecgs": scope["state"].get("ecgs")}))

    def _admitted(self, path: str, headers: dict[str, str]) -> str:
        """Whose request it is. Raises: RequestError where it is nobody's, or one too many."""
        if path in _OPEN:
            return NOBODY
        owner = NOBODY
        if self._owners:
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            known = [own for key, own in self._owners.items() if hmac.compare_digest(key.encode(), given.encode())]
            if not known:
                raise RequestError(
                    "No known key came with the request; expected the header Authorization: Bearer KEY.",
                    code="invalid_api_key",
                    status=401,
                )
            (owner,) = known
        limits, now = self._limits, time.monotonic()
        if self._working[owner] >= limits.at_once:
            raise RequestError(
                f"{limits.at_once} requests of this key are worked on already; wait for one of them.",
                code="too_many_requests",
                status=429,
            )
        if limits.per_minute is not None:
            came = self._came[owner]
            while came and came[0] < now - 60:
                came.popleft()
            if len(came) >= limits.per_minute:
                raise RequestError(
                    f"This key may ask {limits.per_minute} times a minute; wait {60 - (now - came[0]):.0f} s.",
                    code="rate_limit_exceeded",
                    status=429,
                )
            came.append(now)
        self._working[owner] += 1
        return owner

    def _limited(self, headers: dict[str, str], receive: Receive) -> Receive:
        """`receive`, which ends where the body is larger than it may be. Raises: RequestError."""
        most, read = self._limits.max_body, 0
        too_large = RequestError(
            f"The request is larger than {most / (1 << 20):g} MiB, the most here; send fewer or shorter ECGs.",
            code="request_too_large",
            status=413,
        )
        stated = headers.get("content-length", "0")
        if stated.isdigit() and int(stated) > most:
            raise too_large

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > most:
                    raise too_large
            return message

        return limited


def error_of(error: RequestError) -> dict[str, Any]:
    """OpenAI's form of an error."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {"error": {"message": str(error), "type": kind, "param": error.parameter, "code": error.code}}


async def _refuse(send: Send, error: RequestError) -> None:
    body = json.dumps(error_of(error)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if error.status == 413 else []  # the rest of its body is not read
    headers += [(b"www-authenticate", b"Bearer")] if error.status == 401 else []
    headers += [(b"retry-after", b"5")] if error.status in (429, 503) else []
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


__all__ = ["Gate", "Limits", "error_of"]
