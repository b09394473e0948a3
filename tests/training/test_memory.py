"""Memory of the question stages does not grow with the corpus, but for some bytes per record and question."""

from pathlib import Path

import pytest

from ..launching import launch

# Runs in a process of its own. In: `count` of records, `run` with a processor, empty `folder`. Out: MB of anonymous
# memory that signals, encodings, questions and their order take (memory-mapped files are not among it).
MEASURE = """
import ctypes, gc, re
from pathlib import Path
import numpy as np
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter
from ecgllm import ECGProcessor
from ecgllm.corpora import QUESTION_FEATURES
from ecgllm.training.data.encoded_signals import EncodedSignals
from ecgllm.training.data.question_examples import QuestionExamples
from ecgllm.training.data.prepared_signals import _FEATURES, load_signals
from ecgllm.training.data.record_index import encoded_ids
from ecgllm.atomic_writing import write_json
from ecgllm.training.trainers.trainer import GroupedSampler

def anonymous():
    gc.collect()
    # What is free and was not yet given back varies from run to run by more than what is held.
    getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

folder = Path(folder)
ids = [f"mimic-iv-ecg-{40_000_000 + row}" for row in range(count)]
signal = {"lead_mask": [True] * 12, "ecg_values": bytes(4 * 12 * 100), "ecg_length": 100, "preprocessing_id": 1}
with ArrowWriter(features=_FEATURES, path=str(folder / "signals.arrow"), writer_batch_size=64) as writer:
    for record_id in ids:
        writer.write(signal | {"id": record_id, "refused": ""})
    writer.finalize()
np.zeros((5 * count, 16), "<f4").tofile(folder / "patches.bin")
np.save(folder / "ids.npy", encoded_ids(ids))
np.save(folder / "rows.npy", np.array([[5 * row, 5, 100] for row in range(count)]))
write_json(folder / "index.json", {"preprocessing_id": 1, "hidden_size": 16, "patches": 5 * count})
empty = dict.fromkeys(QUESTION_FEATURES)
with ArrowWriter(features=QUESTION_FEATURES, path=str(folder / "questions.arrow"), writer_batch_size=1000) as writer:
    for row in range(8 * count):
        asked = {"question": f"Is there finding {row % 50}?", "answers": ["yes"], "ecg_ids": [ids[row // 8]]}
        writer.write(empty | asked | {"question_id": f"q{row}", "type": "verify", "split": "train"})
    writer.finalize()
processor = ECGProcessor.from_pretrained(run, trust_remote_code=True)
del ids, writer
before = anonymous()
signals, encoded = load_signals(folder), EncodedSignals(folder)
examples = QuestionExamples(Dataset.from_file(str(folder / "questions.arrow")), encoded, processor)
for number, index in enumerate(GroupedSampler(examples.lengths(), 8, 0, examples.groups(), 8)):
    examples[index]
    if number == 2000:
        break
assert len(signals) == count and len(examples) == 8 * count
print(anonymous() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous memory is read from Linux' /proc")
def test_more_records_take_some_bytes_each(finished_run: Path, tmp_path: Path) -> None:
    taken = {}
    for count in (1_000, 8_000):
        (tmp_path / str(count)).mkdir()
        names = {"count": count, "run": str(finished_run), "folder": str(tmp_path / str(count))}
        taken[count] = float(launch(MEASURE, tmp_path / f"{count}.txt", **names).wait().split()[-1])
    per_record = (taken[8_000] - taken[1_000]) * 1e6 / 7_000
    print(f"{taken[1_000]:.1f} MB of 1,000 records, {taken[8_000]:.1f} MB of 8,000: {per_record:.0f} bytes each")
    # Of which 8 questions take 8 x 20; in dictionaries and lists it was 1,100.
    assert per_record < 500
