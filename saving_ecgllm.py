"""What `save_pretrained` writes beside the weights: a folder that is complete as remote code.

In: a model, processor or feature extractor that is saved. Out: in its folder the code that loads it where this package
is not installed, the names by which transformers' Auto classes find that code, and a model card. Decided here: the
code that travels is the file of the class and what its relative imports reach, as transformers' own
`custom_object_save` has it. There is no list of files: a folder that was loaded as remote code holds only what its
class reaches, and that must be enough to save it again.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from transformers import PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save, get_relative_import_files

from .configuration_ecgllm import encoder_configs

LIMITS = (
    "For research. Not a medical device: not for diagnosis, monitoring or treatment. The model answers with\n"
    "confidence about recordings unlike those it learned from; measure it on your own before you rely on anything it\n"
    "says."
)
"""What every model card says."""

_HUB_ARGUMENTS = ("repo_id", "commit_message", "private", "revision", "create_pr", "tags", "token")


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


class CompleteFolder:
    """A model whose `save_pretrained` and `push_to_hub` write a folder that is complete as remote code.

    A mixin before `PreTrainedModel`. A class in a file of its own names that file in `_code_module`, and other classes
    of the folder in `_auto_map`. The file must import what `_auto_map` names.
    """

    _code_module: str
    """The file of the class without its ending."""

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
        hub = {key: kwargs.pop(key) for key in _HUB_ARGUMENTS if key in kwargs}
        self.config.auto_map = self._auto_map()
        if kwargs.get("is_main_process", True):
            _copy_code_of_encoder(self, Path(save_directory))
        super().save_pretrained(save_directory, **kwargs)
        if kwargs.get("is_main_process", True):
            copy_code(save_directory, self._code_module)
            _write_model_card(self, Path(save_directory))
        if push_to_hub:
            self.push_to_hub(hub.pop("repo_id", Path(save_directory).name), **hub)

    def _upload_modified_files(self, working_dir: str | Path, *args: Any, **kwargs: Any) -> Any:
        # On its way to the Hub, transformers puts its empty template over the card that save_pretrained wrote; a card
        # that somebody filled in on the Hub is kept.
        card = Path(working_dir) / "README.md"
        if not card.is_file() or "[More Information Needed]" in card.read_text(encoding="utf-8"):
            card.unlink(missing_ok=True)
            _write_model_card(self, Path(working_dir))
        return super()._upload_modified_files(working_dir, *args, **kwargs)


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


def _write_model_card(model: CompleteFolder, folder: Path) -> None:
    """README.md of a checkpoint; a card that a person or a training run wrote is left as it is."""
    card = folder / "README.md"
    if card.exists():
        return
    config = model.config
    preprocessing = getattr(config, "encoder_config", config).preprocessing or {"unknown": "see the processor"}
    trained_on = getattr(config, "trained_on", None) or "not stated by whoever saved this checkpoint"
    text = model_card(
        type(model).__name__,
        "An ECG model made with ecgllm (method: arXiv 2411.14795).",
        {"Training data": trained_on, "Preprocessing": preprocessing_text(preprocessing), "Limits": LIMITS},
        answers=hasattr(model, "generate"),
    )
    card.write_text(text, encoding="utf-8")


def model_card(title: str, text: str, sections: Mapping[str, str], answers: bool) -> str:
    """A model card: metadata for the Hub, a title, a text, and sections by their headings.

    answers: whether the model answers questions.
    """
    data = ModelCardData(
        library_name="transformers",
        tags=["ecg", "electrocardiogram", "multimodal", "ecgllm"],
        pipeline_tag="text-generation" if answers else None,
    )
    parts = [f"---\n{data.to_yaml()}\n---\n# {title}", text]
    parts += [f"## {heading}\n\n{section}" for heading, section in sections.items()]
    return "\n\n".join(parts) + "\n"


def preprocessing_text(preprocessing: Mapping[str, Any]) -> str:
    """A card's section on what the processor does to an ECG."""
    done = "Done by the processor in this folder; the model refuses ECGs that were prepared in another way.\n"
    return "\n".join([done, *(f"- {key}: {value}" for key, value in preprocessing.items())])


__all__ = ["LIMITS", "CompleteFolder", "code_files", "copy_code", "model_card", "preprocessing_text"]
