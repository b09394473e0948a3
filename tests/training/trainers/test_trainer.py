"""Answer-only logits give the loss of all logits; batches of like length come in the same order for everyone."""

import itertools
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from ecgllm import ECGEncoderConfig, ECGLLMForConditionalGeneration
from ecgllm.scoring_ecgllm import answer_positions
from ecgllm.training.recipe import LanguageModelRecipe
from ecgllm.training.text_models import build_language_model
from ecgllm.training.trainers.trainer import GroupedSampler, StageTrainer, _EpochOfData

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "cohere", "granite"])  # the last three scale their logits
def test_the_loss_over_answer_positions_is_the_loss_over_all(model_type: str) -> None:
    torch.manual_seed(0)
    config = {"model_type": model_type, "num_key_value_heads": 2, **SIZES}
    if model_type == "gemma2":
        config |= {"head_dim": 16, "final_logit_softcapping": 2.0}
    language_model, tokenizer = build_language_model(LanguageModelRecipe(config=config, vocab_size=300), ["a text"])
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        ECGEncoderConfig(**SIZES), language_model, tokenizer=tokenizer
    )
    ids = torch.randint(5, 200, (3, 12))
    labels = torch.full_like(ids, -100)
    labels[0, 4:6], labels[1, 9:], labels[2, 5] = ids[0, 4:6], ids[1, 9:], ids[2, 5]
    whole = model(input_ids=ids, labels=labels)
    kept = answer_positions(labels)
    part = model(input_ids=ids, labels=labels, **kept)
    assert kept["logits_to_keep"].tolist() == [3, 4, 8, 9, 10]
    assert part.logits.shape[1] == 5
    torch.testing.assert_close(part.loss, whole.loss)
    counted = [model(input_ids=ids, labels=labels, num_items_in_batch=4, **extra).loss for extra in ({}, kept)]
    torch.testing.assert_close(*counted)


LENGTHS = [30 + 200 * (i % 3 == 0) for i in range(203)]


def batches(sampler: GroupedSampler, size: int = 8) -> list[list[int]]:
    order = list(sampler)
    return [order[start : start + size] for start in range(0, len(order), size)]


def whole_batches_of_different_examples(found: list[list[int]]) -> bool:
    seen = [index for batch in found for index in batch]
    return [len(batch) for batch in found] == [8] * 25 and len(set(seen)) == 200 and set(seen) <= set(range(203))


def test_every_example_once_and_like_lengths_together() -> None:
    sampler = GroupedSampler(LENGTHS, 8, seed=0)
    found = batches(sampler)
    assert whole_batches_of_different_examples(found) and len(sampler) == 200
    mixed = sum(len({LENGTHS[index] for index in batch}) > 1 for batch in found)
    assert mixed <= 2  # one for each part that is sorted together


def test_the_order_follows_from_seed_and_epoch() -> None:
    sampler, again = (GroupedSampler(LENGTHS, 8, seed=5) for _ in range(2))
    first = list(sampler)
    assert first == list(again) == list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    again.set_epoch(1)
    assert list(again) == second
    assert list(GroupedSampler(LENGTHS, 8, seed=6)) != first


def test_long_and_short_batches_are_mixed_over_the_epoch() -> None:
    found = batches(GroupedSampler(LENGTHS, 8, seed=0))
    is_long = [LENGTHS[batch[0]] > 100 for batch in found]
    changes = sum(a != b for a, b in zip(is_long, is_long[1:], strict=False))
    assert changes >= 4


GROUPS = [i // 5 for i in range(203)]


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_examples_of_a_group_stand_together(lengths: list[int] | None) -> None:
    sampler = GroupedSampler(lengths, 8, seed=0, groups=GROUPS, together=4)
    found = batches(sampler)
    assert whole_batches_of_different_examples(found)
    groups = sum(len({GROUPS[index] for index in batch}) for batch in found) / len(found)
    assert groups < 4.5  # alone it would be 7 or 8
    sampler.set_epoch(1)
    again = [GROUPS[index] for index in sampler]
    assert again != [GROUPS[index] for batch in found for index in batch]
    longest = max(len(list(own)) for _, own in itertools.groupby(again))
    assert longest <= 5


@pytest.mark.parametrize("groups", [None, [i // 3 for i in range(15)]])
def test_what_makes_no_whole_batch_is_left_out_by_chance(groups: list[int] | None) -> None:
    """Not the shortest of those that are sorted together, which would never be learned."""
    sampler, seen = GroupedSampler([16 * i for i in range(15)], 8, 0, groups, together=3), Counter()
    for epoch in range(400):
        sampler.set_epoch(epoch)
        seen.update(sampler)
    # Of 15 examples 8 are seen in an epoch: 213 times in 400, give or take four standard deviations of 10.
    assert sum(seen.values()) == 400 * 8 and all(173 < seen[index] < 253 for index in range(15)), seen


@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch_taken_up_again_goes_on_in_its_own_order(processes: int) -> None:
    """Through the loaders that accelerate makes, which do not reach the sampler in every case."""
    data = list(range(96))

    def loader() -> tuple[GroupedSampler, DataLoader]:
        sampler = GroupedSampler([30] * 96, 8, seed=0, groups=[i // 4 for i in data], together=4)
        plain = DataLoader(data, batch_size=8 // processes, sampler=sampler, drop_last=True, collate_fn=list)
        device = torch.device("cpu")
        shard = prepare_data_loader(plain, device, num_processes=processes, process_index=0, put_on_device=False)
        return sampler, shard

    def begin(sampler: GroupedSampler, batches: DataLoader, epoch: float) -> list[list[int]]:
        batches.set_epoch(int(epoch))  # as Trainer does
        trainer, state = SimpleNamespace(order=sampler), SimpleNamespace(epoch=epoch)
        _EpochOfData(trainer).on_epoch_begin(None, state, None, train_dataloader=batches)
        return list(batches)

    sampler, whole = loader()
    first, second = begin(sampler, whole, 0.0), begin(sampler, whole, 1.0)
    assert first != second
    sampler, whole = loader()
    assert begin(sampler, skip_first_batches(whole, 3), 1.25) == second[3:]


class Questions(torch.utils.data.Dataset):
    """Token ids of which the last few are learned; answers differ in length."""

    def __init__(self, count: int):
        generator = torch.Generator().manual_seed(0)
        self.rows = [torch.randint(5, 200, (9,), generator=generator).tolist() for _ in range(count)]
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        row, learned = self.rows[index], 1 + index % 4
        return {"input_ids": row, "labels": [-100] * (9 - learned) + row[9 - learned :], "example_id": index}

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def names(self, index: int) -> dict[str, list[str]]:
        return {"records": [str(index)]}


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    batch = {name: torch.tensor([row[name] for row in rows]) for name in ("input_ids", "labels")}
    return batch | {"example_ids": torch.tensor([row["example_id"] for row in rows])}


def small_trainer(tmp_path: Path, count: int = 8, **settings: Any) -> StageTrainer:
    torch.manual_seed(0)
    config = {"model_type": "llama", **SIZES}
    language_model, tokenizer = build_language_model(LanguageModelRecipe(config=config, vocab_size=300), ["a text"])
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        ECGEncoderConfig(**SIZES), language_model, tokenizer=tokenizer
    )
    model.ecg_encoder.requires_grad_(False)
    model.projector.requires_grad_(False)
    model.get_output_embeddings().weight.data *= 20  # untrained, all tokens would be as likely
    args = TrainingArguments(
        str(tmp_path / "finetune"),
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        logging_nan_inf_filter=False,
        label_names=["labels"],
        **{"max_steps": 1, "per_device_train_batch_size": 4, "logging_steps": 1} | settings,
    )
    return StageTrainer(
        model=model, args=args, train_dataset=Questions(count), eval_dataset=Questions(7), data_collator=collate
    )


def test_accumulation_changes_neither_the_steps_nor_what_they_are(tmp_path: Path) -> None:
    """Over epochs whose examples make no whole number of batches, but some more parts of one."""
    taken, ends = [], []
    for parts in (1, 2, 4):
        settings = {"max_steps": -1, "num_train_epochs": 3, "learning_rate": 1e-3}
        size = {"gradient_accumulation_steps": parts, "per_device_train_batch_size": 8 // parts}
        trainer = small_trainer(tmp_path, 23, **settings, **size)
        trainer.train()
        steps = [entry for entry in trainer.state.log_history if "loss" in entry]
        taken.append(torch.tensor([[step[key] for key in ("loss", "grad_norm", "learning_rate")] for step in steps]))
        ends.append([parameter.detach() for parameter in trainer.model.parameters()])
    assert [len(steps) for steps in taken] == [3 * (23 // 8)] * 3
    for steps, weights in zip(taken[1:], ends[1:], strict=True):
        torch.testing.assert_close(steps, taken[0], rtol=1e-4, atol=0)
        torch.testing.assert_close(weights, ends[0], rtol=0, atol=2e-5)


def test_the_data_hear_of_every_epoch_also_when_a_run_is_taken_up(tmp_path: Path) -> None:
    settings = {"max_steps": -1, "num_train_epochs": 3, "save_steps": 3}
    for checkpoint, told in ((None, [0, 1, 2]), ("checkpoint-3", [1, 2])):
        trainer = small_trainer(tmp_path, **settings)
        trainer.train(resume_from_checkpoint=checkpoint and str(tmp_path / "finetune" / checkpoint))
        assert list(dict.fromkeys(trainer.train_dataset.epochs)) == told and trainer.state.global_step == 6


def test_a_validation_is_the_mean_over_tokens_in_batches_of_any_size(tmp_path: Path) -> None:
    """And not one of means over batches, which hold answers of other lengths."""
    found = [small_trainer(tmp_path, per_device_eval_batch_size=size).evaluate()["eval_loss"] for size in (7, 4, 3, 1)]
    trainer = small_trainer(tmp_path)
    own = collate([trainer.eval_dataset[index] for index in range(7)])
    with torch.no_grad():
        expected = float(trainer.model(own["input_ids"], labels=own["labels"]).loss)
    assert found == pytest.approx([expected] * 4, rel=1e-5)


@pytest.mark.parametrize("model_type", ["llama", "answers nowhere alone"])
def test_smoothed_labels_are_those_that_follow(model_type: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Where logits of answers alone are computed, and where a model gives them all."""
    if model_type != "llama":
        monkeypatch.setattr("ecgllm.training.trainers.trainer.takes_positions", lambda model: False)
    losses, norms = [], []
    for parts in (1, 2):
        trainer = small_trainer(
            tmp_path,
            label_smoothing_factor=0.2,
            gradient_accumulation_steps=parts,
            per_device_train_batch_size=8 // parts,
        )
        if parts == 1:
            batch = collate([trainer.train_dataset[index] for index in range(8)])
            with torch.no_grad():
                logits = trainer.model(batch["input_ids"]).logits[:, :-1]
            logp, labels = logits.log_softmax(-1), batch["labels"][:, 1:]
            learned = labels != -100
            told = -logp.gather(2, labels.clamp(min=0)[..., None])[..., 0][learned].mean()
            expected = 0.8 * told + 0.2 * -logp.mean(dim=-1)[learned].mean()
            plain = trainer.evaluate()["eval_loss"]
        trainer.train()
        losses.append(trainer.state.log_history[-2]["loss"])
        norms.append(trainer.state.log_history[-2]["grad_norm"])
    assert losses == pytest.approx([float(expected)] * 2, rel=1e-5) and norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert abs(float(expected) - float(told)) > 1e-3
    # Validation is by the plain loss, by which runs with and without smoothing can be compared.
    assert plain == pytest.approx(small_trainer(tmp_path).evaluate()["eval_loss"], rel=1e-6)


def test_temperatures_do_not_decay(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path)
    model = torch.nn.Module()
    model.logit_scale, model.statement_scale = (torch.nn.Parameter(torch.ones(())) for _ in range(2))
    model.text_encoder = torch.nn.Linear(2, 2)
    assert trainer.get_decay_parameter_names(model) == ["text_encoder.weight"]
