"""Answers and how likely they are: one scorer for the pipeline, for training and for comparing models.

In: a model, its processor, questions as `ECGProcessor.encode_conversation` encodes them, and their ECGs, prepared or
encoded. Out: how likely each of some given answers is (`score_answers`), or what the model answers, and how likely
that is (`write_answers`). Decided here: the probability is that of the whole answer with its end token; ECGs are
encoded once for all answers to a question; logits are computed only at the positions of answers, if the model can.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from .processing_ecgllm import ECGProcessor

Row = Mapping[str, list[int]]
"""A conversation as `ECGProcessor.encode_conversation` encodes it."""


def encode_answers(
    processor: ECGProcessor,
    conversation: list[dict[str, Any]],
    ecg_lengths: Sequence[int],
    answers: Sequence[str],
    beginning: str | None = None,
) -> list[Row]:
    """A conversation followed by each of the answers. Only the answer has labels, not earlier turns.

    beginning: what further answers begin with; one row more, whose labels are these tokens alone. Its probability is
    that of all answers that begin so.
    """
    whole = [*answers] if beginning is None else [*answers, beginning, f"{beginning}: so"]
    rows = [
        processor.encode_conversation([*conversation, {"role": "assistant", "content": answer}], ecg_lengths)
        for answer in whole
    ]
    if beginning is not None:
        rows = [*rows[:-2], _common_labels(*rows[-2:])]
    if all(turn["role"] != "assistant" for turn in conversation):
        return rows
    prompt = processor.encode_conversation(conversation, ecg_lengths, add_generation_prompt=True)
    # The answer's first letters may be joined with the prompt's last ones in a token.
    start = max(len(prompt["input_ids"]) - 1, 0)
    return [row | {"labels": [-100] * start + row["labels"][start:]} for row in rows]


def _common_labels(row: Row, longer: Row) -> Row:
    """A row with the labels that it has in common with another: without its end, and without what a tokenizer joins
    with what follows."""
    pairs = zip(row["input_ids"], longer["input_ids"], strict=False)
    alike = next((place for place, (own, other) in enumerate(pairs) if own != other), len(row["input_ids"]))
    return {**row, "labels": row["labels"][:alike] + [-100] * (len(row["labels"]) - alike)}


@torch.no_grad()
def score_answers(
    model: PreTrainedModel,
    processor: ECGProcessor,
    questions: Sequence[Sequence[Row]],
    ecgs: Sequence[Sequence[Mapping[str, Any]]],
) -> torch.Tensor:
    """Log-probability of each answer, float [questions, answers].

    Args: questions: of each, what `encode_answers` gives of equally many answers. ecgs: of each, its ECGs.
    Raises: ECGError for more tokens than the model has positions for.
    """
    answers = len(questions[0])
    rows = [row for question in questions for row in question]
    inputs = dict(processor.collate(rows, [own for own in ecgs for _ in range(answers)]).to(model.device))
    processor.check_length(inputs["input_ids"].shape[1])
    if answers > 1 and "ecg_values" in inputs:
        ecg_inputs = {name: inputs[name][::answers] for name in _ECG_INPUTS}
        patches = model.get_ecg_features(**ecg_inputs).last_hidden_state
        mask = ecg_inputs["ecg_mask"]
        embeds = patches.new_zeros((*mask.shape, *patches.shape[1:]))
        embeds[mask] = patches
        del inputs["ecg_values"]
        inputs["ecg_embeds"] = embeds.repeat_interleave(answers, dim=0)
    labels = inputs.pop("labels")
    kept = answer_positions(labels) if takes_positions(model) else {"shift_labels": shifted(labels)}
    following = kept.pop("shift_labels")
    logits = model(**inputs, **kept).logits.float()
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), following, reduction="none")  # 0 at -100
    return -losses.sum(dim=1).reshape(-1, answers)


@torch.no_grad()
def write_answers(
    model: PreTrainedModel,
    processor: ECGProcessor,
    prompts: Sequence[Row],
    ecgs: Sequence[Sequence[Mapping[str, Any]]],
    **settings: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model answers: (tokens int [questions, answers, tokens], log-probabilities float [questions, answers]).

    Args: prompts: encoded with add_generation_prompt. ecgs: of each, its ECGs. settings: for `generate`; without
        generation_config the likeliest token is taken each time, 64 of them at most. With num_return_sequences there
        are several answers to a question.
    Raises: ECGError for prompts that leave the model no position for an answer.
    """
    inputs = processor.collate(prompts, ecgs, padding_side="left").to(model.device)
    written, likely = generate_scored(model, processor, inputs, **settings)
    return written.reshape(len(prompts), -1, written.shape[1]), likely.reshape(len(prompts), -1)


def generate_scored(
    model: PreTrainedModel, processor: ECGProcessor, inputs: Mapping[str, Any], **settings: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens int [answers, tokens], log-probabilities float [answers]) of what `generate` writes after prompts.

    Args: inputs: of `generate`, also with the cache of a prefix. settings, raises: as in `write_answers`.
    """
    tokens = inputs["input_ids"].shape[1]
    processor.check_length(tokens, of_answer=1)
    if "generation_config" not in settings:
        room = (processor.max_positions or math.inf) - tokens
        settings = {"do_sample": False, "num_beams": 1, "max_new_tokens": min(64, room)} | settings
    output = model.generate(**inputs, **settings, return_dict_in_generate=True, output_logits=True)
    written = output.sequences[:, tokens:]
    end = settings.get("eos_token_id", model.generation_config.eos_token_id)
    return written, written_log_probabilities(written, output.logits, end, output.get("beam_indices"))


def written_log_probabilities(
    written: torch.Tensor,
    logits: Sequence[torch.Tensor],
    end: int | Sequence[int] | None,
    beams: torch.Tensor | None = None,
) -> torch.Tensor:
    """Log-probability of each answer up to its end, as the model gives it: float [answers].

    Args: written: int [answers, tokens]. logits, end, beams: `logits`, `eos_token_id`, `beam_indices` of `generate`.
    """
    end = torch.tensor([] if end is None else end, dtype=torch.long, device=written.device).reshape(-1)
    total = torch.zeros(len(written), device=written.device)
    ended = torch.zeros(len(written), dtype=torch.bool, device=written.device)
    for step, scores in enumerate(logits[: written.shape[1]]):
        # With beams an answer comes from another row at every step, and from none (-1) once it has ended.
        rows = torch.arange(len(written), device=written.device) if beams is None else beams[:, step]
        token = written[:, step]
        token_log = scores.float()[rows.clamp(min=0)].log_softmax(dim=-1).gather(1, token[:, None])[:, 0]
        total = total + token_log.masked_fill(ended | (rows < 0), 0.0)
        ended = ended | torch.isin(token, end)
    return total


def shifted(labels: torch.Tensor) -> torch.Tensor:
    """What follows each position, int [batch, tokens] like the labels: -100 where nothing is learned."""
    return torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)


def answer_positions(labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The positions at which a batch needs logits, as arguments of the model's forward.

    Args: labels int [batch, tokens], -100 where nothing is learned.
    Returns: logits_to_keep int [kept], the positions whose next token is learned in any row; shift_labels int [batch,
        kept], what follows them. In a batch without labels the first position is kept.
    """
    following = labels[:, 1:]
    kept = (following != -100).any(dim=0).nonzero().flatten()
    if not len(kept):
        kept = kept.new_zeros(1)
    return {"logits_to_keep": kept, "shift_labels": following[:, kept].contiguous()}


def takes_positions(model: Any) -> bool:
    """Whether the language model computes logits of chosen positions only; a few families compute all or nothing.

    False for models without a language model behind an ECG encoder.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # of an adapter (PEFT)
    language_model = getattr(base, "language_model", None)
    return language_model is not None and "logits_to_keep" in inspect.signature(language_model.forward).parameters


_ECG_INPUTS = ("ecg_values", "ecg_mask", "lead_mask", "ecg_lengths", "preprocessing_id")
