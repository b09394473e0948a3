"""How fast the scorer answers questions beside one-by-one `generate`, and whether the answers are the same.

    python benchmarks/evaluation.py [CHECKPOINT] [--records 100] [--questions 10] [--rounds 3] [--seed 0]

The same yes/no questions about findings, in paraphrases that are not trained on, about the same simulated 12-lead ECGs
of 10 s at 500 Hz; one process, one thread:

- `generate`: one by one, as a user asks. `apply_chat_template` of a question and its ECG, greedy `generate`, `decode`;
- `score`: `AnswerScorer.score` of all of them, with the candidates yes and no;
- `write`: `AnswerScorer.write`, greedy, which is to write what `generate` writes.

In all figures: preparing the ECGs (resampling, filters), which are records in memory, encoding them, tokenizing, and
the language model. One by one, an ECG is prepared and encoded once a question; by the scorer, once a record. In the
second table ECGs were prepared before, for all. Not in: loading, simulating. The scorer is new in each round, and has
no tokens yet. Rounds of the ways take turns, those of `generate` in parts; figures are of the time of the CPU, which
a busy machine leaves much as it is, and the ratio on the clock on the wall stands beside. The mark: `score` is 8 times
as fast as `generate`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from ecgllm import ECGLLMForConditionalGeneration, ECGProcessor
from ecgllm.corpora import build_questions, records_to_corpus
from ecgllm.prefix_scoring_ecgllm import AnswerScorer
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals.simulation import simulate_ecgs

ANSWERS = ("yes", "no")
MARK = 8.0
Seconds = tuple[float, float]
"""Of the CPU, and of the clock on the wall."""


def draw(records: int, questions: int, seed: int) -> tuple[list[Any], list[str], list[int]]:
    """(records, questions, the record that each is about)."""
    drawn = list(simulate_ecgs(records, seed, sampling_rate=500.0))
    corpus = records_to_corpus(drawn, source="simulation")
    built = build_questions(corpus, types=("verify",), paraphrases="test", seed=seed)
    texts, rng = sorted(set(built["question"])), np.random.default_rng(seed)
    asked = [texts[place] for _ in drawn for place in rng.choice(len(texts), questions, replace=False)]
    return drawn, asked, [number for number in range(records) for _ in range(questions)]


class Ways:
    """The ways of asking; each: questions and the ECG of each -> answers."""

    def __init__(self, checkpoint: Path):
        self.model = ECGLLMForConditionalGeneration.from_pretrained(checkpoint).eval()
        self.processor = ECGProcessor.from_pretrained(checkpoint)

    def generate(self, questions: Sequence[str], ecgs: Sequence[Any]) -> list[str]:
        answers = []
        for question, ecg in zip(questions, ecgs, strict=True):
            conversation = self.processor.build_conversation(question, [ecg])
            inputs = self.processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)
            output = self.model.generate(**inputs, do_sample=False, max_new_tokens=20)
            written = output[0, inputs["input_ids"].shape[1] :]
            answers.append(self.processor.decode(written, skip_special_tokens=True).strip())
        return answers

    def score(self, questions: Sequence[str], ecgs: Sequence[Any]) -> list[str]:
        scores = AnswerScorer(self.model, self.processor).score(
            questions, [[ecg] for ecg in ecgs], [ANSWERS] * len(ecgs)
        )
        return [ANSWERS[int(own.argmax())] for own in scores]

    def write(self, questions: Sequence[str], ecgs: Sequence[Any]) -> list[str]:
        texts, _ = AnswerScorer(self.model, self.processor).write(
            questions, [[ecg] for ecg in ecgs], max_new_tokens=20
        )
        return texts


def timed(way: Callable[..., Any], *arguments: Any) -> tuple[Any, Seconds]:
    cpu, wall = time.process_time(), time.perf_counter()
    found = way(*arguments)
    return found, (time.process_time() - cpu, time.perf_counter() - wall)


def measure(ways: Ways, questions: list[str], ecgs: list[Any], rounds: int) -> dict[str, tuple[list[str], Seconds]]:
    """Of each way its answers, and how long all questions take: the median of the rounds; of `generate` the sum of its
    parts, between which the others have their rounds."""
    spent: dict[str, list[Seconds]] = {"generate": [], "score": [], "write": []}
    answers: dict[str, list[str]] = {"generate": []}
    for part in np.array_split(np.arange(len(questions)), rounds):
        found, seconds = timed(ways.generate, [questions[row] for row in part], [ecgs[row] for row in part])
        answers["generate"] += found
        spent["generate"].append(seconds)
        for name in ("score", "write"):
            answers[name], seconds = timed(getattr(ways, name), questions, ecgs)
            spent[name].append(seconds)
    total = {name: np.median(values, axis=0) for name, values in spent.items()}
    total["generate"] = np.sum(spent["generate"], axis=0)
    return {name: (answers[name], tuple(total[name].tolist())) for name in spent}


def print_table(title: str, found: dict[str, tuple[list[str], Seconds]]) -> float:
    """Print it, and give how many times as fast as `generate` `score` is."""
    expected, seconds = found["generate"]
    number = len(expected)
    print(f"\n{title}\n{'':10s}{'questions/s':>12s}{'times':>8s}{'by the wall':>13s}{'same answers':>15s}")
    for name, (answers, own) in found.items():
        same = sum(answer == other for answer, other in zip(answers, expected, strict=True))
        ratios = f"{seconds[0] / own[0]:8.1f}{seconds[1] / own[1]:13.1f}"
        print(f"{name:10s}{number / own[0]:12.0f}{ratios}{same:10d}/{number}")
    return seconds[0] / found["score"][1][0]


def print_differences(
    ways: Ways, questions: list[str], ecgs: list[Any], written: list[str], chosen: list[str]
) -> None:
    """Every kind of difference between what is written and the likelier of yes and no, and how close the two are."""
    rows = [row for row, pair in enumerate(zip(written, chosen, strict=True)) if pair[0] != pair[1]]
    if not rows:
        print("\nEvery answer that generate wrote is the likelier of yes and no.")
        return
    scores = AnswerScorer(ways.model, ways.processor).score(
        [questions[row] for row in rows], [[ecgs[row]] for row in rows], [ANSWERS] * len(rows)
    )
    sure = [float(own.softmax(0).max()) for own in scores]
    for (wrote, likelier), count in Counter((written[row], chosen[row]) for row in rows).most_common():
        own = [
            value for value, row in zip(sure, rows, strict=True) if (written[row], chosen[row]) == (wrote, likelier)
        ]
        print(
            f"\ngenerate wrote {wrote!r} where {likelier!r} is the likelier of yes and no: {count} times, whose "
            f"probability relative to the other was {np.median(own):.3f} there (median; most {max(own):.3f})"
        )
    print("\nWritten is the likeliest token of the whole vocabulary each time; compared are two whole answers.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", type=Path, default=shipped_checkpoint())
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--questions", type=int, default=10, help="about each record")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    records, questions, numbers = draw(options.records, options.questions, options.seed)
    ways = Ways(options.checkpoint)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, one thread; {options.checkpoint.name}, {len(questions)} questions "
        f"({len(set(questions))} different) about {len(records)} records"
    )
    ways.generate(questions[:3], [records[number] for number in numbers[:3]])
    found = measure(ways, questions, [records[number] for number in numbers], options.rounds)
    times = print_table("from records: preparing in all", found)
    prepared = ways.processor.feature_extractor.prepare(records)
    ecgs = [prepared[number] for number in numbers]
    again = measure(ways, questions, ecgs, options.rounds)
    print_table("from prepared ECGs: preparing in none", again)
    print_differences(ways, questions, ecgs, found["generate"][0], found["score"][0])
    verdict = "met" if times >= MARK else "missed"
    print(f"\nscore is {times:.1f} times as fast as generate; the mark, {MARK:g}, is {verdict}")


if __name__ == "__main__":
    main()
