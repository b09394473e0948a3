"""Logistic regression on the labels of the evaluated records themselves, in folds by patient.

In: rows of yes or no about findings of one record. Out: the probability of yes that a regression gives which saw other
patients alone; null for other rows, for findings that too few patients show or lack, and for records without features.
Decided here: features are standardised by those of training, strength of regularisation is fixed (C 0.1), records are
those that are asked about, five folds. Each fold's frequency of a finding gives way to that of all records: of a rare
one it differs between folds, and records would be ranked by their fold, those with the finding last. Labels are the
corpus' (`material.labels`), so that a finding is learned from every record that decides it, and not only from those
that were drawn for a question about it.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from ...training.classification import LinearProbe
from ..material import Material
from ..predictions import YES_NO
from ..protocol import ShownECG
from .embeddings import RANDOM, TRAINED
from .folds import held_out
from .measured import measured
from .seen import seen_of

STRENGTH = 0.1
_ABOUT_ONE = ("verify-finding", "verify-normal", "verify-group", "verify-abnormality")
Features = Callable[[Material, list[str]], np.ndarray]
Answers = Callable[[pd.DataFrame, Material], pd.DataFrame]

_KNOWN: WeakKeyDictionary[Callable, WeakKeyDictionary[Material, dict]] = WeakKeyDictionary()
"""Encoder -> material -> record id -> what it gave. Materials of two models are equal, but for their encoders."""


def of_measurements(material: Material, record_ids: list[str]) -> np.ndarray:
    """float [records, figures]: intervals, amplitudes and how beats differ (`measured`)."""
    seen = seen_of(material, record_ids)
    return measured([seen[record_id] for record_id in record_ids])


def of_encoder(name: str) -> Features:
    """float [records, size]: what one of `Material.encoders` gives, NaN without it; each record is encoded once."""

    def features(material: Material, record_ids: list[str]) -> np.ndarray:
        if name not in material.encoders:
            return np.full((len(record_ids), 1), np.nan)  # nothing is answered
        encoder = material.encoders[name]
        known = _KNOWN.setdefault(encoder, WeakKeyDictionary()).setdefault(material, {})
        new = [record_id for record_id in record_ids if record_id not in known]
        for start in range(0, len(new), 256):  # so that few records are in memory together
            part = new[start : start + 256]
            vectors = encoder([material.ecgs[ShownECG(record_id)] for record_id in part])
            known |= dict(zip(part, vectors, strict=True))
        return np.stack([known[record_id] for record_id in record_ids])

    return features


def of_both(material: Material, record_ids: list[str]) -> np.ndarray:
    """Embeddings and measurements side by side."""
    return np.concatenate([of_encoder(TRAINED)(material, record_ids), of_measurements(material, record_ids)], axis=1)


def regression(features: Features) -> Answers:
    """The answers of a regression on these features; see the module."""

    def answers(rows: pd.DataFrame, material: Material) -> pd.DataFrame:
        names = [_finding(row) for row in rows.itertuples(index=False)]
        asked = sorted({row[0] for row, name in zip(rows["record_ids"], names, strict=True) if name is not None})
        p_yes = np.full(len(rows), np.nan)
        if asked:
            probabilities = _out_of_fold(features(material, asked), asked, material)
            place = {record_id: number for number, record_id in enumerate(asked)}
            for number, (ids, name) in enumerate(zip(rows["record_ids"], names, strict=True)):
                if name in probabilities:
                    p_yes[number] = probabilities[name][place[ids[0]]]
        given = [None if np.isnan(p) else [YES_NO[0] if p > 0.5 else YES_NO[1]] for p in p_yes]
        return pd.DataFrame({"answers": pd.Series(given, rows.index, dtype=object), "p_yes": p_yes}, rows.index)

    return answers


def _finding(row: tuple) -> str | None:
    """What a row asks of one record: a finding or a group."""
    if len(row.record_ids) != 1:
        return None
    return row.finding or (row.attribute if row.template in _ABOUT_ONE else None)


def _out_of_fold(features: np.ndarray, record_ids: list[str], material: Material) -> dict[str, np.ndarray]:
    """Finding -> probability of each record, NaN where it has no features; findings that are frequent enough."""
    usable = np.isfinite(features).all(axis=1)
    patients = [material.patient(record_id) for record_id in record_ids]
    people = np.asarray(patients)
    labels, names = [], []
    for name in material.labels.names:
        known = [material.labels.of(record_id, name) for record_id in record_ids]
        column = np.array([np.nan if label is None else float(label) for label in known])
        sides = (column == 1) & usable, (column == 0) & usable
        if min(len(np.unique(people[side])) for side in sides) >= material.settings.least:
            labels.append(column)
            names.append(name)
    if not names:
        return {}
    targets, found = np.stack(labels, axis=1), np.full((len(record_ids), len(names)), np.nan)
    for asked, seen in held_out([[name] for name in patients]):
        train, test = seen[usable[seen]], asked[usable[asked]]
        if len(train) and len(test):
            probe = LinearProbe(STRENGTH).fit(features[train], targets[train])
            shift = _log_odds(targets[usable]) - _log_odds(targets[train])
            found[test] = expit(probe.logits(features[test]) + shift)
    return dict(zip(names, found.T, strict=True))


def _log_odds(targets: np.ndarray) -> np.ndarray:
    """Of each finding, [findings]; as `LinearProbe` has them where all that is known is alike."""
    return logit(np.clip(np.nanmean(targets, axis=0), 1e-3, 1 - 1e-3))


ON_MEASUREMENTS, ON_ENCODER = regression(of_measurements), regression(of_encoder(TRAINED))
ON_RANDOM_ENCODER, ON_BOTH = regression(of_encoder(RANDOM)), regression(of_both)
