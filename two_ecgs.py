"""What speaks against comparing two ECGs: that they are one recording, or of two people.

In: two records, and hashes of whom they are of, where the records themselves no longer say it. Out: sentences that
stand beside whatever is answered about the two. Decided here: nothing is refused, since a copy may be meant as a test;
a name never stands in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from .corpora.records.duplicates import fingerprint, same_recording
from .signals import ECGRecord


def doubts_about_two(ecgs: Sequence[ECGRecord], patients: Sequence[str | None]) -> list[str]:
    """Sentences; none where nothing speaks against it, and of any other number of ECGs. Args: patients: of each,
    anything that tells them apart."""
    if len(ecgs) != 2:
        return []
    (first, second), doubts = ecgs, []
    if first.sex and second.sex and first.sex != second.sex:
        doubts.append(f"The files name different patients: one is {first.sex}, the other {second.sex}.")
    elif all(patients) and patients[0] != patients[1]:
        doubts.append("The files name different patients.")
    if _one_recording(first, second):
        doubts.append("These are one recording: nothing has changed, whatever the model says.")
    return doubts


def _one_recording(one: ECGRecord, two: ECGRecord) -> bool:
    """As `corpora` tells copies: whatever the file's format, its gain or the order of its leads."""
    prints = [fingerprint(each.signal, each.sampling_rate, each.leads) for each in (one, two)]
    return prints[0] is not None and prints[1] is not None and same_recording(*prints)
