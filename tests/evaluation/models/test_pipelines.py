"""Pipelines of transformers behind the protocol, on tiny random models: what they are shown, and what they write."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlamaConfig, LlamaForCausalLM, pipeline

from ecgllm import ECGClassificationPipeline, ECGError, ECGFeatureExtractor, ECGForSequenceClassification
from ecgllm.asking import load_answerer
from ecgllm.evaluation.models.checkpoint import load_checkpoint
from ecgllm.evaluation.models.pipeline import PipelineModel, load_pipeline, pipeline_model
from ecgllm.evaluation.models.rewritten_ecgs import as_picture, as_words
from ecgllm.evaluation.protocol import Asked, ShownECG
from ecgllm.shipped import shipped_checkpoint

from .tiny_llava import SIZES, TEMPLATE, tiny_llava

YES_NO = ("yes", "no")
A, B = ShownECG("a"), ShownECG("b")


@pytest.fixture
def sees(tiny_tokenizer: Any) -> Any:
    """The pipeline of a random LLaVA."""
    model, processor = tiny_llava(tiny_tokenizer)
    return pipeline("image-text-to-text", model=model, processor=processor)


class Recorder:
    """A pipeline that keeps what it is given."""

    def __init__(self, pipe: Any):
        self.task, self.model = pipe.task, pipe.model
        self.processor, self.tokenizer, self.given = pipe.processor, pipe.tokenizer, []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        prompts = kwargs.get("text") or args[0]
        self.given += prompts
        return [[{"generated_text": " yes"}] for _ in prompts]


def test_a_model_of_pictures_sees_each_ecg_on_paper(sees: Any, shown: Any) -> None:
    recorder = Recorder(sees)
    asked = [Asked("Is it?", (A,), YES_NO), Asked("Why?", ()), Asked("New?", (A, B), None, "{question} {ecg}, {ecg}")]
    answers = PipelineModel(recorder, batch_size=2).answer(asked, shown)
    assert [answer.text for answer in answers] == ["yes"] * 3
    without, (_, picture, question, choice), (new, first, comma, second) = (
        turn["content"] for (turn,) in recorder.given
    )
    assert (question["text"], choice["text"]) == ("\nIs it?", "\nAnswer yes or no.")
    expected = Image.open(io.BytesIO(as_picture(shown[A]))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(picture["image"]), np.asarray(expected))
    assert without == [{"type": "text", "text": "Why?"}]
    assert (new["text"], comma["text"], first["type"], second["type"]) == ("New? ", ", ", "image", "image")
    assert first["image"].tobytes() == picture["image"].tobytes() != second["image"].tobytes()


def test_what_it_writes_is_what_the_model_writes_of_the_picture(sees: Any, shown: Any) -> None:
    model = PipelineModel(sees, max_new_tokens=4, say_choice=False)
    answers = model.answer([Asked("Is it?", (one,), YES_NO) for one in (A, B)], shown)
    for answer, one in zip(answers, (A, B), strict=True):
        picture = {"type": "image", "image": Image.open(io.BytesIO(as_picture(shown[one]))).convert("RGB")}
        texts = [{"type": "text", "text": text} for text in ("Here is an electrocardiogram: ", "\nIs it?")]
        inputs = sees.processor.apply_chat_template(
            [{"role": "user", "content": [texts[0], picture, texts[1]]}], tokenize=True, return_dict=True,
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            written = sees.model.generate(**inputs, max_new_tokens=4, do_sample=False)[
                0, inputs["input_ids"].shape[1] :
            ]
        assert answer.text == (sees.processor.decode(written, skip_special_tokens=True).strip() or None)


def test_a_model_of_text_reads_each_ecg_in_words(tiny_tokenizer: Any, shown: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES, vocab_size=300, num_hidden_layers=1, eos_token_id=1, max_position_embeddings=10_000)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    model = load_pipeline(tmp_path, max_new_tokens=3)
    asked = [Asked("Is it?", (A,), YES_NO)]
    (answer,) = model.answer(asked, shown)
    assert model.name == str(tmp_path) and answer.scores is None and (answer.text or answer.refused)
    recorder = Recorder(model.pipe)
    PipelineModel(recorder).answer(asked, shown)
    words = f"Here is an electrocardiogram: {as_words(shown[A])}\nIs it?\nAnswer yes or no."
    assert recorder.given == [words + "\n"]
    recorder.tokenizer.chat_template = TEMPLATE
    PipelineModel(recorder, measured=False).answer(asked, shown)
    turn = recorder.given[1][0]
    assert turn["role"] == "user" and turn["content"] == words.replace(as_words(shown[A]), as_words(shown[A], False))
    recorder.model.config.max_position_embeddings = 100
    (answer,) = PipelineModel(recorder).answer(asked, shown)
    assert "256 of an answer are more than the model's 100 positions" in answer.refused and len(recorder.given) == 2


def test_pipelines_of_ours_answer_as_their_checkpoints(encoder: Any, shown: Any) -> None:
    asked = [Asked("Is there atrial fibrillation?", (A,), YES_NO, finding="atrial fibrillation")]
    ours = pipeline_model(load_answerer(shipped_checkpoint()), name="mine")
    assert ours.name == "mine" and ours.answer(asked, shown) == load_checkpoint(shipped_checkpoint()).answer(
        asked, shown
    )
    classifier = ECGForSequenceClassification.from_encoder(
        encoder, id2label={0: "atrial fibrillation", 1: "pacing"}, problem_type="multi_label_classification"
    )
    pipe = ECGClassificationPipeline(model=classifier, feature_extractor=ECGFeatureExtractor())
    score = {each["label"]: each["score"] for each in pipe(shown[A])}["atrial fibrillation"]
    assert pipeline_model(pipe).answer(asked, shown)[0].scores["yes"] == pytest.approx(score, abs=1e-6)


def test_pipelines_that_cannot_be_asked(sees: Any, encoder: Any, tmp_path: Path) -> None:
    sees.processor.chat_template = None
    with pytest.raises(ECGError, match="no chat template"):
        PipelineModel(sees)
    sees.task = "translation"
    with pytest.raises(ECGError, match="task is 'translation'; expected 'image-text-to-text' or 'text-generation'"):
        pipeline_model(sees)
    encoder.save_pretrained(tmp_path)
    with pytest.raises(ECGError, match="knows no image-text-to-text or text-generation|cannot be loaded"):
        load_pipeline(tmp_path)
