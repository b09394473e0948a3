"""What augmentation may do to an ECG, that it can be repeated, and where it is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from datasets import load_from_disk
from torch.utils.data import DataLoader

from ecgllm.corpora import prepare
from ecgllm.processing_ecgllm import LEADS, ECGFeatureExtractor
from ecgllm.signals import ECGReadError
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.data.augmentations import Augmenter, AugmentRecipe
from ecgllm.training.data.encoded_signals import EncodedSignals
from ecgllm.training.data.prepared_signals import load_signals, prepare_signals
from ecgllm.training.data.pretraining_examples import PretrainingExamples
from ecgllm.training.data.statement_targets import StatementTargets
from ecgllm.training.recipe import RecipeError

EXTRACTOR = ECGFeatureExtractor()
ALL = {
    "lead_dropout": 0.2,
    "crop": 0.3,
    "amplitude": 0.2,
    "noise": 0.5,
    "baseline": 0.3,
    "sharpness": 0.5,
    "slow_share": 0.5,
    "placement": 0.1,
}


@pytest.fixture(scope="module")
def ecgs() -> list[dict[str, Any]]:
    features = [EXTRACTOR(record, return_tensors="np") for record in simulate_ecgs(20, seed=1)]
    return [
        {
            "ecg_values": each["ecg_values"][0],
            "lead_mask": each["lead_mask"][0],
            "preprocessing_id": EXTRACTOR.preprocessing_id,
        }
        for each in features
    ]


def augmenter(seed: int = 0, extractor: ECGFeatureExtractor = EXTRACTOR, **fields: Any) -> Augmenter:
    return Augmenter(AugmentRecipe(**fields), extractor, seed)


def test_nothing_asked_nothing_done(ecgs: list[dict]) -> None:
    varied = augmenter()(ecgs[0], 0)
    assert np.array_equal(varied["ecg_values"], ecgs[0]["ecg_values"]) and varied["lead_mask"].all()
    assert not varied["noise_added"]


def test_the_same_numbers_give_the_same_bytes(ecgs: list[dict]) -> None:
    first, again, other = augmenter(3, **ALL), augmenter(3, **ALL), augmenter(4, **ALL)

    def made(by: Augmenter) -> list[bytes]:
        return [by(ecg, number)["ecg_values"].tobytes() for number, ecg in enumerate(ecgs)]

    before = made(first)
    assert before == made(again) == made(first)
    assert not set(before) & set(made(other))
    first.set_epoch(1)
    assert not set(before) & set(made(first))
    again.set_epoch(1)
    assert made(first) == made(again)
    assert first(ecgs[0], 5, 0)["ecg_values"].tobytes() != first(ecgs[0], 5, 1)["ecg_values"].tobytes()


@pytest.mark.parametrize("name", ALL)
def test_each_way_to_vary_is_drawn_anew_in_every_epoch(name: str, ecgs: list[dict]) -> None:
    vary, made = augmenter(**{name: ALL[name]}), []
    for epoch in (0, 1):
        vary.set_epoch(epoch)
        made.append([vary(ecg, number)["ecg_values"] for number, ecg in enumerate(ecgs)])
    assert not all(map(np.array_equal, *made))


def test_what_came_in_is_left_alone(ecgs: list[dict]) -> None:
    before, mask = ecgs[0]["ecg_values"].copy(), ecgs[0]["lead_mask"].copy()
    augmenter(**ALL)(ecgs[0], 0)
    assert np.array_equal(ecgs[0]["ecg_values"], before) and np.array_equal(ecgs[0]["lead_mask"], mask)


def test_dropped_leads_are_missing_and_one_stays(ecgs: list[dict]) -> None:
    some, all_ = augmenter(lead_dropout=0.25), augmenter(lead_dropout=1.0)
    dropped = []
    for number in range(200):
        ecg = ecgs[number % len(ecgs)]
        varied = some(ecg, number)
        assert not varied["ecg_values"][~varied["lead_mask"]].any()
        assert np.array_equal(varied["ecg_values"][varied["lead_mask"]], ecg["ecg_values"][varied["lead_mask"]])
        dropped.append((~varied["lead_mask"]).mean())
        assert all_(ecg, number)["lead_mask"].sum() == 1
    assert 0.2 < np.mean(dropped) < 0.3
    single = {**ecgs[0], "lead_mask": np.arange(12) == 4}
    assert np.array_equal(all_(single, 0)["lead_mask"], single["lead_mask"])


def test_a_crop_is_a_stretch_of_the_ecg(ecgs: list[dict]) -> None:
    crop, lengths, starts = augmenter(crop=0.3), [], []
    for number in range(100):
        whole, part = ecgs[0]["ecg_values"], crop(ecgs[0], number)["ecg_values"]
        found = [
            s
            for s in range(whole.shape[1] - part.shape[1] + 1)
            if np.array_equal(whole[:, s:][:, : part.shape[1]], part)
        ]
        assert len(found) == 1
        lengths.append(part.shape[1])
        starts += found
    assert 700 <= min(lengths) < 750 and max(lengths) > 950 and max(starts) > 150


def test_all_leads_change_by_one_bounded_factor(ecgs: list[dict]) -> None:
    factors = []
    for number in range(100):
        varied = augmenter(amplitude=0.25)(ecgs[0], number)["ecg_values"]
        factor = varied[1].max() / ecgs[0]["ecg_values"][1].max()
        np.testing.assert_allclose(varied, ecgs[0]["ecg_values"] * factor, rtol=1e-4, atol=1e-6)
        factors.append(factor)
    assert 0.8 - 1e-4 <= min(factors) < 0.85 and 1.2 < max(factors) <= 1.25 + 1e-4


def test_einthoven_and_goldberger_stay_true(ecgs: list[dict]) -> None:
    vary = augmenter(amplitude=0.3, noise=1.0, baseline=0.5, crop=0.2, sharpness=0.9, slow_share=1.0, placement=0.2)
    for number, ecg in enumerate(ecgs):
        lead = dict(zip(LEADS, vary(ecg, number)["ecg_values"], strict=True))
        np.testing.assert_allclose(lead["III"], lead["II"] - lead["I"], atol=2e-5)
        np.testing.assert_allclose(lead["aVR"], -(lead["I"] + lead["II"]) / 2, atol=2e-5)


def power(values: np.ndarray, low: float, high: float) -> float:
    frequency = np.fft.rfftfreq(values.shape[1], 1 / EXTRACTOR.sampling_rate)
    spectrum = np.abs(np.fft.rfft(values, axis=1)) ** 2
    return float(spectrum[:, (frequency >= low) & (frequency < high)].sum())


def test_sharpness_changes_fast_parts_alone_both_ways(ecgs: list[dict]) -> None:
    vary, fast, slow = augmenter(sharpness=0.8), [], []
    for number, ecg in enumerate(ecgs * 3):
        before, after = ecg["ecg_values"], vary(ecg, number)["ecg_values"]
        fast.append(power(after, 30, 50) / power(before, 30, 50))
        slow.append(power(after, 0.5, 2) / power(before, 0.5, 2))
    assert min(fast) < 0.6 and max(fast) > 1.5
    assert np.allclose(slow, 1, atol=0.03)  # what a filter of QRS moves there


def test_slow_parts_are_taken_off_some_ecgs() -> None:
    vary, time = augmenter(slow_share=1.0), np.arange(6000) / 100
    kept = {}
    for frequency in (0.05, 5):
        wave = np.tile(np.sin(2 * np.pi * frequency * time), (12, 1)).astype(np.float32)
        ecg = {"ecg_values": wave, "lead_mask": np.ones(12, dtype=bool), "preprocessing_id": 0}
        kept[frequency] = np.array([np.std(vary(ecg, number)["ecg_values"]) / np.std(wave) for number in range(80)])
    assert 0.3 < np.mean(kept[0.05] == 1) < 0.7  # every other ECG is left alone
    assert kept[0.05].min() < 0.25 and kept[0.05].max() <= 1
    assert np.allclose(kept[5], 1, atol=0.02)


def test_chest_leads_have_gains_of_their_own_and_limb_leads_one(ecgs: list[dict]) -> None:
    vary, gains = augmenter(placement=0.2), []
    for number, ecg in enumerate(ecgs * 10):
        before, after = ecg["ecg_values"], vary(ecg, number)["ecg_values"]
        factor = (after * before).sum(axis=1) / (before * before).sum(axis=1)
        assert np.allclose(after, before * factor[:, None], atol=1e-5)
        assert np.allclose(factor[:6], factor[0])
        gains.append(np.log(factor[5:]))
    assert np.allclose(np.std(gains, axis=0), 0.2, atol=0.04)
    assert np.all(np.abs(np.corrcoef(np.transpose(gains)) - np.eye(7)) < 0.3)


def test_baseline_is_what_the_high_pass_leaves_of_it(ecgs: list[dict]) -> None:
    raw = ECGFeatureExtractor(baseline="none")
    through, past = (augmenter(baseline=1.0, extractor=extractor)._wander for extractor in (EXTRACTOR, raw))
    assert np.abs(past).max() > 1  # two electrodes of 1 mV each make a lead
    assert 0 < (through**2).mean() < 0.2 * (past**2).mean()


def write_noise(folder: Path, frequency: float) -> None:
    time = np.arange(360 * 20) / 360
    signal = np.stack([0.2 * np.sin(2 * np.pi * frequency * time + phase) for phase in (0.0, 1.0)], axis=1)
    wfdb.wrsamp("em", 360, ["mV"] * 2, ["noise1", "noise2"], p_signal=signal, fmt=["16"] * 2, write_dir=str(folder))


def test_noise_from_a_folder_of_records(ecgs: list[dict], tmp_path: Path) -> None:
    write_noise(tmp_path, 25.0)
    vary = augmenter(noise=1.0, noise_source=str(tmp_path), noise_level=0.5)
    added = vary(ecgs[0], 0)["ecg_values"] - ecgs[0]["ecg_values"]
    spectrum = np.abs(np.fft.rfft(added, axis=1)).sum(axis=0)
    assert np.argmax(spectrum) / 10 == pytest.approx(25.0, abs=0.3)  # at the model's rate, not at 25 * 100 / 360
    assert 0.01 < np.abs(added).max() < 2


def test_a_folder_without_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no record of 2 s or more"):
        augmenter(noise=1.0, noise_source=str(tmp_path))
    with pytest.raises(ECGReadError):
        augmenter(noise=1.0, noise_source=str(tmp_path / "nowhere"))


def test_added_noise_leaves_open_whether_there_is_noise() -> None:
    findings = [["static noise", "sinus rhythm"], ["sinus rhythm"], ["atrial fibrillation", "baseline drift"]]
    statements = StatementTargets(findings, {None: {name for own in findings for name in own}})
    clean = dict(zip(statements.names, statements.targets(["sinus rhythm"]), strict=True))
    noisy = dict(zip(statements.names, statements.open_about_noise(statements.targets(["sinus rhythm"])), strict=True))
    assert clean["static noise"] == clean["noise"] == 0 and noisy["static noise"] == noisy["noise"] == -1
    assert noisy["sinus rhythm"] == 1 and noisy["atrial fibrillation"] == 0
    spoilt = statements.open_about_noise(statements.targets(["static noise", "sinus rhythm"]))
    assert spoilt[statements.names.index("static noise")] == 1


def test_workers_that_live_on_hear_of_the_next_epoch(tmp_path: Path) -> None:
    corpus = prepare("simulation", limit=8, seed=1)
    prepare_signals(corpus, EXTRACTOR, tmp_path / "signals")
    examples = PretrainingExamples(corpus, load_signals(tmp_path / "signals"), augmenter=augmenter(**ALL))
    loader = DataLoader(examples, batch_size=None, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        examples.set_epoch(epoch)
        for here, there in zip(examples, loader, strict=True):
            assert np.array_equal(here["ecg"]["ecg_values"], np.asarray(there["ecg"]["ecg_values"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.pretrain.augment={lead_drop: 0.1}", "unknown key 'lead_drop'; did you mean 'lead_dropout'"),
        ("stages.pretrain.augment={placement: -1}", "placement is -1; expected 0 or more"),
        ("stages.pretrain.augment={sharpness: 2}", "augment.sharpness is 2; expected 1 or less"),
        ("stages.pretrain.augment={crop: 1}", "augment.crop is 1; expected 0.9 or less"),
        ("stages.pretrain.augment={baseline: -1}", "baseline is -1; expected 0 or more"),
        ("stages.debias.augment={crop: -0.1}", "debias.augment.crop is -0.1; expected 0 or more"),
    ],
)
def test_recipes_that_cannot_be_are_refused(write_recipe: Callable[..., Path], override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write_recipe(), [override])


def test_millivolts_are_refused_where_the_signal_has_none(write_recipe: Callable[..., Path]) -> None:
    scaled = "feature_extractor.scaling=zscore"
    with pytest.raises(RecipeError, match="noise and baseline are in mV, and the feature extractor's scaling is 'zs"):
        load_recipe(write_recipe(), [scaled, "stages.pretrain.augment={noise: 0.5}"])
    load_recipe(write_recipe(), [scaled, "stages.pretrain.augment={lead_dropout: 0.5}"])


@pytest.mark.slow
def test_taken_up_again_it_does_the_same(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    """14 steps of 6 an epoch, from the checkpoint of step 4 once more: as if killed in the first epoch."""
    training = {"max_steps": 14, "learning_rate": 2e-3, "save_steps": 4, "save_total_limit": 9, "logging_steps": 1}
    recipe = write_recipe(stages={"pretrain": {"batch_size": 8, "augment": ALL, "training": training}})
    run = run_recipe(load_recipe(recipe))
    weights = (run / "pretrain" / "model" / "model.safetensors").read_bytes()
    plain = run_recipe(load_recipe(recipe, [f"output={tmp_path / 'plain'}", "stages.pretrain.augment={}"]))
    losses = [
        [
            entry["loss"]
            for entry in json.loads((folder / "metrics.json").read_text())["pretrain"]["log"]
            if "loss" in entry
        ]
        for folder in (run, plain)
    ]
    assert all(abs(a - b) > 1e-4 for a, b in zip(*losses, strict=True))  # it does something
    for left in ("metrics.json", "model", "checkpoint-8", "checkpoint-12", "checkpoint-14"):
        path = run / "pretrain" / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run_recipe(load_recipe(recipe))
    assert (run / "pretrain" / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_questions_are_asked_about_varied_ecgs_where_the_encoder_learns(write_recipe: Callable[..., Path]) -> None:
    stage = {
        "tune_encoder": True, "tune": "frozen", "batch_size": 4, "evaluate": 4, "augment": ALL,
        "questions": {"per_record": 1, "types": ["verify", "comparison"]}, "training": {"max_steps": 3},
    }  # fmt: skip
    run = run_recipe(load_recipe(write_recipe(stages={"finetune": stage})))
    metrics = json.loads((run / "metrics.json").read_text())["finetune"]
    assert np.isfinite(metrics["train"]["train_loss"]) and not (run / "encoded").exists()


def test_a_frozen_encoder_encodes_training_ecgs_varied_once_and_others_as_they_are(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    stage = {
        "tune": "full", "batch_size": 4, "evaluate": 0, "augment": {"crop": 0.3},
        "questions": {"per_record": 1, "types": ["verify", "comparison"]},
        "training": {"max_steps": 3, "save_steps": 2},
    }  # fmt: skip
    recipe = load_recipe(write_recipe(stages={"finetune": stage}))
    run = run_recipe(recipe)
    stores = [EncodedSignals(folder) for folder in (run / "encoded").iterdir()]
    assert len(stores) == 2
    split = dict(zip(*(load_from_disk(str(run / "corpus"))[name] for name in ("id", "split")), strict=True))
    varied, plain = sorted(stores, key=lambda store: sum(store.length(name) == 1000 for name in store) / len(store))
    assert {split[name] for name in varied} == {"train"} and {split[name] for name in plain} == {"validation"}
    assert sum(varied.length(name) < 1000 for name in varied) > 0.8 * len(varied)
    assert all(plain.length(name) == 1000 for name in plain)
    weights = (run / "model.safetensors").read_bytes()
    for left in ("metrics.json", "model", "checkpoint-3"):
        path = run / "finetune" / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run_recipe(recipe)
    assert (run / "model.safetensors").read_bytes() == weights
