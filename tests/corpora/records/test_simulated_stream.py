"""The training stream: the simulator's records, each once, however many workers and nodes share them."""

from itertools import islice

import numpy as np
import pytest
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

from ecgllm.corpora import CORPUS_FEATURES, records_to_corpus, simulated_stream
from ecgllm.signals.simulation import CHUNK, simulate_ecgs

SHORT = {"sampling_rate": 50.0, "duration": 5.0}


def key(row) -> tuple[str, bytes]:
    return row["id"], np.asarray(row["ecg"]["signal"], dtype=np.float32).tobytes()


def test_the_stream_is_the_corpus_of_the_same_records():
    rows = list(simulated_stream(seed=3, n=150, **SHORT))
    corpus = records_to_corpus(simulate_ecgs(150, 3, **SHORT), source="simulation")
    assert len(rows) == 150 and list(rows[0]) == list(CORPUS_FEATURES) == corpus.column_names
    for row, wanted in zip(rows, corpus, strict=True):
        np.testing.assert_array_equal(row["ecg"]["signal"], wanted["ecg"]["signal"])
        for column in set(CORPUS_FEATURES) - {"ecg", "split", "measurements"}:
            assert row[column] == wanted[column], column
        for name, value in wanted["measurements"].items():
            assert row["measurements"][name] == (pytest.approx(value, rel=1e-6) if value is not None else None)
        assert row["split"] == "train"


def test_same_seed_same_bytes_other_seed_others():
    first, again, other = ([key(row) for row in simulated_stream(seed, n=6, **SHORT)] for seed in (1, 1, 2))
    assert first == again and not {each[1] for each in first} & {each[1] for each in other}


def test_chunks_made_alone_are_those_of_the_series():
    whole = simulate_ecgs(2 * CHUNK, 5, **SHORT)
    second = simulate_ecgs(CHUNK, 5, **SHORT, first=CHUNK)
    assert [each.signal.tobytes() for each in whole[CHUNK:]] == [each.signal.tobytes() for each in second]
    assert [each.id for each in whole[CHUNK:]] == [each.id for each in second]
    with pytest.raises(ValueError, match="multiple of 128"):
        simulate_ecgs(1, 0, first=5)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_see_each_record_once(workers):
    stream = simulated_stream(seed=4, n=4 * CHUNK - 30, **SHORT)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    seen = [row["id"] for row in loader]
    assert sorted(seen) == [f"sim-4-{number:06d}" for number in range(4 * CHUNK - 30)]


@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_nodes_see_each_record_once(nodes):
    stream = simulated_stream(seed=4, n=4 * CHUNK, **SHORT)
    seen = [[row["id"] for row in split_dataset_by_node(stream, rank, nodes)] for rank in range(nodes)]
    assert sorted(sum(seen, [])) == [f"sim-4-{number:06d}" for number in range(4 * CHUNK)]
    assert max(map(len, seen)) <= np.ceil(4 * CHUNK / nodes) + 1


@pytest.mark.parametrize("at", [1, 100, CHUNK, CHUNK + 77])
def test_a_resumed_stream_goes_on_as_if_nothing_had_happened(at):
    whole = [key(row) for row in simulated_stream(seed=6, n=3 * CHUNK, **SHORT)]
    stream = simulated_stream(seed=6, n=3 * CHUNK, **SHORT)
    before = [key(row) for row in islice(iter(stream), at)]
    state = stream.state_dict()
    other = simulated_stream(seed=6, n=3 * CHUNK, **SHORT)
    other.load_state_dict(state)
    assert before + [key(row) for row in other] == whole


def test_wishes_reach_the_simulator_and_impossible_ones_are_refused_at_once():
    rows = list(simulated_stream(n=5, findings=("atrial fibrillation",), heart_rate=90, noise=0.5))
    assert all("atrial fibrillation" in row["findings"] for row in rows)
    assert all(row["ecg"]["signal"].shape == (12, 1000) for row in rows)
    with pytest.raises(ValueError, match="known findings"):
        simulated_stream(findings=("infarct",))
    with pytest.raises(ValueError, match="at least 1"):
        simulated_stream(n=0)


def test_the_endless_stream_starts_at_once_and_divides_by_common_numbers_of_processes():
    stream = simulated_stream(seed=1, **SHORT)
    assert next(iter(stream))["id"] == "sim-1-000000"
    assert all(stream.num_shards % nodes == 0 for nodes in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16))
