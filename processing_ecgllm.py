"""Text with ECGs to one batch of model inputs: prompts and tokens (`ECGProcessor`).

In: texts or conversations with ECGs. Out: token ids with one placeholder per ECG token, the ECGs as the feature
extractor prepares them, [batch, ecgs, ...], and labels where asked for. Decided here: the wording of prompts, how many
tokens an ECG takes in a text, and that nothing is truncated. Input that does not fit raises `ECGError`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AddedToken, AutoTokenizer, BatchFeature, FeatureExtractionMixin
from transformers.configuration_utils import PreTrainedConfig
from transformers.processing_utils import ProcessorMixin

from .batch_ecgllm import as_batch, learned_tokens, nest_ecgs, pad_tokens, repeat, stack_encoded, where_learned
from .chat_template_ecgllm import PLAIN_CHAT_TEMPLATE, ChatTemplate, flatten_content
from .configuration_ecgllm import ECG_TOKEN, count_tokens, describe_difference, preprocessing_fingerprint
from .errors_ecgllm import ECGError, shorten
from .feature_extraction_ecgllm import ECGFeatureExtractor, is_list
from .saving_ecgllm import copy_code
from .signal_ecgllm import LEADS, ECGInputError
from .words_ecgllm import TrainedWords, translated

ECGInput = Any
"""One ECG: a mapping with signal, sampling_rate and leads; an object with these attributes; an array; or a path."""

_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def add_ecg_token(tokenizer: Any, ecg_token: str = ECG_TOKEN) -> int:
    """Add the ECG placeholder to a tokenizer as a special token, once, and return its id."""
    # Being in the vocabulary is not enough: only an added token is never split. It keeps the id that it has there.
    if ecg_token not in tokenizer.get_added_vocab():
        tokenizer.add_tokens([AddedToken(ecg_token, special=True, normalized=False)], special_tokens=True)
    return tokenizer.convert_tokens_to_ids(ecg_token)


def ecg_prompt(question: str, num_ecgs: int) -> list[dict[str, Any]]:
    """The parts of a user's turn that introduces `num_ecgs` ECGs and asks a question (wording: arXiv 2411.14795).

    Returns: text parts, and parts {"type": "ecg"} where the ECGs go.
    """
    if num_ecgs == 0:
        return [{"type": "text", "text": question}]
    if num_ecgs == 1:
        texts = ["Here is an electrocardiogram: ", f"\n{question}"]
    else:
        word = _NUMBER_WORDS[num_ecgs] if num_ecgs < len(_NUMBER_WORDS) else str(num_ecgs)
        ordinals = [_ORDINALS[i] if i < len(_ORDINALS) else f"ECG number {i + 1}" for i in range(num_ecgs)]
        texts = [f"Here are {word} electrocardiograms. The {ordinals[0]} is "]
        texts += [f", the {ordinal} is " for ordinal in ordinals[1:-1]]
        texts += [f", and the {ordinals[-1]} is ", f".\n{question}"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": texts[0]}]
    for text in texts[1:]:
        parts += [{"type": "ecg"}, {"type": "text", "text": text}]
    return parts


class ECGProcessor(ProcessorMixin):
    """Text with ECGs to model inputs: feature extractor + tokenizer + prompts.

    Args:
        feature_extractor: the signal path. tokenizer: the language model's; must be a fast one for labels.
        chat_template: Jinja template; the tokenizer's own by default, a plain one where it has none.
        samples_per_token: input samples per ECG token of the language model (`ECGLLMConfig.samples_per_token`).
        ecg_token: the placeholder, added to the tokenizer when it is not there.
        samples_trimmed: samples that the encoder's stem takes away first (`ECGLLMConfig.samples_trimmed`).
        max_positions: tokens that the language model has positions for (`ECGLLMConfig.max_positions`), ECG tokens
            included; longer texts are refused. None where it is unknown, or there is no end.
        trained_words: today's words -> those that the model was trained in (`TrainedWords`), where they differ. Every
            text is put into them, and what is decoded is put back.
    """

    def __init__(
        self,
        feature_extractor: ECGFeatureExtractor | None = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        samples_per_token: int = 20,
        ecg_token: str = ECG_TOKEN,
        samples_trimmed: int = 0,
        max_positions: int | None = None,
        trained_words: Mapping[str, str] | None = None,
    ):
        if feature_extractor is None or tokenizer is None:
            raise ECGError("ECGProcessor needs a feature_extractor and a tokenizer; at least one of them is None.")
        self.samples_per_token = samples_per_token
        self.samples_trimmed = samples_trimmed
        self.max_positions = max_positions
        self._words = TrainedWords({} if trained_words is None else trained_words)
        self.trained_words = None if trained_words is None else dict(trained_words)
        self.ecg_token = ecg_token
        self.ecg_token_id = add_ecg_token(tokenizer, ecg_token)
        if tokenizer.pad_token_id is None:
            if tokenizer.eos_token is None:
                raise ECGError("The tokenizer has neither a pad nor an eos token; set tokenizer.pad_token first.")
            # Padded positions are masked, so that the end-of-sequence token can fill them, as is usual.
            tokenizer.pad_token = tokenizer.eos_token
        template = chat_template or getattr(tokenizer, "chat_template", None) or PLAIN_CHAT_TEMPLATE
        if template == PLAIN_CHAT_TEMPLATE and tokenizer.eos_token is None:
            raise ECGError(
                "The tokenizer has neither a chat template nor an eos token, so that an answer would have no end; set "
                "tokenizer.eos_token, or pass chat_template=."
            )
        super().__init__(feature_extractor, tokenizer, chat_template=template)

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        # transformers looks the class up among its own; ours is any feature extractor that prepares ECGs.
        if argument_name == "feature_extractor":
            return FeatureExtractionMixin
        return super().check_argument_for_proper_class(argument_name, argument)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        # By its own class: transformers would look for the feature extractor among the Auto classes, which know ours
        # only as remote code and would ask for trust inside the package itself. So would the tokenizer for the sake of
        # config.json, which says nothing of tokenizers: an empty configuration stands for it.
        trust = kwargs.pop("trust_remote_code", None)
        feature_extractor = ECGFeatureExtractor.from_pretrained(pretrained_model_name_or_path, **kwargs)
        tokenizer = AutoTokenizer.from_pretrained(
            pretrained_model_name_or_path, config=PreTrainedConfig(), trust_remote_code=trust, **kwargs
        )
        return [feature_extractor, tokenizer]

    @classmethod
    def for_model(
        cls, model: Any, tokenizer: Any, feature_extractor: ECGFeatureExtractor | None = None
    ) -> ECGProcessor:
        """The processor that fits a model (or its configuration) and the tokenizer of its language model.

        Raises: ValueError when the preprocessing is unknown and none is given, or does not fit the model.
        """
        config = getattr(model, "config", model)
        if feature_extractor is None:
            if config.encoder_config.preprocessing is None:
                raise ECGError(
                    "The model's encoder does not say how its ECGs were prepared (encoder_config.preprocessing is "
                    "None); pass feature_extractor=."
                )
            settings = inspect.signature(ECGFeatureExtractor.__init__).parameters
            stated = config.encoder_config.preprocessing.items()
            feature_extractor = ECGFeatureExtractor(
                **{name: value for name, value in stated if name in settings and value is not None}
            )
        processor = cls(
            feature_extractor,
            tokenizer,
            samples_per_token=config.samples_per_token,
            samples_trimmed=config.samples_trimmed,
            max_positions=config.max_positions,
        )
        processor.check_model(config)
        return processor

    @property
    def model_input_names(self) -> list[str]:
        names = [*self.tokenizer.model_input_names, *self.feature_extractor.model_input_names]
        return list(dict.fromkeys([*names, "ecg_mask", "preprocessing_id"]))

    def check_model(self, model: Any) -> None:
        """Check that a model (or its configuration) was trained on what this processor makes.

        Raises: ValueError naming the first difference in leads, preprocessing (all of its fields), samples per token,
            samples trimmed or the ECG token's id.
        """
        config = getattr(model, "config", model)
        if not hasattr(config, "encoder_config") or not hasattr(config, "samples_per_token"):
            raise ECGError(
                f"The model is a {type(model).__name__}, which has no ECG encoder in front of a language model; "
                "expected an ECGLLMForConditionalGeneration or its configuration."
            )
        expected = config.encoder_config.preprocessing
        if len(self.feature_extractor.leads) != config.encoder_config.num_leads:
            raise ECGError(
                f"The processor makes {len(self.feature_extractor.leads)} leads, the model's encoder takes "
                f"{config.encoder_config.num_leads}. Load the processor from the model's own folder "
                "(AutoProcessor.from_pretrained)."
            )
        if expected is not None and preprocessing_fingerprint(expected) != self.feature_extractor.preprocessing_id:
            raise ECGError(
                "The processor prepares ECGs in another way than the checkpoint's encoder was trained with: "
                f"{describe_difference(self.feature_extractor.preprocessing, expected)}. Load the processor from the "
                "model's own folder (AutoProcessor.from_pretrained)."
            )
        if self.samples_per_token != config.samples_per_token:
            raise ECGError(
                f"The processor makes one ECG token per {self.samples_per_token} samples, the model one per "
                f"{config.samples_per_token}; make it with ECGProcessor.for_model(model, tokenizer)."
            )
        if self.samples_trimmed != config.samples_trimmed:
            raise ECGError(
                f"The processor counts on a stem that takes {self.samples_trimmed} samples away, the model's takes "
                f"{config.samples_trimmed}; make it with ECGProcessor.for_model(model, tokenizer)."
            )
        if config.ecg_token_id is not None and self.ecg_token_id != config.ecg_token_id:
            raise ECGError(
                f"The tokenizer gives {self.ecg_token} the id {self.ecg_token_id}, the model expects "
                f"{config.ecg_token_id}; use the tokenizer that was saved with the model."
            )

    def num_ecg_tokens(self, ecg_length: int) -> int:
        """Placeholder tokens for an ECG of this many samples (at the model's rate)."""
        return count_tokens(int(ecg_length), self.samples_per_token, self.samples_trimmed)

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
        label_spans: Sequence[Sequence[tuple[int, int]]] | None = None,
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
        learned_in = [self._words.to_trained(one) for one in texts]
        if label_spans is not None and learned_in != texts:
            raise ECGError(
                f"label_spans were given of texts that this checkpoint was trained on in other words: "
                f"{self.trained_words}. Write the texts in these, or use apply_chat_template(return_labels=True)."
            )
        texts = learned_in
        if label_spans is not None and len(label_spans) != len(texts):
            raise ECGError(f"{len(texts)} texts were given with {len(label_spans)} label_spans; expected one each.")
        for row, (one, row_ecgs) in enumerate(zip(texts, nested, strict=True)):
            count = one.count(self.ecg_token)
            if count != len(row_ecgs):
                raise ECGError(
                    f"Text {row} holds {count} {self.ecg_token} placeholders and {len(row_ecgs)} ECGs were given for "
                    f"it; expected one {self.ecg_token} per ECG. Text: {shorten(one)!r}"
                )
        flat = [ecg for row_ecgs in nested for ecg in row_ecgs]
        features = None
        if flat:
            features = self.feature_extractor(
                flat,
                sampling_rate=sampling_rate,
                leads=leads,
                nan_policy=nan_policy,
                drop_unknown_leads=drop_unknown_leads,
                return_tensors="np",
            )
        rows = [len(row_ecgs) for row_ecgs in nested]
        lengths = iter(() if features is None else features["ecg_lengths"].tolist())
        lengths_by_row = [[next(lengths) for _ in range(count)] for count in rows]
        encoded = self._tokenize(texts, lengths_by_row, add_special_tokens, label_spans)
        for ids in encoded["input_ids"]:
            self.check_length(len(ids))
        return self._assemble(encoded, features, rows, padding, padding_side, max_length, return_tensors)

    def check_length(self, tokens: int, of_answer: int = 0) -> None:
        """Refuse what the language model has no positions for, before it is asked. Raises: ECGError.

        Args: tokens: of the prompt, ECG tokens included. of_answer: those that must fit behind it.
        """
        if self.max_positions is not None and tokens + of_answer > self.max_positions:
            room = f", and {of_answer} for the answer" if of_answer else ""
            raise ECGError(
                f"The question with its ECGs has {tokens:,} tokens{room}; this language model has positions for "
                f"{self.max_positions:,}. Shorten the text, or use fewer or shorter ECGs."
            )

    def encode_conversation(
        self, conversation: list[dict[str, Any]], ecg_lengths: Sequence[int] = (), **template_kwargs: Any
    ) -> dict[str, list[int]]:
        """Token ids and labels of one conversation for training, before its ECGs are at hand.

        Args:
            conversation: as in `apply_chat_template`; ECG parts may be without "ecg". ecg_lengths: samples of its
                ECGs, in order, as `ECGFeatureExtractor` returns them. template_kwargs: variables of the template.
        Returns: {"input_ids", "labels"}, lists of equal length, to be put together by `collate`.
        """
        turns, ecgs = self._flatten(conversation, with_ecgs=False)
        if len(ecgs) != len(ecg_lengths):
            raise ECGError(
                f"The conversation has {len(ecgs)} ECG parts and {len(ecg_lengths)} ecg_lengths were given; expected "
                "one for each part."
            )
        template = self._template(None)
        text, spans = template.render_with_spans(turns, **template_kwargs)
        encoded = self._tokenize([text], [list(ecg_lengths)], template.needs_bos, [spans])
        return {name: rows[0] for name, rows in encoded.items()}

    def collate(
        self,
        encoded: Sequence[Mapping[str, list[int]]],
        ecgs: Sequence[Sequence[Mapping[str, Any]]],
        padding_side: str = "right",
    ) -> BatchFeature:
        """Pad what `encode_conversation` made, with the ECGs.

        Args: ecgs: prepared before, or anything `__call__` takes; or all of them encoded before: mappings with
            `ecg_embeds` [patches, encoder size], `ecg_length` (samples) and `preprocessing_id`.
        Raises: ValueError when the ECGs of a conversation are not those whose lengths it was encoded with.
        """
        if not encoded or len(encoded) != len(ecgs):
            raise ECGError(f"{len(encoded)} conversations with {len(ecgs)} lists of ECGs; expected one for each.")
        flat = [ecg for row in ecgs for ecg in row]
        features: Mapping[str, np.ndarray] | None = None
        if flat:
            if isinstance(flat[0], Mapping) and "ecg_embeds" in flat[0]:
                features = stack_encoded(flat, self.feature_extractor.preprocessing_id)
            else:
                features = self.feature_extractor(flat, return_tensors="np")
        sequences = {name: [list(row[name]) for row in encoded] for name in ("input_ids", "labels")}
        rows = [len(row) for row in ecgs]
        lengths = iter(() if features is None else features["ecg_lengths"].tolist())
        for row, (ids, count) in enumerate(zip(sequences["input_ids"], rows, strict=True)):
            found, expected = (
                ids.count(self.ecg_token_id),
                sum(self.num_ecg_tokens(next(lengths)) for _ in range(count)),
            )
            if found != expected:
                raise ECGError(
                    f"Conversation {row} was encoded with {found} ECG tokens, its {count} ECGs make {expected}; "
                    "expected the ECGs whose lengths encode_conversation was given."
                )
        return self._assemble(sequences, features, rows, True, padding_side, None, "pt")

    def _assemble(
        self,
        sequences: dict[str, list[list[int]]],
        features: Mapping[str, np.ndarray] | None,
        ecgs_per_text: list[int],
        padding: bool | str,
        padding_side: str | None,
        max_length: int | None,
        return_tensors: str | None,
    ) -> BatchFeature:
        """Pad token ids and labels, and put the ECGs beside them."""
        side = padding_side or self.tokenizer.padding_side
        data: dict[str, Any] = pad_tokens(sequences, self.tokenizer.pad_token_id, padding, side, max_length)
        if features is not None:
            data |= nest_ecgs(features, ecgs_per_text)
            preprocessing_id = self.feature_extractor.preprocessing_id
            data["preprocessing_id"] = np.full(len(ecgs_per_text), preprocessing_id, np.int64)
        return BatchFeature(data, tensor_type=return_tensors)

    def _tokenize(
        self,
        texts: list[str],
        ecg_lengths: Sequence[Sequence[int]],
        add_special_tokens: bool,
        label_spans: Sequence[Sequence[tuple[int, int]]] | None,
    ) -> dict[str, list[list[int]]]:
        """Token ids per text, each placeholder repeated as often as its ECG has tokens."""
        with_labels = label_spans is not None
        if with_labels and not self.tokenizer.is_fast:
            raise ECGError(
                f"{type(self.tokenizer).__name__} is a slow tokenizer, which cannot tell where a token stands in the "
                "text; labels need a fast one (AutoTokenizer gives it where there is one)."
            )
        encoded = self.tokenizer(
            texts,
            add_special_tokens=add_special_tokens,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=with_labels,
        )
        sequences: dict[str, list[list[int]]] = {"input_ids": []} | ({"labels": []} if with_labels else {})
        for row, (text, ids, lengths) in enumerate(zip(texts, encoded["input_ids"], ecg_lengths, strict=True)):
            if ids.count(self.ecg_token_id) != len(lengths):
                raise ECGError(
                    f"Text {row} has {ids.count(self.ecg_token_id)} {self.ecg_token} tokens (id {self.ecg_token_id}) "
                    f"for {len(lengths)} ECGs; expected one each. The chat template leaves out or repeats a turn, or "
                    f"the tokenizer splits the placeholder. Text: {shorten(text)!r}"
                )
            repeats = [1] * len(ids)
            places = [place for place, token_id in enumerate(ids) if token_id == self.ecg_token_id]
            for place, length in zip(places, lengths, strict=True):
                repeats[place] = self.num_ecg_tokens(length)
            sequences["input_ids"].append(repeat(ids, repeats))
            if with_labels:
                learned = learned_tokens(encoded["offset_mapping"][row], label_spans[row])
                labels = [
                    token_id if learn and token_id != self.ecg_token_id else -100
                    for token_id, learn in zip(ids, learned, strict=True)
                ]
                sequences["labels"].append(repeat(labels, repeats))
        return sequences

    def build_conversation(
        self,
        question: str,
        ecgs: ECGInput | Sequence[ECGInput] = (),
        answer: str | None = None,
        system: str | None = None,
    ) -> list[dict[str, Any]]:
        """A conversation that asks one question about the given ECGs, in the paper's wording; see `ecg_prompt`.

        Raises: ECGError for a question without words.
        """
        if not isinstance(question, str) or not question.strip():
            raise ECGError(f"The question is {shorten(repr(question))}; expected words.")
        ecgs = list(ecgs) if is_list(ecgs) else [ecgs]
        content = ecg_prompt(question, len(ecgs))
        for part, ecg in zip((part for part in content if part["type"] == "ecg"), ecgs, strict=True):
            part["ecg"] = ecg
        conversation: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        conversation.append({"role": "user", "content": content})
        if answer is not None:
            conversation.append({"role": "assistant", "content": answer})
        return conversation

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
        return_tensors: str | None = "pt",
        padding: bool | str = True,
        padding_side: str | None = None,
        max_length: int | None = None,
        sampling_rate: float | None = None,
        leads: Sequence[str] | None = None,
        nan_policy: str | None = None,
        drop_unknown_leads: bool = False,
        processor_kwargs: Mapping[str, Any] | None = None,
        **template_kwargs: Any,
    ) -> str | list[str] | BatchFeature | Any:
        """Render one conversation or a batch through the language model's chat template.

        Args:
            conversation: turns {"role", "content"}; content is a string or a list of parts {"type": "text", "text"}
                and {"type": "ecg", "ecg"}, in any order and in any turn. An ECG is what `ECGFeatureExtractor` takes.
            tokenize: False returns the rendered text. return_dict: with tokenize, all inputs, not the ids alone.
            return_labels: with tokenize, adds labels: the assistant's turns (with their end-of-turn token), else -100.
            return_assistant_tokens_mask: with tokenize, adds assistant_masks: 1 where labels would learn, else 0.
            padding_side: by default "right" with labels (training) and "left" without (generation).
            processor_kwargs: the arguments from return_tensors to drop_unknown_leads, as transformers passes them.
            template_kwargs: variables of the template. The rest: see `__call__` and transformers.
        Raises: ECGError for an unknown argument or part, a placeholder written out in the text, a template that writes
            nothing of what is said, or one in which the assistant's turns cannot be told apart.
        """
        processing = {
            "return_tensors": return_tensors,
            "padding": padding,
            "padding_side": padding_side,
            "max_length": max_length,
            "sampling_rate": sampling_rate,
            "leads": leads,
            "nan_policy": nan_policy,
            "drop_unknown_leads": drop_unknown_leads,
        }
        processing |= _checked_processor_kwargs(processor_kwargs or {}, processing)
        learned = "return_labels" if return_labels else "return_assistant_tokens_mask"
        with_spans = return_labels or return_assistant_tokens_mask
        if with_spans and not (tokenize and return_dict):
            raise ECGError(f"{learned} needs tokenize=True and return_dict=True: it is told for each token id.")
        if with_spans and (add_generation_prompt or continue_final_message):
            raise ECGError(
                f"{learned} is for training and goes with neither add_generation_prompt nor continue_final_message."
            )
        if not conversation:
            raise ECGError("The conversation is empty; expected turns, or a batch of conversations.")
        batched = not isinstance(conversation[0], Mapping)
        conversations = conversation if batched else [conversation]
        template = self._template(chat_template)
        if unknown := sorted(set(template_kwargs) - template.variables):
            raise ECGError(
                f"{', '.join(unknown)}: neither an argument of apply_chat_template nor a variable of the chat "
                f"template. Arguments are {', '.join(inspect.signature(self.apply_chat_template).parameters)}."
            )
        flattened = [self._flatten(turns) for turns in conversations]
        spans = None
        if with_spans:
            rendered = [template.render_with_spans(turns, **template_kwargs) for turns, _ in flattened]
            texts, spans = [text for text, _ in rendered], [row for _, row in rendered]
        else:
            settings = template_kwargs | {
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
            }
            texts = [template.render(turns, **settings) for turns, _ in flattened]
        if not tokenize:
            return texts if batched else texts[0]
        processing["padding_side"] = processing["padding_side"] or ("right" if return_labels else "left")
        inputs = self(
            texts,
            [ecgs for _, ecgs in flattened],
            add_special_tokens=template.needs_bos,
            label_spans=spans,
            **processing,
        )
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

    def _flatten(
        self, conversation: list[dict[str, Any]], with_ecgs: bool = True
    ) -> tuple[list[dict[str, Any]], list[ECGInput]]:
        """`flatten_content`, in the words that the checkpoint was trained in."""
        turns, ecgs = flatten_content(conversation, self.ecg_token, with_ecgs)
        return [{**turn, "content": self._words.to_trained(turn["content"])} for turn in turns], ecgs

    def _template(self, chosen: str | None) -> ChatTemplate:
        """The template given as Jinja text, by name, or not at all."""
        named = self.chat_template if isinstance(self.chat_template, Mapping) else {"default": self.chat_template}
        name = chosen or "default"
        if name not in named and chosen is None:
            raise ECGError(f"The chat templates are {', '.join(named)}, none is the default; pass chat_template=.")
        return ChatTemplate(named.get(name, name), self.tokenizer)

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Save tokenizer, feature extractor and processor, complete as remote code. Arguments as in transformers."""
        self.auto_map = {"AutoProcessor": f"processing_ecgllm.{type(self).__name__}"}
        # First, as it states where its own class is found, which the processor's file repeats.
        files = self.feature_extractor.save_pretrained(save_directory)
        files += super().save_pretrained(str(save_directory))
        copy_code(save_directory, "processing_ecgllm")
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return files


def _checked_processor_kwargs(given: Mapping[str, Any], stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises: ECGError for what is no argument, or is stated beside it in another way."""
    defaults = inspect.signature(ECGProcessor.apply_chat_template).parameters
    wrong = [name for name in given if name not in stated]
    if wrong:
        raise ECGError(f"processor_kwargs holds {', '.join(wrong)}; expected some of {', '.join(stated)}.")
    twice = [name for name in given if stated[name] is not defaults[name].default and stated[name] != given[name]]
    if twice:
        raise ECGError(f"{', '.join(twice)}: given twice, by itself and otherwise in processor_kwargs; leave one out.")
    return given


__all__ = [
    "LEADS",
    "PLAIN_CHAT_TEMPLATE",
    "ECGFeatureExtractor",
    "ECGInputError",
    "ECGProcessor",
    "add_ecg_token",
    "ecg_prompt",
]
