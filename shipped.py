"""The checkpoints that come with the package: where they are, in a checkout as in an installed package.

In: nothing. Out: the folder of the checkpoint that is asked where a person names none, and that of the dual encoder;
that of the one with real labels is `TINY_REAL`.
Decided here: that a package without one says so, and names the way out, before anything is loaded.
"""

from __future__ import annotations

from pathlib import Path

_CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"
TINY = _CHECKPOINTS / "ecgllm-tiny"
"""Answers questions. Small enough to travel with the code; learned from simulated ECGs alone."""
TINY_REAL = _CHECKPOINTS / "ecgllm-tiny-real"
"""The same, trained on with labels of public records (NOTICE): better about records of these corpora."""
TINY_DUAL_ENCODER = _CHECKPOINTS / "ecgllm-tiny-dual"
"""ECGs and texts in one space, of the same kind."""


def shipped_checkpoint() -> Path:
    """The folder of the model that answers questions. Raises: FileNotFoundError where it is missing."""
    return _there(TINY, "name a checkpoint of your own with --model; `ecgllm demo --train` trains one in minutes")


def shipped_dual_encoder() -> Path:
    """The folder of the dual encoder, for zero-shot classification. Raises: FileNotFoundError where it is missing."""
    return _there(TINY_DUAL_ENCODER, "train one with `ecgllm train sim-zero-shot`")


def _there(folder: Path, otherwise: str) -> Path:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"no checkpoint in {folder}: this copy of ecgllm came without the one that ships. Install it from its "
            f"repository with the folder checkpoints, or {otherwise}"
        )
    return folder
