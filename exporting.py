"""Part of a checkpoint -> a graph that runs without this package, as ONNX or as a program of torch.export.

In: a folder, and which part: the encoder, ECG tokens as a language model reads them, embeddings of a dual encoder, a
classifier's logits. Out: a folder with the graph and what prepares its input. Number and length of the ECGs (texts)
are free. Decided here: the graph stands for the model in float32; signals are prepared outside of it, by the
checkpoint's `ECGFeatureExtractor`, which needs NumPy alone; and what was written is read again and compared with the
model, on ECGs of other numbers and lengths than it was made with, before the folder appears.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from .asking import check_checkpoint
from .atomic_writing import new_folder
from .classification_ecgllm import ECGForSequenceClassification
from .composition_ecgllm import TrainedParts
from .configuration_ecgllm import count_tokens
from .dual_encoder_ecgllm import ECGTextDualEncoder
from .embedding import HOLD_AN_ENCODER
from .encoder_adapter_ecgllm import as_encoder
from .encoder_ecgllm import tokens_within
from .errors_ecgllm import CheckpointError, ECGError, MissingExtraError
from .feature_extraction_ecgllm import ECGFeatureExtractor, check_choice
from .loading_ecgllm import read_json
from .signals.simulation import simulate_ecgs

FORMATS = ("onnx", "torch")
TOLERANCE = 1e-4
"""Largest difference between a graph's outputs and the model's, relative to 1 or to the output's largest value."""

_SIZES = ((3, 10.13), (1, 5.0), (2, 8.0), (5, 13.1))
"""(ECGs or texts, seconds of the longest): the graph is made with the first; with all of them it is checked."""
_TEXTS = ("normal ecg", "ECG with atrial fibrillation", "sinus rhythm, left bundle branch block", "pacing", "ST down")
_ECGS = {"ecg_values": {0: "ecgs", 2: "samples"}, "lead_mask": {0: "ecgs"}, "ecg_lengths": {0: "ecgs"}}


class _Encoder(nn.Module):
    """Tokens, which of them are an ECG's own and no padding, and their mean."""

    free = _ECGS
    outputs = {
        "last_hidden_state": {0: "ecgs", 1: "tokens"},
        "token_mask": {0: "ecgs", 1: "tokens"},
        "pooler_output": {0: "ecgs"},
    }

    def __init__(self, model: nn.Module):
        super().__init__()
        self.encoder = getattr(model, "ecg_encoder", model)

    def forward(self, ecg_values: torch.Tensor, lead_mask: torch.Tensor, ecg_lengths: torch.Tensor):
        found = self.encoder(ecg_values, lead_mask=lead_mask, ecg_lengths=ecg_lengths, return_dict=True)
        tokens = found.last_hidden_state
        return tokens, tokens_within(ecg_lengths, self.encoder.config, tokens), found.pooler_output


class _ECGTokens(nn.Module):
    """What takes the placeholders' places among the language model's input embeddings: an ECG's own tokens, in order
    (`ECGLLMForConditionalGeneration.get_ecg_features`)."""

    free = _ECGS
    outputs = {"ecg_tokens": {0: "ecgs", 1: "tokens"}, "token_mask": {0: "ecgs", 1: "tokens"}}

    def __init__(self, model: nn.Module):
        super().__init__()
        self.encoder, self.projector, self.config = model.ecg_encoder, model.projector, model.config

    def forward(self, ecg_values: torch.Tensor, lead_mask: torch.Tensor, ecg_lengths: torch.Tensor):
        encoded = self.encoder(ecg_values, lead_mask=lead_mask, ecg_lengths=ecg_lengths, return_dict=True)
        patches = count_tokens(ecg_lengths, self.config.encoder_config.patch_size)
        tokens = self.projector(encoded.last_hidden_state, patches)
        counts = self.config.num_ecg_tokens(ecg_lengths)
        return tokens, torch.arange(tokens.shape[1], device=tokens.device) < counts[:, None]


class _Method(nn.Module):
    """Of a whole model the one method that a subclass calls."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model


class _ECGEmbeds(_Method):
    free = _ECGS
    outputs = {"ecg_embeds": {0: "ecgs"}}

    def forward(self, ecg_values: torch.Tensor, lead_mask: torch.Tensor, ecg_lengths: torch.Tensor):
        return (self.model.get_ecg_embeds(ecg_values, lead_mask, ecg_lengths),)


class _TextEmbeds(_Method):
    free = {"input_ids": {0: "texts", 1: "tokens"}, "attention_mask": {0: "texts", 1: "tokens"}}
    outputs = {"text_embeds": {0: "texts"}}

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor):
        return (self.model.get_text_embeds(input_ids, attention_mask),)


class _Logits(_Method):
    free = _ECGS
    outputs = {"logits": {0: "ecgs"}}

    def forward(self, ecg_values: torch.Tensor, lead_mask: torch.Tensor, ecg_lengths: torch.Tensor):
        return (self.model(ecg_values, lead_mask=lead_mask, ecg_lengths=ecg_lengths, return_dict=True).logits,)


PARTS: dict[str, type[nn.Module]] = {
    "encoder": _Encoder,
    "ecg-tokens": _ECGTokens,
    "ecg-embeds": _ECGEmbeds,
    "text-embeds": _TextEmbeds,
    "logits": _Logits,
}
_OF_KIND = {
    "ecgllm": ("ecg-tokens", "encoder"),
    "ecgllm_dual_encoder": ("ecg-embeds", "text-embeds", "encoder"),
    "ecgllm_classifier": ("logits", "encoder"),
}
"""Parts of each kind of checkpoint, the first by default; every other kind is an encoder."""


class _EncoderAndProjector(TrainedParts):
    _left_in_folder = r"language_model\."


@dataclass
class Exported:
    """What was written: file; part; inputs and outputs, (name, dtype, shape with the names of free sizes); difference:
    the largest from the model; sizes: (ECGs or texts, samples or tokens) at which it was compared."""

    file: Path
    part: str
    inputs: list[tuple[str, str, list[int | str]]]
    outputs: list[tuple[str, str, list[int | str]]]
    difference: float = 0.0
    sizes: list[tuple[int, int]] = field(default_factory=list)


def export_checkpoint(
    checkpoint: str | Path,
    folder: str | Path,
    part: str | None = None,
    format: str = "onnx",
    trust_remote_code: bool = False,
) -> Exported:
    """Write part of a checkpoint as a graph, `model.onnx` or `model.pt2`, with the settings that prepare its input.

    Args:
        checkpoint: folder of an encoder, an ECG language model (whole or trained-only; the language model is not
            loaded), a dual encoder or a classifier; a Hub id where its code is trusted. folder: new or empty.
        part: of `PARTS`; by default an encoder's "encoder", a language model's "ecg-tokens", a dual encoder's
            "ecg-embeds", a classifier's "logits". format: of `FORMATS`.
    Raises: CheckpointError for a folder that is none, or has no such part; MissingExtraError without the extra
        `export`, for ONNX; ECGError where the model has operations of which no graph can be made, or where the graph's
        outputs differ from the model's by more than `TOLERANCE`.
    """
    check_choice("format", format, FORMATS)
    if format == "onnx":
        _require_onnx()
    check_checkpoint(checkpoint, trust_remote_code, kinds=None if trust_remote_code else HOLD_AN_ENCODER)
    part, module, inputs_of, preparing = _loaded(checkpoint, part, trust_remote_code)
    examples = [inputs_of(count, seconds) for count, seconds in _SIZES]
    with torch.no_grad(), new_folder(folder) as partial:
        program = _program(module, examples[0], f"{checkpoint} ({part})")
        path = partial / ("model.onnx" if format == "onnx" else "model.pt2")
        run = (_write_onnx if format == "onnx" else _write_torch)(program, module, path)
        expected = [_outputs(module, module(**example)) for example in examples]
        difference = max(_difference(run, *pair) for pair in zip(examples, expected, strict=True))
        preparing.save_pretrained(partial)
    return Exported(
        file=Path(folder) / path.name,
        part=part,
        inputs=_described(examples[0], module.free),
        outputs=_described(expected[0], module.outputs),
        difference=difference,
        sizes=[(len(given), given.shape[-1]) for given, *_ in (tuple(example.values()) for example in examples)],
    )


def _loaded(
    checkpoint: str | Path, part: str | None, trust_remote_code: bool
) -> tuple[str, nn.Module, Callable[[int, float], dict[str, torch.Tensor]], Any]:
    """(part, module of it, what makes inputs for it, the feature extractor or tokenizer that prepares them)."""
    kind = _kind_of(checkpoint, trust_remote_code)
    parts = _OF_KIND.get(kind, ("encoder",))
    part = check_choice("part", parts[0] if part is None else part, tuple(PARTS))
    if part not in parts:
        raise CheckpointError(
            f"{checkpoint} holds a model of type {kind!r}, which has no {part}; expected {' or '.join(parts)}"
        )
    trust = {"trust_remote_code": True} if trust_remote_code else {}
    own = {"ecgllm": _EncoderAndProjector, "ecgllm_dual_encoder": ECGTextDualEncoder}
    own |= {"ecgllm_classifier": ECGForSequenceClassification}
    if kind in own:
        model = own[kind].from_pretrained(checkpoint, **trust)
    else:
        model = AutoModel.from_pretrained(checkpoint, **trust) if trust_remote_code else as_encoder(checkpoint)
    module = PARTS[part](model.float()).eval()
    if part == "text-embeds":
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
        return part, module, lambda count, seconds: _text_inputs(tokenizer, count, seconds), tokenizer
    if Path(checkpoint).is_dir() and not (Path(checkpoint) / "preprocessor_config.json").is_file():
        raise CheckpointError(
            f"{checkpoint} has no preprocessor_config.json, which says how its ECGs are prepared; save the "
            "ECGFeatureExtractor that the model was trained with into it"
        )
    extractor = ECGFeatureExtractor.from_pretrained(checkpoint)
    return part, module, lambda count, seconds: _ecg_inputs(extractor, count, seconds), extractor


def _kind_of(checkpoint: str | Path, trust_remote_code: bool) -> str:
    inside = Path(checkpoint) / "config.json"
    if inside.is_file():
        return read_json(inside)["model_type"]
    return AutoConfig.from_pretrained(checkpoint, trust_remote_code=trust_remote_code).model_type


def _ecg_inputs(extractor: ECGFeatureExtractor, count: int, seconds: float) -> dict[str, torch.Tensor]:
    """Simulated ECGs, each shorter than the one before it, and every second with two leads fewer."""
    lengths = [max(seconds * (1 - 0.15 * number), extractor.min_duration) for number in range(count)]
    ecgs = [
        {"signal": record.signal[:, : round(length * record.sampling_rate)], "sampling_rate": record.sampling_rate,
         "leads": record.leads}
        for record, length in zip(simulate_ecgs(count, seed=count, duration=max(seconds, 5.0)), lengths, strict=True)
    ]  # fmt: skip
    inputs = dict(extractor(ecgs, return_tensors="pt"))
    inputs["lead_mask"][1::2, -2:] = False
    inputs["ecg_values"] = inputs["ecg_values"] * inputs["lead_mask"][..., None]
    return {name: inputs[name] for name in _ECGS}


def _text_inputs(tokenizer: Any, count: int, seconds: float) -> dict[str, torch.Tensor]:
    """Texts of several lengths, the longest of them longer where more `seconds` are asked for."""
    ids = [tokenizer(" ".join([_TEXTS[number]] * (1 + int(seconds) // 5)))["input_ids"] for number in range(count)]
    longest = max(map(len, ids))
    filler = tokenizer.pad_token_id or 0  # not every tokenizer has one; no text encoder reads it
    padded = [own + [filler] * (longest - len(own)) for own in ids]
    mask = [[1] * len(own) + [0] * (longest - len(own)) for own in ids]
    return {"input_ids": torch.tensor(padded), "attention_mask": torch.tensor(mask)}


def _program(module: nn.Module, example: Mapping[str, torch.Tensor], name: str) -> torch.export.ExportedProgram:
    free = {key: dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for key, axes in module.free.items()}
    try:
        return torch.export.export(module, (), kwargs=dict(example), dynamic_shapes=free, strict=False)
    except Exception as error:  # of whatever kind torch.export, or the model's own code, has for what it met
        raise ECGError(f"no graph can be made of {name}: {_first_lines(error)}") from error


def _write_torch(
    program: torch.export.ExportedProgram, module: nn.Module, path: Path
) -> Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]:
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()
    return lambda inputs: _outputs(module, loaded(**inputs))


def _write_onnx(
    program: torch.export.ExportedProgram, module: nn.Module, path: Path
) -> Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]:
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of operations that nothing here has
    try:
        written = torch.onnx.export(program, dynamo=True, verbose=False, output_names=list(module.outputs))
    except Exception as error:
        raise ECGError(f"ONNX has no form for an operation of this model: {_first_lines(error)}") from error
    for value in (*written.model.graph.inputs, *written.model.graph.outputs):
        axes = (module.free | module.outputs)[value.name]
        value.shape = type(value.shape)([axes.get(axis, size) for axis, size in enumerate(value.shape)])
    written.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    taken = {value.name for value in session.get_inputs()}  # one that changes nothing may be left out

    def run(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        given = {name: value.numpy() for name, value in inputs.items() if name in taken}
        return _outputs(module, [torch.from_numpy(value) for value in session.run(list(module.outputs), given)])

    return run


def _outputs(module: nn.Module, values: Any) -> dict[str, torch.Tensor]:
    return dict(zip(module.outputs, values, strict=True))


def _difference(
    run: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]],
    inputs: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
) -> float:
    """The largest difference of any output. Raises: ECGError where it is above `TOLERANCE`, and where the graph holds
    for other sizes only."""
    size = list(next(iter(inputs.values())).shape)
    try:
        found = run(inputs)
    except Exception as error:  # of the library that runs it
        raise ECGError(
            f"the graph does not hold for input {size}: {_first_lines(error)}. Nothing was written"
        ) from error
    largest = 0.0
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise ECGError(f"the graph's {name} for input {size} is {list(found[name].shape)}; expected "
                           f"{list(value.shape)}, as the model gives")  # fmt: skip
        scale = max(1.0, float(value.float().abs().max()))
        difference = float((found[name].float() - value.float()).abs().max()) / scale
        if not difference <= TOLERANCE:
            raise ECGError(
                f"the graph's {name} differs from the model's by {difference:.2g} for input {size}; expected at most "
                f"{TOLERANCE:g}. Nothing was written"
            )
        largest = max(largest, difference)
    return largest


def _described(
    values: Mapping[str, torch.Tensor], free: Mapping[str, Mapping[int, str]]
) -> list[tuple[str, str, list[int | str]]]:
    return [
        (
            name,
            str(value.dtype).removeprefix("torch."),
            [free[name].get(axis, n) for axis, n in enumerate(value.shape)],
        )
        for name, value in values.items()
    ]


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])[:400]}"


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"ONNX needs {', '.join(missing)}: pip install 'ecgllm[export]'")


__all__ = ["FORMATS", "PARTS", "TOLERANCE", "Exported", "export_checkpoint"]
