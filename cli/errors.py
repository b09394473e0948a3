"""What errors say on the command line: in one line, without a traceback where their reader can put them right."""

from __future__ import annotations

from ..errors_ecgllm import ECGError


def is_the_users(error: Exception) -> bool:
    """Whether an error says what its reader can put right: a refusal of ours, or the system's about a file.

    By name, because the code that a checkpoint brings has a class `ECGError` of its own.
    """
    return isinstance(error, OSError) or any(kind.__name__ == ECGError.__name__ for kind in type(error).__mro__)


def message_of(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
