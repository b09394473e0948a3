"""One recording is found again in another form; two recordings are never taken for one."""

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from ecgllm.corpora import audit, build_questions, check_duplicates, debias, find_duplicates, records_to_corpus
from ecgllm.corpora.debiasing.confounders import Records, confounders_of
from ecgllm.corpora.records.arrow_datasets import with_column
from ecgllm.corpora.records.duplicates import fingerprint
from ecgllm.corpora.records.prepare import _from_records, corpus_of, find_entries
from ecgllm.signal_ecgllm import resample
from ecgllm.signals import read_ecg
from ecgllm.signals.simulation import simulate_ecgs


@pytest.fixture(scope="module")
def records():
    return simulate_ecgs(12, seed=3, sampling_rate=500)


def corpus_with(records, copy, split):
    from datasets import concatenate_datasets

    first = records_to_corpus([replace(one, id=f"a-{i}", patient_id=f"a-{i}") for i, one in enumerate(records)], "a")
    second = records_to_corpus([replace(copy, id="b-0", patient_id="b-0")], "b")
    joined = concatenate_datasets([first, second]).remove_columns("split")
    return joined.add_column("split", ["train"] * len(first) + [split])


def other_form(record):
    signal = np.round(resample(record.signal, 500, 100) * 3, 2)[::-1]
    return replace(record, signal=np.ascontiguousarray(signal), sampling_rate=100.0, leads=record.leads[::-1])


def test_a_resampled_scaled_and_reordered_copy_is_found(records):
    corpus = corpus_with(records, other_form(records[4]), "train")
    assert find_duplicates(corpus) == check_duplicates(corpus) == [("a-4", "b-0")]


def test_a_copy_in_another_split_is_refused(records):
    with pytest.raises(ValueError, match=r"1 recordings .* a-4 \(train\) and b-0 \(test\)"):
        check_duplicates(corpus_with(records, other_form(records[4]), "test"))


def test_one_id_in_two_splits_is_refused(records):
    """As a record of PTB-XL in the corpus of its folds and in that of ECG-QA's splits."""
    from datasets import concatenate_datasets

    corpus = records_to_corpus([replace(one, id=f"a-{i}", patient_id=f"a-{i}") for i, one in enumerate(records)], "a")
    other = with_column(with_column(corpus.select([3]), "split", ["test"]), "source", ["b"])
    joined = concatenate_datasets([with_column(corpus, "split", ["train"] * len(corpus)), other])
    assert find_duplicates(joined) == [("a-3", "a-3")]
    with pytest.raises(ValueError, match=r"1 recordings .* a-3 \(train\) and a-3 \(test\)"):
        check_duplicates(joined)


def test_questions_debias_and_audit_refuse_a_joined_corpus_whose_copies_cross(records):
    good, bad = (corpus_with(records, other_form(records[4]), split) for split in ("train", "test"))
    bad = bad.filter(lambda row: row["id"] in ("a-4", "b-0", "a-5"))
    questions = build_questions(good, types=("verify",), per_record=20)
    for refused in (
        lambda: build_questions(bad),
        lambda: audit(questions, corpus=bad),
        lambda: debias(questions, corpus=bad, match_on=["source"]),
    ):
        with pytest.raises(ValueError, match="recordings are in more than one split"):
            refused()
    within = bad.filter(lambda row: row["split"] == "train")  # one split: nothing to cross
    assert len(build_questions(within))


def test_prepare_tells_of_copies_and_gives_them_one_split(records, tmp_path):
    named = [replace(one, id=f"r{i}", patient_id=f"p{i}") for i, one in enumerate(records)]
    copies = [replace(other_form(records[i]), id=f"copy{i}", patient_id=f"q{i}") for i in range(len(records))]
    more = [replace(simulate_ecgs(1, seed=50 + i)[0], id=f"more{i}", patient_id=f"q{i}") for i in range(len(records))]
    corpus, report = _from_records([*named, *copies, *more], "mine", 0, 0.0)
    assert sorted(report.copies) == sorted((f"copy{i}", f"r{i}") for i in range(len(records)))
    assert "copies: 12 recordings stand in it more than once" in str(report)
    alone = records_to_corpus(named, "mine")
    drawn = dict(zip(alone["id"], alone["split"], strict=True))
    split_of = dict(zip(corpus["id"], corpus["split"], strict=True))
    assert len(set(drawn.values())) > 1
    for i in range(len(records)):  # with all records of both patients
        assert split_of[f"r{i}"] == split_of[f"copy{i}"] == split_of[f"more{i}"] == drawn[f"r{i}"]
    assert sum(report.splits.values()) == len(corpus) == 36 and report.splits == Counter(corpus["split"])

    kept, report = _from_records([*named, *copies, *more], "mine", 0, 0.0, drop_copies=True)
    assert len(kept) == report.records == 24 and len(report.left_out) == 12 and not report.copies
    assert "the same recording as" in str(report) and not find_duplicates(kept)


def test_copies_across_a_corpus_s_own_split_are_an_error_with_a_way_out(records, tmp_path):
    rows = ["id,patient_id,split"]
    for name, split, record in (("a", "train", records[0]), ("b", "test", records[0]), ("c", "train", records[1])):
        np.savetxt(
            tmp_path / f"{name}.csv", record.signal.T, delimiter=",", header=",".join(record.leads), comments=""
        )
        rows.append(f"{name},{name},{split}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    reading = {"sampling_rate": 500.0, "unit": "mV"}
    found = find_entries("folder", tmp_path, table=tmp_path / "labels.csv")
    for entry in found.entries:
        object.__setattr__(entry, "load", partial(read_ecg, entry.path, **reading))
    with pytest.raises(ValueError, match=r"a \(train\) and .*b \(test\).*--drop-copies"):
        corpus_of("folder", found)
    corpus, report = corpus_of("folder", found, drop_copies=True)
    assert sorted(corpus["split"]) == ["test", "train"] and len(report.left_out) == 1


def test_most_of_ptb_xl_s_test_fold_is_trained_on_in_ecg_qa(shared_data):
    """By id, of published tables alone; signals of so many are not here. Joined, they are refused as above."""
    folds = pd.read_parquet(shared_data / "ptbxl" / "merl_labels_21799.parquet", columns=["ecg_id", "strat_fold"])
    tenth = set(folds.ecg_id[folds.strat_fold == 10])
    read = [pd.read_csv(shared_data / "ecg-qa" / "ptbxl" / f"{name}_ecgs.tsv", sep="\t", header=None)
            for name in ("train", "valid")]  # fmt: skip
    elsewhere = tenth & {int(number) for table in read for number in table[1]}
    print(f"{len(elsewhere)} of {len(tenth)} records of fold 10: {len(elsewhere) / len(tenth):.1%}")
    assert (len(elsewhere), len(tenth)) == (1735, 2198)


def test_source_is_a_confounder_wherever_there_are_several(records):
    corpus = corpus_with(records, records[4], "train")
    assert list(confounders_of(Records(corpus), ())[0]) == ["source"]
    assert list(confounders_of(Records(corpus), ["age"])[0]) == ["age", "source"]
    assert list(confounders_of(Records(corpus.select(range(5))), ["age"])[0]) == ["age"]
    rows = [("a-0", "yes"), ("a-1", "yes"), ("a-2", "no"), ("b-0", "no")]
    columns = {
        "template": ["t"] * 4, "type": ["verify"] * 4, "attribute": ["atrial fibrillation"] * 4, "question": ["?"] * 4,
        "ecg_ids": [[name] for name, _ in rows], "answers": [[answer] for _, answer in rows],
    }  # fmt: skip
    from datasets import Dataset

    kept = debias(Dataset.from_dict(columns), corpus=corpus)
    assert len(kept) == 2 and ["b-0"] not in kept["ecg_ids"][:]


def test_real_records_are_told_apart_and_their_copies_found(shared_data):
    files = sorted((shared_data / "ludb" / "data").glob("*.hea"))[:60]
    files += sorted((shared_data / "ptbxl").rglob("*_hr.hea"))
    read = [read_ecg(path) for path in files]
    prints = np.stack([fingerprint(one.signal, one.sampling_rate, one.leads) for one in read])
    copies = np.stack([fingerprint(one.signal, one.sampling_rate, one.leads) for one in map(other_form, read)])
    others = prints @ prints.T - 2 * np.eye(len(prints))
    same = (prints * copies).sum(axis=1)
    print(f"most alike of others {others.max():.3f}, least alike of copies {same.min():.4f}")
    assert others.max() < 0.95 and same.min() > 0.995
