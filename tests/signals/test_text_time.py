"""What meets the text of a file takes time in proportion to it: patterns and loops of the readers and the corpora.

`test_detection_time.py` does the same for detection, which sees a file first.
"""

import itertools
import time

import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.findings.labels import ludb_statement
from ecgllm.findings.machine_statements import mimic_statement
from ecgllm.findings.ptbxl_text import beats_in, leads_in
from ecgllm.signal_ecgllm import standard_lead_name
from ecgllm.signals.io.tables import csv_tables
from ecgllm.signals.io.wfdb import header as wfdb_header
from ecgllm.signals.quotes import without_quotes

REPEATED = (
    *(" ", "\t", "\n", "a", "a ", "1", "1 ", "1.", ":", "=", "[", "]", "# ", "'", '"', "' '", "'a ", "<", "< ", ">"),
    *("(", ")", "/", "/1", "-", " -", "- ", "*", ".", ". ", "_", "md ", "by ", "confirmed ", "<SampleBase>"),
    *("<SampleBase>1<", "<SampleExponent>1<", "<SampleBase>1<SampleExponent>1<", "see raw_metadata[", "ECG", "ECG "),
    *("LEAD_", "POL ", "name ", "name", "V1", "V1-", "I,", "I-", "ALLE ", "ALLES", "NOISE ", "VES", "1 VES", "é"),
    *("1 12 500 5000", "1 12 500 5000 "),
)
BEFORE = ("", "a", "V1", "confirmed ", "'", '"', "<SampleBase>", " ", "only ", "see raw_metadata[", "POL", "ECG")
BEHIND = ("", "x", "\n", "'", ":", "]", " md", " 5000")
SIZE = 100_000
LIMIT_S = 4.0  # linear takes milliseconds, 1.5 s where a list has 50,000 parts; quadratic many more


def _patterns():
    """Name -> what is done with a text."""
    found = {
        "csv, a comment": lambda text: csv_tables._comments_and_header(f"#{text}", ""),
        "csv, comments": lambda text: csv_tables._comments_and_header(text, ""),
        "csv, a rate": lambda text: csv_tables._rate_of_comments({"fs": text}, ""),
        "a library's words": lambda text: without_quotes(text, ["V1"]),
        "a note": without_quotes,
        "csv, the last number": lambda text: csv_tables._ends_within_a_number(text, ","),
        "wfdb, a header": lambda text: wfdb_header.read_header("", text.encode()),
        "wfdb, a record line": lambda text: wfdb_header.parse_record_line("", f"a/{text} 1"),
        "wfdb, a signal line": lambda text: wfdb_header.signal_kind(text, text, "0", "I"),
        "wfdb, a comment": lambda text: wfdb_header.comment_facts(["<diagnoses>:", text, f"age:{text}"], []),
        "a lead's name": standard_lead_name,
        "LUDB, a statement": ludb_statement,
        "MIMIC, a statement": mimic_statement,
        "PTB-XL, leads": leads_in,
        "PTB-XL, beats": beats_in,
    }
    try:
        from ecgllm.signals.io.clinical import (
            ecg_channels as clinical_leads,
        )
        from ecgllm.signals.io.clinical import (
            notes as clinical_notes,
        )
        from ecgllm.signals.io.clinical import (
            parsers as clinical_parsers,
        )
        from ecgllm.signals.io.clinical import (
            reader as clinical,
        )
    except ImportError:
        return found
    return found | {
        "clinical, truncation": lambda text: clinical._TRUNCATION.search(text),
        "clinical, MUSE's rates": lambda text: list(clinical_parsers._muse_rates(text)),
        "clinical, entities": lambda text: clinical_parsers._ENTITY.search(text),
        "clinical, a lead's name": clinical_leads.lead_name,
        "clinical, other signals": lambda text: clinical_leads._OTHER_SIGNALS.match(text),
        "clinical, a numbered signal": lambda text: clinical_leads._NUMBERED.fullmatch(text),
        "clinical, a signature": lambda text: clinical_notes._SIGNATURE.search(text),
        "clinical, words": clinical_notes._words,
    }


def seconds(function, text):
    start = time.process_time()
    try:
        function(text)
    except ECGError:
        pass
    except ValueError:  # no lead; a number of more digits than Python reads
        pass
    return time.process_time() - start


@pytest.mark.parametrize("name", _patterns())
def test_what_was_slow_takes_linear_time(name):
    """The pieces that took a pattern of this package the longest."""
    function = _patterns()[name]
    worst = ((" a", " ", "x"), ("", "<SampleBase>1<", ""), ("a", "-", "x"), ("'", "'a ", "]"), ("<", "<", ""))
    for before, piece, behind in worst:
        text = before + piece * (SIZE // len(piece)) + behind
        assert seconds(function, text) < LIMIT_S, (before, piece, behind)


@pytest.mark.slow
@pytest.mark.parametrize("name", _patterns())
def test_repeated_characters_take_linear_time(name):
    function = _patterns()[name]
    found = []
    for before, piece, behind in itertools.product(BEFORE, REPEATED, BEHIND):
        taken = seconds(function, before + piece * (SIZE // len(piece)) + behind)
        found.append((taken, (before, piece, behind)))
        assert taken < LIMIT_S, found[-1]
    print(name, max(found))


def test_a_note_is_shortened():
    import numpy as np

    from ecgllm.signals import ECGRecord

    record = ECGRecord(np.ones((1, 10)), 500, ("I",), notes=("'a " * SIZE,))
    assert len(record.notes[0]) < 2100 and "298,100 characters ..." in record.notes[0]


def test_a_thousand_lines_of_comments_before_a_long_table():
    text = "# a: b\n" * 900 + "I,II\n" + "1,2\n" * 2_000_000
    start = time.process_time()
    said, header, _ = csv_tables._comments_and_header(text, "")
    assert (said, header) == ({"a": "b"}, "I,II") and time.process_time() - start < LIMIT_S


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("# sampling_rate: 500", {"sampling_rate": "500"}),
        ("#fs=500", {"fs": "500"}),
        ("% Sampling Rate [Hz] :  500 ", {"sampling rate": "500", "sampling rate in": "Hz"}),
        ("# unit: mV: or so", {"unit": "mV: or so"}),
        ("# a-b: c", {}),
        ("# fs [Hz: 500", {}),
        ("# []: 500", {}),
        ("#:", {}),
        ("sep=;", {}),
        ("", {}),
    ],
)
def test_what_a_comment_says(line, said):
    assert csv_tables._said(line) == said
