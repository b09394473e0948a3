"""One recording is found again in another form; two recordings are never taken for one."""

import numpy as np
import pytest

from ecgllm.corpora import check_duplicates, debias, find_duplicates, records_to_corpus
from ecgllm.corpora.confounders import Records, confounders_of
from ecgllm.corpora.duplicates import fingerprint
from ecgllm.signal_ecgllm import resample
from ecgllm.signals import read_ecg
from ecgllm.signals.simulation import simulate_ecgs


@pytest.fixture(scope="module")
def records():
    return simulate_ecgs(12, seed=3, sampling_rate=500)


def corpus_with(records, copy, split):
    from dataclasses import replace

    from datasets import concatenate_datasets

    first = records_to_corpus([replace(one, id=f"a-{i}", patient_id=f"a-{i}") for i, one in enumerate(records)], "a")
    second = records_to_corpus([replace(copy, id="b-0", patient_id="b-0")], "b")
    joined = concatenate_datasets([first, second]).remove_columns("split")
    return joined.add_column("split", ["train"] * len(first) + [split])


def other_form(record):
    from dataclasses import replace

    signal = np.round(resample(record.signal, 500, 100) * 3, 2)[::-1]
    return replace(record, signal=np.ascontiguousarray(signal), sampling_rate=100.0, leads=record.leads[::-1])


def test_a_resampled_scaled_and_reordered_copy_is_found(records):
    corpus = corpus_with(records, other_form(records[4]), "train")
    assert find_duplicates(corpus) == check_duplicates(corpus) == [("a-4", "b-0")]


def test_a_copy_in_another_split_is_refused(records):
    with pytest.raises(ValueError, match=r"1 recordings .* a-4 \(train\) and b-0 \(test\)"):
        check_duplicates(corpus_with(records, other_form(records[4]), "test"))


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
