"""From source statements to canonical findings, and what a list of findings says.

In: statements as readers give them (`SNOMED:426783006`, `SCP:NORM:100`, `LUDB:Rhythm: Sinus rhythm`,
`PTBXL:axis:LAD`, `CODE15:RBBB`, `MIMIC:Left axis deviation`). Out: sorted canonical names from
`vocabulary.VOCABULARY`, and the statements that nobody has mapped. Decided here: what follows from a finding, when a
finding is denied, and when it is merely not said (`label`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ..errors_ecgllm import ECGError
from .machine_statements import CODE15_LABELS, MIMIC_STATEMENTS, WITHOUT_FINDING, mimic_statement
from .ptbxl_text import METADATA_COLUMNS, beats_in
from .vocabulary import CATEGORIES, FORMER_NAMES, VOCABULARY, Finding

__all__ = [
    "CATEGORIES",
    "GROUPS",
    "VOCABULARY",
    "Finding",
    "category_label",
    "check_findings",
    "describe",
    "findings_from_statements",
    "group_label",
    "implied",
    "most_specific",
    "severity",
    "label",
]

# Statements that are understood and add no finding of their own.
_WITHOUT_FINDING = frozenset(
    [
        *(f"PTBXL:class:{superclass}" for superclass in ("MI", "STTC", "CD", "HYP")),  # their subclass stands beside
        "PTBXL:stadium:unknown",
        "PTBXL:axis:unclear",
        *(f"MIMIC:{statement}" for statement in WITHOUT_FINDING),
    ]
)
_UNSPECIFIED_BEATS = "unspecified premature complexes"

# SCP form and rhythm statements of PTB-XL 1.0.3. Their likelihood 0 means "not given" (97 % of AFIB rows).
_SCP_FORM_AND_RHYTHM = frozenset(
    [
        *("NDT", "NST_", "DIG", "LNGQT", "ABQRS", "PVC", "STD_", "VCLVH", "QWAVE", "LOWT", "NT_", "PAC", "LPR"),
        *("INVT", "LVOLT", "HVOLT", "TAB_", "STE_", "PRC(S)"),
        *("SR", "AFIB", "STACH", "SARRH", "SBRAD", "PACE", "SVARR", "BIGU", "AFLT", "SVTAC", "PSVT", "TRIGU"),
    ]
)

# Broad groups: name -> category whose abnormal findings make it true.
GROUPS = {
    "arrhythmia": "rhythm",
    "conduction disturbance": "conduction",
    "ectopic beats": "ectopy",
    "hypertrophy or enlargement": "hypertrophy",
    "axis deviation": "axis",
    "infarction or ischemia": "ischemia_infarction",
    "st-t abnormality": "st_t",
    "pacing": "pacing",
    "noise": "noise",
}

# Where a source names the unremarkable state too, a record that names none of the category has not been assessed for
# it.
_UNREMARKABLE = {"axis": "normal axis", "noise": "no noise"}


def findings_from_statements(
    statements: Iterable[str], min_likelihood: float = 0.0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Map source statements to canonical findings.

    Args:
        statements: `SNOMED:<code>`, `SCP:<code>[:<likelihood>]`, `LUDB:<statement>`, `PTBXL:<what>:<value>` (see
            `ptbxl.statements_of`), `CODE15:<label>` or `MIMIC:<sentence of the machine's report>`.
        min_likelihood: least likelihood (percent) of an SCP diagnostic statement; 0 itself is never enough. Form and
            rhythm statements with likelihood 0 are kept: PTB-XL writes 0 there for "not given".
    Returns: (sorted canonical findings with all that they imply, statements without a mapping in their order). Extra
        beats whose origin PTB-XL's own column leaves open add nothing where another statement says it.
    """
    found, unmapped, unsaid_origin = set(), [], False
    for statement in statements:
        kind, _, content = statement.partition(":")
        if kind == "SCP":
            code, _, likelihood = content.partition(":")
            stated = _likelihood(likelihood)
            if stated is not None and not _is_kept(code, stated, min_likelihood):
                continue
            if stated is not None or not likelihood:  # else a sentence of an SCP-ECG file, which has a colon in it
                content = code
        elif kind == "LUDB":
            content = ludb_statement(content)
        elif kind == "MIMIC":
            content = mimic_statement(content)
        elif kind == "PTBXL":
            what, _, value = content.partition(":")
            if what in METADATA_COLUMNS:
                continue
            if what == "extra_beats":
                kinds = set(beats_in(value)[0])
                unsaid_origin = unsaid_origin or "ES" in kinds
                found.update(
                    name for kind in kinds - {"ES"} for name in findings_by_statement()[f"PTBXL:extra_beats:{kind}"]
                )
                continue
        key = f"{kind}:{content.strip()}"
        names = findings_by_statement().get(key)
        if names is not None:
            found.update(names)
        elif key not in _WITHOUT_FINDING:
            unmapped.append(statement)
    if unsaid_origin and not any(VOCABULARY[name].category == "ectopy" for name in found):
        found.add(_UNSPECIFIED_BEATS)
    return implied(found), tuple(unmapped)


def ludb_statement(text: str) -> str:
    """A LUDB statement in comparable form: lower case, single spaces, no final dot.

    One header of LUDB 1.0.1 (20.hea) repeats its record line right behind the last statement; that tail is cut off.
    """
    text = re.sub(r"\.? ?\b\d+ 12 500 5000$", "", " ".join(text.strip().lstrip("#").split()))
    return text.rstrip(". ").lower()


def implied(findings: Iterable[str]) -> tuple[str, ...]:
    """The findings with all broader ones that follow, sorted. Raises: ValueError on a name outside the vocabulary."""
    closed, waiting = set(), list(findings)
    check_findings(waiting)
    while waiting:
        name = waiting.pop()
        if name not in closed:
            closed.add(name)
            waiting.extend(VOCABULARY[name].broader)
    return tuple(sorted(closed))


def check_findings(findings: Iterable[str]) -> None:
    """Raises: ValueError if a finding is not in the vocabulary."""
    unknown = sorted(set(findings) - VOCABULARY.keys())
    if unknown:
        former = "".join(f"; {name!r} is {FORMER_NAMES[name]!r} now" for name in unknown if name in FORMER_NAMES)
        raise ECGError(
            f"not in the vocabulary of findings: {', '.join(map(repr, unknown))}; see "
            "ecgllm.findings.labels.VOCABULARY for "
            f"the names, or map the source's statement there{former}"
        )


def most_specific(findings: Iterable[str]) -> tuple[str, ...]:
    """The findings without those that another of them implies, sorted."""
    closed = set(implied(findings))
    broader = {parent for name in closed for parent in VOCABULARY[name].broader}
    return tuple(sorted(closed - broader))


def severity(findings: Iterable[str]) -> int:
    """How many abnormal findings there are; a broad finding beside its specific one does not count again.

    "Inferior myocardial infarction" and "old myocardial infarction" are two findings of one infarction and count as
    two.
    """
    return sum(VOCABULARY[name].abnormal for name in most_specific(findings))


def label(findings: Iterable[str], name: str, stated_by_source: Iterable[str] = VOCABULARY) -> bool | None:
    """Whether `name` holds of a record with these findings: True, False, or None where the source leaves it open.

    Closed world with four exceptions. What the source never states of any record it does not deny either. A specific
    finding is open when its broad one is stated and no sibling is ("bundle branch block" alone neither affirms nor
    denies a left one). A finding is open when another blurs it (`Finding.blurs`). And the unremarkable ("normal ecg",
    "sinus rhythm", an axis, noise) is denied only by something stated against it. `stated_by_source`: all findings
    that the record's source ever states, with the broader ones.
    """
    present = findings if isinstance(findings, (set, frozenset)) else frozenset(findings)
    if name in present:
        return True
    finding = VOCABULARY[name]
    if not _of_the_ecg(present) or name not in stated_by_source or finding.category == "clinical":
        return None
    if name == "normal ecg":
        return False if any(VOCABULARY[other].abnormal for other in present) else None
    if any(name in VOCABULARY[other].blurs or name in VOCABULARY[other].unsaid for other in present):
        return None
    if name == "sinus rhythm" and not any(VOCABULARY[other].category in ("rhythm", "pacing") for other in present):
        return None
    unremarkable = _UNREMARKABLE.get(finding.category)
    if unremarkable in stated_by_source and finding.category not in {VOCABULARY[other].category for other in present}:
        return None
    unsaid = {parent for other in present for parent in VOCABULARY[other].unsaid} - present
    answers = {parent not in unsaid and label(present, parent, stated_by_source) for parent in finding.broader}
    if False in answers:
        return False
    if None in answers:
        return None
    for parent in finding.broader:
        siblings = (VOCABULARY[other] for other in present if parent in VOCABULARY[other].broader)
        if not any(sibling.facet == finding.facet for sibling in siblings):
            return None
    return False


def group_label(findings: Iterable[str], group: str, stated_by_source: Iterable[str] = VOCABULARY) -> bool | None:
    """Whether a record shows any finding of a broad group (`GROUPS`) or "any abnormality"; None where that is open.

    A record called normal that bears an abnormal finding all the same (PTB-XL has such) is open for "any abnormality".
    A finding that leaves doubt about one that would make the group true (`Finding.blurs`) leaves the group open.
    What would make it true and the record's source never states (`stated_by_source`) it does not deny either.
    """
    present = set(findings)
    if not _of_the_ecg(present):
        return None
    if group == "any abnormality":
        abnormal = any(VOCABULARY[name].abnormal for name in present)
        if "normal ecg" in present:
            return None if abnormal else False
        # Where a source calls ECGs normal, one that is neither called normal nor abnormal has been left open.
        says = "normal ecg" not in stated_by_source and any(VOCABULARY[name].abnormal for name in stated_by_source)
        return True if abnormal else (False if says and not _is_blurred(present) else None)
    return category_label(present, GROUPS[group], stated_by_source)


def category_label(
    findings: Iterable[str], category: str, stated_by_source: Iterable[str] = VOCABULARY
) -> bool | None:
    """Whether a record shows an abnormal finding of a category (`CATEGORIES`), of noise any; None where it is open."""
    present = set(findings)
    if not _of_the_ecg(present):
        return None
    if any(_shows(name, category) for name in present):
        return True
    if not any(_shows(name, category) for name in stated_by_source) or _is_blurred(present, category):
        return None
    assessed = any(VOCABULARY[name].category == category for name in present)
    return None if not assessed and _UNREMARKABLE.get(category) in stated_by_source else False


def _of_the_ecg(findings: Iterable[str]) -> bool:
    """Whether any of the findings is one of the ECG: diagnoses of the patient alone say nothing of it."""
    return any(VOCABULARY[name].category != "clinical" for name in findings)


def _shows(name: str, category: str) -> bool:
    """Whether a finding makes the group of its category true."""
    finding = VOCABULARY[name]
    return finding.category == category and (name != "no noise" if category == "noise" else finding.abnormal)


def _is_blurred(present: Iterable[str], category: str | None = None) -> bool:
    """Whether one of the findings leaves open an abnormal one of the category (None: of any)."""
    doubtful = {other for name in present for other in VOCABULARY[name].blurs}
    return any(VOCABULARY[name].abnormal and category in (None, VOCABULARY[name].category) for name in doubtful)


def describe(findings: Iterable[str]) -> str:
    """English sentences that state the findings, most specific only: "Sinus rhythm. Left axis deviation.".

    Diagnoses of the patient are left out: no ECG shows them.
    """
    order = {category: position for position, category in enumerate(CATEGORIES)}
    of_the_ecg = (name for name in most_specific(findings) if VOCABULARY[name].category != "clinical")
    names = sorted(of_the_ecg, key=lambda name: (order[VOCABULARY[name].category], name))
    return " ".join(f"{name[0].upper()}{name[1:]}." for name in names)


def _likelihood(text: str) -> float | None:
    """Percent; None for what is no number. Not by `float`, whose error would quote what may be a name."""
    return float(text) if re.fullmatch(r"\d{1,3}(?:\.\d*)?", text) else None


def _is_kept(code: str, likelihood: float, least: float) -> bool:
    if likelihood == 0.0:
        return code in _SCP_FORM_AND_RHYTHM
    return likelihood >= least


@lru_cache(maxsize=1)
def findings_by_statement() -> dict[str, tuple[str, ...]]:
    """Every statement that is mapped, as readers give it, in comparable form -> the findings that it gives."""
    table: dict[str, list[str]] = {}
    for finding in VOCABULARY.values():
        for kind, contents in (
            ("SNOMED", finding.snomed),
            ("SCP", finding.scp),
            ("LUDB", finding.ludb),
            ("PTBXL", finding.ptbxl),
        ):
            for content in contents:
                table.setdefault(f"{kind}:{content}", []).append(finding.name)
    for kind, names_of in (("CODE15", CODE15_LABELS), ("MIMIC", MIMIC_STATEMENTS)):
        for content, names in names_of.items():
            table[f"{kind}:{content}"] = list(names)
    return {statement: tuple(names) for statement, names in table.items()}
