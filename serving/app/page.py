"""The page: what is on it, and what happens when somebody does something (`build_app`, `launch_app`).

In: an `Engine`. Out: gradio's blocks. Decided here: one place takes one ECG, or two to compare; an uploaded file is
deleted as soon as it is read, and what was read with the session; a question and its answer stay on the page, the
newest first; nothing is loaded from the network.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ...asking import NOTICE
from ...errors_ecgllm import ECGError
from ...explanations import explain
from ...finding_overview import ask_findings
from ..ecg_files import ecgs_of
from ..engine import Engine, ServedECG
from . import shown
from .drawn import drawn

_HERE = Path(__file__).parent
_FORGET_S = 3600.0
_SECONDS = 120.0
_ONE = (
    "Which rhythm does the ECG show?",
    "Is this ECG normal?",
    "Does this ECG show atrial fibrillation?",
    "Does this ECG show st elevation?",
    "What is the heart rate?",
    "How long is the QTc interval?",
)
_TWO = (
    "Which findings are new in the second ECG?",
    "Which findings of the first ECG are gone in the second?",
    "Do both ECGs show atrial fibrillation?",
)
Shown = list[tuple[str, ServedECG]]


def build_app(engine: Engine) -> gr.Blocks:
    """The page; `launch_app` serves it."""
    with gr.Blocks(title="ecgllm", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.HTML(
            f'<h1>ecgllm</h1><p>Ask questions about electrocardiograms. <span class="notice">{NOTICE}</span></p>',
            elem_id="top",
        )
        ecgs, said, last = (gr.State(value, time_to_live=_FORGET_S) for value in ([], [], None))
        files = gr.File(
            file_count="multiple",
            label="One ECG, or two to compare (any format; of WFDB the .hea and the .dat)",
            height=130,
            elem_id="files",
        )
        problem = _html("problem")
        canvas = gr.HTML(
            html_template=_text("canvas.html"),
            js_on_load=_text("canvas.js"),
            value="",
            elem_id="canvas",
            apply_default_css=False,
        )
        with gr.Row(equal_height=False, elem_id="below"):
            with gr.Column(scale=1, min_width=340):
                gr.Markdown("## Measured")
                figures = _html("figures")
                gr.Markdown("## Findings by the model")
                findings = _html("findings")
            with gr.Column(scale=1, min_width=340):
                gr.Markdown("## Ask", elem_id="asking")
                question = gr.Textbox(
                    label="Question", placeholder="Is there atrial fibrillation?", lines=1, submit_btn="Ask",
                    elem_id="question", interactive=True,
                )  # fmt: skip
                with gr.Row(elem_id="suggested"):
                    suggested = [gr.Button(text, size="sm", min_width=120) for text in _ONE]
                answers = _html("answers")
                why = gr.Button("Show what the last answer rests on", size="sm", interactive=False, elem_id="why")
                why_text = _html("why-text")

        def read(paths: Sequence[str] | None, request: gr.Request) -> list[Any]:
            blank = [[], [], None, "", "", "", "", gr.update(interactive=False), "", None]
            if not paths:
                return [*blank, ""]
            try:
                found = _read(engine, paths, request.session_hash or "")
                if len(found) == 1:
                    measured = shown.figures(found[0][1])
                    listed = _findings(engine, found[0][1], request.session_hash or "")
                else:
                    measured = shown.differences(found[0][1], found[1][1])
                    listed = shown.hint("Findings are listed of one ECG alone; ask about both.")
            except (ECGError, ValueError, OSError) as error:
                return [*blank, shown.message(str(error))]
            state = json.dumps(drawn(found))
            # The place is free for the next ones.
            return [found, [], None, state, measured, listed, "", gr.update(interactive=False), "", None, ""]

        outputs = [ecgs, said, last, canvas, figures, findings, answers, why, why_text, files, problem]
        reading = files.upload(read, files, outputs, show_progress="minimal")
        reading.then(_suggested, ecgs, suggested, show_progress="hidden")

        def ask(text: str, found: Shown, before: list[str], request: gr.Request) -> list[Any]:
            if not found:
                return [before, None, shown.message("Drop an ECG first."), gr.update(interactive=False), "", text]
            if not (text or "").strip():
                return [before, None, "".join(before), gr.update(interactive=False), "", text]
            asking = engine.asking(_SECONDS, request.session_hash or "")
            try:
                answer = asking.answer([one for _, one in found], text.strip())
                card = shown.answer(text.strip(), answer)
            except (ECGError, ValueError) as error:
                return [
                    before,
                    None,
                    shown.message(str(error)) + "".join(before),
                    gr.update(interactive=False),
                    "",
                    text,
                ]
            explained = len(found) == 1 and answer["own"] is not None
            asked = (text.strip(), answer["own"]["answer"]) if explained else None
            now = [card, *before]
            return [now, asked, "".join(now), gr.update(interactive=explained), "", ""]

        told = [said, last, answers, why, why_text, question]
        question.submit(ask, [question, ecgs, said], told, show_progress="minimal")
        for button in suggested:
            button.click(ask, [button, ecgs, said], told, show_progress="minimal")

        def rests_on(asked: tuple[str, str] | None, found: Shown, request: gr.Request) -> list[Any]:
            if asked is None or len(found) != 1:
                return [gr.update(), ""]
            text, answer = asked
            asking = engine.asking(_SECONDS, request.session_hash or "")
            try:
                why = asking.call(lambda pipe: explain(pipe, found[0][1].record, text, answer))
            except (ECGError, ValueError) as error:
                return [gr.update(), shown.message(str(error))]
            return [json.dumps(drawn(found, why.shown())), shown.explanation(text, why)]

        why.click(rests_on, [last, ecgs], [canvas, why_text], show_progress="minimal")
    return page


def _html(elem_id: str) -> gr.HTML:
    return gr.HTML(css_template=_text("shown.css"), apply_default_css=False, elem_id=elem_id)


def launch_app(page: gr.Blocks, host: str, port: int | None, keys: Sequence[str] = (), **options: Any) -> Any:
    """Serve the page; keys: passwords, one of which is asked for with the name "ecgllm"."""

    def known(name: str, password: str) -> bool:
        right = [hmac.compare_digest(key.encode(), password.encode()) for key in keys]
        return name == "ecgllm" and any(right)

    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    return page.launch(
        server_name=host,
        server_port=port,
        auth=known if keys else None,
        share=False,
        quiet=True,
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme,
        css=_text("page.css"),
        head=f'<style media="print">{_text("print.css")}</style>',
        max_file_size="64mb",
        **options,
    )


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _read(engine: Engine, paths: Sequence[str], owner: str) -> Shown:
    """The ECGs in uploaded files, which are gone then. Raises: ECGError for more than two."""
    files = []
    try:
        for path in map(Path, paths):
            files.append((path.name, path.read_bytes()))
    finally:
        for path in map(Path, paths):
            path.unlink(missing_ok=True)
    each = ecgs_of(files)
    if len(each) > 2:
        raise ECGError(f"Found {len(each)} ECGs; expected one, or two to compare.")
    asking = engine.asking(_SECONDS, owner)
    read = [asking.read(own) for own in each]
    titles = ["ECG"] if len(read) == 1 else ["First ECG", "Second ECG"]
    if len(read) == 2 and (order := _later_first(read)):
        read = [read[place] for place in order]
    return list(zip(titles, read, strict=True))


def _later_first(read: Sequence[ServedECG]) -> tuple[int, int] | None:
    """(1, 0) where the second was recorded before the first, by what the files say."""
    one, two = (each.record.recorded_at for each in read)
    return (1, 0) if one is not None and two is not None and two < one else None


def _findings(engine: Engine, ecg: ServedECG, owner: str) -> str:
    asking = engine.asking(_SECONDS, owner)
    calibration = engine.processor.calibration
    fitted_on = None if calibration is None else re.sub(r"\s*\(\w+\)$", "", calibration.fitted_on)
    return shown.findings(asking.call(lambda pipe: ask_findings(pipe, ecg.record)), fitted_on)


def _suggested(found: Shown) -> list[Any]:
    given = _TWO if len(found) == 2 else _ONE
    return [gr.update(value=text) for text in [*given, *_ONE[len(given) :]]]


__all__ = ["build_app", "launch_app"]
