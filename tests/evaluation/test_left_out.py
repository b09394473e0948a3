"""A cross-validation as one model: nobody is asked about what they learned from."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.cli.evaluate import material_of
from ecgllm.corpora import save_corpus
from ecgllm.corpora.records.recognition import FILE, seen_records
from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.building import build_material
from ecgllm.evaluation.left_out import LEARNED, STRANGE, UNTOLD, Asking, LeftOut, check_same_model
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


def with_split(few: Material, splits: list[str]) -> Dataset:
    return few.corpus.remove_columns("split").add_column("split", splits)


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
        seen_records(with_split(few, splits)).save(run / FILE)
        (run / "config.json").write_text("{}")
    return folder


def test_each_record_belongs_to_the_run_that_held_it_out(few: Material, runs: Path) -> None:
    left_out = LeftOut(runs)
    expected = [Asking((f"fold-{row % FOLDS}",)) for row in range(RECORDS - 1)] + [Asking((), LEARNED)]
    assert left_out.of(few.corpus) == expected
    for row, record_id in enumerate(few.about):
        assert left_out.of_record(few.ecgs[ShownECG(record_id)]) == expected[row]


def test_a_run_that_chose_its_weights_on_a_record_is_not_asked_about_it(few: Material, tmp_path: Path) -> None:
    for fold in range(2):
        (tmp_path / str(fold)).mkdir()
        (tmp_path / str(fold) / "config.json").write_text("{}")
        splits = ["validation" if row < 5 and fold == 0 else "test" if row % 2 == fold else "train"
                  for row in range(RECORDS)]  # fmt: skip
        seen_records(with_split(few, splits)).save(tmp_path / str(fold) / FILE)
    found = LeftOut(tmp_path).of(few.corpus)
    # The even ones of the first five were trained on by run 1, and chosen on by run 0.
    assert [one.runs for one in found[:6]] == [(), (), (), (), (), ("1",)]
    assert [one.why for one in found[:5]] == [LEARNED, STRANGE, LEARNED, STRANGE, LEARNED]


def test_records_that_no_run_knows_are_no_part_of_it(material: Material, few: Material, runs: Path) -> None:
    corpus, seen = without_seen(material.corpus.select(range(RECORDS + 7)), f"folds:{runs}")
    assert len(corpus) == RECORDS - 1
    assert any("7 of 37 records are no part of the cross-validation" in one for one in seen.sentences()[1])
    with pytest.raises(ECGError, match="0 were learned from, or chosen on, by all runs, 7 by none"):
        without_seen(material.corpus.select(range(RECORDS, RECORDS + 7)), f"folds:{runs}")


def test_each_question_goes_to_the_run_that_knows_none_of_its_ecgs(few: Material, runs: Path) -> None:
    left_out = LeftOut(runs)
    model = FoldsModel(left_out, {name: Named(name) for name in left_out.runs})
    ids = list(few.about)
    shown = [[0], [1], [2], [0, 3], [0, 1], [RECORDS - 1], []]
    asked = [Asked("Is it?", tuple(ShownECG(ids[row], "") for row in own)) for own in shown]
    answers = model.answer(asked, few.ecgs)
    assert [one.text for one in answers] == ["fold-0", "fold-1", "fold-2", "fold-0", None, None, "fold-0"]
    assert all(one.refused for one in (answers[4], answers[5]))
    figures = Asked("Is it?", (ShownECG(ids[1], "", told=ids[2]),))  # judged by the record whose figures are told
    assert model.answer([figures], few.ecgs)[0].text == "fold-2"
    others = dict(zip((ShownECG(ids[0]), ShownECG(ids[1])), (few.ecgs[ShownECG(ids[1])],) * 2, strict=True))
    assert model.answer(asked[:2], others)[0].text == "fold-1"  # another record of the same name
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
    assert LeftOut(runs).of_record(one_lead) == Asking((), UNTOLD)


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
    (folder / "fold-2" / "recipe.yaml").write_text("seed: 0\noutput: 2\nhold_out: {fold: 1}\n")
    with pytest.raises(ECGError, match="two runs in .* have the same hold_out"):
        LeftOut(folder)
    (folder / "fold-2" / "recipe.yaml").write_text("seed: 1\noutput: 2\nhold_out: {fold: 2}\n")
    with pytest.raises(ECGError, match=r"fold-0 and fold-2 in .* different recipes \(seed\)"):
        LeftOut(folder)


def test_what_a_run_saw_is_its_own_to_say(few: Material, runs: Path) -> None:
    with pytest.raises(ECGError, match="leave --trained-records and --keep-trained out"):
        without_seen(few.corpus, f"folds:{runs}", keep=True)


def test_figures_are_of_the_same_model(runs: Path, tmp_path: Path) -> None:
    left_out = LeftOut(runs)
    (tmp_path / "config.json").write_text('{"trained_on": "other records"}')
    check_same_model(left_out, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ECGError, match=r"is another model than .*fold-0 \(model_type\)"):
        check_same_model(left_out, tmp_path)
    with pytest.raises(ECGError, match=r"config\.json is missing"):
        check_same_model(left_out, tmp_path / "nowhere")


def test_given_questions_about_ecgs_of_two_runs_are_not_asked(
    few: Material, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_corpus(few.corpus, tmp_path / "records")
    ids = few.corpus["id"][:]
    rows = [{"ecg_ids": [ids[one] for one in shown], "question": "Is it?", "answers": ["yes"]}
            for shown in ([0], [0, 3], [0, 1])]  # fmt: skip
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    material, _ = material_of(
        [str(tmp_path / "mine.jsonl")],
        [str(tmp_path / "records")],
        None,
        None,
        Settings(),
        lambda corpus: without_seen(corpus, f"folds:{runs}"),
        f"folds:{runs}",
    )
    assert material.questions["ecg_ids"][:] == [[ids[0]], [ids[0], ids[3]]]
    assert "2 of 3 questions are about ECGs that one run left out" in capsys.readouterr().err
