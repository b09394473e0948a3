"""The metrics for `evaluate`: complete folders that load offline, without this package, and say what it says."""

import math
import runpy
import sys
from dataclasses import asdict
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import pytest
from huggingface_hub import SpaceCard
from transformers.dynamic_module_utils import get_relative_imports

from ecgllm.calibration import yes_no
from ecgllm.intervals import macro_share
from ecgllm.reliance import reliance

from .launching import run_without_package

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "metrics").glob("*/README.md"))
RIGHT = [True, True, False, True, True, False, True, True]
ANSWERS = {
    "predictions": [["Yes"], ["lead II", "lead I"], ["no"], [], ["none"], ["a"], ["b", "a"], ["no"]],
    "references": [["yes"], ["lead i", "lead ii"], ["yes"], ["none"], ["none"], ["a", "b"], ["a", "b"], ["no"]],
    "types": ["verify", "query", "verify", "query", "query", "query", "query", "verify"],
    "patients": ["1", "1", "2", "2|3", "3", "4", "5", "5"],
}
PROBABILITIES, TRUE, PATIENTS = [0.9, 0.4, 0.7, 0.2, 0.3, 0.6], [True, True, False, False, False, True], list("abcdef")
FIGURES = {
    "ecg_calibration": {"calibration", "selective"},
    "ecg_qa_accuracy": {"exact_match", "macro_exact_match", "by_type"},
    "ecg_reliance": {"outcome", "rule", "gains"},
    "yes_no": {"sampled", "natural"},
}
SAYS = ["yes", "no", "yes", "no", "yes", "no"]
PROGRAM = f"""
import json, sys
import evaluate

def metric(name):
    return evaluate.load(sys.argv[1] + "/" + name)

answers, probabilities, true, patients, says = {ANSWERS!r}, {PROBABILITIES!r}, {TRUE!r}, {PATIENTS!r}, {SAYS!r}
binary = dict(predictions=probabilities, references=true, patients=patients)
expected = ["yes" if one else "no" for one in true]
print(json.dumps({{
    "ecg_qa_accuracy": metric("ecg_qa_accuracy").compute(**answers),
    "yes_no": metric("yes_no").compute(**binary, questions=["x"] * 6, prevalence={{"x": 0.1}}),
    "ecg_reliance": metric("ecg_reliance").compute(
        predictions=says,
        references=expected,
        patients=patients,
        conditions={{"random": says[::-1]}},
        pairs=[(0, 2), (1, 3)],
    ),
    "ecg_calibration": metric("ecg_calibration").compute(**binary, answered=[True] * 5 + [False], bins=2),
}}))
"""


@pytest.mark.slow  # importing evaluate takes seconds
def test_they_load_offline_without_the_package_and_say_what_it_says(tmp_path: Path) -> None:
    for folder in FOLDERS:  # as a push would take them: links become files
        copytree(folder, tmp_path / "metrics" / folder.name)
    assert not any(path.is_symlink() for path in (tmp_path / "metrics").rglob("*"))
    found = run_without_package(PROGRAM, tmp_path, tmp_path / "metrics", hub_cache=tmp_path / "hub", offline=True)
    assert set(found) == {folder.name for folder in FOLDERS}
    accuracy = found["ecg_qa_accuracy"]
    assert accuracy["exact_match"]["value"] == 6 / 8
    assert [accuracy["by_type"][kind]["value"] for kind in ("verify", "query")] == pytest.approx([2 / 3, 4 / 5])
    macro, _ = macro_share(RIGHT, ANSWERS["types"], [names.split("|") for names in ANSWERS["patients"]])
    assert accuracy["macro_exact_match"] == pytest.approx(asdict(macro)) and macro.value == pytest.approx(11 / 15)
    figures = asdict(yes_no([one > 0.5 for one in PROBABILITIES], TRUE, PATIENTS, scores=PROBABILITIES))
    for name in ("sensitivity", "auroc", "average_precision"):
        assert found["yes_no"]["sampled"][name]["value"] == pytest.approx(figures[name]["value"])
    assert found["yes_no"]["natural"]["ppv"]["value"] == pytest.approx(0.1 * (2 / 3) / (0.1 * (2 / 3) + 0.9 / 3))
    right = [(one == "yes") == own for one, own in zip(SAYS, TRUE, strict=True)]
    other = [(one == "yes") == own for one, own in zip(SAYS[::-1], TRUE, strict=True)]
    own = reliance(
        right, PATIENTS, {"random": other}, pairs=[[True, False], [False, True]], pair_patients=["ac", "bd"]
    )
    assert found["ecg_reliance"]["outcome"] == own.outcome and found["ecg_reliance"]["rule"] == own.rule
    assert found["ecg_reliance"]["gains"]["random"]["low"] == pytest.approx(own.gains["random"].low)
    calibrated = found["ecg_calibration"]
    assert calibrated["selective"]["answered"]["value"] == pytest.approx(5 / 6)
    stated = [abs((0.4 + 0.2 + 0.3) / 3 - 1 / 3) * 3 / 5, abs((0.9 + 0.7) / 2 - 1 / 2) * 2 / 5]
    assert math.isclose(calibrated["calibration"]["expected_calibration_error"], sum(stated))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_holds_what_its_file_needs_and_no_second_implementation(folder: Path) -> None:
    """evaluate copies what the metric's own file imports, and not what those files import."""
    script = folder / f"{folder.name}.py"
    links = {path.stem: path for path in folder.iterdir() if path.is_symlink() and path.name != "app.py"}
    wanted, waiting = set(), get_relative_imports(script)
    direct = set(waiting)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += get_relative_imports(links[name])
    assert direct == wanted
    assert (folder / "app.py").readlink() == Path("../app.py")
    assert links.pop("about_patients").readlink() == Path("../about_patients.py")
    assert {*links, "about_patients"} == wanted
    assert all(path.resolve() == ROOT / f"{name}.py" for name, path in links.items())
    others = {path.name for path in folder.iterdir() if not path.is_symlink()} - {"__pycache__"}
    assert others == {script.name, "README.md", "requirements.txt"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_is_that_of_a_space_with_a_metric(folder: Path) -> None:
    card = SpaceCard.load(folder / "README.md")
    assert card.data.sdk == "gradio" and (folder / card.data.app_file).is_file()
    assert {"evaluate", "metric"} <= set(card.data.tags) and card.data.license == "apache-2.0"
    assert card.data.title and card.data.to_dict()["description"]
    for section in ("## Metric description", "## How to use", "## Limitations"):
        assert section in card.text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_app_finds_the_file_of_its_metric(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gradio", "evaluate"):  # neither is needed for it, and both take seconds
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(Blocks=object))
    app = runpy.run_path(str(folder / "app.py"))
    assert app["script_of"](folder) == folder / f"{folder.name}.py"


@pytest.mark.slow  # importing evaluate takes seconds
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_app_computes_the_example_of_its_card(folder: Path, tmp_path: Path) -> None:
    """With a stand-in for gradio, which a Space brings and this package does not depend on."""
    copied = copytree(folder, tmp_path / folder.name)
    program = """
import json, sys
from unittest.mock import MagicMock
gradio = sys.modules["gradio"] = MagicMock()
gradio.Error = RuntimeError
sys.path.insert(0, sys.argv[1])
import app
app.page()
compute = gradio.Button.return_value.click.call_args.args[0]
refused = []
for wrong in ("{", "{}"):
    try:
        compute(wrong)
    except RuntimeError as error:
        refused.append(str(error))
found = compute(gradio.Code.call_args.args[0])
print(json.dumps({"found": found, "refused": refused}))
"""
    given = run_without_package(program, tmp_path, copied, hub_cache=tmp_path / "hub", offline=True)
    assert FIGURES[folder.name] <= set(given["found"])
    assert len(given["refused"]) == 2 and all(given["refused"])
