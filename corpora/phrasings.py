"""The wordings of every question template, for training and, disjoint from these, for testing.

Nothing flows in; `PHRASINGS[template]["train" | "test"]` flows out. `{finding}`, `{group}`, `{a}`, `{b}` and
`{findings}` are filled by `questions.py`, and `{Is}`, `{is_}`, `{Has}`, `{has}` in the number of
the finding. A test holds the two sets apart, so that an answer cannot be learned from a wording.
"""

from __future__ import annotations

PHRASINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "verify-finding": {
        "train": (
            "Does this ECG show {finding}?",
            "{Is} there {finding} in this ECG?",
            "{Is} {finding} present in this ECG?",
            "Can {finding} be seen in this electrocardiogram?",
            "Are there signs of {finding} in this ECG?",
            "Would you diagnose {finding} from this ECG?",
        ),
        "test": (
            "Does this tracing exhibit {finding}?",
            "{Is} {finding} evident on this recording?",
            "Looking at this electrocardiogram, do you find {finding}?",
        ),
    },
    "verify-normal": {
        "train": (
            "Is this a normal ECG?",
            "Is this ECG normal?",
            "Would you call this ECG normal?",
            "Does this electrocardiogram look normal?",
            "Is everything normal in this ECG?",
        ),
        "test": ("Is this tracing within normal limits?", "Can this recording be considered normal?"),
    },
    "verify-abnormality": {
        "train": (
            "Does this ECG show any abnormality?",
            "Is there anything abnormal in this ECG?",
            "Are there any abnormal findings in this ECG?",
            "Is this ECG abnormal in any way?",
            "Does this electrocardiogram have any abnormal feature?",
        ),
        "test": ("Is any pathology visible on this tracing?", "Does this recording deviate from normal at all?"),
    },
    "verify-group": {
        "train": (
            "Does this ECG show any {group}?",
            "{Is} there any {group} in this ECG?",
            "Is any kind of {group} present in this ECG?",
            "Can any {group} be seen in this electrocardiogram?",
            "Are there signs of any {group} in this ECG?",
        ),
        "test": (
            "Does this tracing exhibit {group} of any kind?",
            "{Is} {group} of any sort evident on this recording?",
        ),
    },
    "choose-finding": {
        "train": (
            "Which does this ECG show, {a} or {b}?",
            "Is it {a} or {b} that this ECG shows?",
            "Which of these is present in this ECG: {a}, {b}, both or none?",
            "Does this ECG show {a}, {b}, both or neither?",
            "Which can be seen in this electrocardiogram, {a} or {b}?",
        ),
        "test": (
            "Of {a} and {b}, what does this tracing exhibit?",
            "Between {a} and {b}, which is evident on this recording?",
        ),
    },
    "query-rhythm": {
        "train": (
            "Which rhythm does this ECG show?",
            "What is the rhythm in this ECG?",
            "What heart rhythm is present in this ECG?",
            "Name the rhythm of this electrocardiogram.",
            "Which cardiac rhythm can be seen in this ECG?",
        ),
        "test": ("How would you classify the rhythm on this tracing?", "State the rhythm of this recording."),
    },
    "query-axis": {
        "train": (
            "What is the electrical axis in this ECG?",
            "Which heart axis does this ECG show?",
            "How is the heart axis oriented in this ECG?",
            "What is the direction of the electrical axis in this electrocardiogram?",
            "Name the heart axis of this ECG.",
        ),
        "test": ("How would you describe the axis on this tracing?", "State the axis seen on this recording."),
    },
    "query-group": {
        "train": (
            "Which {findings} does this ECG show?",
            "What {findings} are present in this ECG?",
            "What {findings} can be seen in this electrocardiogram?",
            "Name the {findings} in this ECG.",
            "Are there {findings} in this ECG, and if so, which?",
        ),
        "test": ("List the {findings} evident on this tracing.", "What {findings} does this recording exhibit?"),
    },
    "query-abnormalities": {
        "train": (
            "Which abnormal findings does this ECG show?",
            "What is abnormal in this ECG?",
            "What abnormalities are present in this ECG?",
            "Name the abnormal findings of this electrocardiogram.",
            "What abnormal findings can be seen in this ECG?",
        ),
        "test": ("List the pathological findings on this tracing.", "What abnormalities does this recording exhibit?"),
    },
    "compare-new": {
        "train": (
            "{Is} {finding} new in the second ECG?",
            "{Is} there {finding} in the second ECG that the first ECG does not show?",
            "Compared with the first ECG, {has} {finding} appeared in the second ECG?",
            "Does the second ECG, unlike the first, show {finding}?",
            "{Is} {finding} present in the second ECG but not in the first?",
        ),
        "test": (
            "{Has} {finding} newly developed on the second tracing?",
            "Relative to the first recording, {is_} {finding} new on the second?",
        ),
    },
    "compare-resolved": {
        "train": (
            "{Has} {finding} resolved in the second ECG?",
            "{Is} there {finding} in the first ECG that the second ECG no longer shows?",
            "Compared with the first ECG, {has} {finding} disappeared in the second ECG?",
            "Does the first ECG, unlike the second, show {finding}?",
            "{Is} {finding} present in the first ECG but not in the second?",
        ),
        "test": (
            "{Is} {finding} gone on the second tracing?",
            "Relative to the first recording, {has} {finding} vanished on the second?",
        ),
    },
    "compare-new-query": {
        "train": (
            "Which findings are new in the second ECG?",
            "What has newly appeared in the second ECG?",
            "Which abnormal findings does the second ECG show that the first does not?",
            "Compared with the first ECG, what is new in the second ECG?",
            "Name the findings of the second ECG that are missing in the first.",
        ),
        "test": (
            "List what has newly developed on the second tracing.",
            "Relative to the first recording, what abnormalities are added on the second?",
        ),
    },
    "compare-resolved-query": {
        "train": (
            "Which findings have resolved in the second ECG?",
            "What has disappeared in the second ECG?",
            "Which abnormal findings does the first ECG show that the second does not?",
            "Compared with the first ECG, what is gone in the second ECG?",
            "Name the findings of the first ECG that are missing in the second.",
        ),
        "test": (
            "List what is gone on the second tracing.",
            "Relative to the first recording, what abnormalities have vanished on the second?",
        ),
    },
}
