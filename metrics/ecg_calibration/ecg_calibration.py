"""How sure a model is against how often it is right: calibration, and the accuracy of its surer answers."""

from dataclasses import asdict

import evaluate

# evaluate copies the files that this one imports, and not those that these import: hence all of them. It takes a
# comment behind an import for an address.
from .about_patients import NUMBER, TRUTH, about, whose
from .calibration import calibration, selective
from .errors_ecgllm import ECGError
from .intervals import Estimate
from .patient_sums import Patients

_DESCRIPTION = """
Reliability by bins, expected calibration error (and what chance alone makes of it), Brier score, and selective
accuracy: how right the surest part of the answers is, at each coverage, with refusals counted as not answered.
Intervals are over patients.
"""
_INPUTS = """
predictions: how sure the model is of its answer, 0 to 1. references: whether the answer is right. patients: whose ECG
the question is about; of two ECGs, both, joined by "|". answered (optional): which were answered at all; weights
(optional): how often each question counts; bins (optional, 10).
Returns: calibration (of what was answered) and selective, with value, low and high (95 %) of each share.
"""


class ECGCalibration(evaluate.Metric):
    def _info(self):
        return about(_DESCRIPTION, _INPUTS, NUMBER, TRUTH)

    def _compute(self, predictions, references, patients, answered=None, weights=None, bins=10):
        people = whose(patients)
        given = [True] * len(predictions) if answered is None else answered
        rows = [row for row, one in enumerate(given) if one]

        def of_answered(values):
            return [values[row] for row in rows]

        counted = None if weights is None else of_answered(weights)
        stated = calibration(of_answered(predictions), of_answered(references), of_answered(people), counted, bins)
        chosen = selective(predictions, references, people, given, weights)
        return {"calibration": asdict(stated), "selective": asdict(chosen)}
