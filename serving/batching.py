"""One thread that works on whatever waits, together (`Batcher`).

In: jobs of many threads, one by one. Out: a `Future` for each. Decided here: nobody waits for company: while a batch
is worked on, the next one gathers, so that batches grow with the load and a lone job is not delayed; the number that
wait is bounded, and the next is refused (`Busy`); what is cancelled while it waits is never begun.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from ..errors_ecgllm import ECGError

Job = TypeVar("Job")


class Busy(ECGError):
    """So many jobs wait that no further one is taken; it may be tried again."""


class Closed(ECGError):
    """No further job is taken."""


class Batcher(Generic[Job]):
    """Args: work: called with jobs, gives for each its result, or the exception that it ends in. most: jobs in a
    batch. waiting: jobs that may wait. name: of the thread."""

    def __init__(
        self, work: Callable[[Sequence[Job]], Sequence[Any]], most: int = 32, waiting: int = 256, name: str = "batcher"
    ):
        for called, value in (("most", most), ("waiting", waiting)):
            if value < 1:
                raise ECGError(f"{called} is {value}; expected at least 1.")
        self._work, self._most = work, most
        self._waiting: queue.Queue[tuple[Job, Future[Any]] | None] = queue.Queue(waiting + 1)  # one for the end
        self._limit, self._closed, self._lock = waiting, False, threading.Lock()
        self.batches = self.jobs = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return self._waiting.qsize()

    def submit(self, job: Job) -> Future[Any]:
        """Raises: Busy, Closed."""
        future: Future[Any] = Future()
        with self._lock:  # nothing comes after the end
            if self._closed:
                raise Closed("The server is shutting down; nothing more is answered.")
            if self._waiting.qsize() >= self._limit:
                raise Busy(f"{self._limit} requests wait already; try again in a few seconds.")
            self._waiting.put_nowait((job, future))
        return future

    def close(self) -> None:
        """Work on what waits, and end."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.put_nowait(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            taken, ended = [first], False
            while len(taken) < self._most:
                try:
                    following = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    ended = True
                    break
                taken.append(following)
            self._finish([(job, future) for job, future in taken if future.set_running_or_notify_cancel()])
            if ended:
                return

    def _finish(self, taken: Sequence[tuple[Job, Future[Any]]]) -> None:
        if not taken:
            return
        self.batches, self.jobs = self.batches + 1, self.jobs + len(taken)
        try:
            results = self._work([job for job, _ in taken])
        except BaseException as error:  # whoever waits must not wait for ever
            results = [error] * len(taken)
        for (_, future), result in zip(taken, results, strict=True):
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


__all__ = ["Batcher", "Busy", "Closed"]
