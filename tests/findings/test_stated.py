"""What of a statement is shown: the vocabulary's words where all of it is a finding, nothing otherwise."""

import pytest

from ecgllm.corpora import VOCABULARY, finding_stated, findings_from_statements

NAME = "Zzqname"


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SNOMED:426783006", "sinus rhythm"),
        ("SCP:NORM:100", "normal ecg"),
        ("LUDB:Rhythm: Sinus rhythm", "sinus rhythm"),
        ("CODE15:RBBB", "right bundle branch block"),
        ("MIMIC:Sinus rhythm with 1st degree A-V block", "first degree av block, sinus rhythm"),
        ("MUSE:*** Normal sinus rhythm ***", "sinus rhythm"),
        ("SIERRA:LEFT BUNDLE BRANCH BLOCK", "left bundle branch block"),
        ("SCP:Sinus rhythm", "sinus rhythm"),  # a sentence of an SCP-ECG file, no code of PTB-XL's
        ("HL7:LBBB.", "complete left bundle branch block"),
        ("atrial flutter", "atrial flutter"),
        ("SNOMED:999", None),
        ("SNOMED:12345678", None),
        ("PTBXL:validated_by:1.0", None),
        ("MUSE:Abnormal ECG", None),  # no finding of its own
        ("MUSE:No atrial fibrillation", None),
        ("MUSE:", None),
        ("", None),
    ],
)
def test_only_whole_findings_are_shown(statement, shown):
    assert finding_stated(statement) == shown


@pytest.mark.parametrize("kind", ["MUSE", "SIERRA", "HL7", "SCP", "DICOM", "EDF", "MFER", "SNOMED", "LUDB", "MIMIC"])
def test_a_name_or_a_date_beside_a_finding_hides_the_statement(kind):
    for said in ("Sinus rhythm", "Anterior infarct", "426783006", "NORM", "Rhythm: Sinus rhythm"):
        for sentence in (
            f"Reviewed: {NAME}",
            f"{said}, seen by Dr {NAME}",
            f"Unconfirmed {said}, {NAME}",
            f"{said}: compared with ECG of 12-MAR-2011",
            f"{NAME} {said}",
            f"{said} {NAME}.",
            f"{said}:{NAME}",
            f"{said}\n{NAME}",
        ):
            assert finding_stated(f"{kind}:{sentence}") is None, sentence


def test_whatever_is_shown_is_of_the_vocabulary():
    """Of PTB-XL's cells, too, in which annotators typed what they liked."""
    for cell in (f"2VES,{NAME}", f"{NAME}", "SVES,VES"):
        shown = finding_stated(f"PTBXL:extra_beats:{cell}")
        assert shown is None or set(shown.split(", ")) <= VOCABULARY.keys()


def test_a_sentence_of_an_scp_file_with_a_colon_is_unmapped_and_no_error():
    said = f"SCP:Reviewed: {NAME}"
    assert findings_from_statements([said, "SCP:NORM:80"]) == (("normal ecg",), (said,))
