"""The paraphrases of the templates about two ECGs, as `paraphrases` has those about one.

Nothing flows in; `COMPARISON_PARAPHRASES[template]["train" | "test"]` flows out, a part of `paraphrases.PARAPHRASES`,
where the placeholders are listed. Decided here: the two ECGs are told apart as the first and the second, in the order
given.
"""

from __future__ import annotations

COMPARISON_PARAPHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "compare-new": {
        "train": (
            "{Is} {finding} new in the second ECG?",
            "{Is} there {finding} in the second ECG that the first ECG does not show?",
            "Compared with the first ECG, {has} {finding} appeared in the second ECG?",
            "Does the second ECG, unlike the first, show {finding}?",
            "{Is} {finding} present in the second ECG but not in the first?",
            "{Has} {finding} newly appeared in the second ECG?",
            "Relative to the first ECG, {is_} {finding} new in the second?",
            "{Has} {finding} developed between the first and the second recording?",
            "{Is} {finding} new on the second tracing?",
            "Does the second recording show {finding} while the first does not?",
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
            "{Has} {finding} vanished in the second ECG?",
            "{Is} {finding} gone in the second ECG?",
            "Relative to the first ECG, {has} {finding} disappeared in the second?",
            "{Is} {finding} no longer seen on the second tracing?",
            "Does the first recording show {finding} while the second does not?",
        ),
        "test": (
            "{Is} {finding} gone on the second tracing?",
            "Relative to the first recording, {has} {finding} vanished on the second?",
        ),
    },
    "compare-first": {
        "train": (
            "{Is} there {finding} in the first ECG?",
            "Does the first ECG show {finding}?",
            "{Is} {finding} present in the first ECG?",
            "Of the two ECGs, does the first show {finding}?",
            "Can {finding} be seen in the first ECG?",
            "Looking at the first ECG, {is_} there {finding}?",
            "{Is} {finding} present in the first ECG, whatever the second shows?",
            "Does the first recording show {finding}?",
            "{Is} {finding} visible on the first tracing?",
            "Is there evidence of {finding} on the first recording?",
        ),
        "test": (
            "Looking at the first recording, do you find {finding}?",
            "{Is} {finding} evident on the first tracing?",
        ),
    },
    "compare-second": {
        "train": (
            "{Is} there {finding} in the second ECG?",
            "Does the second ECG show {finding}?",
            "{Is} {finding} present in the second ECG?",
            "Of the two ECGs, does the second show {finding}?",
            "Can {finding} be seen in the second ECG?",
            "Looking at the second ECG, {is_} there {finding}?",
            "{Is} {finding} present in the second ECG, whatever the first shows?",
            "Does the second recording show {finding}?",
            "{Is} {finding} visible on the second tracing?",
            "Is there evidence of {finding} on the second recording?",
        ),
        "test": (
            "Looking at the second recording, do you find {finding}?",
            "{Is} {finding} evident on the second tracing?",
        ),
    },
    "compare-new-query": {
        "train": (
            "Which findings are new in the second ECG?",
            "What has newly appeared in the second ECG?",
            "Which abnormal findings does the second ECG show that the first does not?",
            "Compared with the first ECG, what is new in the second ECG?",
            "Name the findings of the second ECG that are missing in the first.",
            "List what is new in the second ECG.",
            "What has newly developed in the second ECG?",
            "Relative to the first ECG, which abnormalities are added in the second?",
            "Which findings appear on the second tracing only?",
            "State the findings that are new on the second recording.",
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
            "List what has disappeared in the second ECG.",
            "Which findings are gone on the second tracing?",
            "Relative to the first ECG, which abnormalities have vanished in the second?",
            "Which findings appear on the first recording only?",
            "State the findings that have resolved on the second recording.",
        ),
        "test": (
            "List what is gone on the second tracing.",
            "Relative to the first recording, what abnormalities have vanished on the second?",
        ),
    },
    "compare-measurement": {
        "train": (
            "Is the {feature} {change} in the second ECG?",
            "Is the {feature} {change} in the second ECG than in the first?",
            "Compared with the first ECG, is the {feature} {change} in the second ECG?",
            "Has the {feature} become {change} from the first to the second ECG?",
            "Does the second ECG have a {feature} that is {change} than the first ECG's?",
            "Relative to the first ECG, has the {feature} become {change} in the second?",
            "Is the {feature} {change} on the second recording?",
            "Does the second tracing show a {feature} {change} than the first?",
        ),
        "test": (
            "Relative to the first recording, is the {feature} {change} on the second?",
            "Has the {feature} become {change} on the second tracing?",
        ),
    },
}
