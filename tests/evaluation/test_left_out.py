"""A cross-validation as one model: nobody is asked about what they learned from."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from ecgllm.corpora.records.recognition import FILE, seen_records
from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.building import build_material
from ecgllm.evaluation.left_out import LeftOut
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.models import model_of
from ecgllm.evaluation.models.folds import FoldsModel
from ecgllm.evaluation.protocol import Answer, Asked, ShownECG
from ecgllm.evaluation.seen import groups_of, without_seen
from ecgllm.signals import ECGRecord

RECORDS, FOLDS = 30, 3


class Named:
    """Says its name."""

    def __init__(self, name: str):
        self.name = name

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        return [Answer(self.name) for _ in asked]


@pytest.fixture(scope="module")
def few(material: Material) -> Material:
    return Material(material.corpus.select(range(RECORDS)), material.questions, Settings(questions=60))


@pytest.fixture(scope="module")
def runs(few: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs; record n was held out by run n % 3, and all of them learned from the last one."""
    folder = tmp_path_factory.mktemp("runs")
    for fold in range(FOLDS):
        run = folder / f"fold-{fold}"
        run.mkdir()
        splits = ["test" if row % FOLDS == fold and row < RECORDS - 1 else "train" for row in range(RECORDS)]
        seen_records(few.corpus.remove_columns("split").add_column("split", splits)).save(run / FILE)
        (run / "config.json").write_text("{}")
    return folder


def test_each_record_belongs_to_the_run_that_held_it_out(few: Material, runs: Path) -> None:
    left_out = LeftOut(runs)
    expected = [f"fold-{row % FOLDS}" for row in range(RECORDS - 1)] + [None]
    assert left_out.of(few.corpus) == expected
    for row, record_id in enumerate(few.about):
        assert left_out.of_record(few.ecgs[ShownECG(record_id)]) == expected[row]


def test_each_question_goes_to_the_run_that_knows_none_of_its_ecgs(few: Material, runs: Path) -> None:
    left_out = LeftOut(runs)
    model = FoldsModel(left_out, {name: Named(name) for name in left_out.runs})
    ids = list(few.about)
    shown = [[0], [1], [2], [0, 3], [0, 1], [RECORDS - 1], []]
    asked = [Asked("Is it?", tuple(ShownECG(ids[row], "") for row in own)) for own in shown]
    answers = model.answer(asked, few.ecgs)
    assert [one.text for one in answers] == ["fold-0", "fold-1", "fold-2", "fold-0", None, None, "fold-0"]
    assert all(one.refused for one in (answers[4], answers[5]))
    changed = Asked("Is it?", (ShownECG(ids[1], "noise", told=""),))
    assert model.answer([changed], few.ecgs)[0].text == "fold-1"


def test_what_all_learned_from_is_left_out_and_pairs_are_of_one_run(few: Material, runs: Path) -> None:
    corpus, seen = without_seen(few.corpus, f"folds:{runs}")
    assert corpus["id"][:] == few.corpus["id"][:-1]
    protocol, warnings = seen.sentences()
    assert any("3 models" in one for one in protocol) and any("1 of 30 records" in one for one in protocol)
    assert not any("never saw" in one for one in (*protocol, *warnings))
    groups = groups_of(corpus, f"folds:{runs}")
    built = build_material(corpus, None, few.settings, groups)
    run = dict(zip(corpus["id"], groups, strict=True))
    pairs = [own for own in built.questions["ecg_ids"] if len(own) == 2]
    assert pairs and all(run[first] == run[second] for first, second in pairs)
    assert groups_of(corpus, "some/folder") is None


def test_signals_without_leads_to_know_them_by_are_asked_of_nobody(few: Material, runs: Path) -> None:
    record = next(iter(few.ecgs.values()))
    one_lead = ECGRecord(np.array(record.signal[:1]), record.sampling_rate, record.leads[:1])
    assert LeftOut(runs).of_record(one_lead) is None


def test_a_folder_without_finished_runs_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ECGError, match="holds 0 finished runs"):
        model_of(f"folds:{tmp_path}")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_bytes((runs / "fold-0" / FILE).read_bytes())
    (tmp_path / "a" / "config.json").write_text("{}")
    with pytest.raises(ECGError, match="holds 1 finished runs, and b is not finished"):
        LeftOut(tmp_path)


def test_runs_of_different_recipes_are_no_cross_validation(runs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(runs, tmp_path / "runs"))
    for fold in range(FOLDS):
        recipe = f"seed: 0\noutput: {fold}\nhold_out: {{fold: {fold}}}\n"
        (folder / f"fold-{fold}" / "recipe.yaml").write_text(recipe)
    assert len(LeftOut(folder).runs) == FOLDS
    (folder / "fold-2" / "recipe.yaml").write_text("seed: 1\noutput: 2\nhold_out: {fold: 2}\n")
    with pytest.raises(ECGError, match=r"fold-0 and fold-2 in .* different recipes \(seed\)"):
        LeftOut(folder)


def test_what_a_run_saw_is_its_own_to_say(few: Material, runs: Path) -> None:
    with pytest.raises(ECGError, match="leave --trained-records and --keep-trained out"):
        without_seen(few.corpus, f"folds:{runs}", keep=True)
