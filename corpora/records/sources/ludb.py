"""LUDB 1.0.1 in its original layout: `data/<n>.hea` with the statements in the header's comments.

In: the folder. Out: one `Entry` per record, patient = record (the database holds one record per subject). Licence:
ODC-By 1.0.
Source: Kalyakulina et al., IEEE Access 8, 2020, doi:10.1109/ACCESS.2020.3029211.
"""

from __future__ import annotations

from pathlib import Path

from ..entry import Entry, Found, missing_layout
from ..header_labels import LUDB_LABEL, check_labels


def entries(src: Path) -> Found:
    """Records of the folder that holds `data/`, by number.

    Raises: FileNotFoundError if there are none, ValueError for headers of another corpus.
    """
    headers = sorted((src / "data").glob("*.hea"), key=lambda path: (len(path.stem), path.stem))
    if not headers:
        raise missing_layout(src, "data/<n>.hea and data/<n>.dat", "LUDB 1.0.1", "data/*.hea")
    check_labels(src, headers, LUDB_LABEL, "LUDB 1.0.1")
    found = [Entry(id=f"ludb-{path.stem}", path=path, patient_id=f"ludb-{path.stem}") for path in headers]
    return Found(found, len(found))
