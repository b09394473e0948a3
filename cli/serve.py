"""`serve`: a checkpoint behind OpenAI's protocol."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors_ecgllm import ECGError
from .ask import Model, quiet
from .options import LanguageModel, OtherLanguageModel, TrustRemoteCode

KEYS = "ECGLLM_API_KEYS"
_SHORTEST_KEY = 16  # characters


def serve(
    model: Model = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    key_file: Annotated[
        Path | None,
        typer.Option(help=f"File with a key a line, of which a request has to bring one; or set {KEYS}, with commas."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="An answer may take.")] = 60.0,
    max_mib: Annotated[int, typer.Option(min=1, help="A request may have, with all its ECGs.")] = 96,
    at_once: Annotated[int, typer.Option(min=1, help="Requests of one key that are worked on.")] = 64,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Requests of one key; by default any number.")] = None,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that may wait for the model.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests that the model answers together.")] = 32,
    keep_minutes: Annotated[
        float, typer.Option(min=0, help="An ECG stays in memory for its next question, and nowhere else.")
    ] = 15.0,
    trust_remote_code: TrustRemoteCode = False,
    language_model: LanguageModel = None,
    allow_other_language_model: OtherLanguageModel = False,
) -> None:
    """Answer questions about ECGs over HTTP, in the form of OpenAI's API: POST /v1/chat/completions with ECG files.

    Needs the extra `serve`. Files are read into memory and written nowhere, but for a
    WFDB record, which needs a folder for a moment. Logs hold no words and no file names.
    """
    keys = keys_of(key_file)
    if not keys and not only_this_machine(host):
        raise ECGError(f"--host is {host}, which others can reach, without a key; give --key-file, or set {KEYS}")
    try:
        import uvicorn

        from ..serving.api import create_app
        from ..serving.gate import Limits
    except ModuleNotFoundError as error:
        raise ECGError(f'serve needs {error.name}; pip install "ecgllm[serve]"') from error
    from ..serving import Engine
    from ..shipped import shipped_checkpoint

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with quiet():
        engine = Engine(
            str(shipped_checkpoint()) if model is None else model,
            most=batch_size,
            waiting=waiting,
            keep_seconds=60 * keep_minutes,
            max_bytes=max_mib << 20,
            trust_remote_code=trust_remote_code,
            language_model=language_model,
            allow_other_language_model=allow_other_language_model,
        )
    limits = Limits(keys, seconds, max_mib << 20, at_once, per_minute)
    settings = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": round(seconds) + 1}
    server = uvicorn.Server(uvicorn.Config(create_app(engine, limits), host, port, **settings))
    sockets = [server.config.bind_socket()]
    # asyncio does so for sockets that name TCP as their protocol, which uvicorn's do not: without it the body of an
    # answer waits 40 ms for the client to acknowledge its head. Connections inherit it.
    sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"ecgllm serves {Path(engine.name).name} at http://{shown}:{port}/v1", err=True)
    server.run(sockets=sockets)


def keys_of(file: Path | None) -> tuple[str, ...]:
    """Raises: ECGError for a key that is easily guessed, and for a file without one."""
    lines = os.environ.get(KEYS, "").split(",") if file is None else file.read_text(encoding="utf-8").splitlines()
    keys = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if file is not None and not keys:
        raise ECGError(f"{file} holds no key; expected one a line")
    if short := [key for key in keys if len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable()]:
        raise ECGError(
            f"{len(short)} of {len(keys)} keys will not do; expected {_SHORTEST_KEY} or more printable ASCII "
            "characters, such as those of: openssl rand -hex 24"
        )
    return keys


def only_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
