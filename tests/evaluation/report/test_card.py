import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.figures import SectionFigures
from ecgllm.evaluation.report import model_index, write_card_section
from ecgllm.evaluation.report.card import TASK_NAME
from ecgllm.evaluation.report.markdown import markdown
from ecgllm.shipped import shipped_checkpoint

from ...hub_cards import card_errors
from .figures_of_a_report import about, findings, reliance, undefined

OLD = "## On real records that it never saw"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder with the shipped model's card, before an evaluation wrote in it."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    before = "---\nlicense: apache-2.0\npipeline_tag: any-to-any\nmodel-index:\n- name: A small model\n  results:\n"
    before += "  - task:\n      type: question-answering\n      name: Questions about ECGs\n    dataset:\n"
    before += (
        "      name: simulation\n      type: simulation\n    metrics:\n    - type: exact_match\n      value: 0.697\n"
    )
    text = f"{before}---\n# A small model\n\nIt answers.\n\n## Figures\n\n| a |\n|---|\n| b |\n\n"
    text += f"{OLD}\n\nOld.\n\n| x |\n|---|\n"
    (folder / "README.md").write_text(f"{text}\n## Limits\n\nNot a medical device.\n")
    return folder


def written(tmp_path: Path, sections: list[SectionFigures], **changes: object) -> Path:
    path = tmp_path / "report.md"
    path.write_text(markdown(sections, about(**changes)))
    return path


def test_the_section_takes_the_place_of_the_one_before_and_the_rest_stays(tmp_path: Path, checkpoint: Path) -> None:
    before = (checkpoint / "README.md").read_text()
    results = model_index([reliance(), findings(5)], about())
    path = write_card_section(checkpoint, written(tmp_path, [reliance(), findings(5)]), results)
    text = path.read_text()
    assert OLD not in text and "Old." not in text
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Figures", f"## {about().title}", "## Limits"]
    body = before.split("---\n", 2)[2]
    assert text.split("---\n", 2)[2].startswith(body.split(OLD)[0]) and text.endswith(
        "\n## Limits\n\nNot a medical device.\n"
    )
    assert card_errors(text, "model") == []


def test_writing_again_replaces_and_does_not_repeat(tmp_path: Path, checkpoint: Path) -> None:
    first = write_card_section(
        checkpoint, written(tmp_path, [reliance()]), model_index([reliance()], about())
    ).read_text()
    again = write_card_section(
        checkpoint, written(tmp_path, [reliance()]), model_index([reliance()], about())
    ).read_text()
    assert again == first
    other = about(title="On other records", data=[replace(about().data[0], hash="beef" * 16)])
    report = written(tmp_path, [findings(5)], title="On other records")
    text = write_card_section(checkpoint, report, model_index([findings(5)], other)).read_text()
    assert text.count("ecgllm evaluate: begin") == 1 and about().title not in text
    found = ModelCard(text).data
    assert found.model_name == "A small model"
    assert [(one.task_name, one.metric_type) for one in found.eval_results] == [
        ("Questions about ECGs", "exact_match"),
        (TASK_NAME, "roc_auc"),
    ]


def test_a_card_without_such_a_section_or_metadata_gets_them(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A model of mine\n\nSays little.\n")
    report, results = written(tmp_path, [reliance()]), model_index([reliance()], about())
    text = write_card_section(tmp_path, report, results).read_text()
    assert text.endswith("<!-- ecgllm evaluate: end -->\n") and "Says little.\n\n<!-- ecgllm evaluate: begin" in text
    assert card_errors(text, "model") == [] and ModelCard(text).data.model_name == "A model of mine"
    without = write_card_section(tmp_path, report, []).read_text()
    assert "model-index" not in without


def test_the_shipped_models_card_takes_a_section(tmp_path: Path) -> None:
    shutil.copy(shipped_checkpoint() / "README.md", tmp_path / "README.md")
    other = [line for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("## ")]
    text = write_card_section(
        tmp_path, written(tmp_path, [reliance()]), model_index([reliance()], about())
    ).read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings.index("## Limits") == headings.index(f"## {about().title}") + 1
    assert [
        one for one in other if one not in headings and not one.startswith(("## On real", "## ecgllm", "## Does"))
    ] == []
    assert card_errors(text, "model") == []


def test_results_are_the_headlines_that_can_be_computed() -> None:
    one, two = model_index([reliance(), findings(5)], about())
    assert (one.metric_type, two.metric_type) == ("accuracy", "roc_auc")
    assert one.metric_name == "right answers (95% interval [67.8, 78.8])" and one.metric_value == 0.7367
    assert one.dataset_type == "ludb+cinc2021" and "1272 records" in one.dataset_name
    assert model_index([SectionFigures("s", "S", values={"headline": {"AUROC": undefined()}})], about()) == []
    with pytest.raises(TypeError, match="'right' of s is a float"):
        model_index([SectionFigures("s", "S", values={"headline": {"right": 0.5}})], about())


def test_what_is_no_report_and_no_card_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "mine.md").write_text("# Mine\n")
    with pytest.raises(ECGError, match="not what an evaluation wrote"):
        write_card_section(checkpoint, tmp_path / "mine.md", [])
    with pytest.raises(FileNotFoundError, match="has a card"):
        write_card_section(tmp_path, written(tmp_path, []), [])
    (checkpoint / "README.md").write_text("---\nmodel-index:\n- name: x\n---\n# x\n")
    with pytest.raises(ECGError, match="metadata cannot be read"):
        write_card_section(checkpoint, written(tmp_path, []), [])
