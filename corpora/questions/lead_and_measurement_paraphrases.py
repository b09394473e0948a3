"""The paraphrases of the templates about leads and about measurements of one ECG, as `paraphrases` has the others.

Nothing flows in; `LEAD_PARAPHRASES` and `MEASUREMENT_PARAPHRASES`, parts of `paraphrases.PARAPHRASES`, flow out.
Placeholders are listed there.
"""

from __future__ import annotations

LEAD_PARAPHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "verify-lead": {
        "train": (
            "Does this ECG show {finding} in lead {lead}?",
            "{Is} there {finding} in lead {lead}?",
            "{Is} {finding} present in lead {lead} of this ECG?",
            "Can {finding} be seen in lead {lead}?",
            "Does lead {lead} show {finding}?",
            "Looking at lead {lead}, {is_} there {finding}?",
            "{Is} {finding} visible in lead {lead} of this recording?",
            "Is lead {lead} of this tracing one that shows {finding}?",
        ),
        "test": (
            "Does lead {lead} of this tracing exhibit {finding}?",
            "Looking at lead {lead} of this recording, do you find {finding}?",
        ),
    },
    "query-leads": {
        "train": (
            "Which leads show {finding}?",
            "In which leads does this ECG show {finding}?",
            "Name the leads of this ECG with {finding}.",
            "Where can {finding} be seen in this electrocardiogram?",
            "List the leads that show {finding} in this ECG.",
            "What leads are affected by {finding}?",
            "In which leads of this recording {is_} {finding} present?",
            "State the leads in which this tracing shows {finding}.",
        ),
        "test": (
            "List the leads of this tracing that exhibit {finding}.",
            "In what leads of this recording do you find {finding}?",
        ),
    },
    "verify-noise-lead": {
        "train": (
            "Is there any noise in lead {lead}?",
            "Does this ECG show noise of any kind in lead {lead}?",
            "Is lead {lead} of this ECG disturbed by any noise?",
            "Can any kind of noise be seen in lead {lead}?",
            "Looking at lead {lead}, is there noise of any sort?",
            "Is the recording of lead {lead} noisy in any way?",
            "Does lead {lead} show any noise at all?",
        ),
        "test": (
            "Does lead {lead} of this tracing exhibit noise of any kind?",
            "Looking at lead {lead} of this recording, do you find any noise?",
        ),
    },
    "choose-noise-lead": {
        "train": (
            "Which noise does lead {lead} show, {a} or {b}?",
            "In lead {lead}, is there {a} or {b}?",
            "Which of these disturbs lead {lead} of this ECG: {a}, {b}, both or none?",
            "Of {a} and {b}, which noise is in lead {lead}?",
            "Is it {a} or {b} that is seen in lead {lead} of this recording?",
            "{a} or {b}: which is present in lead {lead}?",
        ),
        "test": (
            "Between {a} and {b}, which noise is evident in lead {lead} of this tracing?",
            "What noise does lead {lead} of this recording exhibit, {a} or {b}?",
        ),
    },
    "query-noise-lead": {
        "train": (
            "Which noise does lead {lead} show?",
            "What kind of noise is present in lead {lead} of this ECG?",
            "What disturbs the recording of lead {lead}?",
            "Name the noise in lead {lead}.",
            "List the kinds of noise in lead {lead} of this electrocardiogram.",
            "Looking at lead {lead}, which noise can be seen?",
            "State the noise in lead {lead} of this tracing, if any.",
        ),
        "test": (
            "What noise does lead {lead} of this recording exhibit, if any?",
            "List the noise that is evident in lead {lead} of this tracing.",
        ),
    },
    "query-waveform-lead": {
        "train": (
            "Which abnormalities of Q or R waves, ST segment or T waves does lead {lead} show?",
            "What is abnormal about the Q or R waves, ST segment or T waves in lead {lead}?",
            "Name the Q wave, R wave, ST segment and T wave abnormalities in lead {lead}.",
            "Looking at lead {lead}, which of Q or R waves, ST segment and T waves are abnormal, and how?",
            "List the abnormalities of Q or R waves, ST segment or T waves in lead {lead} of this ECG.",
            "What Q wave, R wave, ST segment or T wave abnormalities can be seen in lead {lead}?",
        ),
        "test": (
            "What abnormalities of Q or R waves, ST segment or T waves does lead {lead} of this recording exhibit?",
            "List the Q wave, R wave, ST segment or T wave abnormalities evident in lead {lead} of this tracing.",
        ),
    },
}

MEASUREMENT_PARAPHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "verify-range": {
        "train": (
            "Is the {feature} {side} the normal range?",
            "Is the {feature} of this ECG {side} the normal range?",
            "Does the {feature} fall {side} the normal range?",
            "Does this ECG have a {feature} {side} the normal range?",
            "Would you say that the {feature} lies {side} the normal range?",
            "In this electrocardiogram, is the {feature} {side} the normal range?",
            "Is the {feature} on this recording {side} what is normal?",
            "Does this tracing show a {feature} {side} the normal limits?",
        ),
        "test": (
            "Does the {feature} of this tracing lie {side} the normal limits?",
            "On this recording, does the {feature} fall {side} what is normal?",
        ),
    },
    "verify-limit": {
        "train": (
            "Is the {feature} {side} {limit}?",
            "Is the {feature} of this ECG {side} {limit}?",
            "Does this ECG have a {feature} {side} {limit}?",
            "Does the {feature} lie {side} {limit}?",
            "In this electrocardiogram, is the {feature} {side} {limit}?",
            "Would you measure a {feature} {side} {limit} in this ECG?",
            "Is the {feature} on this recording {side} {limit}?",
            "Does this tracing show a {feature} {side} {limit}?",
        ),
        "test": (
            "Does the {feature} of this tracing lie {side} {limit}?",
            "On this recording, would you measure a {feature} {side} {limit}?",
        ),
    },
    "choose-range": {
        "train": (
            "Is the {feature} {a} or {b} the normal range?",
            "Which is true of the {feature}: {a} or {b} the normal range?",
            "Is the {feature} of this ECG {a} the normal range, or {b} it?",
            "Does the {feature} fall {a} or {b} the normal range?",
            "In this electrocardiogram, is the {feature} {a} or {b} the normal range?",
            "{a} or {b} the normal range: where is the {feature} of this ECG?",
        ),
        "test": (
            "Does the {feature} of this tracing lie {a} or {b} the normal limits?",
            "On this recording, is the {feature} {a} or {b} what is normal?",
        ),
    },
    "query-range": {
        "train": (
            "Is the {feature} below, within or above the normal range?",
            "What range does the {feature} of this ECG fall in?",
            "How does the {feature} of this ECG compare with the normal range?",
            "Where does the {feature} lie relative to the normal range?",
            "Judge the {feature} of this ECG against the normal range.",
            "Classify the {feature} on this recording: below, within or above the normal range.",
        ),
        "test": (
            "What range does the {feature} on this tracing lie in?",
            "Judge the {feature} of this recording: is it low, normal or high?",
        ),
    },
    "query-in-range": {
        "train": (
            "Which measurements lie {side} the normal range?",
            "Which measurements of this ECG fall {side} the normal range?",
            "What measurements are {side} the normal range in this electrocardiogram?",
            "Name the measurements that lie {side} the normal range.",
            "List the measurements of this ECG that are {side} the normal range.",
            "Of all measurements on this recording, which are {side} what is normal?",
            "Which intervals, rate or axis does this tracing have {side} the normal limits?",
        ),
        "test": (
            "List the measurements of this tracing that lie {side} the normal limits.",
            "On this recording, which measurements fall {side} what is normal?",
        ),
    },
}
