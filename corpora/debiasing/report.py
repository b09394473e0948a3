"""What de-biasing kept, dropped and could not mend, in figures and in words."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ..records.report_lines import listed
from .blindness import Score
from .differences import Differences

_LISTED = 50  # kinds of dropped questions in a printed report


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
    attribute, where opposite differences do not cancel. crossed: how often a guesser that knows attribute, wording and
    stratum is right about what was kept; None where nothing is matched on.
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
                f"right by wording and {' x '.join(self.matched_on)} together, without the ECG: {self.crossed}"
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
