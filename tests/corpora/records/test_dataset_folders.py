"""A prepared corpus opens with `datasets` alone, as a plain struct, and here with its ECGs; folders of before do, too.

What is promised without the package runs in a process in which `ecgllm` cannot be imported.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, load_dataset, load_from_disk

from ecgllm.corpora import ECG, audit, build_questions, load_corpus, records_to_corpus, save_corpus
from ecgllm.corpora.records.dataset_folders import is_saved, plain, saved_columns, saved_rows, with_ecgs
from ecgllm.corpora.records.sharing import TELLING, for_sharing
from ecgllm.signals.simulation import simulate_ecgs

NOT_INSTALLED = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ecgllm":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refused())
"""
OPENED = """
import json, datasets, pyarrow.parquet as pq
from datasets import load_dataset, load_from_disk
datasets.disable_progress_bars()
arrow, parquet, hub, cache = sys.argv[1:]
def told(rows):
    return {row["id"]: [len(row["ecg"]["bytes"]), row["ecg"]["gain"], row["ecg"]["leads"], row["ecg"]["sampling_rate"]]
            for row in rows}
train = lambda opened: [row for split in opened.values() for row in split]
found = {
    "load_from_disk": told(load_from_disk(arrow)),
    "arrow": told(load_dataset("arrow", data_files=f"{arrow}/*.arrow", split="train", cache_dir=cache)),
    "stream of arrow": told(load_dataset("arrow", data_files=f"{arrow}/*.arrow", split="train", streaming=True)),
    "folder": told(train(load_dataset(parquet, cache_dir=cache))),
    "stream of folder": told(train(load_dataset(parquet, streaming=True))),
    "parquet": told(load_dataset("parquet", data_files=f"{parquet}/data/*.parquet", split="train", cache_dir=cache)),
    "to_parquet": told(load_dataset("parquet", data_files=hub, split="train", cache_dir=cache)),
}
assert "ecgllm" not in sys.modules
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    return records_to_corpus(simulate_ecgs(24, seed=5), source="simulation")


@pytest.fixture(scope="module")
def folders(corpus, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("saved")
    save_corpus(corpus, folder / "arrow")
    save_corpus(corpus, folder / "parquet", format="parquet")
    corpus.save_to_disk(folder / "before")  # as earlier versions wrote it
    return {form: folder / form for form in ("arrow", "parquet", "before")}


def assert_same(own: Dataset, corpus: Dataset) -> None:
    """Every column of every record, in whatever order."""
    assert isinstance(own.features["ecg"], ECG) and own.column_names == corpus.column_names
    rows = {row["id"]: row for row in corpus}
    assert len(own) == len(corpus)
    for row in own:
        wanted = rows.pop(row["id"])
        np.testing.assert_array_equal(row["ecg"]["signal"], wanted["ecg"]["signal"])
        assert row["ecg"]["leads"] == wanted["ecg"]["leads"]
        assert {**row, "ecg": 0} == {**wanted, "ecg": 0}


def test_the_guide_decodes_it_where_the_package_is_not(corpus, folders, tmp_path):
    guide = (Path(__file__).parents[3] / "docs" / "corpora.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(import numpy.*?)^```", guide, re.M | re.S)
    (tmp_path / "corpus").symlink_to(folders["arrow"])
    (tmp_path / "shared").symlink_to(folders["parquet"])
    save = "np.savez('decoded.npz', **{row['id']: millivolts(row['ecg']) for row in load_from_disk('corpus/')})"
    ran = subprocess.run(
        [sys.executable, "-c", f"{NOT_INSTALLED}\n{block}\n{save}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    with np.load(tmp_path / "decoded.npz") as decoded:
        for row in corpus:
            np.testing.assert_allclose(decoded[row["id"]], row["ecg"]["signal"], atol=1e-6)


def test_every_way_opens_it_where_the_package_is_not(corpus, folders, tmp_path):
    plain(corpus).to_parquet(tmp_path / "hub.parquet")  # as push_to_hub writes it
    arguments = [*(str(folders[form]) for form in ("arrow", "parquet")), str(tmp_path / "hub.parquet"), str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-c", NOT_INSTALLED + OPENED, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    wanted = {
        row["id"]: [len(row["ecg"]["bytes"]), row["ecg"]["gain"], row["ecg"]["leads"], row["ecg"]["sampling_rate"]]
        for row in corpus.cast_column("ecg", ECG(decode=False))
    }
    for way, found in json.loads(ran.stdout).items():
        assert found == wanted, way


@pytest.mark.parametrize("form", ["arrow", "parquet", "before"])
def test_here_it_comes_back_with_its_ecgs(corpus, folders, form):
    assert_same(load_corpus(folders[form]), corpus)
    assert is_saved(folders[form]) and saved_columns(folders[form]) == tuple(corpus.column_names)


def test_a_cast_gives_the_feature_to_what_others_opened(corpus, folders, tmp_path):
    opened = load_from_disk(folders["arrow"])
    assert opened[0]["ecg"]["bytes"] and "signal" not in opened[0]["ecg"]
    cast = opened.cast_column("ecg", ECG(sampling_rate=50, leads=["II"]))
    assert cast[3]["ecg"]["signal"].shape == (1, 500)
    streamed = load_dataset(str(folders["parquet"]), split="train", streaming=True).cast_column("ecg", ECG())
    first = next(iter(streamed))
    wanted = dict(zip(corpus["id"], corpus["ecg"], strict=True))[first["id"]]
    np.testing.assert_array_equal(first["ecg"]["signal"], wanted["signal"])


@pytest.mark.slow
def test_what_follows_a_corpus_is_the_same(corpus, folders):
    wanted = build_questions(corpus, per_record=2, seed=3)
    found = [build_questions(load_corpus(folders[form]), per_record=2, seed=3) for form in ("arrow", "before")]
    assert all(own.to_list() == wanted.to_list() for own in found)
    assert str(audit(found[0], load_corpus(folders["arrow"]))) == str(audit(wanted, corpus))


def test_the_same_corpus_is_the_same_bytes_and_no_copy(corpus, folders, tmp_path):
    save_corpus(load_corpus(folders["arrow"]), tmp_path / "again")
    save_corpus(corpus, tmp_path / "more")
    for file in sorted(folders["arrow"].iterdir()):
        assert file.read_bytes() == (tmp_path / "more" / file.name).read_bytes()
    (data,) = folders["arrow"].glob("*.arrow")
    assert data.read_bytes() == (tmp_path / "again" / data.name).read_bytes()
    opened = load_from_disk(folders["arrow"])
    addresses = [
        one.data.column("ecg").chunk(0).field("bytes").buffers()[2].address for one in (opened, with_ecgs(opened))
    ]
    assert addresses[0] == addresses[1]


def test_selected_rows_and_named_files_are_written(corpus, tmp_path):
    save_corpus(corpus.select([5, 2]), tmp_path / "two")
    assert load_corpus(tmp_path / "two")["id"][:] == [corpus["id"][5], corpus["id"][2]]
    lines = [",".join(map(str, row)) for row in corpus[0]["ecg"]["signal"].T]
    named = tmp_path / "ecg.csv"
    named.write_text("\n".join(["# sampling_rate: 100", "# unit: mV", ",".join(corpus[0]["ecg"]["leads"]), *lines]))
    files = Dataset.from_dict({"ecg": [str(named), None]}).cast_column("ecg", ECG())
    save_corpus(files, tmp_path / "files")
    named.unlink()
    first, second = load_corpus(tmp_path / "files")
    np.testing.assert_array_equal(first["ecg"]["signal"], corpus[0]["ecg"]["signal"])
    assert second["ecg"] is None


def test_what_is_no_folder_of_records_is_refused(corpus, folders, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_corpus(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="format is 'csv'; expected one of arrow, parquet"):
        save_corpus(corpus, tmp_path / "x", format="csv")
    build_questions(corpus).save_to_disk(tmp_path / "questions")
    with pytest.raises(ValueError, match="holds no ECGs but the columns question_id, "):
        load_corpus(tmp_path / "questions")
    (file, *_) = sorted((folders["parquet"] / "data").iterdir())
    (tmp_path / "cut" / "data").mkdir(parents=True)
    (tmp_path / "cut" / "data" / file.name).write_bytes(file.read_bytes()[:-100])
    for read in (saved_rows, saved_columns):
        with pytest.raises(ValueError, match=f"{file.name} cannot be read .*copy the folder again"):
            read(tmp_path / "cut")


def test_what_is_shared_names_nobody(corpus, tmp_path):
    planted = {
        "id": "Mueller-1",
        "patient_id": "Mueller",
        "report": "Frau Mueller",
        "recorded_at": "1987-05-04T03:02:01",
    }
    rows = [{**row, **planted, "id": f"Mueller-{n}", "statements": ["Mueller"]} for n, row in enumerate(corpus)]
    telling = Dataset.from_list(rows, features=corpus.features)
    telling.info.description = "unreadable: Mueller-7"
    save_corpus(for_sharing(telling), tmp_path / "a")
    save_corpus(for_sharing(telling), tmp_path / "p", format="parquet")
    written = b"".join(file.read_bytes() for form in "ap" for file in (tmp_path / form).rglob("*") if file.is_file())
    assert b"Mueller" not in written and b"1987-05" not in written
    shared = load_corpus(tmp_path / "p")
    assert len(set(shared["id"])) == len(corpus) and set(shared["patient_id"]) == {"patient-000000"}
    assert shared["findings"][:] and set(shared["report"]) == {None} and shared.column_names == corpus.column_names
    kept = for_sharing(telling, keep=("report",))
    assert set(kept["report"]) == {"Frau Mueller"} and kept[0]["statements"] == []
    with pytest.raises(ValueError, match=f"expected some of {', '.join(TELLING)}"):
        for_sharing(telling, keep=["reports"])
