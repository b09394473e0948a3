"""What a yes about a finding is worth: numbers beside a checkpoint that turn its P(yes) into a probability.

In: `calibration.json` of a checkpoint's folder (`ecgllm calibrate` writes it), a question, and the model's P(yes).
Out: how likely the finding is where it is as frequent as stated, and how sure that makes an answer. Decided here: only
a plain question about one known finding of one ECG is calibrated, all of whose other words are known to say nothing
more; what negates, suggests, compares or asks about leads is not, for its P(yes) means something else. The words are
only searched, and the model reads the question as it was asked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from .errors_ecgllm import CheckpointError, ECGError, shorten
from .weights_ecgllm import tensors_sha256

FILE = "calibration.json"
SURE_YES, SURE_NO, LIKELY_YES, LIKELY_NO = 0.9, 0.05, 0.6, 0.2
"""A yes is sure from .9 on and likely from .6, a no sure up to .05 and likely up to .2; between, nobody can tell."""
SAID = ("sure", "likely", "cannot tell")
_PLAIN_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and any apparent are as at be by can cardiologist check contain contains demonstrate demonstrated "
        "demonstrates detect diagnose display displayed displays do does ecg ekg electrocardiogram "
        "electrocardiographic electrocardiograms evidence evident exhibit exhibited exhibits exist exists find "
        "findings found from has have here identify if in indicate indicates is it look looking me notice observe "
        "of on one patient pattern please present read recognise recognize record recorded recording recordings "
        "report reveal reveals see seen show showing shown shows sign signs spot strip suggest suggests tell that "
        "the there this to trace tracing tracings visible we whether with would you your ",
    )
)
"""What may stand around a finding's name in a plain question. Any other word may negate it, doubt it, compare it, or
make another finding of it ("free of", "alternating", a name with a slip), so that it is not taken for a plain one."""
# Signs that may negate, several sentences, and what an ECG can show at all.
_NOT_PLAIN = re.compile(
    r"[^\w\s?.,:;'\"()-]|\(\s*-?\s*\)|[.!?;]\s*\w|\ban? (?:ecg|ekg|electrocardiogram|tracing|recording)\b"
)
_WITHOUT_MEANING = re.compile(r"\b(?:12|twelve)[\s-]lead\b|[:,]\s*yes or no\s*\?*\s*$", re.IGNORECASE)


class FindingNames:
    """names: finding -> the names in which a question may ask about it; one name may be several findings'."""

    def __init__(self, names: Mapping[str, Iterable[str]]):
        self._finding: dict[str, set[str]] = {}
        for finding, own in names.items():
            for name in own:
                self._finding.setdefault(_plain(name), set()).add(finding)
        # The longest first, so that a bundle branch block is not found within a left one.
        texts = [re.escape(name).replace(r"\ ", r"[\s-]+") for name in sorted(self._finding, key=len, reverse=True)]
        pattern = rf"(?<!\w)(?:{'|'.join(texts)})(?!\w)" if texts else r"(?!)"
        self._pattern = re.compile(pattern, re.IGNORECASE)

    def asked_about(self, question: str) -> str | None:
        """The one finding that a plain question asks about; None of any other question."""
        rest = _WITHOUT_MEANING.sub(" ", self._pattern.sub(" ", question)).lower()
        if _NOT_PLAIN.search(rest) or not _PLAIN_WORDS.issuperset(re.findall(r"[^\W_]+(?:'[^\W_]+)?", rest)):
            return None
        found = {name for match in self._pattern.finditer(question) for name in self._finding[_plain(match[0])]}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class FindingCalibration:
    """Of one finding: logit(probability) = slope * logit(P(yes)) + intercept, where it is as frequent as `frequency`.

    names: in which a question may ask about it. positives, negatives: patients who show it, and who do not, among
    those that it was fitted on. Source: Platt 1999.
    """

    slope: float
    intercept: float
    frequency: float
    names: tuple[str, ...]
    positives: int = 0
    negatives: int = 0

    def probability(self, p_yes: float, frequency: float | None = None) -> float:
        """Args: p_yes: of the model, relative to its P(no). frequency: of the finding among those who are asked about;
        None: as fitted. Raises: ECGError for numbers that are no probabilities."""
        for name, value in (("p_yes", p_yes), ("the frequency", frequency)):
            if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
                raise ECGError(f"{name} is {value}; expected a probability from 0 to 1.")
        if frequency in (0.0, 1.0):
            return float(frequency)
        shift = 0.0 if frequency is None else _logit(frequency) - _logit(self.frequency)
        return 1 / (1 + math.exp(-max(min(self.slope * _logit(p_yes) + self.intercept + shift, 50.0), -50.0)))


@dataclass(frozen=True)
class CalibratedAnswer:
    """finding: what was asked about. probability: that it is there, where `frequency` of ECGs show it. said: one of
    `SAID`, of the answer `answer` ("yes" or "no"; None where nobody can tell)."""

    finding: str
    probability: float
    frequency: float
    said: str
    answer: str | None

    def at(self, probability: float) -> CalibratedAnswer:
        """The same finding where it is otherwise likely, as beside what else the ECG shows."""
        return CalibratedAnswer(self.finding, probability, self.frequency, *said(probability))


@dataclass(frozen=True)
class AnswerCalibration:
    """findings: by name. fitted_on: on which records, in words. other_names: of findings that are not calibrated, so
    that none is taken for another that its name holds. weights: of which model (`seeing_weights`); None: not known.
    measured: what sure and likely answers about other
    patients' records of these were worth (`ecgllm calibrate`), as plain figures."""

    findings: Mapping[str, FindingCalibration]
    fitted_on: str
    other_names: tuple[str, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None

    def finding_of(self, question: str) -> str | None:
        """The one finding that a plain question asks about; None of any other question."""
        name = self._names.asked_about(question)
        return name if name in self.findings else None

    def of(
        self, question: str, p_yes: float, ecgs: int = 1, frequency: float | None = None
    ) -> CalibratedAnswer | None:
        """What an answer is worth; None where the question is not about one known finding of one ECG."""
        name = self.finding_of(question) if ecgs == 1 else None
        return None if name is None else self.of_finding(name, p_yes, frequency)

    def of_finding(self, name: str, p_yes: float, frequency: float | None = None) -> CalibratedAnswer:
        """What the answer to a plain question about a finding is worth, whatever its words. Raises: KeyError for one
        that is not calibrated."""
        own = self.findings[name]
        probability = own.probability(p_yes, frequency)
        return CalibratedAnswer(
            name, probability, own.frequency if frequency is None else frequency, *said(probability)
        )

    @cached_property
    def _names(self) -> FindingNames:
        others = {f"another: {name}": (name,) for name in self.other_names}
        return FindingNames({**{finding: own.names for finding, own in self.findings.items()}, **others})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, where: str = FILE) -> AnswerCalibration:
        """Raises: CheckpointError for anything that `to_dict` does not give."""
        try:
            findings = {
                name: FindingCalibration(**own | {"names": tuple(own["names"])})
                for name, own in values["findings"].items()
            }
            numbers = [
                number
                for own in findings.values()
                for number in (own.slope, own.intercept, own.frequency, own.positives, own.negatives)
            ]
            others = tuple(values.get("other_names") or ())
            names = [own["names"] for own in values["findings"].values()]
            measured = values.get("measured") or {}
            texts = [values["fitted_on"], *others, *(name for own in findings.values() for name in own.names)]
            right = all(isinstance(one, int | float) and math.isfinite(one) for one in numbers)
            right &= all(isinstance(one, str) and one.strip() for one in texts)
            right &= all(0 < own.frequency < 1 and own.slope >= 0 for own in findings.values())
            right &= all(isinstance(own, list | tuple) for own in names) and isinstance(measured, Mapping)
            right &= isinstance(values.get("weights"), str | None)
            if right:
                return cls(findings, values["fitted_on"], others, measured, values.get("weights"))
        except (TypeError, KeyError, AttributeError):
            pass
        raise CheckpointError(
            f"{where} is no calibration: {shorten(repr(values), 120)}; expected what `ecgllm calibrate` writes. Make "
            "it again, or remove the file."
        )


def seeing_weights(model: Any) -> str:
    """16 hex digits of the encoder and the projector of a model, in single precision: adapters of its language model
    may be merged or not."""
    parts = {"encoder": model.ecg_encoder, "projector": model.projector}
    tensors = [
        (f"{part}.{name}", tensor) for part, own in parts.items() for name, tensor in sorted(own.state_dict().items())
    ]
    return tensors_sha256(tensors)[:16]


def fits(calibration: AnswerCalibration, model: Any) -> bool:
    """Whether it was fitted to this model's answers, as far as that can be told: not of weights in half precision."""
    parameter = next(model.projector.parameters())
    return (
        calibration.weights is None
        or str(parameter.dtype) != "torch.float32"
        or (calibration.weights == seeing_weights(model))
    )


def said(probability: float) -> tuple[str, str | None]:
    """(One of `SAID`, the answer that is so sure)."""
    if probability >= LIKELY_YES:
        return SAID[probability < SURE_YES], "yes"
    if probability <= LIKELY_NO:
        return SAID[probability > SURE_NO], "no"
    return SAID[2], None


def read_calibration(source: str | Path, **hub: Any) -> AnswerCalibration | None:
    """What lies in a checkpoint's folder or repository; None where there is none. Raises: CheckpointError."""
    file = cached_file(
        source, FILE, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False, **hub
    )
    if file is None:
        return None
    try:
        values = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{FILE} of {source} is no JSON: {error}; make it again, or remove the file.") from error
    return AnswerCalibration.from_dict(values, f"{FILE} of {source}")


def write_calibration(calibration: AnswerCalibration, folder: str | Path) -> str:
    """Returns: the file's path."""
    path = Path(folder) / FILE
    path.write_text(json.dumps(calibration.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return str(path)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", " ", name.lower().strip())


def _logit(value: float) -> float:
    value = min(max(value, 1e-6), 1 - 1e-6)
    return math.log(value / (1 - value))


__all__ = [
    "FILE",
    "AnswerCalibration",
    "CalibratedAnswer",
    "FindingCalibration",
    "FindingNames",
    "fits",
    "read_calibration",
    "said",
    "seeing_weights",
    "write_calibration",
]
