"""The audit as a picture: question-only accuracy of every group beside the commonest answer and chance.

In: an `Audit`. Out: a PNG, PDF or SVG file, by the name's ending. Needs matplotlib (extra `plot`). Decided here: what
the picture leaves out of an audit, and that it says so.
"""

from __future__ import annotations

import io
from pathlib import Path

from ...atomic_writing import write_bytes
from ...errors_ecgllm import MissingExtraError
from .audit import Audit, Group

_MOST_GROUPS = 15  # of one kind; a hospital has hundreds of devices, and a table hundreds of templates
_LONGEST_NAME = 44

Block = list[tuple[str, Group]]


def plot_audit(found: Audit, path: str | Path) -> None:
    """Draw an audit: a dot with its 95 % interval per group; a tick at the commonest answer, a line at chance.

    Of a kind of groups, such as templates, the 15 with the most questions are shown; below the axis stands how many
    are not. Raises: MissingExtraError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter
    except ImportError as error:
        raise MissingExtraError("drawing an audit needs matplotlib: pip install 'ecgllm[plot]'") from error
    blocks, notes = shown_groups(found)
    rows = [row for block in blocks for row in block]
    figure = Figure(figsize=(8, 1.3 + 0.22 * len(rows) + 0.15 * len(notes)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(rows), 0, -1)
    for place, (_, group) in zip(places, rows, strict=True):
        colour = "0.6" if group.baseline.value is None else "tab:red"
        axes.plot([group.baseline.low, group.baseline.high], [place, place], color=colour, linewidth=2)
        axes.plot([group.chance] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1)
        axes.plot([group.majority] * 2, [place - 0.25, place + 0.25], color="tab:blue", linewidth=2)
    known = [
        (group.baseline.value, place)
        for place, (_, group) in zip(places, rows, strict=True)
        if group.baseline.value is not None
    ]
    below = len(rows) + 0.5
    for block in blocks[:-1]:
        below -= len(block)
        axes.axhline(below, color="0.8", linewidth=0.8)
    axes.scatter(
        [value for value, _ in known],
        [place for _, place in known],
        color="tab:red",
        s=16,
        zorder=3,
        label="question-only",
    )
    axes.plot([], [], color="tab:blue", linewidth=2, label="commonest answer")
    axes.plot([], [], color="black", linewidth=1, label="chance")
    axes.set_yticks(list(places), [f"{_short(name)}  ({group.baseline.n:,})" for name, group in rows], fontsize=7)
    axes.set_xlim(-0.02, 1.02)  # whole dots at 0 and 100 %
    axes.set_ylim(0.3, len(rows) + 0.7)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("\n".join(["accuracy without the ECG (95 % interval; questions in brackets)", *notes]), fontsize=8)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    data = io.BytesIO()
    figure.savefig(data, format=Path(path).suffix.lstrip(".") or "png", dpi=150)
    write_bytes(Path(path), data.getvalue())


def shown_groups(found: Audit) -> tuple[list[Block], list[str]]:
    """(blocks of named groups from top to bottom, what is to be said of the groups that are not among them)."""
    blocks, notes = [], []
    for heading, rows in found.blocks().items():
        kind = heading.removeprefix("by ")
        shown = rows
        if kind in found.by:
            largest = sorted(rows, key=lambda row: -row[1].baseline.n)[:_MOST_GROUPS]
            shown = [row for row in rows if row in largest]
            if len(rows) > len(shown):
                left_out = sum(group.baseline.n for _, group in rows) - sum(group.baseline.n for _, group in shown)
                notes.append(
                    f"{len(rows) - len(shown):,} more groups by {kind}, with {left_out:,} questions, are not shown; "
                    "audit.json has them"
                )
            shown = [(f"{kind}: {name}", group) for name, group in shown]
        blocks.append(shown)
    if any(group.baseline.value is None for block in blocks for _, group in block):
        notes.append("grey: cells are too small to tell; the bar is what is known at least and possible at most")
    if found.weighted:
        notes.append("questions count by their weight")
    return [block for block in blocks if block], notes


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
