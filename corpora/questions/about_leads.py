"""Questions about where: is a finding in this lead, which leads show it.

In: records whose source names leads (`finding_leads`: noise in PTB-XL, what is local in simulated records). Out: rows
of the types verify and query. Decided here: of a record that shows a finding, and whose source names no leads, nothing
is asked; half of the records that answer no show the finding in another lead.
"""

from __future__ import annotations

from collections import Counter

from ...signal_ecgllm import LEADS
from .about_findings import Stated
from .sampling import Cell, Rows, draw, in_a_sentence, interleave


def located(stated: Stated) -> list[str]:
    """The findings that some record shows in some leads and not in others."""
    names = {name for record in stated.records for name, leads in record.leads.items() if leads and leads < set(LEADS)}
    return sorted(name for name in names if name in stated.findings)


def verify_leads(stated: Stated, rows: Rows, budget: int) -> None:
    cells = []
    for name in located(stated):
        labels = [(record, stated.label(record, name)) for record in stated.records]
        showing = [record for record, label in labels if label and name in record.leads]
        without = [(record,) for record, label in labels if label is False]
        for lead in LEADS:
            yes, elsewhere = ([(one,) for one in showing if (lead in one.leads[name]) is has] for has in (True, False))
            rng = rows.rng("lead", name, lead)
            in_turn = interleave(*([no[i] for i in rng.permutation(len(no))] for no in (elsewhere, without)))
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
        absent = [(record,) for record in stated.records if stated.label(record, name) is False]
        none = draw(absent, min(share // 4, len(some) // 3), rng, used)
        paraphrase = rows.shuffled("query-leads", name)
        for turn, records in enumerate(interleave(some[: share - len(none)], none)):
            question = paraphrase[turn % len(paraphrase)].format(**in_a_sentence(name))
            leads = records[0].leads.get(name, ())
            rows.add("query-leads", name, "query", question, records, [f"lead {lead}" for lead in leads])
