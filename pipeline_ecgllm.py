"""Pipeline: question and ECGs in, answer and its probability out.

`pipeline(model=checkpoint, trust_remote_code=True)` gives it. Input: a question with `ecgs=`, or a mapping
{"question", "ecgs"}, or a conversation, or a list of them. Output: {"generated_text", "probability"}; with
`candidates=` the best of these answers, and the probability of each. Decoding is deterministic unless asked otherwise.
"""

import math
from collections.abc import Mapping, Sequence, Sized
from types import GeneratorType
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from .errors_ecgllm import ECGError


class ECGTextToTextPipeline(Pipeline):
    """Ask questions about ECGs.

    Examples:
        pipe("Is there atrial fibrillation?", ecgs="patient.hea")
        pipe({"question": "What is new in the second ECG?", "ecgs": [before, after]})
        pipe("Is there atrial fibrillation?", ecgs=record, candidates=["yes", "no"])
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_video_processor = False
    _pipeline_calls_generate = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ECGError("The pipeline has no processor; pass processor=, or the folder or Hub id of a checkpoint.")
        self.processor.check_model(self.model)
        if self.processor.max_positions is None:  # saved before processors knew
            self.processor.max_positions = self.model.config.max_positions

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Save a folder that `pipeline` loads again; arguments as in transformers, which leaves the processor out."""
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)

    def _sanitize_parameters(
        self,
        candidates: Sequence[str] | None = None,
        max_new_tokens: int | None = None,
        generate_kwargs: dict[str, Any] | None = None,
        sampling_rate: float | None = None,
        leads: list[str] | None = None,
        nan_policy: str | None = None,
        drop_unknown_leads: bool | None = None,
        require_heart: bool | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise TypeError(f"Unknown arguments {sorted(unknown)}; generation settings go into generate_kwargs.")
        preprocess = {
            "sampling_rate": sampling_rate,
            "leads": leads,
            "nan_policy": nan_policy,
            "drop_unknown_leads": drop_unknown_leads,
            "require_heart": require_heart,
        }
        forward: dict[str, Any] = {} if candidates is None else {"candidates": _checked_candidates(candidates)}
        generation = dict(generate_kwargs or {})
        if max_new_tokens is not None:
            generation["max_new_tokens"] = max_new_tokens
        if generation:
            forward["generate_kwargs"] = generation
        return {name: value for name, value in preprocess.items() if value is not None}, forward, {}

    def __call__(self, inputs: Any, ecgs: Any = None, **kwargs: Any) -> Any:
        """Answer one question or many.

        Args:
            inputs: a question with `ecgs`: one ECG or a list of ECGs, [] to ask without one; or a mapping {"question",
                "ecgs"}; or a conversation (list of turns); or a list, generator or data set of mappings or
                conversations. An ECG is whatever the processor takes.
            candidates: answers to choose from. max_new_tokens, generate_kwargs: for `generate`. batch_size: inputs per
                call of the model.
            sampling_rate, leads, nan_policy, drop_unknown_leads: for ECGs, see `ECGFeatureExtractor`.
            require_heart: False to ask about an ECG in which no heart beats, which is refused otherwise.
        Returns: a mapping (with num_return_sequences above 1 a list of them), or one for each input, as a list for a
            list and else as an iterator: generated_text; probability, of the whole answer (the product over its
            tokens), or with candidates relative to these; candidates {answer: probability}.
        Raises: ValueError for other keys, for a question without ECGs, and (ECGInputError) for an ECG that is flat or
            noise alone, as asystole and ventricular fibrillation seem to be, too.
        """
        if isinstance(inputs, str):
            inputs = {"question": inputs, "ecgs": ecgs}
        elif ecgs is not None:
            raise ECGError(
                "ecgs= goes with a single question (a string); a mapping or conversation holds its own ECGs."
            )
        if _is_conversation(inputs):
            inputs = {"conversation": inputs}
        elif isinstance(inputs, list | tuple):
            if not inputs:
                return []
            # Wrapped, as transformers takes a list of turns for something of its own.
            inputs = [{"conversation": item} if _is_conversation(item) else item for item in inputs]
        elif not isinstance(inputs, Mapping | torch.utils.data.Dataset | GeneratorType):
            inputs = (item for item in inputs)  # a datasets.Dataset, an iterator
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any, require_heart: bool = True, **ecg_kwargs: Any) -> dict[str, list[Any]]:
        """Prepare the ECGs of one input: a batch of one conversation, with prepared ECGs in it."""
        conversation = self._as_conversation(inputs)
        ecgs = [part["ecg"] for turn in conversation for part in _ecg_parts(turn)]
        if not ecgs:
            return {"conversations": [conversation]}
        extractor = self.processor.feature_extractor
        features = extractor(ecgs, return_tensors="np", require_heart=require_heart, **ecg_kwargs)
        prepared = (
            {"ecg_values": values[:, :length], "lead_mask": lead_mask, "preprocessing_id": extractor.preprocessing_id}
            for values, lead_mask, length in zip(*(features[name] for name in _PREPARED_NAMES), strict=True)
        )
        turns = []
        for turn in conversation:
            if _ecg_parts(turn):
                content = [
                    {"type": "ecg", "ecg": next(prepared)} if _is_ecg_part(part) else part for part in turn["content"]
                ]
                turn = {**turn, "content": content}
            turns.append(turn)
        return {"conversations": [turns]}

    def _as_conversation(self, inputs: Any) -> list[dict[str, Any]]:
        inputs = getattr(inputs, "messages", inputs)  # what transformers makes of the conversations of a generator
        if _is_conversation(inputs):
            return _asking(inputs)
        if not isinstance(inputs, Mapping):
            raise ECGError(
                f"Found a {type(inputs).__name__} as input; expected a mapping with 'question' and 'ecgs', or a "
                "conversation (list of turns)."
            )
        if set(inputs) == {"conversation"}:
            return _asking(inputs["conversation"])
        if not {"question"} <= set(inputs) <= {"question", "ecgs"}:
            raise ECGError(
                f"Found the keys {sorted(inputs)}; expected 'question' and 'ecgs', or 'conversation', and no others."
            )
        if inputs.get("ecgs") is None:
            raise ECGError(
                f"The question {inputs['question']!r} comes without an ECG; pass ecgs=, or ecgs=[] to ask without one."
            )
        return self.processor.build_conversation(inputs["question"], inputs["ecgs"])

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> PipelineIterator:
        """As in transformers, but conversations are put together here and padded by the processor in `_forward`."""
        dataset = (PipelineDataset if isinstance(inputs, Sized) else PipelineIterator)(
            inputs, self.preprocess, preprocess_params
        )
        loader = DataLoader(dataset, num_workers=num_workers, batch_size=batch_size, collate_fn=_join)
        answers = PipelineIterator(loader, self.forward, forward_params, loader_batch_size=batch_size)
        return PipelineIterator(answers, self.postprocess, postprocess_params)

    def _forward(
        self,
        model_inputs: dict[str, list[Any]],
        generate_kwargs: dict[str, Any] | None = None,
        candidates: list[str] | None = None,
    ) -> dict[str, Any]:
        """Answer a batch: log_probabilities [batch, answers]; answers [batch, answers, tokens], or candidates."""
        conversations = model_inputs["conversations"]
        if candidates is not None:
            scores = torch.stack([self._score(conversation, candidates) for conversation in conversations])
            return {"log_probabilities": scores, "candidates": [candidates] * len(conversations)}
        inputs = self.processor.apply_chat_template(conversations, tokenize=True, add_generation_prompt=True)
        tokens = inputs["input_ids"].shape[1]
        self.processor.check_length(tokens, of_answer=1)
        settings = dict(generate_kwargs or {})
        if "generation_config" not in settings:
            positions = self.processor.max_positions or math.inf
            settings = {"do_sample": False, "num_beams": 1, "max_new_tokens": min(64, positions - tokens)} | settings
        output = self.model.generate(
            **inputs.to(self.model.device), **settings, return_dict_in_generate=True, output_logits=True
        )
        answers = output.sequences[:, inputs["input_ids"].shape[1] :]
        log_probabilities = self._log_probabilities(answers, output, settings)
        rows = len(conversations)
        return {
            "log_probabilities": log_probabilities.reshape(rows, -1),
            "answers": answers.reshape(rows, -1, answers.shape[1]),
        }

    def _log_probabilities(self, answers: torch.Tensor, output: Any, settings: dict[str, Any]) -> torch.Tensor:
        """Log-probability of each answer [answers, tokens] up to its end, as the model gives it: [answers]."""
        end = settings.get("eos_token_id", self.model.generation_config.eos_token_id)
        end = torch.tensor([] if end is None else end, dtype=torch.long, device=answers.device).reshape(-1)
        total = torch.zeros(len(answers), device=answers.device)
        ended = torch.zeros(len(answers), dtype=torch.bool, device=answers.device)
        beams = output.get("beam_indices")
        for step, logits in enumerate(output.logits[: answers.shape[1]]):
            # With beams an answer comes from another row at every step, and from none (-1) once it has ended.
            rows = torch.arange(len(answers), device=answers.device) if beams is None else beams[:, step]
            token = answers[:, step]
            token_log = logits.float()[rows.clamp(min=0)].log_softmax(dim=-1).gather(1, token[:, None])[:, 0]
            total = total + token_log.masked_fill(ended | (rows < 0), 0.0)
            ended = ended | torch.isin(token, end)
        return total

    def _score(self, conversation: list[dict[str, Any]], candidates: list[str]) -> torch.Tensor:
        """Log-probability of each candidate's tokens, [candidates]. The ECGs are encoded once for all of them."""
        answered = [[*conversation, {"role": "assistant", "content": answer}] for answer in candidates]
        prepare = self.processor.apply_chat_template
        inputs = dict(prepare(answered, tokenize=True, return_labels=True).to(self.model.device))
        # Only what is said now counts, not what the assistant said in earlier turns.
        labels = inputs.pop("labels")
        earlier = prepare(conversation, tokenize=True, add_generation_prompt=True)["input_ids"].shape[1]
        labels[:, : max(earlier - 1, 0)] = -100
        if "ecg_values" in inputs:
            ecg_inputs = {name: inputs.pop(name) for name in _ECG_NAMES}
            features = self.model.get_ecg_features(**{name: value[:1] for name, value in ecg_inputs.items()})
            del ecg_inputs["ecg_values"]
            embeds = features.last_hidden_state[None]
            inputs |= ecg_inputs | {"ecg_embeds": embeds.expand(len(candidates), *embeds.shape[1:])}
        logits = self.model(**inputs).logits[:, :-1].float()
        target = labels[:, 1:]
        token_log = logits.log_softmax(dim=-1).gather(2, target.clamp(min=0)[..., None])[..., 0]
        return (token_log * (target != -100)).sum(dim=1)

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, Any] | list[dict[str, Any]]:
        log_probabilities = model_outputs["log_probabilities"][0]
        if "candidates" in model_outputs:
            candidates = _only(model_outputs["candidates"])
            probabilities = log_probabilities.softmax(dim=0).tolist()
            ranked = sorted(zip(candidates, probabilities, strict=True), key=lambda pair: -pair[1])
            return {"generated_text": ranked[0][0], "probability": ranked[0][1], "candidates": dict(ranked)}
        texts = self.processor.batch_decode(model_outputs["answers"][0], skip_special_tokens=True)
        answers = [
            {"generated_text": text.strip(), "probability": probability}
            for text, probability in zip(texts, log_probabilities.double().exp().tolist(), strict=True)
        ]
        return answers[0] if len(answers) == 1 else answers


_PREPARED_NAMES = ("ecg_values", "lead_mask", "ecg_lengths")
_ECG_NAMES = ("ecg_values", "ecg_mask", "lead_mask", "ecg_lengths", "preprocessing_id")


def _checked_candidates(candidates: Sequence[str]) -> list[str]:
    if isinstance(candidates, str) or not candidates or any(not isinstance(answer, str) for answer in candidates):
        raise ECGError(f"candidates is {candidates!r}; expected a list of one or more answers.")
    if len(set(candidates)) < len(candidates):
        raise ECGError(f"candidates are {list(candidates)}; expected different answers.")
    return list(candidates)


def _is_ecg_part(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("ecg") is not None


def _ecg_parts(turn: Any) -> list[Mapping[str, Any]]:
    content = turn.get("content") if isinstance(turn, Mapping) else None
    return [part for part in content if _is_ecg_part(part)] if isinstance(content, list | tuple) else []


def _asking(conversation: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation, if a user says something in it."""
    said = [turn.get("content") for turn in conversation if isinstance(turn, Mapping) and turn.get("role") == "user"]
    texts = [
        part.get("text") if isinstance(part, Mapping) else part
        for content in said
        for part in (content if isinstance(content, list | tuple) else [content])
    ]
    if not any(isinstance(text, str) and text.strip() for text in texts):
        raise ECGError("The conversation holds no question: no user's turn in it has words.")
    return conversation


def _join(items: list[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    return {"conversations": [conversation for item in items for conversation in item["conversations"]]}


def _only(candidates: list[Any]) -> list[str]:
    # transformers takes a batch apart, and leaves a list of one as it is only where the batch was one.
    return candidates[0] if isinstance(candidates[0], list) else candidates


def _is_conversation(inputs: Any) -> bool:
    return isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], Mapping) and "role" in inputs[0]


__all__ = ["ECGTextToTextPipeline"]
