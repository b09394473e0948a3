"""Whether the weights of a checkpoint are whole, before a library's reader fails on them without naming the file.

In: a checkpoint's folder. Out: nothing, or an error that names the damaged file. Decided here: that the size which a
safetensors file's own header promises is what makes it whole; the weights themselves are not read.
Source of the format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
from pathlib import Path

from ..errors_ecgllm import ECGError


def check_weights(folder: str | Path) -> None:
    """Raises: ValueError for a *.safetensors file of another size than its header promises, or without a header."""
    for path in sorted(Path(folder).glob("*.safetensors")):
        found, promised = path.stat().st_size, _promised_size(path)
        if found != promised:
            expected = "no header of safetensors" if promised is None else f"a header that promises {promised:,}"
            raise ECGError(
                f"{path} is damaged: it holds {found:,} bytes and {expected}. Copy the checkpoint again, or train it "
                "again; a file that is too short was cut off while it was written or copied"
            )


def _promised_size(path: Path) -> int | None:
    """8 bytes with the length of the header, the header, and the tensors up to the last one's end."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return None
        try:
            tensors = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
        except (ValueError, AttributeError, TypeError, KeyError, IndexError):
            return None
    return 8 + length + max(ends, default=0)
