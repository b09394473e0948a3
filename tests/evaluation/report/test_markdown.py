import re
from dataclasses import replace

from ecgllm.evaluation.figures import SectionFigures, Table
from ecgllm.evaluation.report.markdown import card_section, markdown, paragraph, without_folders

from .figures_of_a_report import MARKUP, about, findings, groups, reliance


def test_tables_are_tables_and_nothing_else_is_markup() -> None:
    rows = [(MARKUP, 3), ("a_b __c__ `d` ![x](http://y) <!-- ecgllm evaluate: end -->", None)]
    odd = SectionFigures("odd", MARKUP, ["# no heading", "1. no list"], [Table(MARKUP, ("a | b", "n"), rows, MARKUP)])
    text = markdown([reliance(), groups(), odd], about())
    assert "<script>" not in text and "\n# " not in text and "\n1. " not in text
    assert "<!-- ecgllm evaluate: end -->" not in text
    section = card_section([reliance(), groups(), replace(odd, sentences=[odd.tables[0].rows[1][0]])], about(), "r.md")
    assert section.count("<!-- ecgllm evaluate: end -->") == 1 and "<script>" not in section
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5  # headlines, the data and three tables
    for lines in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "| the true ECG | 73.7 % [67.8, 78.8] |" in text


def test_it_opens_with_the_verdict_and_what_to_be_careful_about() -> None:
    said = about()
    text = markdown([reliance()], said)
    places = [
        text.index(part) for part in (said.title, said.verdict[0], said.verdict[1], said.warnings[0], "| ludb |")
    ]
    assert places == sorted(places)
    assert "Trained on: it does not say." in markdown([], about(trained_on=None))


def test_a_long_table_is_folded_and_complete() -> None:
    text = markdown([findings()], about())
    folded = re.search(
        r"<details>\n<summary>AUROC of P\(yes\), a finding \(60 rows\)</summary>\n\n(.*?)\n\n", text, re.S
    )
    assert len(folded[1].splitlines()) == 62
    assert "cannot be computed" in text and "<svg" not in text and "![" not in text


def test_folders_of_this_machine_stay_here() -> None:
    command = "ecgllm evaluate /home/me/my-run ludb=/data/of/ludb 'x=/a b/c' ~/y ../z checkpoints/tiny "
    command += "https://h/v1#m\n folds:/home/me/folds -o /tmp/r"
    shortened = "ecgllm evaluate my-run ludb=ludb 'x=a b/c' y z checkpoints/tiny https://h/v1#m folds:folds -o r"
    assert without_folders(command) == shortened
    assert shortened in markdown([], about(command=command)) and "/home/me" not in markdown([], about(command=command))


def test_the_start_of_a_block_means_nothing_special() -> None:
    assert [paragraph(text) for text in ("- a", "+ a", "# a", "12. a", "12) a", "12.5 a", ".5 a", "−5")] == [
        "\\- a", "\\+ a", "\\# a", "12\\. a", "12\\) a", "12.5 a", ".5 a", "−5",
    ]  # fmt: skip
