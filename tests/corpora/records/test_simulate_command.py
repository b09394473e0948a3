"""`ecgllm simulate`: its options reach the simulator, and what it writes is a corpus that other commands take."""

from pathlib import Path

import numpy as np
import pytest

from ecgllm import cli
from ecgllm.corpora.records.dataset_folders import saved_rows
from ecgllm.signals.simulation import simulate_ecgs


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    return ended.value.code or 0


def arrow_bytes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.arrow"))]


def test_options_reach_the_simulator(tmp_path: Path) -> None:
    wishes = ("--findings", "atrial fibrillation, complete right bundle branch block", "--heart-rate", 90)
    size = ("--sampling-rate", 250, "--duration", 8, "--noise", 0.5)
    assert run("simulate", "-n", 5, "--seed", 4, *wishes, *size, "-o", tmp_path / "sim") == 0
    corpus = saved_rows(tmp_path / "sim")
    findings = ("atrial fibrillation", "complete right bundle branch block")
    wanted = simulate_ecgs(5, 4, 250.0, 8.0, 0.5, findings, 90.0)
    for row, record in zip(corpus, wanted, strict=True):
        assert set(findings) <= set(row["findings"]) and row["id"] == record.id
        np.testing.assert_allclose(row["ecg"]["signal"], record.signal, atol=0.00051)
        assert row["ecg"]["signal"].shape == (12, 2000) and row["measurements"]["heart_rate"] == pytest.approx(
            90, 0.02
        )


@pytest.mark.parametrize("options", [(), ("--follow-ups",), ("--findings", "st depression")])
def test_the_same_command_writes_the_same_bytes(tmp_path: Path, options: tuple[str, ...]) -> None:
    for folder, seed in (("one", 7), ("two", 7), ("other", 8)):
        assert run("simulate", "-n", 12, "--seed", seed, *options, "-o", tmp_path / folder) == 0
    one, two, other = (arrow_bytes(tmp_path / folder) for folder in ("one", "two", "other"))
    assert one and one == two and one != other


def test_follow_ups_become_questions_that_compare(tmp_path: Path) -> None:
    assert run("simulate", "-n", 40, "--follow-ups", "-o", tmp_path / "sim") == 0
    corpus = saved_rows(tmp_path / "sim")
    assert len(corpus) == 80 and len(set(corpus["patient_id"])) == 40
    for first, second in zip(corpus.select(range(0, 80, 2)), corpus.select(range(1, 80, 2)), strict=True):
        assert first["patient_id"] == second["patient_id"] and first["split"] == second["split"]
        assert first["recorded_at"] < second["recorded_at"]
    assert run("questions", tmp_path / "sim", "-o", tmp_path / "questions") == 0
    compared = [row for row in saved_rows(tmp_path / "questions") if row["type"] == "comparison-verify"]
    assert {answer for row in compared for answer in row["answers"]} == {"yes", "no"}
    order = {record: number for number, record in enumerate(corpus["id"])}
    assert all(order[row["ecg_ids"][0]] < order[row["ecg_ids"][1]] for row in compared)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--findings", "infarct"), "known findings"),
        (("--findings", "atrial fibrillation,sinus rhythm"), "exclude each other"),
        (("--duration", 2), "at least 5 s"),
        (("--follow-ups", "--heart-rate", 70), "leave --findings and --heart-rate out"),
    ],
)
def test_what_cannot_be_simulated_is_refused(tmp_path, capsys, options, says) -> None:
    assert run("simulate", "-n", 2, *options, "-o", tmp_path / "sim") == 2
    assert says in capsys.readouterr().err and not (tmp_path / "sim").exists()
