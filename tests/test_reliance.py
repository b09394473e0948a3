"""The rule by which a model reads the ECG or does not: on models of whom it is known, and in simulation."""

from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np
import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.intervals import share
from ecgllm.reliance import DOES_NOT_READ, READS, TOO_FEW, Reliance, quadrants, reliance, yes_ratio

WORDS = 8


@dataclass
class Known:
    """A model of whom it is known how it answers: says_yes(words, shows it), bool [questions]."""

    sensitivity: float
    specificity: float
    words: str = "no"
    """by which words alone decide: "no", "all", or "most": all but the first question's."""

    def says_yes(self, words: np.ndarray, shows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        by_ecg = rng.random(len(shows)) < np.where(shows, self.sensitivity, 1 - self.specificity)
        by_words = words % 2 == 0
        return {"no": by_ecg, "all": by_words, "most": np.where(words == 0, by_ecg, by_words)}[self.words]


MODELS = {
    "blind, goes by the words": Known(0, 0, "all"),
    "blind, tosses coins": Known(0.5, 0.5),
    "blind, says yes": Known(1, 0),
    "sees": Known(0.85, 0.85),
    "sees, and says yes too often": Known(0.95, 0.3),
    "weak": Known(0.6, 0.6),
    "of no use": Known(0.52, 0.52),
    "wrong way round": Known(0.3, 0.3),
}


def asked(model: Known, patients: int, rng: np.random.Generator, per_patient: int = 2) -> Reliance:
    """Pairs of records of different patients, eight questions, one record in five showing each of them."""
    number = per_patient * patients // 2
    own = np.array([rng.choice(patients, 2, replace=False) for _ in range(number)])
    words, wanted = np.repeat(rng.integers(0, WORDS, number), 2), np.tile([True, False], number)
    shown = (own + rng.integers(1, patients, own.shape)) % patients
    with_true = model.says_yes(words, wanted, rng)
    with_random = model.says_yes(words, rng.random(2 * number) < 0.2, rng)
    right = with_true == wanted
    return reliance(
        right,
        own.reshape(-1).tolist(),
        {"random": with_random == wanted},
        {"random": shown.reshape(-1).tolist()},
        right.reshape(-1, 2),
        own.tolist(),
        with_true,
    )


@pytest.mark.parametrize(
    ("name", "outcome", "biased"),
    [
        ("blind, goes by the words", DOES_NOT_READ, None),
        ("blind, says yes", DOES_NOT_READ, "yes"),
        ("sees", READS, None),
        ("sees, and says yes too often", READS, "yes"),
        ("wrong way round", DOES_NOT_READ, None),
    ],
)
def test_known_models_land_where_they_belong(name: str, outcome: str, biased: str | None) -> None:
    found = asked(MODELS[name], 200, np.random.default_rng(0))
    assert (found.outcome, found.yes.biased, found.patients_needed) == (outcome, biased, None)
    assert found.wrong_way == (name == "wrong way round")
    if found.outcome == READS:
        assert found.gains["random"].low > 0 and found.pair_gain.low > 0


def test_few_records_say_nothing_and_how_many_would() -> None:
    """The same models with thirty patients, and those that are too weak to be told with 200."""
    rng = np.random.default_rng(1)
    for name in ("blind, goes by the words", "blind, says yes", "of no use"):
        few = asked(MODELS[name], 30, rng)
        assert few.outcome == TOO_FEW and 59 <= few.patients_needed < 3200, name
    many = asked(MODELS["blind, goes by the words"], 2 * few.patients_needed, rng, per_patient=1)
    assert many.outcome == DOES_NOT_READ
    one = reliance([True], ["a"], {"random": [False]})
    assert one.outcome == TOO_FEW and 59 <= one.patients_needed < 3200


def test_figures_by_hand() -> None:
    true, other, pairs = [1, 1, 1, 0, 1, 0], [1, 0, 0, 0, 1, 1], [[1, 1], [1, 0], [0, 0], [1, 1]]
    found = reliance(
        true, "abcdef", {"random": other, "none": [1, 0, 1, 0, 1, 0]}, None, pairs, ["ab", "cd", "ef", "gh"]
    )
    assert found.gains["random"].value == pytest.approx(4 / 6 - 3 / 6)
    assert (found.both_right.value, found.both_wrong.value, found.pair_gain.value) == (0.5, 0.25, 0.125)
    assert found.true == share(true, "abcdef") and set(found.p_values) == {"none"}
    assert all(words in found.rule for words in ("below 5 points", "95 % intervals", "90 % interval"))
    assert asdict(found)["gains"]["none"]["number"] == 6
    without = reliance(true, "abcdef", {"none": other}, against="none")
    assert without.pair_gain is None and "no ECG" in without.rule


def test_what_was_not_answered_is_left_out() -> None:
    """Of the figures above, with more questions that lack one answer or the other, and a condition without any."""
    none = np.nan
    true, other = [1, 1, 1, 0, 1, 0, none, 1], [1, 0, 0, 0, 1, 1, 1, none]
    pairs = [[1, 1], [1, 0], [0, 0], [1, 1], [none, 1], [0, none]]
    patients = ["ab", "cd", "ef", "gh", "ij", "kl"]
    others = {"random": other, "flat": [none] * 8}
    found = reliance(true, "abcdefgh", others, None, pairs, patients, says_yes=[1, 1, 0, 0, none, none, 1, 1])
    assert found.gains["random"].value == pytest.approx(4 / 6 - 3 / 6) and found.gains["random"].number == 6
    assert (found.both_right.value, found.both_wrong.value, found.pair_gain.value) == (0.5, 0.25, 0.125)
    assert found.true == share([1, 1, 1, 0, 1, 0, 1], "abcdefh") and found.yes.share.value == 4 / 6
    assert set(found.gains) == set(found.others) == {"random"}
    with pytest.raises(ECGError, match="no question was answered"):
        reliance([none], "a", {"random": [1]})


def test_a_gain_that_is_small_and_certain_is_no_reading() -> None:
    """Right of one question in forty more, of four thousand patients."""
    number = np.arange(4000)
    other = number % 2 == 0
    found = reliance(other | (number % 40 == 1), number.tolist(), {"random": other})
    assert found.gains["random"].low > 0.015 and found.outcome == DOES_NOT_READ
    assert reliance(other | (number % 40 == 1), number.tolist(), {"random": other}, margin=0.01).outcome == READS


def test_pairs_decide_as_well() -> None:
    """More often right than with a random ECG, and yet no better than a coin on pairs."""
    number = np.arange(2000)
    true, other = number % 2 == 0, number % 4 == 0
    pairs = np.stack([np.arange(1000) % 2 == 0, np.arange(1000) % 2 == 1], axis=1)
    apart = [(f"{one} a", f"{one} b") for one in range(1000)]
    found = reliance(true, number.tolist(), {"random": other}, pairs=pairs, pair_patients=apart)
    assert found.gains["random"].low > 0.2 and found.both_right.value == 0
    assert found.outcome == DOES_NOT_READ


def test_the_four_quadrants_name_the_model() -> None:
    consistent, relies = [1, 1, 1, 1, 0, 0, 1, 0], [0, 0, 0, 1, 1, 0, 1, 1]
    found = quadrants(consistent, relies, "abcdefgh")
    assert [one.value for one in (found.ideal, found.fragile, found.dangerous, found.worst)] == [
        2 / 8,
        2 / 8,
        3 / 8,
        1 / 8,
    ]
    assert found.model == "dangerous" and asdict(found)["worst"]["number"] == 8
    assert quadrants([1, 0], [1, 0], "ab").model == "worst"


def test_yes_to_everything_is_biased() -> None:
    assert yes_ratio(np.ones(60), range(60)).biased == "yes"
    assert yes_ratio(np.zeros(60), range(60)).biased == "no"
    assert yes_ratio(np.arange(60) % 2 == 0, range(60)).biased is None
    assert yes_ratio(np.arange(60) < 54, range(60), expected=0.9).biased is None


def test_what_the_rule_cannot_use_is_refused() -> None:
    for arguments, words in (
        ({"others": {"none": [True]}}, r"answers with \['none'\]; the rule needs those with 'random'"),
        ({"margin": 0}, "margin is 0"),
        ({"pairs": [True], "pair_patients": ["a"]}, r"pairs has the shape \(1,\)"),
        ({"pairs": [[True, False]]}, "its patients are not given"),
        ({"other_patients": {"random": ["a", "b"]}}, "the patients of 1 and of 2"),
    ):
        with pytest.raises(ECGError, match=words):
            reliance(**{"true": [True], "patients": ["a"], "others": {"random": [True]}} | arguments)


@pytest.mark.slow
def test_how_often_each_outcome_is_found() -> None:
    """The figures in the docstring of `reliance`: 200 evaluations of each model, two questions a patient."""
    rng, least = np.random.default_rng(2), {}
    for name, model in MODELS.items():
        for patients in (30, 100, 300):
            found = Counter(asked(model, patients, rng).outcome for _ in range(200))
            rates = {outcome: found[outcome] / 200 for outcome in (READS, DOES_NOT_READ, TOO_FEW)}
            print(f"| {name} | {patients} | {' | '.join(f'{rate:.1%}' for rate in rates.values())} |")
            least[name, patients] = rates
    for patients in (30, 100, 300):
        for name in ("blind, goes by the words", "blind, tosses coins", "blind, says yes", "wrong way round"):
            assert least[name, patients][READS] <= 0.05, name
        for name in ("sees", "sees, and says yes too often", "weak"):
            assert least[name, patients][DOES_NOT_READ] <= 0.1, name
    assert min(least["sees", 100][READS], least["blind, goes by the words", 100][DOES_NOT_READ]) > 0.9
