"""The page as a file, and as a browser shows it: Chromium of the system, by playwright."""

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from ecgllm.errors_ecgllm import ECGError, MissingExtraError
from ecgllm.evaluation.figures import Chart, SectionFigures, Series
from ecgllm.evaluation.report import Example, check_drawing, drawn_ecgs, write_report
from ecgllm.evaluation.report.charts import description, svgs
from ecgllm.signals import ECGRecord

from .figures_of_a_report import MARKUP, about, reliance, sections, undefined

_PATIENCE = 120_000  # ms: a busy machine is no failure
FIELDS = [field.name for field in fields(ECGRecord) if field.name != "signal"]


def record() -> ECGRecord:
    """Somebody's ECG, with all that must not be shown of it."""
    signal = np.sin(np.arange(1000) / 8)[None].repeat(12, 0).astype(np.float32)
    leads = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    return ECGRecord(
        signal, 100.0, leads, id="SECRET-1", patient_id="SECRET-2", recorded_at=datetime(2021, 3, 4),
        report="SECRET-3", age=83.0, sex="female", statements=("SECRET-4",), device="SECRET-5", notes=("SECRET-6",),
        source="ludb",
    )  # fmt: skip


def example() -> Example:
    return Example("Said yes, label no", f"Is there {MARKUP}?", "yes", "no", "rate 72 bpm", record())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, sections(), about(), [example()])
    return folder


def test_three_files_and_nothing_from_elsewhere(report: Path) -> None:
    assert sorted(path.name for path in report.iterdir()) == ["index.html", "metrics.json", "report.md"]
    text = (report / "index.html").read_text()
    addresses = re.findall(r'(?:src|href|srcset|action|data)\s*=\s*"([^"]*)"', text) + re.findall(
        r"url\(([^)]*)\)", text
    )
    assert addresses and all(address.startswith(("#", "data:")) for address in addresses)
    assert "@import" not in text and "<script>window.hurt" not in text
    assert "&lt;script&gt;window.hurt" in text


def test_who_a_record_is_of_stands_nowhere(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in report.iterdir():
        assert "SECRET" not in path.read_text() and "2021-03" not in path.read_text()
    for name in ("report.md", "metrics.json"):
        assert "Said yes" not in (report / name).read_text()
    drawn: list[ECGRecord] = []
    monkeypatch.setattr(drawn_ecgs, "plot_ecg", lambda one, compare: drawn.extend([one, compare]) or Figure())
    assert drawn_ecgs.picture(replace(example(), second=record())).startswith("data:image/png;base64,")
    nobody = ECGRecord(record().signal, 100.0, record().leads, source="ludb")
    for one in drawn:
        assert [getattr(one, name) for name in FIELDS] == [getattr(nobody, name) for name in FIELDS]


def test_ids_are_unique_and_all_that_is_referred_to_is_there(report: Path) -> None:
    text = (report / "index.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert referred and referred <= set(ids)


def test_the_first_rows_are_shown_and_the_others_at_a_click(report: Path) -> None:
    table = (report / "index.html").read_text().split("<h3>AUROC of P(yes), a finding</h3>")[1].split("</div>")[0]
    before, _, folded = table.partition("<details>")
    assert (before.count("<tr>"), folded.count("<tr>")) == (1 + 8, 1 + 52)
    assert "The other 52 of 60 rows" in folded


def test_a_chart_says_what_it_shows_and_is_the_same_each_time() -> None:
    chart = reliance().charts[0]
    (drawn,) = svgs(chart, "c")
    assert svgs(chart, "c") == [drawn]
    assert 'role="img"' in drawn and "the true ECG: 73.7 % [67.8, 78.8]" in drawn and "Guessing gives 50 %." in drawn
    assert "<text" in drawn and "font-family" not in drawn and "<metadata" not in drawn


def test_a_chart_of_figures_that_cannot_be_computed_is_drawn() -> None:
    for kind in ("dots", "lines", "reliability"):
        chart = Chart(MARKUP, kind, [Series("<model>", [0.1, 0.2], [undefined(), undefined(0.5)])], "&", "right")
        (drawn,) = svgs(chart, "c")
        assert "<script>" not in drawn and "0.1: –; 0.2: 50.0 % [–]" in description(chart)


@pytest.mark.parametrize(
    ("chart", "words"),
    [
        (Chart("T", "pie", [Series("", [1], [1.0])]), "'T' is of kind 'pie'; expected dots, lines, reliability"),
        (Chart("T", "dots", [Series("", [], [])]), "'T' has nothing to show"),
        (Chart("T", "dots", [Series("s", [1, 2], [1.0])]), "'s': 2 x and 1 values"),
    ],
)
def test_a_chart_that_is_none_is_refused_before_anything_is_written(chart: Chart, words: str, tmp_path: Path) -> None:
    with pytest.raises(ECGError, match=re.escape(words)):
        write_report(tmp_path, [SectionFigures("s", "S", charts=[chart])], about(picture=None))
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_drawing()
    monkeypatch.delitem(sys.modules, "ecgllm.evaluation.report.charts")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'ecgllm[evaluate]'")):
        check_drawing()
    monkeypatch.undo()
    importlib.import_module("ecgllm.evaluation.report.charts")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (pip install playwright)"
    )
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=_PATIENCE)
        context = opened.new_context()
        context.set_default_timeout(_PATIENCE)
        yield context
        opened.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it(report: Path, browser: Any, width: int) -> None:
    page = browser.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.extend([request.url] * request.url.startswith("http")))
    page.goto((report / "index.html").as_uri())
    assert not page.evaluate("[...document.images].filter(each => !each.complete || !each.naturalWidth).length")
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Words of a chart stay inside it, those of a cell beside their neighbour and in one piece.
    page.add_style_tag(content="th, td { overflow-wrap: normal }")
    outside = """[...document.querySelectorAll('svg text')].filter(each => {
        const own = each.getBoundingClientRect(), all = each.closest('svg').getBoundingClientRect();
        return own.left < all.left - 2 || own.right > all.right + 2;
    }).map(each => each.textContent)"""
    assert page.evaluate(outside) == []
    over = "[...document.querySelectorAll('th, td')].filter(each => each.scrollWidth > each.clientWidth + 1)"
    assert page.evaluate(f"{over}.map(each => each.textContent)") == []
    assert page.evaluate("window.hurt") is None and complaints == []
    page.close()


def test_paper_has_all_rows(report: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((report / "index.html").as_uri())
    page.emulate_media(media="print")
    last = page.locator("details tr").last
    assert last.is_visible() and not page.locator("summary").first.is_visible()
    assert not page.locator("nav").is_visible()
    page.close()
