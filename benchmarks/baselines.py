"""AUROC of every baseline of an evaluation, finding by finding, on corpora with findings.

    python benchmarks/baselines.py ludb=FOLDER cinc2021=FOLDER ptbxl=FOLDER [--checkpoint FOLDER] [-o FIGURES.json]

Every record is asked about every finding that records of --least patients show and of as many do not, where its source
decides it. Printed beside each AUROC: how many show it and how many do not; how often the criterion's own threshold is
right on either (sensitivity, specificity); and of how many records it cannot be told. --checkpoint adds regressions on
the embeddings of its encoder and of a random one, fitted on these records in folds by patient.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import concatenate_datasets

from ecgllm.corpora import build_questions, prepare
from ecgllm.evaluation.baselines import Baseline, baselines_for, encoders_of
from ecgllm.evaluation.finding_questions import finding_row
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.models import model_of
from ecgllm.evaluation.predictions import planned
from ecgllm.evaluation.tallies import says_yes, wants_yes
from ecgllm.intervals import auroc, macro_auroc


def asked_of_all(material: Material) -> pd.DataFrame:
    """A question about every frequent finding to every record whose source decides it."""
    names = material.labels.frequent(material.all_patients, material.settings.least)
    labels = {(record_id, name): material.labels.of(record_id, name) for name in names for record_id in material.about}
    rows = [
        finding_row(material, record_id, name, label, section="findings")
        for (record_id, name), label in labels.items()
        if label is not None
    ]
    return planned(rows)


def figures(baseline: Baseline, rows: pd.DataFrame, material: Material) -> dict[str, dict]:
    """Finding -> AUROC with interval, positives, negatives, unanswered, sensitivity and specificity."""
    rows = rows.assign(**baseline.answers(rows, material))
    found = {}
    for name, own in rows.groupby("finding", sort=False):
        told = own[own["p_yes"].notna()]
        positive, yes = wants_yes(told), says_yes(told).eq(1).to_numpy()
        if min(positive.sum(), (~positive).sum()) < material.settings.least:
            continue
        one = auroc(told["p_yes"].to_numpy(), positive, [names[0] for names in told["patients"]])
        found[name] = {
            "auroc": one.value, "low": one.low, "high": one.high,
            "positives": int(positive.sum()), "negatives": int((~positive).sum()), "untold": len(own) - len(told),
            "sensitivity": float(yes[positive].mean()), "specificity": float((~yes)[~positive].mean()),
            "scores": dict(zip((ids[0] for ids in told["record_ids"]), told["p_yes"], strict=True)),
        }  # fmt: skip
    return found


def macro(found: dict[str, dict], names: list[str], material: Material) -> dict[str, float]:
    """Mean AUROC over findings that are in every baseline, with its interval."""
    ids = list(material.about)
    scores = np.array([[found[name]["scores"].get(one, np.nan) for name in names] for one in ids])
    targets = np.full(scores.shape, -1)
    for column, name in enumerate(names):
        labels = [material.labels.of(one, name) for one in ids]
        known = np.array([label is not None for label in labels]) & ~np.isnan(scores[:, column])
        targets[known, column] = np.array([bool(label) for label in labels])[known]
    one, _ = macro_auroc(np.nan_to_num(scores), targets, material.all_patients)
    return {"auroc": one.value, "low": one.low, "high": one.high, "findings": len(names)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--least", type=int, default=5)
    parser.add_argument("--checkpoint", type=Path, help="folder of a model, for regressions on its encoder")
    parser.add_argument("--only", nargs="+", help="names of baselines")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    corpus = concatenate_datasets([prepare(*named.split("=", 1)) for named in given.corpora])
    no_questions = build_questions(corpus.select([]), per_record=1)
    encoders = {} if given.checkpoint is None else encoders_of(model_of(str(given.checkpoint)))
    material = Material(corpus, no_questions, Settings(least=given.least), encoders)
    rows = asked_of_all(material)
    print(f"{len(corpus)} records, {len(rows)} questions about {rows['finding'].nunique()} findings")
    found, macros = {}, {}
    for baseline in baselines_for(material):
        if given.only and baseline.name not in given.only:
            continue
        began = time.time()
        found[baseline.name] = figures(baseline, rows, material)
        print(f"{baseline.name}: {len(found[baseline.name])} findings, {time.time() - began:.0f} s", flush=True)
    shared = [name for name in rows["finding"].unique() if all(name in own for own in found.values())]
    for name, own in found.items():
        macros[name] = macro(own, shared, material)
        print("{}: {auroc:.3f} [{low:.3f}, {high:.3f}] over {findings} findings".format(name, **macros[name]))
        for finding, one in sorted(own.items(), key=lambda item: -item[1]["auroc"]):
            print(
                "  {:<52}{auroc:.3f} [{low:.3f}, {high:.3f}] {positives:>4}/{negatives:<4} untold {untold:<3} "
                "sens {sensitivity:.2f} spec {specificity:.2f}".format(finding, **one)
            )
    if given.output:
        for own in found.values():
            for one in own.values():
                del one["scores"]
        given.output.write_text(json.dumps({"macro": macros, "findings": found}, indent=1))


if __name__ == "__main__":
    main()
