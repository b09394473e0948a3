"""The de-biased set: for every question, equally many records that answer yes and no.

In: questions. Out: verify questions (of one record or two) in which, for each template, type and attribute and within
it for each wording, "yes" and "no" are equally frequent, so that neither the question nor its wording tells the
answer. What cannot be balanced is dropped and listed. Source of the idea: arXiv 2411.14795, de-biased pre-training.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from transformers.utils import logging

logger = logging.get_logger(__name__)


@dataclass
class DebiasReport:
    """What de-biasing kept and dropped. dropped: (template, type, attribute) -> {"yes": n, "no": n}, only where any
    were."""

    questions: int = 0
    kept: int = 0
    not_verify: int = 0
    dropped: dict[tuple[str, str, str], dict[str, int]] = field(default_factory=dict)
    lost: list[tuple[str, str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"kept {self.kept} of {self.questions} questions; {self.not_verify} are not answered by yes or no"]
        for key, counts in sorted(self.dropped.items()):
            gone = " (nothing is left of it)" if key in self.lost else ""
            lines.append(f"dropped of {' / '.join(key)}: {counts['yes']} yes, {counts['no']} no{gone}")
        return "\n".join(lines)


def debias(questions: Dataset, seed: int = 0) -> Dataset:
    """The de-biased set of `questions`; see `debias_with_report`. What was dropped is logged."""
    kept, report = debias_with_report(questions, seed)
    if report.dropped:
        logger.warning(str(report))
    return kept


def debias_with_report(questions: Dataset, seed: int = 0) -> tuple[Dataset, DebiasReport]:
    """Balance verify questions and say what that cost.

    Args: questions with the columns template, type, attribute, question, ecg_ids, answers. seed: of the choice among
        equals.
    Returns: (rows of `questions` in their order, report). For each (template, type, attribute, question text) as many
        "yes" as "no". Among those of the frequent answer, the ones whose records are used least so far are kept.
    Raises: ValueError if a column is missing or no question can be balanced.
    """
    columns = ["template", "type", "attribute", "question", "ecg_ids", "answers"]
    missing = [name for name in columns if name not in questions.column_names]
    if missing:
        raise ValueError(f"the questions lack the column {', '.join(missing)}; make them by build_questions")
    report = DebiasReport(questions=len(questions))
    rows = list(questions.select_columns(columns).with_format(None))
    cells: dict[tuple, dict[str, list[int]]] = defaultdict(lambda: {"yes": [], "no": []})
    for position, row in enumerate(rows):
        if row["type"].endswith("verify") and row["answers"] in (["yes"], ["no"]):
            key = (row["template"], row["type"], row["attribute"] or "", row["question"])
            cells[key][row["answers"][0]].append(position)
        else:
            report.not_verify += 1
    rng, used, kept = np.random.default_rng(seed), Counter(), []
    dropped: dict[tuple, Counter] = defaultdict(Counter)
    kept_of: Counter = Counter()
    for key, sides in sorted(cells.items()):
        n = min(len(side) for side in sides.values())
        for answer, side in sides.items():
            shuffled = [side[i] for i in rng.permutation(len(side))]
            shuffled.sort(key=lambda position: sum(used[name] for name in rows[position]["ecg_ids"]))  # stable
            used.update(name for position in shuffled[:n] for name in rows[position]["ecg_ids"])
            kept += shuffled[:n]
            if len(side) > n:
                dropped[key[:3]][answer] += len(side) - n
        kept_of[key[:3]] += 2 * n
    if not kept:
        raise ValueError(
            f"no question of {len(rows)} has both a record that answers yes and one that answers no; ask about more "
            "records, or for findings that some show and some do not"
        )
    report.kept = len(kept)
    report.dropped = {key: {"yes": counts["yes"], "no": counts["no"]} for key, counts in dropped.items()}
    report.lost = sorted(key for key in report.dropped if not kept_of[key])
    return questions.select(sorted(kept)), report
