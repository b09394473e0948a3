"""The audit as a picture: blind accuracy of every group beside the commonest answer and chance.

In: an `Audit`. Out: a PNG, PDF or SVG file, by the name's ending. Needs matplotlib (extra `plot`).
"""

from __future__ import annotations

from pathlib import Path

from .audit import Audit, Group

_MOST_TEMPLATES = 15


def plot_audit(found: Audit, path: str | Path) -> None:
    """Draw an audit: a dot with its 95 % interval per group; a tick at the commonest answer, a line at chance.

    Of templates the 15 with the most questions are shown. Raises: ImportError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing an audit needs matplotlib: pip install 'ecgllm[plot]'") from error
    rows: list[tuple[str, Group]] = [("all", found.overall)]
    rows += [(f"train -> {name}", group) for name, group in found.across_splits.items()]
    for kind, groups in found.by.items():
        shown = sorted(groups, key=lambda group: -group.blind.n)[:_MOST_TEMPLATES] if kind == "template" else groups
        rows += [(f"{kind}: {group.name}", group) for group in shown]
    if found.confounders_alone is not None:
        rows.append(("confounders alone, no question", found.confounders_alone))
    figure = Figure(figsize=(8, 1.2 + 0.22 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(rows), 0, -1)
    for place, (_, group) in zip(places, rows, strict=True):
        axes.plot([group.blind.low, group.blind.high], [place, place], color="tab:red", linewidth=2)
        axes.plot([group.chance] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1)
        axes.plot([group.majority] * 2, [place - 0.25, place + 0.25], color="tab:blue", linewidth=2)
    axes.scatter(
        [group.blind.value for _, group in rows], list(places), color="tab:red", s=16, zorder=3, label="blind"
    )
    axes.plot([], [], color="tab:blue", linewidth=2, label="commonest answer")
    axes.plot([], [], color="black", linewidth=1, label="chance")
    axes.set_yticks(list(places), [f"{name[:44]}  ({group.blind.n:,})" for name, group in rows], fontsize=7)
    axes.set_xlim(0, 1)
    axes.set_ylim(0.3, len(rows) + 0.7)
    axes.set_xlabel("accuracy without the ECG (95 % interval)")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, 1.0 + 1.0 / len(rows) + 0.04), ncols=3, frameon=False, fontsize=8
    )
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=150)
