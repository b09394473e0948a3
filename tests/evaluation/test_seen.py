from __future__ import annotations

from pathlib import Path

import pytest

from ecgllm.corpora.records.recognition import FILE, seen_records
from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.material import Material
from ecgllm.evaluation.seen import without_seen


def noted(material: Material, folder: Path, train: range, validation: range, missing: tuple[str, ...] = ()) -> None:
    corpus = material.corpus.select([*train, *validation])
    splits = ["train"] * len(train) + ["validation"] * len(validation)
    seen_records(corpus.remove_columns("split").add_column("split", splits), missing).save(folder / FILE)


def test_what_was_trained_on_is_left_out_and_what_was_chosen_on_is_told(material: Material, tmp_path: Path) -> None:
    noted(material, tmp_path, range(10), range(10, 13))
    corpus, seen = without_seen(material.corpus, str(tmp_path))
    assert corpus["id"][:] == material.corpus["id"][10:]
    protocol, warnings = seen.sentences()
    assert any("10 of 120 records" in one and "left out" in one for one in protocol)
    assert any("chosen on 3 of 120" in one for one in warnings)
    assert not seen.never


def test_never_saw_is_said_where_it_is_known(material: Material, tmp_path: Path) -> None:
    noted(material, tmp_path, range(10), range(0))
    others = material.corpus.select(range(10, 20))
    assert without_seen(others, str(tmp_path))[1].never
    assert not without_seen(others, str(tmp_path), declared=True)[1].never
    noted(material, tmp_path, range(10), range(0), missing=("a stream",))
    assert not without_seen(others, str(tmp_path))[1].never


def test_trained_records_can_be_kept_and_are_marked(material: Material, tmp_path: Path) -> None:
    noted(material, tmp_path, range(120), range(0))
    with pytest.raises(ECGError, match="all 120 records"):
        without_seen(material.corpus, str(tmp_path))
    corpus, seen = without_seen(material.corpus, str(tmp_path), keep=True)
    assert len(corpus) == 120
    assert "asked about all the same" in seen.sentences()[1][0]
