"""Figures of ECGs as files: png, pdf and svg in true millimetres, the same bytes for the same figure.

In: figures that `plot` drew. Out: files. Decided here: resolution, that no date and no random id is written, and
that a file appears whole or not at all.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...atomic_writing import write_bytes
from ...errors_ecgllm import ECGError
from ..io.reading import read_ecg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MM = 25.4  # an inch
FORMATS = ("png", "pdf", "svg")
_SVG_ID = re.compile(rb'(id="|href="#|url\(#)([a-zA-Z]+[0-9a-f]{10})(?=["\)])')
_SVG_SIZE = re.compile(rb'width="[\d.]+pt" height="[\d.]+pt"')


def save_ecg(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 254) -> Path:
    """Write a figure of `plot_ecg` as .png, .pdf or .svg, in true size; the same figure gives the same bytes.

    Args: dpi: pixels per inch of a png; 254 are ten a millimetre. Printed "at 100 %", the paper is true to scale.
    Returns: the path. Raises: ValueError for another suffix; OSError where it cannot be written.
    """
    path = Path(path)
    kind = _file_format(path)
    if kind == "pdf":
        return save_pages([figure], path)
    data = io.BytesIO()
    # The page itself as bounding box, lest a user's rcParams["savefig.bbox"] = "tight" change the size.
    page: dict[str, Any] = {"bbox_inches": figure.bbox_inches, "facecolor": figure.get_facecolor()}
    if kind == "png":
        # Level 2: a third of the time of the default, for a file a tenth larger.
        extra = {"pil_kwargs": {"compress_level": 2}, "metadata": {"Software": None}}
        figure.savefig(data, format="png", dpi=dpi, **extra, **page)
        write_bytes(path, data.getvalue())
    else:
        figure.savefig(data, format="svg", metadata={"Date": None}, **page)
        write_bytes(path, _stable_svg(data.getvalue(), figure))
    return path


def save_pages(figures: Iterable[Figure], path: str | os.PathLike[str]) -> Path:
    """Write figures as the pages of one .pdf, in true size.

    Returns: the path. Raises: ValueError for another suffix, or no figure; OSError where it cannot be written.
    """
    path = Path(path)
    if _file_format(path) != "pdf":
        raise ECGError(f"{path}: only a .pdf holds several pages; name one, or write each figure by save_ecg.")
    from matplotlib.backends.backend_pdf import PdfPages

    data, count = io.BytesIO(), 0
    with PdfPages(data, metadata={"CreationDate": None}) as pages:
        for figure in figures:
            pages.savefig(figure, bbox_inches=figure.bbox_inches, facecolor=figure.get_facecolor())
            count += 1
    if not count:
        raise ECGError(f"{path}: there is no figure to write.")
    write_bytes(path, data.getvalue())
    return path


def plot_files(
    files: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    compare: bool = False,
    whole: bool = False,
    reading: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Path]:
    """Read ECG files and draw them.

    Args:
        output: a .png, .pdf or .svg; of these a .pdf takes several pages. Anything without a suffix is a folder, which
            gets one .png a file.
        compare: draw the two files side by side. whole: draw each recording to its end, page after page, in a .pdf.
        reading: options of `read_ecg`, for tables that do not state their rate or unit.
        options: those of `plot_ecg`; `duration` is the length of a page.

    Returns: the files written, existing ones replaced. Raises: ValueError if output and files do not go together,
    FileNotFoundError if a picture's folder does not exist, and what reading and drawing raise.
    """
    from .plot import plot_ecg, plot_pages

    read = partial(read_ecg, **(reading or {}))
    output = Path(output)
    in_folder = output.is_dir() or not output.suffix
    kind = "a folder" if in_folder else f".{_file_format(output)}"
    if not in_folder and not output.parent.is_dir():  # before the drawing, which takes longer to find out
        raise FileNotFoundError(f"{output}: the folder {output.parent} does not exist; make it, or name another.")
    if compare and (len(files) != 2 or in_folder or whole):
        raise ECGError(
            f"comparing takes two files and one picture; found {len(files)} files, output {output}"
            f"{' and every page' if whole else ''}. Name two files and a .png, .pdf or .svg."
        )
    if whole and kind != ".pdf":
        raise ECGError(f"{output}: the pages of a whole recording go into a .pdf; this is {kind}.")
    if len(files) > 1 and kind in (".png", ".svg") and not compare:
        raise ECGError(
            f"{output} holds one page, and there are {len(files)} files; name a .pdf or a folder, or compare two."
        )
    if compare:
        first, second = (read(file) for file in files)
        return [save_ecg(plot_ecg(first, compare=second, **options), output)]
    if not in_folder:
        if whole and options.get("duration") is None:
            options.pop("duration", None)
        draw = plot_pages if whole else (lambda record, **options: [plot_ecg(record, **options)])
        figures = (figure for file in files for figure in draw(read(file), **options))
        return [save_pages(figures, output)] if kind == ".pdf" else [save_ecg(next(figures), output)]
    pictures = [output / f"{Path(file).stem}.png" for file in files]
    twice = [picture.name for picture in dict.fromkeys(pictures) if pictures.count(picture) > 1]
    if twice:
        raise ECGError(f"{output}: two files would both become {twice[0]}; draw them into folders of their own.")
    output.mkdir(parents=True, exist_ok=True)
    return [save_ecg(plot_ecg(read(file), **options), picture) for file, picture in zip(files, pictures, strict=True)]


def _file_format(path: Path) -> str:
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ECGError(f"{path}: the suffix is {path.suffix!r}; expected .{', .'.join(FORMATS)}.")
    return kind


def _stable_svg(svg: bytes, figure: Figure) -> bytes:
    """Number the ids, which matplotlib draws at random unless global state is set, and give the size in mm."""
    numbers: dict[bytes, int] = {}

    def numbered(found: re.Match[bytes]) -> bytes:
        return found[1] + f"id{numbers.setdefault(found[2], len(numbers))}".encode()

    width, height = (f"{inches * MM:.6f}".rstrip("0").rstrip(".") for inches in figure.get_size_inches())
    sized = _SVG_SIZE.sub(f'width="{width}mm" height="{height}mm"'.encode(), svg, count=1)
    return _SVG_ID.sub(numbered, sized)
