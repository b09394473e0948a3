"""A checkpoint's name to a pipeline that answers, for the commands that load one.

In: a folder, or a Hub id whose code is trusted. Out: `ECGTextToTextPipeline`, or a `CheckpointError` before anything
is run. Decided here: a folder is loaded by this package's own classes. The code that it brings, or names elsewhere, is
run only where a person trusts it in words: a file of another place or another repository is no better known than a
download.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors_ecgllm import CheckpointError, ECGError

if TYPE_CHECKING:
    from .pipeline_ecgllm import ECGTextToTextPipeline

TASK = "ecg-text-to-text"
_NAMES_CODE = ("auto_map", "custom_pipelines")


def load_answerer(model: str | Path, trust_remote_code: bool = False) -> ECGTextToTextPipeline:
    """The pipeline of a checkpoint. Raises: CheckpointError as `check_checkpoint`, and where it cannot be loaded."""
    check_checkpoint(model, trust_remote_code)
    try:
        if trust_remote_code:
            from transformers import pipeline

            return pipeline(model=str(model), trust_remote_code=True)
        from .modeling_ecgllm import ECGLLMForConditionalGeneration
        from .pipeline_ecgllm import ECGTextToTextPipeline
        from .processing_ecgllm import ECGProcessor

        return ECGTextToTextPipeline(
            model=ECGLLMForConditionalGeneration.from_pretrained(model),
            processor=ECGProcessor.from_pretrained(model),
            task=TASK,
        )
    except (ECGError, MemoryError):
        raise
    except Exception as error:  # a damaged or incomplete folder fails in as many ways as there are files in it
        raise CheckpointError(f"{model} cannot be loaded: {type(error).__name__}: {error}") from error


def check_checkpoint(model: str | Path, trust_remote_code: bool = False) -> None:
    """Refuse what is no checkpoint of ours, damaged files, and code that nobody has said to trust.

    Raises: CheckpointError.
    """
    folder = Path(model)
    if not folder.is_dir():
        if folder.exists() or not trust_remote_code:
            raise CheckpointError(
                f"{model} is no folder with a checkpoint. `ecgllm train` writes one; a Hub id needs "
                "--trust-remote-code, since a checkpoint's code is run"
            )
        return
    if (folder / "recipe.yaml").is_file() and not (folder / "metrics.json").is_file():
        raise CheckpointError(
            f"{model} is an unfinished run: no metrics.json in it. Run its recipe again, which goes on"
        )
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{model} is no checkpoint: no config.json in it. `ecgllm train` writes one")
    from .loading_ecgllm import check_files, read_json

    kind = read_json(folder / "config.json").get("model_type")
    if kind != "ecgllm":
        raise CheckpointError(
            f"{model} holds a model of type {kind!r}; expected 'ecgllm', as `ecgllm train` writes it"
        )
    if not trust_remote_code:
        check_code(folder)
    check_files(folder)


def check_code(folder: str | Path) -> None:
    """Refuse a folder whose configurations name other code than this package's own files.

    Raises: CheckpointError that names the code: a file of the folder's own, a path, or another repository's
        (`someone/else--file.Class`).
    """
    from .loading_ecgllm import CONFIGURATIONS, read_json
    from .saving_ecgllm import code_files

    own = {name.removesuffix(".py") for name in code_files("modeling_ecgllm")}
    for path in (Path(folder) / name for name in CONFIGURATIONS):
        if not path.is_file():
            continue
        for name in _named_code(read_json(path)):
            module, _, class_name = name.rpartition(".")
            if module not in own or not class_name.isidentifier():
                raise CheckpointError(
                    f"{path} names code that is none of ecgllm's own: {name!r}. It is not run; read it first, and if "
                    "you trust it say so (ask: --trust-remote-code)"
                )


def _named_code(value: Any, naming: bool = False) -> Iterator[str]:
    """All strings below an `auto_map` or an `impl` of `custom_pipelines`, at any depth."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "custom_pipelines" and isinstance(below, dict):
                below = [entry.get("impl") if isinstance(entry, dict) else entry for entry in below.values()]
            yield from _named_code(below, naming or key in _NAMES_CODE)
    elif isinstance(value, list):
        for below in value:
            yield from _named_code(below, naming)
    elif isinstance(value, str) and naming:
        yield value


__all__ = ["check_checkpoint", "check_code", "load_answerer"]
