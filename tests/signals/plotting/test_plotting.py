"""ECG paper as a cardiologist measures it: millimetres, order of leads, words, and files that never differ."""

import re
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import ecgllm.signals
from ecgllm.signals import ECGRecord, read_ecg
from ecgllm.signals.plotting.paper_layout import LAYOUTS, Highlight, Scale, calibration_pulse
from ecgllm.signals.simulation import simulate_ecg

pytest.importorskip("matplotlib", reason="drawing is an extra: pip install 'ecgllm[plot]'")

from ecgllm.signals.plotting import plot_ecg, plot_pages  # noqa: E402
from ecgllm.signals.plotting.files import plot_files, save_ecg, save_pages  # noqa: E402

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LABELS = {lead: lead for lead in LEADS} | {"-aVR": "\N{MINUS SIGN}aVR"}


def make(leads=LEADS, seconds=10.0, rate=100.0, **fields) -> ECGRecord:
    """Every lead at its own offset, with a spike of 1 mV at 0.5, 1.5, ... s."""
    count = round(seconds * rate)
    signal = np.tile(np.arange(len(leads), dtype=np.float32)[:, None] / 4, (1, count))
    signal[:, (np.arange(0.5, seconds, 1.0) * rate).round().astype(int)] += 1
    return ECGRecord(signal, rate, leads, **fields)


def traces(figure, kind="trace-"):
    """gid without its kind -> points in mm on the page, taken through the transforms that drawing uses."""
    found = {}
    for line in figure.axes[0].lines:
        gid = line.get_gid()
        if gid.startswith(kind):
            pixels = line.get_transform().transform(line.get_xydata())
            found[gid.removeprefix(kind)] = pixels / figure.dpi * 25.4
    return found


def words(figure):
    return {text.get_text(): text.get_position() for text in figure.axes[0].texts}


def written(figure) -> str:
    return "\n".join(words(figure))


@pytest.mark.parametrize(("speed", "gain"), [(25, 10), (50, 20), (12.5, 5)])
def test_seconds_and_millivolts_are_true_millimetres(speed: float, gain: float) -> None:
    figure = plot_ecg(make(), layout="12x1", speed=speed, gain=gain)
    for points in traces(figure).values():
        x, y = points.T
        assert x[-1] - x[0] == pytest.approx(9.99 * speed, abs=1e-6)
        assert y.max() - y.min() == pytest.approx(gain, abs=1e-6)
        peaks = x[y > y.min() + gain / 2]
        np.testing.assert_allclose(np.diff(peaks), speed, atol=1e-6)


def test_axes_cover_the_page_and_count_millimetres() -> None:
    figure = plot_ecg(make())
    (axes,) = figure.axes
    assert axes.get_position().bounds == (0, 0, 1, 1)
    width, height = figure.get_size_inches() * 25.4
    assert (axes.get_xlim()[1], axes.get_ylim()[1]) == pytest.approx((width, height))
    assert width <= 297 and height <= 210  # the usual printout fits A4


def test_calibration_pulse_is_1_mv_and_200_ms_at_the_start_of_each_row() -> None:
    figure = plot_ecg(make(), speed=50, gain=20)
    pulses = traces(figure, "calibration-")
    assert len(pulses) == 4
    rows = traces(figure) | traces(figure, "rhythm-")
    for points in pulses.values():
        x, y = points.T
        top = x[np.isclose(y, y.max())]
        assert (y.max() - y.min(), np.ptp(top)) == pytest.approx((20, 10), abs=1e-6)
        assert x.max() < min(trace[:, 0].min() for trace in rows.values())
    x, y = calibration_pulse(Scale(25, 10))
    assert (y.max(), np.ptp(x[y > 5])) == pytest.approx((10, 5))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_leads_stand_in_the_order_of_the_layout(layout: str) -> None:
    shuffled = make().select_leads(LEADS[::-1])
    figure = plot_ecg(shuffled, layout=layout, rhythm_leads=())
    place = words(figure)
    columns = LAYOUTS[layout].columns
    for names in columns:
        heights = [place[LABELS[name]][1] for name in names]
        assert heights == sorted(heights, reverse=True)
    across = [place[LABELS[names[0]]][0] for names in columns]
    assert across == sorted(across)


def test_columns_share_the_time_and_meet() -> None:
    points = traces(plot_ecg(make()))
    ends = [(points[lead][0, 0], points[lead][-1, 0]) for lead in ("I", "aVR", "V1", "V4")]
    for (_, end), (start, _) in zip(ends, ends[1:], strict=False):
        assert end == pytest.approx(start, abs=1e-6)
    assert ends[3][1] - ends[0][0] == pytest.approx(249.75, abs=1e-6)


def test_cabrera_turns_avr_upside_down_and_says_so() -> None:
    record = make()
    upright, inverted = (traces(plot_ecg(record, layout=layout)) for layout in ("12x1", "cabrera"))
    up, down = upright["aVR"][:, 1], inverted["minus-aVR"][:, 1]
    np.testing.assert_allclose(up - up[0], -(down - down[0]), atol=1e-6)
    assert "aVR" not in words(plot_ecg(record, layout="cabrera"))


def test_gaps_stay_gaps_and_flat_leads_stay_flat() -> None:
    record = make()
    signal = record.signal.copy()
    signal[1, 300:400] = np.nan
    signal[2] = 0.7
    signal[3] = np.nan
    figure = plot_ecg(replace(record, signal=signal), layout="12x1")
    points = traces(figure)
    np.testing.assert_array_equal(np.isnan(points["II"][:, 1]), np.isnan(signal[1]))
    assert np.ptp(points["III"][:, 1]) == 0
    assert "aVR" not in points and "no signal" in words(figure)


def test_missing_leads_are_said_to_be_missing_and_derived_ones_derived() -> None:
    figure = plot_ecg(make(("I", "II", "V1", "V2", "V3", "V4", "V5")))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("not recorded") == 1 and "V6" in texts
    assert {"III (derived)", "aVR (derived)", "aVL (derived)", "aVF (derived)"} <= set(texts)
    assert "Derived from other limb leads: III, aVR, aVL, aVF" in texts


def test_auto_draws_what_is_there_of_other_leads() -> None:
    figure = plot_ecg(make(("X", "Y", "Z"), seconds=3))
    assert list(traces(figure)) == ["X", "Y", "Z"]
    assert "Recorded, not drawn: Z" in written(plot_ecg(make((*LEADS, "Z"))))


def test_rhythm_strip_is_another_lead_where_ii_is_missing() -> None:
    assert list(traces(plot_ecg(make()), "rhythm-")) == ["II"]
    assert list(traces(plot_ecg(make(LEADS[6:])), "rhythm-")) == ["V1"]
    assert list(traces(plot_ecg(make(), rhythm_leads=["V1", "lead ii"]), "rhythm-")) == ["V1", "II"]
    assert not traces(plot_ecg(make(), layout="6x2"), "rhythm-")


def test_highlights_cover_their_seconds_on_their_lead() -> None:
    def boxes(*highlights: Highlight, **options):
        patches = plot_ecg(make(), highlights=highlights, **options).axes[0].patches
        return [(patch.get_gid(), patch.get_x(), patch.get_width()) for patch in patches if patch.get_gid()]

    points = traces(plot_ecg(make(), layout="12x1"))
    ((gid, x, width),) = boxes(Highlight("V1", 2.0, 3.5, "here"), layout="12x1")
    assert (gid, x, width) == ("highlight-V1", pytest.approx(points["V1"][200, 0]), pytest.approx(37.5))
    assert len(boxes(Highlight(None, 1, 2), layout="12x1")) == 12
    # V1 has the third quarter of a 3x4 page: of 2 to 6 s, one second is there.
    ((_, _, width),) = boxes(Highlight("v1", 2.0, 6.0))
    assert width == pytest.approx(25)
    assert not boxes(Highlight("II", 20, 30))


def test_header_tells_rate_and_intervals_but_no_person() -> None:
    record = make(
        id="rec 7",
        patient_id="P-0815",
        age=61,
        sex="female",
        recorded_at=datetime(2020, 5, 17, 9, 30),
        source="wfdb",
        measurements={"heart_rate": 71.6, "qrs": 92, "qt": float("nan"), "secret": 1},
    )
    text = written(plot_ecg(record))
    assert "rec 7" in text and "Rate 72 bpm    QRS 92 ms" in text and "QT" not in text and "secret" not in text
    assert not any(word in text for word in ("0815", "61", "female", "2020"))
    text = written(plot_ecg(record, show_date=True, show_patient=True, title="Ward 3", measurements={"pr": 160}))
    assert all(word in text for word in ("P-0815", "61 years", "female", "2020-05-17 09:30:00", "Ward 3", "PR 160 ms"))
    assert "Rate" not in text and "measured" not in text
    assert "25 mm/s    10 mm/mV    100 Hz    source wfdb    10 s" in text
    assert "5 mm/mV (half standard)" in written(plot_ecg(record, gain=5))


def test_header_measures_what_the_record_does_not_state() -> None:
    record, bare = make(measurements={"heart_rate": 71.6}), make()
    line = "Rate and intervals not measured"
    assert line in written(plot_ecg(bare, measuring=False)) and "Rate 72 bpm" in written(plot_ecg(record))
    ecg = simulate_ecg(seed=1, sampling_rate=250)
    stated = replace(ecg, measurements={"heart_rate": 33.0})
    assert "Rate 33 bpm" in written(plot_ecg(stated))
    for text in (written(plot_ecg(stated, measuring=True)), written(plot_ecg(replace(ecg, measurements=None)))):
        assert re.search(r"Rate \d\d+ bpm    .*QRS \d+ ms    .*\(measured over 10 s\)", text) and "33" not in text
    flat = replace(bare, signal=np.zeros_like(bare.signal))
    assert "Rate and intervals cannot be measured" in written(plot_ecg(flat))


def test_what_is_too_large_is_cut_and_said() -> None:
    record = make()
    figure = plot_ecg(replace(record, signal=record.signal * 50))
    assert "Cut off at the edge" in written(figure) and "gain 5 mm/mV shows more" in written(figure)
    assert "Cut off" not in written(plot_ecg(record))
    assert figure.get_size_inches()[1] * 25.4 < 400


def test_tables_are_drawn_with_what_they_do_not_say(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("I,II\n" + "0.1,0.2\n-0.1,0.3\n" * 100)
    reading = {"sampling_rate": 100, "unit": "mV"}
    assert plot_files([tmp_path / "t.csv"], tmp_path / "t.svg", reading=reading) == [tmp_path / "t.svg"]
    with pytest.raises(ValueError, match="which unit"):
        plot_files([tmp_path / "t.csv"], tmp_path / "t.svg")


def test_labels_keep_clear_of_tall_and_frequent_beats() -> None:
    """Spikes of 2.4 mV, 0.36 s apart: between two of them there are 9 mm, and the longest label takes 7."""
    record = make(rate=500)
    signal = np.zeros_like(record.signal)
    signal[:, 60::180] = 2.4
    figure = plot_ecg(replace(record, signal=signal), layout="12x1", measuring=False)
    labels = [text for text in figure.axes[0].texts if text.get_text() in LEADS]
    assert len(labels) == 12
    for text in labels:
        box = text.get_window_extent().get_points() / figure.dpi * 25.4
        for points in traces(figure).values():
            across = points[(points[:, 0] > box[0, 0]) & (points[:, 0] < box[1, 0]), 1]
            assert across.max() < box[0, 1] or across.min() > box[1, 1], text.get_text()


def test_rows_move_apart_where_traces_would_touch() -> None:
    record = make()
    tall = replace(record, signal=record.signal * np.float32(2.2))
    heights = [plot_ecg(each, layout="12x1").get_size_inches()[1] for each in (record, tall)]
    assert heights[1] > heights[0]


def test_window_of_a_long_recording_and_its_pages() -> None:
    record = make(seconds=25)
    assert "0\N{EN DASH}10 s of 25 s" in written(plot_ecg(record))
    assert "12\N{EN DASH}15 s of 25 s" in written(plot_ecg(record, start=12, duration=3))
    pages = list(plot_pages(record, layout="12x1"))
    assert len(pages) == 3 and len({tuple(page.get_size_inches()) for page in pages}) == 1
    assert [traces(page)["II"].shape[0] for page in pages] == [1001, 1001, 500]
    assert len(list(plot_pages(make(seconds=20)))) == 2
    short = plot_ecg(make(seconds=4), layout="12x1")
    assert np.ptp(traces(short)["I"][:, 0]) == pytest.approx(3.99 * 25, abs=1e-6)


def test_comparison_puts_two_at_one_scale_side_by_side() -> None:
    first, second = make(id="before"), make(rate=250.0, seconds=8, id="after")
    figure = plot_ecg(first, compare=second, layout="12x1", highlights=[Highlight("II", 1, 2, second=True)])
    left, right = traces(figure, "first-trace-"), traces(figure, "second-trace-")
    assert list(left) == list(right) == list(LEADS)
    for lead in LEADS:
        assert np.median(left[lead][:, 1]) == pytest.approx(np.median(right[lead][:, 1]))
        assert left[lead][:, 0].max() < right[lead][:, 0].min()
    assert "first    before" in words(figure) and "second    after" in words(figure)
    assert [patch.get_gid() for patch in figure.axes[0].patches if patch.get_gid()] == ["second-highlight-II"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "4x3"}, "layout is '4x3'; expected one of auto, 3x4"),
        ({"speed": 0}, "speed is 0 mm/s"),
        ({"gain": float("nan")}, "gain is nan mm/mV"),
        ({"start": 10}, "start is 10 s; expected 0 to less than the recording's 10 s"),
        ({"duration": -1}, "duration is -1 s"),
        ({"speed": 500}, "plot_pages"),
        ({"style": "blue"}, "style is 'blue'; expected paper or plain"),
        ({"rhythm_leads": ["V9"]}, "rhythm_leads names the lead 'V9'"),
        ({"highlights": [Highlight("Q", 0, 1)]}, "highlights names the lead 'Q'"),
        ({"highlights": [Highlight("I", 0, 1, second=True)]}, "there is none"),
        ({"measurements": [{}, {}]}, "2 mappings for 1 ECGs"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        plot_ecg(make(), **options)


def test_a_bare_string_and_an_empty_highlight_are_refused() -> None:
    with pytest.raises(TypeError, match="rhythm_leads is the string"):
        plot_ecg(make(), rhythm_leads="II")
    with pytest.raises(ValueError, match="expected an end after the start"):
        Highlight("II", 2, 2)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_same_record_gives_the_same_bytes_whatever_the_settings(suffix: str, tmp_path: Path) -> None:
    import matplotlib

    record = make(id="$x_1$ <&>\x07")
    first = save_ecg(plot_ecg(record), tmp_path / f"a{suffix}").read_bytes()
    unlike = {"savefig.bbox": "tight", "font.family": "monospace", "figure.autolayout": True, "svg.hashsalt": None}
    with matplotlib.rc_context(unlike):
        second = save_ecg(plot_ecg(record), tmp_path / f"b{suffix}").read_bytes()
    assert first == second


def test_threads_draw_the_same_bytes(tmp_path: Path) -> None:
    def draw(name: int) -> bytes:
        return save_ecg(plot_ecg(make()), tmp_path / f"{name}.png", dpi=50.8).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(draw, range(8)))) == 1


def test_files_have_the_size_of_the_paper(tmp_path: Path) -> None:
    figure = plot_ecg(make())
    width, height = (round(inches * 25.4) for inches in figure.get_size_inches())
    png = save_ecg(figure, tmp_path / "ecg.png").read_bytes()
    assert struct.unpack(">II", png[16:24]) == (10 * width, 10 * height)
    at = png.index(b"pHYs") + 4
    assert struct.unpack(">IIB", png[at : at + 9]) == (10_000, 10_000, 1)  # pixels a metre
    svg = save_ecg(figure, tmp_path / "ecg.svg").read_text()
    assert f'width="{width}mm" height="{height}mm"' in svg and "<dc:date>" not in svg
    pdf = save_ecg(figure, tmp_path / "ecg.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", pdf)
    assert [float(side) / 72 * 25.4 for side in box.groups()] == pytest.approx([width, height], abs=1e-3)
    with pytest.raises(ValueError, match="expected .png, .pdf, .svg"):
        save_ecg(figure, tmp_path / "ecg.jpg")
    with pytest.raises(ValueError, match="only a .pdf"):
        save_pages([figure], tmp_path / "ecg.png")


def test_a_missing_matplotlib_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "ecgllm.signals.plotting.plot")
    monkeypatch.delattr(ecgllm.signals.plotting, "plot", raising=False)
    monkeypatch.delitem(vars(ecgllm.signals), "plot_ecg", raising=False)
    with pytest.raises(ImportError, match=re.escape("pip install 'ecgllm[plot]'")):
        _ = ecgllm.signals.plot_ecg


@pytest.fixture
def two_files(tmp_path: Path) -> list[Path]:
    import wfdb

    for name in ("one", "two"):
        record = make()
        wfdb.wrsamp(
            name,
            fs=100,
            units=["mV"] * 12,
            sig_name=list(LEADS),
            p_signal=record.signal.T.astype(float),
            fmt=["16"] * 12,
            adc_gain=[1000] * 12,
            baseline=[0] * 12,
            write_dir=str(tmp_path),
        )
    return [tmp_path / "one.hea", tmp_path / "two.hea"]


def test_several_files_become_a_folder_pages_or_a_comparison(two_files: list[Path], tmp_path: Path) -> None:
    folder = plot_files(two_files, tmp_path / "pictures")
    assert [path.name for path in folder] == ["one.png", "two.png"] and all(path.is_file() for path in folder)
    (pdf,) = plot_files(two_files, tmp_path / "all.pdf", whole=True, duration=5.0)
    assert pdf.read_bytes().count(b"/Type /Page\n") + pdf.read_bytes().count(b"/Type /Page ") == 4
    (svg,) = plot_files(two_files, tmp_path / "both.svg", compare=True)
    assert "second-trace-II" in svg.read_text()
    for output, options, message in (
        ("x.png", {}, "holds one page, and there are 2 files"),
        ("x.png", {"whole": True}, "go into a .pdf"),
        ("folder", {"compare": True}, "comparing takes two files and one picture"),
        ("x.gif", {}, "the suffix is '.gif'"),
    ):
        with pytest.raises(ValueError, match=message):
            plot_files(two_files, tmp_path / output, **options)
    with pytest.raises(ValueError, match="would both become one.png"):
        plot_files([two_files[0], two_files[0]], tmp_path / "pictures")


@pytest.mark.parametrize("name", ["ludb/data/1.hea", "cinc2021/ptb/S0005.hea"])
def test_real_records_are_drawn(shared_data: Path, name: str) -> None:
    record = read_ecg(shared_data / name)
    figure = plot_ecg(record, style="plain")
    assert len(traces(figure)) == 12 and "Cut off" not in written(figure)
