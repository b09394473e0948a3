import json
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from ecgllm.evaluation.figures import SectionFigures
from ecgllm.evaluation.report import SCHEMA
from ecgllm.evaluation.report.metrics import metrics
from ecgllm.intervals import share

from .figures_of_a_report import about, calibration, reliance


def test_estimates_are_mappings_and_what_is_not_defined_is_null() -> None:
    found = json.loads(json.dumps(metrics([reliance(), calibration()], about()), allow_nan=False))
    assert found["schema"] == SCHEMA
    assert found["about"]["data"][1] == {"name": "cinc2021", "records": 1122, "patients": None, "hash": "17ab" * 16}
    assert "picture" not in found["about"]
    values = found["sections"]["reliance"]["values"]
    assert values["nothing"] is None
    true = values["conditions"]["the true ECG"]
    assert sorted(true) == sorted(
        ["value", "low", "high", "error", "patients", "number", "p_value", "against", "level"]
    )
    assert true["number"] == 300 and true["low"] < true["value"] < true["high"]
    assert found["sections"]["calibration"]["values"] == {"bins": [0.1, None], "brier": 0.12}


def test_what_numpy_and_python_have_is_what_json_has() -> None:
    values = {"a": np.int64(3), 2: (1, inf), "c": {"y", "x"}, "d": np.bool_(True), "e": Path("a") / "b", "f": None}
    found = metrics([SectionFigures("s", "S", values=values)], about())["sections"]["s"]["values"]
    assert found == {"a": 3, "2": [1, None], "c": ["x", "y"], "d": True, "e": "a/b", "f": None}
    assert type(found["a"]) is int and type(found["d"]) is bool


def test_what_json_cannot_hold_is_named() -> None:
    values = {"groups": [share([True], ["p"]), object()]}
    with pytest.raises(TypeError, match=r"\['s'\]\['values'\]\['groups'\]\[1\] is a object"):
        metrics([SectionFigures("s", "S", values=values)], about())


def test_two_sections_of_one_name_do_not_hide_each_other() -> None:
    with pytest.raises(TypeError, match="two sections are called 's'"):
        metrics([SectionFigures("s", "S", values={"x": nan}), SectionFigures("s", "T")], about())
