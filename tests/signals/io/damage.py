"""Damaged files and a process that reads them: whatever the bytes, `read_ecg` gives a record or an ECGReadError.

Run as a program, this is that process, whose memory is limited: python damage.py FOLDER COUNT FORMAT... It mutates the
records of FOLDER/FORMAT, one subfolder each that is called like the file to read, and prints a line of JSON a format.
"""

import faulthandler
import json
import random
import re
import signal
import struct
import sys
import time
import warnings
from pathlib import Path

LIMIT_S = 2.0
LIMIT_BYTES = 1 << 30
LIMIT_WORDS = 4000  # characters of an error, or of all notes together: what a terminal can show
STUCK_S = 60.0  # in code that no signal interrupts: the process ends with a traceback
SEED = 20241122
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_NUMBERS = (
    *(b"0", b"-1", b"1", b"1e300", b"1e308", b"1e-300", b"nan", b"inf", b"-7.5", b"", b"32768", b"x"),
    *(b"2147483648", b"4294967295", b"9223372036854775808", b"99999999999999", b"-2147483649", b"9" * 10_000),
)
_FIELDS = [
    *(struct.pack(f"<{kind}", value) for kind, bits in (("h", 15), ("i", 31), ("q", 63)) for value in (
        0, 1, -1, (1 << bits) - 1, -(1 << bits), 1 << bits // 2)),
    *(struct.pack(f"<{kind}", value) for kind in "fd" for value in (
        float("nan"), float("inf"), -1.0, 1e38, 1e-38)),
]  # fmt: skip
_LEADS = re.compile(rb"\b(?:aV[RLF]|V[1-6]|I{1,3})\b")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]{64,}")
_MARKUP = (
    b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>', b"&b;", b"&#0;", b"&#x110000;", b"<!--",
    b"<![CDATA[", b"]]>", b"<a>" * 5000, b"<a b='" * 50, b"[" * 5000, b'{"a":' * 5000, b"</a>", b"\xff\xfe", b"\0",
)  # fmt: skip


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to three kinds of damage: cut, flipped, swapped, moved, repeated, overwritten, or numbers, leads, markup and
    base64 replaced."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        size = len(data)
        if not size:
            break
        # Half of the damage goes to where headers stand.
        place = rng.randrange(min(size, 2048)) if rng.random() < 0.5 else rng.randrange(size)
        length = min(size - place, rng.choice((1, 2, 4, 8, 64, 500)))
        rng.choice(_KINDS)(data, place, length, rng)
    return bytes(data)


def _cut(data, place, length, rng):
    del data[place:]


def _flip(data, place, length, rng):
    for _ in range(rng.randint(1, 20)):
        at = min(len(data) - 1, max(0, place + rng.randint(-30, 30)))
        data[at] ^= 1 << rng.randrange(8)


def _random(data, place, length, rng):
    data[place : place + length] = bytes(rng.randrange(256) for _ in range(length))


def _zeros(data, place, length, rng):
    data[place : place + length] = bytes(length)


def _ones(data, place, length, rng):
    data[place : place + length] = b"\xff" * length


def _other_byte_order(data, place, length, rng):
    part = data[place : place + 2 * (length // 2)]
    data[place : place + len(part)] = b"".join(part[i : i + 2][::-1] for i in range(0, len(part), 2))


def _delete(data, place, length, rng):
    del data[place : place + rng.choice((length, length, len(data) // 4))]


def _duplicate(data, place, length, rng):
    length = rng.choice((length, length, len(data) // 4))
    data[place:place] = data[max(0, place - length) : place]


def _swap(data, place, length, rng):
    """Two pieces of equal length change places, as sections in an odd order."""
    length = rng.choice((length, length, len(data) // 8))
    other = rng.randrange(len(data))
    first, second = sorted((place, other))
    length = min(length, second - first, len(data) - second)
    head, tail = data[first : first + length], data[second : second + length]
    data[first : first + length], data[second : second + length] = tail, head


def _repeat(data, place, length, rng):
    data[place:place] = data[place : place + 1] * rng.choice((10, 300, 20_000))


def _field(data, place, length, rng):
    """A binary number of an extreme value, in either byte order."""
    field = rng.choice(_FIELDS)
    place -= rng.choice((0, place % 2))
    data[place : place + len(field)] = field[:: rng.choice((1, -1))]


def _number(data, place, length, rng):
    found = list(_NUMBER.finditer(data, 0, min(len(data), 200_000)))[:400]
    if found:
        number = rng.choice(found)
        data[number.start() : number.end()] = rng.choice(_NUMBERS)


def _lead(data, place, length, rng):
    found = list(_LEADS.finditer(data, 0, min(len(data), 200_000)))[:200]
    if found:
        lead = rng.choice(found)
        data[lead.start() : lead.end()] = rng.choice(found)[0]


def _line(data, place, length, rng):
    """A line goes, or stands twice."""
    start, end = data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place) + 1
    if end:
        data[start:end] = rng.choice((b"", data[start:end] * 2))


def _markup(data, place, length, rng):
    tag = data.find(rng.choice((b">", b"<", b"{", b":")), place) + 1
    data[tag or place : tag or place] = rng.choice(_MARKUP)


def _base64(data, place, length, rng):
    found = list(_BASE64.finditer(data))[:100]
    if found:
        text = rng.choice(found)
        at = rng.randrange(text.start(), text.end())
        data[at : at + rng.choice((0, 1, 3))] = rng.choice((b"", b"A", b"=", b"====", b"!", b"\n", b" "))


_KINDS = (_cut, _flip, _random, _zeros, _ones, _other_byte_order, _delete, _duplicate, _swap, _repeat, _field, _field,
          _number, _number, _lead, _line, _markup, _base64)  # fmt: skip


class Hang(BaseException):
    """More than `LIMIT_S` of processor time, raised wherever the reader is."""


def hang(*_):
    raise Hang


def limit_memory() -> None:
    """This process may take `LIMIT_BYTES` more than it has."""
    if sys.platform == "linux":
        import resource

        now = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT_BYTES, resource.RLIM_INFINITY))


def outcome(path: Path):
    """(record, refusal, failure) of reading `path`: one of the three, the failure as a sentence."""
    from ecgllm.signals import ECGReadError, read_ecg

    signal.signal(signal.SIGPROF, hang)
    faulthandler.dump_traceback_later(STUCK_S, exit=True)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record = read_ecg(path)
        if record.signal.size * 4 > LIMIT_BYTES:
            return None, None, "more than the limit of memory"
        if sum(map(len, record.notes)) > LIMIT_WORDS:
            return None, None, f"{len(record.notes)} notes of {sum(map(len, record.notes))} characters"
        if caught:
            return None, None, f"{len(caught)} warnings, such as {caught[0].message}"
        return record, None, None
    except ECGReadError as error:
        cause = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return None, None, "MemoryError"
            cause = cause.__cause__
        if len(str(error)) > LIMIT_WORDS:
            return None, None, f"an error of {len(str(error))} characters: {str(error)[:200]}"
        return None, error, None
    except Hang:
        return None, None, f"longer than {LIMIT_S} s"
    except BaseException as error:
        return None, None, f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()


def run(folder: Path, count: int, formats: list[str]) -> list[dict]:
    """Read `count` mutated records of each format; figures and failures of each."""
    import pandas  # noqa: F401  (what readers import late counts as this program's own memory)
    import pyarrow.parquet  # noqa: F401
    import wfdb  # noqa: F401

    from ecgllm.signals import read_ecg

    records = {format: sorted((folder / format).iterdir()) for format in formats}
    for record in sum(records.values(), []):
        read_ecg(record / record.name)
    limit_memory()
    figures = []
    for format in formats:
        rng = random.Random(f"{SEED} {format}")
        originals = {file: file.read_bytes() for record in records[format] for file in sorted(record.iterdir())}
        read, refused, slowest, failures = 0, 0, 0.0, []
        for number in range(count):
            record = rng.choice(records[format])
            file = rng.choice([file for file in originals if file.parent == record])
            content = mutate(originals[file], rng)
            file.write_bytes(content)
            start = time.process_time()
            found, refusal, failure = outcome(record / record.name)
            slowest = max(slowest, time.process_time() - start)
            read, refused = read + (found is not None), refused + (refusal is not None)
            if failure:
                failures.append(f"{number} ({file.name}): {failure}"[:300])
                (folder / f"failed-{format}-{number}-{file.name}").write_bytes(content)
            file.write_bytes(originals[file])
        figures.append(
            {"format": format, "mutants": count, "read": read, "refused": refused, "slowest_s": round(slowest, 3),
             "failures": failures}
        )  # fmt: skip
    return figures


if __name__ == "__main__":
    faulthandler.enable()
    for figure in run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]):
        print(json.dumps(figure))
