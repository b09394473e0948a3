"""The verdict in words."""

import numpy as np

from ecgllm.evaluation.verdict import verdict


def test_two_sentences_say_what_was_found() -> None:
    number = np.arange(400)
    half, most = number % 2 == 0, number % 5 > 0
    pairs, apart = most.reshape(-1, 2), [(2 * one, 2 * one + 1) for one in range(200)]
    seeing = verdict(most, number.tolist(), {"random": half}, pairs=pairs, pair_patients=apart, says_yes=half)
    assert (seeing.outcome, seeing.patients_needed) == ("reads", None)
    first, second = seeing.sentences
    assert (
        first.startswith("It reads the ECG: right in 80.0 % [")
        and "with a random patient's ECG, a difference of +30.0 points [" in first
    )
    assert "right about both in 60.0 % [" in second and "it says yes in 50.0 % [" in second and "biased" not in second
    blind = verdict(half, number.tolist(), {"random": half}, says_yes=np.ones(400))
    assert blind.outcome == "does not read" and blind.sentences[0].endswith("5 points and less are of no use.")
    assert blind.sentences[1].endswith("where yes is true in 50.0 %, biased towards yes.")
    little = verdict(half | (np.arange(400) % 40 == 1), number.tolist(), {"random": half})
    assert little.outcome == "does not read" and little.sentences[0].startswith(
        "It hardly reads the ECG: right in 52.5"
    )
    few = verdict(half[:9], list(range(9)), {"random": half[:9]})
    assert few.outcome == "too few records" and f"about {few.patients_needed:,} patients would do" in few.sentences[0]
    reverse = verdict(~most, number.tolist(), {"random": half})
    assert reverse.outcome == "does not read" and "the wrong way round" in reverse.sentences[0]
