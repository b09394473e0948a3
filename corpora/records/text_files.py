"""The text files that corpora and question sets are published in, CSV and JSON: a path in, rows or values out.

Decided here: that whatever the bytes (another encoding, a quote that is never closed, cells too many, nesting without
end, a number of ten thousand digits) the answer is one error that names file and line, never a defect's traceback.
"""

from __future__ import annotations

import ast
import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors_ecgllm import ECGError

_LONGEST_LITERAL = 20_000  # characters; PTB-XL's longest has some 200


def table_rows(
    path: Path, columns: Sequence[str], corpus: str, delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV file in UTF-8, its first line the names of the columns.

    Args: columns: those that it must have. corpus: begins the errors.
    Returns: every cell as text, "" where a row is short. Read as it is needed; see `check_columns` for an early no.
    Raises: ECGError for a file that is no such table, a column that is missing or stands twice, a row with more cells
        than columns.
    """
    line = 1
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restval="")
            _check(path, list(reader.fieldnames or ()), columns, corpus)
            for row in reader:
                line = reader.line_num
                if None in row:
                    raise ECGError(f"{corpus}: {path}, line {line}: has more cells than the header has columns")
                yield line, row
    except UnicodeDecodeError as error:
        raise ECGError(
            f"{corpus}: {path} is no UTF-8 text ({error.reason} at byte {error.start} of a block behind line {line}); "
            "save the table as CSV in UTF-8, or download it again"
        ) from error
    except csv.Error as error:  # a cell of more than 131,072 characters, as a quote that is never closed makes
        raise ECGError(
            f"{corpus}: {path} cannot be read as CSV beyond line {line}: {error}. Is a quote not closed? "
            "Download it again"
        ) from error


def check_columns(path: Path, columns: Sequence[str], corpus: str) -> None:
    """Raises: ECGError where the table's first line lacks one of the columns, or has one twice."""
    next(table_rows(path, columns, corpus), None)


def _check(path: Path, there: list[str], columns: Sequence[str], corpus: str) -> None:
    missing = [name for name in columns if name not in there]
    twice = sorted(name for name, count in Counter(there).items() if name and count > 1)
    if missing or twice:
        has = f"lacks the column {', '.join(missing)}" if missing else f"has the column {', '.join(twice)} twice"
        raise ECGError(f"{corpus}: {path} {has}; it has {', '.join(there[:40]) or 'none'}")


def read_json(path: Path) -> Any:
    """The value of a JSON file in UTF-8. Raises: ECGError that names the file; OSError where it cannot be opened."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ECGError(f"{path} is nested too deeply to be read; it was not written by this program") from error
    except ValueError as error:  # no JSON, no UTF-8, or a number of more digits than Python reads
        raise ECGError(f"{path} is no JSON: {error}; download or write it again") from error


def python_literal(text: str, kind: type) -> Any:
    """The list or dict that a cell spells as Python does, such as "{'NORM': 100.0}".

    Raises: ECGError for anything else.
    """
    if len(text) <= _LONGEST_LITERAL:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last two: nested without end
            value = None
        if isinstance(value, kind):
            return value
    # Not what it says: cells get shifted, and this may be one of a name.
    raise ECGError(f"a cell of {len(text):,} characters is no Python {kind.__name__}")
