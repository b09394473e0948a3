"""A small simulated corpus, and models whose figures are known: they answer from the truth, or without looking."""

import zlib

import pandas as pd
import pytest

from ecgllm.corpora import build_questions, records_to_corpus
from ecgllm.corpora.questions.sampling import facts_of
from ecgllm.evaluation.material import Material, Settings
from ecgllm.findings.labels import label
from ecgllm.signals.simulation import simulate_ecgs, simulate_follow_ups


@pytest.fixture(scope="session")
def material():
    """160 simulated patients, 40 of them with two ECGs; few questions for each section."""
    records = simulate_ecgs(120, seed=3)
    records += [record for pair in simulate_follow_ups(40, seed=4) for record in (pair.first, pair.second)]
    corpus = records_to_corpus(records, source="simulation")
    questions = build_questions(corpus, types=["comparison"], paraphrases="test", per_record=3)
    return Material(corpus, questions, Settings(questions=900))


@pytest.fixture(scope="session")
def shows(material):
    """shows(record id, finding) -> True, False or None, from the corpus."""
    facts = {record.id: record for record in facts_of(material.corpus)}
    return lambda record_id, finding: label(facts[record_id].findings, finding, facts[record_id].stated)


@pytest.fixture(scope="session")
def answer():
    """answer(planned, how, by="model"): the table with the answers of `how(row) -> "yes", "no" or None`.

    None is a refusal. p_yes is .9 for yes and .1 for no, unless how gives (answer, p_yes).
    """

    def table(planned: pd.DataFrame, how, by: str = "model") -> pd.DataFrame:
        rows = []
        for row in planned.to_dict("records"):
            found = how(row)
            said, p_yes = found if isinstance(found, tuple) else (found, {"yes": 0.9, "no": 0.1}.get(found))
            answers = None if said is None else [said]
            right = None if said is None or row["expected"] is None else answers == list(row["expected"])
            rows.append(
                row
                | {"by": by, "answer": said, "answers": answers, "p_yes": p_yes, "probability": None}
                | {"refused": "not said" if said is None else None, "right": right}
            )
        return pd.DataFrame(rows)

    return table


@pytest.fixture(scope="session")
def sees(shows):
    """Answers a question about one finding from the ECG that is shown."""

    def how(row):
        there = shows(row["shown_ids"][0], row["attribute"])
        return None if there is None else ("yes" if there is (row["wording"] != "negation") else "no")

    return how


def blind(row):
    """Answers by the finding alone, and so the same whatever is shown; turns with a negation."""
    there = zlib.crc32(row["attribute"].encode()) % 2 == 1
    return "yes" if there is (row["wording"] != "negation") else "no"


def says_yes(row):
    return "yes"
