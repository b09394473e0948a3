"""Damaged files: whatever the bytes, `read_ecg` gives a record or an ECGReadError, within 2 s and 1 GB.

Files of every format are mutated with a fixed seed and read in a process of their own, whose memory is limited. Run as
a program, this file is that process: python test_fuzz.py FOLDER COUNT FORMAT...
"""

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

LIMIT_S = 2.0
LIMIT_BYTES = 1 << 30
SEED = 20241122
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_NUMBERS = (b"0", b"-1", b"1e300", b"1e-300", b"nan", b"inf", b"99999999999999", b"-7.5", b"", b"32768", b"x")
_LEADS = re.compile(rb"\b(?:aV[RLF]|V[1-6]|I{1,3})\b")


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to three kinds of damage: cut, flipped, swapped, moved, overwritten, or numbers and leads replaced."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        size = len(data)
        if not size:
            break
        kind = rng.randrange(11)
        # Half of the damage goes to where headers stand.
        place = rng.randrange(min(size, 2048)) if rng.random() < 0.5 else rng.randrange(size)
        length = min(size - place, rng.choice((1, 2, 4, 8, 64, 500)))
        if kind == 0:
            del data[place:]
        elif kind == 1:
            for _ in range(rng.randint(1, 20)):
                at = min(size - 1, max(0, place + rng.randint(-30, 30)))
                data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[place : place + length] = bytes(rng.randrange(256) for _ in range(length))
        elif kind == 3:
            data[place : place + length] = bytes(length)
        elif kind == 4:
            data[place : place + length] = b"\xff" * length
        elif kind == 5:  # the other byte order
            part = data[place : place + 2 * (length // 2)]
            data[place : place + len(part)] = b"".join(part[i : i + 2][::-1] for i in range(0, len(part), 2))
        elif kind == 6:
            del data[place : place + length]
        elif kind == 7:
            data[place:place] = data[max(0, place - length) : place]
        elif kind in (8, 9):
            found = list(_NUMBER.finditer(data, 0, min(size, 200_000)))[:400]
            if found:
                number = rng.choice(found)
                data[number.start() : number.end()] = rng.choice(_NUMBERS)
        else:
            found = list(_LEADS.finditer(data, 0, min(size, 200_000)))[:200]
            if found:
                lead = rng.choice(found)
                data[lead.start() : lead.end()] = rng.choice(found)[0]
    return bytes(data)


class Hang(BaseException):
    """More than `LIMIT_S` of processor time, raised wherever the reader is."""


def run(folder: Path, count: int, formats: list[str]) -> list[dict]:
    """Read `count` mutated files of each format; figures and failures of each."""
    import pandas  # noqa: F401  (what readers import late counts as this program's own memory)
    import pyarrow.parquet  # noqa: F401
    import wfdb  # noqa: F401

    from ecgllm.signals import ECGReadError, read_ecg

    def hang(*_):
        raise Hang

    for format in formats:
        read_ecg(next(iter(sorted((folder / format).glob("whole*")))))
    if sys.platform == "linux":
        import resource

        now = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, hang)
    figures = []
    for format in formats:
        rng = random.Random(f"{SEED} {format}")
        files = sorted((folder / format).iterdir())
        originals = {file: file.read_bytes() for file in files}
        main = next(file for file in files if file.name.startswith("whole") and file.suffix != ".dat")
        read, refused, slowest, failures = 0, 0, 0.0, []
        for number in range(count):
            file = rng.choice(files)
            content = mutate(originals[file], rng)
            file.write_bytes(content)
            start = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            failure = None
            try:
                record = read_ecg(main)
                if record.signal.size * 4 > LIMIT_BYTES:
                    failure = "more than the limit of memory"
                read += 1
            except ECGReadError as error:
                refused += 1
                cause = error
                while cause is not None and failure is None:
                    failure = "MemoryError" if isinstance(cause, MemoryError) else None
                    cause = cause.__cause__
            except Hang:
                failure = f"longer than {LIMIT_S} s"
            except BaseException as error:
                failure = f"{type(error).__name__}: {error}"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            slowest = max(slowest, time.process_time() - start)
            if failure:
                failures.append(f"{number}: {failure}"[:300])
                (folder / f"failed-{format}-{number}{file.suffix}").write_bytes(content)
            file.write_bytes(originals[file])
        figures.append(
            {
                "format": format,
                "files": count,
                "read": read,
                "refused": refused,
                "slowest_s": round(slowest, 3),
                "failures": failures,
            }  # fmt: skip
        )
    return figures


@pytest.fixture
def originals(one_of_each, written, tmp_path):
    """A folder per format with one whole file, or record, in it."""
    from ecgllm.signals.simulation import simulate_ecg

    contents = {format: content for format, (content, *_) in one_of_each.items()}
    contents["parquet"] = written.parquet([simulate_ecg(seed=1)])
    contents["sierra-xli"] = written.sierra(written.microvolts() // 5, packed=True)
    contents["scp-huffman"] = written.scp(written.microvolts(leads=written.EIGHT), huffman=True, differences=2)
    contents["scp-beats"] = written.scp(written.microvolts(leads=written.EIGHT), huffman=True, beats=(100, 250, 471))
    counts = written.microvolts()
    groups = [
        (counts[3 * n : 3 * n + 3, 150 * n : 150 * n + 150], written.LEADS[3 * n : 3 * n + 3], "", 500, 300 * n)
        for n in range(4)
    ]
    contents["dicom-groups"] = written.dicom(None, groups=groups)
    edf = contents["edf"]
    contents["edf-gaps"] = (edf[:192] + b"EDF+D" + edf[197:]).replace(b"+1\x14\x14", b"+3\x14\x14")
    names, units = ";".join(("time", *written.LEADS)), ";".join(("s", *["mV"] * 12))
    rows = (f"{n * 0.002:.3f};" + ";".join(f"{value / 1000:.3f}" for value in row) for n, row in enumerate(counts.T))
    contents["csv-units"] = "\n".join([names, units, *(row.replace(".", ",") for row in rows)]).encode()
    for format, content in contents.items():
        (tmp_path / format).mkdir()
        (tmp_path / format / "whole.bin").write_bytes(content)
    counts = written.microvolts().T.astype("<i2")
    names = [
        f"whole.dat 16 1000/mV 16 0 0 {int(c.sum(dtype='<i2'))} 0 {lead}"
        for c, lead in zip(counts.T, written.LEADS, strict=True)
    ]
    (tmp_path / "wfdb").mkdir()
    (tmp_path / "wfdb" / "whole.hea").write_text("\n".join(["whole 12 500 600", *names, "#Age: 61", "#Dx: 1"]) + "\n")
    (tmp_path / "wfdb" / "whole.dat").write_bytes(counts.tobytes())
    (tmp_path / "wfdb-mat").mkdir()
    text = (tmp_path / "wfdb" / "whole.hea").read_text().replace("whole.dat 16", "whole.mat 16+24")
    (tmp_path / "wfdb-mat" / "whole.hea").write_text(text)
    head = np.array([30, 12, 600, 0, 4], dtype="<i4").tobytes() + b"val\0"
    (tmp_path / "wfdb-mat" / "whole.mat").write_bytes(head + counts.tobytes())
    return tmp_path, [*contents, "wfdb", "wfdb-mat"]


def fuzz(folder, count, formats):
    done = subprocess.run(
        [sys.executable, __file__, str(folder), str(count), *formats], capture_output=True, text=True, timeout=3000
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [figure["format"] for figure in figures] == list(formats)
    for figure in figures:
        print(figure)
    return figures


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="limits time by a Unix timer")
def test_damaged_files_are_read_or_refused(originals):
    folder, formats = originals
    for figure in fuzz(folder, 100, formats):
        assert figure["failures"] == [] and figure["refused"] > 0, figure


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="limits time by a Unix timer")
def test_two_thousand_damaged_files_of_each_format(originals):
    folder, formats = originals
    for format in formats:
        (figure,) = fuzz(folder, 2000, [format])
        assert figure["failures"] == [], figure


if __name__ == "__main__":
    for figure in run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]):
        print(json.dumps(figure))
