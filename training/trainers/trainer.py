"""StageTrainer: `transformers.Trainer` with what question training needs to be fast and reproducible.

In: a model, data and arguments, as for Trainer. Decided here: logits are computed for answer tokens only; examples of
similar length share a batch; every validation example counts; the order is the same with any number of processes and
after a restart; and no step uses gradients that are not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import get_total_norm
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput

from ...scoring_ecgllm import answer_positions, shifted, takes_positions
from ..recipe import RecipeError
from .non_finite import NonFiniteGuard
from .optimizer import muon
from .progress import use_stage_progress

# Smaller differences of length are ignored, so that a batch is not made of one kind of question.
_LENGTH_STEP = 16
_BATCHES_SORTED_TOGETHER = 16

# Names of parameters that scale logits.
_TEMPERATURES = ("logit_scale", "statement_scale")

EXAMPLE_IDS = "example_ids"
"""What collators call the numbers of a batch's examples in their data set, int [batch]; no model's input."""


class StageTrainer(Trainer):
    """Trainer with this package's progress lines and the decisions of this module.

    The training data have `names(number)`, what an example is called: {"records": ids, "question_id": id}.
    loss_counts_tokens: whether the model divides its loss by a count of labels that Trainer gives it.
    group_by_length: let each batch hold examples of about one length; the training data then have `lengths()`.
    optimizer: "adamw", which is whatever `TrainingArguments.optim` names, or "muon" (`optimizer.py`).
    together: how many examples about the same ECGs follow one another at most; above 1 the training data have
        `groups()`. train_collator: makes training batches where `data_collator` makes those for validation alone.
    """

    def __init__(
        self,
        *args: Any,
        loss_counts_tokens: bool = True,
        group_by_length: bool = False,
        together: int = 1,
        train_collator: Callable | None = None,
        optimizer: str = "adamw",
        **kwargs: Any,
    ):
        settings = kwargs["args"]
        if kwargs.get("eval_dataset") is None and settings.eval_strategy != "no":
            raise RecipeError(
                f"{Path(settings.output_dir).name} has no validation examples, and is to be validated on the way; "
                "take more records, or leave out early_stopping_patience, load_best_model_at_end and eval_strategy."
            )
        if optimizer == "muon":
            # In Trainer's terms a factory: the optimizer splits the model's parameters itself.
            known = {"args": settings, "decayed": self.get_decay_parameter_names}
            kwargs["optimizer_cls_and_kwargs"] = (lambda: muon, known)
        super().__init__(*args, **kwargs)
        if optimizer == "muon" and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise RecipeError(
                "optimizer muon needs whole matrices, and FSDP and DeepSpeed divide them; take adamw, or train with "
                "plain torchrun."
            )
        self.group_by_length, self.together = group_by_length, together
        self._train_collator = train_collator or self.data_collator
        if not loss_counts_tokens:
            # The model takes any keyword, from which Trainer concludes that it does.
            self.model_accepts_loss_kwargs = False
        if self.args.label_smoothing_factor:
            # Trainer's own smoother shifts the labels of models that it knows by name, and of no others.
            self.label_smoother, self.compute_loss_func = None, self._smoothed_loss
        self._keeps_answers_only = takes_positions(self.accelerator.unwrap_model(self.model))
        # Of a validation: examples, their summed losses and their counts of learned tokens, batch by batch.
        self._answers: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._guard = NonFiniteGuard(Path(self.args.output_dir), self.train_dataset.names)
        self.add_callback(_BeforeTheStep(self))
        use_stage_progress(self)
        self.order: GroupedSampler | None = None
        self.add_callback(_EpochOfData(self))

    def keep_apart(self) -> None:
        """Make training batches like validation batches, in random order."""
        self.together, self._train_collator = 1, self.data_collator

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list, Any]:
        # A finished run that is resumed would take one more step before it checks.
        return ([], None) if self.control.should_training_stop else super().get_batch_samples(*args, **kwargs)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        examples = inputs.get(EXAMPLE_IDS)
        loss = super().training_step(model, inputs, *args, **kwargs)
        self._guard.add(examples, loss)
        return loss

    def check_finite(self) -> None:
        """Check the loss and the gradients of the next step. Raises: NonFiniteError."""
        norm = None
        if self.accelerator.scaler is None:  # fp16's skips a step whose gradients overflow
            # Gradients may be clipped by now; if they were not finite, they still are not.
            norm = get_total_norm(p.grad for p in self.model.parameters() if p.grad is not None)
        self._guard.check(self.state.global_step + 1, norm, self._loss_alone())

    def _loss_alone(self) -> Callable[[int], float] | None:
        """The loss of one training example; None where processes would have to compute it together."""
        if self.args.world_size > 1:
            return None

        def loss(number: int) -> float:
            inputs = self._prepare_inputs(self.data_collator([self.train_dataset[number]]))
            with torch.no_grad(), self.compute_loss_context_manager():
                return float(self.compute_loss(self.model, inputs))

        return loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        inputs = {name: value for name, value in inputs.items() if name != EXAMPLE_IDS}
        if "labels" in inputs:
            inputs |= answer_positions(inputs["labels"]) if self._keeps_answers_only else {}
            if self.compute_loss_func is not None:
                # What it is given as labels stands where the logits stand.
                inputs["labels"] = inputs.pop("shift_labels", shifted(inputs["labels"]))
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _smoothed_loss(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Cross entropy with smoothed labels, where a share of the target is spread evenly over the vocabulary.

        Source: Szegedy et al. 2016, arXiv 1512.00567, section 7. Args: labels: of the logits' positions.
        """
        smoothing, logits = self.args.label_smoothing_factor, outputs["logits"].float().flatten(0, 1)
        total = torch.nn.functional.cross_entropy(
            logits, labels.flatten(), ignore_index=-100, label_smoothing=smoothing, reduction="sum"
        )
        return total / ((labels != -100).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        # Decay towards zero makes no temperature simpler; CLIP's does not decay either (arXiv 2103.00020, section
        # 2.5).
        return [name for name in super().get_decay_parameter_names(model) if not name.endswith(_TEMPERATURES)]

    # -----------------------------------------------------------------------------------------------------------------
    # Validation
    # -----------------------------------------------------------------------------------------------------------------

    def evaluation_loop(
        self, dataloader: DataLoader, description: str, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> EvalLoopOutput:
        self._answers = []
        output = super().evaluation_loop(dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self._answers:
            examples, losses, counts = (np.concatenate(column) for column in zip(*self._answers, strict=True))
            # Processes with fewer examples than others repeat some.
            rows = np.unique(examples, return_index=True)[1]
            # In place of Trainer's mean over batches of means over tokens, which is another number in other batches.
            output.metrics[f"{metric_key_prefix}_loss"] = float(losses[rows].sum() / max(counts[rows].sum(), 1))
        return output

    @torch.no_grad()
    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor, None, None]:
        inputs = self._prepare_inputs(inputs)
        examples, labels = inputs.pop(EXAMPLE_IDS), inputs.pop("labels")
        kept = answer_positions(labels) if self._keeps_answers_only else {"shift_labels": shifted(labels)}
        labels = kept.pop("shift_labels")
        with self.compute_loss_context_manager():
            logits = model(**inputs, **kept)["logits"].float()
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").sum(dim=1)
        counts = (labels != -100).sum(dim=1)
        gathered = (self.accelerator.gather(each) for each in (examples, losses.double(), counts))
        self._answers.append(tuple(each.cpu().numpy() for each in gathered))
        return losses.sum() / counts.sum().clamp(min=1), None, None

    # -----------------------------------------------------------------------------------------------------------------
    # Data
    # -----------------------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        validation, self.data_collator = self.data_collator, self._train_collator
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = validation

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        # Trainer drops an incomplete last batch in both loaders or in none.
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        # The whole batch: a process takes its part of each, however many there are.
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        self.order = GroupedSampler(
            dataset.lengths() if self.group_by_length else None,
            batch,
            self.args.seed,
            dataset.groups() if self.together > 1 else None,
            self.together,
            number=len(dataset),
        )
        return self.order


class _BeforeTheStep(TrainerCallback):
    """Lets the trainer check a step before it is taken."""

    def __init__(self, trainer: StageTrainer):
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.check_finite()


class _EpochOfData(TrainerCallback):
    """Tells the training data and their order which epoch begins.

    Accelerate tells a sampler, too, but not through the layers that several processes and a resumed run put around it.
    """

    def __init__(self, trainer: StageTrainer):
        self._trainer = trainer

    def on_epoch_begin(
        self, args: Any, state: Any, control: Any, train_dataloader: DataLoader | None = None, **kwargs: Any
    ) -> None:
        # In an epoch that is taken up again the state says how much of it is over.
        epoch = int(state.epoch or 0)
        if self._trainer.order is not None:
            self._trainer.order.set_epoch(epoch)
        dataset = getattr(train_dataloader, "dataset", None)
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(epoch)


class GroupedSampler(Sampler):
    """Examples in a random order in which each batch holds examples of about one length, and of few groups.

    Args: lengths: of the examples; None: whatever their length. groups: numbers by which examples belong together,
        such as those about one ECG; None: none do. together: how many of a group follow one another at most.
    Shuffled, what makes no whole batch left out, those of a group put together, sorted by length within some batches'
    worth, cut into batches, and the batches shuffled: unlike transformers' sampler, no epoch runs from long to short.
    The order follows from seed and epoch alone. What is left out is another part of the examples in every epoch, of
    any length; left in, it would be a step of its own where batches are worked off in parts, and none else.
    """

    def __init__(
        self,
        lengths: Sequence[int] | torch.Tensor | None,
        batch_size: int,
        seed: int,
        groups: Sequence[int] | np.ndarray | None = None,
        together: int = 1,
        number: int | None = None,
    ):
        given = lengths if lengths is not None else groups
        self.number = number if given is None else len(given)
        self.lengths = None if lengths is None else np.asarray(lengths, dtype=np.int32) // _LENGTH_STEP
        self.groups = None if groups is None or together == 1 else np.asarray(groups)
        self.batch_size, self.together, self.seed, self.epoch = batch_size, together, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.number // self.batch_size * self.batch_size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = self._ordered(generator)
        for index in torch.randperm(len(self) // self.batch_size, generator=generator).tolist():
            yield from order[index * self.batch_size : (index + 1) * self.batch_size].tolist()

    def _ordered(self, generator: torch.Generator) -> np.ndarray:
        """int32 [whole batches], of which they are cut."""
        order = torch.randperm(self.number, generator=generator).numpy().astype(np.int32)[: len(self)]
        place = np.arange(len(order), dtype=np.int32)
        bundles = place
        if self.groups is not None:
            order, bundles = self._bundled(order, generator)
        if self.lengths is None:
            return order
        window = place // (self.batch_size * _BATCHES_SORTED_TOGETHER)
        window = window[np.searchsorted(bundles, bundles)]  # of a bundle's first example
        length = np.bincount(bundles, weights=self.lengths[order])[bundles]
        # By bundle before place: bundles of one length stay whole.
        return order[np.lexsort((place, bundles, -length, window))]

    def _bundled(self, order: np.ndarray, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(order in which up to `together` of a group follow one another, number of each one's bundle: 0, 0, 1 ..)."""
        by_group = order[np.argsort(self.groups[order], kind="stable")]
        groups = self.groups[by_group]
        rank = np.arange(len(order)) - np.searchsorted(groups, groups)
        bundle = np.cumsum((rank % self.together) == 0) - 1
        place = torch.randperm(int(bundle[-1]) + 1, generator=generator).numpy()[bundle]
        sequence = np.argsort(place, kind="stable")
        return by_group[sequence], np.sort(place).astype(np.int32)
