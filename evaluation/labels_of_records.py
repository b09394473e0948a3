"""What is known of every record, finding by finding, and how frequent that is: the natural frequency of a yes.

In: a corpus. Out: labels (1, 0, NaN where its source leaves it open) of findings and groups, and the question that is
asked about each in the words of the test paraphrases. Decided here: which findings are frequent enough to be asked of
every record.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from datasets import Dataset

from ..corpora import finding_labels
from ..corpora.questions.paraphrases import PARAPHRASES
from ..corpora.questions.sampling import in_a_sentence
from ..errors_ecgllm import ECGError
from ..findings import GROUPS, VOCABULARY

_ANY = "any abnormality"


class RecordLabels:
    """names: findings and groups that hold of some records and not of others. labels: float [records, names]."""

    def __init__(self, corpus: Dataset):
        try:
            labelled, self.names = finding_labels(corpus, least=1)
        except ECGError:  # all records are alike in everything
            labelled, self.names = corpus.add_column("labels", [[] for _ in range(len(corpus))]), ()
        self.labels = np.array(labelled["labels"][:], dtype=np.float32).reshape(len(corpus), len(self.names))
        self._column = {name: column for column, name in enumerate(self.names)}
        self._row = {record_id: row for row, record_id in enumerate(corpus["id"])}

    def of(self, record_id: str, name: str) -> bool | None:
        """Whether a record shows a finding; None where its source leaves it open, or never states it."""
        if name not in self._column:
            return None
        value = self.labels[self._row[record_id], self._column[name]]
        return None if np.isnan(value) else bool(value)

    def column(self, name: str) -> np.ndarray:
        """float [records]: 1, 0, NaN."""
        return self.labels[:, self._column[name]]

    def prevalence(self) -> Mapping[str, float]:
        """Finding or group -> its share of the records whose source decides it."""
        return dict(zip(self.names, np.nanmean(self.labels, axis=0).tolist(), strict=True)) if self.names else {}

    def frequent(self, patients: list[str], least: int) -> list[str]:
        """Findings of the ECG, no groups, that records of `least` patients show and of as many do not."""
        people = np.asarray(patients)
        found = []
        for name in self.names:
            if name not in VOCABULARY or VOCABULARY[name].category == "clinical" or name == "no noise":
                continue
            values = self.column(name)
            if min(len(set(people[values == 1])), len(set(people[values == 0]))) >= least:
                found.append(name)
        return found


@cache
def question_about(name: str, paraphrase: int = 0, paraphrases: str = "test") -> str:
    """The yes-or-no question about a finding or group, in the words of a test paraphrase."""
    own = PARAPHRASES[template_of(name)][paraphrases]
    return own[paraphrase % len(own)].format(group=name, **in_a_sentence(name))


def template_of(name: str) -> str:
    """The template of the yes-or-no question about a finding or group."""
    if name == _ANY:
        return "verify-abnormality"
    if name == "normal ecg":
        return "verify-normal"
    return "verify-group" if name in GROUPS else "verify-finding"
