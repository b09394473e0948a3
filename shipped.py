"""The checkpoint that comes with the package: where it is, in a checkout as in an installed package.

In: nothing. Out: the folder of the checkpoint that is asked where a person names none. Decided here: that a package
without it says so, and names the way out, before anything is loaded.
"""

from __future__ import annotations

from pathlib import Path

TINY = Path(__file__).resolve().parent / "checkpoints" / "ecgllm-tiny"
"""Small enough to travel with the code; learned from simulated ECGs alone."""


def shipped_checkpoint() -> Path:
    """The folder of the checkpoint that comes with the package. Raises: FileNotFoundError where it is missing."""
    if not (TINY / "config.json").is_file():
        raise FileNotFoundError(
            f"no checkpoint in {TINY}: this copy of ecgllm came without the one that ships. Install it from its "
            "repository with the folder checkpoints, or name a checkpoint of your own with --model; `ecgllm demo "
            "--train` trains one in minutes"
        )
    return TINY
