"""How far what was learned from simulated ECGs carries over to real ones: AUROC of every finding, never trained on.

    python benchmarks/carry_over.py RUN/pretrain/model ludb=FOLDER cinc2021=FOLDER ptbxl=FOLDER

RUN is a run folder of `ecgllm train` whose stage `pretrain` learned from statements of findings or from reports. Each
record of the corpora is held against the plain statement of every finding that the simulator knows; what a source
leaves open does not count.
Printed, most certain first: AUROC with its 95 % interval over patients, positives and negatives, and the mean over the
findings with at least five of either. Labels of different corpora follow different habits: a low figure may be the
fault of either.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from ecgllm import ECGFeatureExtractor, ECGTextDualEncoder
from ecgllm.corpora import prepare_with_report
from ecgllm.findings.labels import implied
from ecgllm.findings.statement_texts import holds, statement_paraphrases
from ecgllm.signal_ecgllm import ECGInputError
from ecgllm.signals.simulation import FINDINGS
from ecgllm.training.pretraining_metrics import zero_shot


class Reader:
    """A dual encoder, asked how near ECGs and findings are."""

    def __init__(self, checkpoint: Path):
        self.model = ECGTextDualEncoder.from_pretrained(checkpoint).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
        self.feature_extractor = ECGFeatureExtractor.from_pretrained(checkpoint)

    @torch.no_grad()
    def statements(self, names: list[str]) -> np.ndarray:
        """[findings, dim] unit vectors of their plain statements."""
        texts = self.tokenizer([statement_paraphrases(name)[0] for name in names], padding=True, return_tensors="pt")
        return self.model.get_text_embeds(texts["input_ids"], texts["attention_mask"]).numpy()

    @torch.no_grad()
    def ecg(self, ecg: dict) -> np.ndarray:
        """[dim]. Raises: ECGInputError for an ECG that the signal path refuses."""
        features = self.feature_extractor(ecg, return_tensors="pt")
        inputs = (features[name] for name in ("ecg_values", "lead_mask", "ecg_lengths"))
        return self.model.get_ecg_embeds(*inputs)[0].numpy()


def read_corpus(name: str, folder: str) -> Dataset:
    corpus, report = prepare_with_report(name, folder)
    print(str(report).splitlines()[-1])
    return corpus


def learned_findings(corpora: list[Dataset]) -> list[str]:
    """Findings that some record shows and the simulator knows: nothing else can have been learned from it."""
    return sorted({name for corpus in corpora for own in corpus["findings"] for name in own} & set(implied(FINDINGS)))


def targets_of(corpus: Dataset, names: list[str]) -> np.ndarray:
    """int [records, findings]: 1, 0, or -1 where the source leaves it open."""
    stated = frozenset(name for own in corpus["findings"] for name in own)
    answers = [[holds(own, name, stated) for name in names] for own in corpus["findings"]]
    return np.array([[-1 if answer is None else int(answer) for answer in row] for row in answers])


def print_findings(found: dict) -> None:
    """The table of `zero_shot`, most certain first; beside each the AUROC among records of one source."""
    ranked = sorted(found["findings"].items(), key=lambda item: -item[1]["auroc"])
    print(f"{'':<54}{'AUROC [95 %]':>20}{'within a source':>20}{'yes':>6}{'no':>6}")
    for name, one in ranked:
        interval = f"{one['auroc']:.3f} [{one['low']:.2f}, {one['high']:.2f}]"
        within = "" if one["within"] is None else f"{one['within']:.3f}"
        print(f"{name:<54}{interval:>20}{within:>20}{one['positives']:>6}{one['negatives']:>6}")
    means = ["{:.3f} [{:.2f}, {:.2f}]".format(*found[name]) if name in found else "" for name in ("macro", "within")]
    print(f"{'mean over ' + str(len(ranked)) + ' findings':<54}{means[0]:>20}{means[1]:>20}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("corpora", nargs="+", help="NAME=FOLDER, as for `ecgllm prepare`")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for all figures")
    given = parser.parse_args()
    if not (given.checkpoint / "config.json").is_file():
        raise SystemExit(f"{given.checkpoint} holds no checkpoint; expected the folder pretrain/model of a run")
    reader = Reader(given.checkpoint)
    corpora = [read_corpus(*pair.partition("=")[::2]) for pair in given.corpora]
    names = learned_findings(corpora)
    vectors, targets, patients, sources = [], [], [], []
    for source, corpus in zip(given.corpora, corpora, strict=True):
        for row, target in zip(corpus, targets_of(corpus, names), strict=True):
            try:
                vectors.append(reader.ecg(row["ecg"]))
            except ECGInputError as error:
                print(f"left out: {row['id']}: {error}")
                continue
            targets.append(target)
            patients.append(row["patient_id"])
            sources.append(source)
    scores = np.stack(vectors) @ reader.statements(names).T
    found = zero_shot(scores, np.array(targets), names, patients, sources=sources)
    if not found:
        raise SystemExit("no finding has five records that show it and five that do not; take more records")
    print_findings(found)
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
