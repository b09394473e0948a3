"""On which leads and stretches an answer rests: what the model says once they are taken away (occlusion; captum).

In: a loaded pipeline, a record, a question. Out: an `Explanation`: by how much the log-odds of the answer fall where a
stretch of a lead is replaced by the straight line between its ends, or a whole lead, or a stretch of all leads; and
whether that is worth anything, by deletion: all that is marked highest is taken away at once, and as much at random
and at the ends of the record.
Decided here: the log-odds are those of the answer's real tokens, against the other answers where some are compared,
and against all else that could be written where not; what was measured stays in the prompt of a model that is told.
No gradient is used: it does not pass the beats that the encoder finds. An explanation that deletion does not bear out
is called meaningless. Occlusion: Zeiler and Fergus 2014; deletion: Samek et al. 2017.

    explain(answerer, record, question) -> Explanation;  draw(explanation, record) -> a figure on ECG paper
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .errors_ecgllm import ECGError, MissingExtraError
from .prefix_scoring_ecgllm import AnswerScorer
from .progress_bar import progress
from .signal_ecgllm import LEADS
from .signals import ECGRecord, measure

YES_NO = ("yes", "no")
MARKED = 0.1
"""Share of all stretches, the highest, that deletion takes away, and that are drawn."""
_RANDOM = 40  # deletions of as many at random
_AT_ONCE = 64
_MARKED = "#6a3fb5"  # violet: no grid of ECG paper, and no second ECG beside it, has it
_NO_FALL = 1e-3  # of rounding
_SMALLEST_FALL = 0.1  # of log-odds, below which an answer has not moved


@dataclass(frozen=True)
class Explanation:
    """question, answer. log_odds: of the answer. leads, bounds_s: of the stretches, in seconds from the start of the
    record, [stretches + 1]. falls: float [leads, stretches], by how much the log-odds fall without each. by_lead:
    [leads], without the whole lead; by_time: [stretches], without the stretch of all leads. marked_fall: without the
    highest tenth at once. random_falls: without as many at random, [40]. ends_fall: without as many at the ends.
    """

    question: str
    answer: str
    log_odds: float
    leads: tuple[str, ...]
    bounds_s: tuple[float, ...]
    falls: np.ndarray
    by_lead: np.ndarray
    by_time: np.ndarray
    marked_fall: float
    random_falls: np.ndarray
    ends_fall: float

    @property
    def meaningless(self) -> str | None:
        """Why it says nothing; None where deletion bears it out."""
        high = float(np.quantile(self.random_falls, 0.95))
        if self.marked_fall > max(high, _SMALLEST_FALL):
            return None
        return (
            f"Without the tenth that it marks the log-odds of the answer fall by {self.marked_fall:.2f}, without a "
            f"random tenth by {self.random_falls.mean():.2f} (95 % of these up to {high:.2f}): the answer does not "
            "rest on what is marked."
        )

    def marked(self) -> list[tuple[str, float, float, float]]:
        """(Lead, start, end, fall) of the stretches of the highest tenth that lower the answer, the highest first."""
        order = np.argsort(-self.falls, axis=None)[: _tenth(self.falls.size)]
        rows, columns = np.unravel_index(order, self.falls.shape)
        return [
            (self.leads[row], self.bounds_s[column], self.bounds_s[column + 1], float(self.falls[row, column]))
            for row, column in zip(rows, columns, strict=True)
            if self.falls[row, column] > _NO_FALL
        ]

    def bands(self) -> list[tuple[float, float, float]]:
        """(Start, end, fall) of stretches of all leads without which the answer falls by half of the highest such fall
        and more, in time; none where that is less than 0.1."""
        least = max(0.5 * float(self.by_time.max()), _SMALLEST_FALL)
        each = zip(self.bounds_s, self.bounds_s[1:], self.by_time.tolist(), strict=False)
        return [(start, end, fall) for start, end, fall in each if fall >= least]

    def shown(self) -> list[tuple[str | None, float, float, float]]:
        """(Lead, or None for all; start, end, weight from 0 to 1) of what a picture marks: bands, and the marked
        stretches that are worth a third of the highest and more. Nothing where it is meaningless."""
        if self.meaningless is not None:
            return []
        marked, bands = self.marked(), self.bands()
        highest = max((fall for *_, fall in marked), default=0.0)
        # One scale for both: without a stretch of all leads an answer may fall ten times as far as without one lead's.
        most = max([highest, *(fall for *_, fall in bands)])
        return [
            *((None, start, end, 0.6 * fall / most) for start, end, fall in bands),
            *((lead, start, end, fall / most) for lead, start, end, fall in marked if fall > highest / 3),
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "question": self.question,
            "answer": self.answer,
            "log_odds": self.log_odds,
            "meaningless": self.meaningless,
            "marked": [
                {"lead": lead, "start_s": start, "end_s": end, "fall": fall}
                for lead, start, end, fall in self.marked()
            ],
            "by_lead": dict(zip(self.leads, self.by_lead.tolist(), strict=True)),
            "by_time": [
                {"start_s": start, "end_s": end, "fall": fall}
                for start, end, fall in zip(self.bounds_s, self.bounds_s[1:], self.by_time.tolist(), strict=False)
            ],
            "deletion": {
                "marked": self.marked_fall,
                "random": self.random_falls.tolist(),
                "ends": self.ends_fall,
            },
        }


def explain(
    answerer: Any,
    record: ECGRecord,
    question: str,
    answer: str | None = None,
    candidates: Sequence[str] | None = None,
    stretch_s: float = 0.2,
    seed: int = 0,
    show_progress: bool = False,
) -> Explanation:
    """On what an answer about one ECG rests.

    Args:
        answerer: a pipeline (`asking.load_answerer`). answer: None for the one that it gives. candidates: answers that
            are compared; None: yes and no where the model writes one of them, else none.
        stretch_s: seconds of a stretch; a beat's waves are .1 to .4 s long. seed: of the random deletions.
        show_progress: a bar with the time that remains, in a terminal.
    Raises: ECGInputError as the pipeline; ECGError for a stretch that leaves no two in the record, and an answer that
        is not among the candidates; MissingExtraError without captum.
    """
    try:
        from captum.attr import FeatureAblation
    except ImportError as error:
        raise MissingExtraError("Explaining needs captum; install it with pip install 'ecgllm[explain]'.") from error
    asked = _Asked(answerer, record, question, answer, candidates)
    values, rate = asked.values, answerer.processor.feature_extractor.sampling_rate
    leads, samples = values.shape
    width = round(stretch_s * rate)
    if not 1 <= width <= samples // 2:
        raise ECGError(
            f"stretch_s is {stretch_s:g}; expected {1 / rate:g} to {samples / rate / 2:g} s of this ECG, at "
            f"{rate:g} Hz."
        )
    bounds = [*range(0, samples - width // 2, width), samples]
    number = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    lines, rows = _lines(values, bounds), np.arange(leads)[:, None]

    def falls(groups: np.ndarray) -> np.ndarray:
        """float [leads, samples], of each group of samples that go together."""
        ablation = FeatureAblation(asked.log_odds)
        found = ablation.attribute(
            torch.from_numpy(values)[None],
            baselines=torch.from_numpy(lines)[None],
            feature_mask=torch.from_numpy(np.broadcast_to(groups, values.shape).copy())[None],
            perturbations_per_eval=_AT_ONCE,
        )
        return found[0].numpy()

    stretches = len(bounds) - 1
    with progress("Explaining", leads * stretches + leads + stretches + 3) if show_progress else nullcontext() as bar:
        if bar is not None:
            asked.done = bar.update
        each = falls(rows * stretches + number)[:, bounds[:-1]]
        by_lead, by_time = falls(rows + 0 * number)[:, 0], falls(0 * rows + number)[0, bounds[:-1]]
    there = asked.lead_mask
    each, by_lead = each[there], by_lead[there]
    rng = np.random.default_rng(seed)
    count = _tenth(each.size)
    column = np.broadcast_to(np.arange(each.shape[1]), each.shape)
    from_end = np.minimum(column, each.shape[1] - 1 - column)
    chosen = [
        np.argsort(-each, axis=None)[:count],
        np.argsort(from_end, axis=None, kind="stable")[:count],
        *(rng.permutation(each.size)[:count] for _ in range(_RANDOM)),
    ]
    without = np.stack([_without(values, bounds, there, one) for one in chosen])
    before = asked.log_odds(torch.from_numpy(values)[None]).item()
    after = asked.log_odds(torch.from_numpy(without)).numpy()
    return Explanation(
        question,
        asked.answer,
        before,
        tuple(np.array(LEADS)[there].tolist()),
        tuple((np.array(bounds) / rate).tolist()),
        each,
        by_lead,
        by_time,
        before - float(after[0]),
        before - after[2:],
        before - float(after[1]),
    )


class _Asked:
    """A question about one ECG, and how likely its answer is for other signals in place of that ECG's. done: is told
    how many signals it is asked about."""

    def __init__(
        self, answerer: Any, record: ECGRecord, question: str, answer: str | None, candidates: Sequence[str] | None
    ):
        self.done: Callable[[int], Any] = lambda _: None
        processor = answerer.processor
        (self._prepared,) = processor.feature_extractor.prepare(record, require_heart=True)
        self.values = np.ascontiguousarray(self._prepared["ecg_values"], dtype=np.float32)
        self.lead_mask = np.asarray(self._prepared["lead_mask"], dtype=bool)
        self._measured = {"measured": measure(record).figures()} if processor.reads_measured else {}
        self._scorer, self._question = AnswerScorer(answerer.model, processor, _AT_ONCE), question
        (encoded,) = self._scorer.encode([self._prepared | self._measured])
        written = answer
        if candidates is None and answer is None:
            (written,), _ = self._scorer.write([question], [[encoded]])
        if candidates is None and written.lower() in YES_NO:  # the likelier of the two, as `answer_question`
            candidates = [word.capitalize() if written[0].isupper() else word for word in YES_NO]
        elif candidates is None:
            candidates = [written]
        self._answers = list(candidates)
        if answer is None:
            (scores,) = self._scorer.score([question], [[encoded]], [self._answers])
            answer = self._answers[int(scores.argmax())]
        if answer not in self._answers:
            raise ECGError(f"The answer {answer!r} is not among the candidates {', '.join(self._answers)}.")
        self.answer = answer

    def log_odds(self, values: torch.Tensor) -> torch.Tensor:
        """float32 [signals] of float32 [signals, leads, samples]."""
        ecgs = [self._prepared | self._measured | {"ecg_values": one} for one in values.numpy()]
        self.done(len(ecgs))
        encoded = self._scorer.encode(ecgs)
        number = len(encoded)
        scores = self._scorer.score([self._question] * number, [[one] for one in encoded], [self._answers] * number)
        table = torch.stack(scores).double()
        if len(self._answers) > 1:
            table = table.log_softmax(dim=1)
        own = table[:, self._answers.index(self.answer)].clamp(max=-1e-12)
        return (own - torch.log(-torch.expm1(own))).float()


def _lines(values: np.ndarray, bounds: Sequence[int]) -> np.ndarray:
    """The straight line between the ends of each stretch, [leads, samples]."""
    return _bridged(values, np.ones(len(bounds) - 1, dtype=bool)[None].repeat(len(values), 0), bounds, alone=True)


def _without(values: np.ndarray, bounds: Sequence[int], there: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The signal without chosen stretches of the leads that are there; neighbours are bridged together."""
    gone = np.zeros((len(values), len(bounds) - 1), dtype=bool)
    rows, columns = np.unravel_index(chosen, (there.sum(), len(bounds) - 1))
    gone[np.flatnonzero(there)[rows], columns] = True
    return _bridged(values, gone, bounds)


def _bridged(values: np.ndarray, gone: np.ndarray, bounds: Sequence[int], alone: bool = False) -> np.ndarray:
    found, samples = values.copy(), values.shape[1]
    for row, own in enumerate(gone):
        column = 0
        while column < len(own):
            end = column + 1
            while not alone and own[column] and end < len(own) and own[end]:
                end += 1
            if own[column]:
                first, last = bounds[column], bounds[end]
                left = values[row, max(first - 1, 0)]
                right = values[row, min(last, samples - 1)]
                found[row, first:last] = np.linspace(left, right, last - first + 2)[1:-1]
            column = end
    return found


def _tenth(number: int) -> int:
    return max(1, math.ceil(MARKED * number))


def draw(explanation: Explanation, record: ECGRecord, **options: Any) -> Any:
    """The ECG on paper with what is marked (`Explanation.shown`), the darker the more; options: of `plot_ecg`."""
    from .signals import Highlight, plot_ecg

    highlights = [
        Highlight(lead, start, end, color=_MARKED, alpha=0.08 + 0.5 * weight)
        for lead, start, end, weight in explanation.shown()
        if lead is None or lead in record.leads
    ]
    title = f"{explanation.question} - {explanation.answer}"
    if explanation.meaningless is not None:
        title += " (no explanation: see the text)"
    return plot_ecg(record, highlights=highlights, title=title, **options)


__all__ = ["Explanation", "draw", "explain"]
