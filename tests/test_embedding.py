"""`ecgllm embed` and what lies below it: files of any kind to a Parquet file of embeddings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertModel

from ecgllm import (
    ECGEncoder,
    ECGError,
    ECGFeatureExtractionPipeline,
    ECGFeatureExtractor,
    ECGForSequenceClassification,
    ECGTextDualEncoder,
)
from ecgllm.cli import main
from ecgllm.embedding import METADATA_KEY, embed_files, load_embedder
from ecgllm.errors_ecgllm import CheckpointError

from .test_pipeline import make_ecg

SECONDS = (2, 5, 3.3, 2, 4, 9, 1.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven ECGs of several durations in two folders, and three files that give none."""
    inside = tmp_path / "exports" / "Roe"
    inside.mkdir(parents=True)
    for number, seconds in enumerate(SECONDS):
        path = (inside if number % 2 else inside.parent) / f"{number}.npz"
        np.savez(path, unit="mV", **make_ecg(seconds, seed=number))
    noise = np.random.default_rng(0).normal(size=(3, 500))
    np.savez(inside / "noise.npz", signal=noise, unit="mV", sampling_rate=250, leads=["I", "II", "V2"])
    (inside / "broken.hea").write_text("broken 1 250 500\nbroken.dat 16 200/mV 16 0 0 0 0 II\n")
    (inside.parent / "notes.txt").write_text("Jane Roe, born 1950")
    return inside.parent


@pytest.fixture
def checkpoint(encoder: ECGEncoder, tmp_path: Path) -> Path:
    encoder.save_pretrained(tmp_path / "checkpoint")
    ECGFeatureExtractor().save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 3), (2, 1), (2, 32)])
def test_every_file_has_its_own_vector(folder: Path, encoder: ECGEncoder, workers: int, batch_size: int) -> None:
    pipe = ECGFeatureExtractionPipeline(model=encoder)
    found = embed_files([folder], pipe, workers=workers, batch_size=batch_size)
    assert sorted(Path(path).stem for path in found.paths) == [str(number) for number in range(len(SECONDS))]
    for path, vector in zip(found.paths, found.vectors, strict=True):
        np.testing.assert_allclose(vector, pipe(path), atol=1e-5)
    assert [Path(path).name for path, _ in found.refused] == ["broken.hea", "noise.npz"]
    assert found.refused[1][1].startswith("no heart beats were found")
    assert [(Path(path).name, what) for path, what in found.skipped] == [("notes.txt", "text")]
    with_noise = embed_files([folder / "Roe" / "noise.npz"], pipe, workers=1, require_heart=False)
    assert with_noise.vectors.shape == (1, 32) and not with_noise.refused


def test_a_long_ecg_does_not_pad_others(encoder: ECGEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of minutes among many of seconds made most of the work, as each was padded to it."""
    for number, seconds in enumerate((2, 2.2, 60, 2, 2.1, 2)):
        np.savez(tmp_path / f"{number}.npz", unit="mV", **make_ecg(seconds, seed=number))
    pipe, seen = ECGFeatureExtractionPipeline(model=encoder), []

    def forward(inputs: dict) -> dict:
        seen.append(sorted(ecg["ecg_values"].shape[1] for ecg in inputs["ecgs"]))
        return ECGFeatureExtractionPipeline.forward(pipe, inputs)

    monkeypatch.setattr(pipe, "forward", forward)
    assert len(embed_files([tmp_path], pipe, workers=1).paths) == 6
    assert sum(map(len, seen)) == 6 and all(lengths[-1] <= 1.25 * lengths[0] for lengths in seen) and len(seen) <= 3


def test_the_command_writes_what_was_embedded_and_names_the_rest(
    folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named, output = folder / "notes.txt", tmp_path / "new" / "embeddings.parquet"
    arguments = ["embed", str(folder), str(named), "-o", str(output), "--model", str(checkpoint), "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == f"7 embeddings of 32 numbers in {output}\n"
    lines = err.splitlines()
    assert lines[0] == "1 files in the folders are no ECGs by themselves; left out"
    for line, name in zip(lines[1:3], ("broken.hea", "noise.npz"), strict=True):
        assert line.startswith(f"ecgllm: {folder / 'Roe' / name}: ")
    assert lines[3].startswith(f"ecgllm: {named}: ") and lines[4] == "ecgllm: 3 of 10 ECGs have no embedding"
    table = pq.read_table(output)
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("path", "string"),
        ("embedding", "list<element: float>"),
    ]
    pipe = load_embedder(checkpoint)
    for row in table.to_pylist():
        np.testing.assert_allclose(row["embedding"], pipe(row["path"]), atol=1e-5)
    made_by = json.loads(table.schema.metadata[METADATA_KEY])
    assert (made_by["checkpoint"], made_by["model"]) == ("checkpoint", "ECGEncoder")
    assert made_by["preprocessing"] == ECGFeatureExtractor().preprocessing
    assert str(tmp_path) not in json.dumps(made_by) and "1950" not in str(output.read_bytes())
    with torch.no_grad():
        pipe.model.norm.weight.add_(1)
    assert embed_files([], pipe).made_by["weights_sha256"] != made_by["weights_sha256"]


def test_whole_folders_end_well(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By the checkpoint that ships, and with processes."""
    with pytest.raises(SystemExit) as ended:
        main(["embed", *(str(folder / f"{number}.npz") for number in (0, 2)), "-o", str(tmp_path / "e.parquet")])
    assert (ended.value.code, capsys.readouterr().err) == (0, "")
    assert pq.read_metadata(tmp_path / "e.parquet").num_rows == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}", "-o", "x.csv"], "expected a name that ends in .parquet"),
        (["{folder}/9.npz", "-o", "x.parquet"], "9.npz: there is no such file"),
        (["{folder}", "-o", "x.parquet", "--batch-size", "0"], "batch_size is 0; expected at least 1"),
        (["{folder}", "-o", "x.parquet", "--model", "{folder}"], "is no checkpoint: no config.json"),
        (["{checkpoint}", "-o", "x.parquet", "--model", "{checkpoint}"], "no ECG in "),
        (["{folder}/notes.txt", "-o", "x.parquet", "--model", "{checkpoint}"], "1 of 1 ECGs have no embedding"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str],
    message: str,
    folder: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["embed", *(each.format(folder=folder, checkpoint=checkpoint) for each in arguments)])
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))


def test_whatever_holds_an_encoder_embeds(
    encoder: ECGEncoder, tiny_llm, text_encoder: BertModel, tmp_path: Path
) -> None:
    ecg = make_ecg()
    model, _ = tiny_llm()
    held = {
        "encoder": (encoder, encoder),
        "classifier": (ECGForSequenceClassification.from_encoder(encoder), encoder),
        "language-model": (model, model.ecg_encoder),
    }
    for name, (saved, own) in held.items():
        saved.save_pretrained(tmp_path / name)  # without preprocessor_config.json: the encoder says it
        expected = ECGFeatureExtractionPipeline(model=own)(ecg)
        np.testing.assert_allclose(load_embedder(tmp_path / name)(ecg), expected, atol=1e-6)
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(encoder, text_encoder, projection_dim=16)
    dual.save_pretrained(tmp_path / "dual")
    with torch.no_grad():
        expected = dual.eval().get_ecg_features(**ECGFeatureExtractor()(ecg)).pooler_output[0]
    np.testing.assert_allclose(load_embedder(tmp_path / "dual")(ecg), expected, atol=1e-6)
    BertModel(BertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1)).save_pretrained(tmp_path / "bert")
    with pytest.raises(CheckpointError, match="holds a model of type 'bert'; expected 'ecgllm' or"):
        load_embedder(tmp_path / "bert")
    with pytest.raises(ECGError, match="workers is 0"):
        embed_files([], load_embedder(tmp_path / "encoder"), workers=0)
