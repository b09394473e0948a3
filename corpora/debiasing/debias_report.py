"""What de-biasing kept, dropped and could not mend, in figures and in words."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..records.report_lines import listed
from .asked_questions import asked, is_answered_yes_or_no
from .baseline_scores import Score
from .confounders import CONFOUNDERS, MatchOn, Records, confounders_of
from .differences import Differences, differences_of
from .question_only_baseline import baseline_accuracy
from .standardisation import Standardised

Row = dict[str, Any]
Strata = Callable[[Row], tuple[Hashable, ...]]
_LISTED = 50  # kinds of dropped questions in a printed report
_STRATA_SHOWN = 5


@dataclass
class DebiasReport:
    """What de-biasing kept and dropped.

    dropped: (template, type, attribute) -> {"yes": n, "no": n}, only where any were; lost: those of which nothing is
    left. matched_on: the confounders. balance: confounder -> (before, after), how far the records of yes and no are
    apart, all attributes together, in standard deviations (`differences`). most_used: the
    record that most kept questions are about, mean_used: the mean over the records used. effective, heaviest: of
    weights, how many questions of equal weight would estimate as well (Kish 1965), and the largest; None if matched.
    uneven_splits: split -> share of its kept questions that it would lose if it were balanced by itself. unknown:
    records asked about that the corpus lacks, so that nothing is known to match them on. kept_besides: questions not
    answered by yes or no that whoever asked for the report kept all the same. positivity: of method="standardise",
    what was left out as it was never asked in some stratum, in words. distance: there, how far the strata of a
    question are from those of all, before and after. by_attribute: confounder -> the same as balance within each
    attribute, where opposite differences do not cancel. crossed: how often a baseline that knows attribute, paraphrase
    and stratum is right about what was kept; None where nothing is matched on.
    """

    questions: int = 0
    kept: int = 0
    not_verify: int = 0
    dropped: dict[tuple[str, str, str], dict[str, int]] = field(default_factory=dict)
    lost: list[tuple[str, str, str]] = field(default_factory=list)
    matched_on: tuple[str, ...] = ()
    balance: dict[str, tuple[float, float]] = field(default_factory=dict)
    most_used: int = 0
    mean_used: float = 0.0
    method: str = "match"
    uneven_splits: dict[str, float] = field(default_factory=dict)
    unknown: int = 0
    kept_besides: int = 0
    effective: float | None = None
    heaviest: float | None = None
    positivity: list[str] = field(default_factory=list)
    distance: tuple[float, float] | None = None
    by_attribute: dict[str, tuple[Differences, Differences]] = field(default_factory=dict)
    crossed: Score | None = None

    def describe(self, rows: list[Row], weights: Mapping[int, float]) -> None:
        """How many were kept, and of which records. weights: of the rows kept, by their number."""
        self.kept = len(weights)
        used = Counter(name for position in weights for name in rows[position]["ecg_ids"])
        self.most_used, self.mean_used = max(used.values()), float(np.mean(list(used.values())))

    def describe_balance(self, rows: list[Row], weights: Mapping[int, float], strata: Strata | None) -> None:
        """What was dropped for the sake of balance, and where it ends; strata: of what was matched on."""
        dropped: dict[tuple[str, str, str], dict[str, int]] = defaultdict(lambda: {"yes": 0, "no": 0})
        left = {asked(rows[position]) for position in weights}
        for position, row in enumerate(rows):
            if not is_answered_yes_or_no(row):
                self.not_verify += 1
            elif position not in weights:
                dropped[asked(row)][row["answers"][0]] += 1
        self.dropped, self.lost = dict(dropped), sorted(key for key in dropped if key not in left)
        self.uneven_splits = _uneven_splits(rows, weights)
        if strata is not None:
            kept = [rows[position] for position in weights]
            keys = [(row["template"], row["attribute"], row["question"], strata(row)) for row in kept]
            answers, records = [row["answers"][0] for row in kept], [row["ecg_ids"][0] for row in kept]
            self.crossed = baseline_accuracy(keys, answers, records, np.array(list(weights.values())))

    def describe_confounders(
        self, rows: list[Row], weights: Mapping[int, float], records: Records, match_on: MatchOn
    ) -> None:
        """How far the (last) records of yes and of no are apart, before and after."""
        how = dict(match_on) if isinstance(match_on, Mapping) else dict.fromkeys(match_on)
        _, looks = confounders_of(records, {**dict.fromkeys(CONFOUNDERS), **how})
        before = {position: 1.0 for position, row in enumerate(rows) if is_answered_yes_or_no(row)}
        after = {position: weight for position, weight in weights.items() if position in before}
        for name, look in looks.items():
            one, two = (_differences(rows, chosen, look) for chosen in (before, after))
            if one is not None and two is not None:
                self.by_attribute[name] = one, two
                self.balance[name] = one.pooled, two.pooled

    def describe_weights(self, weights: Mapping[int, float]) -> np.ndarray:
        """The weights as a column, 0 of what was left out."""
        column = np.array([weights.get(position, 0.0) for position in range(self.questions)])
        self.effective, self.heaviest = float(column.sum() ** 2 / (column**2).sum()), float(column.max())
        return column.astype(np.float32)

    def add_positivity(self, found: Standardised, where: str, names: str) -> None:
        """What of a split (`where`) has no positivity in the confounders `names`; how far apart its strata were."""
        for stratum, share in sorted(found.strata.items(), key=lambda item: (-item[1], repr(item[0]))):
            value = ", ".join(map(str, stratum))
            self.positivity.append(f"no positivity{where}: {names} = {value} left out, {share:.1%} of the questions")
        for (*_, question), strata in sorted(found.questions.items()):
            never = "; ".join(", ".join(map(str, one)) for one in strata[:_STRATA_SHOWN])
            more = f" and {len(strata) - _STRATA_SHOWN} more" if len(strata) > _STRATA_SHOWN else ""
            self.positivity.append(
                f"no positivity{where}: {question!r} left out, never asked where {names} = {never}{more}"
            )
        if found.weights and (self.distance is None or found.distance[0] > self.distance[0]):
            self.distance = found.distance  # of the split that was furthest

    def __str__(self) -> str:
        return self.text(_LISTED)

    def text(self, most: int | None = None, all_in: str | os.PathLike[str] | None = None) -> str:
        """The report, what was kept last; of what was dropped the `most` largest, all in the file `all_in`."""
        largest = sorted(self.dropped.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        dropped = []
        for key, counts in largest:
            gone = " (nothing is left of it)" if key in self.lost else ""
            dropped.append(f"dropped of {' / '.join(key)}: {counts['yes']} yes, {counts['no']} no{gone}")
        lines = listed([*dropped, *self.positivity], most, all_in)
        if self.mean_used:
            lines.append(
                f"a record is asked about {self.mean_used:.1f} times on average, at most {self.most_used} times"
            )
        if self.effective is not None:
            lines.append(f"weights are worth {self.effective:.0f} questions; the heaviest is {self.heaviest:.1f}")
        done = {"match": ", matched", "weight": ", weighted", "standardise": ", standardised"}[self.method]
        if self.distance is not None:
            before, after = self.distance
            lines.append(
                f"strata of a question and of all questions differ by {before:.2f} before, {after:.2f} after (total "
                "variation)"
            )
        for name, (before, after) in self.balance.items():
            matched = done if name in self.matched_on else ""
            lines.append(f"{name}{matched}: yes and no differ by {before:+.2f} before, {after:+.2f} after")
            if name in self.by_attribute:
                lines.append(
                    f"    by attribute {self.by_attribute[name][0]} before, {self.by_attribute[name][1]} after"
                )
        if self.crossed is not None:
            lines.append(
                f"right by paraphrase and {' x '.join(self.matched_on)} together, without the ECG: {self.crossed}"
            )
        if self.unknown:
            lines.append(
                f"{self.unknown} records asked about are not in the corpus: nothing is known to match them on"
            )
        for split, share in sorted(self.uneven_splits.items()):
            lines.append(f"split {split} is not balanced by itself: {share:.0%} of it are too many; use by_split")
        unbalanced = self.questions - self.not_verify - self.kept
        lines.append(
            f"kept {self.kept} of {self.questions} questions; {self.not_verify} are not answered by yes or no"
            f"{f' (kept besides: {self.kept_besides})' if self.kept_besides else ''}, "
            f"{unbalanced} could not be {'standardised' if self.method == 'standardise' else 'balanced'}"
        )
        return "\n".join(lines)


def _uneven_splits(rows: list[Row], weights: Mapping[int, float]) -> dict[str, float]:
    total: Counter = Counter()
    balance: Counter = Counter()
    for position, weight in weights.items():
        row = rows[position]
        split = row.get("split")
        total[split] += weight
        balance[(split, *asked(row), row["question"])] += weight if row["answers"] == ["yes"] else -weight
    excess: Counter = Counter()
    for (split, *_), difference in balance.items():
        excess[split] += abs(difference)
    return {split: excess[split] / total[split] for split in total if excess[split] / total[split] > 1e-4}


def _differences(rows: list[Row], weights: Mapping[int, float], look: Callable[[str, str], Any]) -> Differences | None:
    kept = [rows[position] for position in weights]
    attributes = [row["attribute"] or "" for row in kept]
    values = [look(row["ecg_ids"][-1], attribute) for row, attribute in zip(kept, attributes, strict=True)]
    return differences_of(
        values, [row["answers"] == ["yes"] for row in kept], attributes, np.array(list(weights.values()))
    )
