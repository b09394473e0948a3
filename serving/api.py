"""OpenAI's protocol in front of an engine: /v1/chat/completions, /v1/embeddings, /v1/models; /health and /metrics.

In: an `Engine` and `Limits`. Out: a FastAPI application. Decided here: the content of an answer is the answer alone
("yes", a list, "cannot tell"), so that a program can read it, and how sure it is, what was measured and what is
doubtful stand beside it under "ecgllm"; an answer that is streamed is the one that is not: what the model writes is
held back as long as it may be a yes or a no, which are compared; an error says what is wrong with the request, and no
more than that of anything else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.exceptions import HTTPException

from .. import __version__
from ..asking import NOTICE, without_the_model
from ..conversation_ecgllm import ecg_prompt
from ..errors_ecgllm import ECGError
from ..two_ecgs import doubts_about_two
from .batching import Busy, Closed
from .engine import Asking, Engine, GivenUp, ServedECG, TooLate
from .gate import Gate, Limits, error_of
from .openai_forms import (
    Chat,
    ChatRequest,
    EmbeddingsRequest,
    RequestError,
    as_in_a_request,
    chat_of,
    input_of,
)

log = logging.getLogger("ecgllm.serving")
_THREADS = 64  # that read ECGs and wait for the model
_FORGET_EVERY_S = 30.0
_CANNOT_TELL = "cannot tell"
_Result = TypeVar("_Result")


def create_app(engine: Engine, limits: Limits | None = None) -> FastAPI:
    """The application; it closes the engine when it ends."""
    limits = Limits() if limits is None else limits
    served = _Served(engine, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(served.forget())
        yield
        forgetting.cancel()
        await run_sync(engine.close)

    app = FastAPI(title="ecgllm", version=__version__, description=NOTICE, lifespan=lifespan)
    registry = CollectorRegistry()
    for name, about, value in (
        ("ecgllm_waiting", "Jobs that wait for the model.", lambda: engine.batcher.waiting),
        ("ecgllm_jobs", "Jobs that the model has done.", lambda: engine.batcher.jobs),
        ("ecgllm_batches", "Batches in which it did them.", lambda: engine.batcher.batches),
        ("ecgllm_kept_ecgs", "ECGs that are kept.", lambda: len(engine.kept)),
        ("ecgllm_kept_bytes", "Their size.", lambda: engine.kept.size),
    ):
        Gauge(name, about, registry=registry).set_function(value)
    app.add_middleware(Gate, limits=limits, registry=registry)
    _answer_errors(app)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": served.name, "version": __version__, "notice": NOTICE}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [served.model()]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        served.check_model(name)
        return served.model()

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(form: ChatRequest, http: Request) -> JSONResponse | StreamingResponse:
        served.check_model(form.model)
        form.check()
        asked = chat_of(form)
        http.state.ecgs = len(asked.ecgs)
        asking = served.asking(http)
        if form.stream:
            # Before the answer begins, so that what cannot be read is an error of the request; they are kept for it.
            await served.until_gone(http, asking, lambda: [served.read(asking, ecg, form) for ecg in asked.ecgs])
            return StreamingResponse(served.streamed(http, asking, form, asked), media_type="text/event-stream")
        found = await served.until_gone(http, asking, lambda: served.completion(http, asking, form, asked))
        return JSONResponse(found)

    @app.post("/v1/embeddings")
    async def embeddings(form: EmbeddingsRequest, http: Request) -> JSONResponse:
        served.check_model(form.model)
        ecgs = input_of(form)
        http.state.ecgs = len(ecgs)
        asking = served.asking(http)

        def embed() -> list[Any]:
            vectors = [asking.embed(served.read(asking, files, form)) for files in ecgs]
            if form.encoding_format == "base64":
                return [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
            return [vector.tolist() for vector in vectors]

        vectors = await served.until_gone(http, asking, embed)
        data = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)]
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        return JSONResponse({"object": "list", "model": served.name, "data": data, "usage": usage})

    return app


class _Served:
    """What the routes share."""

    def __init__(self, engine: Engine, limits: Limits):
        self.engine, self.limits = engine, limits
        self.name = Path(engine.name).name or engine.name
        self.created = int(time.time())
        self._threads: anyio.CapacityLimiter | None = None

    async def forget(self) -> None:
        while True:
            await asyncio.sleep(_FORGET_EVERY_S)
            self.engine.kept.forget()

    def model(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "ecgllm", "notice": NOTICE}

    def check_model(self, name: str) -> None:
        if name not in (self.name, "ecgllm"):
            raise RequestError(
                f"There is no model {name[:80]!r} here; expected {self.name!r}, or 'ecgllm'.",
                "model",
                "model_not_found",
                404,
            )

    def asking(self, http: Request) -> Asking:
        return self.engine.asking(http.state.until - time.monotonic(), http.state.owner)

    async def in_thread(self, work: Callable[[], _Result]) -> _Result:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)
        return await run_sync(work, abandon_on_cancel=True, limiter=self._threads)

    async def until_gone(self, http: Request, asking: Asking, work: Callable[[], _Result]) -> _Result:
        """What work gives; it is given up where the client goes."""
        working = asyncio.ensure_future(self.in_thread(work))
        gone = asyncio.ensure_future(_gone(http))
        try:
            await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                asking.give_up()
            return await working
        finally:
            gone.cancel()

    def read(self, asking: Asking, files: Any, form: ChatRequest | EmbeddingsRequest) -> ServedECG:
        try:
            return asking.read(files, **form.reading.model_dump(exclude_defaults=True))
        except (GivenUp, TooLate, Busy, Closed):
            raise
        except ECGError as error:
            raise RequestError(as_in_a_request(str(error)), "messages", "ecg_not_readable") from error

    def _asked(
        self, asking: Asking, form: ChatRequest, chat: Chat, on_text: Callable[[str], None] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """(Content of the answer, all that is said beside it)."""
        ecgs = [self.read(asking, files, form) for files in chat.ecgs]
        shared = {"candidates": form.candidates, "max_new_tokens": form.most_tokens, "on_text": on_text}
        if chat.question is not None:
            found = asking.answer(
                ecgs, chat.question, prevalence=form.prevalence, check=form.check_questions, **shared
            )
        else:
            found = _of_conversation(self._said(asking, form, chat, ecgs, shared))
        beside = found | {
            "ecgs": [
                {"measurements": one.measurements.to_dict(), "notes": one.notes, "doubts": one.doubts} for one in ecgs
            ],
            "doubts_about_two": doubts_about_two([one.record for one in ecgs], [one.patient for one in ecgs]),
            "notice": NOTICE,
        }
        return _content(found), beside

    def _said(
        self, asking: Asking, form: ChatRequest, chat: Chat, ecgs: list[ServedECG], shared: dict[str, Any]
    ) -> dict[str, Any]:
        """To several turns the model's own, unless the last one asks for what is measured, or what no ECG answers."""
        last, measured = chat.turns[-1][1].strip(), [ecg.measurements for ecg in ecgs]
        first = sum(role == "user" for role, *_ in chat.turns) == 1
        if form.candidates is None and (found := without_the_model(last, measured, form.check_questions, first)):
            return found
        return asking.converse(_conversation(chat), ecgs, **shared)

    def completion(self, http: Request, asking: Asking, form: ChatRequest, chat: Chat) -> dict[str, Any]:
        content, beside = self._asked(asking, form, chat)
        message = {"role": "assistant", "content": content, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "length" if asking.cut else "stop"}
        choice["logprobs"] = self._logprobs(asking, form, content, beside)
        return self._head(http, "chat.completion") | {"choices": [choice], "usage": _usage(asking), "ecgllm": beside}

    def _head(self, http: Request, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{http.state.id}",
            "object": kind,
            "created": int(time.time()),
            "model": self.name,
        }

    def _logprobs(
        self, asking: Asking, form: ChatRequest, content: str, beside: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Of the tokens of an answer that is the model's; None of others, and where nobody asked for it."""
        if not form.logprobs or beside["answer"] is None or beside["measured"] is not None:
            return None
        tokens = asking.token_scores(content, form.top_logprobs or 1)
        entries = [
            _entry(one["token"], one["logprob"])
            | {"top_logprobs": [_entry(top["token"], top["logprob"]) for top in one["top"][: form.top_logprobs or 0]]}
            for one in tokens
            if not one["special"]
        ]
        return {"content": entries, "refusal": None}

    async def streamed(self, http: Request, asking: Asking, form: ChatRequest, chat: Chat) -> AsyncIterator[str]:
        """Server-sent events, the last of which is [DONE]."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue()

        def put(piece: str | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def work() -> tuple[str, dict[str, Any], dict[str, Any] | None]:
            try:
                content, beside = self._asked(asking, form, chat, put)
                return content, beside, self._logprobs(asking, form, content, beside)
            finally:
                put(None)

        head = self._head(http, "chat.completion.chunk")
        working = asyncio.ensure_future(self.in_thread(work))
        try:
            yield _event(head | {"choices": [_delta({"role": "assistant", "content": ""})]})
            written = shown = ""
            while (piece := await pieces.get()) is not None:
                written += piece
                if not self._may_be_compared(written):
                    yield _event(head | {"choices": [_delta({"content": written[len(shown) :]})]})
                    shown = written
            try:
                content, beside, logprobs = await working
            except Exception as error:
                yield _event(error_of(_as_request_error(error)))
                return
            if rest := content[len(shown) :] if content.startswith(shown) else "":
                yield _event(head | {"choices": [_delta({"content": rest}, logprobs=logprobs)]})
            finish = "length" if asking.cut else "stop"
            yield _event(head | {"choices": [_delta({}, finish)], "ecgllm": beside})
            if form.stream_options is not None and form.stream_options.include_usage:
                yield _event(head | {"choices": [], "usage": _usage(asking)})
            yield "data: [DONE]\n\n"
        finally:
            asking.give_up()

    def _may_be_compared(self, text: str) -> bool:
        """Whether what is written so far may end as an answer that another takes the place of."""
        refusal = self.engine.processor.refusal
        ends = ("yes", "no", *(() if refusal is None else (refusal,)))
        return any(end.startswith(text.strip().lower()) for end in ends)


def _conversation(chat: Chat) -> list[dict[str, Any]]:
    """Turns as a model was trained to see them: its ECGs before the words of a turn."""
    return [
        {"role": role, "content": ecg_prompt(words, count) if role == "user" else words}
        for role, words, count in chat.turns
    ]


def _of_conversation(found: dict[str, Any]) -> dict[str, Any]:
    """As `answer_question` gives it: of several turns there is nothing but the model's own answer."""
    if "generated_text" not in found:
        return found
    own = {"answer": found["generated_text"], "probability": found["probability"]}
    nothing = dict.fromkeys(("calibrated", "measured", "not_measured", "refused", "generated", "unsure"))
    given = {"own": own, "candidates": found.get("candidates"), "refusal": found.get("refusal")}
    return own | given | nothing | {"contradicted": [], "negated": False}


def _content(found: dict[str, Any]) -> str:
    if (said := found["answer"] or found["not_measured"]) is not None:
        return said
    return _CANNOT_TELL if found["refused"] is None else found["refused"]


def _usage(asking: Asking) -> dict[str, int]:
    prompt, completion = asking.prompt_tokens, asking.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _delta(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _event(values: dict[str, Any]) -> str:
    return f"data: {json.dumps(values, allow_nan=False)}\n\n"


async def _gone(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _as_request_error(error: BaseException) -> RequestError:
    """What a client is told."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, Busy):
        return RequestError(str(error), code="overloaded", status=429)
    if isinstance(error, Closed):
        return RequestError(str(error), code="shutting_down", status=503)
    if isinstance(error, TooLate):
        return RequestError(str(error), code="timeout", status=504)
    if isinstance(error, GivenUp):
        return RequestError(str(error), code="cancelled", status=499)
    if isinstance(error, ECGError | ValueError):
        return RequestError(str(error), "messages")
    log.error("A defect: %s", type(error).__name__, exc_info=error if log.isEnabledFor(logging.DEBUG) else None)
    return RequestError(f"The server failed ({type(error).__name__}).", code="internal_error", status=500)


def _answer_errors(app: FastAPI) -> None:
    """Every error in OpenAI's form."""

    def respond(error: RequestError) -> JSONResponse:
        headers = {"Retry-After": "5"} if error.status in (429, 503) else None
        return JSONResponse(error_of(error), error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        # Of what fits none of several forms that of the form which it fits furthest.
        worst = max(error.errors(), key=lambda one: len(one["loc"]))
        no_json = worst["type"] == "json_invalid"
        place = None if no_json else ".".join(str(step) for step in worst["loc"][1:]) or None
        what = "The request is no JSON" if no_json else f"{place or 'The request'}"
        return respond(RequestError(f"{what}: {worst['msg']}.", place, worst["type"]))

    @app.exception_handler(HTTPException)
    async def refused(http: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, RequestError):  # which came up while the body was read
            return respond(error.__cause__)
        text = f"{http.method} {http.url.path}: {error.detail}."
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        return respond(RequestError(text, code=code, status=error.status_code))

    for kind in (ECGError, ValueError, Exception):
        app.add_exception_handler(kind, lambda _, error: respond(_as_request_error(error)))


__all__ = ["create_app"]
