"""What the Hub checks of a card's metadata when it is pushed: that the YAML parses, and that fields are of the types,
tasks and licences that its documentation names.

Sources: huggingface/hub-docs, `modelcard.md` and `datasetcard.md`; tasks: huggingface.js, `packages/tasks/src/
pipelines.ts`; licences: https://huggingface.co/docs/hub/repositories-licenses (those that are met here).
"""

import re
from typing import Any

import yaml

_WORDS = ("license", "license_name", "license_link", "library_name", "pipeline_tag", "pretty_name")
_LISTS = ("language", "tags", "datasets", "metrics", "base_model", "task_categories", "task_ids", "size_categories")
_RELATIONS = {"adapter", "merge", "quantized", "finetune"}
_LICENSES = {
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "odc-by", "odbl", "openrail", "gemma", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3",
    "pddl", "gpl-3.0", "other", "unknown",
}  # fmt: skip
_TASKS = {
    "biology", "text-classification", "token-classification", "table-question-answering", "question-answering",
    "zero-shot-classification", "translation", "summarization", "feature-extraction", "text-generation",
    "text2text-generation", "fill-mask", "sentence-similarity", "text-to-speech", "text-to-audio",
    "automatic-speech-recognition", "audio-to-audio", "audio-classification", "audio-text-to-text",
    "voice-activity-detection", "depth-estimation", "image-classification", "object-detection", "image-segmentation",
    "text-to-image", "image-to-text", "image-to-image", "image-to-video", "unconditional-image-generation",
    "video-classification", "reinforcement-learning", "robotics", "tabular-classification", "tabular-regression",
    "tabular-to-text", "table-to-text", "multiple-choice", "text-ranking", "text-retrieval",
    "time-series-forecasting", "text-to-video", "image-text-to-text", "visual-question-answering",
    "document-question-answering", "zero-shot-image-classification", "graph-ml", "mask-generation",
    "zero-shot-object-detection", "text-to-3d", "image-to-3d", "image-feature-extraction", "video-text-to-text",
    "keypoint-detection", "visual-document-retrieval", "any-to-any", "other",
}  # fmt: skip


def card_data(text: bytes) -> dict[str, Any]:
    """The metadata at the head of a card. Raises: yaml.YAMLError."""
    found = re.match(r"\s*---\r?\n(.*?)\r?\n---", text.decode("utf-8"), re.S)
    return (yaml.safe_load(found[1]) if found else None) or {}


def card_errors(content: str, kind: str) -> list[str]:
    """What the Hub would refuse of the card of a model or dataset."""
    try:
        data = card_data(content.encode())
    except yaml.YAMLError as error:
        return [f"invalid YAML: {error}"]
    if not isinstance(data, dict):
        return [f"the metadata is a {type(data).__name__}; expected a mapping"]
    errors = [f'"{key}" must be a string' for key in _WORDS if key in data and not isinstance(data[key], str)]
    for key in _LISTS:
        if any(not isinstance(entry, str) or not entry for entry in _listed(data, key)):
            errors.append(f'"{key}" must be a string or a list of strings')
    for key in ("datasets", "base_model"):
        errors += [
            f'"{key}" holds {entry!r}; expected an id from https://hf.co'
            for entry in _listed(data, key)
            if isinstance(entry, str) and not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", entry)
        ]
    errors += [
        f'"language" holds {code!r}; expected an ISO 639 code'
        for code in _listed(data, "language")
        if isinstance(code, str) and not re.fullmatch(r"[a-z]{2,3}|multilingual|code", code)
    ]
    errors += [f'"license" is {name!r}' for name in _listed(data, "license") if name not in _LICENSES]
    errors += [
        f'"base_model_relation" is {name!r}' for name in _listed(data, "base_model_relation") if name not in _RELATIONS
    ]
    errors += [f'"task_categories" holds {name!r}' for name in _listed(data, "task_categories") if name not in _TASKS]
    if kind == "model":
        errors += [f'"pipeline_tag" is {name!r}' for name in _listed(data, "pipeline_tag") if name not in _TASKS]
        errors += _index_errors(data.get("model-index", []))
    return errors


def _listed(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key, [])
    return value if isinstance(value, list) else [value]


def _index_errors(index: Any) -> list[str]:
    if not isinstance(index, list):
        return ['"model-index" must be a list']
    errors = []
    for model in index:
        if not isinstance(model, dict) or not model.get("name") or not isinstance(model.get("results"), list):
            errors.append('"model-index[]" must have a name and results')
            continue
        for result in model["results"]:
            for part, needed in (("task", ("type",)), ("dataset", ("type", "name"))):
                if any(not isinstance((result.get(part) or {}).get(key), str) for key in needed):
                    errors.append(f'"model-index[].results[].{part}" must have {" and ".join(needed)}')
            metrics = result.get("metrics")
            if not metrics or any("type" not in metric or "value" not in metric for metric in metrics):
                errors.append('"model-index[].results[].metrics[]" must have type and value')
    return errors
