"""An ECG is read once for its owner, and forgotten."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from ecgllm.serving.kept_ecgs import KeptECGs, digest_of


@dataclass
class Thing:
    size: int = 10


def test_made_once_for_each_owner() -> None:
    kept, made = KeptECGs(), []

    def make() -> Thing:
        made.append(1)
        time.sleep(0.05)
        return Thing()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kept.get("a", "x", make), range(8)))
    assert len(made) == 1 and all(one is found[0] for one in found)
    assert kept.get("b", "x", make) is not found[0] and len(made) == 2  # the same file of somebody else
    kept.forget("a")
    assert len(kept) == 1 and kept.size == 10
    assert kept.get("a", "x", make) is not found[0]


def test_what_is_old_or_too_much_is_forgotten_and_the_last_used_stays() -> None:
    now = [0.0]
    kept = KeptECGs(most_bytes=30, seconds=60, clock=lambda: now[0])
    first = kept.get("a", "1", Thing)
    for digest in "23":
        kept.get("a", digest, Thing)
    assert kept.get("a", "1", Thing) is first  # so that 2 is the longest unused
    kept.get("a", "4", Thing)
    assert kept.size == 30 and kept.get("a", "1", Thing) is first and len(kept) == 3
    kept.get("a", "large", lambda: Thing(31))
    assert len(kept) == 3  # never kept, and nothing went for it
    now[0] = 61
    kept.forget()
    assert len(kept) == 0 == kept.size


def test_one_that_gave_up_does_not_end_who_waits_for_the_same() -> None:
    kept, begun, end = KeptECGs(), threading.Event(), threading.Event()

    def give_up() -> Thing:
        begun.set()
        end.wait(5)
        raise RuntimeError("given up")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, "a", "x", give_up)
        begun.wait(5)
        second = pool.submit(kept.get, "a", "x", Thing)
        time.sleep(0.1)
        assert not second.done()
        end.set()
        assert isinstance(second.result(5), Thing) and len(kept) == 1
        with pytest.raises(RuntimeError):
            first.result(5)


def test_what_cannot_be_read_is_an_error_for_all_who_ask_and_is_not_kept() -> None:
    kept, begin = KeptECGs(), threading.Event()

    def fail() -> Thing:
        begin.wait(5)
        raise ValueError("unreadable")

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(kept.get, "a", "x", fail) for _ in range(3)]
        time.sleep(0.1)
        begin.set()
        for one in asked:
            with pytest.raises(ValueError, match="unreadable"):
                one.result(5)
    assert isinstance(kept.get("a", "x", Thing), Thing)


def test_a_digest_is_of_names_bytes_and_options() -> None:
    files = {"a.hea": b"1", "a.dat": b"2"}
    assert digest_of(files) == digest_of(dict(reversed(files.items())))
    others = [
        {"a.hea": b"1"},
        {"a.hea": b"2", "a.dat": b"1"},
        {"a.hea": b"1\n5 a.dat 1\n2"},
        {"b.hea": b"1", "a.dat": b"2"},
    ]
    assert len({digest_of(files), digest_of(files, unit="mV"), *map(digest_of, others)}) == 6
