"""The guides' Python examples run, one after the other, as a reader would paste them."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
# docs/training.md speaks of a corpus of the reader's own.
ALONE = ("classification", "corpora", "encoders", "measurements", "plotting", "questions", "reading", "simulation")


@pytest.mark.parametrize("name", ALONE)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{name}.md, example {number}", "exec"), names)


def test_guides_name_files_that_are_there() -> None:
    root = DOCS.parent
    for guide in [root / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", guide.read_text(encoding="utf-8")):
            assert (guide.parent / target).exists(), f"{guide.name} links {target}"
