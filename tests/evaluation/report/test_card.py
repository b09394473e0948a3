import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.figures import Headline, SectionFigures
from ecgllm.evaluation.report import model_index, write_card
from ecgllm.evaluation.report.card import TASK_NAME
from ecgllm.evaluation.report.markdown import markdown
from ecgllm.shipped import shipped_checkpoint

from ...hub_cards import card_errors
from .figures_of_a_report import about, findings, reliance, sections, undefined

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


def test_the_section_takes_the_place_of_the_one_before_and_the_rest_stays(tmp_path: Path, checkpoint: Path) -> None:
    before = (checkpoint / "README.md").read_text()
    path = write_card(checkpoint, [reliance(), findings(5)], about())
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
    first = write_card(checkpoint, [reliance()], about()).read_text()
    again = write_card(checkpoint, [reliance()], about()).read_text()
    assert again == first
    other = about(title="On other records", data=[replace(about().data[0], hash="beef" * 16)])
    text = write_card(checkpoint, [findings(5)], other).read_text()
    assert text.count("ecgllm evaluate: begin") == 1 and about().title not in text
    found = ModelCard(text).data
    assert found.model_name == "A small model"
    assert [(one.task_name, one.metric_type) for one in found.eval_results] == [
        ("Questions about ECGs", "exact_match"),
        (TASK_NAME, "roc_auc"),
    ]


def test_a_card_without_such_a_section_or_metadata_gets_them(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A model of mine\n\nSays little.\n")
    text = write_card(tmp_path, [reliance()], about()).read_text()
    assert text.endswith("<!-- ecgllm evaluate: end -->\n") and "Says little.\n\n<!-- ecgllm evaluate: begin" in text
    assert card_errors(text, "model") == [] and ModelCard(text).data.model_name == "A model of mine"
    without = write_card(tmp_path, [], about()).read_text()
    assert "model-index" not in without


def test_the_shipped_models_card_takes_a_section(tmp_path: Path) -> None:
    shutil.copy(shipped_checkpoint() / "README.md", tmp_path / "README.md")
    other = [line for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("## ")]
    text = write_card(tmp_path, [reliance()], about()).read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings.index("## Limits") == headings.index(f"## {about().title}") + 1
    assert [
        one for one in other if one not in headings and not one.startswith(("## On real", "## ecgllm", "## Does"))
    ] == []
    assert card_errors(text, "model") == []


def test_the_section_is_a_screen_and_a_half_and_the_report_lies_beside_it(tmp_path: Path, checkpoint: Path) -> None:
    long, many = findings(60), sections()
    text = write_card(checkpoint, many, about()).read_text()
    report = (checkpoint / "evaluation.md").read_text()
    assert report == markdown(many, about()) and long.tables[0].title in report
    section = text[text.index("<!-- ecgllm evaluate: begin") : text.index("<!-- ecgllm evaluate: end")]
    assert len(section.encode()) < 8000 and "[evaluation.md](evaluation.md)" in section
    assert long.tables[0].title not in section and "<details>" not in section
    assert "| mean AUROC | " in section and "| rules | " in section
    places = [
        section.index(each) for each in (about().verdict[0], about().warnings[0], "| ludb |", "| the true ECG |")
    ]
    assert places == sorted(places)
    for one in many[1:]:
        if one.sentences:
            assert (f"- **{one.title}** {one.sentences[0]}" in section) == bool(one.values)
            assert not any(other in section for other in one.sentences[1:])
    other = write_card(checkpoint, [reliance()], about(title="On other records")).read_text()
    assert "On other records" in (checkpoint / "evaluation.md").read_text() and "mean AUROC" not in other


def test_results_are_the_headlines_that_can_be_computed() -> None:
    one, two = model_index([reliance(), findings(5)], about())
    assert (one.metric_type, two.metric_type) == ("accuracy", "roc_auc")
    assert one.metric_name == "right answers (95 % interval [67.8, 78.8])" and one.metric_value == 0.7367
    assert one.dataset_type == "ludb+cinc2021" and "1272 records" in one.dataset_name
    assert (
        model_index([SectionFigures("s", "S", headlines=[Headline("AUROC", undefined(), metric="roc_auc")])], about())
        == []
    )


def test_what_is_no_card_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has a card"):
        write_card(tmp_path, [], about())
    (checkpoint / "README.md").write_text("---\nmodel-index:\n- name: x\n---\n# x\n")
    with pytest.raises(ECGError, match="metadata cannot be read"):
        write_card(checkpoint, [], about())
