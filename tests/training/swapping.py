"""Recipes for machines that are not here, run small: how a shipped recipe is made small, and that nothing else is.

`swapped` is the whole of it: a recipe that passes its test runs as it stands, as far as can be tested without its
data and its models.
"""

from pathlib import Path
from typing import Any

from .conftest import FINDINGS

# Widths and depths. Everything else of an encoder (patches, stem, leads) stays.
_ENCODER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
_LANGUAGE_MODEL = {"model_type": "llama", "num_key_value_heads": 2, "max_position_embeddings": 1024, **_TEXT}


def swapped(values: dict[str, Any], records: int, output: Path, start: Path | None = None) -> dict[str, Any]:
    """A recipe's plain values with its data and the sizes of its models swapped for tiny ones.

    Changed, and nothing else: `corpus` and `data` (simulated records, `limit` of them), `output`; the widths and
    depths of the encoder and of a text model's `config`; a text model by `name` becomes one by `config`; `start_from`,
    or the encoder's `from`, is a tiny checkpoint; what is chosen for an amount of data: a stage takes 4 steps of at
    most 32 examples, fine-tunes on questions about few findings, and answers at most 8 questions (`--dry-run` counts a
    recipe's own batches and questions); labels are findings; for questions of a folder stand built ones of yes or no.
    """
    small = values | {"corpus": "simulation", "data": None, "limit": records, "output": str(output)}
    if values.get("start_from"):
        small["start_from"] = str(start)
    elif "from" in (values.get("encoder") or {}):
        small["encoder"] = values["encoder"] | {"from": str(start)}
    else:
        encoder = values.get("encoder") or {}
        channels = encoder.get("stem_channels", [64, 64])
        small["encoder"] = encoder | _ENCODER | {"stem_channels": [8] * len(channels)}
    for key, config in (("text_encoder", {"model_type": "bert", **_TEXT}), ("language_model", _LANGUAGE_MODEL)):
        own = dict(values.get(key) or {})
        if own.pop("name", None) is not None or own.get("config") is not None:
            own.pop("sizes", None)
            own.pop("dtype", None)
            small[key] = own | {"config": config, "vocab_size": 400}
    small["stages"] = {name: _short(name, stage) for name, stage in values["stages"].items()}
    return small


def _short(name: str, stage: dict[str, Any]) -> dict[str, Any]:
    training = {key: value for key, value in (stage.get("training") or {}).items() if key != "num_train_epochs"}
    asked: dict[str, Any] = {}
    if name == "classify":  # of the corpus that stands in
        asked = {"labels": "findings"}
    elif name != "pretrain":
        questions = stage.get("questions") or {}
        if "path" in questions:
            questions = {"types": ["verify"]}
        if name == "finetune":  # the de-biased set of few records and findings is smaller than a batch
            questions = {"attributes": FINDINGS} | questions
        asked = {"evaluate": min(8, stage.get("evaluate", 8)), "questions": questions}
    batch = {"batch_size": min(32, stage["batch_size"])}
    return stage | batch | {"training": training | {"max_steps": 4}} | asked
