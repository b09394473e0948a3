"""Work done in processes that may hang or die: a function and its items in, one outcome per item out, in order.

Decided here: a worker holds one item at a time, so that it is known which item killed it or took too long. Such a
worker is killed and replaced; the others go on. No worker outlives the loop over the outcomes, or this process.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

_AHEAD = 4  # outcomes held back per worker, while an earlier item takes its time: few enough to keep memory flat
DIED = "the process that read it died, as it does when memory runs out"


def in_processes(
    function: Callable[..., Any], items: Sequence[tuple], workers: int, timeout_s: float | None
) -> Iterator[tuple[Any, str | None]]:
    """Call `function(*item)` for each item, in `workers` processes.

    Args:
        function, items: what can be pickled. timeout_s: seconds an item may take, counted by the clock; None for any.

    Yields: in the order of the items (what the function returned, None), or (None, why there is nothing).
    Raises: whatever the function raises.
    """
    pool: list[_Worker] = []
    waiting = deque(enumerate(items))
    finished: dict[int, tuple[Any, str | None]] = {}
    try:
        for index in range(len(items)):
            while index not in finished:
                for _ in range(workers):
                    idle = next((worker for worker in pool if worker.item is None), None)
                    if not waiting or len(finished) >= _AHEAD * workers or (idle is None and len(pool) >= workers):
                        break
                    if idle is None:
                        idle = _Worker(function)
                        pool.append(idle)
                    idle.start(*waiting.popleft())
                busy = [worker for worker in pool if worker.item is not None]
                ready = wait([worker.connection for worker in busy], _time_left(busy, timeout_s))
                for worker in busy:
                    if worker.connection in ready:
                        number, outcome = worker.finish()
                    elif timeout_s is not None and time.monotonic() - worker.since >= timeout_s:
                        if worker.connection.poll():  # finished while it was looked at
                            continue
                        late = f"was not read within {timeout_s:g} s and was given up; pass a longer timeout_s"
                        number, outcome = worker.item, (None, late)
                        worker.end()
                    else:
                        continue
                    finished[number] = outcome
                pool = [worker for worker in pool if not worker.ended]
            yield finished.pop(index)
    finally:
        for worker in pool:
            worker.end()


def _time_left(busy: list[_Worker], timeout_s: float | None) -> float | None:
    if timeout_s is None:
        return None
    return max(0.0, min(worker.since for worker in busy) + timeout_s - time.monotonic())


class _Worker:
    """A process that works on one item at a time. item: the number of that item, None while idle."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_serve, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is an end of file here, and later workers do not inherit it
        self.item: int | None = None
        self.since = 0.0
        self.ended = False

    def start(self, number: int, item: tuple) -> None:
        self.item, self.since = number, time.monotonic()
        with suppress(ConnectionError):  # it died while idle: `finish` meets the end of file
            self.connection.send(item)

    def finish(self) -> tuple[int, tuple[Any, str | None]]:
        number, self.item = self.item, None
        try:
            result, error = self.connection.recv()
        except (EOFError, ConnectionError):
            self.end()
            return number, (None, DIED)
        if error is not None:
            raise error
        return number, (result, None)

    def end(self) -> None:
        self.ended = True
        self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()


def _serve(connection: Connection, function: Callable[..., Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    parent = multiprocessing.parent_process().sentinel
    while connection in wait([connection, parent]):  # the parent's end, if killed, is no end of file where forked
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            result, error = function(*item), None
        except Exception as raised:  # raised again in the parent
            result, error = None, raised
        try:
            connection.send((result, error))
        except ConnectionError:
            return
        del item, result
