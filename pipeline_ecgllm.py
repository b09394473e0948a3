"""Pipeline: question and ECGs in, answer and its probability out.

`pipeline(model=checkpoint, trust_remote_code=True)` gives it. Input: a question with `ecgs=`, or a mapping
{"question", "ecgs"}, or a conversation, or a list of them. Output: {"generated_text", "probability"}; with
`candidates=` the best of these answers, and the probability of each. Decoding is deterministic unless asked otherwise.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import Pipeline


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
        self.processor.check_model(self.model)

    def _sanitize_parameters(
        self,
        candidates: list[str] | None = None,
        max_new_tokens: int | None = None,
        generate_kwargs: dict[str, Any] | None = None,
        sampling_rate: float | None = None,
        leads: list[str] | None = None,
        nan_policy: str | None = None,
        drop_unknown_leads: bool | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise TypeError(f"Unknown arguments {sorted(unknown)}; generation settings go into generate_kwargs.")
        preprocess = {
            "sampling_rate": sampling_rate,
            "leads": leads,
            "nan_policy": nan_policy,
            "drop_unknown_leads": drop_unknown_leads,
            "candidates": candidates,
        }
        forward = dict(generate_kwargs or {})
        if max_new_tokens is not None:
            forward["max_new_tokens"] = max_new_tokens
        return (
            {name: value for name, value in preprocess.items() if value is not None},
            {"generate_kwargs": forward} if forward else {},
            {},
        )

    def __call__(self, inputs: Any, ecgs: Any = None, **kwargs: Any) -> Any:
        """Answer one question or a list of them.

        Args:
            inputs: a question (with `ecgs`: one ECG or a list of ECGs), a mapping {"question", "ecgs"}, a conversation
                (list of turns), or a list of mappings or conversations. An ECG is whatever the processor takes.
            candidates: answers to choose from. max_new_tokens, generate_kwargs: for `generate`.
            sampling_rate, leads, nan_policy, drop_unknown_leads: for ECGs, see `ECGFeatureExtractor`.
        Returns: a mapping, or a list of them: generated_text; probability, of the whole answer (the product over its
            tokens), or with candidates relative to these; candidates {answer: probability}.
        """
        if isinstance(inputs, str):
            inputs = {"question": inputs, "ecgs": [] if ecgs is None else ecgs}
        elif ecgs is not None:
            raise ValueError(
                "ecgs= goes with a single question (a string); a mapping or conversation holds its own ECGs."
            )
        if _is_conversation(inputs):
            inputs = {"conversation": inputs}
        elif isinstance(inputs, list):
            inputs = [{"conversation": item} if _is_conversation(item) else item for item in inputs]
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Mapping[str, Any], candidates: list[str] | None = None, **ecg_kwargs: Any) -> dict:
        if "conversation" in inputs:
            conversation = inputs["conversation"]
        elif "question" in inputs:
            conversation = self.processor.build_conversation(inputs["question"], inputs.get("ecgs", ()))
        else:
            raise ValueError(f"Found the keys {sorted(inputs)}; expected 'question' (and 'ecgs'), or 'conversation'.")
        prepare = self.processor.apply_chat_template
        if candidates is None:
            batch = prepare(conversation, tokenize=True, add_generation_prompt=True, **ecg_kwargs)
            return dict(batch)
        answered = [[*conversation, {"role": "assistant", "content": answer}] for answer in candidates]
        # The ECGs are the same in every row: prepared once, encoded once.
        first = prepare(answered[0], tokenize=True, return_labels=True, **ecg_kwargs)
        batch = dict(prepare(answered, tokenize=True, return_labels=True, **ecg_kwargs))
        return {name: first[name] if name in _ECG_NAMES else batch[name] for name in batch} | {
            "candidates": list(candidates)
        }

    def _forward(self, model_inputs: dict[str, Any], generate_kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
        candidates = model_inputs.pop("candidates", None)
        if candidates is not None:
            return {"candidates": candidates, "log_probabilities": self._score(model_inputs)}
        settings = {"do_sample": False, "num_beams": 1, "max_new_tokens": 64} | (generate_kwargs or {})
        output = self.model.generate(**model_inputs, **settings, return_dict_in_generate=True, output_logits=True)
        prompt = model_inputs["input_ids"].shape[1]
        answer = output.sequences[:, prompt:]
        log_probability = torch.zeros(answer.shape[0], device=answer.device)
        if settings["num_beams"] == 1:
            ended = torch.zeros_like(log_probability, dtype=torch.bool)
            for step, logits in enumerate(output.logits):
                token = answer[:, step]
                step_log = logits.float().log_softmax(dim=-1).gather(1, token[:, None])[:, 0]
                log_probability = log_probability + step_log.masked_fill(ended, 0.0)
                ended = ended | torch.isin(token, self._end_tokens(token.device))
        else:
            log_probability = torch.full_like(log_probability, float("nan"))
        return {"answer": answer, "log_probabilities": log_probability}

    def _end_tokens(self, device: torch.device) -> torch.Tensor:
        end = self.model.generation_config.eos_token_id
        end = [] if end is None else end if isinstance(end, list) else [end]
        return torch.tensor(end, device=device, dtype=torch.long)

    def _score(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-probability of each candidate's tokens, [candidates]."""
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        rows = labels.shape[0]
        if "ecg_values" in inputs:
            ecg_inputs = {name: inputs.pop(name) for name in _ECG_NAMES if name in inputs}
            values = ecg_inputs.pop("ecg_values")
            features = self.model.get_ecg_features(ecg_values=values, **ecg_inputs)
            embeds = features.last_hidden_state[None]
            inputs |= {name: value.expand(rows, *value.shape[1:]) for name, value in ecg_inputs.items()}
            inputs["ecg_embeds"] = embeds.expand(rows, *embeds.shape[1:])
        logits = self.model(**inputs).logits[:, :-1].float()
        target = labels[:, 1:]
        token_log = logits.log_softmax(dim=-1).gather(2, target.clamp(min=0)[..., None])[..., 0]
        return (token_log * (target != -100)).sum(dim=1)

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, Any]:
        log_probabilities = model_outputs["log_probabilities"]
        if "candidates" in model_outputs:
            probabilities = log_probabilities.softmax(dim=0).tolist()
            ranked = sorted(zip(model_outputs["candidates"], probabilities, strict=True), key=lambda pair: -pair[1])
            return {"generated_text": ranked[0][0], "probability": ranked[0][1], "candidates": dict(ranked)}
        text = self.processor.tokenizer.decode(model_outputs["answer"][0], skip_special_tokens=True).strip()
        return {"generated_text": text, "probability": float(log_probabilities[0].exp())}


_ECG_NAMES = ("ecg_values", "ecg_mask", "lead_mask", "ecg_lengths", "preprocessing_id")


def _is_conversation(inputs: Any) -> bool:
    return isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], Mapping) and "role" in inputs[0]


__all__ = ["ECGTextToTextPipeline"]
