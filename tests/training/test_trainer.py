"""Answer-only logits give the loss of all logits; batches of like length come in the same order for everyone."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from torch.utils.data import DataLoader

from ecgllm import ECGEncoderConfig, ECGLLMForConditionalGeneration
from ecgllm.training.recipe import LanguageModelRecipe
from ecgllm.training.text_models import build_language_model
from ecgllm.training.trainer import GroupedSampler, _EpochOfData, answer_positions

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


def test_a_batch_without_an_answer_keeps_one_position() -> None:
    kept = answer_positions(torch.full((2, 5), -100))
    assert kept["logits_to_keep"].tolist() == [0] and kept["shift_labels"].tolist() == [[-100], [-100]]


LENGTHS = [30 + 200 * (i % 3 == 0) for i in range(203)]


def batches(sampler: GroupedSampler, size: int = 8) -> list[list[int]]:
    order = list(sampler)
    return [order[start : start + size] for start in range(0, len(order), size)]


def test_every_example_once_and_like_lengths_together() -> None:
    found = batches(GroupedSampler(LENGTHS, 8, seed=0))
    assert sorted(index for batch in found for index in batch) == list(range(203))
    mixed = sum(len({LENGTHS[index] for index in batch}) > 1 for batch in found[:-1])
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
    found = batches(GroupedSampler(LENGTHS, 8, seed=0))[:-1]
    is_long = [LENGTHS[batch[0]] > 100 for batch in found]
    changes = sum(a != b for a, b in zip(is_long, is_long[1:], strict=False))
    assert changes >= 4


GROUPS = [i // 5 for i in range(203)]


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_examples_of_a_group_stand_together(lengths: list[int] | None) -> None:
    sampler = GroupedSampler(lengths, 8, seed=0, groups=GROUPS, together=4)
    found = batches(sampler)
    assert sorted(index for batch in found for index in batch) == list(range(203))
    groups = sum(len({GROUPS[index] for index in batch}) for batch in found[:-1]) / len(found[:-1])
    assert groups < 4.5  # alone it would be 7 or 8
    sampler.set_epoch(1)
    again = [GROUPS[index] for index in sampler]
    assert again != [GROUPS[index] for batch in found for index in batch]
    longest = max(len(list(own)) for _, own in itertools.groupby(again))
    assert longest <= 5


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
