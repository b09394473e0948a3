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
    "compare-both": {
        "train": (
            "{Is} {finding} present in both ECGs?",
            "Do both ECGs show {finding}?",
            "{Is} there {finding} in the first ECG and also in the second?",
            "Does the first ECG show {finding}, and does the second still do so?",
            "{Has} {finding} persisted from the first to the second ECG?",
            "Can {finding} be seen in the first ECG as well as in the second?",
            "{Is} {finding} a finding that remains from the first recording to the second?",
            "Compared with the first ECG, {has} {finding} remained in the second ECG?",
        ),
        "test": (
            "{Has} {finding} persisted on the second tracing, being there on the first?",
            "Do the first and the second recording alike show {finding}?",
        ),
    },
    "compare-neither": {
        "train": (
            "{Is} {finding} absent from both ECGs?",
            "Do both ECGs lack {finding}?",
            "{Is} {finding} missing in the first ECG and still missing in the second?",
            "Is it true that neither ECG shows {finding}?",
            "Are both ECGs free of {finding}?",
            "{Is} {finding} found in neither of the two ECGs?",
            "Does the first ECG not show {finding}, and the second not either?",
        ),
        "test": (
            "Are the first and the second recording both free of {finding}?",
            "{Is} {finding} absent on the first tracing and still absent on the second?",
        ),
    },
    "compare-both-query": {
        "train": (
            "Which abnormal findings remain in the second ECG?",
            "Which abnormal findings do both ECGs show?",
            "Which abnormalities have persisted from the first to the second ECG?",
            "Which abnormalities of the first ECG does the second still show?",
            "Name the abnormalities that the two ECGs have in common.",
            "List what is abnormal in the first ECG and remains so in the second.",
            "Compared with the first ECG, which abnormal findings are still present in the second?",
        ),
        "test": (
            "List what abnormalities persist on the second tracing.",
            "Relative to the first recording, what abnormal findings remain on the second?",
        ),
    },
    "compare-range-abnormal": {
        "train": (
            "Has the {feature} gone from normal in the first ECG to abnormal in the second?",
            "Compared with the first ECG, has the {feature} left the normal range in the second ECG?",
            "Is the {feature} newly abnormal in the second ECG?",
            "Is the {feature} within the normal range in the first ECG and outside it in the second?",
            "Has a normal {feature} become abnormal from the first to the second ECG?",
            "Does the {feature} change from a normal value to an abnormal one in the second ECG?",
        ),
        "test": (
            "Relative to the first recording, is the {feature} newly outside the normal range on the second?",
            "Does the {feature} turn from normal to abnormal on the second tracing?",
        ),
    },
    "compare-range-normal": {
        "train": (
            "Has the {feature} gone from abnormal in the first ECG to normal in the second?",
            "Compared with the first ECG, has the {feature} come back to the normal range in the second ECG?",
            "Is the {feature} newly normal in the second ECG?",
            "Is the {feature} outside the normal range in the first ECG and within it in the second?",
            "Has an abnormal {feature} become normal from the first to the second ECG?",
            "Does the {feature} change from an abnormal value to a normal one in the second ECG?",
        ),
        "test": (
            "Relative to the first recording, is the {feature} newly within the normal range on the second?",
            "Does the {feature} turn from abnormal to normal on the second tracing?",
        ),
    },
    "compare-range-still-abnormal": {
        "train": (
            "Is the {feature} abnormal in both ECGs?",
            "Is the {feature} outside the normal range in the first ECG and still outside it in the second?",
            "Do both ECGs have an abnormal {feature}?",
            "Has an abnormal {feature} in the first ECG remained abnormal in the second?",
            "In the first ECG as in the second, is the {feature} abnormal?",
            "Does the second ECG still have an abnormal {feature}, as the first?",
        ),
        "test": (
            "Is the {feature} abnormal on the first tracing and still so on the second?",
            "Does the {feature} lie outside the normal range on both recordings?",
        ),
    },
    "compare-range-still-normal": {
        "train": (
            "Is the {feature} normal in both ECGs?",
            "Is the {feature} within the normal range in the first ECG and still within it in the second?",
            "Do both ECGs have a normal {feature}?",
            "Has a normal {feature} in the first ECG remained normal in the second?",
            "In the first ECG as in the second, is the {feature} normal?",
            "Does the second ECG still have a normal {feature}, as the first?",
        ),
        "test": (
            "Is the {feature} normal on the first tracing and still so on the second?",
            "Does the {feature} lie within the normal range on both recordings?",
        ),
    },
    "compare-range-abnormal-query": {
        "train": (
            "Which measurements are newly abnormal in the second ECG?",
            "Which measurements are normal in the first ECG and abnormal in the second?",
            "Compared with the first ECG, which measurements have left the normal range in the second ECG?",
            "Name the measurements that have become abnormal in the second ECG.",
            "List the measurements that were normal and are now abnormal in the second ECG.",
            "What measurements have gone out of the normal range from the first to the second ECG?",
        ),
        "test": (
            "List the measurements that turn abnormal on the second tracing.",
            "Relative to the first recording, what measurements are newly outside the normal range on the second?",
        ),
    },
    "compare-range-normal-query": {
        "train": (
            "Which measurements are newly normal in the second ECG?",
            "Which measurements are abnormal in the first ECG and normal in the second?",
            "Compared with the first ECG, which measurements have come back to the normal range in the second ECG?",
            "Name the measurements that have become normal in the second ECG.",
            "List the measurements that were abnormal and are now normal in the second ECG.",
            "What measurements have returned to the normal range from the first to the second ECG?",
        ),
        "test": (
            "List the measurements that turn normal on the second tracing.",
            "Relative to the first recording, what measurements are newly within the normal range on the second?",
        ),
    },
    "compare-range-still-abnormal-query": {
        "train": (
            "Which measurements are abnormal in both ECGs?",
            "Which measurements are outside the normal range in the first ECG and still in the second?",
            "Compared with the first ECG, which measurements are still abnormal in the second ECG?",
            "Name the measurements that remain abnormal in the second ECG.",
            "List the measurements that both ECGs have outside the normal range.",
            "What measurements have stayed abnormal from the first to the second ECG?",
        ),
        "test": (
            "List the measurements that stay abnormal on the second tracing.",
            "Relative to the first recording, what measurements are still outside the normal range on the second?",
        ),
    },
}
