"""The paraphrases of every question template, for training and, disjoint from these, for testing.

Nothing flows in; `PARAPHRASES[template]["train" | "test"]` flows out. `{finding}`, `{group}`, `{a}`, `{b}` and
`{findings}`, `{lead}`, `{feature}`, `{side}`, `{limit}` and `{change}` are filled by the `about_*` modules, and
`{Is}`, `{is_}`, `{Has}`, `{has}` in the number of the finding. A test holds the two sets apart, so that an answer
cannot be learned from a paraphrase. `SUSPECTING`: the paraphrases that sound as if the finding were expected
(`debiasing.biased_set`).
"""

from __future__ import annotations

from .comparison_paraphrases import COMPARISON_PARAPHRASES

PARAPHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "verify-finding": {
        "train": (
            "Does this ECG show {finding}?",
            "{Is} there {finding} in this ECG?",
            "{Is} {finding} present in this ECG?",
            "Can {finding} be seen in this electrocardiogram?",
            "Are there signs of {finding} in this ECG?",
            "Would you diagnose {finding} from this ECG?",
            "Does this recording show {finding}?",
            "{Is} {finding} visible on this tracing?",
            "{Is} {finding} evident in this ECG?",
            "Does the tracing demonstrate {finding}?",
            "Does this electrocardiogram exhibit {finding}?",
            "Do you find {finding} in this recording?",
            "Is there evidence of {finding} on this tracing?",
            "Looking at this ECG, {is_} {finding} present?",
            "Can you see {finding} on this recording?",
            "{Is} {finding} seen in this electrocardiogram?",
            "Would a cardiologist read {finding} from this tracing?",
            "Please check this ECG: {is_} there {finding}?",
            "{finding}?",
            "{finding}: yes or no?",
        ),
        "test": (
            "Does this tracing exhibit {finding}?",
            "{Is} {finding} evident on this recording?",
            "Looking at this electrocardiogram, do you find {finding}?",
            "{finding} here?",
        ),
    },
    "verify-normal": {
        "train": (
            "Is this a normal ECG?",
            "Is this ECG normal?",
            "Would you call this ECG normal?",
            "Does this electrocardiogram look normal?",
            "Is everything normal in this ECG?",
            "Is this recording normal?",
            "Is this electrocardiogram within normal limits?",
            "Can this tracing be called normal?",
            "Would you consider this recording to be normal?",
            "Does this tracing look entirely normal?",
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
            "Is there any abnormality on this tracing?",
            "Does this recording show anything pathological?",
            "Does this tracing deviate from a normal ECG?",
            "Is any abnormal finding visible on this recording?",
            "Is there any pathology in this ECG?",
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
            "Does this recording show {group} of any kind?",
            "{Is} any {group} evident in this ECG?",
            "Does this electrocardiogram exhibit any {group}?",
            "{Is} {group} of any sort present in this ECG?",
            "Is there evidence of {group} on this tracing?",
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
            "Of {a} and {b}, which does this ECG show?",
            "Between {a} and {b}, which is present in this recording?",
            "{a} or {b}: what does this tracing show?",
            "Which of {a} and {b} is evident in this electrocardiogram?",
            "Does this recording exhibit {a} or {b}?",
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
            "State the rhythm of this ECG.",
            "What rhythm does this tracing show?",
            "How would you classify the rhythm of this ECG?",
            "Which rhythm is evident on this recording?",
            "Describe the rhythm on this tracing.",
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
            "State the axis of this ECG.",
            "How would you describe the axis of this ECG?",
            "What axis is seen on this tracing?",
            "Which axis does this recording show?",
            "Describe the electrical axis on this recording.",
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
            "List the {findings} in this ECG.",
            "Which {findings} are evident on this recording?",
            "What {findings} does this tracing show?",
            "Which {findings} does this electrocardiogram exhibit?",
            "State the {findings} seen on this tracing.",
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
            "List the abnormal findings in this ECG.",
            "Which pathological findings does this recording show?",
            "What abnormalities does this ECG exhibit?",
            "Which abnormalities are evident on this tracing?",
            "State what is abnormal on this recording.",
        ),
        "test": ("List the pathological findings on this tracing.", "What abnormalities does this recording exhibit?"),
    },
    **COMPARISON_PARAPHRASES,
    "query-stage": {
        "train": (
            "Which stage of myocardial infarction does this ECG show?",
            "At what stage is the infarction in this ECG?",
            "How old is the myocardial infarction in this ECG?",
            "Name the stage of the infarction in this ECG.",
            "What infarction stage can be seen in this electrocardiogram?",
            "If this ECG shows an infarction, which stage is it?",
            "State the stage of myocardial infarction on this recording.",
            "Which infarction stage is evident on this tracing?",
        ),
        "test": (
            "State the infarction stage that this tracing shows.",
            "If there is an infarction on this recording, at what stage is it?",
        ),
    },
    "query-noise": {
        "train": (
            "Which noise does this ECG show?",
            "What kind of noise is present in this ECG?",
            "What disturbs the recording of this ECG?",
            "Name the noise in this ECG.",
            "What noise can be seen in this electrocardiogram?",
            "List the recording artifacts in this ECG.",
            "Which kinds of noise are evident on this recording?",
            "State the noise on this tracing, if any.",
        ),
        "test": ("List the kinds of noise on this tracing.", "What noise does this recording exhibit, if any?"),
    },
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
}

SUSPECTING = frozenset(
    (
        "Are there signs of {finding} in this ECG?",
        "Would you diagnose {finding} from this ECG?",
        "{Is} {finding} evident in this ECG?",
        "Does the tracing demonstrate {finding}?",
        "Do you find {finding} in this recording?",
        "Is there evidence of {finding} on this tracing?",
        "Looking at this ECG, {is_} {finding} present?",
        "Would a cardiologist read {finding} from this tracing?",
        "Please check this ECG: {is_} there {finding}?",
        "{Is} {finding} evident on this recording?",
        "Looking at this electrocardiogram, do you find {finding}?",
    )
)
