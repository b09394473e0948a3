"""How far what was learned from simulated ECGs carries over to real ones: AUROC of every finding, never trained on.

    python benchmarks/carry_over.py RUN/pretrain/model ludb=FOLDER cinc2021=FOLDER ptbxl=FOLDER

RUN is a run folder of `ecgllm train` whose stage `pretrain` learned from statements of findings or from reports. Each
record of the corpora is held against the plain statement of every finding that the simulator knows; what a source
leaves open does not count.
Printed, most certain first: AUROC with its 95 % interval over patients, positives and negatives, and the mean over the
findings with at least five of either. Labels of different corpora follow different habits: a low figure may be the
fault of either. Beside it the mean in sentences that training does not use, and in names that it does not use
(`UNSEEN_NAMES`), each against the finding's own name for the same findings: how much hangs on the words.
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
from ecgllm.findings.statement_texts import also_called, holds, statement_paraphrases
from ecgllm.signal_ecgllm import ECGInputError
from ecgllm.signals.simulation import FINDINGS
from ecgllm.training.pretraining_metrics import zero_shot

UNSEEN_NAMES = {
    "normal ecg": "an ordinary ECG without pathological findings",
    "sinus rhythm": "the sinus node sets the rhythm",
    "sinus bradycardia": "bradycardia, sinus",
    "sinus tachycardia": "tachycardia, sinus",
    "sinus arrhythmia": "respiratory arrhythmia",
    "atrial fibrillation": "auricular fibrillation",
    "atrial flutter": "fluttering of the atria",
    "supraventricular tachycardia": "supraventricular tachyarrhythmia",
    "ventricular tachycardia": "tachycardia of ventricular origin",
    "first degree av block": "lengthened PR interval",
    "av block": "disturbed AV conduction",
    "bundle branch block": "blocked bundle branch",
    "complete right bundle branch block": "full right bundle block",
    "complete left bundle branch block": "full left bundle block",
    "incomplete right bundle branch block": "partial right bundle branch block",
    "left anterior fascicular block": "block of the left anterior fascicle",
    "premature atrial complexes": "supraventricular ectopy",
    "premature ventricular complexes": "ventricular ectopy",
    "left atrial enlargement": "a large left atrium",
    "left ventricular hypertrophy": "a thick left ventricle",
    "left axis deviation": "QRS axis turned to the left",
    "low qrs voltage": "small QRS complexes",
    "myocardial infarction": "infarcted myocardium",
    "acute myocardial infarction": "a fresh infarct",
    "old myocardial infarction": "a scar of an infarct",
    "anterior myocardial infarction": "infarct of the anterior wall",
    "inferior myocardial infarction": "infarct of the inferior wall",
    "lateral myocardial infarction": "infarct of the lateral wall",
    "st elevation myocardial infarction": "infarction with ST elevation",
    "t wave inversion": "inversion of T",
    "t wave abnormality": "abnormal T waves",
    "early repolarization": "repolarization that begins early",
    "ventricular pacing": "stimulation of the ventricle by a pacemaker",
    "paced rhythm": "an artificial pacemaker",
}
"""Finding -> how somebody might say it. None of these is a text of training: that is checked."""


class Reader:
    """A dual encoder, asked how near ECGs and findings are."""

    def __init__(self, checkpoint: Path):
        self.model = ECGTextDualEncoder.from_pretrained(checkpoint).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
        self.feature_extractor = ECGFeatureExtractor.from_pretrained(checkpoint)

    @torch.no_grad()
    def texts(self, texts: list[str]) -> np.ndarray:
        """[texts, dim], unit vectors."""
        encoded = self.tokenizer(texts, padding=True, return_tensors="pt")
        return self.model.get_text_embeds(encoded["input_ids"], encoded["attention_mask"]).numpy()

    @torch.no_grad()
    def probabilities(self, ecgs: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """[ecgs, texts] from unit vectors."""
        return self.model.logits(torch.from_numpy(ecgs), torch.from_numpy(texts)).sigmoid().numpy()

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


def wordings(reader: Reader, names: list[str]) -> dict[str, tuple[list[str], np.ndarray]]:
    """Kind of words -> (findings that are said so, unit vectors [findings, dim])."""
    for name, unseen in UNSEEN_NAMES.items():
        if unseen in (name, *also_called(name)):
            raise SystemExit(f"{unseen!r} is a name that training uses")
    sentences = [statement_paraphrases(name, "test") for name in names]
    named = [name for name in names if name in UNSEEN_NAMES]
    said = reader.texts([text for own in sentences for text in own]).reshape(len(names), len(sentences[0]), -1)
    return {
        "its name": (names, reader.texts([statement_paraphrases(name)[0] for name in names])),
        "sentences that training does not use": (names, said.mean(axis=1)),
        "names that training does not use": (named, reader.texts([UNSEEN_NAMES[name] for name in named])),
    }


def by_words(
    reader: Reader, vectors: np.ndarray, targets: np.ndarray, names: list[str], patients: list[str]
) -> dict[str, dict[str, list[float] | int]]:
    """Kind of words -> mean AUROC of the findings that are said so, "its_name" of the same ones, and their number."""
    said, found = wordings(reader, names), {}
    plain = said["its name"][1]
    for kind, (own, texts) in said.items():
        columns = [names.index(name) for name in own]
        figures = [zero_shot(vectors @ each.T, targets[:, columns], own, patients) for each in (texts, plain[columns])]
        found[kind] = {
            "auroc": figures[0]["macro"],
            "its_name": figures[1]["macro"],
            "findings": len(figures[0]["findings"]),
        }
    return found


def at_one_half(probabilities: np.ndarray, targets: np.ndarray, names: list[str], measured: list[str]) -> list[float]:
    """Mean over the measured findings of [sensitivity, specificity] where a probability over 1/2 is a yes."""
    columns = [names.index(name) for name in measured]
    yes, known = probabilities[:, columns] > 0.5, targets[:, columns]
    return [float(np.mean([(yes[:, c] == bool(what))[known[:, c] == what].mean() for c in range(len(columns))]))
            for what in (1, 0)]  # fmt: skip


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
    for source, corpus in zip((pair.partition("=")[0] for pair in given.corpora), corpora, strict=True):
        for row, target in zip(corpus, targets_of(corpus, names), strict=True):
            try:
                vectors.append(reader.ecg(row["ecg"]))
            except ECGInputError as error:
                print(f"left out: {row['id']}: {error}")
                continue
            targets.append(target)
            patients.append(f"{source}/{row['patient_id']}")
            sources.append(source)
    ecgs, targets = np.stack(vectors), np.array(targets)
    texts = wordings(reader, names)["its name"][1]
    found = zero_shot(ecgs @ texts.T, targets, names, patients, sources=sources)
    if not found:
        raise SystemExit("no finding has five records that show it and five that do not; take more records")
    found["by_words"] = by_words(reader, ecgs, targets, names, patients)
    found["at_one_half"] = at_one_half(reader.probabilities(ecgs, texts), targets, names, list(found["findings"]))
    print_findings(found)
    for kind, one in found["by_words"].items():
        print(
            "{}: {:.3f} [{:.3f}, {:.3f}] of {} findings, by their names {:.3f}".format(
                kind, *one["auroc"], one["findings"], one["its_name"][0]
            )
        )
    print("over 1/2 is a yes: sensitivity {:.3f}, specificity {:.3f}".format(*found["at_one_half"]))
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
