"""A progress bar for work of many unequal parts: how far it is, and the time that remains.

Decided here: none is shown of what is done in a moment, nor where nobody looks (no terminal).
"""

from __future__ import annotations

from tqdm.auto import tqdm

_AFTER_S = 2.0
_SHOWN = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


class _Bar(tqdm):
    def update(self, n: float | None = 1) -> bool | None:
        return super().update(min(n or 0, self.total - self.n))  # beyond its total it would go back to nothing


def progress(what: str, total: float) -> tqdm:
    """A bar to be closed (`with`), which `update` moves on. Args: total: of all updates, in any unit."""
    return _Bar(total=total, desc=what, delay=_AFTER_S, bar_format=_SHOWN, disable=None)


__all__ = ["progress"]
