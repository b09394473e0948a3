"""Corpora of ECGs and questions about them, as `datasets`.

Folders of public corpora, or records, come in; a corpus (`prepare`, `records_to_corpus`), its questions
(`build_questions`) and the de-biased set (`debias`) go out. Importing this package registers the `ECG` feature,
without which `datasets` cannot open a saved corpus.
"""

from ..findings.labels import VOCABULARY, Finding, findings_from_statements, severity
from ..findings.stated import finding_stated
from .answers import answers_in_text, exact_match, set_match
from .audit import Audit, audit
from .confounding import confound
from .debiasing import DebiasReport, debias, debias_with_report, resampled
from .duplicates import check_duplicates, find_duplicates
from .ecg_feature import ECG
from .ecg_qa import load_ecg_qa
from .ecg_qa_records import prepare_ecg_qa
from .prepare import CORPUS_FEATURES, CorpusReport, prepare, prepare_with_report, records_to_corpus
from .questions import QUESTION_FEATURES, build_questions
from .simulated_stream import simulated_stream
from .splits import check_patient_split, split_of

__all__ = [
    "Audit",
    "CORPUS_FEATURES",
    "ECG",
    "QUESTION_FEATURES",
    "VOCABULARY",
    "CorpusReport",
    "DebiasReport",
    "Finding",
    "answers_in_text",
    "audit",
    "build_questions",
    "check_duplicates",
    "check_patient_split",
    "confound",
    "debias",
    "debias_with_report",
    "exact_match",
    "find_duplicates",
    "finding_stated",
    "findings_from_statements",
    "load_ecg_qa",
    "prepare",
    "prepare_ecg_qa",
    "prepare_with_report",
    "records_to_corpus",
    "resampled",
    "set_match",
    "severity",
    "simulated_stream",
    "split_of",
]
