"""PTB-XL's published label sets: which classes a record bears in the benchmark that papers report.

In: a corpus that `prepare("ptbxl", ...)` made, whose statements keep SCP code and likelihood. Out: the records of a
task with a column `labels`, and the names of the classes. The split of the corpus is the benchmark's: folds 1-8 train,
9 validation, 10 test. Decided here, as the benchmark has it: a statement counts whatever its likelihood (form and
rhythm have 0, "not given"), and a record without a label of the task does not take part in it.

Source: Strodthoff et al., "Deep Learning for ECG Analysis: Benchmarks and Insights from PTB-XL", arXiv 2004.13701, and
`scp_statements.csv` of PTB-XL 1.0.3 (CC BY 4.0), whose columns diagnostic, form, rhythm, diagnostic_class and
diagnostic_subclass the table below repeats. NDT, NST_, DIG and LNGQT are of diagnostic and of form. Not the vocabulary
of `findings`, which is coarser in places and finer in others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from datasets import Dataset, List, Value
from transformers.utils import logging

from ....errors_ecgllm import ECGError

logger = logging.get_logger(__name__)

Task = Literal["super", "sub", "diagnostic", "form", "rhythm", "all"]

_SUBCLASSES = {  # superclass -> subclass -> diagnostic statements
    "NORM": {"NORM": "NORM"},
    "MI": {
        "AMI": "AMI ASMI ALMI INJAS INJAL INJLA",
        "IMI": "IMI ILMI IPLMI IPMI INJIN INJIL",
        "LMI": "LMI",
        "PMI": "PMI",
    },
    "STTC": {
        "STTC": "NDT DIG LNGQT ANEUR EL",
        "NST_": "NST_",
        "ISC_": "ISC_",
        "ISCA": "ISCAL ISCAS ISCLA ISCAN",
        "ISCI": "ISCIN ISCIL",
    },
    "CD": {
        "LAFB/LPFB": "LAFB LPFB",
        "IRBBB": "IRBBB",
        "ILBBB": "ILBBB",
        "CRBBB": "CRBBB",
        "CLBBB": "CLBBB",
        "_AVB": "1AVB 2AVB 3AVB",
        "IVCD": "IVCD",
        "WPW": "WPW",
    },
    "HYP": {"LVH": "LVH", "RVH": "RVH", "SEHYP": "SEHYP", "LAO/LAE": "LAO/LAE", "RAO/RAE": "RAO/RAE"},
}
_FORM = (
    *("NDT", "NST_", "DIG", "LNGQT", "ABQRS", "PVC", "STD_", "VCLVH", "QWAVE", "LOWT", "NT_"),
    *("PAC", "LPR", "INVT", "LVOLT", "HVOLT", "TAB_", "STE_", "PRC(S)"),
)
_RHYTHM = (
    *("SR", "AFIB", "STACH", "SARRH", "SBRAD", "PACE"),
    *("SVARR", "BIGU", "AFLT", "SVTAC", "PSVT", "TRIGU"),
)

_SUB = {code: sub for subs in _SUBCLASSES.values() for sub, codes in subs.items() for code in codes.split()}
_SUPER = {code: superclass for superclass, subs in _SUBCLASSES.items() for code in _SUB if _SUB[code] in subs}
_CLASS_OF: dict[str, dict[str, str]] = {
    "super": _SUPER,
    "sub": _SUB,
    "diagnostic": {code: code for code in _SUB},
    "form": {code: code for code in _FORM},
    "rhythm": {code: code for code in _RHYTHM},
    "all": {code: code for code in (*_SUB, *_FORM, *_RHYTHM)},
}
PTBXL_CLASSES: dict[str, tuple[str, ...]] = {
    task: tuple(sorted(set(of_code.values()))) for task, of_code in _CLASS_OF.items()
}
"""Task -> its classes in alphabetical order: 5, 23, 44, 19, 12 and 71."""

# A row of which only the labels of a published split are known names subclasses by their superclass and in part.
_KNOWN_WITHOUT_CODES = ("super", "form", "rhythm")


def ptbxl_labels(corpus: Dataset, task: Task = "super") -> tuple[Dataset, tuple[str, ...]]:
    """The records of a task, with a column `labels` (float32 [classes], 1 where the record bears the class).

    Args: task: "super" (5 diagnostic superclasses), "sub" (23 subclasses), "diagnostic" (44 statements), "form" (19),
        "rhythm" (12) or "all" (71).
    Returns: (records that bear at least one class, the classes' names). All classes of the task are there, also those
        that a part of PTB-XL does not hold.
    Raises: ECGError for another task, a corpus that is not PTB-XL's, or one in which no record bears a class.
    """
    if task not in PTBXL_CLASSES:
        raise ECGError(f"there is no task {task!r} of PTB-XL; expected one of {', '.join(PTBXL_CLASSES)}")
    lacking = {"statements", "split"} - set(corpus.column_names)
    if lacking:
        raise ECGError(
            f"the data set lacks the column {', '.join(sorted(lacking))}; expected a corpus of "
            "prepare('ptbxl', folder)"
        )
    names = PTBXL_CLASSES[task]
    kept, labels, unknown = [], [], 0
    for row, statements in enumerate(corpus.select_columns(["statements"]).with_format(None)["statements"][:]):
        borne = classes_of(statements, task)
        if borne is None:
            unknown += 1
        elif borne:
            kept.append(row)
            labels.append([float(name in borne) for name in names])
    if unknown:
        logger.warning(
            f"{unknown} of {len(corpus)} records have the labels of a published split and no SCP codes, by which the "
            f"task {task!r} is not known; they are left out"
        )
    if not kept:
        raise ECGError(
            f"not one of {len(corpus)} records bears a class of the task {task!r}; expected a corpus of "
            "prepare('ptbxl', folder), whose statements keep the SCP codes"
        )
    labelled = corpus.select(kept)
    return labelled.add_column("labels", labels, feature=List(Value("float32"))), names


def classes_of(statements: Iterable[str], task: Task) -> frozenset[str] | None:
    """The classes that a record bears by its statements ("SCP:LVH:35"); None where they do not tell of this task."""
    of_code, borne = _CLASS_OF[task], set()
    for statement in statements:
        kind, _, rest = statement.partition(":")
        if kind == "SCP":
            code, _, likelihood = rest.partition(":")
            if not likelihood and task not in _KNOWN_WITHOUT_CODES:
                return None
            borne.add(of_code.get(code))
        elif statement.startswith("PTBXL:class:"):
            if task not in _KNOWN_WITHOUT_CODES:
                return None
            name = rest.partition(":")[2]
            borne.add(name if task == "super" and name in _SUBCLASSES else None)
    return frozenset(borne - {None})
