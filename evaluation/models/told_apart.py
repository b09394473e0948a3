"""What tells a model from another of the same name, so that answers that one gave are never taken for the other's.

In: what its answers depend on, settings and the content of files. Out: hex digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def identity_of(settings: Any, files: Iterable[Path] = ()) -> str:
    """16 hex digits of settings (JSON) and of the content of files."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
