"""One lead in braille characters."""

import numpy as np
import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.signals.plotting.terminal import braille_lines


def dots(lines: list[str]) -> np.ndarray:
    """bool [4 x rows, 2 x columns]: which dots are set."""
    places = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
    canvas = np.zeros((4 * len(lines), 2 * len(lines[0])), dtype=bool)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            for right, bits in enumerate(places):
                for down, bit in enumerate(bits):
                    canvas[4 * row + down, 2 * column + right] = bool((ord(character) - 0x2800) & bit)
    return canvas


def test_a_ramp_goes_from_the_lowest_left_to_the_highest_right_dot() -> None:
    lines = braille_lines(np.linspace(-1, 1, 400), 10, 3)
    assert [len(line) for line in lines] == [10] * 3
    canvas = dots(lines)
    assert canvas[-1, 0] and canvas[0, -1] and not canvas[0, 0] and not canvas[-1, -1]
    tops = canvas.argmax(axis=0)
    assert (np.diff(tops) <= 0).all() and canvas.any(axis=0).all()


def test_no_spike_is_lost_and_what_is_unknown_is_left_empty() -> None:
    samples = np.zeros(5000)
    samples[2503] = 2.0  # one sample of 63 in its column
    canvas = dots(braille_lines(samples, 40, 4))
    assert canvas[:, 40].all() and canvas.sum() == 16 + 79  # from top to bottom; a dot in each other column
    samples[:2500] = np.nan
    canvas = dots(braille_lines(samples, 40, 4))
    assert not canvas[:, :39].any() and canvas[-1, 41:].all()
    assert not dots(braille_lines(np.full(100, np.nan), 5, 2)).any()


@pytest.mark.parametrize("wrong", [np.zeros(1), np.zeros((2, 50))])
def test_what_is_no_lead_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ECGError, match="expected two samples or more of one lead"):
        braille_lines(wrong)
