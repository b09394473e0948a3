"""Files and folders appear only when they are complete, and one process at a time writes them.

In: the path of a file or folder, and what fills it. Out: the file or folder, put in place by a rename. Until then its
parts lie beside it under a name that ends in `.partial`. Decided here: the operating system's lock (`filelock`) says
whether a process is writing, so that the lock of a killed process is free at once, even if its process number is in
use again. A record beside the lock names the process, for the message. What a killed process leaves is called
unfinished, and the next process starts it again.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors_ecgllm import ECGError

__all__ = [
    "InUseError",
    "new_folder",
    "owned",
    "unfinished",
    "write_bytes",
    "write_json",
    "write_text",
    "written_whole",
]

logger = logging.getLogger(__name__)

LOCK, OWNER, PARTIAL, OLD = ".lock", ".owner.json", ".partial", ".old"


class InUseError(ECGError):
    """A folder that another process is writing; the message names it."""


@contextmanager
def owned(folder: Path, what: str | Path | None = None) -> Iterator[None]:
    """Hold a folder, which is made where there is none, as the only process that writes in it.

    Args: what: the name of the folder in messages, where that is another one.
    Raises: InUseError that names process, machine, time and command of who holds it.

    A process that the holder forked does not hold the lock; if the holder is killed, the folder is free. Between
    machines the lock is as good as the file system's (`flock`). Some network mounts keep locks to one machine, so that
    taking over from another machine is reported.
    """
    what = folder if what is None else what
    lock = _acquired(folder, what)
    try:
        if before := _owner(folder):
            logger.warning("%s was left unfinished by %s; taken over", what, _told(before))
        write_json(folder / OWNER, _myself())
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        lock.release()


@contextmanager
def new_folder(folder: str | os.PathLike[str], replace: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` when the block ends; nobody else makes the same one meanwhile.

    Args: replace: whether `folder` may hold something already, which goes once the new one is there.
    Raises: ECGError where it may not and does, or is the working directory or a mount point, which cannot be renamed
        onto; InUseError where another process is making it.
    """
    target = Path(os.path.realpath(folder))
    _check_free(folder, target, replace)
    partial = _partial_of(target)
    with owned(partial, folder):
        _check_free(folder, target, replace)  # by now another process may have made it
        _put_back(target)
        for left in partial.iterdir():
            if left.name not in (LOCK, OWNER):
                _remove(left)
        # A unique name: where locks do not reach another machine, at least the files are not mixed.
        whole = partial / f"{os.getpid()}-{secrets.token_hex(4)}"
        whole.mkdir()
        try:
            yield whole
            _rename(whole, target)
        finally:
            # Somebody who comes just now may be making it anew; then it is theirs to remove.
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` at the end of the block; what was there goes after that.

    For a folder inside one that is `owned`; what an earlier kill left is removed, or put back.
    """
    partial = _partial_of(folder)
    _put_back(folder)
    _remove(partial)
    partial.mkdir(parents=True)
    yield partial
    _rename(partial, folder)


def unfinished(folder: str | os.PathLike[str]) -> str | None:
    """What to say of a folder that is not there yet: who is writing it, or left it; None of any other."""
    target = Path(os.path.realpath(folder))
    if target.is_dir() and any(target.iterdir()):
        return None
    partial = _partial_of(target)
    owner = _owner(partial)
    if not owner:
        return None
    lock = FileLock(partial / LOCK, timeout=0)
    try:
        with lock:
            return f"it was left unfinished by {_told(owner)}; run its command again, which starts anew"
    except Timeout:
        return f"it is being written by {_told(owner)}; wait for that one"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is either complete or absent, even if others write it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a name must not outlive a power cut that its contents do not
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of a text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, values: Any) -> None:
    """`write_bytes` of values as JSON."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def remove_partial(folder: Path) -> None:
    """Remove half-written files that a killed process left in an `owned` folder, at any depth."""
    for left in list(folder.rglob(f"*{PARTIAL}")):
        _remove(left)


def _acquired(folder: Path, what: str | Path) -> FileLock:
    lock = FileLock(folder / LOCK, timeout=0)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
            return lock
        except Timeout as error:
            raise InUseError(
                f"{what} is being written by {_told(_owner(folder))}; let that one end, end it, or name another output"
            ) from error
        except FileNotFoundError:  # whoever had made it has finished, and removed it, in this moment
            continue


def _check_free(named: str | os.PathLike[str], target: Path, replace: bool) -> None:
    if target.exists() and not target.is_dir():
        raise ECGError(f"{named} is a file; name a new or empty folder")
    if target.is_dir() and any(target.iterdir()) and not replace:
        raise ECGError(f"{named} already holds something; name a new or empty folder")
    if target.is_dir() and (target == Path.cwd().resolve() or os.path.ismount(target)):
        what = "a mount point" if os.path.ismount(target) else "the working directory"
        raise ECGError(f"{named} is {what}, and a folder appears whole by a rename; name a new folder in it")


def _rename(whole: Path, target: Path) -> None:
    """Put `whole` in the place of `target`. The old one goes last: a kill leaves either, and `_put_back` finds it."""
    old = target.with_name(target.name + OLD)
    if target.is_dir() and any(target.iterdir()):
        target.rename(old)
    whole.rename(target)
    if old.is_dir():
        _remove(old)


def _put_back(target: Path) -> None:
    """Undo what a kill in `_rename` left: the old folder comes back where no new one is, and goes where one is."""
    old = target.with_name(target.name + OLD)
    if old.is_dir() and not target.exists():
        old.rename(target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _partial_of(folder: Path) -> Path:
    return folder.with_name(folder.name + PARTIAL)


def _myself() -> dict[str, Any]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv and sys.argv[0] else "python"
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": began, "command": command[:300]}


def _owner(folder: Path) -> dict[str, Any] | None:
    """Who wrote that it holds a folder; None where nobody did."""
    try:
        found = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _told(owner: dict[str, Any] | None) -> str:
    if not owner:
        return "a process that left no name"
    said = {key: owner.get(key, "?") for key in ("pid", "host", "since", "command")}
    return "process {pid} on {host} since {since} ({command})".format(**said)
