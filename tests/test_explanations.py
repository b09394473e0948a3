"""An explanation marks what the answer rests on, and says where it does not."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgllm.asking import load_answerer
from ecgllm.cli import main
from ecgllm.errors_ecgllm import ECGError, MissingExtraError
from ecgllm.explanations import Explanation, _bridged, draw, explain
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals import ECGRecord, measure
from ecgllm.signals.simulation import simulate_ecg, simulate_with_waves

from .serving.conftest import as_csv

PREMATURE = "Does this ECG show premature ventricular complexes?"


@pytest.fixture(scope="module")
def answerer() -> Any:
    return load_answerer(shipped_checkpoint())


@pytest.fixture(scope="module")
def premature() -> tuple[ECGRecord, list[tuple[float, float]]]:
    """A record with one premature ventricular beat or some, and where they are."""
    for record, waves in simulate_with_waves(20, 3, findings=["premature ventricular complexes"]):
        places = [
            (qrs[0], end)
            for qrs, end, kind in zip(waves.qrs, waves.t_end, waves.kinds, strict=True)
            if kind == "premature ventricular"
        ]
        if len(places) == 1 and 1 < places[0][0] < 8:
            return record, places
    raise AssertionError("no such record")


def test_a_premature_beat_is_what_the_answer_rests_on(answerer: Any, premature: Any) -> None:
    record, ((start, end),) = premature
    found = explain(answerer, record, PREMATURE)
    assert found.answer == "yes" and found.leads == record.leads and found.meaningless is None
    assert found.falls.shape == (12, 50) == (len(found.by_lead), len(found.by_time))
    highest = int(found.by_time.argmax())
    assert start - 0.2 < found.bounds_s[highest] < end and found.by_time[highest] > 1
    assert found.marked_fall > found.random_falls.mean() + 1
    assert found.marked_fall > found.ends_fall + 1  # the beat is in between
    again = explain(answerer, record, PREMATURE, seed=1)
    assert np.array_equal(again.falls, found.falls) and not np.array_equal(again.random_falls, found.random_falls)


def test_falls_are_those_of_asking_again_without_it(answerer: Any, premature: Any) -> None:
    record, _ = premature
    found = explain(answerer, record, PREMATURE, stretch_s=1.0)
    extractor = answerer.processor.feature_extractor
    (prepared,) = extractor.prepare(record)
    values = prepared["ecg_values"].copy()
    row, column = 6, 3  # V1 from 3 to 4 s
    values[row, 300:400] = np.linspace(values[row, 299], values[row, 400], 102)[1:-1]
    told = {"measured": measure(record).figures()} if answerer.processor.reads_measured else {}
    before, after = (
        np.log(scores["yes"]) - np.log(scores["no"])
        for scores in (
            answerer(PREMATURE, ecgs=one, candidates=["yes", "no"], **told)["candidates"]
            for one in (prepared, prepared | {"ecg_values": values})
        )
    )
    assert found.log_odds == pytest.approx(before, abs=1e-3)
    assert found.falls[row, column] == pytest.approx(before - after, abs=1e-3)


def test_answers_and_candidates(answerer: Any, premature: Any) -> None:
    record, _ = premature
    no = explain(answerer, record, PREMATURE, answer="no", stretch_s=2.0)
    yes = explain(answerer, record, PREMATURE, stretch_s=2.0)
    assert no.answer == "no" and no.log_odds == pytest.approx(-yes.log_odds, abs=1e-4)
    assert no.falls == pytest.approx(-yes.falls, abs=1e-4)
    named = ["sinus rhythm", "atrial fibrillation"]
    chosen = explain(answerer, record, "Which rhythm?", candidates=named, stretch_s=2.0)
    assert chosen.answer in named
    written = explain(answerer, record, "Which rhythm does the ECG show?", stretch_s=2.0)
    assert written.answer and np.isfinite(written.falls).all()
    with pytest.raises(ECGError, match="not among the candidates sinus rhythm, atrial fibrillation"):
        explain(answerer, record, "Which rhythm?", answer="flutter", candidates=named)
    for wrong in (0.0, 6.0, -1.0):
        with pytest.raises(ECGError, match="stretch_s is"):
            explain(answerer, record, PREMATURE, stretch_s=wrong)


def test_a_model_that_does_not_look_is_not_explained(
    answerer: Any, premature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _ = premature
    features = answerer.model.get_ecg_features

    def blind(**inputs: Any) -> Any:
        output = features(**inputs)
        output.last_hidden_state = output.last_hidden_state * 0
        return output

    monkeypatch.setattr(answerer.model, "get_ecg_features", blind)
    found = explain(answerer, record, PREMATURE, stretch_s=1.0)
    assert np.abs(found.falls).max() < 1e-3 and "the answer does not rest on what is marked" in found.meaningless
    assert found.marked() == found.bands() == found.shown() == []
    assert any("no explanation" in text.get_text() for text in draw(found, record).axes[0].texts)


def test_leads_that_are_missing_are_not_explained(answerer: Any, premature: Any) -> None:
    record, _ = premature
    rows = [record.leads.index(name) for name in ("I", "II", "V1")]
    few = ECGRecord(signal=record.signal[rows], sampling_rate=record.sampling_rate, leads=("I", "II", "V1"))
    found = explain(answerer, few, PREMATURE, stretch_s=1.0)
    # Four limb leads follow from the two.
    assert "V2" not in found.leads and {"I", "II", "V1"} <= set(found.leads)
    assert found.falls.shape == (len(found.leads), 10)


def test_stretches_are_bridged_and_neighbours_together() -> None:
    values = np.arange(12, dtype=np.float32)[None] ** 2
    bounds = [0, 3, 6, 9, 12]
    one = _bridged(values, np.array([[False, True, False, False]]), bounds)
    assert one[0].tolist() == [0, 1, 4, 12, 20, 28, 36, 49, 64, 81, 100, 121]
    both = _bridged(values, np.array([[False, True, True, False]]), bounds)
    assert both[0, 3:9] == pytest.approx(np.linspace(4, 81, 8)[1:-1])
    ends = _bridged(values, np.array([[True, False, False, True]]), bounds)
    assert np.isfinite(ends).all() and ends[0, 0] != 0 and ends[0, 3:9].tolist() == values[0, 3:9].tolist()


def test_meaningless_is_what_deletion_says() -> None:
    falls = np.array([[0.5, 0.2], [-0.1, 0.0]])
    given = ("q", "yes", 1.0, ("I", "II"), (0.0, 1.0, 2.0), falls, falls[:, 0], falls[0])
    random = np.linspace(-0.2, 0.3, 40)
    assert Explanation(*given, 0.6, random, 0.1).meaningless is None
    assert "random tenth" in Explanation(*given, 0.25, random, 0.1).meaningless
    assert Explanation(*given, 0.05, random * 0, 0.1).meaningless is not None  # nothing moved
    fine = Explanation(*given, 0.6, random, 0.1)
    assert fine.marked() == [("I", 0.0, 1.0, 0.5)] and fine.bands() == [(0.0, 1.0, 0.5)]
    assert fine.shown() == [(None, 0.0, 1.0, 0.6), ("I", 0.0, 1.0, 1.0)]
    together = Explanation(*given[:7], np.array([5.0, 0.0]), 0.6, random, 0.1)  # ten times as much in all leads
    assert together.shown() == [(None, 0.0, 1.0, 0.6), ("I", 0.0, 1.0, 0.1)]
    assert Explanation(*given, 0.05, random, 0.1).shown() == []
    assert json.loads(json.dumps(Explanation(*given, 0.6, random, 0.1).to_dict()))["marked"][0]["lead"] == "I"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ecg.csv").write_bytes(as_csv(simulate_ecg(["atrial fibrillation"], seed=5)))
    ask = ["explain", str(tmp_path / "ecg.csv"), "Does this ECG show atrial fibrillation?", "--stretch", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*ask, "-o", str(tmp_path / "out.png")])
    assert not ended.value.code
    said = capsys.readouterr().out
    assert (tmp_path / "out.png").stat().st_size > 10_000 and "log-odds" in said and "Not a medical device" in said
    with pytest.raises(SystemExit):
        main([*ask, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["answer"] in ("yes", "no") and len(found["by_lead"]) == 12 and found["model"]
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(SystemExit) as ended:
        main(ask)
    assert ended.value.code == 2 and "ecgllm[explain]" in capsys.readouterr().err
    with pytest.raises(MissingExtraError):
        explain(load_answerer(shipped_checkpoint()), simulate_ecg(seed=1), "Is it?")
