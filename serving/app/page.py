"""The page: what is on it, and what happens when somebody does something (`build_app`, `launch_app`).

In: an `Engine`. Out: gradio's blocks. Decided here: one place takes one ECG, or two to compare, and another place
the second one to an ECG that is there; what was recorded first is the first, where both files say when, and a button
swaps them; an uploaded file is deleted as soon as it is read, and what was read with the session; a question and its
answer stay on the page, the newest first; nothing is loaded from the network.
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
from ...errors_ecgllm import ECGError, shorten
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
_WHY = "Show what the last answer rests on"
Shown = list[tuple[str, ServedECG]]  # file name, ECG


def build_app(engine: Engine) -> gr.Blocks:
    """The page; `launch_app` serves it."""
    with gr.Blocks(title="ecgllm", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.HTML(
            f'<h1>ecgllm</h1><p>Ask questions about electrocardiograms. <span class="notice">{NOTICE}</span></p>',
            elem_id="top",
        )
        ecgs, said, last = (gr.State(value, time_to_live=_FORGET_S) for value in ([], [], None))
        with gr.Row(elem_id="drop"):
            files = _place("files", "One ECG, or two to compare (WFDB: .hea and .dat)")
            other = _place("second", "A second ECG to compare with the first", visible=False)
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
                swap = gr.Button("Swap first and second", size="sm", visible=False, elem_id="swap")
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
                why = gr.Button(_WHY, size="sm", interactive=False, elem_id="why")
                why_text = _html("why-text")

        def shows(found: Shown, owner: str) -> list[Any]:
            if len(found) == 1:
                measured = shown.figures(found[0][1])
                listed = _findings(engine, found[0][1], owner)
            else:
                measured = shown.differences(found[0][1], found[1][1])
                listed = shown.hint("Findings are listed of one ECG alone; ask about both.")
            state = json.dumps(drawn(_titled(found)))
            return [found, [], None, state, measured, listed, "", _why(None, found), "", *ready(found), ""]

        def ready(found: Shown) -> list[Any]:
            """Both places are free for the next files."""
            return [None, gr.update(value=None, visible=bool(found)), gr.update(visible=len(found) == 2)]

        def read(paths: Sequence[str] | None, before: Shown, request: gr.Request) -> list[Any]:
            return came(paths, [], before, request.session_hash or "")

        def add(paths: Sequence[str] | None, before: Shown, request: gr.Request) -> list[Any]:
            return came(paths, before[:1], before, request.session_hash or "")

        def came(paths: Sequence[str] | None, kept: Shown, before: Shown, owner: str) -> list[Any]:
            """What is shown of the files beside what is kept; where they cannot be read, what was there stays."""
            try:
                if not paths:
                    raise ECGError("No file came; drop it again.")
                return shows(_in_order([*kept, *_read(engine, paths, owner, most=2 - len(kept))]), owner)
            except (ECGError, ValueError, OSError) as error:
                still = " What was there before is shown below." if before else ""
                return [*[gr.update()] * 9, *ready(before), shown.message(f"{error}{still}")]

        def swapped(found: Shown, request: gr.Request) -> list[Any]:
            return shows(found[::-1], request.session_hash or "")

        outputs = [ecgs, said, last, canvas, figures, findings, answers, why, why_text, files, other, swap, problem]
        for event in (
            files.upload(read, [files, ecgs], outputs, show_progress="minimal"),
            other.upload(add, [other, ecgs], outputs, show_progress="minimal"),
            swap.click(swapped, ecgs, outputs, show_progress="minimal"),
        ):
            event.then(_suggested, ecgs, suggested, show_progress="hidden")

        def ask(text: str, found: Shown, before: list[str], marked: str, request: gr.Request) -> list[Any]:
            """With the marks of an earlier answer gone: they are of that one alone."""
            plain = json.dumps(drawn(_titled(found))) if marked else gr.update()
            if not found:
                return [before, None, shown.message("Drop an ECG first."), _why(None, found), "", plain, text]
            if not (text or "").strip():
                return [before, None, "".join(before), _why(None, found), "", plain, text]
            asking = engine.asking(_SECONDS, request.session_hash or "")
            try:
                answer = asking.answer([one for _, one in found], text.strip())
                card = shown.answer(text.strip(), answer)
            except (ECGError, ValueError) as error:
                wrong = shown.message(str(error)) + "".join(before)
                return [before, None, wrong, _why(None, found), "", plain, text]
            asked = None if answer["own"] is None or len(found) > 1 else (text.strip(), answer["own"]["answer"])
            now = [card, *before]
            return [now, asked, "".join(now), _why(asked, found), "", plain, ""]

        told = [said, last, answers, why, why_text, canvas, question]
        question.submit(ask, [question, ecgs, said, why_text], told, show_progress="minimal")
        for button in suggested:
            button.click(ask, [button, ecgs, said, why_text], told, show_progress="minimal")

        def rests_on(asked: tuple[str, str] | None, found: Shown, request: gr.Request) -> list[Any]:
            if asked is None or len(found) != 1:
                return [gr.update(), ""]
            text, answer = asked
            asking = engine.asking(_SECONDS, request.session_hash or "")
            try:
                why = asking.call(lambda pipe: explain(pipe, found[0][1].record, text, answer))
            except (ECGError, ValueError) as error:
                return [gr.update(), shown.message(str(error))]
            return [json.dumps(drawn(_titled(found), why.shown())), shown.explanation(text, why)]

        why.click(rests_on, [last, ecgs], [canvas, why_text], show_progress="minimal")
    return page


def _why(asked: tuple[str, str] | None, found: Shown) -> Any:
    """The button, and of two ECGs why there is nothing to press."""
    of_two = len(found) > 1
    return gr.update(
        interactive=asked is not None, value="What an answer rests on is shown of one ECG" if of_two else _WHY
    )


def _place(elem_id: str, label: str, visible: bool = True) -> gr.File:
    """Where files are dropped."""
    return gr.File(file_count="multiple", label=label, height=130, min_width=340, elem_id=elem_id, visible=visible)


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


def _read(engine: Engine, paths: Sequence[str], owner: str, most: int = 2) -> Shown:
    """The ECGs in uploaded files, which are gone then. Raises: ECGError for more than two."""
    files = []
    try:
        for path in map(Path, paths):
            files.append((path.name, path.read_bytes()))
    finally:
        for path in map(Path, paths):
            path.unlink(missing_ok=True)
    each = ecgs_of(files)
    if len(each) > most:
        raise ECGError(f"Found {len(each)} ECGs; expected one{', or two to compare' if most == 2 else ''}.")
    asking = engine.asking(_SECONDS, owner)
    return [(next(iter(own)), asking.read(own)) for own in each]


def _in_order(found: Shown) -> Shown:
    """What was recorded first comes first, where both files say when."""
    if len(found) < 2:
        return found
    one, two = (each.record.recorded_at for _, each in found)
    return found[::-1] if one is not None and two is not None and two < one else found


def _titled(found: Shown) -> Shown:
    """What stands above each ECG: its place, its file and its day."""
    titles, places = [], ("ECG",) if len(found) == 1 else ("First ECG", "Second ECG")
    for place, (name, ecg) in zip(places, found, strict=True):
        day = ecg.record.recorded_at
        titles.append(f"{place}: {shorten(name, 40)}" + ("" if day is None else f", {day:%Y-%m-%d}"))
    return [(title, ecg) for title, (_, ecg) in zip(titles, found, strict=True)]


def _findings(engine: Engine, ecg: ServedECG, owner: str) -> str:
    asking = engine.asking(_SECONDS, owner)
    calibration = engine.processor.calibration
    fitted_on = None if calibration is None else re.sub(r"\s*\(\w+\)$", "", calibration.fitted_on)
    return shown.findings(asking.call(lambda pipe: ask_findings(pipe, ecg.record)), fitted_on, ecg.measurements)


def _suggested(found: Shown) -> list[Any]:
    given = _TWO if len(found) == 2 else _ONE
    return [gr.update(value=text) for text in [*given, *_ONE[len(given) :]]]


__all__ = ["build_app", "launch_app"]
