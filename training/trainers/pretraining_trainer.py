"""PretrainingTrainer: the Trainer of `pretrain`, which adds statements to every batch and evaluates retrieval and
zero-shot AUROC.

In: what `StageTrainer` takes, and the statements. Out: at every evaluation, beside the loss, retrieval of reports and
AUROC per finding of the validation split (`pretraining_metrics`). Decided here: evaluation uses the model's own
forward, batch by batch, so that it works with any wrapper and in any number of processes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from transformers.trainer_utils import EvalLoopOutput

from ...corpora import VOCABULARY
from ..data.pretraining_examples import PretrainingCollator
from ..data.statement_targets import UNKNOWN, StatementTargets
from ..data.streams import StreamedExamples, StreamOrder
from ..pretraining_metrics import retrieval, zero_shot
from ..recipe import RecipeError
from .gradient_cache import cached_step
from .trainer import EXAMPLE_IDS, StageTrainer


class PretrainingTrainer(StageTrainer):
    """Trainer of a dual encoder.

    statements: of the corpus, or None where no record has findings. cache_chunk: see `gradient_cache.cached_step`;
    None: the whole batch in one pass. After an evaluation, `zero_shot` has what `pretraining_metrics.zero_shot`
    returned.
    Raises: RecipeError for cache_chunk where the model is spread over processes.
    """

    def __init__(self, *args: Any, statements: StatementTargets | None, cache_chunk: int | None = None, **kwargs: Any):
        super().__init__(*args, loss_counts_tokens=False, **kwargs)
        self.statements, self.cache_chunk = statements, cache_chunk
        if cache_chunk is not None and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise RecipeError(
                "cache_chunk runs the model in parts and averages gradients itself, which FSDP and DeepSpeed do not "
                "allow; leave it out, or train with plain torchrun."
            )
        self.zero_shot: dict[str, Any] = {}
        self._embeds: dict[str, list[np.ndarray]] = {}

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        dataset, args = train_dataset or self.train_dataset, self.args
        if not isinstance(dataset, StreamedExamples):
            return super()._get_train_sampler(train_dataset)
        lanes = args.world_size * max(args.dataloader_num_workers, 1)
        return StreamOrder(dataset.windows, args.train_batch_size, lanes, len(dataset))

    @property
    def _collator(self) -> PretrainingCollator:
        return self.data_collator

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.cache_chunk is None:
            return super().training_step(model, inputs, *args, **kwargs)
        model.train()
        inputs = self._with_statements(self._prepare_inputs(inputs))
        loss = cached_step(self.accelerator.unwrap_model(model), inputs, self.cache_chunk, self.accelerator.autocast)
        self._guard.add(inputs.get(EXAMPLE_IDS), loss)
        return loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(model, self._with_statements(inputs), *args, **kwargs)

    def _with_statements(self, inputs: dict[str, Any]) -> dict[str, Any]:
        if "statement_targets" not in inputs:
            return inputs
        # By step, not by process: all hold their ECGs against the same paraphrases.
        return inputs | self._statement_inputs(self.statements.texts(self.state.global_step))

    def _statement_inputs(self, texts: list[str]) -> dict[str, torch.Tensor]:
        encoded = {f"statement_{name}": value for name, value in self._collator.texts(texts).items()}
        return self._prepare_inputs(encoded | {"statement_weights": torch.from_numpy(self.statements.weights)})

    def _measuring_inputs(self, targets: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """All paraphrases for measuring, of which the first of each statement alone has targets, and so a loss."""
        texts, count = self.statements.measuring_texts(), len(self.statements)
        inputs = self._statement_inputs(texts)
        if targets is not None:
            others = len(texts) - count
            inputs["statement_targets"] = torch.nn.functional.pad(targets, (0, others), value=UNKNOWN)
            # The loss is a mean over all texts.
            weights = inputs["statement_weights"] * (len(texts) / count)
            inputs["statement_weights"] = torch.nn.functional.pad(weights, (0, others))
        return inputs

    # -----------------------------------------------------------------------------------------------------------------
    # Measuring
    # -----------------------------------------------------------------------------------------------------------------

    def evaluation_loop(
        self, dataloader: DataLoader, description: str, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> EvalLoopOutput:
        self._embeds = {}
        output = super().evaluation_loop(dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        # Beside the loss, so that trackers, early stopping and the choice of the best checkpoint can use any of them.
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in self._measured().items()})
        self._embeds = {}
        return output

    @torch.no_grad()
    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor, None, None]:
        inputs = self._prepare_inputs(inputs)
        example_ids = inputs.pop(EXAMPLE_IDS)
        targets = inputs.get("statement_targets")
        if self.statements and (targets is not None or "statement" not in self._embeds):
            inputs |= self._measuring_inputs(targets)
        with self.compute_loss_context_manager():
            outputs = model(**inputs)
        if outputs.statement_embeds is not None and "statement" not in self._embeds:
            self._embeds["statement"] = [outputs.statement_embeds.float().cpu().numpy()]
        # Processes with fewer examples than others repeat some; the ids tell.
        self._keep(EXAMPLE_IDS, example_ids)
        self._keep("ecg", outputs.ecg_embeds)
        if outputs.text_embeds is not None:
            self._keep("text", outputs.text_embeds)
        return outputs.loss.detach().mean(), None, None

    def _keep(self, name: str, value: torch.Tensor) -> None:
        value = self.accelerator.gather(value.contiguous())
        value = value.float() if value.is_floating_point() else value
        self._embeds.setdefault(name, []).append(value.cpu().numpy())

    def _measured(self) -> dict[str, float]:
        found = {name: np.concatenate(parts) for name, parts in self._embeds.items()}
        ids, rows = np.unique(found[EXAMPLE_IDS], return_index=True)
        examples, ecgs = self.eval_dataset, found["ecg"][rows]
        measured: dict[str, float] = {}
        if "text" in found:
            measured |= retrieval(ecgs, found["text"][rows], [examples.reports[index] for index in ids])
        self.zero_shot = {}
        if "statement" in found and len(self.statements):
            said = ((examples.findings[index] or (), examples.sources[index]) for index in ids)
            targets = np.stack([self.statements.targets(*own) for own in said])
            measured |= self._zero_shot_figures(
                ecgs, found["statement"], targets, [examples.patients[index] for index in ids]
            )
        return measured

    def _zero_shot_figures(
        self, ecgs: np.ndarray, statements: np.ndarray, targets: np.ndarray, patients: list[str]
    ) -> dict[str, float]:
        """How well findings are recognised, in the plainest paraphrase and in those that training does not use."""
        # Not the groups: they are made of findings that are measured one by one.
        names = self.statements.names
        own = [column for column, name in enumerate(names) if name in VOCABULARY]
        texts = statements.reshape(-1, len(names), ecgs.shape[1])[:, own]
        called = [names[column] for column in own]
        # The mean over paraphrases, as CLIP's prompts are joined.
        plain, others = (
            zero_shot(ecgs @ texts[part].mean(axis=0).T, targets[:, own], called, patients)
            for part in (slice(1), slice(1, None))
        )
        self.zero_shot = plain
        if not plain:
            return {}
        scores = ("zero_shot_auroc", "zero_shot_auroc_low", "zero_shot_auroc_high")
        measured = dict(zip(scores, plain["macro"], strict=True))
        measured["zero_shot_auroc_unseen_wording"] = others["macro"][0]
        return measured | {f"auroc {name}": each["auroc"] for name, each in plain["findings"].items()}
