"""ECG-QA's exact match: the set of answers is the expected one, by type of question and as the mean over types."""

from dataclasses import asdict

import evaluate

# evaluate copies the files that this one imports, and not those that these import: hence all of them. It takes a
# comment behind an import for an address.
from .about_patients import ANSWERS, TEXT, about, whose
from .answer_matching import set_match
from .errors_ecgllm import ECGError
from .intervals import macro_share, share
from .patient_sums import Patients

_DESCRIPTION = """
Exact match as ECG-QA defines it: a question is answered rightly if the set of answers is the expected one, whatever
their order and case; no answer is "none". By type of question, with intervals over patients, and the mean over types.
"""
_INPUTS = """
predictions: the answers to each question, a list of strings. references: the expected answers, a list of strings.
types: of each question, e.g. single-verify. patients: whose ECG it is about; of two ECGs, both, joined by "|".
Returns: exact_match over all questions, macro_exact_match over types, by_type; each with value, low and high (95 %).
"""
_CITATION = """
@inproceedings{oh2023ecgqa,
  title={{ECG-QA}: A Comprehensive Question Answering Dataset Combined With Electrocardiogram},
  author={Oh, Jungwoo and Lee, Gyubok and Bae, Seongsu and Kwon, Joon-myoung and Choi, Edward},
  booktitle={Advances in Neural Information Processing Systems, Datasets and Benchmarks Track}, year={2023}
}
"""


class ECGQAAccuracy(evaluate.Metric):
    def _info(self):
        return about(_DESCRIPTION, _INPUTS, ANSWERS, ANSWERS, _CITATION, types=TEXT)

    def _compute(self, predictions, references, types, patients):
        right = [set_match(own, expected) for own, expected in zip(predictions, references, strict=True)]
        people = whose(patients)
        macro, each = macro_share(right, types, people)
        return {
            "exact_match": asdict(share(right, people)),
            "macro_exact_match": asdict(macro),
            "by_type": {kind: asdict(one) for kind, one in each.items()},
        }
