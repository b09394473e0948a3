"""Times of recording as they are shown: the year, and which of several ECGs came first.

In: times. Out: ranks. Decided here: that a full date, which tells apart patients and admissions, is never
shown, and that two ECGs keep their order all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def order_in_time(times: Sequence[datetime | None]) -> list[int | None]:
    """Of each time of recording its place, from 1 (the earliest; equal times share a place); None for an unknown one.

    Times with and without a time zone cannot be compared: among both, all places are None.
    """
    known = [time for time in times if time is not None]
    if len({time.utcoffset() is None for time in known}) > 1:
        return [None] * len(times)
    places = {time: place for place, time in enumerate(sorted(set(known)), 1)}
    return [None if time is None else places[time] for time in times]
