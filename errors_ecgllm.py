"""The one base class of what this package refuses on purpose.

In: nothing. Out: `ECGError`, which the command line shows as one line, without a traceback. Every other exception, a
library's `ValueError` included, is a defect and keeps its traceback. On the lowest floor, so that all may raise it.
"""


class ECGError(ValueError):
    """A file, setting or argument that cannot be used; the message says what was found, what was expected and the way
    out.
    """


class CheckpointError(ECGError):
    """A checkpoint that is damaged, incomplete, or none of this package; the message names file or tensors."""


class MissingExtraError(ECGError, ImportError):
    """A library that only an optional extra brings; the message says how it is installed."""


def shorten(text: str, limit: int = 120) -> str:
    """A text as an error quotes it: what is over the limit is left out at its end."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


__all__ = ["CheckpointError", "ECGError", "MissingExtraError", "shorten"]
