"""What de-biasing does to a model: the same tiny model and budget, trained on confounded and on de-biased questions.

    python benchmarks/debiasing.py [--seeds 3] [--records 4000] [--steps 400] [-o RESULTS.json]

The laboratory of the paper's claim (arXiv 2411.14795). Records are simulated, so that what confounds is known.
`confound` asks about them as a hospital would: severity decides which question is asked, in which words, and what is
answered. For each seed one encoder is pre-trained on reports and frozen; then the same untrained language model and
projector learn, with the same number of steps, from

    confounded          the biased set as it is
    de-biased           what `debias` leaves of it: sampled by outcome, matched on severity
    standardised        the same set by the adjustment formula: every question about as many sick patients as any other
                        (`debias` with method="standardise"; samples by its weights)
    de-biased, built    the paper's set: questions built from all records' findings, balanced and matched on severity
    de-biased first     the paper's schedule: half of the steps on the set above, half on the confounded one
    de-biased last      the other way round

All are asked about unseen patients in unseen paraphrases. Printed: mean over seeds and 95 % interval (Student's t).

    words alone         how often a classifier of words that saw the training set is right on the biased test set
    biased test         accuracy on questions with the training set's bias, with the true ECG, and with a random one:
                        what is right with a random ECG was not read from the ECG
    pairs               questions asked of an ECG that answers yes and of one that answers no, equally severe:
                        accuracy, both right (chance 25 %, a question-only baseline 0 %), and both right with random
                        ECGs
    paraphrase effect      how much more often "yes" is said to a suspecting paraphrase than to a neutral one, on pairs
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from scipy import stats
from transformers import TrainingArguments, set_seed

from ecgllm import ECGLLMForConditionalGeneration, ECGProcessor, ECGTextDualEncoder
from ecgllm.corpora import (
    QUESTION_FEATURES,
    build_questions,
    confound,
    debias_with_report,
    records_to_corpus,
    resampled,
)
from ecgllm.corpora.debiasing.confounders import other_severity
from ecgllm.corpora.debiasing.word_baseline import word_credits
from ecgllm.corpora.questions.paraphrases import PARAPHRASES, SUSPECTING
from ecgllm.corpora.questions.sampling import in_a_sentence
from ecgllm.findings.vocabulary import VOCABULARY
from ecgllm.processing_ecgllm import ECGFeatureExtractor
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training import run_recipe
from ecgllm.training.data.encoded_signals import EncodedSignals, encode_signals
from ecgllm.training.data.prepared_signals import load_signals, prepare_signals
from ecgllm.training.data.question_examples import QuestionCollator, QuestionExamples
from ecgllm.training.recipe import LanguageModelRecipe, LoraRecipe
from ecgllm.training.recipe_loading import recipe_from_dict
from ecgllm.training.text_models import build_language_model
from ecgllm.training.trainers.trainer import StageTrainer
from ecgllm.training.tuning import prepare_for_tuning
from ecgllm.training.yes_no_probabilities import yes_probabilities

SMALL = {"hidden_size": 96, "num_attention_heads": 4, "intermediate_size": 192}
ENCODER = SMALL | {"num_hidden_layers": 4, "patch_size": 20, "stem_channels": [32, 48], "stem_strides": [2, 2]}
TEXT_ENCODER = {"model_type": "bert", "num_hidden_layers": 2} | SMALL
LANGUAGE_MODEL = {"model_type": "llama", "num_hidden_layers": 3, "num_key_value_heads": 4, "initializer_range": 0.1,
                  "tie_word_embeddings": True} | SMALL  # fmt: skip
SICK = 2  # other findings and more
# What each arm learns from, one after the other, each for its share of the steps.
ARMS = {
    "confounded": ("confounded",),
    "de-biased": ("de-biased",),
    "standardised": ("standardised",),
    "de-biased, built": ("de-biased, built",),
    "de-biased first": ("de-biased, built", "confounded"),
    "de-biased last": ("confounded", "de-biased, built"),
}


class Laboratory:
    """One seed: records, frozen encoder, question sets, test questions."""

    def __init__(self, seed: int, records: int, pretrain_steps: int, strength: float, folder: Path):
        self.seed, self.folder = seed, folder
        self.train = records_to_corpus(simulate_ecgs(records, 10 * seed), source="simulation")
        self.test = records_to_corpus(simulate_ecgs(max(200, records // 3), 10 * seed + 1), source="simulation")
        encoder = self._pretrained(pretrain_steps)
        self.feature_extractor = ECGFeatureExtractor.from_pretrained(folder / "run")
        self.signals = {
            name: self._encoded(encoder, corpus, name) for name, corpus in (("train", self.train), ("test", self.test))
        }
        self.encoder = encoder
        self.sets = self._question_sets(strength)
        self.biased_test = confound(self.test, strength, seed, per_record=2, paraphrases="test")
        asked = sorted(set(self.sets["confounded"]["attribute"]))
        self.pairs = paired_questions(self.test, asked, seed)

    def _pretrained(self, steps: int):
        self.train.save_to_disk(self.folder / "corpus")
        recipe = {
            "corpus": "simulation", "data": str(self.folder / "corpus"), "output": str(self.folder / "run"),
            "seed": self.seed, "encoder": ENCODER, "text_encoder": {"config": TEXT_ENCODER, "vocab_size": 800},
            "stages": {"pretrain": {"batch_size": 64, "training": {"max_steps": steps, "learning_rate": 1e-3,
                                                                   "logging_steps": 50}}},
        }  # fmt: skip
        run_recipe(recipe_from_dict(recipe, "the laboratory's recipe"))
        return ECGTextDualEncoder.from_pretrained(self.folder / "run").ecg_encoder

    def _encoded(self, encoder, corpus: Dataset, name: str) -> EncodedSignals:
        prepare_signals(corpus, self.feature_extractor, self.folder / f"{name}-signals")
        signals = load_signals(self.folder / f"{name}-signals")
        encode_signals(encoder, self.feature_extractor, signals, signals, self.folder / f"{name}-encoded")
        return EncodedSignals(self.folder / f"{name}-encoded")

    def _question_sets(self, strength: float) -> dict[str, Dataset]:
        biased = confound(self.train, strength, self.seed, per_record=4)
        matched, report = debias_with_report(biased, self.seed, self.train, ["severity"])
        print(f"confounded {len(biased)} questions; de-biased: {report}", flush=True)
        # Bands that are broad: paraphrases are asked too rarely for all severities. All splits are trained on here.
        weighted, report = debias_with_report(
            biased, self.seed, self.train, {"severity": [SICK]}, method="standardise", by_split=False
        )
        print(f"standardised: {report.text(5)}", flush=True)
        asked = sorted(set(biased["attribute"]))
        everything = build_questions(self.train, ["verify"], seed=self.seed, per_record=8, attributes=asked)
        built, _ = debias_with_report(everything, self.seed, self.train, ["severity"])
        standardised = resampled(weighted, self.seed)
        return {"confounded": biased, "de-biased": matched, "standardised": standardised, "de-biased, built": built}

    def run(self, arm: str, steps: int, batch_size: int) -> dict[str, float]:
        """Train one arm and ask it."""
        parts = ARMS[arm]
        set_seed(self.seed)
        texts = [paraphrase for template in PARAPHRASES.values() for paraphrase in template["train"]] + list(
            VOCABULARY
        )
        language_model, tokenizer = build_language_model(
            LanguageModelRecipe(config=LANGUAGE_MODEL, vocab_size=800), texts
        )
        model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
            self.encoder, language_model, tokenizer=tokenizer, patches_per_token=5
        )
        processor = ECGProcessor.for_model(model, tokenizer, self.feature_extractor)
        model = prepare_for_tuning(model, "full", LoraRecipe())
        for part in parts:
            self._train(model, processor, self.sets[part], steps // len(parts), batch_size)
        seen = concatenate_datasets([self.sets[part] for part in parts])
        return {"words alone": words_alone(seen, self.biased_test), **self._asked(model, processor)}

    def _train(self, model, processor, questions: Dataset, steps: int, batch_size: int) -> None:
        arguments = TrainingArguments(
            output_dir=str(self.folder / "trainer"), max_steps=steps, per_device_train_batch_size=batch_size,
            seed=self.seed, learning_rate=2e-3, lr_scheduler_type="cosine", warmup_steps=0.1, weight_decay=1e-4,
            remove_unused_columns=False, label_names=["labels"], dataloader_drop_last=True, logging_steps=100,
            save_strategy="no", report_to="none", use_cpu=not torch.accelerator.is_available(), disable_tqdm=True,
            dataloader_pin_memory=False,
        )  # fmt: skip
        examples = QuestionExamples(questions, self.signals["train"], processor)
        collator = QuestionCollator(processor)
        StageTrainer(
            model=model, args=arguments, train_dataset=examples, data_collator=collator, group_by_length=True
        ).train()

    def _asked(self, model, processor: ECGProcessor) -> dict[str, float]:
        def says_yes(questions: Dataset) -> np.ndarray:
            asked = questions["question"], questions["ecg_ids"]
            return yes_probabilities(model, processor, *asked, self.signals["test"]) > 0.5

        biased, pairs = self.biased_test, self.pairs
        random_biased, random_pairs = (with_random_ecgs(rows, self.test, self.seed) for rows in (biased, pairs))
        yes_biased, yes_pairs = says_yes(biased), says_yes(pairs)
        suspecting = np.array([text == "suspecting" for text in pairs["template"]])
        return {
            "biased test": share(yes_biased, biased),
            "biased test, random ECG": share(says_yes(random_biased), biased),
            "pairs": share(yes_pairs, pairs),
            "pairs, both right": both_right(yes_pairs, pairs),
            "pairs, both right, random ECG": both_right(says_yes(random_pairs), pairs),
            "paraphrase effect": float(yes_pairs[suspecting].mean() - yes_pairs[~suspecting].mean()),
        }


def paired_questions(corpus: Dataset, findings: Sequence[str], seed: int, most: int = 40) -> Dataset:
    """For each finding, records that show it and equally severe ones that do not, asked in the same unseen paraphrase.

    Returns: rows 2k (yes) and 2k + 1 (no) are a pair; template says whether the paraphrase is suspecting.
    """
    rng, rows = np.random.default_rng(seed), []
    present = {row["id"]: row["findings"] for row in corpus.select_columns(["id", "findings"])}
    for finding in findings:
        sides = defaultdict(lambda: {True: [], False: []})
        for name, found in present.items():
            sides[other_severity(found, finding)][finding in found].append(name)
        pairs = []
        for severity in sorted(sides):
            yes, no = (rng.permutation(sides[severity][side]).tolist() for side in (True, False))
            pairs += zip(yes, no, strict=False)
        for turn, place in enumerate(rng.permutation(len(pairs))[:most]):
            paraphrases = PARAPHRASES["verify-finding"]["test"]
            paraphrase = paraphrases[turn % len(paraphrases)]
            for name, answer in zip(pairs[place], ("yes", "no"), strict=True):
                rows.append(
                    {
                        "question_id": f"{len(rows)}", "attribute": finding, "type": "verify", "ecg_ids": [name],
                        "template": "suspecting" if paraphrase in SUSPECTING else "neutral", "answers": [answer],
                        "question": paraphrase.format(**in_a_sentence(finding)), "severity": [], "split": "test",
                    }
                )  # fmt: skip
    return Dataset.from_list(rows, features=QUESTION_FEATURES)


def with_random_ecgs(questions: Dataset, corpus: Dataset, seed: int) -> Dataset:
    """The same questions about ECGs of patients drawn at random."""
    names, rng = corpus["id"][:], np.random.default_rng(seed)
    ids = [[str(rng.choice([name for name in names[:200] if name not in own]))] for own in questions["ecg_ids"]]
    return questions.remove_columns("ecg_ids").add_column("ecg_ids", ids)


def labels(questions: Dataset) -> np.ndarray:
    return np.array([answer == ["yes"] for answer in questions["answers"]])


def share(says_yes: np.ndarray, questions: Dataset) -> float:
    return float((says_yes == labels(questions)).mean())


def both_right(says_yes: np.ndarray, pairs: Dataset) -> float:
    return float((says_yes == labels(pairs)).reshape(-1, 2).all(axis=1).mean())


def words_alone(train: Dataset, test: Dataset) -> float:
    seen, asked = (
        (rows["question"][:], [answer for (answer,) in rows["answers"]]) for rows in (train, test)
    )  # fmt: skip
    return float(word_credits((*seen, np.ones(len(train))), asked).mean())


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half of its 95 % interval) over seeds, by Student's t."""
    if len(values) < 2:
        return float(np.mean(values)), float("nan")
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def table(results: dict[str, list[dict[str, float]]]) -> str:
    measures = list(next(iter(results.values()))[0])
    lines = [f"{'':<30}" + "".join(f"{arm:>20}" for arm in results)]
    for measure in measures:
        cells = (interval([found[measure] for found in runs]) for runs in results.values())
        lines.append(f"{measure:<30}" + "".join(f"{100 * mean:>12.1f} ±{100 * half:>5.1f} %" for mean, half in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--pretrain-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--arms", default="; ".join(ARMS), help="some of the arms, separated by semicolons")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for all figures")
    given = parser.parse_args()
    arms = [name.strip() for name in given.arms.split(";")]
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    results: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            laboratory = Laboratory(seed, given.records, given.pretrain_steps, given.strength, Path(folder))
            print(f"seed {seed}: ready after {time.perf_counter() - start:.0f} s", flush=True)
            for arm in arms:
                start = time.perf_counter()
                results[arm].append(laboratory.run(arm, given.steps, given.batch))
                print(f"seed {seed}, {arm}: {results[arm][-1]} ({time.perf_counter() - start:.0f} s)", flush=True)
        if given.output is not None:
            given.output.write_text(
                json.dumps({"settings": vars(given) | {"output": None}, "results": results}, indent=1)
            )
    print(table(results))


if __name__ == "__main__":
    main()
