"""What errors say on the command line: in one line, with the command's options in place of Python's arguments."""

from __future__ import annotations

import re

from ..errors_ecgllm import ECGError

# The advice of the package's messages, which is written for Python, as the options of `reading_options` say it.
ADVICE = (
    (r"allow_truncated=True", "--allow-truncated"),
    (r"verify_checksum=False", "--skip-checksum"),
    (r"drop_unknown_leads=True", "--drop-unknown-leads"),
    (r"nan_policy='(\w+)'", r"--nan-policy \1"),
    (r"format='(\w+)'", r"--format \1"),
    (r"unit='(\w+)'", r"--unit \1"),
    (r"unit=\.\.\.", "--unit mV or --unit uV"),
    (r"sampling_rate=\.\.\.", "--sampling-rate"),
    (r"sampling_rate=([\d.e+-]+) was passed", r"--sampling-rate \1 was passed"),
    (r"leads=\[[^\]]*\]", "--leads I,II,..."),
    (r"([Pp]ass) max_bytes=\.\.\.", r"\1 max_bytes=... to read_ecg in Python"),
    (r"Read a folder with iter_ecgs", "Name its files one by one, as in FOLDER/*.hea"),
    (
        r"Read the rows of a Parquet file with iter_ecgs on",
        "In Python, read the rows of a Parquet file with iter_ecgs on",
    ),
)


def is_the_users(error: Exception) -> bool:
    """Whether an error says what its reader can put right: a refusal of ours, or the system's about a file.

    By name, because the code that a checkpoint brings has a class `ECGError` of its own.
    """
    return isinstance(error, OSError) or any(kind.__name__ == ECGError.__name__ for kind in type(error).__mro__)


def message_of(error: Exception, translating: bool = True) -> str:
    """What an error says, on one line; translating: with the command's options for those of Python."""
    message = " ".join(str(error).split()) or type(error).__name__
    for pattern, option in ADVICE if translating else ():
        message = re.sub(pattern, option, message)
    return message
