"""Label sets on which zero-shot classification is reported: which labels a record bears, and the finding or group that
is asked for each.

In: what a corpus knows of a record. Out: `LABEL_SETS`. Protocol: MERL (Liu et al. 2024, arXiv 2403.06659): PTB-XL's
four sets on fold 10, CPSC 2018's nine classes, 38 labels of Chapman-Shaoxing-Ningbo. Decided here: the look-alike of
every label, which is what the vocabulary makes of its code where it has one, and None where nothing means the same; a
record without a label of the set takes no part; labels are the codes that a record bears and nothing inferred.

MERL's own table of Chapman-Shaoxing-Ningbo finds labels within the letters of others (STE and STTC count as ST, which
is sinus tachycardia; AFIB as AF, which is flutter; LVQRSAL as SA); that is not repeated here, so that its figure there
is of other labels. Its test records are a random part without patients that anybody could hold apart; here all are
asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..corpora import PTBXL_CLASSES
from ..corpora.records.sources.ptbxl_labels import Task, classes_of
from ..findings.labels import findings_by_statement

Labels = Callable[[Mapping[str, Any]], Collection[str] | None]


@dataclass(frozen=True)
class LabelSet:
    """name, title. sources: of `corpora` whose records bear these labels. look_alikes: label -> finding or group that
    is asked for, None where none means the same. of: row of a corpus -> its labels; None where they are not known.
    folds: whether the published test fold is the split "test"."""

    name: str
    title: str
    sources: frozenset[str]
    look_alikes: Mapping[str, str | None]
    of: Labels
    folds: bool = False

    @property
    def asked(self) -> dict[str, str]:
        """Label -> look-alike, of those that have one."""
        return {label: name for label, name in self.look_alikes.items() if name is not None}

    @property
    def not_asked(self) -> list[str]:
        return [label for label, name in self.look_alikes.items() if name is None]


_SUPER = {
    "NORM": "normal ecg",
    "MI": "myocardial infarction",
    "STTC": "st-t abnormality",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy or enlargement",
}
_SUB = {
    "NORM": "normal ecg",
    "AMI": "anterior myocardial infarction",
    "IMI": "inferior myocardial infarction",
    "LMI": "lateral myocardial infarction",
    "PMI": "posterior myocardial infarction",
    "STTC": "st-t change",  # of five codes, the widest name
    "NST_": "nonspecific st change",
    "ISC_": "ischemia",
    "ISCA": "anterior ischemia",
    "ISCI": "inferior ischemia",
    "LAFB/LPFB": "fascicular block",
    "_AVB": "av block",
    "IVCD": "nonspecific intraventricular conduction disturbance",
    "WPW": "wolff-parkinson-white pattern",
    **{f"{d}{s}BBB": f"{degree} {side} bundle branch block" for d, degree in (("C", "complete"), ("I", "incomplete"))
       for s, side in (("R", "right"), ("L", "left"))},
    "LVH": "left ventricular hypertrophy",
    "RVH": "right ventricular hypertrophy",
    "SEHYP": "septal hypertrophy",
    "LAO/LAE": "left atrial enlargement",
    "RAO/RAE": "right atrial enlargement",
}  # fmt: skip
#: CPSC 2018's classes -> SNOMED CT codes, as CinC 2021 writes them. Its first class is "normal".
_CPSC = {
    "NORM": "426783006",
    "AFIB": "164889003",
    "1AVB": "270492004",
    "CLBBB": "164909002 733534002",
    "CRBBB": "59118001 713427006",
    "PAC": "284470004",
    "VPC": "164884008 427172004 17338001",
    "STD": "429622005",
    "STE": "164931005",
}
#: Acronyms of Chapman-Shaoxing-Ningbo's table that MERL asks for -> SNOMED CT codes, of that table and of CinC 2021.
_CSN = {
    "AQW": "164917005",
    "UW": "164937009",
    "SR": "426783006",
    "WPW": "74390002",
    "2AVB": "195042002",
    "AT": "713422000",
    "VB": "11157007",
    "ARS": "47665007",
    "STTC": "428750005 55930002",
    "SA": "427393009",
    "STE": "164930006",
    "VPB": "17338001 427172004",
    "TWO": "59931005",
    "STTU": "164931005",
    "ALS": "39732003",
    "APB": "284470004",
    "2AVB1": "54016002",
    "PRIE": "164947007",
    "CCR": "251199005",
    "CR": "251198002",
    "AF": "164890007",
    "AVB": "233917008",
    "QTIE": "111975006",
    "LBBB": "164909002",
    "VEB": "75532003",
    "SVT": "426761007",
    "RBBB": "59118001",
    "1AVB": "270492004",
    "STDD": "429622005",
    "MI": "164865005",
    "AFIB": "164889003",
    "TWC": "164934002",
    "PWC": "164912004",
    "ERV": "428417006",
    "RVH": "89792004",
    "LVH": "164873001",
    "ST": "427084000",
    "JEB": "426995002",
}


def _meaning(statement: str) -> str | None:
    """The one finding that a code stands for; None of a code with none or several."""
    names = findings_by_statement().get(statement, ())
    return names[0] if len(names) == 1 else None


def _ptbxl(task: Task, row: Mapping[str, Any]) -> Collection[str] | None:
    return classes_of(row["statements"] or (), task)


def _coded(codes: Mapping[str, str], row: Mapping[str, Any]) -> Collection[str]:
    borne = {statement.removeprefix("SNOMED:") for statement in row["statements"] or ()}
    return frozenset(label for label, own in codes.items() if borne & set(own.split()))


def _of_ptbxl(task: Task, look_alikes: Mapping[str, str | None]) -> LabelSet:
    in_order = {label: look_alikes[label] for label in PTBXL_CLASSES[task]}
    return LabelSet(f"ptbxl-{task}", f"PTB-XL, {task}", frozenset(["ptbxl"]), in_order, partial(_ptbxl, task), True)


def _of_codes(name: str, title: str, sources: tuple[str, ...], codes: Mapping[str, str]) -> LabelSet:
    look_alikes = {label: _meaning(f"SNOMED:{own.split()[0]}") for label, own in codes.items()}
    if name == "cpsc2018":
        look_alikes |= {"NORM": "normal ecg"}  # its first class, of records without any of the others
    return LabelSet(name, title, frozenset(sources), look_alikes, partial(_coded, codes))


LABEL_SETS: tuple[LabelSet, ...] = (
    _of_ptbxl("super", _SUPER),
    _of_ptbxl("sub", _SUB),
    _of_ptbxl("form", {code: _meaning(f"SCP:{code}") for code in PTBXL_CLASSES["form"]}),
    _of_ptbxl("rhythm", {code: _meaning(f"SCP:{code}") for code in PTBXL_CLASSES["rhythm"]}),
    _of_codes("cpsc2018", "CPSC 2018", ("cpsc2018",), _CPSC),
    _of_codes("csn", "Chapman-Shaoxing-Ningbo", ("chapman-shaoxing", "ningbo"), _CSN),
)
