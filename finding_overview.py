"""All findings of one ECG, each with how likely it is: what a person wants to see before asking.

In: a loaded pipeline (`asking.load_answerer`) and a record. Out: a `FindingAnswer` for each finding, the likeliest
first. Decided here: each finding is asked about in the one plain question that evaluation and calibration ask, and the
ECG is encoded once for all of them; what the model was calibrated for is asked about, else what the simulator knows;
calibrated probabilities are made coherent (`coherence`), since each finding was calibrated by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .answer_calibration_ecgllm import CalibratedAnswer
from .evaluation.contradictions import without_contradictions
from .evaluation.labels_of_records import question_about
from .findings.labels import implied
from .prefix_scoring_ecgllm import AnswerScorer
from .signals import ECGRecord, measure
from .signals.simulation import FINDINGS

_YES_NO = ("yes", "no")


class FindingAnswer(NamedTuple):
    """p_yes: the model's P(yes) relative to its P(no). calibrated: what that is worth, where it is known."""

    finding: str
    p_yes: float
    calibrated: CalibratedAnswer | None

    @property
    def probability(self) -> float:
        """As calibrated, else the model's own."""
        return self.p_yes if self.calibrated is None else self.calibrated.probability


def ask_findings(
    answerer: Any, record: ECGRecord, names: Sequence[str] | None = None, prevalence: float | None = None
) -> list[FindingAnswer]:
    """How likely each finding is, the likeliest first.

    Args: answerer: a pipeline. names: findings of the vocabulary; None: see the module. prevalence: of each among such
        patients; None: as calibrated.
    Raises: ECGInputError as the pipeline, for an ECG in which no heart beats and for one that does not fit.
    """
    processor = answerer.processor
    calibration = processor.calibration
    if names is None:
        names = sorted(calibration.findings if calibration is not None else implied(FINDINGS))
    (ecg,) = processor.feature_extractor.prepare(record, require_heart=True)
    if processor.reads_measured:
        ecg = {**ecg, "measured": measure(record).figures()}
    scorer = AnswerScorer(answerer.model, processor)
    encoded = scorer.encode([ecg])
    questions = [question_about(name) for name in names]
    scores = scorer.score(questions, [encoded] * len(questions), [_YES_NO] * len(questions))
    found = []
    for name, log in zip(names, scores, strict=True):
        p_yes = log.double().softmax(dim=0)[0].item()
        known = calibration is not None and name in calibration.findings
        worth = calibration.of_finding(name, p_yes, prevalence) if known else None
        found.append(FindingAnswer(name, p_yes, worth))
    return sorted(_coherent(found), key=lambda one: (-one.probability, one.finding))


def _coherent(found: list[FindingAnswer]) -> list[FindingAnswer]:
    """The same findings; none that is calibrated contradicts another."""
    calibrated = {one.finding: one.calibrated for one in found if one.calibrated is not None}
    probabilities = without_contradictions({name: one.probability for name, one in calibrated.items()})
    return [
        one._replace(calibrated=calibrated[one.finding].at(probabilities[one.finding]))
        if one.finding in calibrated
        else one
        for one in found
    ]


__all__ = ["FindingAnswer", "ask_findings"]
