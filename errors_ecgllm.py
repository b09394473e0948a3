"""The base class of all errors that this package raises on purpose.

In: nothing. Out: `ECGError`, which the command line shows as one line, without a traceback. Every other exception, a
library's `ValueError` included, is a defect and keeps its traceback. It is on the lowest floor, so that every module
may raise it.
"""


class ECGError(ValueError):
    """A file, setting or argument that cannot be used; the message says what was found, what was expected and the way
    out.
    """


class CheckpointError(ECGError):
    """A checkpoint that is damaged, incomplete, or not one of this package; the message names file or tensors."""


class MissingExtraError(ECGError, ImportError):
    """A library that only an optional extra installs is missing; the message says how to install it."""


def shorten(text: str, limit: int = 120) -> str:
    """A text as an error quotes it, cut off at the limit."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


__all__ = ["CheckpointError", "ECGError", "MissingExtraError", "shorten"]
