"""Several corpora as one: nobody's record is taken for another's, and a list of records is met whole."""

from pathlib import Path

import pytest
from datasets import Dataset, load_from_disk

from ecgllm.cli import main
from ecgllm.corpora import records_to_corpus, save_corpus
from ecgllm.corpora.records.joining import joined, only_records, read_ids
from ecgllm.errors_ecgllm import ECGError
from ecgllm.signals.simulation import simulate_ecgs


@pytest.fixture(scope="module")
def corpora() -> dict[str, Dataset]:
    """Two of the same ids, and of other hearts."""
    made = {name: records_to_corpus(simulate_ecgs(4, seed=seed), source=name) for seed, name in enumerate("ab")}
    for column in ("id", "patient_id"):
        values = [str(row) for row in range(4)]
        made = {name: one.remove_columns(column).add_column(column, values) for name, one in made.items()}
    return made


def test_records_and_patients_are_named_after_their_corpus(corpora: dict[str, Dataset]) -> None:
    both = joined(corpora)
    own = corpora["a"]["id"][:]
    assert own == corpora["b"]["id"][:]
    assert both["id"][:] == [f"{name}/{record_id}" for name in "ab" for record_id in own]
    assert len(set(both["patient_id"])) == 8 and both["source"][:] == ["a"] * 4 + ["b"] * 4
    assert joined({"a": corpora["a"]})["id"][:] == own
    assert joined(corpora, limit=2)["id"][:] == [f"{name}/{own[row]}" for name in "ab" for row in (0, 3)]


def test_a_list_of_records_is_met_whole_or_refused(corpora: dict[str, Dataset], tmp_path: Path) -> None:
    both = joined(corpora)
    wanted = [both["id"][6], both["id"][1]]
    assert only_records(both, wanted)["id"][:] == wanted[::-1]
    with pytest.raises(ECGError, match="1 of the 3 records of the list are not in the corpus, such as c/1"):
        only_records(both, [*wanted, "c/1"])
    with pytest.raises(ECGError, match="1 of them twice"):
        only_records(both, [*wanted, wanted[0]])
    (tmp_path / "ids.txt").write_text(f"# which\n\n{wanted[0]} \n{wanted[1]}\n")
    assert read_ids(tmp_path / "ids.txt") == wanted
    (tmp_path / "empty.txt").write_text("# none\n")
    for name, found in (("empty.txt", "names no record"), ("none.txt", "cannot be read")):
        with pytest.raises(ECGError, match=found):
            read_ids(tmp_path / name)


def test_the_command_writes_the_records_of_the_list(
    corpora: dict[str, Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, corpus in corpora.items():
        save_corpus(corpus, tmp_path / name)
    record_id = f"b/{corpora['b']['id'][2]}"
    (tmp_path / "ids.txt").write_text(record_id)
    folders = [str(tmp_path / name) for name in "ab"]
    with pytest.raises(SystemExit) as ended:
        main(["join", *folders, "--ids", str(tmp_path / "ids.txt"), "-o", str(tmp_path / "one")])
    assert not ended.value.code and "1 records in" in capsys.readouterr().out
    assert load_from_disk(str(tmp_path / "one"))["id"][:] == [record_id]
    (tmp_path / "ids.txt").write_text("b/none")
    with pytest.raises(SystemExit) as ended:
        main(["join", *folders, "--ids", str(tmp_path / "ids.txt"), "-o", str(tmp_path / "two")])
    assert ended.value.code == 2 and "not in the corpus" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()
