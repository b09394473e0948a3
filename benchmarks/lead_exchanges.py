"""Weighs the figures by which exchanged electrodes are told, and counts what is found and what is flagged wrongly.

    python benchmarks/lead_exchanges.py ludb=FOLDER [NAME=FOLDER ...] [--write]

Each FOLDER is searched for WFDB headers of twelve leads. Exchanges are made on paper. Weights and threshold are chosen
on half of LUDB's records (a checksum of the record's number) and simulated ones; the table gives the other half of
LUDB, simulated records of another seed, and every other folder whole, which nothing was chosen on. With --write the
weights go to `signals/analysis/lead_exchange_weights.py`; without, those that are there are counted. Some minutes.

The weights are those of a conditional logit (McFadden 1974): the probability that an arrangement is the true one is
exp(score) by its sum over all arrangements, the score linear in the figures of `lead_shapes`. Records come as they are
and once with each exchange.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from scipy.stats import beta

from ecgllm.signals import ECGRecord, iter_ecgs
from ecgllm.signals.analysis import lead_exchanges
from ecgllm.signals.analysis.lead_exchanges import EXCHANGES, arrangements, dominant_beats
from ecgllm.signals.analysis.lead_shapes import describe, second_moments
from ecgllm.signals.simulation import simulate_ecgs

SEEDS, SIMULATED = (777, 778), 1000  # of the half that chooses and of the one that is counted
RIDGE, SIMULATED_WEIGHT, FALSE_FLAGS, FOLDS = 3e-4, 0.2, 0.008, 4
MOMENTS_RIDGE = 0.02
AS_IT_IS_WEIGHT = 3.0  # of a record without an exchange beside one with any
WRITTEN = Path(lead_exchanges.__file__).with_name("lead_exchange_weights.py")


def beats_of(records: list[ECGRecord]) -> np.ndarray:
    """Dominant beats [records, 8, samples] of those that can be checked."""
    found = [
        dominant_beats(dict(zip(each.leads, each.signal, strict=True)), each.sampling_rate)
        for each in records
        if np.isfinite(each.signal).all()
    ]
    return np.stack([each for each in found if each is not None and lead_exchanges.flat_limb_lead(each) is None])


def half_of(record: ECGRecord) -> int:
    return zlib.crc32(f"ludb/{Path(record.id).stem}".encode()) % 2


def precisions_of(beats: np.ndarray) -> np.ndarray:
    means = [moments.mean(axis=0) for moments in second_moments(beats)]
    return np.stack([np.linalg.inv(mean + MOMENTS_RIDGE * np.eye(8) * np.trace(mean) / 8) for mean in means])


def arranged(beats: np.ndarray, precisions: np.ndarray) -> np.ndarray:
    """Figures [records, made, undone, figures] of every exchange made and every exchange undone."""
    matrices = arrangements()
    return np.stack(
        [describe((matrices @ made) @ beats[:, None], precisions).astype(np.float32) for made in matrices], axis=1
    )


def fit(figures: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights of the figures; `weights` are those of the records."""
    scale = figures[:, 0, 0].std(axis=0) + 1e-3
    scaled = figures / scale
    made = np.arange(figures.shape[1])
    share = np.ones(len(made))
    share[0] = AS_IT_IS_WEIGHT
    share = weights[:, None] / weights.sum() * share / share.sum()

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        score = (scaled @ w.astype(np.float32)).astype(np.float64)
        off = softmax(score, axis=-1)
        value = (share * (logsumexp(score, axis=-1) - score[:, made, made])).sum()
        off[:, made, made] -= 1
        slope = np.einsum("nmu,nmuf->f", (off * share[..., None]).astype(np.float32), scaled, optimize=True)
        return value + RIDGE * w @ w, slope + 2 * RIDGE * w

    return minimize(loss, np.zeros(scaled.shape[-1]), jac=True, method="L-BFGS-B", options={"maxiter": 80}).x / scale


def evidence(score: np.ndarray) -> np.ndarray:
    return logsumexp(score[..., 1:] - score[..., :1], axis=-1)


def choose(real: np.ndarray, simulated: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Precisions, weights and the evidence that at most `FALSE_FLAGS` of both kinds exceed when they were left out."""
    beats = np.concatenate([real, simulated])
    is_real = np.arange(len(beats)) < len(real)
    weights = np.where(is_real, 1.0, SIMULATED_WEIGHT)
    fold = np.random.default_rng(0).integers(0, FOLDS, len(beats))
    # Precisions are fitted without the records that they are applied to, or those would seem too usual.
    figures = np.concatenate([
        arranged(beats[fold == k], precisions_of(beats[is_real & (fold != k)])) for k in range(FOLDS)
    ])  # fmt: skip
    order = np.argsort(np.concatenate([np.flatnonzero(fold == k) for k in range(FOLDS)]))
    figures = figures[order]
    score = np.zeros(figures.shape[:3])
    for k in range(FOLDS):
        left_out = fold == k
        score[left_out] = figures[left_out] @ fit(figures[~left_out], weights[~left_out])
    for name, kind in (("LUDB", is_real), ("simulated", ~is_real)):
        limit = np.quantile(evidence(score[kind, 0]), 1 - FALSE_FLAGS)
        print(f"half that chooses, {name}, left out of the fit: {FALSE_FLAGS:.1%} have evidence above {limit:.2f}")
    limit = max(np.quantile(evidence(score[kind, 0]), 1 - FALSE_FLAGS) for kind in (is_real, ~is_real))
    table("cross-fitted, LUDB", score[is_real], limit)
    table("cross-fitted, simulated", score[~is_real], limit)
    return precisions_of(real), fit(figures, weights), float(limit)


def interval(hits: int, n: int) -> str:
    """Clopper and Pearson's 95 % interval."""
    low = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    return f"{low * 100:.0f}-{high * 100:.0f}"


def table(title: str, score: np.ndarray, limit: float) -> None:
    """Of records that are as they are and with each exchange: flagged, and rightly named, in percent."""
    flagged = evidence(score) > limit
    odds = score[..., 1:] - score[..., :1]
    n, false = len(score), int(flagged[:, 0].sum())
    print(f"\n{title}: {n} records, {false} flagged as they are ({false / n:.1%}, {interval(false, n)} %)")
    for at, names in enumerate(EXCHANGES):
        best = odds[:, at + 1].argmax(axis=1)
        named = odds[:, at + 1, at] >= odds[:, at + 1].max(axis=1) + np.log(lead_exchanges.AS_WELL)
        hits = flagged[:, at + 1]
        first, among = int((hits & (best == at)).sum()), int((hits & named).sum())
        print(
            f"  {'-'.join(names)}: flagged {hits.mean():.0%}, named first {first / n:.0%} ({interval(first, n)}), "
            f"among those named {among / n:.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="NAME=FOLDER", help="ludb=FOLDER and any others")
    parser.add_argument("--write", action="store_true", help="choose weights anew and write them")
    options = parser.parse_args()
    folders = dict(each.split("=", 1) for each in options.folders)
    ludb = list(iter_ecgs(folders.pop("ludb"), workers=1, progress=False))
    real = [beats_of([each for each in ludb if half_of(each) == half]) for half in (0, 1)]
    simulated = [beats_of(simulate_ecgs(SIMULATED, seed, 250)) for seed in SEEDS]
    precisions, weights, limit = (
        (np.array(lead_exchanges.PRECISIONS), np.array(lead_exchanges.WEIGHTS), lead_exchanges.EVIDENCE)
        if not options.write
        else choose(real[0], simulated[0])
    )
    if options.write:
        write(precisions, weights, limit)
    counted = {"LUDB, other half": real[1], "simulated, other seed": simulated[1]}
    counted |= {name: beats_of(list(iter_ecgs(each, workers=1, progress=False))) for name, each in folders.items()}
    for title, beats in counted.items():
        table(
            title,
            np.concatenate([arranged(beats[k : k + 50], precisions) @ weights for k in range(0, len(beats), 50)]),
            limit,
        )


def write(precisions: np.ndarray, weights: np.ndarray, limit: float) -> None:
    precisions[:], weights[:] = _rounded(precisions), _rounded(weights)
    rows = ",\n".join(
        "    (\n" + "".join(f"        ({', '.join(f'{v:g}' for v in row)}),\n" for row in each) + "    )"
        for each in precisions
    )
    lines = [weights[k : k + 10] for k in range(0, len(weights), 10)]
    body = "".join(f"    {', '.join(f'{v:g}' for v in line)},\n" for line in lines)
    WRITTEN.write_text(
        f'"""Constants of `lead_exchanges`, written by `benchmarks/lead_exchanges.py --write`; not to be edited.\n\n'
        f"Chosen on half of LUDB's records (a checksum of the record's number) and {SIMULATED} simulated ones (seed "
        f"{SEEDS[0]}),\neach once as it is and once with each exchange.\n"
        f'"""\n\n# fmt: off\nPRECISIONS = (\n{rows},\n)\n'
        '"""Inverses of the mean second moments of P, QRS and T of leads in their places, [3, 8, 8]."""\n\n'
        f'WEIGHTS = (\n{body})\n"""Of each figure of `lead_shapes.describe`."""\n\n'
        f"EVIDENCE = {limit:.2f}\n"
        f'"""Above it an exchange is named: {FALSE_FLAGS:.1%} of either kind of records exceeded it unexchanged, left '
        f'out of the fit."""\n# fmt: on\n',
        encoding="utf-8",
    )


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.array([float(f"{value:.3g}") for value in values.ravel()]).reshape(values.shape)


if __name__ == "__main__":
    main()
