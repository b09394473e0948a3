"""Yes and no: sensitivity, specificity, predictive values, AUROC, as sampled and at the natural frequency."""

from dataclasses import asdict

import evaluate

# evaluate copies the files that this one imports, and not those that these import: hence all of them. It takes a
# comment behind an import for an address.
from .about_patients import NUMBER, TEXT, TRUTH, about, whose
from .calibration import natural_weights, yes_no
from .errors_ecgllm import ECGError
from .intervals import Estimate
from .patient_sums import Patients

_DESCRIPTION = """
Figures of yes-or-no questions with intervals over patients: share of yes, accuracy, balanced accuracy, sensitivity,
specificity, predictive values, AUROC among ECGs of one question, average precision. As sampled, and with each question
weighed so that yes is as frequent as in the corpus: of a balanced sample only that says how often a yes is right.
"""
_INPUTS = """
predictions: P(yes) of each question. references: whether yes is true. questions: what each asks (one text, or name, a
question). patients: whose ECG it is about; of two ECGs, both, joined by "|". prevalence (optional): how often yes is
true in the corpus, by question; threshold (optional, .5): from which P(yes) the answer is yes.
Returns: sampled and, with prevalence, natural: figures, each with value, low and high (95 %), and left_out, the number
of questions of which the prevalence is not known or a yes or no is missing.
"""


class YesNo(evaluate.Metric):
    def _info(self):
        return about(_DESCRIPTION, _INPUTS, NUMBER, TRUTH, questions=TEXT)

    def _compute(self, predictions, references, questions, patients, prevalence=None, threshold=0.5):
        people = whose(patients)
        says = [probability > threshold for probability in predictions]

        def figures(weights):
            return asdict(yes_no(says, references, people, weights, predictions, questions))

        found = {"sampled": figures(None)}
        if prevalence is not None:
            found["natural"] = figures(natural_weights(references, questions, prevalence))
        return found
