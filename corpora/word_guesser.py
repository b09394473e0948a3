"""A blind classifier of words: logistic regression on the n-grams of a question, by scikit-learn (extra `audit`).

In: wordings, answers, patients. Out: credits on questions of patients, or of a split, that it was not trained on. It
carries to wordings never seen, as a language model does, where the table of `blindness` knows only keys. Decided here:
what is held out. As a rule whole patients. Where every wording has exactly as much yes as no, whole wordings: there,
leaving out one yes leaves its wording with more no, and a classifier would be wrong by construction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

_FOLDS = 5
_TIE = 1e-6  # of probabilities
_MOST_ANSWERS = 30  # of a query; rarer answer sets are never guessed
_EVEN = 1e-4  # of weights, which come as float32


def held_out_credits(
    texts: Sequence[str],
    answers: Sequence[str],
    clusters: Sequence[Hashable],
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Credit of the classifier for every question of one type: 1 right, 0 wrong, 1/k where k answers tie.

    Raises: ImportError without scikit-learn.
    """
    from sklearn.model_selection import GroupKFold

    mass = np.ones(len(answers)) if weights is None else np.asarray(weights, dtype=float)
    groups = texts if is_even(texts, answers, mass) else clusters
    number = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    credits = np.zeros(len(answers))
    if len(number) < 2:  # nothing is left to learn from
        return np.full(len(answers), 1 / max(1, len(set(answers))))
    folds = GroupKFold(min(_FOLDS, len(number))).split(texts, groups=[number[name] for name in groups])
    for seen, unseen in folds:
        credits[unseen] = word_credits(
            ([texts[i] for i in seen], [answers[i] for i in seen], mass[seen]),
            ([texts[i] for i in unseen], [answers[i] for i in unseen]),
        )
    return credits


def word_credits(
    train: tuple[Sequence[str], Sequence[str], np.ndarray], test: tuple[Sequence[str], Sequence[str]]
) -> np.ndarray:
    """Credit on questions of a classifier that saw others: (wordings, answers) of both, and weights."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    common = [answer for answer, _ in Counter(train[1]).most_common(_MOST_ANSWERS)]
    rows = [row for row, answer in enumerate(train[1]) if answer in set(common)]
    if len(common) == 1:
        return np.array([float(answer == common[0]) for answer in test[1]])
    # A wording is a word of its own, too: what a model learns by heart.
    words = CountVectorizer(analyzer=_tokens, binary=True)
    model: Any = make_pipeline(words, LogisticRegression(max_iter=100))
    model.fit(
        [train[0][row] for row in rows],
        [train[1][row] for row in rows],
        logisticregression__sample_weight=np.asarray(train[2])[rows],
    )
    asked = list(dict.fromkeys(test[0]))
    likely = dict(zip(asked, model.predict_proba(asked), strict=True))
    classes = list(model.classes_)
    credits = np.zeros(len(test[1]))
    for row, (text, answer) in enumerate(zip(*test, strict=True)):
        best = likely[text] >= likely[text].max() - _TIE
        if answer in classes and best[classes.index(answer)]:
            credits[row] = 1 / best.sum()
    return credits


def is_even(texts: Sequence[str], answers: Sequence[str], weights: np.ndarray) -> bool:
    """Whether in every wording all answers that occur at all weigh the same."""
    known = sorted(set(answers))
    found: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(known, 0.0))
    for text, answer, weight in zip(texts, answers, weights, strict=True):
        found[text][answer] += float(weight)
    if len(known) < 2:
        return False
    return all(
        max(mass.values()) - min(mass.values()) <= _EVEN * max(1.0, sum(mass.values())) for mass in found.values()
    )


def _tokens(text: str) -> list[str]:
    words = text.lower().replace("?", " ").replace(",", " ").split()
    return [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False)), f"= {text}"]
