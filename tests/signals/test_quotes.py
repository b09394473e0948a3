"""What a message keeps of what it quotes: names of leads, nothing else."""

import pytest

from ecgllm.signals.quotes import without_quotes


@pytest.mark.parametrize(
    ("text", "kept", "left"),
    [
        ("could not convert string to float: 'Roe'", (), "could not convert string to float: (not shown)"),
        ('time data "O\'Neill" is none', (), "time data (not shown) is none"),
        ("it holds 'O'Neill' and 'Roe'; see there", (), "it holds (not shown); see there"),
        ("the device's own 'Roe'", (), "the device's own (not shown)"),
        ("element <Roe> is empty", (), "element (not shown) is empty"),
        ("lead 'V1' has no unit 'Roe'", ("V1",), "lead 'V1' has no unit (not shown)"),
        ("leads ['I', 'II (rhythm)'] are raw", ("I", "II"), "leads ['I', 'II (rhythm)'] are raw"),
        ("leads ['I', 'Roe'] are raw", ("I", "II"), "leads ['I', (not shown)] are raw"),
        ("on\n two  lines", ("I",), "on two lines"),
    ],
)
def test_quotes_are_cut_out(text, kept, left):
    assert without_quotes(text, kept) == left
