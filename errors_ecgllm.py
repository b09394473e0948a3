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


__all__ = ["CheckpointError", "ECGError"]
