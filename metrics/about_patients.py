"""What metrics for `evaluate` have in common: rows about patients, each with a prediction and a reference.

Linked into the folder of each metric.
"""

import datasets
import evaluate

ANSWERS = datasets.Sequence(datasets.Value("string"))
TEXT, TRUTH, NUMBER = (datasets.Value(kind) for kind in ("string", "bool", "float64"))


def about(description, inputs, predictions, references, citation="", **more):
    """The information of a metric. predictions, references, more: what kind of value each column holds."""
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description=inputs,
        features=datasets.Features({"predictions": predictions, "references": references, **more, "patients": TEXT}),
    )


def whose(patients):
    """The patients of each row; of a question about two ECGs both are joined by "|"."""
    return [tuple(names.split("|")) for names in patients]
