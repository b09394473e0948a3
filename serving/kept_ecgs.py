"""ECGs that were read, for the next questions about them (`KeptECGs`): in memory, for a while, each for its owner.

In: an owner (a key of the server, or a session), the bytes of an ECG's files and a function that reads them. Out: what
that gives, made once. Decided here: what was not asked about for `seconds` is forgotten, and the longest unused first
where together they are larger than `most_bytes`; nobody gets what another owner brought, though it were the same
file; what cannot be read is not kept.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar


class Sized(Protocol):
    """size: bytes in memory."""

    size: int


Kept = TypeVar("Kept", bound=Sized)
Key = tuple[str, str]


class KeptECGs(Generic[Kept]):
    """Args: most_bytes: of all that is kept. seconds: since it was last asked about."""

    def __init__(
        self, most_bytes: int = 512 << 20, seconds: float = 900.0, clock: Callable[[], float] = time.monotonic
    ):
        self._most, self._seconds, self._clock = most_bytes, seconds, clock
        self._kept: OrderedDict[Key, tuple[Kept, float]] = OrderedDict()  # the longest unused first
        self._making: dict[Key, Future[Kept]] = {}
        self._lock = threading.Lock()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, owner: str, digest: str, make: Callable[[], Kept]) -> Kept:
        """What is kept, or is made now. Of several who ask at once one makes it, and the others get the same; where
        it could not, which may be its own affair (it was given up), the next one tries."""
        key = owner, digest
        while True:
            with self._lock:
                self._forget()
                if key in self._kept:
                    found, _ = self._kept.pop(key)
                    self._kept[key] = found, self._clock()
                    return found
                theirs = self._making.get(key)
                if theirs is None:
                    own: Future[Kept] = Future()
                    self._making[key] = own
                    break
            if theirs.exception() is None:
                return theirs.result()
        try:
            found = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            own.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            if found.size <= self._most:
                self._kept[key] = found, self._clock()
                self.size += found.size
                self._forget()
        own.set_result(found)
        return found

    def forget(self, owner: str | None = None) -> None:
        """What is too old, and all that an owner brought."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == owner]:
                self.size -= self._kept.pop(key)[0].size
            self._forget()

    def _forget(self) -> None:
        oldest = self._clock() - self._seconds
        while self._kept:
            key, (found, used) = next(iter(self._kept.items()))
            if used >= oldest and self.size <= self._most:
                return
            del self._kept[key]
            self.size -= found.size


def digest_of(files: Mapping[str, bytes], **options: Any) -> str:
    """Of the bytes and names of an ECG's files, and of how they are read."""
    digest = hashlib.sha256(repr(sorted(options.items())).encode())
    for name, data in sorted(files.items()):
        digest.update(f"\n{len(name)} {name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


__all__ = ["KeptECGs", "digest_of"]
