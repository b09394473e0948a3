"""HTML of what is beside an ECG: figures, doubts, findings with bars, answers, differences of two.

Everything that comes from a file or a person is escaped (`markupsafe`). Colours carry no meaning alone: words stand
beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from ...answer_calibration_ecgllm import LIKELY_NO
from ...explanations import Explanation
from ...finding_overview import FindingAnswer
from ...measured_answers import contradictions
from ...signals import ECGRecord
from ...signals.analysis.measurements import Measurement, Measurements
from ...two_ecgs import doubts_about_two
from ..engine import ServedECG

FIGURES = {
    "heart_rate": ("Rate", "bpm"), "pr": ("PR", "ms"), "qrs": ("QRS", "ms"), "qt": ("QT", "ms"),
    "qtc_bazett": ("QTc (Bazett)", "ms"), "qtc_fridericia": ("QTc (Fridericia)", "ms"), "axis": ("Axis", "°"),
}  # fmt: skip
_SURE_BELOW = 0.5
_MOST = 14
_LIKELY = 0.5


def figures(ecg: ServedECG) -> str:
    """What was measured, each with its usual limits, and what is doubtful about the recording."""
    cells = []
    for name, (called, unit) in FIGURES.items():
        found = getattr(ecg.measurements, name)
        if found.value is None:
            cells.append(Markup('<div class="fig none"><b>–</b><span>{}</span></div>').format(called))
            continue
        usual = _usual(*found.usual)
        side = _side(found)
        doubt = " about" if found.confidence < _SURE_BELOW else ""
        cells.append(
            Markup('<div class="fig{}"><b>{}{:.0f}<i>{}</i></b><span>{}{}</span><small>{}</small></div>').format(
                " odd" if side else "", doubt.strip() + " " if doubt else "", found.value, unit, called, side,
                usual,
            )
        )  # fmt: skip
    return Markup('<div class="figs">{}</div>{}').format(Markup("").join(cells), _noticed(ecg))


def _side(found: Measurement) -> str:
    return {None: "", "below": " ▾ low", "above": " ▴ high"}[found.unusual]


def _noticed(ecg: ServedECG, place: str = "") -> Markup:
    """What measuring, its reader and the check of its quality noticed, as a list."""
    notes = dict.fromkeys([*ecg.measurements.notes, *ecg.notes, *ecg.doubts])
    listed = Markup("").join(Markup("<li>{}{}</li>").format(place, note) for note in notes)
    return Markup('<ul class="doubts">{}</ul>').format(listed) if notes else Markup("")


def _usual(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "" if low is high else f"usual from {low:g}" if high is None else f"usual up to {high:g}"
    return f"usual {low:g} to {high:g}"


def findings(found: Sequence[FindingAnswer], fitted_on: str | None, measured: Measurements) -> str:
    """The likeliest findings with bars; what is measured otherwise than a likely one says stands below."""
    if not found:
        return ""
    calibrated = found[0].calibrated is not None
    least = LIKELY_NO if calibrated else 0.5
    rows = []
    for one in [each for each in found if each.probability > least][:_MOST]:
        said = "P(yes) of the model" if one.calibrated is None else one.calibrated.said
        if one.calibrated is not None and one.calibrated.answer == "no":
            said = "likely not"
        rows.append(
            Markup(
                '<tr><th scope="row">{}</th><td><div class="bar"><div style="width:{:.0f}%"></div></div></td>'
                "<td>{:.0f} %</td><td>{}</td></tr>"
            ).format(one.finding, 100 * one.probability, 100 * one.probability, said)
        )
    likely = [one.finding for one in found if one.probability > _LIKELY]
    against = [sentence for name in likely for sentence in contradictions("", name, measured)]
    doubts = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in against)
    others = len(found) - len(rows)
    basis = (
        f"as frequent as in {fitted_on}, made to agree with each other"
        if calibrated
        else "not calibrated: what the model says, not how likely it is"
    )
    return Markup(
        '<table class="bars"><caption>{} findings asked about; {}</caption><tbody>{}</tbody></table>'
        '<p class="more">{} others: {:.0f} % and less</p><ul class="doubts">{}</ul>'
    ).format(len(found), basis, Markup("").join(rows), others, 100 * least, doubts)


def answer(question: str, found: dict[str, Any]) -> str:
    """One answer with how sure it is."""
    calibrated, own = found["calibrated"], found["own"]
    if found["refused"] is not None:
        kind, head, text = "none", "Not answered", found["refused"]
    elif found["not_measured"] is not None:
        kind, head, text = "none", "Not measured", found["not_measured"]
    elif found["measured"] is not None:
        kind, head = "measured", found["answer"]
        text = f"Measured, not asked of the model: {found['measured']}"
    elif calibrated is not None:
        kind, head = "none", "Cannot tell"
        if calibrated["answer"] is not None:
            kind, head = calibrated["said"], f"{calibrated['said']} {calibrated['answer']}".capitalize()
        likely, frequent = f"{calibrated['probability']:.0%}", f"{calibrated['frequency']:.1%}"
        text = f"{calibrated['finding']}: {likely}, where {frequent} of ECGs show it"
    else:  # nobody knows what such an answer is worth
        said, sure = found["answer"] or "–", "" if found["probability"] is None else _share(found["probability"])
        kind, head, text = "raw", f"The model's guess: {said}", f"{sure} of all answers, " if sure else ""
        if found["unsure"]:
            kind, head, text = "none", "Cannot tell", f"the model's guess is “{said}”, {sure}, and " if sure else ""
        text += "how often such answers are right was never measured"
    notes = list(found["contradicted"])
    if found["negated"]:
        notes.append("The question negates; a model may miss that. Ask it without the negation.")
    if calibrated is not None and own is not None:
        notes.append(f"The model's own answer: {own['answer']}, {_share(own['probability'])} of yes and no.")
    listed = Markup("").join(Markup("<li>{}</li>").format(note) for note in notes)
    return Markup('<article class="answer {}"><h3>{}</h3><p class="head">{}</p><p>{}</p><ul>{}</ul></article>').format(
        kind, question, head, text, listed
    )


def _share(probability: float) -> str:
    return "more than 0.99" if probability > 0.99 else f"{probability:.2f}"


def differences(first: ServedECG, second: ServedECG) -> str:
    """What is measured otherwise in the second."""
    rows = []
    for name, (called, unit) in FIGURES.items():
        one, two = getattr(first.measurements, name), getattr(second.measurements, name)
        values = [f"{each.value:.0f} {unit}{_side(each)}" if each.value is not None else "–" for each in (one, two)]
        change = ""
        if one.value is not None and two.value is not None:
            change = f"{_difference(name, one.value, two.value):+.0f} {unit}"
        cells = (called, *values, change)
        rows.append(Markup("<tr><th scope='row'>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>").format(*cells))
    head = Markup("<tr><th></th><th>first</th><th>second</th><th>change</th></tr>")
    doubts = doubts_about_two((first.record, second.record), (first.patient, second.patient))
    warning = Markup("").join(Markup('<p class="warning" role="alert">{}</p>').format(doubt) for doubt in doubts)
    return Markup('{}<table class="diff"><thead>{}</thead><tbody>{}</tbody></table><p class="more">{}</p>{}{}').format(
        warning, head, Markup("").join(rows), _order(first.record, second.record),
        _noticed(first, "First: "), _noticed(second, "Second: "),
    )  # fmt: skip


def _order(first: ECGRecord, second: ECGRecord) -> str:
    one, two = first.recorded_at, second.recorded_at
    if one is None or two is None:
        return "Which was recorded first, the files do not say."
    apart = abs((two.date() - one.date()).days)
    when = "on one day" if apart == 0 else f"{apart} day{'s' * (apart != 1)} apart"
    return f"Recorded {when}; the {'first' if one <= two else 'second'} is the earlier one."


def _difference(name: str, one: float, two: float) -> float:
    change = round(two) - round(one)  # of what is shown
    return (change + 180) % 360 - 180 if name == "axis" else change


def explanation(question: str, found: Explanation) -> str:
    """In words, what an answer rests on."""
    card = Markup('<article class="answer {}"><h3>{}</h3><p class="head">{}</p><p>{}</p></article>')
    if found.meaningless is not None:
        return card.format("none", question, "No explanation", found.meaningless)
    leads = sorted(zip(found.by_lead.tolist(), found.leads, strict=True), reverse=True)[:4]
    listed = ", ".join(f"{lead} {fall:+.2f}" for fall, lead in leads)
    text = (
        f"Marked in violet: the tenth of all stretches without which “{found.answer}” is least likely. Without it the "
        f"log-odds fall by {found.marked_fall:.2f}, without a random tenth by {found.random_falls.mean():.2f}. "
        f"Without a whole lead: {listed}."
    )
    return card.format("raw", question, f"What “{found.answer}” rests on", text)


def hint(text: str) -> str:
    return Markup('<p class="more">{}</p>').format(text)


def message(text: str) -> str:
    return Markup('<p class="warning" role="alert">{}</p>').format(escape(text))


__all__ = ["answer", "differences", "explanation", "figures", "findings", "hint", "message"]
