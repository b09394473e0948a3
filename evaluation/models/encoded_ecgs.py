"""ECGs as a checkpoint sees them, each prepared and encoded once for all questions about it.

In: shown ECGs. Out: what the encoder makes of each, and why the checkpoint's own tool would not have taken it. Decided
here: an ECG that is refused, because no heart beats in it, is encoded all the same where it can be, so that what the
model itself says is known, too; how many are kept.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...feature_extraction_ecgllm import ECGFeatureExtractor, ECGInputError
from ...signals import ECGRecord, measure
from ..protocol import ShownECG

Encode = Callable[[list[Mapping[str, Any]]], Sequence[Any]]
"""ECGs as `ECGFeatureExtractor.prepare` gives them -> what the encoder makes of each."""

_KEPT = 1024  # of 25 kB (ours, 10 s) to some MB


@dataclass(frozen=True)
class EncodedECG:
    """value: what the encoder makes of it, None where it cannot be prepared. refused: why it would not be taken."""

    value: Any | None
    refused: str | None = None


class EncodedECGs:
    """The ECGs that a checkpoint was shown last.

    Args: extractor: the checkpoint's. encode: see `Encode`. kept: how many are remembered. measuring: whether to
        measure what is shown, for a model that reads it. settings: nan_policy, drop_unknown_leads; see
        `ECGFeatureExtractor.prepare`.
    """

    def __init__(
        self,
        extractor: ECGFeatureExtractor,
        encode: Encode,
        kept: int = _KEPT,
        measuring: bool = False,
        **settings: Any,
    ):
        # Of an extractor that a checkpoint's own code made, it is a class of that code.
        self._refusal = getattr(sys.modules[type(extractor).__module__], ECGInputError.__name__, ECGInputError)
        self._extractor, self._encode, self._size, self._settings = extractor, encode, kept, settings
        self._measuring = measuring
        if settings.get("nan_policy") is not None:  # one that there is not is refused here, and not with every ECG
            type(extractor)(nan_policy=settings["nan_policy"])
        self._kept: OrderedDict[ShownECG, EncodedECG] = OrderedDict()
        self._of: Mapping[ShownECG, ECGRecord] | None = None

    def of(self, shown: Iterable[ShownECG], ecgs: Mapping[ShownECG, ECGRecord]) -> dict[ShownECG, EncodedECG]:
        """Each of the ECGs, encoded. Names of ECGs have a meaning within one mapping: with another all are new."""
        if ecgs is not self._of:
            self._kept.clear()
            self._of = ecgs
        wanted = list(dict.fromkeys(shown))
        prepared, refused = {}, {}
        for one in wanted:
            if one not in self._kept:
                prepared[one], refused[one] = self._prepared(ecgs[one.signal])
                if self._measuring and prepared[one] is not None and one.told != "":
                    measured = ecgs[one.signal if one.told is None else ShownECG(one.told)]
                    prepared[one] = {**prepared[one], "measured": measure(measured).figures()}
        usable = [one for one, ecg in prepared.items() if ecg is not None]
        encoded = dict(zip(usable, self._encode([prepared[one] for one in usable]), strict=True)) if usable else {}
        for one in prepared:
            self._kept[one] = EncodedECG(encoded.get(one), refused[one])
        found = {one: self._kept[one] for one in wanted}
        for one in wanted:
            self._kept.move_to_end(one)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return found

    def _prepared(self, record: ECGRecord) -> tuple[Mapping[str, Any] | None, str | None]:
        """(as the model sees it, why the tool refuses it)."""
        try:
            return self._extractor.prepare(record, require_heart=True, **self._settings)[0], None
        except self._refusal as error:
            refused = str(error).removeprefix("ecgs[0]: ")
        try:
            return self._extractor.prepare(record, **self._settings)[0], refused
        except self._refusal as error:
            return None, str(error).removeprefix("ecgs[0]: ")


def why_refused(ecgs: Sequence[EncodedECG]) -> str | None:
    """The reasons for which ECGs of a question are refused; None where there are none."""
    reasons = [(number, ecg.refused) for number, ecg in enumerate(ecgs, start=1) if ecg.refused]
    if len(ecgs) == 1:
        return reasons[0][1] if reasons else None
    return "; ".join(f"ECG {number}: {reason}" for number, reason in reasons) or None
