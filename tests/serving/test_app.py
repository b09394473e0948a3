"""The page: what it says of an ECG, as HTML; and as Chromium shows it, at a desk and on a phone."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgllm.cli import main
from ecgllm.finding_overview import FindingAnswer
from ecgllm.serving import Engine
from ecgllm.serving.app import drawn, shown
from ecgllm.serving.ecg_files import ecgs_of
from ecgllm.signals import ECGRecord
from ecgllm.signals.analysis.measurements import Measurement

_PATIENCE = 120_000  # ms: a busy machine is no failure
SCRIPT = "<script>window.hurt = 1</script>"


@pytest.fixture(scope="module")
def ecg(engine: Engine, csv_files: list[bytes]) -> Any:
    return engine.asking().read({"ecg.csv": csv_files[0]})


def test_what_is_drawn_is_the_signal_and_nothing_of_a_patient(ecg: Any) -> None:
    found = drawn.drawn([("ECG", ecg)], [("II", 1.0, 1.2, 0.5)])
    (one,) = found["ecgs"]
    row = np.frombuffer(base64.b64decode(one["rows"]["V2"]), "<i2")
    record = ecg.record
    assert row / 1000 == pytest.approx(record.signal[record.leads.index("V2")], abs=6e-4)
    assert one["leads"][:3] == ["I", "II", "III"] and one["samples"] == len(row) and one["rate"] == 100
    assert found["marks"] == [{"lead": "II", "start": 1.0, "end": 1.2, "weight": 0.5}] and "beats" not in found
    named = replace(ecg, record=replace(record, id="SECRET-1", patient_id="SECRET-2", report="SECRET-3", age=83.0))
    assert "SECRET" not in json.dumps(drawn.drawn([("ECG", named), ("ECG", ecg)]))


def test_a_fast_record_with_holes_is_thinned_and_keeps_its_holes() -> None:
    signal = np.sin(np.arange(20_000) / 50)[None].repeat(2, 0).astype(np.float32)
    signal[1, 8000:9000] = np.nan
    one = drawn._ecg("ECG", ECGRecord(signal, 2000.0, ("I", "X")))
    rows = {lead: np.frombuffer(base64.b64decode(row), "<i2") for lead, row in one["rows"].items()}
    assert one["rate"] == 500 and len(rows["I"]) == one["samples"] == 5000 and one["leads"] == ["I", "X"]
    assert (rows["X"] == -32768).nonzero()[0].tolist() == list(range(2000, 2250)) and (rows["I"] > -32768).all()


def test_two_ecgs_have_their_beats_and_differences(engine: Engine, csv_files: list[bytes], ecg: Any) -> None:
    other = engine.asking().read({"ecg.csv": csv_files[2]})
    found = drawn.drawn([("First ECG", ecg), ("Second ECG", other)])
    assert all(len(beat["rows"]) == 12 for beat in found["beats"])
    text = shown.differences(ecg, other)
    rates = [each.measurements.heart_rate.value for each in (ecg, other)]
    assert f"{rates[1] - rates[0]:+.0f} bpm" in text and "different patients" not in text
    axes = [replace(each, measurements=replace(each.measurements, axis=replace(each.measurements.axis, value=value)))
            for each, value in ((ecg, 170.0), (other, -170.0))]  # fmt: skip
    assert "+20 °" in shown.differences(*axes)
    people = [replace(each, patient=name) for each, name in ((ecg, "a"), (other, "b"))]
    assert "different patients" in shown.differences(*people)
    louder = replace(ecg, record=replace(ecg.record, signal=1.001 * ecg.record.signal))
    assert "one recording" in shown.differences(ecg, louder) and "one recording" not in shown.differences(ecg, other)
    sexes = [replace(each, record=replace(each.record, sex=sex)) for each, sex in ((ecg, "male"), (other, "female"))]
    assert "one is male, the other female" in shown.differences(*sexes)


def test_the_first_is_what_was_recorded_first_where_files_say_so(engine: Engine, csv_files: list[bytes]) -> None:
    from ecgllm.serving.app.page import _in_order, _titled

    read = [engine.asking().read({"ecg.csv": data}) for data in csv_files[:2]]
    dated = [
        replace(one, record=replace(one.record, recorded_at=datetime(2020 - number, 3, 5)))
        for number, one in enumerate(read)
    ]
    undated = [("a.csv", dated[0]), ("b.csv", read[1])]
    assert _in_order(undated) == undated
    found = _in_order([("a.csv", dated[0]), ("b.csv", dated[1])])
    assert [title for title, _ in _titled(found)] == ["First ECG: b.csv, 2019-03-05", "Second ECG: a.csv, 2020-03-05"]
    assert "Recorded 366 days apart; the first is the earlier one." in shown.differences(*(one for _, one in found))


def test_what_people_and_files_say_is_escaped(ecg: Any) -> None:
    doubtful = replace(ecg, notes=[SCRIPT], doubts=[SCRIPT])
    answered = dict.fromkeys(("calibrated", "own", "refused", "measured", "not_measured", "unsure"))
    answered |= {"answer": SCRIPT, "probability": 0.4, "contradicted": [SCRIPT], "negated": False}
    pages = [shown.figures(doubtful), shown.answer(SCRIPT, answered), shown.message(SCRIPT), shown.hint(SCRIPT)]
    pages.append(shown.findings([FindingAnswer(SCRIPT, 0.9, None)], None, doubtful.measurements))
    pages.append(shown.answer("?", answered | {"refused": SCRIPT}))
    for page in pages:
        assert "<script" not in page and "&lt;script" in page


def test_a_likely_finding_that_is_measured_otherwise_says_so(ecg: Any) -> None:
    slow = replace(ecg.measurements, heart_rate=Measurement(48, 1.0))
    fast = [FindingAnswer("sinus tachycardia", 0.9, None), FindingAnswer("tachycardia", 0.4, None)]
    text = shown.findings(fast, None, slow)
    assert text.count("speaks against it") == 1 and "the model says sinus tachycardia, and heart rate" in text
    assert "speaks against" not in shown.findings(fast, None, replace(slow, heart_rate=Measurement(110, 1.0)))


def test_files_of_one_record_are_one_ecg() -> None:
    given = [("a/x.hea", b"1"), ("x.dat", b"2"), ("y.csv", b"3"), ("C:\\z.xml", b"4")]
    assert ecgs_of(given) == [{"x.hea": b"1", "x.dat": b"2"}, {"y.csv": b"3"}, {"z.xml": b"4"}]
    assert ecgs_of([("x.dat", b"2"), ("x.hea", b"1")]) == [{"x.dat": b"2", "x.hea": b"1"}]


def test_a_missing_extra_and_a_missing_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["app", "--host", "0.0.0.0"])
    assert "without a key" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "ecgllm.serving.app.page", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit):
        main(["app"])
    assert 'pip install "ecgllm[app]"' in capsys.readouterr().err


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Of a running page, and the folder in which it keeps uploads."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("app")
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ecgllm.cli", "app", "--no-browser"], stderr=log, stdout=log, env=environment
        )
    try:
        until = time.monotonic() + 120
        while not (found := re.search(r"at (http://\S+)", (folder / "log").read_text())):
            assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
        yield found[1], folder / "uploads"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=_PATIENCE)
        yield opened
        opened.close()


class Opened:
    """A page, what it asked for elsewhere, and what it complained of."""

    def __init__(self, browser: Any, address: str, width: int):
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(_PATIENCE)
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda one: None if _own(one.url) else self.elsewhere.append(one.url))
        self.page.on("console", lambda one: self.errors.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector(".ecg-view canvas")

    def upload(self, *files: Path) -> None:
        self.page.set_input_files("#files input[type=file]", [str(file) for file in files])

    def ink(self) -> int:
        """Dark pixels of the canvas; before it is painted it is transparent."""
        return self.page.evaluate(
            """() => { const c = document.querySelector(".ecg-view canvas"), d = c.getContext("2d").getImageData(0, 0,
            c.width, c.height).data; let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i] < 90 && d[i + 1] < 90 &&
            d[i + 2] < 90 && d[i + 3] > 0) n++; return n; }"""
        )

    def violet(self) -> int:
        """Pixels of the canvas that are bluer than the paper."""
        return self.page.evaluate(
            """() => { const c = document.querySelector(".ecg-view canvas"), d = c.getContext("2d").getImageData(0, 0,
            c.width, c.height).data; let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i + 2] > d[i] + 12 &&
            d[i + 2] > d[i + 1] + 12 && d[i + 3] > 0) n++; return n; }"""
        )


def _own(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "data:", "blob:", "about:"))


@pytest.mark.parametrize("width", [1280, 400])
def test_an_ecg_is_drawn_measured_asked_and_explained(
    browser: Any, address: tuple[str, Path], width: int, csv_files: list[bytes], tmp_path: Path
) -> None:
    url, uploads = address
    (tmp_path / "ecg.csv").write_bytes(csv_files[1])
    opened = Opened(browser, url, width)
    page = opened.page
    assert "Not a medical device" in page.inner_text("#top") and opened.ink() == 0
    opened.upload(tmp_path / "ecg.csv")
    page.wait_for_selector("#findings tr")
    assert "Rate" in page.inner_text("#figures") and "atrial fibrillation" in page.inner_text("#findings")
    whole = opened.ink()
    assert whole > 500
    # Gone as soon as it was read; gradio leaves empty files.
    assert not any(path.stat().st_size for path in uploads.rglob("*") if path.is_file())
    page.fill("#question textarea, #question input", "Does this ECG show atrial fibrillation?")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answers .answer")
    assert "atrial fibrillation" in page.inner_text("#answers").lower()
    if width == 1280:
        page.click("#why")
        page.wait_for_selector("#why-text .answer")
        assert "random tenth" in page.inner_text("#why-text")
        page.wait_for_timeout(300)
        assert opened.violet() > 0
        page.fill("#question textarea, #question input", "What is the heart rate?")
        page.keyboard.press("Enter")
        page.wait_for_selector("#answers .answer.measured")
        page.wait_for_timeout(300)
        assert page.inner_text("#why-text").strip() == "" and opened.violet() == 0  # of another answer
    canvas = page.locator(".ecg-view canvas")
    canvas.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_timeout(200)
    assert opened.ink() != whole
    page.click('[data-do="calipers"]')
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 120)
    page.mouse.up()
    assert re.fullmatch(r"\d+ ms(, \d+ /min)?, -?\d\.\d\d mV", page.inner_text(".readout"))
    page.emulate_media(media="print")  # 10 s of paper at 25 mm/s, a pulse and margins; and nothing to click
    page.wait_for_function("document.querySelector('.ecg-view canvas').style.width === '270mm'")
    assert abs(canvas.bounding_box()["width"] / 96 * 25.4 - 270) < 1 and page.is_visible("#answers .answer")
    assert not any(page.is_visible(name) for name in ("#files", "#question", "#suggested", "#why", ".ecg-view .tools"))
    page.emulate_media(media="screen")
    page.wait_for_function("document.querySelector('.ecg-view canvas').style.width === ''")
    assert page.is_visible("#files") and canvas.bounding_box()["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width + 1
    assert opened.elsewhere == [] and opened.errors == []
    page.close()


def test_two_ecgs_are_compared_and_a_broken_file_is_named(
    browser: Any, address: tuple[str, Path], csv_files: list[bytes], tmp_path: Path
) -> None:
    def open_with(*files: Path) -> Opened:
        opened = Opened(browser, address[0], 1280)
        opened.upload(*files)
        return opened

    (tmp_path / "broken.xml").write_bytes(b"<AnnotatedECG>")
    files = [tmp_path / f"{number}.csv" for number in range(3)]
    for file, data in zip(files, csv_files, strict=True):
        file.write_bytes(data)
    for wrong, says in (([tmp_path / "broken.xml"], "broken.xml"), (files, "3 ECGs; expected one, or two")):
        opened = open_with(*wrong)
        opened.page.wait_for_selector("#problem .warning")
        assert says in opened.page.inner_text("#problem") and opened.ink() == 0 and opened.errors == []
        opened.page.close()
    opened = open_with(*files[:2])
    page = opened.page
    page.wait_for_selector("#figures table.diff")
    assert "change" in page.inner_text("#figures")
    both = opened.ink()
    page.click('[data-do="beats"]')
    page.wait_for_timeout(300)
    assert 0 < opened.ink() < both
    page.get_by_role("button", name="Which findings are new in the second ECG?").click()
    page.wait_for_selector("#answers .answer")
    assert opened.elsewhere == [] and opened.errors == []
    page.close()


def test_a_second_ecg_is_added_and_both_are_swapped(
    browser: Any, address: tuple[str, Path], csv_files: list[bytes], tmp_path: Path
) -> None:
    files = [tmp_path / f"{name}.csv" for name in ("before", "after")]
    for file, data in zip(files, csv_files, strict=False):
        file.write_bytes(data)
    opened = Opened(browser, address[0], 1280)
    page = opened.page
    titles = lambda: page.get_attribute(".ecg-view canvas", "aria-label")  # noqa: E731
    assert page.locator("#second").count() == page.locator("#swap").count() == 0
    opened.upload(files[0])
    page.wait_for_selector("#figures .fig")
    (tmp_path / "broken.xml").write_bytes(b"<AnnotatedECG>")
    for place in ("#second", "#files"):
        page.set_input_files(f"{place} input[type=file]", [str(tmp_path / "broken.xml")])
        page.wait_for_selector("#problem .warning")
        assert "What was there before" in page.inner_text("#problem")
        assert page.locator("#figures .fig").count() > 0 and opened.ink() > 0  # the first is still there
    assert titles().startswith("ECG on paper: ECG: before.csv, ")
    page.set_input_files("#second input[type=file]", [str(files[1])])
    page.wait_for_selector("#figures table.diff")
    page.wait_for_function("document.querySelector('.ecg-view canvas').ariaLabel.includes('after.csv')")
    assert titles().index("First ECG: before.csv") < titles().index("Second ECG: after.csv")
    assert "do not say" in page.inner_text("#figures")
    cells = page.locator("#figures table.diff tbody tr:first-child td")
    rate = cells.all_inner_texts()
    page.click("#swap")
    page.wait_for_function("document.querySelector('.ecg-view canvas').ariaLabel.includes('First ECG: after.csv')")
    swapped = cells.all_inner_texts()
    change = [int(one[2].split()[0]) for one in (rate, swapped)]
    assert swapped[:2] == rate[1::-1] and change[0] == -change[1] != 0
    assert opened.errors == [] and opened.elsewhere == []
    page.close()
