"""From a finished run to the checkpoint that ships: `python -m ecgllm.training.ship RUN FOLDER`.

In: a run folder, and the folder to write, such as checkpoints/ecgllm-tiny. The run may end in questions, or in
`pretrain`, whose dual encoder ships then. Out: that folder, complete as remote code.
Decided here: which files of a run a user needs (no optimizer, log, corpus or question); code inside the package is
linked to the package's own, so that the two cannot differ; an adapter is stored in half precision, in half the bytes
(it is float32 again where it is loaded); and what may not ship: more than 25 MB of weights, other types than float32,
an unfinished run, and a model that does not say what it learned from.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ..atomic_writing import new_folder
from ..composition_ecgllm import ADAPTER_FOLDER
from ..errors_ecgllm import ECGError
from ..loading_ecgllm import check_files
from ..saving_ecgllm import code_files, copy_code

MOST_BYTES = 25_000_000
"""Of weights: they are in the repository, of which everyone downloads every version."""
CARD = "README.md"
_WEIGHTS = "model.safetensors"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_NEEDED = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json", _WEIGHTS, CARD)
_WHERE_THERE = ("generation_config.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")
_ROOT = Path(__file__).resolve().parent.parent


def ship(run: str | Path, folder: str | Path) -> None:
    """Write the checkpoint at the root of a run to `folder`, which is replaced as a whole.

    Code is linked where `folder` lies in the package, and copied elsewhere.
    Raises: FileNotFoundError or ValueError for a run that may not ship; see the module.
    """
    run, folder = Path(run), Path(folder)
    _check(run)
    with new_folder(folder, replace=True) as partial:
        for name in (*_NEEDED, *_WHERE_THERE):
            if (run / name).is_file():
                shutil.copyfile(run / name, partial / name)
        if (run / ADAPTER_FOLDER).is_dir():
            _copy_adapter(run / ADAPTER_FOLDER, partial / ADAPTER_FOLDER)
        if _ROOT in folder.resolve().parents:
            for name in code_files(_code_module(run)):
                (partial / name).symlink_to(os.path.relpath(_ROOT / name, folder.resolve()))
        else:
            copy_code(partial, _code_module(run))


def _copy_adapter(source: Path, target: Path) -> None:
    target.mkdir()
    shutil.copyfile(source / "adapter_config.json", target / "adapter_config.json")
    tensors = {name: tensor.half() for name, tensor in load_file(source / _ADAPTER_WEIGHTS).items()}
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise ECGError(f"{source / _ADAPTER_WEIGHTS} holds numbers beyond half precision (65,504); it cannot ship")
    save_file(tensors, target / _ADAPTER_WEIGHTS, metadata={"format": "pt"})


def weights_bytes(folder: Path) -> int:
    """How much the weights of a shipped checkpoint take."""
    files = [folder / _WEIGHTS, folder / ADAPTER_FOLDER / _ADAPTER_WEIGHTS]
    return sum(file.stat().st_size for file in files if file.is_file())


def _code_module(run: Path) -> str:
    """The file, without its ending, whose class loads the checkpoint."""
    return json.loads((run / "config.json").read_text(encoding="utf-8"))["auto_map"]["AutoModel"].partition(".")[0]


def _check(run: Path) -> None:
    if not (run / "metrics.json").is_file():
        raise FileNotFoundError(
            f"{run} is no finished run: no metrics.json in it, which is written last. Name the output of `ecgllm "
            "train`, or run its recipe again to go on with it"
        )
    missing = [name for name in _NEEDED if not (run / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{run} lacks {', '.join(missing)}; expected a run that ends in questions or pretrain, weights in one file"
        )
    check_files(run)
    adapter = run / ADAPTER_FOLDER / _ADAPTER_WEIGHTS
    size = (run / _WEIGHTS).stat().st_size + (adapter.stat().st_size // 2 if adapter.is_file() else 0)
    if size > MOST_BYTES:
        raise ECGError(
            f"the weights of {run} take {size:,} bytes; at most {MOST_BYTES:,} may ship. Train a smaller model"
        )
    with safe_open(run / _WEIGHTS, framework="np") as weights:
        types = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118 (it is no mapping)
    if types != {"F32"}:
        raise ECGError(f"{run / _WEIGHTS} holds weights of type {', '.join(sorted(types))}; expected F32 alone")
    if not json.loads((run / "config.json").read_text(encoding="utf-8")).get("trained_on"):
        raise ECGError(
            f"{run / 'config.json'} does not say what the model learned from (trained_on), which stands below every "
            "answer; set trained_on in the recipe"
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m ecgllm.training.ship", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="output of `ecgllm train`")
    parser.add_argument("folder", type=Path, help="folder to write, replaced whole: checkpoints/ecgllm-tiny")
    given = parser.parse_args(arguments)
    try:
        ship(given.run, given.folder)
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
    print(f"{given.folder}: {weights_bytes(given.folder) / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    main()
