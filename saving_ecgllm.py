"""What `save_pretrained` writes beside the weights: a folder that is complete as remote code.

In: a model, processor or feature extractor that is saved. Out: in its folder the code that loads it where this package
is not installed, the names by which transformers' Auto classes find that code, and a model card. Decided here: the
code that travels is the file of the class and what its relative imports reach, as transformers' own
`custom_object_save` has it. There is no list of files: a folder that was loaded as remote code holds only what its
class reaches, and that must be enough to save it again.

Of cards: what is not known stands in none, a licence least of all. A folder's card goes along as long as the weights
are the folder's, byte for byte; other weights get a new one. What a folder says that it learned from (`trained_on`) is
not said alone of other weights: what came after stands as not described, unless somebody described it.
"""

import filecmp
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData, try_to_load_from_cache
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.dynamic_module_utils import custom_object_save, get_relative_import_files
from transformers.utils import cached_file

from .configuration_base_ecgllm import OF_ENCODER, encoder_configs

LIMITS = (
    "For research. Not a medical device: not for diagnosis, monitoring or treatment. The model answers with\n"
    "confidence about recordings unlike those it learned from; measure it on your own before you rely on anything it\n"
    "says."
)
"""What every model card says."""

EVALUATION_FILE = "evaluation.md"
"""Beside a card: the whole report of an evaluation, which the card sums up and links to."""

UNDESCRIBED = "what was changed or added since, nobody has described"

_HUB_ARGUMENTS = (
    "repo_id",
    "commit_message",
    "commit_description",
    "private",
    "revision",
    "create_pr",
    "tags",
    "token",
)


def split_hub_arguments(folder: str | Path, arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arguments of `push_to_hub`, all others) of `save_pretrained`; a repository is called like the folder if nothing
    else is said."""
    hub = {key: value for key, value in arguments.items() if key in _HUB_ARGUMENTS}
    others = {key: value for key, value in arguments.items() if key not in _HUB_ARGUMENTS}
    return {"repo_id": Path(folder).name} | hub, others


def code_files(module: str) -> list[str]:
    """Names of the files that a class needs as remote code.

    Args: module: the file of the class without its ending, such as "modeling_ecgllm", from which all are reached.
    """
    file = Path(__file__).resolve().parent / f"{module}.py"
    return sorted({file.name, *(Path(reached).name for reached in get_relative_import_files(file))})


def copy_code(folder: str | Path, module: str) -> None:
    """Copy `code_files` into a folder; links to the same files stay links."""
    for name in code_files(module):
        source, target = Path(__file__).resolve().parent / name, Path(folder) / name
        if source != target.resolve():
            shutil.copyfile(source, target)


class PushedWithOwnCard:
    """What is pushed to the Hub with a card of ours, or none, where transformers would put its empty template.

    A mixin before transformers' `PushToHubMixin`. A card that somebody filled in on the Hub is kept.
    """

    def _write_card(self, folder: Path) -> None:
        """README.md of what was saved to a folder; by default there is none, for the model's is the repository's."""

    def _upload_modified_files(self, working_dir: str | Path, *args: Any, **kwargs: Any) -> Any:
        path = Path(working_dir) / "README.md"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if "[More Information Needed]" in text or not ModelCard(text).text.strip():
            # Tags are the caller's: push_to_hub(tags=...), and PEFT's and Trainer's own.
            tags = ModelCard(text).data.tags or []
            path.unlink(missing_ok=True)
            self._write_card(Path(working_dir))
            _add_tags(path, tags)
        return super()._upload_modified_files(working_dir, *args, **kwargs)


def _add_tags(path: Path, tags: list[str]) -> None:
    if not tags:
        return
    card = ModelCard(path.read_text(encoding="utf-8") if path.is_file() else "")
    card.data.tags = list(dict.fromkeys([*(card.data.tags or _TAGS), *tags]))
    card.save(path)


class CompleteFolder(PushedWithOwnCard):
    """A model whose `save_pretrained` and `push_to_hub` write a folder that is complete as remote code.

    A mixin before `PreTrainedModel`. A class in a file of its own names that file in `_code_module`, and other classes
    of the folder in `_auto_map` and `_pipelines`. The file must import what these name.
    """

    _code_module: str
    """The file of the class without its ending."""
    _hub_task: str | None = None
    """The Hub's task that fits best (https://huggingface.co/tasks); None where each would mislead."""
    _pipelines: Mapping[str, str] = {}
    """Task -> "file.Class" of a pipeline. With one task, `pipeline(model=folder)` finds it."""
    is_described = False
    """Whether `trained_on` is known to be all that the weights learned from, as a training run knows it."""

    def _auto_map(self) -> dict[str, str]:
        """Auto class -> "file.Class"."""
        return {
            "AutoConfig": f"configuration_ecgllm.{self.config_class.__name__}",
            "AutoModel": f"{self._code_module}.{type(self).__name__}",
        }

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Save weights, configuration and the code files; load with `AutoModel.from_pretrained(...,
        trust_remote_code=True)`. Arguments as in transformers.
        """
        hub, kwargs = split_hub_arguments(save_directory, kwargs)
        self.config.auto_map = self._auto_map()
        if self._pipelines:
            self.config.custom_pipelines = {
                task: {"impl": name, "pt": ["AutoModel"], "tf": [], "type": "multimodal"}
                for task, name in self._pipelines.items()
            }
        self.config.card_data = stated_card_data(self.config) or None
        with _saying_what_is_undescribed(self):
            if kwargs.get("is_main_process", True):
                _copy_code_of_encoder(self, Path(save_directory))
            super().save_pretrained(save_directory, **kwargs)
            if kwargs.get("is_main_process", True):
                copy_code(save_directory, self._code_module)
                _write_model_card(self, Path(save_directory))
        if push_to_hub:
            self.push_to_hub(**hub)

    def _write_card(self, folder: Path) -> None:
        _fetch_card(self)
        _write_model_card(self, folder)


def _copy_code_of_encoder(model: PreTrainedModel, folder: Path) -> None:
    """Copy the code of an encoder that has its own, and name it in the encoder's part of the configuration.

    As in transformers, that is a class for which `register_for_auto_class` was called, by `from_pretrained` or by its
    author.
    """
    for config in encoder_configs(model.config):
        if getattr(config, "_auto_class", None) is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        part = next(part for part in model.modules() if type(getattr(part, "config", None)) is type(config))
        type(part)._auto_class = type(part)._auto_class or "AutoModel"
        for of_its_own in (part, config):
            custom_object_save(of_its_own, folder, config=config)


@contextmanager
def _saying_what_is_undescribed(model: CompleteFolder) -> Iterator[None]:
    """Meanwhile `trained_on` says more, where it is what the folder said from which the model was loaded, and weights
    are not the folder's."""
    said, source = getattr(model.config, "trained_on", None), _file_of(model, "config.json")
    if said and source is not None and not model.is_described:
        before = json.loads(source.read_text(encoding="utf-8")).get("trained_on") or ""
        if said.removeprefix(OF_ENCODER) == before.removeprefix(OF_ENCODER) and _differs(model, source.parent):
            model.config.trained_on = f"{said.removesuffix(f'; {UNDESCRIBED}')}; {UNDESCRIBED}"
    try:
        yield
    finally:
        if said:
            model.config.trained_on = said


def _differs(model: PreTrainedModel, folder: Path) -> bool:
    """Whether a tensor of a model is not as the weights in a folder have it, or not there at all.

    A language model that the folder leaves out does not count, nor do tensors that other processes hold.
    """
    own = {name: value for name, value in model.named_parameters() if value.numel() and not value.is_meta}
    known: set[str] = set()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in own.keys() & set(weights.keys()):
                known.add(name)
                was = weights.get_tensor(name)
                if was.shape == own[name].shape and not torch.equal(was.to(own[name].dtype), own[name].detach().cpu()):
                    return True
    return bool(known) and any(name not in known and not name.startswith("language_model.") for name in own)


def _write_model_card(model: CompleteFolder, folder: Path) -> None:
    """README.md of a checkpoint; a card that a person or a training run wrote is left as it is."""
    card = folder / "README.md"
    if card.exists():
        return
    config = model.config
    source = _card_of_the_same_weights(model, folder)
    if source is not None:
        text = source.read_text(encoding="utf-8")
        found = ModelCard(text, ignore_metadata_errors=True)
        for key, value in card_data(config, model._hub_task).to_dict().items():
            if key == "pipeline_tag" or getattr(found.data, key, None) is None:
                setattr(found.data, key, value)
        found.save(card)
        report = _file_of(model, EVALUATION_FILE)
        if report is not None:
            shutil.copyfile(report, folder / EVALUATION_FILE)
        return
    preprocessing = getattr(config, "encoder_config", config).preprocessing or {"unknown": "see the processor"}
    trained_on = getattr(config, "trained_on", None) or "not stated by whoever saved this checkpoint"
    text = model_card(
        type(model).__name__,
        "An ECG model made with ecgllm (method: arXiv 2411.14795).",
        {"Training data": trained_on, "Preprocessing": preprocessing_text(preprocessing), "Limits": LIMITS},
        card_data(config, model._hub_task),
    )
    card.write_text(text, encoding="utf-8")


def _card_of_the_same_weights(model: PreTrainedModel, folder: Path) -> Path | None:
    """The card of the folder, here or from the Hub, from which a model was loaded that is saved unchanged."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors"))
    there = {name: _file_of(model, name) for name in ("README.md", *names)}
    if not names or any(path is None for path in there.values()):
        return None
    same = all(filecmp.cmp(there[name], folder / name, shallow=False) for name in names)
    return there["README.md"] if same else None


def _file_of(model: PreTrainedModel, name: str) -> Path | None:
    """A file of the folder or, of the Hub, the download from which a model was loaded; None where it has none here."""
    source = getattr(model, "name_or_path", "")
    if not source:
        return None
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() else None
    return _downloaded(source, name)


def _fetch_card(model: PreTrainedModel) -> None:
    """Download the card of a model that came from the Hub, on the way to which it is now, and the report beside it;
    loading the model leaves them out."""
    source = getattr(model, "name_or_path", "")
    if source and not Path(source).is_dir() and _downloaded(source, "config.json"):
        for name in ("README.md", EVALUATION_FILE):
            cached_file(source, name, _raise_exceptions_for_missing_entries=False)


def _downloaded(repo_id: str, name: str) -> Path | None:
    """A file of the Hub's in the cache."""
    if repo_id.count("/") > 1 or Path(repo_id).is_absolute():
        return None
    found = try_to_load_from_cache(repo_id, name)
    return Path(found) if isinstance(found, str) else None


_TAGS = ["ecg", "electrocardiogram", "multimodal", "ecgllm"]


def stated_card_data(config: PreTrainedConfig) -> dict[str, Any]:
    """What a configuration states for cards (`card_data`), with the models on the Hub that it was made of.

    Those are known by name when they come from the Hub, and by the card in the folder when they come from one.
    """
    stated = dict(getattr(config, "card_data", None) or {})
    if "base_model" not in stated:
        base = getattr(config, "language_model_base", None) or {}
        known = [base["name"]] if base.get("revision") else []
        for part in ("text_config", "encoder_config", "backbone_config"):
            known += _hub_names(getattr(config, part, None))
        known = list(dict.fromkeys(known))
        if known:
            stated["base_model"] = known[0] if len(known) == 1 else known
    return stated


def _hub_names(part: PreTrainedConfig | None) -> list[str]:
    name = getattr(part, "_name_or_path", "")
    if not name:
        return []
    card = Path(name) / "README.md"
    if not Path(name).is_dir():  # a name of the Hub's, if it was downloaded by it, and else a path of another machine
        return [name] if _downloaded(name, "config.json") else []
    if not card.is_file():
        return []
    found = ModelCard.load(card, ignore_metadata_errors=True).data.base_model or []
    return [found] if isinstance(found, str) else found


def card_data(config: PreTrainedConfig, task: str | None, **known: Any) -> ModelCardData:
    """What the Hub reads of a model card (https://huggingface.co/docs/hub/model-cards#model-card-metadata).

    Args: config: the model's; what its `card_data` states (license, datasets, language, tags, ...) is taken over.
        task: of the Hub's. known: further fields of `ModelCardData`, such as model_name with eval_results.
    """
    stated = stated_card_data(config) | known
    tags = list(dict.fromkeys([*_TAGS, *(stated.pop("tags", None) or [])]))
    return ModelCardData(**{"library_name": "transformers", "pipeline_tag": task} | stated, tags=tags)


def model_card(title: str, text: str, sections: Mapping[str, str], data: ModelCardData) -> str:
    """A card: what the Hub reads of it (`card_data`), a title, a text, and sections by their headings."""
    parts = [f"---\n{data.to_yaml()}\n---\n# {title}", text]
    parts += [f"## {heading}\n\n{section}" for heading, section in sections.items()]
    return "\n\n".join(parts) + "\n"


def preprocessing_text(preprocessing: Mapping[str, Any]) -> str:
    """A card's section on what the processor does to an ECG."""
    done = "Done by the processor in this folder; the model refuses ECGs that were prepared in another way.\n"
    return "\n".join([done, *(f"- {key}: {value}" for key, value in preprocessing.items())])


__all__ = [
    "LIMITS",
    "CompleteFolder",
    "PushedWithOwnCard",
    "card_data",
    "code_files",
    "copy_code",
    "model_card",
    "preprocessing_text",
    "split_hub_arguments",
    "stated_card_data",
]
