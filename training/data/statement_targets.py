"""Statements as targets: the texts that every ECG of a batch is compared with, which of them hold, and their weights.

In: the findings of a corpus' records, and what each source ever states. Out: `StatementTargets`: names, a row of
targets per record, weights, and texts for a training step or for measuring. Decided here: the paraphrases of a
step follow from the seed and the number of the step alone, so that all processes, and a resumed run, use the same; and
how yes and no are balanced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...errors_ecgllm import ECGError
from ...findings.labels import GROUPS, VOCABULARY
from ...findings.statement_texts import holds, statement_names, statement_paraphrases

UNKNOWN = -1
_RAREST = 0.02


class StatementTargets:
    """Statements about a corpus.

    Args:
        findings: of the training records, from which the shares of yes and no are counted. stated: source -> every
            finding that it ever states, in any split (`corpora.sources.stated_by_source`); what a source never states
            is unknown in its records. seed: of the paraphrases. sources: of the records of `findings`; None: all of
            the source None.
    Attributes: names: of the statements that hold for some training record and not for another. weights: float32 [2,
        statements], of no (first row) and yes.

    Weights: of all records, a statement holds for the share p and does not hold for the share q; the rest is unknown.
    Yes has the weight 1/(2p), no 1/(2q). So every statement has the same expected weight, half of it for yes and half
    for no. Atrial fibrillation in 2 % of the records is not outweighed by the 98 % without it, and one bias fits all
    statements. Shares below 2 % count as 2 %: with larger weights, single ECGs would dominate the gradient.
    """

    def __init__(
        self,
        findings: Sequence[Sequence[str]],
        stated: Mapping[str | None, Iterable[str]],
        seed: int = 0,
        sources: Iterable[str | None] | None = None,
    ):
        self.seed = seed
        self._stated = {source: frozenset(names) for source, names in stated.items()}
        self._rows: dict[tuple[frozenset[str], str | None], np.ndarray] = {}
        self.names = statement_names(self._stated.values())
        counts = np.zeros((2, len(self.names)))
        for own, source in zip(findings, [None] * len(findings) if sources is None else sources, strict=True):
            row = self.targets(own, source)
            counts += [row == 0, row == 1]
        kept = np.flatnonzero((counts > 0).all(axis=0))
        self.names = tuple(self.names[position] for position in kept)
        self._rows = {key: row[kept] for key, row in self._rows.items()}
        self.weights = (0.5 / np.maximum(counts[:, kept] / max(len(findings), 1), _RAREST)).astype(np.float32)
        categories = [VOCABULARY[name].category if name in VOCABULARY else GROUPS.get(name) for name in self.names]
        self._of_noise = np.array([category == "noise" for category in categories], dtype=bool)
        self._no_noise = np.array([name == "no noise" for name in self.names], dtype=bool)
        self._training = [statement_paraphrases(name) for name in self.names]
        self._measuring = [
            (statement_paraphrases(name)[0], *statement_paraphrases(name, "test")) for name in self.names
        ]

    def __len__(self) -> int:
        return len(self.names)

    def targets(self, findings: Iterable[str], source: str | None = None) -> np.ndarray:
        """int8 [statements]: 1 where the statement holds, 0 where it does not, -1 where the source leaves it unknown.

        Raises: ValueError for a source that is not in `stated`.
        """
        if source not in self._stated:
            raise ECGError(f"source is {source!r}; expected one of {', '.join(map(repr, self._stated))}")
        key = frozenset(findings), source
        row = self._rows.get(key)
        if row is None:
            answers = (holds(key[0], name, self._stated[source]) for name in self.names)
            row = np.array([UNKNOWN if answer is None else int(answer) for answer in answers], dtype=np.int8)
            # Records share findings; a stream of ever new combinations must not fill the memory.
            if len(self._rows) < 200_000:
                self._rows[key] = row
        return row

    def open_about_noise(self, targets: np.ndarray) -> np.ndarray:
        """Targets of an ECG to which noise was added: whether it has noise becomes unknown."""
        return np.where(self._of_noise & (targets == 0), UNKNOWN, np.where(self._no_noise, UNKNOWN, targets))

    def texts(self, step: int) -> list[str]:
        """One paraphrase of every statement, for a training step."""
        rng = np.random.default_rng([self.seed, step, 7])
        choice = rng.random(len(self.names))
        return [own[int(share * len(own))] for own, share in zip(self._training, choice, strict=True)]

    def measuring_texts(self) -> list[str]:
        """The paraphrases for measuring: the plainest of every statement, then each that training does not use,
        statement by statement; every statement has equally many.
        """
        return [text for paraphrases in zip(*self._measuring, strict=True) for text in paraphrases]
