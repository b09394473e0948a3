"""`ecgllm doctor` names what is missing, too old or broken, with the way out."""

import json
import shutil
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from ecgllm.cli import main
from ecgllm.errors_ecgllm import CheckpointError


def examined(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    return ended.value.code or 0, {one["what"]: one for one in found}


def test_all_is_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = examined(capsys)
    assert code == 0 and found["torch"]["fine"] and found["checkpoint"]["fine"]
    assert "loaded in" in found["checkpoint"]["says"] and {"extra serve", "extra plot"} <= set(found)
    assert found["numpy"]["says"] == metadata.version("numpy")
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert "WRONG" not in capsys.readouterr().out


def test_what_is_old_missing_or_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    known = metadata.version

    def version(name: str) -> str:
        if name in ("wfdb", "captum"):
            raise metadata.PackageNotFoundError(name)
        return "1.20.0" if name == "numpy" else known(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))

    def broken(*_: Any, **__: Any) -> None:
        raise CheckpointError("model.safetensors: ends early")

    monkeypatch.setattr("ecgllm.asking.load_answerer", broken)
    code, found = examined(capsys)
    assert code == 1
    wrong = {name for name, one in found.items() if one["fine"] is False}
    assert wrong == {"wfdb", "numpy", "disk", "checkpoint"}
    assert "is missing; pip install" in found["wfdb"]["says"] and "1.20.0, and >=" in found["numpy"]["says"]
    assert "ends early" in found["checkpoint"]["says"]
    assert found["extra explain"]["fine"] is None and "captum" in found["extra explain"]["says"]
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert capsys.readouterr().out.count("WRONG") == 4
