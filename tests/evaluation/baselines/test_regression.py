"""Regressions fitted to the evaluated records: they learn from other patients alone, and from what they are given."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecgllm import ECGFeatureExtractor
from ecgllm.corpora import build_questions, records_to_corpus
from ecgllm.encoder_adapter_ecgllm import build_encoder
from ecgllm.encoder_configuration_ecgllm import ECGEncoderConfig
from ecgllm.evaluation import suite
from ecgllm.evaluation.baselines import baselines_for, encoders_of, regression
from ecgllm.evaluation.baselines.embeddings import RANDOM, TRAINED, PooledOutput
from ecgllm.evaluation.baselines.measured import measured
from ecgllm.evaluation.baselines.regression import ON_BOTH, ON_ENCODER, ON_RANDOM_ENCODER
from ecgllm.evaluation.baselines.seen import seen_of
from ecgllm.evaluation.finding_questions import finding_row
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.predictions import PREDICTIONS, planned
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs

FINDING = "atrial fibrillation"


@pytest.fixture(scope="module")
def material() -> Material:
    """40 records of 20 patients, a quarter in atrial fibrillation; of fewer than five patients there is a flutter."""
    records = simulate_ecgs(40, 8, duration=5)
    own = []
    for number, one in enumerate(records):
        finding = FINDING if number // 2 % 4 == 0 else "sinus rhythm"
        own.append(replace(one, patient_id=f"p{number // 2}", findings=(finding,)))
    own[0] = replace(own[0], findings=("atrial flutter",))
    corpus = records_to_corpus(own, source="simulation")
    return Material(corpus, build_questions(corpus.select([]), per_record=1), Settings(least=5))


def rows_of(material: Material, name: str) -> pd.DataFrame:
    labels = {record_id: material.labels.of(record_id, name) for record_id in material.about}
    return planned(
        [
            finding_row(material, record_id, name, label, section="findings")
            for record_id, label in labels.items()
            if label is not None
        ]
    )


def with_encoders(material: Material, **encoders: object) -> Material:
    return replace(material, encoders=encoders)


def test_what_tells_the_label_is_learned_and_noise_is_not(material: Material) -> None:
    noise = np.random.default_rng(0)

    def telling(records: Sequence[ECGRecord]) -> np.ndarray:
        label = [float(material.labels.of(one.id, FINDING) or 0) for one in records]
        return np.stack([label, noise.normal(size=len(records))], axis=1)

    def blind(records: Sequence[ECGRecord]) -> np.ndarray:
        return noise.normal(size=(len(records), 4))

    own = with_encoders(material, **{TRAINED: telling, RANDOM: blind})
    rows = rows_of(own, FINDING)
    positive = [expected == ["yes"] for expected in rows["expected"]]
    assert roc_auc_score(positive, ON_ENCODER(rows, own)["p_yes"]) == 1.0
    assert roc_auc_score(positive, ON_RANDOM_ENCODER(rows, own)["p_yes"]) < 0.8


def test_a_patient_is_never_learned_from_for_itself(material: Material) -> None:
    """Features that name the patient alone: whoever learns from the own patient is right about it."""
    number = {name: row for row, name in enumerate(sorted(set(material.all_patients)))}

    def naming(records: Sequence[ECGRecord]) -> np.ndarray:
        return np.eye(len(number))[[number[material.patient(one.id)] for one in records]]

    own = with_encoders(material, **{TRAINED: naming, RANDOM: naming})
    rows = rows_of(own, FINDING)
    positive = [expected == ["yes"] for expected in rows["expected"]]
    assert roc_auc_score(positive, ON_ENCODER(rows, own)["p_yes"]) <= 0.6


def test_records_are_not_ranked_by_their_fold(material: Material) -> None:
    """Features that say nothing rank nobody, however often each fold's others show the finding."""
    own = with_encoders(material, **{TRAINED: lambda records: np.ones((len(records), 2))})
    found = ON_ENCODER(rows_of(own, FINDING), own)["p_yes"]
    assert np.ptp(found) < 1e-3


def test_rare_findings_refused_records_and_other_questions_are_not_answered(material: Material) -> None:
    ids = list(material.about)

    def refusing(records: Sequence[ECGRecord]) -> np.ndarray:
        return np.array([[np.nan if one.id == ids[3] else float(len(one.id))] for one in records])

    own = with_encoders(material, **{TRAINED: refusing})
    rows = rows_of(own, FINDING)
    found = ON_ENCODER(rows, own)
    unanswered = [row["record_ids"][0] for _, row in rows[found["answers"].isna()].iterrows()]
    assert unanswered == [ids[3]]
    assert ON_ENCODER(rows_of(own, "atrial flutter"), own)["p_yes"].isna().all()
    two = rows.head(2).assign(record_ids=[ids[:2]] * 2)
    assert ON_ENCODER(two, own)["answers"].isna().all()
    assert {one.name for one in baselines_for(material)} == {
        "commonest", "question only", "rules", "fitted: measurements"
    }  # fmt: skip
    assert len(baselines_for(with_encoders(material, **{TRAINED: refusing, RANDOM: refusing}))) == 7


def test_a_model_gives_its_encoder_and_a_random_one_like_it(material: Material) -> None:
    config = ECGEncoderConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)

    class Holding:
        model = build_encoder(config)
        extractor = ECGFeatureExtractor()

    encoders = encoders_of(Holding(), seed=1)
    records = [ecg for _, ecg in zip(range(3), material.ecgs.values(), strict=False)]
    records[1] = replace(records[1], signal=np.full_like(records[1].signal, np.nan))
    one, other = (encoders[name](records) for name in (TRAINED, RANDOM))
    assert one.shape == other.shape == (3, 16)
    assert np.isnan(one[1]).all() and np.isfinite(one[[0, 2]]).all() and not np.allclose(one[0], other[0])
    alone = PooledOutput(Holding.model, Holding.extractor)([records[2]])
    assert np.allclose(alone[0], one[2], atol=1e-5)
    state = torch.get_rng_state()
    assert np.allclose(encoders_of(Holding(), seed=1)[RANDOM](records[:1]), other[:1], atol=1e-5)
    assert torch.equal(state, torch.get_rng_state())
    assert encoders_of(object()) == {}

    class Named:
        model, extractor = "a-model-of-a-server", ECGFeatureExtractor()

    assert encoders_of(Named()) == {}


def test_measurements_become_numbers_and_what_is_not_seen_is_nan(material: Material) -> None:
    ids = list(material.about)[:3]
    seen = seen_of(material, ids)
    values = measured([*(seen[record_id] for record_id in ids), None])
    known = np.array([seen[record_id] is not None for record_id in ids] + [False])
    assert np.isfinite(values[known]).all() and np.isnan(values[~known]).all()
    rates = [seen[record_id].rate for record_id, one in zip(ids, known, strict=False) if one]
    assert np.allclose(values[known, 0], rates)


def test_both_are_measurements_beside_embeddings(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    own = with_encoders(material, **{TRAINED: lambda records: np.ones((len(records), 3))})
    told = [[float(material.labels.of(one, FINDING) or 0)] for one in sorted(material.about)]
    monkeypatch.setattr(regression, "of_measurements", lambda _, asked: np.array(told)[: len(asked)])
    rows = rows_of(own, FINDING)
    positive = [expected == ["yes"] for expected in rows["expected"]]
    assert regression.of_both(own, sorted(material.about)).shape == (len(material.about), 4)
    assert roc_auc_score(positive, ON_BOTH(rows, own)["p_yes"]) == 1.0


def test_baselines_stand_beside_a_model_by_the_same_table(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    own = with_encoders(material, **{TRAINED: lambda records: np.ones((len(records), 3))})
    kept = [one for one in baselines_for(own) if one.name in ("commonest", "fitted: embeddings")]
    monkeypatch.setattr(suite, "baselines_for", lambda _: kept)
    rows = rows_of(own, FINDING).assign(by="model", answer="yes", refused=None)
    sets = rows.head(3).assign(section="label_sets")
    commonest, fitted = suite.beside(pd.concat([rows, sets], ignore_index=True), own)
    assert list(commonest.columns) == list(fitted.columns) == PREDICTIONS.names
    assert len(commonest) == len(fitted) == len(rows)  # what was fitted is no zero-shot answer
    assert set(commonest["by"]) == {"commonest"} and commonest["p_yes"].isna().all()
    assert commonest["right"].tolist() == [expected == ["no"] for expected in rows["expected"]]
    assert fitted["p_yes"].notna().all()
