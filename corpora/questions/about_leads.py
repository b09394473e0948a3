"""Questions about where: is a finding in this lead, which leads show it, what does this lead show.

In: records whose source names leads (`finding_leads`: noise in PTB-XL, what is local in simulated records). Out: rows
of the types verify, choose and query. Decided here: of a record that shows a finding, and whose source names no leads,
nothing is asked, and of a lead nothing about noise or waveforms of which one is not located; half of the records that
answer no show the finding in another lead.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...findings import labels as vocabulary
from ...findings.vocabulary import NOISES
from ...signal_ecgllm import LEADS
from .about_findings import WAVEFORM, Stated, of_kind
from .choices import choose_of_two
from .sampling import Cell, Facts, Rows, in_a_sentence, interleave

_NOISE = "noise"
_KIND_TEMPLATES = {_NOISE: "query-noise-lead", WAVEFORM: "query-waveform-lead"}
_NONE, _NONE_OF_A_LEAD = 1 / 4, 1 / 2  # the most questions that "none" answers
_OF_NOISE = 1 / 5  # of the yes-or-no questions about a lead: whether there is any noise


def located(stated: Stated) -> list[str]:
    """The findings that some record shows in some leads and not in others."""
    names = {name for record in stated.records for name, leads in record.leads.items() if leads and leads < set(LEADS)}
    return sorted(name for name in names if name in stated.findings)


def noises_located(stated: Stated) -> list[str]:
    """The kinds of noise among them: with two, it can be asked which of them a lead shows."""
    return [name for name in located(stated) if vocabulary.VOCABULARY[name].category == _NOISE]


def verify_leads(stated: Stated, rows: Rows, budget: int) -> None:
    cells = []
    for name in located(stated):
        labels = [(record, stated.label(record, name)) for record in stated.records]
        showing = [(record, record.leads[name]) for record, label in labels if label and name in record.leads]
        without = [(record,) for record, label in labels if label is False]
        cells += _cells("verify-lead", name, showing, without, in_a_sentence(name), rows)
    of_noise = round(budget * _OF_NOISE) if noises_located(stated) and stated.asks(_NOISE) else 0
    if of_noise:
        shown = _shown_where(stated, _NOISE)
        showing = [(record, frozenset().union(*where.values())) for record, where in shown if where]
        without = [(record,) for record, where in shown if not where]
        rows.balanced(_cells("verify-noise-lead", _NOISE, showing, without, {}, rows), of_noise)
    rows.balanced(cells, budget - of_noise)


def _cells(
    template: str,
    name: str,
    showing: list[tuple[Facts, frozenset[str]]],
    without: list[tuple[Facts]],
    fields: Mapping[str, str],
    rows: Rows,
) -> list[Cell]:
    """One for each lead. showing: records and the leads that show it; without: those that do not show it anywhere."""
    cells = []
    for lead in LEADS:
        yes, elsewhere = ([(record,) for record, leads in showing if (lead in leads) is has] for has in (True, False))
        rng = rows.rng("lead", name, lead)
        in_turn = interleave(*([no[i] for i in rng.permutation(len(no))] for no in (elsewhere, without)))
        cells.append(Cell(template, "verify", name, yes, in_turn, {"lead": lead, **fields}, key=lead, in_order=True))
    return cells


def choose_leads(stated: Stated, rows: Rows, budget: int) -> None:
    """Which of two noises a lead shows."""
    names, subjects = noises_located(stated), []
    for record in stated.records:
        labels = {name: stated.label(record, name) for name in names}
        for lead in LEADS:
            in_lead = {
                name: (lead in record.leads[name] if name in record.leads else None) if label else label
                for name, label in labels.items()
            }
            subjects.append((record, in_lead, {"lead": lead}))
    choose_of_two(rows, "choose-noise-lead", subjects, budget)


def query_leads(stated: Stated, rows: Rows, budget: int) -> None:
    """Which leads show it: "lead v1" and so on; which noise and which waveform abnormalities a lead shows."""
    names = located(stated)
    kinds = {kind: _shown_where(stated, kind) for kind in _KIND_TEMPLATES if stated.asks(kind)}
    kinds = {kind: shown for kind, shown in kinds.items() if any(where for _, where in shown)}
    share = budget // (2 + len(kinds))  # as much for which leads show it as for all that is asked of a lead
    for kind, shown in kinds.items():
        showing = [(record, where) for record, where in shown if where]
        without = [((record,), ()) for record, where in shown if not where]
        for lead in LEADS:
            answered = [
                ((record,), tuple(name for name, leads in where.items() if lead in leads)) for record, where in showing
            ]
            elsewhere = sum(not answer for _, answer in answered)
            order = rows.rng("without", kind, lead).permutation(len(without))[: max(1, elsewhere)]
            answered += [without[i] for i in order]
            template, most = _KIND_TEMPLATES[kind], -(-share // len(LEADS))
            rows.listed(template, kind, "query", answered, most, _NONE_OF_A_LEAD, {"lead": lead}, lead)
    for name in names:
        answered = []
        for record in stated.records:
            label = stated.label(record, name)
            if label is False or (label and name in record.leads):
                leads = record.leads.get(name, ())
                answered.append(((record,), tuple(f"lead {lead}" for lead in leads)))
        left = -(-(budget - share * len(kinds)) // len(names))
        rows.listed("query-leads", name, "query", answered, left, _NONE, in_a_sentence(name))


def _shown_where(stated: Stated, kind: str) -> list[tuple[Facts, Mapping[str, frozenset[str]]]]:
    """Records with all the noise, or waveform abnormalities, that they show, and its leads; none of a record whose
    source leaves open whether there is any, or where. An exchange of electrodes is of the category noise; of a source
    that states nothing else of it nothing is known of noise."""
    found = []
    for record in stated.records:
        if kind == _NOISE and record.stated.isdisjoint(NOISES):
            continue
        label = stated.group_label(record, kind) if kind == _NOISE else stated.kind_label(record, kind)
        names = _noises(record) if kind == _NOISE else of_kind(record, kind)
        if label is False or (label and all(name in record.leads for name in names)):
            found.append((record, {name: record.leads[name] for name in names}))
    return found


def _noises(record: Facts) -> list[str]:
    known = vocabulary.VOCABULARY
    return [name for name in record.findings if known[name].category == _NOISE and name != "no noise"]
