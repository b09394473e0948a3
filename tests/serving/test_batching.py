"""Jobs of many threads are done together, none twice, and none is lost."""

import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.serving.batching import Batcher, Busy, Closed


def test_what_waits_is_done_together_and_each_gets_its_own() -> None:
    begin, sizes = threading.Event(), []

    def square(jobs):
        begin.wait(5)
        sizes.append(len(jobs))
        return [job * job for job in jobs]

    batcher = Batcher(square, most=8)
    with ThreadPoolExecutor(20) as pool:
        results = pool.map(lambda number: batcher.submit(number).result(10), range(20))
        time.sleep(0.2)
        begin.set()
        assert list(results) == [number**2 for number in range(20)]
    assert sum(sizes) == 20 == batcher.jobs and max(sizes) == 8 and len(sizes) == batcher.batches <= 5
    batcher.close()
    with pytest.raises(Closed):
        batcher.submit(1)


def test_an_error_is_its_own_job_s_or_that_of_all_whose_work_failed() -> None:
    def work(jobs):
        if "all" in jobs:
            raise ValueError("everything")
        return [ECGError("this one") if job == "bad" else job for job in jobs]

    batcher = Batcher(work)
    with pytest.raises(ECGError, match="this one"):
        batcher.submit("bad").result(5)
    with pytest.raises(ValueError, match="everything"):
        batcher.submit("all").result(5)
    assert batcher.submit("good").result(5) == "good"  # the thread lives on
    batcher.close()


def test_no_more_than_may_wait_and_what_is_cancelled_is_not_begun() -> None:
    begin, done, started = threading.Event(), [], threading.Event()

    def work(jobs):
        started.set()
        begin.wait(5)
        done.extend(jobs)
        return jobs

    batcher = Batcher(work, most=1, waiting=2)
    first = batcher.submit(0)
    started.wait(5)
    waiting = [batcher.submit(number) for number in (1, 2)]
    with pytest.raises(Busy, match="2 requests wait already"):
        batcher.submit(3)
    assert waiting[0].cancel() and not first.cancel()
    begin.set()
    batcher.close()  # what waits is finished
    assert done == [0, 2] and waiting[1].result(1) == 2
    with pytest.raises(CancelledError):
        waiting[0].result(1)
