"""A report as an evaluation might give it: 60 findings, seven conditions, long names, cells without figures."""

from math import nan

import numpy as np

from ecgllm.evaluation.figures import Chart, Headline, SectionFigures, Series, Table
from ecgllm.evaluation.report import About, Data
from ecgllm.findings import VOCABULARY
from ecgllm.intervals import Estimate, auroc, share, share_difference

MARKUP = "<script>window.hurt = 1</script> & *stars* | pipe"
CONDITIONS = ("the true ECG", "an ECG with the opposite answer", "a random patient's", "phases shuffled", "noise",
              "a flat line", "no ECG at all")  # fmt: skip
RATES = (0.8, 0.3, 0.5, 0.55, 0.5, 0.5, 0.5)


def undefined(value: float = nan, number: int = 12) -> Estimate:
    """An estimate without an interval, or without a value either."""
    return Estimate(value, nan, nan, nan, 1, number, nan, 0.5)


def about(**changes: object) -> About:
    said = {
        "title": "ecgllm-tiny on LUDB, CinC 2021 and PTB-XL",
        "verdict": (
            "It reads the ECG: with the true ECG 73.7 % [71.1, 76.1] of its answers are right, with a random "
            "patient's 48.8 % [46.0, 51.6].",
            "A yes is right 73 % of the time where half of the questions are to be answered yes, and 30 % at the "
            "frequency of the findings in these records.",
        ),
        "model": "checkpoints/ecgllm-tiny",
        "trained_on": "206799 simulated ECGs, no patient's data",
        "data": [Data("ludb", 150, 150, "9f3c" * 16), Data("cinc2021", 1122, None, "17ab" * 16)],
        "protocol": [
            "Yes-or-no questions: P(yes) against P(no), the likelier one counts.",
            "Wordings are those that training did not use.",
            "95 % intervals over patients; p-values adjusted by Holm over all comparisons of a table.",
        ],
        "seed": 0,
        "settings": {"questions": 2000, "least": 5, "margin": 0.05, "against": None},
        "versions": {"python": "3.11.7", "ecgllm": "0.1.0", "torch": "2.13.0+cpu", "transformers": "5.23.0"},
        "date": "2026-11-30",
        "command": "ecgllm evaluate checkpoints/ecgllm-tiny ludb=data/ludb cinc2021=data/cinc2021 --seed 0 -o report/",
        "warnings": ["The detector's settings were chosen on ludb: heart rates there are no test."],
        "terms": {"as frequent as in the corpus": "Yes is as rare as in all records.", MARKUP: MARKUP},
        "picture": reliance().charts[0],
    }
    return About(**(said | changes))


def reliance() -> SectionFigures:
    rng, patients = np.random.default_rng(0), [f"p{number % 90}" for number in range(300)]
    right = {name: rng.random(300) < rate for name, rate in zip(CONDITIONS, RATES, strict=True)}
    shares = {name: share(own, patients) for name, own in right.items()}
    true = right[CONDITIONS[0]]
    rows = [
        (name, own, None if name == CONDITIONS[0] else share_difference(true, right[name], patients), 0.5, 0.04, 300)
        for name, own in shares.items()
    ]
    columns = ("ECG shown", "right", "true less this", "says yes", "P(yes) moves by", "questions")
    chart = Chart("Right answers by what is shown", "dots", [Series("model", list(shares), list(shares.values()))], "",
                  "right", 0.5)  # fmt: skip
    sentences = ["It relies on the ECG.", "Phases shuffled leave something.", "Nothing else does.", MARKUP]
    values = {"conditions": shares, "nothing": nan}
    return SectionFigures("reliance", "Does it look at the ECG?", sentences,
                          [Table("The same questions with other ECGs", columns, rows, "Half are to be answered yes.")],
                          [chart], values, [Headline("right answers", shares[CONDITIONS[0]], ("tossing coins", 0.5),
                                                     "accuracy")])  # fmt: skip


def findings(number: int = 60) -> SectionFigures:
    rng = np.random.default_rng(1)
    columns = ("finding", "AUROC", "average precision", "with", "without", "rules", "commonest answer", "p (Holm)")
    rows, model, rules = [], [], []
    names = [*sorted(VOCABULARY, key=len, reverse=True)[: number // 2], *sorted(VOCABULARY, key=len)][:number]
    for row, name in enumerate(names):
        yes = rng.random(120) < 0.2
        people = list(range(120))
        one = auroc(rng.normal(size=120) + yes * rng.uniform(0, 3), yes, people)
        two = auroc(rng.normal(size=120) + yes, yes, people)
        one, two = (undefined() if row == 3 else one), (None if row % 5 == 0 else two)
        one = undefined(0.71) if row == 4 else one
        model.append(one)
        rules.append(undefined() if two is None else two)
        rows.append((name, one, 0.31, int(yes.sum()), int((~yes).sum()), two, 0.5, 0.0001 * 7**row % 1))
    series = [Series("model", names, model), Series("rules", names, rules)]
    charts = [Chart("AUROC of each finding", "dots", series, "", "AUROC", 0.5, "Intervals are 95 %, over patients.")]
    table = Table("AUROC of P(yes), a finding", columns, rows, "Rules: published criteria on what is measured.")
    return SectionFigures("findings", "Which findings does it see?", ["The mean is .861 [.839, .882]."], [table],
                          charts, {}, [Headline("mean AUROC", model[0], ("rules", rules[1]), "roc_auc"),
                                       Headline("worst AUROC", model[3], metric="roc_auc"),
                                       Headline("best AUROC", model[2])])  # fmt: skip


def calibration() -> SectionFigures:
    stated = [0.05, 0.2, 0.4, 0.6, 0.8, 0.95]
    even, natural = (
        [share(np.arange(60) < rate * 60, list(range(60))) for rate in rates]
        for rates in ((0.15, 0.3, 0.45, 0.55, 0.7, 0.8), (0.02, 0.05, 0.1, 0.2, 0.3, 0.45))
    )
    noise = [share(np.arange(60) < rate * 60, list(range(60))) for rate in (0.8, 0.75, 0.6, 0.5)]
    decibels = [24.0, 12.0, 6.0, 0.0]
    both = [Series("half of the questions are yes", stated, even), Series("as in these records", stated, natural)]
    kinds = [Series("muscle", decibels, noise), Series("baseline", decibels, noise[::-1])]
    charts = [
        Chart("P(yes) against how often yes is true", "reliability", both, "P(yes)", "yes is true"),
        Chart("Right answers over the noise that was added", "lines", kinds, "signal to noise, dB", "right", 0.5),
    ]
    rows = [("as asked", 0.5, 0.034, 0.12, noise[0]), ("as in these records", 0.12, nan, 0.31, undefined())]
    columns = ("frequency of yes", "mean P(yes)", "calibration error", "Brier score", "right")
    table = Table("Calibration of P(yes)", columns, rows)
    return SectionFigures("calibration", "Can its probabilities be believed?", [], [table], charts,
                          {"bins": np.array([0.1, nan]), "brier": np.float64(0.12)})  # fmt: skip


def groups() -> SectionFigures:
    patients = list(range(40))
    rows = [
        (by, name, share(np.arange(40) < right, patients), 1234 * right, 40)
        for by, name, right in (
            ("age", "under 40", 33), ("age", "80 and over", 21), ("sex", "female", 30), ("sex", "male", 29),
            ("device", "a device with a long name of its own, firmware 12.4-beta", 28),
            ("source", "cinc2021/chapman-shaoxing-and-ningbo-together", 40),
        )
    ]  # fmt: skip
    table = Table("Right answers to yes-or-no questions", ("by", "group", "right", "questions", "patients"), rows)
    return SectionFigures("groups", "For whom is it right?", ["No group stands out."], [table])


def sections() -> list[SectionFigures]:
    return [reliance(), findings(), calibration(), groups()]
