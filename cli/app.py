"""`app`: a page in the browser."""

from __future__ import annotations

import os
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ..errors_ecgllm import ECGError
from .ask import Model, quiet
from .options import LanguageModel, OtherLanguageModel, TrustRemoteCode
from .serve import KEYS, keys_of, only_this_machine


def app(
    model: Model = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="By default a free one from 7860 on.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help=f"File with passwords, a line each, asked for with the name ecgllm; or {KEYS}.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    trust_remote_code: TrustRemoteCode = False,
    language_model: LanguageModel = None,
    allow_other_language_model: OtherLanguageModel = False,
) -> None:
    """Open a page: drop an ECG, see it on paper with calipers, what is measured and found, ask, compare two.

    Needs the extra `app`. An uploaded file is deleted as soon as it is read; nothing leaves this machine.
    """
    keys = keys_of(key_file)
    if not keys and not only_this_machine(host):
        raise ECGError(f"--host is {host}, which others can reach, without a key; give --key-file, or set {KEYS}")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    try:
        from ..serving.app.page import build_app, launch_app
    except ModuleNotFoundError as error:
        raise ECGError(f'app needs {error.name}; pip install "ecgllm[app]"') from error
    from ..serving import Engine
    from ..shipped import shipped_checkpoint

    with ExitStack() as held, quiet():
        # A folder of its own for uploads, which goes with this process.
        os.environ.setdefault("GRADIO_TEMP_DIR", held.enter_context(TemporaryDirectory(prefix="ecgllm-app-")))
        engine = Engine(
            str(shipped_checkpoint()) if model is None else model,
            trust_remote_code=trust_remote_code,
            language_model=language_model,
            allow_other_language_model=allow_other_language_model,
        )
        held.callback(engine.close)
        page = build_app(engine)
        _, url, _ = launch_app(page, host, port, keys, prevent_thread_lock=True)
        typer.echo(f"ecgllm shows {Path(engine.name).name} at {url} (Ctrl+C ends it)", err=True)
        if open_browser and only_this_machine(host):
            webbrowser.open(url)
        page.block_thread()
