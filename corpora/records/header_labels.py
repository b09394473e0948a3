"""Whether the headers of a folder are those of the corpus it is taken for: by the label lines among their comments.

In: the WFDB headers found. Out: nothing, or a refusal. Decided here: that corpora of WFDB files are told apart by how
their headers label a record. Every folder of such files can be read, and another corpus would come out under a wrong
name and without its findings. Only some headers are looked at, because a corpus has up to 90,000 of them.
"""

from __future__ import annotations

from pathlib import Path

from ...errors_ecgllm import ECGError
from ...signals.io.wfdb.header import header_text
from ...signals.record import ECGReadError

LUDB_LABEL, CINC_LABEL = "<diagnoses>", "Dx"
_READ_BY = {LUDB_LABEL: "ludb", CINC_LABEL: "cinc2021"}
_LOOKED_AT = 100


def check_labels(src: Path, headers: list[Path], label: str, corpus: str) -> None:
    """Refuse headers of another corpus.

    At least half of those looked at must have a line "#<label>:", since a few records of a corpus may lack theirs, and
    none may have the other corpus' line. Headers that cannot be read are passed over: reading them lists them.
    Args: label: `LUDB_LABEL` or `CINC_LABEL`. Raises: ValueError.
    """
    found = {path: labels_of(path) for path in headers[:: -(-len(headers) // _LOOKED_AT)]}
    known = {path: labels for path, labels in found.items() if labels is not None}
    other = next(name for name in _READ_BY if name != label)
    labelled, others = (sum(name in labels for labels in known.values()) for name in (label, other))
    if not others and 2 * labelled >= len(known):
        return
    example = next(path for path, labels in known.items() if labels != {label})
    counted = f"{labelled} have '#{label}:'" + (f" and {others} have '#{other}:'" if others else "")
    named = f"`ecgllm prepare {_READ_BY[other]}`" if others else "`ecgllm prepare ptbxl`, `mimic-iv-ecg`, ..."
    raise ECGError(
        f"{src} is not {corpus}, or not it alone: of {len(known)} headers looked at {counted}; {example} is not "
        f"labelled as {corpus} is published, by a line '#{label}:'. Give its own folder; or read this one by {named}, "
        "if that is what it is, or by `ecgllm prepare folder` with a table of what is known of each record"
    )


def labels_of(path: Path) -> set[str] | None:
    """Which of the known label lines a header has; None where it cannot be read."""
    try:
        text = header_text(str(path)).decode("utf-8", errors="replace")
    except (OSError, ECGReadError):
        return None
    keys = {line.partition("#")[2].partition(":")[0].strip().lower() for line in text.splitlines() if "#" in line}
    return {label for label in _READ_BY if label.lower() in keys}
