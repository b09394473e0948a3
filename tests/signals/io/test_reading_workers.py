"""in_processes: outcomes in the order of the items, whatever takes how long, and a worker replaced when it is lost."""

import multiprocessing
import os
import time

import pytest

from ecgllm.signals.io.reading_workers import DIED, in_processes


def work(name, seconds):
    if name == "die":
        os._exit(3)
    if name == "raise":
        raise KeyError(name)
    time.sleep(seconds)
    return name, os.getpid()


def test_outcomes_come_in_order_from_several_processes():
    items = [(number, 0.3 if number == 0 else 0.0) for number in range(30)]
    found = list(in_processes(work, items, workers=3, timeout_s=None))
    assert [outcome[0] for outcome, _ in found] == list(range(30))
    assert all(failure is None for _, failure in found)
    processes = {outcome[1] for outcome, _ in found}
    assert 2 <= len(processes) <= 3 and os.getpid() not in processes


def test_workers_that_die_or_hang_are_replaced():
    items = [("a", 0), ("die", 0), ("b", 0), ("hang", 60), ("die", 0), ("c", 0)]
    found = list(in_processes(work, items, workers=1, timeout_s=0.4))
    assert [outcome and outcome[0] for outcome, _ in found] == ["a", None, "b", None, None, "c"]
    assert [failure for _, failure in found][1] == [failure for _, failure in found][4] == DIED
    assert "not read within 0.4 s" in found[3][1]


def test_what_the_function_raises_is_raised_and_nothing_is_left():
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyError, match="raise"):
        list(in_processes(work, [("a", 0), ("raise", 0), ("hang", 60)], workers=2, timeout_s=None))
    assert set(multiprocessing.active_children()) <= before


def test_no_items_need_no_process():
    assert list(in_processes(work, [], workers=2, timeout_s=1.0)) == []
