"""Checkpoints behind the protocol: the answers of the pipelines, each ECG encoded once, refusals with what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecgllm import (
    ECGError,
    ECGFeatureExtractor,
    ECGForSequenceClassification,
    ECGTextToTextPipeline,
    ZeroShotECGClassificationPipeline,
)
from ecgllm.asking import load_answerer
from ecgllm.evaluation.models.checkpoint import CheckpointModel, load_checkpoint
from ecgllm.evaluation.models.finding_models import ClassifierModel, DualEncoderModel
from ecgllm.evaluation.protocol import Answer, Asked, ShownECG
from ecgllm.shipped import shipped_checkpoint, shipped_dual_encoder
from ecgllm.signals import ECGRecord, measure
from ecgllm.signals.simulation import simulate_ecgs

YES_NO = ("yes", "no")
A, B, FLAT, SHORT = (ShownECG(name) for name in "abfs")


@pytest.fixture(scope="module")
def ecgs() -> dict[ShownECG, ECGRecord]:
    first, second = simulate_ecgs(2, seed=3)
    cut = first.segment(0, 7)
    return {A: first, B: cut, FLAT: replace(second, signal=np.zeros_like(second.signal)), SHORT: first.segment(0, 0.4)}


def plain_answerer() -> Any:
    """The pipeline that ships, which is told nothing and refuses nothing, whatever it learned."""
    answerer = load_answerer(shipped_checkpoint())
    processor = answerer.processor
    processor.reads_measured, processor.refusal, processor.calibration = False, None, None
    return answerer


@pytest.fixture(scope="module")
def shipped() -> tuple[CheckpointModel, Any]:
    answerer = plain_answerer()
    return CheckpointModel(answerer.model, answerer.processor, batch_size=4), plain_answerer()


def test_what_ask_would_not_ask_is_refused_where_it_is_checked(shipped: Any, ecgs: dict[ShownECG, ECGRecord]) -> None:
    plain, _ = shipped
    assert load_checkpoint(shipped_checkpoint(), check_questions=True).check_questions
    checked = CheckpointModel(plain.model, plain.processor, check_questions=True)
    asked = [Asked("Is there atrial fibrillation?", (A,), YES_NO), Asked("Should I give aspirin?", (A,), YES_NO)]
    asked.append(Asked("What is new in the second ECG?", (A,)))
    own, told = plain.answer(asked, ecgs), checked.answer(asked, ecgs)
    assert [answer.refused is None for answer in own] == [True] * 3
    assert [answer.refused is None for answer in told] == [True, False, False] and "one ECG was given" in told[
        2
    ].refused
    for one, other in zip(own, told, strict=True):  # what the model says of it stands beside
        assert one.text == other.text
    assert checked.identity == f"{plain.identity}-checked"


def test_a_refusal_that_was_learned_is_one_more_answer(
    shipped: Any, ecgs: dict[ShownECG, ECGRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In questions of yes and no as well; how likely the two are beside each other stays what it was."""
    plain, ask = shipped
    monkeypatch.setattr(ask.processor, "refusal", "cannot tell")
    model = CheckpointModel(ask.model, ask.processor)
    asked = [Asked("Is there atrial fibrillation?", (A,), YES_NO)]
    asked += [Asked("Is it new?", (A, B), YES_NO, prompt="{ecg} {ecg} {question}")]
    own, refuses = plain.answer(asked, ecgs), torch.tensor([0.0, 0.0, 100.0])
    # Whatever it learned, it refuses nothing, and then everything: the last log-probability is that of refusing.
    by_question, by_prompt = model._scorer.score, model._scorer.score_rows
    for sign, said in ((-1, None), (1, "cannot tell")):
        for name, plainly in (("score", by_question), ("score_rows", by_prompt)):

            def changed(*given: Any, plainly: Any = plainly, sign: int = sign) -> list[torch.Tensor]:
                return [one + sign * refuses for one in plainly(*given)]

            monkeypatch.setattr(model._scorer, name, changed)
        for one, other in zip(own, model.answer(asked, ecgs), strict=True):
            assert other.text == (said or one.text) and other.refused is None
            assert other.scores == pytest.approx(one.scores, abs=1e-5)


def test_a_model_that_reads_what_is_measured_is_told(
    shipped: Any, ecgs: dict[ShownECG, ECGRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the prompt: of each ECG that is shown, and of what is done to it."""
    _, ask = shipped
    monkeypatch.setattr(ask.processor, "reads_measured", True)
    model = CheckpointModel(ask.model, ask.processor)
    asked = [Asked("Is there atrial fibrillation?", (A,), YES_NO), Asked("What is the rhythm?", (B,))]
    asked += [Asked("Is it new?", (A, B), YES_NO, prompt="{ecg} {ecg} {question}")]
    figures = {shown: measure(ecgs[shown]).figures() for shown in (A, B)}
    for question, answer in zip(asked, model.answer(asked, ecgs), strict=True):
        own = [{"type": "ecg", "ecg": ecgs[shown], "measured": figures[shown]} for shown in question.ecgs]
        if question.prompt is None:
            records = [ecgs[shown] for shown in question.ecgs]
            given = {
                "question": question.question,
                "ecgs": records,
                "measured": [figures[one] for one in question.ecgs],
            }
        else:
            blank = {"type": "text", "text": " "}
            parts = [own[0], blank, own[1], blank, {"type": "text", "text": question.question}]
            given = [{"role": "user", "content": parts}]
        expected = ask(given, **({"candidates": list(YES_NO)} if question.candidates else {}))
        assert answer.text == expected["generated_text"]
        probability = answer.scores[answer.text] if question.candidates else answer.probability
        assert probability == pytest.approx(expected["probability"], abs=1e-4)
    assert model.reads_measured and not shipped[0].reads_measured
    others = [replace(asked[0], ecgs=(A._replace(told=told),)) for told in (B.record_id, "")]
    answers = model.answer([*others, asked[0]], ecgs)  # whatever their order
    for answer, told in zip(answers, (figures[B], None, figures[A]), strict=True):
        expected = ask(asked[0].question, ecgs=ecgs[A], measured=told, candidates=list(YES_NO))
        assert answer.scores == pytest.approx(expected["candidates"], abs=1e-4)


def test_answers_are_those_of_the_pipeline(shipped: Any, ecgs: dict[ShownECG, ECGRecord]) -> None:
    model, ask = shipped
    questions = (
        "Is there atrial fibrillation?",
        "Does this ECG show left bundle branch block?",
        "What is the rhythm?",
    )
    asked = [Asked(question, (shown,), YES_NO) for question in questions[:2] for shown in (A, B)]
    asked += [
        Asked(questions[2], (B,)),
        Asked("What is new in the second ECG?", (A, B)),
        Asked(questions[0], (), YES_NO),
    ]
    answers = model.answer(asked, ecgs)
    for question, answer in zip(asked, answers, strict=True):
        records = [ecgs[shown] for shown in question.ecgs]
        choose = {"candidates": list(question.candidates)} if question.candidates else {}
        expected = ask(question.question, ecgs=records, **choose)
        assert answer.text == expected["generated_text"] and answer.refused is None
        if question.candidates:
            assert dict(answer.scores) == pytest.approx(expected["candidates"], abs=1e-4)
            assert 0 < answer.probability <= 1
        else:
            assert answer.scores is None and answer.probability == pytest.approx(expected["probability"], abs=1e-4)


def test_each_ecg_is_prepared_and_encoded_once(
    shipped: Any, ecgs: dict[ShownECG, ECGRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = shipped
    prepared, own = [], model.processor.feature_extractor.prepare

    def counting(given: Any, *args: Any, **kwargs: Any) -> Any:
        prepared.append(isinstance(given, ECGRecord))
        return own(given, *args, **kwargs)

    monkeypatch.setattr(model.processor.feature_extractor, "prepare", counting)
    known = dict(ecgs)
    asked = [Asked(f"Is there {finding}?", (A, B), YES_NO) for finding in ("atrial fibrillation", "sinus rhythm")]
    first = model.answer(asked, known)
    assert model.answer(asked, known) == first and sum(prepared) == 2
    # The same names of other ECGs.
    assert model.answer(asked, {A: ecgs[B], B: ecgs[A]}) != first and sum(prepared) == 4


def test_what_is_refused_says_why_and_what_the_model_says(shipped: Any, ecgs: dict[ShownECG, ECGRecord]) -> None:
    model, ask = shipped
    question = "Is there atrial fibrillation?"
    flat, short, both = model.answer(
        [Asked(question, (FLAT,), YES_NO), Asked(question, (SHORT,), YES_NO), Asked(question, (A, FLAT), YES_NO)], ecgs
    )
    assert "no heart beats" in flat.refused and not flat.refused.startswith("ecgs[")
    expected = ask(question, ecgs=ecgs[FLAT], candidates=list(YES_NO), require_heart=False)
    assert (
        dict(flat.scores) == pytest.approx(expected["candidates"], abs=1e-4)
        and flat.text == expected["generated_text"]
    )
    assert (short.text, short.scores) == (None, None) and "0.4 s" in short.refused
    assert both.refused.startswith("ECG 2: no heart beats") and both.text in YES_NO


def test_words_around_ecgs(tiny_llm: Any, make_ecg: Any) -> None:
    model, processor = tiny_llm()
    ecg = make_ecg()
    record = ECGRecord(signal=ecg["signal"], sampling_rate=100, leads=tuple(ecg["leads"]), id="a")
    prompt = "First {ecg}, then {ecg}. {question}"
    tested = CheckpointModel(model, processor)
    asked = [Asked("Is there any?", (A, B), candidates, prompt) for candidates in (YES_NO, None)]
    answer, written = tested.answer(asked, {A: record, B: record})
    content = [
        *({"type": "text", "text": "First "}, {"type": "ecg", "ecg": ecg}, {"type": "text", "text": ", then "}),
        *({"type": "ecg", "ecg": ecg}, {"type": "text", "text": ". Is there any?"}),
    ]
    ask = ECGTextToTextPipeline(model=model, processor=processor)
    expected = ask([{"role": "user", "content": content}], candidates=list(YES_NO), require_heart=False)
    assert dict(answer.scores) == pytest.approx(expected["candidates"], abs=1e-4)
    assert written.text == ask([{"role": "user", "content": content}], require_heart=False)["generated_text"]
    with pytest.raises(ECGError, match="has 1 {ecg} and 1 {question} for 2 ECGs"):
        tested.answer([Asked("Is there any?", (A, B), YES_NO, "{ecg} {question}")], {A: record, B: record})


def test_a_prompt_too_long_for_the_model_is_refused_alone(tiny_llm: Any, ecgs: dict[ShownECG, ECGRecord]) -> None:
    model, processor = tiny_llm()
    processor.max_positions = 300
    tested = CheckpointModel(model, processor)
    asked = [Asked(question, (B,), closed) for question in ("Is it?", "Is it? " * 200) for closed in (YES_NO, None)]
    fits, writes, *long = tested.answer(asked, ecgs)
    assert fits.text in YES_NO and fits.refused is writes.refused is None and writes.text is not None
    assert all("positions for 300" in answer.refused and answer.text is None for answer in long)


def test_dual_encoder_answers_about_findings_as_the_zero_shot_pipeline(ecgs: dict[ShownECG, ECGRecord]) -> None:
    model = load_checkpoint(shipped_dual_encoder())
    assert isinstance(model, DualEncoderModel) and model.name == "ecgllm-tiny-dual"
    pipe = ZeroShotECGClassificationPipeline(model=model.model, processor=model.processor)
    findings = ("atrial fibrillation", "sinus rhythm")
    asked = [Asked("Is it?", (shown,), YES_NO, finding=finding) for shown in (A, FLAT) for finding in findings]
    answers = model.answer([*asked, Asked("What is the rhythm?", (A,)), Asked("", (A, B))], ecgs)
    scored = pipe([ecgs[A], ecgs[FLAT]], candidate_labels=list(findings), require_heart=False)
    expected = [{each["label"]: each["score"] for each in one}[finding] for one in scored for finding in findings]
    assert [answer.scores["yes"] for answer in answers[:4]] == pytest.approx(expected, abs=1e-4)
    assert [answer.text for answer in answers[:4]] == ["yes" if yes > 0.5 else "no" for yes in expected]
    assert answers[0].refused is None and "no heart beats" in answers[2].refused
    assert all(answer.text is None and "findings and no questions" in answer.refused for answer in answers[4:])


def test_dual_encoder_after_infonce_holds_a_finding_against_its_negation(ecgs: dict[ShownECG, ECGRecord]) -> None:
    model = load_checkpoint(shipped_dual_encoder())
    model.model.config.loss_type = "infonce"
    pipe = ZeroShotECGClassificationPipeline(model=model.model, processor=model.processor)
    (answer,) = model.answer([Asked("Is it?", (A,), YES_NO, finding="sinus rhythm")], ecgs)
    texts = ["ECG with sinus rhythm", "ECG without sinus rhythm"]
    scored = {each["label"]: each["score"] for each in pipe(ecgs[A], candidate_labels=texts, hypothesis_template="{}")}
    assert answer.scores["yes"] == pytest.approx(scored[texts[0]], abs=1e-4)


def test_classifier_answers_about_its_labels(encoder: Any, ecgs: dict[ShownECG, ECGRecord], tmp_path: Path) -> None:
    classifier = ECGForSequenceClassification.from_encoder(
        encoder, id2label={0: "Atrial fibrillation", 1: "sinus rhythm"}, problem_type="multi_label_classification"
    )
    classifier.save_pretrained(tmp_path)
    ECGFeatureExtractor().save_pretrained(tmp_path)
    model = load_checkpoint(tmp_path)
    assert isinstance(model, ClassifierModel)
    known, unknown = model.answer(
        [Asked("", (A,), YES_NO, finding="atrial fibrillation"), Asked("", (A,), YES_NO, finding="pacing")], ecgs
    )
    score = classifier.eval()(**ECGFeatureExtractor()(ecgs[A])).logits.sigmoid()[0, 0].item()
    assert known.scores["yes"] == pytest.approx(score, abs=1e-5) and unknown == Answer(None, refused=unknown.refused)
    assert "no label 'pacing'" in unknown.refused


def test_other_folders_are_refused(encoder: Any, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    with pytest.raises(ECGError, match="expected 'ecgllm' or 'ecgllm_dual_encoder' or 'ecgllm_classifier'"):
        load_checkpoint(tmp_path)
    with pytest.raises(ECGError, match="leave language_model out"):
        load_checkpoint(shipped_dual_encoder(), language_model="x")
