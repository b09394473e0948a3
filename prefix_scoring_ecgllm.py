"""Many questions about ECGs, answered together: what they have in common is computed once (`AnswerScorer`).

In: a model, its processor, questions, their ECGs and, of a closed set, the answers. Out: how likely each answer is, as
`score_answers` gives it, or what the model writes. Decided here: an ECG is encoded once; the tokens that all questions
about the same ECGs begin with are read once, and so are a question's before its answers (`prefix_cache_ecgllm`). Only
rows of equal length are read on together: no padding ever enters a cache, and what a language model does with
positions, windows and padding stays its own business. Where it cannot be read on exactly, every answer is scored with
its whole prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from .configuration_ecgllm import count_tokens
from .errors_ecgllm import ECGError
from .language_model_ecgllm import named_cache
from .measured_figures_ecgllm import measured_text
from .prefix_cache_ecgllm import continues_exactly, of_rows, read
from .processing_ecgllm import ECGProcessor
from .scoring_ecgllm import Row, encode_answers, generate_scored, score_answers

ECGs = Sequence[Mapping[str, Any]]
"""The ECGs of a question: prepared (`ECGFeatureExtractor.prepare`) or encoded (`AnswerScorer.encode`), with "measured"
what was measured on them (`measured_figures_ecgllm`)."""

_REMEMBERED = 100_000  # questions whose tokens are kept
# Tokens, of all answers with their prompts, that one call of the model reads sooner than two calls their parts.
_ONE_CALL = 64
# Settings of `generate` under which a cache need not hold one row for each question.
_ROWS_OR_CACHE = {"generation_config", "num_beams", "num_return_sequences", "use_cache", "cache_implementation"}
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Asked:
    """A question in tokens.

    tokens: up to its answer. answers: of each, the tokens after these up to the last that counts. labels: the same
    with -100 where a token does not count. rows: the whole, as `encode_answers` gives it. ecgs: the numbers of its
    ECGs. prefix: how many tokens it shares with the others about its ECGs; 0 for none.
    """

    tokens: list[int]
    answers: list[list[int]]
    labels: list[list[int]]
    rows: Sequence[Row]
    ecgs: tuple[int, ...] = ()
    prefix: int = 0

    @property
    def length(self) -> int:
        return max(len(row["input_ids"]) for row in self.rows)


class AnswerScorer:
    """Answers many questions about ECGs, each ECG encoded once and what prompts have in common computed once.

    Args:
        model: an `ECGLLMForConditionalGeneration`, also with adapters (PEFT); it is asked in evaluation mode.
        processor: its processor. batch_size: rows per call of the model.

    Whether the model reads on from its cache exactly is tried with the longest question of a call, where it is longer
    than those before. `reads_on` says what was found: None before the first trial, False where every answer is scored
    with its whole prompt.
    """

    def __init__(self, model: PreTrainedModel, processor: ECGProcessor, batch_size: int = 64):
        if batch_size < 1:
            raise ECGError(f"batch_size is {batch_size}; expected at least 1.")
        self.model, self.processor, self.batch_size = model, processor, batch_size
        self.reads_on: bool | None = None
        self._tried = 0  # tokens of the longest question that was tried
        self._tokens: dict[tuple[Any, ...], _Asked] = {}

    def encode(self, ecgs: ECGs) -> list[Mapping[str, Any]]:
        """ECGs as `score` and `write` take them without running the encoder again.

        Args: ecgs: what `ECGFeatureExtractor.prepare` takes or gives; encoded ones are returned as they are.
        Returns: mappings {"ecg_embeds" float32 [patches, encoder size], "ecg_length" samples, "preprocessing_id"}, and
            "measured" where it was given.
        Raises: ECGInputError.
        """
        extractor = self.processor.feature_extractor
        encoded = [ecg if isinstance(ecg, Mapping) and "ecg_embeds" in ecg else None for ecg in ecgs]
        numbers = [number for number, ecg in enumerate(encoded) if ecg is None]
        prepared = extractor.prepare([ecgs[number] for number in numbers])
        left = sorted(zip(numbers, prepared, strict=True), key=lambda one: one[1]["ecg_values"].shape[1])
        with _evaluating(self.model):
            for start in range(0, len(left), self.batch_size):
                batch = left[start : start + self.batch_size]
                features = extractor([ecg for _, ecg in batch], return_tensors="pt").to(self.model.device)
                output = self.model.get_ecg_features(**{name: value[:, None] for name, value in features.items()})
                patches = output.last_hidden_state.float().cpu().numpy()
                for (number, ecg), own in zip(batch, patches, strict=True):
                    length = ecg["ecg_values"].shape[1]
                    count = count_tokens(length, self.model.config.encoder_config.patch_size)
                    own = {"ecg_embeds": own[:count].copy(), "ecg_length": length}
                    encoded[number] = own | {"preprocessing_id": extractor.preprocessing_id}
        for number, ecg in enumerate(ecgs):
            if isinstance(ecg, Mapping) and ecg.get("measured") is not None and "measured" not in encoded[number]:
                encoded[number] = {**encoded[number], "measured": ecg["measured"]}
        return encoded

    def score(
        self,
        questions: Sequence[str],
        ecgs: Sequence[ECGs],
        candidates: Sequence[Sequence[str]],
        beginning: str | None = None,
    ) -> list[torch.Tensor]:
        """Log-probabilities of possible answers: for each question float [its candidates], on the CPU.

        That of a candidate is of the whole answer with its end token.

        Args: questions: what is asked. ecgs: for each its ECGs, [] for none; one that several questions are about, as
            the same object, is encoded once. candidates: for each its possible answers, one or more. beginning: what
            further answers begin with, such as refusals (`ECGProcessor.refusal`): the last log-probability of each
            question is that of all of these.
        Raises: ECGError for lists of unequal length, a question without candidates, and more tokens than the model has
            positions for.
        """
        _check_numbers(questions=questions, ecgs=ecgs, candidates=candidates)
        for question, own in zip(questions, candidates, strict=True):
            if isinstance(own, str) or not len(own):
                raise ECGError(f"The candidates of {question!r} are {own!r}; expected a list of one or more answers.")
        own, encoded = self._different(ecgs)
        asked = [
            replace(
                self._in_tokens(question, [encoded[one] for one in numbers], tuple(answers), beginning), ecgs=numbers
            )
            for question, numbers, answers in zip(questions, own, candidates, strict=True)
        ]
        return self._scores(asked, encoded)

    def score_rows(self, questions: Sequence[Sequence[Row]], ecgs: Sequence[ECGs]) -> list[torch.Tensor]:
        """`score` of conversations with their possible answers, as `encode_answers` gives them."""
        _check_numbers(questions=questions, ecgs=ecgs)
        own, encoded = self._different(ecgs)
        asked = [replace(_split(rows), ecgs=numbers) for rows, numbers in zip(questions, own, strict=True)]
        return self._scores(asked, encoded)

    def write(self, questions: Sequence[str], ecgs: Sequence[ECGs], **settings: Any) -> tuple[list[str], torch.Tensor]:
        """What the model answers: (texts, log-probabilities float [questions]), the likeliest token each time.

        Args: questions, ecgs: as in `score`. settings: for `generate`, as in `write_answers`.
        Raises: as `score`; ECGError for settings that give several answers to a question.
        """
        _check_numbers(questions=questions, ecgs=ecgs)
        own, encoded = self._different(ecgs)
        asked = [
            replace(self._in_tokens(question, [encoded[one] for one in numbers]), ecgs=numbers)
            for question, numbers in zip(questions, own, strict=True)
        ]
        texts, found = [""] * len(asked), torch.empty(len(asked))
        with _evaluating(self.model):
            if not _ROWS_OR_CACHE & settings.keys():
                asked = self._sharing(asked, encoded)
            for rows, cache in self._runs(asked, encoded):
                own = [asked[row] for row in rows]
                inputs = self._inputs(own, encoded, with_ecgs=cache is None)
                if cache is not None:
                    inputs |= named_cache(self.model.language_model, past_key_values=cache)
                tokens, likely = generate_scored(self.model, self.processor, inputs, **settings)
                if len(tokens) != len(rows):
                    raise ECGError(
                        f"{len(tokens)} answers were written to {len(rows)} questions; expected one to each."
                    )
                found[rows] = likely.float().cpu()
                for row, text in zip(rows, self.processor.batch_decode(tokens, skip_special_tokens=True), strict=True):
                    texts[row] = text.strip()
        return texts, found

    def _different(self, ecgs: Sequence[ECGs]) -> tuple[list[tuple[int, ...]], list[Mapping[str, Any]]]:
        """(of each question the numbers of its ECGs, the different ECGs of all questions, encoded)."""
        ecgs = [list(own) for own in ecgs]  # held, so that an id is of one object
        different = {id(ecg): ecg for own in ecgs for ecg in own}
        number = {key: place for place, key in enumerate(different)}
        return [tuple(number[id(ecg)] for ecg in own) for own in ecgs], self.encode(list(different.values()))

    def _in_tokens(
        self, question: str, ecgs: ECGs, answers: tuple[str, ...] | None = None, beginning: str | None = None
    ) -> _Asked:
        lengths, measured = tuple(ecg["ecg_length"] for ecg in ecgs), [ecg.get("measured") for ecg in ecgs]
        said = tuple(None if figures is None else measured_text(figures) for figures in measured)
        key = question, lengths, said, answers, beginning
        if key not in self._tokens:
            if len(self._tokens) >= _REMEMBERED:
                self._tokens.clear()
            stated = {"measured": measured} if any(said) else {}
            conversation = self.processor.build_conversation(question, [{}] * len(ecgs), **stated)
            if answers is None:
                row = self.processor.encode_conversation(conversation, lengths, add_generation_prompt=True)
                self._tokens[key] = _Asked(row["input_ids"], [], [], [row])
            else:
                rows = encode_answers(self.processor, conversation, lengths, answers, beginning)
                self._tokens[key] = _split(rows)
        return self._tokens[key]

    def _scores(self, asked: list[_Asked], encoded: Sequence[Mapping[str, Any]]) -> list[torch.Tensor]:
        self.processor.check_length(max((one.length for one in asked), default=0))
        scores = [torch.empty(len(one.answers)) for one in asked]
        with _evaluating(self.model):
            if sum(one.length * len(one.answers) for one in asked) > _ONE_CALL:
                asked = self._sharing(asked, encoded)
                if self.reads_on:
                    for rows, cache in self._runs(asked, encoded):
                        self._score_run([asked[row] for row in rows], cache, encoded, [scores[row] for row in rows])
                    return scores
            self._score_plainly(asked, encoded, scores)
        return scores

    def _sharing(self, asked: list[_Asked], encoded: Sequence[Mapping[str, Any]]) -> list[_Asked]:
        """The questions with the prefixes that they share, if the model reads on: tried with the longest of them."""
        if not asked or self.reads_on is False:
            return asked
        sharing = _with_prefixes(asked, self.processor.ecg_token_id)
        if not any(one.prefix or one.answers for one in sharing):
            return asked  # nothing to read on from
        longest = max(sharing, key=lambda one: one.length)
        if longest.length > self._tried:
            answer = max(longest.answers, key=len, default=[])[:-1]
            whole = self._inputs([replace(longest, tokens=longest.tokens + answer)], encoded)
            ends = {longest.prefix or len(longest.tokens) - 1, len(longest.tokens)} - {0, whole["input_ids"].shape[1]}
            self.reads_on = continues_exactly(self.model, whole, sorted(ends))
            self._tried = longest.length
        return sharing if self.reads_on else asked

    def _inputs(
        self, asked: Sequence[_Asked], encoded: Sequence[Mapping[str, Any]], with_ecgs: bool = True
    ) -> dict[str, Any]:
        """A batch of whole prompts, with the ECGs or without them."""
        rows = [{"input_ids": one.tokens} for one in asked]
        if with_ecgs:
            ecgs = [[encoded[number] for number in one.ecgs] for one in asked]
            return dict(self.processor.collate(rows, ecgs).to(self.model.device))
        ids = torch.tensor([row["input_ids"] for row in rows], device=self.model.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def _runs(
        self, asked: Sequence[_Asked], encoded: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[list[int], Cache | None]]:
        """All questions in batches of equally long ones that share equally much: (which, the cache of what they
        share, a row for each; None where that is nothing)."""
        sharing: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
        alone = []
        for row, one in enumerate(asked):
            if one.prefix:
                sharing[one.prefix, one.ecgs].append(row)
            else:
                alone.append(row)
        for rows in _alike(alone, lambda row: len(asked[row].tokens), self.batch_size):
            yield rows, None
        for keys in _alike(sharing, lambda key: key[0], self.batch_size):
            firsts = [asked[sharing[key][0]] for key in keys]
            prefixes = [replace(one, tokens=one.tokens[: one.prefix]) for one in firsts]
            _, cache = read(self.model, self._inputs(prefixes, encoded))
            place = {row: number for number, key in enumerate(keys) for row in sharing[key]}
            for rows in _alike(place, lambda row: len(asked[row].tokens), self.batch_size):
                yield rows, of_rows(cache, [place[row] for row in rows])

    def _score_run(
        self,
        asked: Sequence[_Asked],
        cache: Cache | None,
        encoded: Sequence[Mapping[str, Any]],
        scores: Sequence[torch.Tensor],
    ) -> None:
        """Score the answers to a batch of `_runs`, in place."""
        inputs = self._inputs(asked, encoded, with_ecgs=cache is None)
        if cache is not None:
            inputs = {"input_ids": inputs["input_ids"][:, asked[0].prefix :]}
        logits, cache = read(self.model, inputs, cache)
        places = [(row, answer) for row, one in enumerate(asked) for answer in range(len(one.answers))]
        for start in range(0, len(places), self.batch_size):
            batch = places[start : start + self.batch_size]
            width = max(len(asked[row].answers[answer]) for row, answer in batch)
            ids, labels = (
                torch.tensor([own + [fill] * (width - len(own)) for own in rows], device=self.model.device)
                for rows, fill in (
                    ([asked[row].answers[answer] for row, answer in batch], self.processor.tokenizer.pad_token_id),
                    ([asked[row].labels[answer] for row, answer in batch], -100),
                )
            )
            rows = [row for row, _ in batch]
            following = logits[rows]
            if width > 1:
                # What is padded comes last, and is read by nothing that counts.
                after, _ = read(self.model, {"input_ids": ids[:, :-1]}, of_rows(cache, rows), every_token=True)
                following = torch.cat([following, after], dim=1)
            losses = torch.nn.functional.cross_entropy(following.float().transpose(1, 2), labels, reduction="none")
            for (row, answer), loss in zip(batch, losses.sum(dim=1).tolist(), strict=True):
                scores[row][answer] = -loss

    def _score_plainly(
        self, asked: Sequence[_Asked], encoded: Sequence[Mapping[str, Any]], scores: Sequence[torch.Tensor]
    ) -> None:
        """Score every answer with its whole prompt, in place."""
        for number in sorted({len(one.rows) for one in asked}):
            rows = sorted(
                (row for row, one in enumerate(asked) if len(one.rows) == number), key=lambda row: asked[row].length
            )
            size = max(1, self.batch_size // number)
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                ecgs = [[encoded[each] for each in asked[row].ecgs] for row in batch]
                found = score_answers(self.model, self.processor, [asked[row].rows for row in batch], ecgs).cpu()
                for row, own in zip(batch, found, strict=True):
                    scores[row].copy_(own)


def _check_numbers(**given: Sequence[Any]) -> None:
    if len(set(map(len, given.values()))) > 1:
        found = ", ".join(f"{len(values)} {name}" for name, values in given.items())
        raise ECGError(f"Found {found}; expected as many of each.")


def _split(rows: Sequence[Row]) -> _Asked:
    """What all answers to a question come after, and each of them (`encode_answers`)."""
    ends = [[place for place, label in enumerate(row["labels"]) if label != -100] for row in rows]
    start = min(_common([row["input_ids"] for row in rows]), *(counts[0] for counts in ends if counts))
    answers = [
        row["input_ids"][start : counts[-1] + 1] if counts else [] for row, counts in zip(rows, ends, strict=True)
    ]
    labels = [row["labels"][start : start + len(own)] for row, own in zip(rows, answers, strict=True)]
    return _Asked(rows[0]["input_ids"][:start], answers, labels, rows)


def _with_prefixes(asked: Sequence[_Asked], placeholder: int) -> list[_Asked]:
    """The questions with what those about the same ECGs begin with: the tokens up to their last ECG's end, and as many
    after it as any two questions of the call share, so that the rest of equally long questions is equally long."""
    groups: dict[tuple[int, ...], list[_Asked]] = defaultdict(list)
    for one in asked:
        groups[one.ecgs].append(one)
    shared: dict[tuple[int, ...], int] = {}
    after = []
    for ecgs, own in groups.items():
        if len(own) > 1:
            tokens = own[0].tokens
            end = len(tokens) - tokens[::-1].index(placeholder) if ecgs else 0
            common = min(_common([one.tokens for one in own]), min(len(one.tokens) for one in own) - 1)
            if common >= end:
                shared[ecgs] = end
                after.append(common - end)
    return [replace(one, prefix=shared[one.ecgs] + min(after)) if one.ecgs in shared else one for one in asked]


def _common(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all of them begin with."""
    first, last = min(rows), max(rows)
    return next(
        (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )


def _alike(items: Iterable[_T], key: Callable[[_T], int], size: int) -> Iterator[list[_T]]:
    """Items of equal key together, `size` at most."""
    for _, own in groupby(sorted(items, key=key), key):
        own = list(own)
        for start in range(0, len(own), size):
            yield own[start : start + size]


@contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Without gradients and dropout."""
    training = model.training
    if training:  # else left alone: to go through all modules takes a fifth of the time of one question
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if training:
            model.train()


__all__ = ["AnswerScorer"]
