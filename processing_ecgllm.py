"""Conversations with ECGs to one batch of model inputs (`ECGProcessor`).

In: texts or conversations with ECGs. Out: token ids with one placeholder per ECG token, the ECGs as the feature
extractor prepares them, [batch, ecgs, ...], and labels where asked for. There is one way: a conversation is rendered
(`_render`), its ECGs are prepared, its text becomes a row of tokens (`_encode`), rows and ECGs become a batch
(`collate`). Decided here: how many tokens an ECG takes in a text, and that nothing is truncated. Input that does not
fit raises `ECGError`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AddedToken, BatchFeature

from .answer_calibration_ecgllm import FILE as CALIBRATION_FILE
from .answer_calibration_ecgllm import AnswerCalibration, read_calibration, write_calibration
from .batch_ecgllm import as_batch, nest_ecgs, pad_tokens, repeat_placeholders, stack_encoded, tokenize, where_learned
from .chat_template_ecgllm import PLAIN_CHAT_TEMPLATE, ChatTemplate, guarded, is_plain
from .configuration_ecgllm import ECG_TOKEN, count_tokens
from .conversation_ecgllm import build_conversation, ecg_prompt, flatten_content, says_measured
from .errors_ecgllm import ECGError, shorten
from .feature_extraction_ecgllm import ECGFeatureExtractor
from .loading_ecgllm import HUB_ARGUMENTS
from .processor_parts_ecgllm import ECGProcessorParts, check_fits, feature_extractor_for
from .signal_ecgllm import LEADS, ECGInputError
from .trained_words_ecgllm import TrainedWords, translated

ECGInput = Any
"""One ECG: a mapping with signal, sampling_rate and leads; an object with these attributes; an array; or a path."""
Spans = Sequence[tuple[int, int]]
"""Where what is learned stands in a text: (start, end) in characters."""

_BATCH_ARGUMENTS = ("return_tensors", "padding", "padding_side", "max_length")
_BATCH_ARGUMENTS += ("sampling_rate", "leads", "nan_policy", "drop_unknown_leads")


def add_ecg_token(tokenizer: Any, ecg_token: str = ECG_TOKEN) -> int:
    """Add the ECG placeholder to a tokenizer as a special token, once, and return its id.

    Its chat template, where it has one, refuses ECGs from now on (`guarded`): they are the processor's.
    """
    # Being in the vocabulary is not enough: only an added token is never split. It keeps the id that it has there.
    if ecg_token not in tokenizer.get_added_vocab():
        tokenizer.add_tokens([AddedToken(ecg_token, special=True, normalized=False)], special_tokens=True)
    if getattr(tokenizer, "chat_template", None):
        tokenizer.chat_template = guarded(tokenizer.chat_template)
    return tokenizer.convert_tokens_to_ids(ecg_token)


class ECGProcessor(ECGProcessorParts):
    """Text with ECGs to model inputs: feature extractor + tokenizer + prompts.

    Args:
        feature_extractor: the signal path. tokenizer: the language model's; must be a fast one for labels.
        chat_template: Jinja template; the tokenizer's own by default, a plain one where it has none.
        samples_per_token: input samples per ECG token of the language model (`ECGLLMConfig.samples_per_token`).
        ecg_token: the placeholder, added to the tokenizer when it is not there.
        max_positions: tokens that the language model has positions for (`ECGLLMConfig.max_positions`), ECG tokens
            included; longer texts are refused. None where it is unknown, or there is no limit.
        trained_words: today's words -> those that the model was trained in (`TrainedWords`), where they differ. Every
            text is translated into them, and what is decoded is translated back.
        reads_measured: whether the model was trained with what was measured beside its ECGs; else a conversation that
            says it ("measured" of an ECG part) is refused.
        refusal: what every answer begins with that says why there is none ("cannot tell"), of a model that was trained
            on such answers; None of others. Where answers are compared, it is one more.

    `calibration`: what a yes is worth (`answer_calibration_ecgllm`), where a file beside the checkpoint says it, else
    None; it is saved with the processor.
    """

    _code_module = "processing_ecgllm"

    def __init__(
        self,
        feature_extractor: ECGFeatureExtractor | None = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        samples_per_token: int = 20,
        ecg_token: str = ECG_TOKEN,
        max_positions: int | None = None,
        trained_words: Mapping[str, str] | None = None,
        reads_measured: bool = False,
        refusal: str | None = None,
    ):
        if feature_extractor is None or tokenizer is None:
            raise ECGError("ECGProcessor needs a feature_extractor and a tokenizer; at least one of them is None.")
        self.samples_per_token, self.reads_measured, self.refusal = samples_per_token, reads_measured, refusal
        self.max_positions = max_positions
        self._words = TrainedWords({} if trained_words is None else trained_words)
        self.trained_words = None if trained_words is None else dict(trained_words)
        self.ecg_token = ecg_token
        self.ecg_token_id = add_ecg_token(tokenizer, ecg_token)
        if tokenizer.pad_token_id is None:
            if tokenizer.eos_token is None:
                raise ECGError("The tokenizer has neither a pad nor an eos token; set tokenizer.pad_token first.")
            # Padded positions are masked, so that the end-of-sequence token can fill them, as usual.
            tokenizer.pad_token = tokenizer.eos_token
        template = guarded(chat_template or getattr(tokenizer, "chat_template", None) or PLAIN_CHAT_TEMPLATE)
        if is_plain(template) and tokenizer.eos_token is None:
            raise ECGError(
                "The tokenizer has neither a chat template nor an eos token, so that an answer would have no end; set "
                "tokenizer.eos_token, or pass chat_template=."
            )
        self.calibration: AnswerCalibration | None = None
        # The tokenizer by itself, which is what many pipelines and trainers take, writes what the processor writes.
        tokenizer.chat_template = template
        super().__init__(feature_extractor, tokenizer, chat_template=template)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, cache_dir: str | Path | None = None, *args: Any, **kwargs: Any
    ) -> ECGProcessor | tuple[Any, ...]:
        """As in transformers, with the calibration that lies there. Raises: CheckpointError for a broken one."""
        found = super().from_pretrained(pretrained_model_name_or_path, cache_dir, *args, **kwargs)
        processor = found[0] if isinstance(found, tuple) else found
        hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs} | {"cache_dir": cache_dir}
        processor.calibration = read_calibration(pretrained_model_name_or_path, **hub)
        return found

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """As in transformers, complete as remote code, with the calibration."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        if self.calibration is not None:
            write_calibration(self.calibration, save_directory)
        else:
            (Path(save_directory) / CALIBRATION_FILE).unlink(missing_ok=True)  # of another processor
        return super().save_pretrained(save_directory, push_to_hub, **kwargs)

    @classmethod
    def for_model(
        cls, model: Any, tokenizer: Any, feature_extractor: ECGFeatureExtractor | None = None
    ) -> ECGProcessor:
        """The processor that fits a model (or its configuration) and the tokenizer of its language model.

        Raises: ValueError when the preprocessing is unknown and none is given, or does not fit the model.
        """
        config = getattr(model, "config", model)
        if feature_extractor is None:
            feature_extractor = feature_extractor_for(config.encoder_config)
        processor = cls(
            feature_extractor,
            tokenizer,
            samples_per_token=config.samples_per_token,
            max_positions=config.max_positions,
        )
        processor.check_model(config)
        return processor

    @property
    def model_input_names(self) -> list[str]:
        names = [*self.tokenizer.model_input_names, *self.feature_extractor.model_input_names]
        return list(dict.fromkeys([*names, "ecg_mask", "preprocessing_id"]))

    def check_model(self, model: Any) -> None:
        """Check that a model (or its configuration) was trained on the input that this processor makes.

        Raises: ValueError naming the first difference in leads, preprocessing (all of its fields), samples per token,
            samples trimmed or the ECG token's id.
        """
        config = getattr(model, "config", model)
        if not hasattr(config, "encoder_config") or not hasattr(config, "samples_per_token"):
            raise ECGError(
                f"The model is a {type(model).__name__}, which has no ECG encoder in front of a language model; "
                "expected an ECGLLMForConditionalGeneration or its configuration."
            )
        check_fits(self.feature_extractor, config.encoder_config)
        if self.samples_per_token != config.samples_per_token:
            raise ECGError(
                f"The processor makes one ECG token per {self.samples_per_token} samples, the model one per "
                f"{config.samples_per_token}; make it with ECGProcessor.for_model(model, tokenizer)."
            )
        if config.ecg_token_id is not None and self.ecg_token_id != config.ecg_token_id:
            raise ECGError(
                f"The tokenizer gives {self.ecg_token} the id {self.ecg_token_id}, the model expects "
                f"{config.ecg_token_id}; use the tokenizer that was saved with the model."
            )

    def num_ecg_tokens(self, ecg_length: int) -> int:
        """Placeholder tokens for an ECG of this many samples (at the model's rate)."""
        return count_tokens(int(ecg_length), self.samples_per_token)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        ecgs: ECGInput | Sequence[ECGInput] | Sequence[Sequence[ECGInput]] | None = None,
        *,
        sampling_rate: float | None = None,
        leads: Sequence[str] | None = None,
        nan_policy: str | None = None,
        drop_unknown_leads: bool = False,
        add_special_tokens: bool = True,
        padding: bool | str = True,
        padding_side: str | None = None,
        max_length: int | None = None,
        return_tensors: str | None = "pt",
        label_spans: Sequence[Spans] | None = None,
    ) -> BatchFeature:
        """Prepare texts that hold one `ecg_token` per ECG.

        Args:
            text: one text or a batch. ecgs: for one text an ECG or a list of them; for a batch one such entry (or
                None) per text. sampling_rate, leads, nan_policy, drop_unknown_leads: see `ECGFeatureExtractor`.
            padding: True or "longest", "max_length" (with max_length), or False. padding_side: "left" or "right".
            max_length: longest allowed sequence; nothing is truncated, since ECG tokens would be lost.
            label_spans: per text, character spans (start, end) of `text` that are to be learned; gives `labels`.
        Returns: input_ids, attention_mask [batch, tokens]; with ECGs also ecg_values [batch, ecgs, leads, samples],
            ecg_mask [batch, ecgs], lead_mask [batch, ecgs, leads], ecg_lengths [batch, ecgs], preprocessing_id
            [batch]; with label_spans labels [batch, tokens], -100 where nothing is learned.
        Raises: ECGError when placeholders and ECGs differ in number, or a sequence is longer than max_length or the
            model's positions.
        """
        if text is None:
            raise ECGError("text is missing; for signals alone use processor.feature_extractor(ecgs).")
        texts, nested = as_batch(text, ecgs)
        trained = [self._words.to_trained(one) for one in texts]
        if label_spans is not None and trained != texts:
            raise ECGError(
                f"label_spans were given of texts that this checkpoint was trained on in other words: "
                f"{self.trained_words}. Write the texts in these, or use apply_chat_template(return_labels=True)."
            )
        if label_spans is not None and len(label_spans) != len(texts):
            raise ECGError(f"{len(texts)} texts were given with {len(label_spans)} label_spans; expected one each.")
        flat = [ecg for row in nested for ecg in row]
        flat = iter(self.feature_extractor.prepare(flat, sampling_rate, leads, nan_policy, drop_unknown_leads))
        prepared = [[next(flat) for _ in row] for row in nested]
        lengths = [[ecg["ecg_values"].shape[1] for ecg in row] for row in prepared]
        encoded = self._encode(trained, lengths, label_spans, add_special_tokens)
        for row in encoded:
            self.check_length(len(row["input_ids"]))
        return self.collate(encoded, prepared, padding_side, padding, max_length, return_tensors)

    def check_length(self, tokens: int, of_answer: int = 0) -> None:
        """Refuse a prompt for which the language model has too few positions, before it runs. Raises: ECGError.

        Args: tokens: of the prompt, ECG tokens included. of_answer: tokens that must fit after it.
        """
        if self.max_positions is not None and tokens + of_answer > self.max_positions:
            room = f", and {of_answer} for the answer" if of_answer else ""
            raise ECGError(
                f"The question with its ECGs has {tokens:,} tokens{room}; this language model has positions for "
                f"{self.max_positions:,}. Shorten the text, or use fewer or shorter ECGs."
            )

    def encode_conversation(
        self,
        conversation: list[dict[str, Any]],
        ecg_lengths: Sequence[int] = (),
        add_generation_prompt: bool = False,
        **template_kwargs: Any,
    ) -> dict[str, list[int]]:
        """Token ids of one conversation, without its ECGs: their lengths are enough.

        Args:
            conversation: as in `apply_chat_template`; ECG parts may be without "ecg". ecg_lengths: samples of its
                ECGs, in order, as `ECGFeatureExtractor` returns them. add_generation_prompt: for a prompt that is to
                be answered, which has no labels. template_kwargs: variables of the template.
        Returns: {"input_ids", "labels"}, lists of equal length, to be put together by `collate`.
        Raises: ECGError as `apply_chat_template`, and where ecg_lengths and ECGs differ in number.
        """
        template = ChatTemplate.chosen(self.chat_template, None, self.tokenizer)
        if add_generation_prompt:
            template_kwargs["add_generation_prompt"] = True
        text, _, spans = self._render(conversation, template, not add_generation_prompt, False, **template_kwargs)
        return self._encode([text], [ecg_lengths], None if spans is None else [spans], template.needs_bos)[0]

    def collate(
        self,
        encoded: Sequence[Mapping[str, list[int]]],
        ecgs: Sequence[Sequence[Mapping[str, Any]]],
        padding_side: str | None = "right",
        padding: bool | str = True,
        max_length: int | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Pad what `encode_conversation` made, with the ECGs.

        Args: ecgs: prepared before, or anything `__call__` takes; or all of them encoded before: mappings with
            `ecg_embeds` [patches, encoder size], `ecg_length` (samples) and `preprocessing_id`. The rest, and what is
            returned: as in `__call__`.
        Raises: ECGError when the ECGs of a conversation are not those whose lengths it was encoded with.
        """
        if not encoded or len(encoded) != len(ecgs):
            raise ECGError(f"{len(encoded)} conversations with {len(ecgs)} lists of ECGs; expected one for each.")
        flat = [ecg for row in ecgs for ecg in row]
        features, own = {}, self.feature_extractor.preprocessing_id
        if flat and isinstance(flat[0], Mapping) and "ecg_embeds" in flat[0]:
            features = stack_encoded(flat, own)
        elif flat:
            features = self.feature_extractor(flat, return_tensors="np")
        counts, lengths = [len(row) for row in ecgs], iter(features["ecg_lengths"].tolist() if flat else ())
        for number, (row, count) in enumerate(zip(encoded, counts, strict=True)):
            found = row["input_ids"].count(self.ecg_token_id)
            expected = sum(self.num_ecg_tokens(next(lengths)) for _ in range(count))
            if found != expected:
                raise ECGError(
                    f"Conversation {number} was encoded with {found} ECG tokens, its {count} ECGs make {expected}; "
                    "expected the ECGs whose lengths encode_conversation was given."
                )
        data: dict[str, Any] = pad_tokens(
            {name: [list(row[name]) for row in encoded] for name in ("input_ids", "labels") if name in encoded[0]},
            self.tokenizer.pad_token_id,
            padding,
            padding_side or self.tokenizer.padding_side,
            max_length,
        )
        if flat:
            data |= nest_ecgs(features, counts) | {"preprocessing_id": np.full(len(counts), own, np.int64)}
        return BatchFeature(data, tensor_type=return_tensors)

    def _encode(
        self,
        texts: list[str],
        ecg_lengths: Sequence[Sequence[int]],
        label_spans: Sequence[Spans] | None,
        add_special_tokens: bool,
    ) -> list[dict[str, list[int]]]:
        """Token ids (and labels) per text, each placeholder repeated as often as its ECG has tokens."""
        encoded = tokenize(self.tokenizer, texts, add_special_tokens, label_spans)
        for number, (row, lengths) in enumerate(zip(encoded, ecg_lengths, strict=True)):
            found = row["input_ids"].count(self.ecg_token_id)
            if found != len(lengths):
                raise ECGError(
                    f"Text {number} holds {found} {self.ecg_token} placeholders and {len(lengths)} ECGs were given "
                    f"for it; expected one {self.ecg_token} per ECG. A chat template may leave a turn out or repeat "
                    f"it. Text: {shorten(texts[number])!r}"
                )
            counts = [self.num_ecg_tokens(length) for length in lengths]
            encoded[number] = repeat_placeholders(row, self.ecg_token_id, counts)
        return encoded

    build_conversation = staticmethod(build_conversation)

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]] | list[list[dict[str, Any]]],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_dict: bool = True,
        return_labels: bool = False,
        return_assistant_tokens_mask: bool = False,
        processor_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> str | list[str] | BatchFeature | Any:
        """Render one conversation or a batch through the language model's chat template.

        Args:
            conversation: turns {"role", "content"}; content is a string or a list of parts {"type": "text", "text"}
                and {"type": "ecg", "ecg"}, in any order and in any turn. An ECG is what `ECGFeatureExtractor` takes.
            tokenize: False returns the rendered text. return_dict: with tokenize, all inputs, not the ids alone.
            return_labels: with tokenize, adds labels: the assistant's turns (with their end-of-turn token), else -100.
            return_assistant_tokens_mask: with tokenize, adds assistant_masks: 1 where labels would learn, else 0.
            kwargs: arguments of `__call__` from sampling_rate to return_tensors, also taken as processor_kwargs, as
                transformers passes them (padding_side: by default "right" with labels, for training, and "left"
                without, for generation); and variables of the template. The rest: see transformers.
        Raises: ECGError for an unknown argument or part, a placeholder written out in the text, a template that leaves
        the turns out, or one in which the assistant's turns cannot be located.
        """
        given = {name: kwargs.pop(name) for name in _BATCH_ARGUMENTS if name in kwargs}
        settings = _joined(given, processor_kwargs or {})
        learned = return_labels or return_assistant_tokens_mask
        if learned and (not (tokenize and return_dict) or add_generation_prompt or continue_final_message):
            raise ECGError(
                f"{'return_labels' if return_labels else 'return_assistant_tokens_mask'} is for training: it needs "
                "tokenize=True and return_dict=True, and neither add_generation_prompt nor continue_final_message."
            )
        template = ChatTemplate.chosen(self.chat_template, chat_template, self.tokenizer)
        kwargs = {name: value for name, value in kwargs.items() if value is not None}  # as TRL gives tools
        if unknown := sorted(set(kwargs) - template.variables):
            *arguments, _ = inspect.signature(self.apply_chat_template).parameters
            raise ECGError(
                f"{', '.join(unknown)}: neither an argument of apply_chat_template nor a variable of the chat "
                f"template. Arguments are {', '.join((*arguments, *_BATCH_ARGUMENTS))}."
            )
        if not learned:
            kwargs.update(add_generation_prompt=add_generation_prompt, continue_final_message=continue_final_message)
        batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        conversations = conversation if batched else [conversation]
        rendered = [self._render(turns, template, learned, **kwargs) for turns in conversations]
        texts, ecgs, spans = (list(column) for column in zip(*rendered, strict=True))
        if not tokenize:
            return texts if batched else texts[0]
        settings["padding_side"] = settings.get("padding_side") or ("right" if return_labels else "left")
        spans = spans if learned else None
        inputs = self(texts, ecgs, add_special_tokens=template.needs_bos, label_spans=spans, **settings)
        if return_assistant_tokens_mask:
            inputs["assistant_masks"] = where_learned(inputs["labels"])
            if not return_labels:
                del inputs["labels"]
        return inputs if return_dict else inputs["input_ids"]

    def batch_decode(self, *args: Any, **kwargs: Any) -> list[str]:
        """Texts of token ids, in today's words; arguments as in transformers."""
        return translated(super().batch_decode(*args, **kwargs), self._words)

    def decode(self, *args: Any, **kwargs: Any) -> str | list[str]:
        """The text of token ids, in today's words; arguments as in transformers."""
        return translated(super().decode(*args, **kwargs), self._words)

    def _render(
        self,
        conversation: list[dict[str, Any]],
        template: ChatTemplate,
        with_spans: bool,
        with_ecgs: bool = True,
        **settings: Any,
    ) -> tuple[str, list[ECGInput], Spans | None]:
        """A conversation's text in the trained words, its ECGs in order, and the spans of the assistant's turns."""
        turns, ecgs = flatten_content(conversation, self.ecg_token, with_ecgs)
        if not self.reads_measured and says_measured(conversation):
            raise ECGError(
                "The conversation says what was measured, and this model was not trained with that; leave "
                '"measured" out, or train it so (measured: of a question stage).'
            )
        turns = [{**turn, "content": self._words.to_trained(turn["content"])} for turn in turns]
        if not with_spans:
            return template.render(turns, **settings), ecgs, None
        text, spans = template.render_with_spans(turns, **settings)
        return text, ecgs, spans


def _joined(given: Mapping[str, Any], processor_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are given directly, joined with those in processor_kwargs.

    Raises: ECGError for an unknown argument, and for one that has two values.
    """
    wrong = [name for name in processor_kwargs if name not in _BATCH_ARGUMENTS]
    if wrong:
        raise ECGError(f"processor_kwargs holds {', '.join(wrong)}; expected some of {', '.join(_BATCH_ARGUMENTS)}.")
    twice = [name for name, value in processor_kwargs.items() if name in given and given[name] != value]
    if twice:
        raise ECGError(f"{', '.join(twice)}: given twice, by itself and otherwise in processor_kwargs; leave one out.")
    return {**given, **processor_kwargs}


__all__ = [
    "LEADS",
    "PLAIN_CHAT_TEMPLATE",
    "ECGFeatureExtractor",
    "ECGInputError",
    "ECGProcessor",
    "add_ecg_token",
    "ecg_prompt",
]
