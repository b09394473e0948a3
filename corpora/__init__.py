"""Corpora of ECGs and questions about them, as `datasets`.

Folders of public corpora, or records, come in; a corpus (`prepare`, `records_to_corpus`), its questions
(`build_questions`) and the de-biased set (`debias`) go out. `save_corpus` writes what `datasets` opens without this
package, ECGs as a plain struct; `load_corpus`, or a cast to the `ECG` feature, gives signals.
"""

from ..answer_matching import answers_in_text, exact_match, set_match
from ..findings.labels import VOCABULARY, Finding, findings_from_statements, severity
from ..findings.stated import finding_stated
from .debiasing.audit import Audit, audit
from .debiasing.biased_set import confound
from .debiasing.debias import DebiasReport, debias, debias_with_report, resampled
from .questions.build import QUESTION_FEATURES, build_questions
from .questions.ecg_qa import load_ecg_qa
from .questions.ecg_qa_records import prepare_ecg_qa
from .records.dataset_folders import load_corpus, save_corpus
from .records.duplicates import check_duplicates, find_duplicates
from .records.ecg_feature import ECG
from .records.finding_labels import finding_labels
from .records.hub_corpus import push_corpus
from .records.prepare import CORPUS_FEATURES, CorpusReport, prepare, prepare_with_report, records_to_corpus
from .records.sharing import for_sharing
from .records.sources.ptbxl_labels import PTBXL_CLASSES, ptbxl_labels
from .records.splits import check_patient_split, split_of

__all__ = [
    "Audit",
    "CORPUS_FEATURES",
    "ECG",
    "PTBXL_CLASSES",
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
    "finding_labels",
    "finding_stated",
    "findings_from_statements",
    "for_sharing",
    "load_corpus",
    "load_ecg_qa",
    "prepare",
    "prepare_ecg_qa",
    "prepare_with_report",
    "push_corpus",
    "ptbxl_labels",
    "records_to_corpus",
    "resampled",
    "save_corpus",
    "set_match",
    "severity",
    "split_of",
]
