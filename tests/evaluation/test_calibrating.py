"""`calibrate`: what a model's yes is worth, found on records with labels, and what the file holds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ecgllm.answer_calibration_ecgllm import FILE, AnswerCalibration, FindingCalibration, read_calibration
from ecgllm.cli import main
from ecgllm.corpora import records_to_corpus, save_corpus
from ecgllm.corpora.records.recognition import FILE as SEEN
from ecgllm.corpora.records.recognition import seen_records
from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation import calibrating
from ecgllm.evaluation.calibrating import WORDINGS, calibrated, calibration_rows, few_patients, sentences
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.protocol import Answer
from ecgllm.findings import VOCABULARY
from ecgllm.intervals import share
from ecgllm.platt import fit
from ecgllm.shipped import shipped_checkpoint, shipped_dual_encoder
from ecgllm.signals.simulation import simulate_ecgs


class TooSure:
    """Sees what is there in four of five, says it with .99, and yes as often as no."""

    name = "too sure"

    def __init__(self, material: Material):
        self.labels = material.labels

    def answer(self, asked, ecgs):
        found = []
        for one in asked:
            draw = np.random.default_rng(list(f"{one.question} {one.ecgs[0].record_id}".encode()))
            there = self.labels.of(one.ecgs[0].record_id, one.finding)
            p_yes = 0.99 if there is (draw.random() < 0.8) else 0.01
            found.append(Answer(None, {"yes": p_yes, "no": 1 - p_yes}))
        return found


def test_a_model_that_is_too_sure_is_told_so(material: Material, tmp_path: Path) -> None:
    own, figures = calibrated(TooSure(material), material, tmp_path, "too sure", "120 records of simulation")
    assert figures["raw"].expected_calibration_error > 0.15 and figures["calibrated"].expected_calibration_error < 0.05
    assert figures["calibrated"].brier.value < figures["raw"].brier.value
    frequency = material.labels.prevalence()
    for name, one in own.findings.items():
        assert one.frequency == pytest.approx(frequency[name], abs=0.02) and name in one.names
        assert one.positives >= 5 and one.negatives >= 5
        # Right in four of five, whatever it says: .99 is worth a factor of about four.
        odds = one.probability(0.99) / (1 - one.probability(0.99)) * (1 - one.frequency) / one.frequency
        assert 1.5 < odds < 12, name
    known = set(own.findings) | set(own.other_names)
    assert set(VOCABULARY) <= known and not set(own.findings) & set(own.other_names)
    text = json.dumps(own.to_dict())
    assert not any(record_id in text for record_id in material.about)
    assert own.measured["said"]["sure no"]["right"]["value"] > 0.9 and "patients" in own.measured["raw"]["brier"]
    assert all(isinstance(line, str) and line for line in sentences(figures))


def test_what_rests_on_few_patients_is_said() -> None:
    def said(counts: dict[str, tuple[int, int]], sure: int) -> str | None:
        findings = {name: FindingCalibration(1.0, 0.0, 0.5, (name,), *patients) for name, patients in counts.items()}
        right = share([True] * sure, [str(number) for number in range(sure)])
        figures = {"said": {"sure yes": {"right": right}, "likely yes": {"right": None}}}
        return few_patients(AnswerCalibration(findings, "these"), figures)

    many = {"sinus rhythm": (60, 20), "normal ecg": (20, 40)}
    assert said(many, 20) is None
    assert said(many, 7) == "few patients: what 'sure yes' is worth rests on 7 patients; give more records"
    assert said({**many, "paced rhythm": (6, 60), "atrial flutter": (60, 5)}, 20) == (
        "few patients: 2 of 4 findings have fewer than 20 patients who show them, or who do not (the fewest: atrial "
        "flutter 5, paced rhythm 6), and lean on what is true of all findings together; give more records"
    )


def test_all_ways_to_ask_about_a_record_count_as_one(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed = []
    monkeypatch.setattr(calibrating, "fit", lambda *given: weighed.append(given[3]) or fit(*given))
    calibrated(TooSure(material), material, tmp_path, "too sure", "these")
    assert np.allclose(weighed[0], 1 / WORDINGS)


def test_every_record_is_asked_in_words_of_training(material: Material) -> None:
    rows = calibration_rows(material)
    assert (rows.groupby("group")["question"].nunique() == WORDINGS).all()
    assert set(rows["question"]).isdisjoint(material.questions["question"])
    assert rows["group"].nunique() == len(rows) / WORDINGS


def test_what_cannot_be_calibrated(material: Material, tmp_path: Path) -> None:
    few = Material(material.corpus.select(range(4)), material.questions.select([]), Settings(least=5))
    with pytest.raises(ECGError, match="no finding is shown by 5 patients.* or --least [1-4], of which little"):
        calibration_rows(few)

    class Silent:
        name = "silent"

        def answer(self, asked, ecgs):
            return [Answer("yes") for _ in asked]

    with pytest.raises(ECGError, match="gives no probability of yes"):
        calibrated(Silent(), material, tmp_path, "silent", "these")


def test_the_command_and_what_is_said_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        return ended.value.code, *capsys.readouterr()

    folder, own_file = tmp_path / "calibrated", shipped_checkpoint() / FILE
    before = own_file.read_bytes() if own_file.is_file() else None
    code, out, _ = run("calibrate", shipped_checkpoint(), "simulation=40", "-o", folder, "--least", 8)
    assert (
        code == 0
        and "findings calibrated on 40 records of simulation" in out
        and f"calibration in {folder / FILE}" in out
        and "few patients: " in out
    )
    own = read_calibration(folder)
    assert own.fitted_on.startswith("40 records of simulation (")
    assert (own_file.read_bytes() if own_file.is_file() else None) == before  # a copy was written
    name = max(own.findings, key=lambda one: own.findings[one].positives)
    record = simulate_ecgs(1, seed=5)[0]
    ecg = tmp_path / "ecg.npz"
    np.savez(ecg, unit="mV", signal=record.signal, sampling_rate=record.sampling_rate, leads=record.leads)
    code, out, _ = run("ask", "-m", folder, ecg, f"Is there {name}?", "--json")
    found = json.loads(out)["calibrated"]
    assert code == 0 and found["finding"] == name and found["frequency"] == own.findings[name].frequency
    code, out, _ = run("ask", "-m", folder, ecg, f"Is there {name}?", "--prevalence", 0.5)
    assert "where 50.0% of ECGs show it" in out and "the model's own answer: " in out and "of such answers" not in out
    code, out, _ = run("ask", "-m", folder, ecg, f"Is this ECG free of {name}?", "--json")
    assert json.loads(out)["calibrated"] is None
    (folder / FILE).unlink()
    code, _, err = run("ask", "-m", folder, ecg, "Is there atrial fibrillation?", "--prevalence", 0.5)
    assert code == 2 and "not; see ecgllm calibrate" in err
    code, _, err = run("calibrate", shipped_dual_encoder(), "simulation=40")
    assert code == 2 and "is no ECG language model" in err


def test_a_cross_validation_is_asked_in_the_checkpoints_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, least = records_to_corpus(simulate_ecgs(30, seed=8), source="simulation"), ("--least", "8")
    save_corpus(corpus, tmp_path / "records")
    for fold in range(2):  # the same weights, so that the answers must be the checkpoint's own
        run = shutil.copytree(shipped_checkpoint(), tmp_path / "folds" / str(fold))
        # The first record was learned from by both, and may not be asked about.
        splits = ["test" if row % 2 == fold and row else "train" for row in range(len(corpus))]
        seen_records(corpus.remove_columns("split").add_column("split", splits)).save(run / SEEN)
    found = []
    save_corpus(corpus.select(range(1, 30)), tmp_path / "others")
    for name, records, asking in (
        ("own", "others", ()),
        ("folds", "records", ("--asking", f"folds:{tmp_path / 'folds'}")),
    ):
        given = (shipped_checkpoint(), tmp_path / records, "-o", tmp_path / f"{name}-out", *least, *asking)
        with pytest.raises(SystemExit) as ended:
            main(["calibrate", *map(str, given)])
        assert ended.value.code == 0
        found.append(read_calibration(tmp_path / f"{name}-out"))
    assert found[0].findings == found[1].findings and found[0].findings
    assert found[1].fitted_on.startswith("29 records of simulation (")
    assert found[1].fitted_on.endswith(", answered by the models of a cross-validation")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(shipped_checkpoint()), "simulation=20", "--asking", str(tmp_path / "folds")])
    assert ended.value.code == 2 and "expected folds:FOLDER" in capsys.readouterr().err
