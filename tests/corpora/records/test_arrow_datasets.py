"""Saved rows come back whole, or are refused by the name of what is damaged."""

from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Features, Value

from ecgllm.corpora.records.arrow_datasets import dataset_from_rows
from ecgllm.corpora.records.dataset_folders import saved_rows


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    rows = ({"id": f"r{number}"} for number in range(1500))
    dataset_from_rows(rows, Features({"id": Value("string")})).save_to_disk(tmp_path / "rows")
    return tmp_path / "rows"


def test_saved_rows_come_back(saved: Path) -> None:
    assert saved_rows(saved)["id"][:] == [f"r{number}" for number in range(1500)]


def test_a_file_that_is_cut_off_between_two_batches_is_refused(saved: Path) -> None:
    """Arrow reads such a file without a word, as fewer rows."""
    (file,) = saved.glob("*.arrow")
    with pa.ipc.open_stream(file) as stream:
        batches = list(stream)
    assert len(batches) > 1
    whole = file.read_bytes()
    end = next(cut for cut in range(8, len(whole), 8) if _rows(whole[:cut]) == batches[0].num_rows)
    file.write_bytes(whole[:end])
    with pytest.raises(ValueError, match=f"^{file} is cut off: it holds {end:,} bytes .*copy the folder again"):
        saved_rows(saved)


def _rows(beginning: bytes) -> int | None:
    try:
        with pa.ipc.open_stream(beginning) as stream:
            return stream.read_all().num_rows
    except (pa.ArrowInvalid, OSError):
        return None


@pytest.mark.parametrize("left", [0, 5, 1000])
def test_a_file_that_is_cut_off_is_named(saved: Path, left: int) -> None:
    (file,) = saved.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(ValueError, match=f"^{file} is cut off: it holds {left:,} bytes"):
        saved_rows(saved)


def test_a_missing_file_and_a_damaged_list_are_named(saved: Path) -> None:
    (file,) = saved.glob("*.arrow")
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(ValueError, match=f"^{file} is missing, a part of the data by .*state.json; copy"):
        saved_rows(saved)
    file.write_bytes(content)
    (saved / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{saved} is damaged and cannot be read"):
        saved_rows(saved)
    with pytest.raises(FileNotFoundError):
        saved_rows(saved / "nowhere")


def test_the_same_rows_saved_twice_are_the_same_bytes_in_every_file(tmp_path: Path) -> None:
    def save(name: str, first: int) -> dict[str, bytes]:
        rows = ({"id": f"r{number}"} for number in range(first, 1200))
        dataset_from_rows(rows, Features({"id": Value("string")})).save_to_disk(tmp_path / name)
        return {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}

    assert save("one", 0) == save("again", 0)
    assert save("other", 1)["state.json"] != save("one more", 0)["state.json"]
