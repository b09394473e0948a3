"""Pipeline: question and ECGs in, answer and its probability out.

`pipeline(model=checkpoint, trust_remote_code=True)` gives it. Input: a question with `ecgs=`, or a mapping
{"question", "ecgs"}, with "measured" where the model reads that, or a conversation, or many of them; or many ECGs with
one `question=`. Output: {"generated_text", "probability"}; with `candidates=` the best of these answers, and the
probability of each. Decoding is deterministic unless asked otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import GeneratorType
from typing import Any

import torch
from transformers.utils import logging

from .answer_calibration_ecgllm import fits
from .conversation_ecgllm import ecg_prompt, flatten_content
from .errors_ecgllm import ECGError
from .pipeline_base_ecgllm import ECG_SETTINGS, ECGPipeline, one_or_many
from .prefix_scoring_ecgllm import AnswerScorer
from .scoring_ecgllm import encode_answers, write_answers

logger = logging.get_logger(__name__)


class ECGTextToTextPipeline(ECGPipeline):
    """Ask questions about ECGs.

    Examples:
        pipe("Is there atrial fibrillation?", ecgs="patient.hea")
        pipe({"question": "What is new in the second ECG?", "ecgs": [before, after]})
        pipe("Is there atrial fibrillation?", ecgs=record, candidates=["yes", "no"])
        pipe("Is there first degree av block?", ecgs=record, measured={"pr": 230, "heart_rate": 64})
        pipe(KeyDataset(rows, "path"), question="Is there atrial fibrillation?", batch_size=8)  # an iterator
    """

    _load_processor = True
    _load_feature_extractor = False
    _pipeline_calls_generate = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ECGError("The pipeline has no processor; pass processor=, or the folder or Hub id of a checkpoint.")
        self.processor.check_model(self.model)
        if self.processor.max_positions is None:  # saved before processors knew
            self.processor.max_positions = self.model.config.max_positions
        if self.processor.calibration is not None and not fits(self.processor.calibration, self.model):
            logger.warning("calibration.json beside this checkpoint was fitted to other weights; it is not used.")
            self.processor.calibration = None
        self._scorer = AnswerScorer(self.model, self.processor)

    def _sanitize_parameters(
        self,
        question: str | None = None,
        candidates: Sequence[str] | None = None,
        max_new_tokens: int | None = None,
        generate_kwargs: dict[str, Any] | None = None,
        streamer: Any = None,
        prevalence: float | None = None,
        **ecg_settings: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown := sorted(set(ecg_settings) - set(ECG_SETTINGS)):
            raise TypeError(f"Unknown arguments {unknown}; generation settings go into generate_kwargs.")
        candidates = None if candidates is None else _checked_candidates(candidates)
        generation = dict(generate_kwargs or {})
        if max_new_tokens is not None:
            generation["max_new_tokens"] = max_new_tokens
        if streamer is not None:
            if candidates is not None:
                raise ECGError("streamer is for written answers, and candidates are only compared; leave one out.")
            generation["streamer"] = streamer
        preprocess = {"question": question, "candidates": candidates, **ecg_settings}
        forward = {"candidates": candidates, "generate_kwargs": generation or None}
        if prevalence is not None and not (isinstance(prevalence, int | float) and 0 < prevalence < 1):
            raise ECGError(f"prevalence is {prevalence}; expected a share between 0 and 1.")
        every = (preprocess, forward, {"prevalence": prevalence})
        return tuple({name: value for name, value in each.items() if value is not None} for each in every)

    def __call__(self, inputs: Any, ecgs: Any = None, measured: Any = None, **kwargs: Any) -> Any:
        """Answer one question or many.

        Args:
            inputs: a question with `ecgs`: one ECG or a list of ECGs, [] to ask without one; or a mapping {"question",
                "ecgs"}; or a conversation (list of turns); or a list, generator or data set of mappings or
                conversations. An ECG is whatever the processor takes.
            measured: of a single question, what was measured on its ECG, or on each (`measured_figures_ecgllm`); for
                a model that was trained so (`processor.reads_measured`). A mapping has it as "measured".
            question: with it, inputs are ECGs: one, or a list, generator, data set or column of them, each of which it
                is asked about by itself (an item that is a list: about these together).
            candidates: answers to choose from. max_new_tokens, generate_kwargs: for `generate`. streamer: gets the
                tokens of a single answer as they are written, such as transformers' `TextIteratorStreamer`.
                batch_size: inputs per call of the model.
            prevalence: of the finding that is asked about, among such patients; None: as calibrated.
            sampling_rate, leads, nan_policy, drop_unknown_leads: for ECGs, see `ECGFeatureExtractor`.
            require_heart: False to ask about an ECG in which no heart beats, which is refused otherwise.
        Returns: a mapping (with num_return_sequences above 1 a list of them), or one for each input, as a list for a
            list and else as an iterator: generated_text; probability, of the whole answer (the product over its
            tokens), or with candidates relative to these; candidates {answer: probability}; any_candidate, the
            probability of all of these together, beside all else that the model may say; refusal, of a model that
            was trained to refuse (`processor.refusal`), the probability that it would rather say that there is no
            answer, relative to the candidates; with the candidates yes and no, where a checkpoint is calibrated
            (`processor.calibration`) and a plain question asks about a known finding of one ECG: calibrated, a mapping
            of finding, probability (that it is there), frequency (where so many show it), said ("sure", "likely" or
            "cannot tell") and answer.
        Raises: ValueError for other keys, for a question without ECGs, and (ECGInputError) for an ECG that is flat or
        noise alone; asystole and ventricular fibrillation look the same.
        """
        if measured is not None and not isinstance(inputs, str):
            raise ECGError('measured= goes with a single question (a string); a mapping has "measured" of its own.')
        if {**self._preprocess_params, **kwargs}.get("question") is not None:
            if ecgs is not None:
                raise ECGError("ecgs= and question= were given; with question= the first argument are the ECGs.")
            inputs = one_or_many(inputs)
            return [] if isinstance(inputs, list) and not inputs else super().__call__(inputs, **kwargs)
        if isinstance(inputs, str):
            inputs = {"question": inputs, "ecgs": ecgs} | ({} if measured is None else {"measured": measured})
        elif ecgs is not None:
            raise ECGError(
                "ecgs= goes with a single question (a string); a mapping or conversation holds its own ECGs."
            )
        if _is_conversation(inputs):
            inputs = {"conversation": inputs}
        elif isinstance(inputs, list | tuple):
            if not inputs:
                return []
            # Wrapped, because transformers has another meaning for a list of turns.
            inputs = [{"conversation": item} if _is_conversation(item) else item for item in inputs]
        elif not isinstance(inputs, Mapping | torch.utils.data.Dataset | GeneratorType):
            inputs = (item for item in inputs)  # a datasets.Dataset, an iterator
        return super().__call__(inputs, **kwargs)

    def preprocess(
        self,
        inputs: Any,
        question: str | None = None,
        candidates: list[str] | None = None,
        require_heart: bool = True,
        **ecg_settings: Any,
    ) -> dict[str, list[Any]]:
        """A batch of one question and its ECGs: encoded, and followed by each candidate where there are some."""
        inputs = inputs if question is None else {"question": question, "ecgs": inputs}
        processor, conversation = self.processor, self._as_conversation(inputs)
        _, ecgs = flatten_content(conversation, processor.ecg_token)
        ecgs = processor.feature_extractor.prepare(ecgs, require_heart=require_heart, **ecg_settings)
        lengths = [ecg["ecg_values"].shape[1] for ecg in ecgs]
        if candidates is None:
            encoded = processor.encode_conversation(conversation, lengths, add_generation_prompt=True)
        else:
            encoded = encode_answers(processor, conversation, lengths, candidates, processor.refusal)
        return {"encoded": [encoded], "ecgs": [ecgs], "asked": [(_words_of(conversation), len(ecgs))]}

    def _as_conversation(self, inputs: Any) -> list[dict[str, Any]]:
        inputs = getattr(inputs, "messages", inputs)  # what transformers makes of the conversations of a generator
        if _is_conversation(inputs):
            return _asking(inputs)
        if not isinstance(inputs, Mapping):
            raise ECGError(
                f"Found a {type(inputs).__name__} as input; expected a mapping with 'question' and 'ecgs', or a "
                "conversation (list of turns). Of ECGs alone, pass question=, which each is asked about."
            )
        if set(inputs) == {"conversation"}:
            return _asking(inputs["conversation"])
        if not {"question"} <= set(inputs) <= {"question", "ecgs", "measured"}:
            raise ECGError(
                f"Found the keys {sorted(inputs)}; expected 'question' and 'ecgs' (and 'measured'), or "
                "'conversation', and no others."
            )
        if inputs.get("ecgs") is None:
            raise ECGError(
                f"The question {inputs['question']!r} comes without an ECG; pass ecgs=, or ecgs=[] to ask without one."
            )
        return self.processor.build_conversation(inputs["question"], inputs["ecgs"], measured=inputs.get("measured"))

    def _forward(
        self,
        model_inputs: dict[str, list[Any]],
        generate_kwargs: dict[str, Any] | None = None,
        candidates: list[str] | None = None,
    ) -> dict[str, Any]:
        """Answer a batch: log_probabilities [batch, answers]; answers [batch, answers, tokens], or candidates."""
        asked = model_inputs["encoded"], model_inputs["ecgs"]
        if candidates is not None:
            scores = torch.stack(self._scorer.score_rows(*asked))
            asked_in_words = {"asked": model_inputs["asked"]}
            return {"log_probabilities": scores, "candidates": [candidates] * len(scores)} | asked_in_words
        answers, log_probabilities = write_answers(self.model, self.processor, *asked, **(generate_kwargs or {}))
        return {"log_probabilities": log_probabilities, "answers": answers}

    def postprocess(
        self, model_outputs: dict[str, Any], prevalence: float | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        log_probabilities = model_outputs["log_probabilities"][0]
        if "candidates" in model_outputs:
            candidates = _only(model_outputs["candidates"])
            probabilities = log_probabilities[: len(candidates)].softmax(dim=0).tolist()
            ranked = sorted(zip(candidates, probabilities, strict=True), key=lambda pair: -pair[1])
            found = {"generated_text": ranked[0][0], "probability": ranked[0][1], "candidates": dict(ranked)}
            found["any_candidate"] = log_probabilities[: len(candidates)].double().exp().sum().item()
            if len(log_probabilities) > len(candidates):
                found["refusal"] = log_probabilities.softmax(dim=0)[-1].item()
            return found | self._calibrated(dict(ranked), model_outputs["asked"], prevalence)
        texts = self.processor.batch_decode(model_outputs["answers"][0], skip_special_tokens=True)
        answers = [
            {"generated_text": text.strip(), "probability": probability}
            for text, probability in zip(texts, log_probabilities.double().exp().tolist(), strict=True)
        ]
        return answers[0] if len(answers) == 1 else answers

    def _calibrated(
        self, scores: Mapping[str, float], asked: Any, prevalence: float | None
    ) -> dict[str, dict[str, Any] | None]:
        """What a yes or no is worth; {} where that is not known."""
        p_yes = {answer.lower(): score for answer, score in scores.items()}
        question, ecgs = asked[0] if isinstance(asked, list) else asked
        plain = len(scores) == 2 and set(p_yes) == {"yes", "no"}
        if self.processor.calibration is None or not plain or question is None:
            return {}
        found = self.processor.calibration.of(question, p_yes["yes"], ecgs, prevalence)
        return {} if found is None else {"calibrated": asdict(found)}


def _words_of(conversation: list[dict[str, Any]]) -> str | None:
    """What is asked in a conversation that holds nothing but a question in the words that stand around every ECG; None
    of others, whose meaning hangs on what is said besides."""
    content = conversation[0]["content"]
    if len(conversation) != 1 or isinstance(content, str):
        return None
    texts = [part["text"] for part in content if part["type"] == "text"]
    words = texts[-1].removeprefix("\n") if texts else ""
    expected = [part.get("text") for part in ecg_prompt(words, len(content) - len(texts))]
    return words if [part.get("text") for part in content] == expected else None


def _checked_candidates(candidates: Sequence[str]) -> list[str]:
    if isinstance(candidates, str) or not candidates or any(not isinstance(answer, str) for answer in candidates):
        raise ECGError(f"candidates is {candidates!r}; expected a list of one or more answers.")
    if len(set(candidates)) < len(candidates):
        raise ECGError(f"candidates are {list(candidates)}; expected different answers.")
    return list(candidates)


def _asking(conversation: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation, if it has a user turn with text."""
    said = [turn.get("content") for turn in conversation if isinstance(turn, Mapping) and turn.get("role") == "user"]
    texts = [
        part.get("text") if isinstance(part, Mapping) else part
        for content in said
        for part in (content if isinstance(content, list | tuple) else [content])
    ]
    if not any(isinstance(text, str) and text.strip() for text in texts):
        raise ECGError("The conversation holds no question: no user's turn in it has words.")
    return conversation


def _only(candidates: list[Any]) -> list[str]:
    # transformers takes a batch apart, and leaves a list of one as it is only where the batch was one.
    return candidates[0] if isinstance(candidates[0], list) else candidates


def _is_conversation(inputs: Any) -> bool:
    return isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], Mapping) and "role" in inputs[0]


__all__ = ["ECGTextToTextPipeline"]
