"""Numbers come from the measurement, and an answer that it contradicts is shown beside it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ecgllm.asking import answer_question, load_answerer, without_the_model
from ecgllm.cli import main
from ecgllm.evaluation.contradictions import CRITERIA
from ecgllm.measured_answers import (
    Change,
    Limits,
    Range,
    change_answers,
    change_asked_for,
    contradictions,
    finding_names,
    limits_answers,
    limits_asked_for,
    measured_answer,
    number_answer,
    number_asked_for,
    range_answers,
    range_asked_for,
)
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals import measure
from ecgllm.signals.analysis.measurements import Measurement, Measurements
from ecgllm.signals.simulation import simulate_ecg

USUAL = Measurements(
    heart_rate=Measurement(72, 1), pr=Measurement(160, 0.9), qrs=Measurement(92, 0.9), qt=Measurement(380, 0.8),
    qtc_bazett=Measurement(416, 0.8), qtc_fridericia=Measurement(404, 0.8), axis=Measurement(40, 1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("What is the heart rate?", "heart_rate"),
        ("How fast is the heart beating?", "heart_rate"),
        ("what's the patient's ventricular rate", "heart_rate"),
        ("How long is the PR interval?", "pr"),
        ("Please measure the QRS width.", "qrs"),
        ("How wide is the QRS complex on this tracing?", "qrs"),
        ("What is the corrected QT interval?", "qtc_bazett"),
        ("What is the QTc in ms?", "qtc_bazett"),
        ("What is the QT interval of this ECG?", "qt"),
        ("What range does the PR interval fall in?", None),
        ("Is the PR interval normal?", None),
        ("What is the QRS morphology?", None),
        ("What is the heart rate in the second ECG?", "heart_rate"),
        ("HR?", "heart_rate"),
        ("How many beats per minute?", "heart_rate"),
        ("PR interval in ms", "pr"),
        ("What is the RR interval?", "rr"),
        ("What is the QTc (Fridericia)?", "qtc_fridericia"),
        ("What is the axis in degrees?", "axis"),
        ("How long is the P wave?", "p"),
        ("P wave?", None),
        ("How high is the QRS?", None),
        ("How many QRS are there per minute?", None),
        ("How fast is the QRS?", None),
        ("How long is the heart rate?", None),
        ("What is a PR interval?", None),
        ("Is the PR interval longer than 200 ms?", None),
        ("What is the PR interval and the QRS duration?", None),
        ("What is the cause of the long QT?", None),
        ("What is the rhythm?", None),
        ("What is the axis?", None),
        ("", None),
    ],
)
def test_questions_for_a_number(question: str, name: str | None) -> None:
    assert number_asked_for(question) == name


def test_a_number_and_why_there_is_none() -> None:
    assert number_answer("pr", USUAL) == "PR 160 ms" and number_answer("heart_rate", USUAL) == "heart rate 72 bpm"
    assert number_answer("pr", replace(USUAL, pr=Measurement(148, 0.26))) == "PR about 148 ms (confidence 0.3 of 1)"
    without = replace(USUAL, pr=Measurement(None, 0), notes=("no P wave is tied to the QRS complexes",))
    assert number_answer("pr", without) == "PR: not measured (no P wave is tied to the QRS complexes)"


def test_what_a_measurement_contradicts_is_said() -> None:
    (one,) = contradictions("Is there first degree AV block?", "yes", USUAL)
    assert (
        one
        == "the model says first degree av block, and PR is measured as 160 ms; PR of 186 ms or less speaks against it"
    )
    assert contradictions("Is there first degree AV block?", "no", USUAL) == []
    assert contradictions("Is this ECG free of first degree AV block?", "yes", USUAL) == []
    long_pr = replace(USUAL, pr=Measurement(220, 0.9))
    assert contradictions("Is there first degree AV block?", "yes", long_pr) == []
    assert contradictions("AF?", "yes", USUAL) == []
    said = contradictions("What is the rhythm?", "Sinus tachycardia, ventricular tachycardia", USUAL)
    assert len(said) == 2 and "heart rate is measured as 72 bpm" in said[1] and "QRS is measured as 92 ms" in said[0]
    assert contradictions("Is there first degree AV block?", "yes", Measurements()) == []
    for each in CRITERIA:  # every finding with a criterion is found in a question by its name
        assert finding_names().asked_about(f"Is there {each.finding}?") == each.finding


def test_ask_shows_both(tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    record = simulate_ecg(seed=4, findings=("sinus rhythm",))
    ecg = tmp_path / "ecg.npz"
    np.savez(ecg, unit="mV", signal=record.signal, sampling_rate=record.sampling_rate, leads=record.leads)

    def ask(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["ask", str(ecg), *arguments])
        assert ended.value.code == 0
        return capsys.readouterr().out

    found = measure(record)
    expected = f"heart rate {found.heart_rate.value:.0f} bpm"
    assert ask("What is the heart rate?").startswith(f"{expected}  (measured, not asked of the model)\n")
    told = json.loads(ask("What is the heart rate?", "--json"))
    assert (told["answer"], told["measured"], told["probability"], told["unsure"]) == (expected, expected, None, None)
    answerer = load_answerer(shipped_checkpoint())
    assert found.pr.value < 186
    monkeypatch.setattr(answerer, "_scorer", None)
    monkeypatch.setattr(type(answerer), "__call__", lambda *_, **named: {"generated_text": "yes", "probability": 0.99,
                        "candidates": {"yes": 0.99, "no": 0.01}, "any_candidate": 1.0})  # fmt: skip
    monkeypatch.setattr("ecgllm.asking.load_answerer", lambda *_: answerer)
    assert answer_question(answerer, [record], "Is there first degree AV block?")["contradicted"]
    text = ask("Is there first degree AV block?")
    assert (
        text.startswith("yes  (0.99 of yes and no)")
        and "note: the model says first degree av block, and PR is" in text
    )
    assert answer_question(answerer, [record, record], "Is there first degree AV block?")["contradicted"] == []


@pytest.mark.parametrize(
    ("question", "limits"),
    [
        ("Is the QTc greater than 500 ms?", Limits("qtc_bazett", low=500)),
        ("Is the QTc (Fridericia) > 460 ms?", Limits("qtc_fridericia", low=460)),
        ("hr<40", Limits("heart_rate", high=40)),
        ("Is the heart rate below 50 beats per minute?", Limits("heart_rate", high=50)),
        ("Is the PR interval more than 0.2 s in this ECG?", Limits("pr", low=200)),
        ("Is the heart rate between 60 and 100 bpm?", Limits("heart_rate", 60, 100, closed=True)),
        ("Is the axis between -30° and 90°?", Limits("axis", -30, 90, closed=True)),
        ("Is the axis below minus 30 degrees?", Limits("axis", high=-30)),
        ("Is the QRS 120 ms or wider?", Limits("qrs", low=120, closed=True)),
        ("Is the QRS duration at most 110 ms?", Limits("qrs", high=110, closed=True)),
        ("Does the QTc exceed 450 ms?", Limits("qtc_bazett", low=450)),
        ("Is the PR longer than 0.2?", None),  # 0.2 of what?
        ("Is the QTc above 1 bpm?", None),
        ("Is the heart rate above 1 s?", None),
        ("Is the QTc not above 500?", None),
        ("Is ST elevation over 2 mm in V2?", None),
        ("Is the patient over 50?", None),
        ("Are there more than 5 premature complexes?", None),
        ("Is there atrial fibrillation with a heart rate above 100?", None),
        ("Is the QRS above 120 ms and the PR above 200 ms?", None),
        ("Is the QTc prolonged?", None),
        ("What is the QTc?", None),
    ],
)
def test_which_limits_a_question_asks_for(question, limits):
    assert limits_asked_for(question) == limits


def test_limits_are_held_against_the_number_as_it_is_shown():
    wide = replace(USUAL, qrs=Measurement(119.6, 0.9))
    assert limits_answers(Limits("qrs", low=120, closed=True), [wide]) == ("yes", "yes: QRS 120 ms")
    assert limits_answers(Limits("qrs", low=120), [wide]) == ("no", "no: QRS 120 ms")
    assert limits_answers(Limits("qtc_bazett", low=500), [USUAL]) == ("no", "no: QTc (Bazett) 416 ms")
    unknown = replace(USUAL, pr=Measurement(None, 0))
    answer, words = limits_answers(Limits("pr", low=200), [unknown])
    assert answer == words and words.startswith("PR: not measured")
    both = limits_answers(Limits("heart_rate", low=80), [USUAL, replace(USUAL, heart_rate=Measurement(90, 0.3))])
    assert both == ("ECG 1: no: heart rate 72 bpm; ECG 2: yes: heart rate about 90 bpm (confidence 0.3 of 1)",) * 2


@pytest.mark.parametrize("question", ["How long is the PR interval?", "Is the PR above 200 ms?", "Is the PR long?"])
def test_what_is_not_measured_is_no_answer(question: str) -> None:
    unknown = replace(USUAL, pr=Measurement(None, 0))
    found = without_the_model(question, [unknown])
    assert found["answer"] is None and found["measured"] is None and "PR: not measured" in found["not_measured"]
    found = without_the_model(question, [USUAL, unknown])  # one of two is an answer
    assert found["not_measured"] is None and "ECG 2: PR: not measured" in found["answer"]


def test_a_limit_is_answered_by_what_is_measured():
    answerer = load_answerer(shipped_checkpoint())
    record = simulate_ecg(["sinus bradycardia"], heart_rate=45, seed=3)
    found = answer_question(answerer, [record], "Is the heart rate above 100 bpm?")
    assert found["answer"] == "no" and found["measured"].startswith("no: heart rate 4") and found["own"] is None
    asked = answer_question(answerer, [record], "Is the heart rate above 100 bpm?", ["yes", "no"])
    assert asked["measured"] is None and asked["own"] is not None  # one of these was asked of the model


@pytest.mark.parametrize(
    ("question", "change"),
    [
        ("Is the QTc longer in the second?", Change("qtc_bazett", True, False)),
        ("Is the QTc interval longer in the second ECG than in the first?", Change("qtc_bazett", True, False)),
        ("Does the second ECG show a shorter PR interval?", Change("pr", False, False)),
        ("Is the heart beating faster in the first tracing?", Change("heart_rate", True, True)),
        ("Is the QRS wider in the first than in the second ECG?", Change("qrs", True, True)),
        ("Is the QRS longer than in the second?", Change("qrs", True, True)),
        ("Has the QRS widened since the first ECG?", Change("qrs", True, False)),
        ("Is the ventricular rate slower than before?", Change("heart_rate", False, False)),
        ("Did the heart rate go up?", Change("heart_rate", True, False)),
        ("Is the QRS axis further to the left in the second ECG?", Change("axis", False, False)),
        ("Is the QTc prolonged compared to the first ECG?", Change("qtc_bazett", True, False)),
        ("Did the PR interval get longer?", Change("pr", True)),
        ("Has the axis changed?", Change("axis", None)),
        ("Which ECG has the longer QTc?", Change("qtc_bazett", True, asks="which")),
        ("In which of the two ECGs is the heart rate lower?", Change("heart_rate", False, asks="which")),
        ("By how much did the QTc change?", Change("qtc_bazett", None, asks="how much")),
        ("How much longer is the QTc in the second ECG?", Change("qtc_bazett", True, asks="how much")),
        ("Which rhythm has changed?", None),
        # Beyond its limit, or longer than before? Not said.
        ("Is the QTc prolonged in the second ECG?", None),
        ("Is the QTc prolonged now?", None),
        ("Is the axis to the left in the second ECG?", None),
        # Not of one measurement, or of more than that.
        ("Is the QTc longer?", None),
        ("Is the P wave larger in the second ECG?", None),
        ("Is the QRS in lead V1 wider in the second ECG?", None),
        ("Is the ST elevation higher in the second ECG?", None),
        ("Is the heart rate higher or lower in the second ECG?", None),
        ("Is the heart rate not higher in the second ECG?", None),
        ("Is the PR longer in the second than in the second?", None),
        # Which one is the earlier one, nobody says here.
        ("Is the PR interval longer in the earlier ECG?", None),
    ],
)
def test_what_is_asked_to_have_changed(question: str, change: Change | None) -> None:
    assert change_asked_for(question) == change


def test_a_change_is_measured() -> None:
    longer = replace(
        USUAL, qtc_bazett=Measurement(460, 0.8), qtc_fridericia=Measurement(440, 0.8), axis=Measurement(-170, 1),
        heart_rate=Measurement(77, 1),
    )  # fmt: skip
    asked = Change("qtc_bazett", True, False)
    answer, words = change_answers(asked, [USUAL, longer])
    assert answer == "yes" and words.startswith("ECG 1: QTc (Bazett) 416 ms; ECG 2: QTc (Bazett) 460 ms: +44 ms; ")
    assert words.endswith("QTc (Fridericia) 440 ms: +36 ms")
    assert change_answers(asked, [longer, USUAL])[0] == "no"
    assert change_answers(replace(asked, of_first=True), [longer, USUAL])[0] == "yes"
    assert change_answers(replace(asked, more=False), [longer, USUAL])[0] == "yes"
    answer, words = change_answers(Change("heart_rate", True, False), [USUAL, longer])
    assert answer == "no" and words.endswith("+5 bpm, less than the 10 bpm of a change")
    # The shorter way round.
    answer, words = change_answers(Change("axis", False, False), [replace(USUAL, axis=Measurement(150, 1)), longer])
    assert answer == "no" and words.endswith(": +40 degrees")
    # The two corrections disagree where the rates differ: neither is the answer.
    answer, words = change_answers(asked, [USUAL, replace(longer, qtc_fridericia=USUAL.qtc_fridericia)])
    assert answer == "yes by Bazett, no by Fridericia"
    assert words.startswith("yes: ECG 1: QTc (Bazett)") and "; no: ECG 1: QTc (Frid" in words
    assert change_answers(replace(asked, asks="which"), [USUAL, longer])[0] == "the second ECG"
    assert change_answers(Change("heart_rate", True, asks="which"), [USUAL, longer])[0] == "neither"
    assert change_answers(Change("qrs", None), [USUAL, longer])[0] == "no"
    assert change_answers(Change("heart_rate", None, asks="how much"), [USUAL, longer])[0].endswith(
        ": +5 bpm, less than the 10 bpm of a change"
    )
    answer, words = change_answers(asked, [USUAL, replace(USUAL, qtc_bazett=Measurement(None, 0))])
    assert answer == words and "not measured" in words


def test_ask_measures_a_change() -> None:
    answerer = load_answerer(shipped_checkpoint())
    slow, fast = (simulate_ecg(["sinus rhythm"], heart_rate=rate, seed=3) for rate in (62, 95))
    found = answer_question(answerer, [slow, fast], "Is the heart rate higher in the second ECG?")
    assert found["answer"] == "yes" and found["measured"].endswith(" bpm") and found["own"] is None
    assert answer_question(answerer, [slow, fast], "Is the heart rate higher in the second ECG?", ["yes", "no"])["own"]


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Is the QTc prolonged?", ("qtc_bazett", {"above"})),
        ("Is the QT prolonged?", ("qtc_bazett", {"above"})),  # of which there is a limit
        ("Is the heart rate high?", ("heart_rate", {"above"})),
        ("Is the heart beating slow?", ("heart_rate", {"below"})),
        ("Is the PR interval within normal limits?", ("pr", {"within"})),
        ("Is the PR too short?", ("pr", {"below"})),
        ("Is the QRS axis normal?", ("axis", {"within"})),
        ("Is the axis abnormal?", ("axis", {"below", "above"})),
        ("Is the QRS duration normal?", ("qrs", {"within"})),
        ("Is there tachycardia?", ("heart_rate", {"above"})),
        ("Is the patient bradycardic?", ("heart_rate", {"below"})),
        ("Is any bradycardia present in this ECG?", ("heart_rate", {"below"})),
        ("Is there sinus tachycardia?", None),  # more than a rate
        ("Is there no tachycardia?", None),
        ("Is the QRS normal?", None),  # its shape, perhaps
        ("Is the P wave normal?", None),
        ("Is the QRS high?", None),
        ("Is the heart rate normal or fast?", None),
        ("Is the heart rate not normal?", None),
        ("Is the ECG normal?", None),
    ],
)
def test_what_is_asked_to_be_usual(question: str, asked: tuple[str, set[str]] | None) -> None:
    assert range_asked_for(question) == (asked and Range(asked[0], frozenset(asked[1])))


def test_a_wide_qrs_is_one_of_120_ms() -> None:
    for question, wide, narrow in (("Is the QRS wide?", "yes", "no"), ("Are the QRS complexes narrow?", "no", "yes")):
        limits = limits_asked_for(question)
        found = [limits_answers(limits, [replace(USUAL, qrs=Measurement(ms, 0.9))])[0] for ms in (119, 120)]
        assert found == [narrow, wide]
    assert limits_asked_for("Is the QRS wide and is the PR short?") is None


def test_what_is_usual_is_measured() -> None:
    fast = replace(USUAL, heart_rate=Measurement(112, 1, (60, 100)), pr=Measurement(None, 0, (120, 200)))
    high = Range("heart_rate", frozenset({"above"}))
    assert range_answers(high, [fast]) == ("yes", "yes: heart rate 112 bpm (usual of adults: 60 to 100)")
    slow = replace(USUAL, heart_rate=Measurement(72, 1, (60, 100)))
    answer, words = range_answers(high, [fast, slow])
    assert answer == words and "ECG 1: yes: heart rate 112" in words and "ECG 2: no: heart rate 72" in words
    answer, words = range_answers(Range("pr", frozenset({"within"})), [fast])
    assert answer == words and "not measured" in words and "usual" not in words


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is the QTc prolonged? Answer yes or no.", "no"),
        ("Please tell me: is the QTc prolonged?", "no"),
        ("Is the QTc prolonged by Fridericia?", "no"),
        ("Is the QTc (after Fridericia) above 400 ms, yes or no?", "yes"),
        ("Is the QTc above 410 ms by Bazett's formula?", "yes"),
        ("What is the QTc by Fridericia?", "QTc (Fridericia) 404 ms"),
        ("Is there atrial fibrillation? Answer yes or no.", None),
    ],
)
def test_what_is_said_around_a_question_is_left_out(question: str, answer: str | None) -> None:
    found = measured_answer(question, [USUAL])
    assert (found and found[0]) == answer


def test_a_change_in_one_ecg_is_refused() -> None:
    answerer = load_answerer(shipped_checkpoint())
    found = answer_question(answerer, [simulate_ecg(seed=3)], "Did the heart rate get faster?")
    assert found["refused"] == "It asks about two ECGs, and one ECG was given." and found["answer"] is None
