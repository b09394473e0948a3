"""Questions about where: is a finding in this lead, which leads show it.

In: records whose source names leads (`finding_leads`: noise in PTB-XL, what is local in simulated records). Out: rows
of the types verify and query. Decided here: of a record that shows a finding, and whose source names no leads, nothing
is asked; half of the records that answer no show the finding in another lead.
"""

from __future__ import annotations

from collections import Counter

from ..signal_ecgllm import LEADS
from .question_findings import Stated
from .question_rows import Cell, Facts, Rows, draw, in_a_sentence, interleave


def located(stated: Stated) -> list[str]:
    """The findings that some record shows in some leads and not in others."""
    names = {name for record in stated.records for name, leads in record.leads.items() if leads and leads < set(LEADS)}
    return sorted(name for name in names if name in stated.findings)


def in_lead(stated: Stated, record: Facts, name: str, lead: str) -> bool | None:
    """Whether a record shows a finding in a lead; None where its source leaves that open."""
    shown = stated.truth(record, name)
    if not shown:
        return shown
    return lead in record.leads[name] if name in record.leads else None


def verify_leads(stated: Stated, rows: Rows, budget: int) -> None:
    cells = []
    for name in located(stated):
        for lead in LEADS:
            answers = [(record, in_lead(stated, record, name, lead)) for record in stated.records]
            no = [(record,) for record, answer in answers if answer is False]
            elsewhere = [one for one in no if name in one[0].leads]
            without = [one for one in no if name not in one[0].leads]
            rng, used = rows.rng("lead", name, lead), Counter()
            in_turn = interleave(draw(elsewhere, len(no), rng, used), draw(without, len(no), rng, used))
            yes = [(record,) for record, answer in answers if answer]
            fields = {"lead": lead, **in_a_sentence(name)}
            cells.append(Cell("verify-lead", "verify", name, yes, in_turn, fields, key=lead, in_order=True))
    rows.balanced(cells, budget)


def query_leads(stated: Stated, rows: Rows, budget: int) -> None:
    """Which leads show it: "lead v1" and so on, none in at most a quarter of the questions."""
    names = located(stated)
    for name in names:
        share = -(-budget // len(names))
        rng, used = rows.rng("query-leads", name), Counter()
        some = draw([(record,) for record in stated.records if name in record.leads], share, rng, used)
        absent = [(record,) for record in stated.records if stated.truth(record, name) is False]
        none = draw(absent, min(share // 4, len(some) // 3), rng, used)
        wording = rows.wordings("query-leads", name)
        for turn, records in enumerate(interleave(some[: share - len(none)], none)):
            question = wording[turn % len(wording)].format(**in_a_sentence(name))
            leads = records[0].leads.get(name, ())
            rows.add("query-leads", name, "query", question, records, [f"lead {lead}" for lead in leads])
