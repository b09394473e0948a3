"""`doctor`: what is installed, and what works."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from .ask import quiet

_LEAST_FREE = 2 << 30  # bytes on disk


@dataclass(frozen=True)
class Check:
    """what: was looked at. fine: None for what is no fault, as a missing extra. says: in words, with the way out."""

    what: str
    fine: bool | None
    says: str


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what is installed and whether it works: versions, extras, space, the checkpoint that ships.

    Asks that checkpoint about a simulated ECG. The exit code is 1 where something is wrong. Nothing is sent.
    """
    found = [*_machine(), *_libraries(), *_extras(), *_models()]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        marks = {True: "ok", False: "WRONG", None: "-"}
        for one in found:
            typer.echo(f"{marks[one.fine]:<6}{one.what:<24}{one.says}")
    if any(one.fine is False for one in found):
        raise typer.Exit(1)


def _machine() -> list[Check]:
    free = shutil.disk_usage(Path.cwd()).free
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        Check(
            "ecgllm", True, f"{__version__}, Python {platform.python_version()}, {platform.system()}, {cores} cores"
        ),
        Check(
            "disk",
            free > _LEAST_FREE,
            f"{free / 2**30:.0f} GiB free here" + ("" if free > _LEAST_FREE else "; training and caches need more"),
        ),
    ]


def _libraries() -> list[Check]:
    """The dependencies, each beside what is asked for."""
    found = []
    for name, needs in _required(None):
        found.append(_library(name, needs))
    return found


def _library(name: str, needs: Any) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, False, f'is missing; pip install "{needs}"')
    if not needs.specifier.contains(version, prereleases=True):
        return Check(name, False, f'{version}, and {needs.specifier} is needed; pip install "{needs}"')
    return Check(name, True, version)


def _extras() -> list[Check]:
    found = []
    for extra in sorted(set(metadata.metadata("ecgllm").get_all("Provides-Extra") or ()) - {"all", "dev", "measure"}):
        missing = [name for name, needs in _required(extra) if _library(name, needs).fine is False]
        if missing:
            says = f'needs {", ".join(missing)}: pip install "ecgllm[{extra}]"'
            found.append(Check(f"extra {extra}", None, says))
        else:
            found.append(Check(f"extra {extra}", True, "installed"))
    return found


def _required(extra: str | None) -> list[tuple[str, Any]]:
    """(Name, requirement) of the core, or of what an extra adds to it."""
    from packaging.requirements import Requirement

    found = []
    for text in metadata.requires("ecgllm") or ():
        one = Requirement(text)
        always = one.marker is None or one.marker.evaluate({"extra": ""})
        if always if extra is None else not always and one.marker.evaluate({"extra": extra}):
            found.append((one.name, one))
    return found


def _models() -> list[Check]:
    from ..errors_ecgllm import ECGError

    found = []
    try:
        import torch

        threads = f"{torch.get_num_threads()} threads"
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else threads
        found.append(Check("torch runs on", True, device))
        from ..asking import answer_question, load_answerer
        from ..shipped import shipped_checkpoint
        from ..signals.simulation import simulate_ecg

        with quiet():
            started = time.perf_counter()
            answerer = load_answerer(shipped_checkpoint())
            loaded = time.perf_counter()
            record = simulate_ecg(["atrial fibrillation"], seed=1)
            answer = answer_question(answerer, [record], "Does this ECG show atrial fibrillation?", ["yes", "no"])
        says = (
            f"{shipped_checkpoint().name}: loaded in {loaded - started:.1f} s, answers in "
            f"{1000 * (time.perf_counter() - loaded):.0f} ms"
        )
        right = answer["candidates"]["yes"] > 0.5
        found.append(Check("checkpoint", right, says if right else f"{says}, and wrongly about a simulated ECG"))
    except (ECGError, OSError, ImportError, RuntimeError) as error:  # torchvision of another torch is a RuntimeError
        says = " ".join(f"{type(error).__name__}: {error}".split())
        found.append(Check("checkpoint", False, says))
    from ..training.fetch import way_to

    for name in ("pretrained/smollm2-135m-instruct", "pretrained/all-minilm-l6-v2"):
        way = way_to(name)
        found.append(Check(Path(name).name, None if way else True, f"not here; {way}" if way else "is here"))
    return found
