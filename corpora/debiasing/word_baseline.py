"""A question-only classifier of words: scikit-learn's logistic regression on n-grams of a question, cross-fitted by
record.

In: paraphrases, answers, clusters (records or patients). Out: credits on questions about records, or of a split, that
it was not trained on. It carries to paraphrases never seen, as a language model does, where the table of
`question_only_baseline` knows only keys. Decided here: near balance it is wrong by construction, as leaving out one
yes leaves its paraphrase with more no. So it is followed as far as predictions of about its certainty earn more than
the commonest answer, beyond chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .cross_fitting import folds_of, numbers, trust
from .question_only_baseline import baseline_credits, transfer_credits

_FOLDS = 5
_PARTITION = 100  # another than those of the table of keys
_TIE = 1e-6  # of probabilities
_MOST_ANSWERS = 30  # of a query; rarer answer sets are never predicted
# Lead in probability of the likeliest answer; predictions between two of these are treated alike.
_CERTAINTY = (0.02, 0.05, 0.1, 0.2, 0.4)

Seen = tuple[Sequence[str], Sequence[str], Sequence[Hashable], np.ndarray]  # paraphrases, answers, clusters, weights


def held_out_credits(
    texts: Sequence[str],
    answers: Sequence[str],
    clusters: Sequence[Hashable],
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Credit of the classifier for every question of one type: 1 right, 0 wrong, 1/k where k answers tie; in between
    where it is followed in part."""
    mass = np.ones(len(answers)) if weights is None else np.asarray(weights, dtype=float)
    broad = baseline_credits([()] * len(answers), answers, clusters, mass)
    credits, group, trusted = _cross_fitted((texts, answers, clusters, mass), broad)
    return broad + trusted[group] * (credits - broad)


def transferred_credits(train: Seen, test: tuple[Sequence[str], Sequence[str]]) -> np.ndarray:
    """Credit on the questions of one split, of one type, of the classifier that saw another."""
    broad = baseline_credits([()] * len(train[1]), train[1], train[2], train[3])
    trusted = _cross_fitted(train, broad)[2]
    known = transfer_credits(([()] * len(train[1]), *train[1:]), ([()] * len(test[1]), test[1]))
    credits, group = _predicted((train[0], train[1], train[3]), test)
    return known + trusted[group] * (credits - known)


def word_credits(
    train: tuple[Sequence[str], Sequence[str], np.ndarray], test: tuple[Sequence[str], Sequence[str]]
) -> np.ndarray:
    """Credit on questions of a classifier that saw others and is always followed: (paraphrases, answers) of both, and
    weights."""
    return _predicted(train, test)[0]


def _cross_fitted(seen: Seen, broad: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(credits, group of certainty) of every question, from the other folds, and the trust in each group."""
    texts, answers, clusters, mass = seen
    credits, group = broad.copy(), np.zeros(len(answers), dtype=int)
    fold = folds_of(clusters, _FOLDS, _PARTITION)
    for one in np.unique(fold):
        own, asked = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        if len(own):
            credits[asked], group[asked] = _predicted(
                ([texts[i] for i in own], [answers[i] for i in own], mass[own]),
                ([texts[i] for i in asked], [answers[i] for i in asked]),
            )
    return credits, group, trust(credits - broad, group, numbers(clusters), mass, len(_CERTAINTY) + 1)


def _predicted(
    train: tuple[Sequence[str], Sequence[str], np.ndarray], test: tuple[Sequence[str], Sequence[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Credits, and the group of certainty of every prediction."""
    # Here, for only audits need what takes a second to import.
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    counts = Counter(train[1])
    common = [answer for answer, _ in counts.most_common(_MOST_ANSWERS)]
    if len(common) > 2:  # what was answered once cannot be learned from its words
        common = [answer for answer in common if counts[answer] > 1] or common[:1]
    if len(common) == 1:
        return np.array([float(answer == common[0]) for answer in test[1]]), np.full(len(test[1]), len(_CERTAINTY))
    known = set(common)
    rows = [row for row, answer in enumerate(train[1]) if answer in known]
    # A paraphrase is a word of its own, too: what a model learns by heart.
    words = CountVectorizer(analyzer=_tokens, binary=True)
    model: Any = make_pipeline(words, LogisticRegression(tol=1e-3, max_iter=300))
    model.fit(
        [train[0][row] for row in rows],
        [train[1][row] for row in rows],
        logisticregression__sample_weight=np.asarray(train[2])[rows],
    )
    place = {text: number for number, text in enumerate(dict.fromkeys(test[0]))}
    likely = model.predict_proba(list(place))
    two = np.sort(likely, axis=1)[:, -2:]
    group = np.searchsorted(_CERTAINTY, two[:, 1] - two[:, 0], side="right")
    best = likely >= likely.max(axis=1, keepdims=True) - _TIE
    column = {answer: number for number, answer in enumerate(model.classes_)}
    asked = np.array([place[text] for text in test[0]])
    right = np.array([column.get(answer, -1) for answer in test[1]])
    credits = np.where(right >= 0, best[asked, right] / best[asked].sum(axis=1), 0.0)
    return credits, group[asked]


def _tokens(text: str) -> list[str]:
    words = text.lower().replace("?", " ").replace(",", " ").split()
    return [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False)), f"= {text}"]
