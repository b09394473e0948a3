"""A bar counts to its end, whatever its total was thought to be, and is for somebody who looks and waits."""

import io

import pytest

from ecgllm.progress_bar import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_does_not_pass_its_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    with progress("Working", total=10) as bar:
        for step in (4, 4, 0.5, 4):
            bar.update(step)
        assert bar.n == bar.total == 10


@pytest.mark.parametrize(
    ("stream", "waited", "shown"), [(Terminal(), 3.0, True), (Terminal(), 0.0, False), (io.StringIO(), 3.0, False)]
)
def test_it_is_shown_after_a_while_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, waited: float, shown: bool
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    with progress("Working", total=10) as bar:
        if not bar.disable:
            bar.start_t -= waited
            bar.last_print_t -= waited
        bar.update(5)
    assert ("Working:  50%" in stream.getvalue()) is shown
