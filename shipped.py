"""The checkpoint that comes with the package: where it is, in a checkout as in an installed package.

In: nothing. Out: the folder of the checkpoint that is asked where a person names none. Decided here: that a package
without it says so, and names the way out, before anything is loaded.
"""

from __future__ import annotations

import re
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


TRAINED_WORDS = {
    "wolff-parkinson-white pattern": "wolff-parkinson-white syndrome",
    "right superior axis": "indeterminate axis",
}
"""Names of the vocabulary -> what the shipped checkpoint was trained to call them; empty once it is trained anew."""


def in_trained_words(question: str) -> str:
    """A question in the words that the shipped checkpoint was trained on, all else as it is."""
    for name, trained in TRAINED_WORDS.items():
        question = re.sub(rf"\b{re.escape(name)}\b", trained, question, flags=re.IGNORECASE)
    return question
