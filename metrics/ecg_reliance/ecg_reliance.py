"""Does the model read the ECG? Answers with the true ECG against answers with another, and a stated rule."""

from dataclasses import asdict

import evaluate

# evaluate copies the files that this one imports, and not those that these import: hence all of them. It takes a
# comment behind an import for an address.
from .about_patients import TEXT, about
from .errors_ecgllm import ECGError
from .intervals import Estimate
from .patient_sums import Patients
from .reliance import reliance

_DESCRIPTION = """
Does a model read the ECG? The same questions are asked with the true ECG and with a random patient's, and questions in
the same words about two ECGs with opposite answers. The outcome is "reads", "does not read" or "too few records", by a
rule that is part of the result, with the gains and their intervals over patients.
"""
_INPUTS = """
predictions: answers with the true ECG. references: the true answers. patients: whose ECG each question is about.
conditions: the answers to the same questions with another ECG, by condition; "random" must be among them.
condition_patients (optional): whose ECGs were shown then, by condition. pairs (optional): positions of two questions
in the same words with opposite answers. margin (optional, .05): a gain in accuracy that would be of no use.
Returns: outcome, rule, patients_needed (if there are too few), and the figures, each with value, low and high (95 %).
"""


class ECGReliance(evaluate.Metric):
    def _info(self):
        return about(_DESCRIPTION, _INPUTS, TEXT, TEXT)

    def _compute(
        self, predictions, references, patients, conditions, condition_patients=None, pairs=None, margin=0.05
    ):
        expected = [_plain(answer) for answer in references]

        def right(answers):
            if len(answers) != len(expected):
                raise ECGError(f"{len(answers)} answers to {len(expected)} questions; expected as many.")
            return [_plain(own) == true for own, true in zip(answers, expected, strict=True)]

        true = right(predictions)
        if pairs is not None:
            alike = [(one, other) for one, other in pairs if expected[one] == expected[other]]
            if alike:
                raise ECGError(f"{len(alike)} pairs have the same answer twice, the first {alike[0]}; give opposites.")
        found = reliance(
            true,
            patients,
            {name: right(answers) for name, answers in conditions.items()},
            condition_patients,
            pairs if pairs is None else [[true[one], true[other]] for one, other in pairs],
            pairs if pairs is None else [(patients[one], patients[other]) for one, other in pairs],
            margin=margin,
        )
        return asdict(found)


def _plain(answer):
    return " ".join(answer.lower().split())
