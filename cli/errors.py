"""What errors say on the command line: in one line, without a traceback where their reader can put them right."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from ..errors_ecgllm import ECGError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of errors that libraries (torch, safetensors) raise in place of the system's own.
_FULL_WORDS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large (os error",
    "PytorchStreamWriter failed writing",
    ". unexpected pos ",  # torch.save, whose writer found fewer bytes on the disk than it had written
)
_SHARED_MEMORY_WORDS = ("/torch_", "/dev/shm", "/psm_")
_MEMORY_WORDS = ("can't allocate memory", "out of memory", "Unable to allocate", "malloc of size")


def is_the_users(error: Exception) -> bool:
    """Whether an error says what its reader can put right: a refusal of ours, the system's about a file, or that disk
    or memory do not suffice.

    By name, because the code that a checkpoint brings has a class `ECGError` of its own.
    """
    return isinstance(error, OSError) or _is_ours(error) or _disk_is_full(error) or _memory_is_short(error)


def message_of(error: Exception) -> str:
    """What an error says, on one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    if _is_ours(error):
        return said
    if _disk_is_full(error):
        if any(words in said for words in _SHARED_MEMORY_WORDS):
            return (
                f"there is not enough shared memory, /dev/shm ({said[:200]}); set dataloader_num_workers=0, or give "
                "the container more of it"
            )
        return (
            f"the disk is full, or may hold no more of yours ({said[:200]}); free some space or name another folder. "
            "What was finished is kept: the same command of train and evaluate goes on from there"
        )
    if _memory_is_short(error):
        return (
            f"there is not enough memory ({said[:200]}); end other programs, or take less at once: a smaller "
            "batch_size, fewer processes, a part of the records (--limit)"
        )
    return said


def _is_ours(error: BaseException) -> bool:
    return any(kind.__name__ == ECGError.__name__ for kind in type(error).__mro__)


def _disk_is_full(error: BaseException) -> bool:
    return any(
        (isinstance(one, OSError) and one.errno in _FULL)
        or (not _is_ours(one) and any(words in str(one) for words in _FULL_WORDS))
        for one in _chain(error)
    )


def _memory_is_short(error: BaseException) -> bool:
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, RuntimeError | OSError) and any(words in str(one) for words in _MEMORY_WORDS))
        or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
