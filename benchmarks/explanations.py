"""Do explanations mark the place? `python benchmarks/explanations.py [--model CHECKPOINT] [--records 20]`.

On simulated ECGs whose findings have a place (a premature beat, the P wave, ST), of the answers yes: how often the one
stretch of a lead, or of all leads, without which the answer falls most lies there, beside the share of stretches that
lie there (a stretch at random) and of those at the record's ends; and by how much the log-odds fall without the marked
tenth, without a random one, and without the one at the ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch

from ecgllm.asking import load_answerer
from ecgllm.evaluation.labels_of_records import question_about
from ecgllm.explanations import explain
from ecgllm.intervals import share
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals.simulation import simulate_with_waves

Places = Callable[[object], list[tuple[float, float]]]


def premature(kind: str) -> Places:
    return lambda waves: [
        (qrs[0] - 0.05, end)
        for qrs, end, own in zip(waves.qrs, waves.t_end, waves.kinds, strict=True)
        if own == f"premature {kind}"
    ]


def around(before: float, after: float, wave: str = "p") -> Places:
    return lambda waves: [(on - before, off + after) for on, off in getattr(waves, wave)]


def after_qrs(start: float, end: float) -> Places:
    return lambda waves: [(off + start, off + end) for _, off in waves.qrs]


PLACES: dict[str, Places] = {
    "premature ventricular complexes": premature("ventricular"),
    "premature atrial complexes": premature("atrial"),
    "left atrial enlargement": around(0.02, 0.02),
    "right atrial enlargement": around(0.02, 0.02),
    "wolff-parkinson-white pattern": lambda waves: [(on - 0.06, on + 0.08) for on, _ in waves.qrs],
    "complete left bundle branch block": around(0.02, 0.02, "qrs"),
    "st elevation": after_qrs(-0.02, 0.2),
    "t wave inversion": lambda waves: [(end - 0.25, end) for end in waves.t_end],
}

HEAD = (
    "finding",
    "answers yes",
    "the highest stretch of a lead lies there",
    "the highest of all leads",
    "of all stretches",
    "of those at the ends",
    "fall without the marked tenth",
    "without a random tenth",
    "without the tenth at the ends",
    "meaningless",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(shipped_checkpoint()))
    parser.add_argument("--records", type=int, default=20)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--stretch", type=float, default=0.2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    answerer = load_answerer(given.model)
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for name, places in PLACES.items():
        hits, together, chance, ends, falls, random, at_ends, meaningless = [], [], [], [], [], [], [], 0
        for record, waves in simulate_with_waves(given.records * 3, given.seed, findings=[name]):
            if len(hits) == given.records:
                break
            found = explain(answerer, record, question_about(name), candidates=["yes", "no"], stretch_s=given.stretch)
            where = places(waves)
            if found.answer != "yes" or not where:
                continue
            middle = (np.array(found.bounds_s[1:]) + np.array(found.bounds_s[:-1])) / 2
            there = np.array([any(on <= at <= off for on, off in where) for at in middle])
            best = np.unravel_index(found.falls.argmax(), found.falls.shape)[1]
            tenth = max(1, len(middle) // 20)
            hits.append(bool(there[best]))
            together.append(bool(there[found.by_time.argmax()]))
            chance.append(there.mean())
            ends.append(np.concatenate([there[:tenth], there[-tenth:]]).mean())
            falls.append(found.marked_fall)
            random.append(found.random_falls.mean())
            at_ends.append(found.ends_fall)
            meaningless += found.meaningless is not None
        cells = [name, len(hits)]
        if hits:
            patients = [f"{number}" for number in range(len(hits))]
            for rate in (share(hits, patients), share(together, patients)):
                cells.append(f"{rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}]")
            cells += [
                f"{np.mean(chance):.0%}",
                f"{np.mean(ends):.0%}",
                f"{np.mean(falls):.2f}",
                f"{np.mean(random):.2f}",
                f"{np.mean(at_ends):.2f}",
                meaningless,
            ]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
