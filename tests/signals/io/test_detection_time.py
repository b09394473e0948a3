"""Detection and the columns of tables take time in proportion to the text, whatever is repeated in it."""

import itertools
import time

import pytest

from ecgllm.signals import ECGReadError, read_ecg
from ecgllm.signals.io.detection import HEAD_BYTES, describe, detect_format, split_unit

REPEATED = (
    *(
        " ",
        "\t",
        "\n",
        "\xa0",
        "(",
        "[",
        ")",
        "<",
        "<?",
        "<!--",
        "<!DOCTYPE",
        "<!DOCTYPE[",
        "<!DOCTYPE>",
        "<a:",
        "{",
        "{[",
    ),
    *(
        '"',
        "'",
        ",",
        ";",
        "1",
        "0",
        "1.",
        "1,",
        "+",
        "-",
        ".",
        "e",
        "#",
        "# a ",
        "a",
        "a/",
        "I",
        "I,",
        "( ",
        "1 ",
        "a 1 ",
    ),
)
BEFORE = ("", "I,II,V1", "I,II\n", "a 1 1", "a 1 1\n", "a 1 1(", "<", "<a ", "{", "#")
BEHIND = ("", "x", ")", "\n1,2")
LIMIT_S = 2.0  # linear takes a quarter of a second, quadratic minutes


def slowest(befores, repeated, behinds) -> tuple[float, tuple[str, str, str]]:
    found = []
    for before, piece, behind in itertools.product(befores, repeated, behinds):
        head = (before + piece * (HEAD_BYTES // len(piece.encode())) + behind).encode()[: HEAD_BYTES + 10]
        start = time.process_time()
        detect_format(head), describe(head)
        found.append((time.process_time() - start, (before, piece, behind)))
        assert found[-1][0] < LIMIT_S, found[-1]
    return max(found)


@pytest.mark.parametrize(
    "parts",
    [("", " ", "x"), ("I,II\n", "1", "x"), ("", "<?", ""), ("", "<!DOCTYPE[", ""), ("{", "[", ""), ("I", "(", "x")],
)
def test_what_was_slow_is_fast(parts):
    print(slowest(*([part] for part in parts)))


@pytest.mark.slow
def test_repeated_characters_take_linear_time():
    print(slowest(BEFORE, REPEATED, BEHIND))


@pytest.mark.parametrize(
    "header", ["I," + " " * 20_000 + "x", "I," + "( " * 10_000 + "x", "I (" + "(" * 20_000 + "mV)"]
)
def test_a_csv_header_of_20_kb_of_spaces(header):
    start = time.process_time()
    try:
        read_ecg(f"# sampling_rate: 500\n# unit: mV\n{header}\n1,2\n3,4\n".encode())
    except ECGReadError as error:
        print(str(error)[:100])
    assert time.process_time() - start < LIMIT_S


@pytest.mark.parametrize(
    "content", [b'{"a":' * 80_000, b"[" * 400_000, b'{"recordedAt":1,"patientID":' + b"[" * 400_000]
)
def test_deep_json_ends(content):
    start = time.process_time()
    with pytest.raises(ECGReadError):
        read_ecg(content)
    assert time.process_time() - start < LIMIT_S


@pytest.mark.parametrize(
    ("column", "parts"),
    [("V1 (mV)", ("V1", "mV")), ("V1[ uV ] ", ("V1", "uV")), ("V1", ("V1", None)), ("(mV)", ("(mV)", None)),
     ("time (s) (ms)", ("time (s)", "ms")), ("a (b", ("a (b", None)), ("a b)", ("a b)", None))],
)  # fmt: skip
def test_unit_of_a_column(column, parts):
    assert split_unit(column) == parts
