"""How often a checkpoint answers rightly about real records that it never saw: figures for its model card.

    python benchmarks/shipped.py CHECKPOINT ludb=FOLDER cinc2021=FOLDER ptbxl=FOLDER [-o F.json] [--section F.md]

CHECKPOINT is a run folder of `ecgllm train` that ends in questions, or a checkpoint from one; none of the records may
have been in its training. Asked, in paraphrases that no recipe trains on, and answered by the likelier of yes and no:

- verify questions, for each paraphrase as many that are answered yes as no, and their pairs: two ECGs, the same
  question, once yes and once no, right only if both are;
- questions about what is new or gone in the second of two ECGs, of two patients where nobody has two;
- every finding that the simulator knows about every record that decides it: AUROC of P(yes), over all records and
  among those of one source.

How sure it says it is, the probability of the likelier answer relative to the other, is held against how often it is
right.

Beside each, the same with random ECGs in place of the right ones: what the question alone gives. Intervals are 95 %,
over patients. The heart rate stands beside every answer and is measured (`signals.measure`): how far it is off the
rate of the beats that LUDB marks. Intervals are held against LUDB's in docs/measurements.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import wfdb
from carry_over import learned_findings, print_findings, read_corpus, targets_of
from datasets import Dataset, concatenate_datasets

from ecgllm import ECGFeatureExtractor, ECGLLMForConditionalGeneration, ECGProcessor
from ecgllm.corpora import build_questions, debias
from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.corpora.questions.sampling import in_a_sentence
from ecgllm.findings.labels import GROUPS
from ecgllm.intervals import share
from ecgllm.signals import measure, read_ecg
from ecgllm.training.data.encoded_signals import EncodedSignals, encode_signals
from ecgllm.training.data.prepared_signals import load_signals, prepare_signals
from ecgllm.training.pretraining_metrics import zero_shot
from ecgllm.training.yes_no_probabilities import opposite_pairs, yes_probabilities


class Answerer:
    """A checkpoint, asked about records each of which is encoded once."""

    def __init__(self, checkpoint: Path, corpora: list[Dataset], folder: Path):
        self.model = ECGLLMForConditionalGeneration.from_pretrained(checkpoint).eval()
        self.processor = ECGProcessor.from_pretrained(checkpoint)
        extractor: ECGFeatureExtractor = self.processor.feature_extractor
        records = concatenate_datasets([corpus.select_columns(["id", "ecg"]) for corpus in corpora])
        prepare_signals(records, extractor, folder / "signals")
        signals = load_signals(folder / "signals")
        self.refused = signals.refused
        encode_signals(self.model.ecg_encoder, extractor, signals, signals, folder / "encoded")
        self.signals = EncodedSignals(folder / "encoded")

    def yes(self, questions: Sequence[str], ecg_ids: Sequence[Sequence[str]]) -> np.ndarray:
        """P(yes) relative to P(no), [questions]."""
        return yes_probabilities(self.model, self.processor, questions, ecg_ids, self.signals)


class Asked:
    """Balanced yes/no questions about some corpora, and how a checkpoint answers them."""

    def __init__(self, corpora: list[Dataset], kind: str, names: list[str], number: int, seed: int):
        per_record = max(number / sum(map(len, corpora)), 0.1) * (2 if kind == "comparison" else 1)
        parts = []
        for corpus in corpora:
            own = {name for findings in corpus["findings"] for name in findings}
            attributes = [name for name in names if name in own]
            if kind == "verify":
                attributes += ["any abnormality", *GROUPS]
            built = build_questions(
                corpus, types=(kind,), paraphrases="test", seed=seed, per_record=per_record, attributes=attributes
            )
            if any(answers in (["yes"], ["no"]) for answers in built["answers"]):
                parts.append(debias(built, seed, by_split=False))
        if not parts:
            raise SystemExit(f"no {kind} question can be asked with yes as often as no; take more records")
        self.rows = concatenate_datasets(parts)
        self.wanted = np.array([answers == ["yes"] for answers in self.rows["answers"]])
        self.patient = {
            record_id: patient
            for corpus in corpora
            for record_id, patient in zip(corpus["id"], corpus["patient_id"], strict=True)
        }
        self.seed = seed

    def figures(self, answerer: Answerer) -> dict[str, Any]:
        """{"answers", "answers_random_ecgs", "pairs", "pairs_random_ecgs"}, each as `_share` gives it, and "sure", by
        `_SURE` the shares of right answers."""
        pairs, found = opposite_pairs(self.rows[:]), {}
        for suffix, ids in (("", list(self.rows["ecg_ids"])), ("_random_ecgs", self._others())):
            yes = answerer.yes(self.rows["question"], ids)
            right = (yes > 0.5) == self.wanted
            patients = [[self.patient[record_id] for record_id in own] for own in ids]
            found["answers" + suffix] = _share(right, patients)
            both = [right[one] and right[other] for one, other in pairs]
            found["pairs" + suffix] = _share(both, [patients[one] + patients[other] for one, other in pairs])
            if not suffix:
                found["sure"] = self._by_sureness(np.maximum(yes, 1 - yes), right, patients)
        return found

    def _by_sureness(self, sure: np.ndarray, right: np.ndarray, patients: list[list[str]]) -> list[dict[str, Any]]:
        """{"from", "to", "stated" (mean), and `share` of right answers} for every range of `_SURE` with an answer."""
        found = []
        for low, high in zip(_SURE, (*_SURE[1:], 1.0), strict=True):
            rows = np.flatnonzero((sure >= low) & ((sure < high) | (high == 1.0)))
            if len(rows):
                one = _share(right[rows], [patients[row] for row in rows])
                found.append({"from": low, "to": high, "stated": float(sure[rows].mean())} | one)
        return found

    def _others(self) -> list[list[str]]:
        """For every question other ECGs: as many, of different patients that it is not about."""
        rng, every = np.random.default_rng([self.seed, 11]), sorted(self.patient)
        drawn = []
        for ids in self.rows["ecg_ids"]:
            taken, others = {self.patient[record_id] for record_id in ids}, []
            while len(others) < len(ids):
                other = every[int(rng.integers(len(every)))]
                if self.patient[other] not in taken:
                    taken.add(self.patient[other])
                    others.append(other)
            drawn.append(others)
        return drawn


def _share(right: Sequence[bool] | np.ndarray, patients: list[list[str]]) -> dict[str, Any]:
    """{"share", "low", "high" (95 %, over patients), "number"}."""
    one = share(right, patients)
    return {"share": one.value, "low": one.low, "high": one.high, "number": one.number}


def findings_of(answerer: Answerer, corpora: dict[str, Dataset], names: list[str]) -> dict[str, Any]:
    """`zero_shot` of P(yes) to the first test paraphrase of each finding, over all records that decide it."""
    targets = np.concatenate([targets_of(corpus, names) for corpus in corpora.values()])
    ids = [record_id for corpus in corpora.values() for record_id in corpus["id"]]
    patients = [patient for corpus in corpora.values() for patient in corpus["patient_id"]]
    sources = [source for source, corpus in corpora.items() for _ in range(len(corpus))]
    scores = np.zeros(targets.shape)
    rows, columns = np.nonzero(targets >= 0)
    texts = [question_about(name) for name in names]
    scores[rows, columns] = answerer.yes([texts[column] for column in columns], [[ids[row]] for row in rows])
    return zero_shot(scores, targets, names, patients, sources=sources)


def question_about(name: str) -> str:
    """The question after a finding that is asked about every record."""
    if name == "normal ecg":
        return PARAPHRASES["verify-normal"]["test"][0]
    return PARAPHRASES["verify-finding"]["test"][0].format(**in_a_sentence(name))


def rate_errors(folder: Path) -> np.ndarray:
    """Absolute errors in bpm of the measured rate over the stretch in which LUDB marks beats, one a record; a record
    without a measured rate has an infinite one."""
    errors = []
    for header in sorted((folder / "data").glob("*.hea")):
        marks = wfdb.rdann(str(header.with_suffix("")), "ii")
        record = read_ecg(header)
        marked = marks.sample[np.array(marks.symbol) == "N"] / record.sampling_rate
        beats = np.array(measure(record).beats or ())
        beats = beats[(beats > marked[0] - _NEAR_S) & (beats < marked[-1] + _NEAR_S)]
        errors.append(abs(60 / np.diff(beats).mean() - 60 / np.diff(marked).mean()) if len(beats) > 1 else np.inf)
    return np.array(errors)


def named_apart(name: str, corpus: Dataset, limit: int | None) -> Dataset:
    """A corpus whose records and patients cannot be taken for those of another one; `limit` spread over all of it."""
    if limit is not None and limit < len(corpus):
        corpus = corpus.select(np.linspace(0, len(corpus) - 1, limit).astype(int))
    for column in ("id", "patient_id"):
        values = [f"{name}/{value}" for value in corpus[column]]
        corpus = corpus.remove_columns(column).add_column(column, values)
    return corpus


_NEAR_S = 0.15
_SURE = (0.5, 0.7, 0.9, 0.97)
_SHOWN = (
    ("verify", "answers", "yes/no questions about one ECG"),
    ("verify", "pairs", "pairs of these, both right"),
    ("comparison", "answers", "yes/no questions about two ECGs"),
    ("comparison", "pairs", "pairs of these, both right"),
)


def section(figures: dict[str, Any]) -> str:
    """Markdown for the model card."""
    records = ", ".join(f"{count} of {name}" for name, count in figures["records"].items())
    lines = [
        "## On real records that it never saw",
        "",
        f"Measured by `benchmarks/shipped.py` on {records}, in paraphrases that were not trained on. Yes is the "
        "answer as often as no. Intervals are 95 %, over patients. With random ECGs in place of the right ones, the "
        "question is all there is to go by.",
        "",
        "| asked | right | interval | with random ECGs | number |",
        "|---|---|---|---|---|",
    ]
    for kind, what, title in _SHOWN:
        one, control = figures[kind][what], figures[kind][f"{what}_random_ecgs"]
        lines.append(
            f"| {title} | {one['share']:.1%} | {one['low']:.1%} to {one['high']:.1%} | {control['share']:.1%} "
            f"| {one['number']} |"
        )
    lines += [
        "",
        "How sure it says it is of yes or no about one ECG, and how often it is right:",
        "",
        "| probability of its answer | mean | right | interval | number |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['from']:.0%} to {one['to']:.0%} | {one['stated']:.1%} | {one['share']:.1%} "
        f"| {one['low']:.1%} to {one['high']:.1%} | {one['number']} |"
        for one in figures["verify"]["sure"]
    ]
    if "heart_rate" in figures:
        one = figures["heart_rate"]
        lines += [
            "",
            f"The heart rate is measured beside every answer. On LUDB its median error is {one['median_error']:.2f} "
            f"bpm, and {one['within_2_bpm']} of {one['records']} records are within 2 bpm of the marked beats (the "
            "detector's settings were chosen on LUDB).",
        ]
    found = figures["findings"]
    macro, low, high = found["macro"]
    within, *bounds = found.get("within", [float("nan")] * 3)
    lines += [
        "",
        f'AUROC of P(yes) to "{question_about("atrial fibrillation")}" and the like, over all records whose source '
        "decides it. Labels of different sources follow different habits: what one calls left axis deviation the "
        "other calls normal, and no score ranks both rightly. Beside it, therefore, among pairs of records of one "
        f"source, whose mean is {within:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f}).",
        "",
        "| finding | AUROC | interval | within a source | with | without |",
        "|---|---|---|---|---|---|",
        f"| mean of {len(found['findings'])} | {macro:.3f} | {low:.3f} to {high:.3f} | {within:.3f} | | |",
    ]
    lines += [
        f"| {name} | {one['auroc']:.3f} | {one['low']:.3f} to {one['high']:.3f} | {_figure(one['within'])} "
        f"| {one['positives']} | {one['negatives']} |"
        for name, one in sorted(found["findings"].items())
    ]
    return "\n".join(lines) + "\n"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("corpora", nargs="+", help="NAME=FOLDER, as for `ecgllm prepare`")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for all figures")
    parser.add_argument("--section", type=Path, help="Markdown file for the model card")
    parser.add_argument("--questions", type=int, default=2000, help="about so many of each kind")
    parser.add_argument("--limit", type=int, help="take so many records of each corpus")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.monotonic()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    corpora = {}
    for name, _, folder in (pair.partition("=") for pair in given.corpora):
        corpora[name] = named_apart(name, read_corpus(name, folder), given.limit)
    with tempfile.TemporaryDirectory(prefix="ecgllm-shipped-") as folder:
        answerer = Answerer(given.checkpoint, list(corpora.values()), Path(folder))
        for record_id, reason in answerer.refused.items():
            print(f"left out: {record_id}: {reason}")
        usable = {
            name: corpus.select([row for row, record_id in enumerate(corpus["id"]) if record_id in answerer.signals])
            for name, corpus in corpora.items()
        }
        asked = list(usable.values())
        names = learned_findings(asked)
        figures: dict[str, Any] = {
            "trained_on": answerer.model.config.trained_on,
            "records": {name: len(corpus) for name, corpus in usable.items()},
            "seed": given.seed,
        }
        print(f"encoded after {time.monotonic() - started:.0f} s")
        for kind in ("verify", "comparison"):
            figures[kind] = Asked(asked, kind, names, given.questions, given.seed).figures(answerer)
        figures["findings"] = findings_of(answerer, usable, names)
    for name, _, folder in (pair.partition("=") for pair in given.corpora):
        if name == "ludb":
            errors = rate_errors(Path(folder))
            figures["heart_rate"] = {
                "median_error": float(np.median(errors)),
                "within_2_bpm": int((errors <= 2).sum()),
                "records": len(errors),
            }
            print(f"heart rate: {figures['heart_rate']}")
    if not figures["findings"]:
        raise SystemExit("no finding has five records that show it and five that do not; take more records")
    print(f"{'':<40}{'right [95 %]':>24}{'random ECGs':>14}{'number':>8}")
    for kind, what, title in _SHOWN:
        one, control = figures[kind][what], figures[kind][f"{what}_random_ecgs"]
        right = f"{one['share']:.1%} [{one['low']:.1%}, {one['high']:.1%}]"
        print(f"{title:<40}{right:>24}{control['share']:>14.1%}{one['number']:>8}")
    print_findings(figures["findings"])
    print(f"{time.monotonic() - started:.0f} s")
    if given.output is not None:
        given.output.write_text(json.dumps(figures, indent=1))
    if given.section is not None:
        given.section.write_text(section(figures))


if __name__ == "__main__":
    main()
