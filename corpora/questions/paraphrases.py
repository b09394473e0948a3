"""The paraphrases of every question template, for training and, disjoint from these, for testing.

Nothing flows in; `PARAPHRASES[template]["train" | "test"]` flows out. `{finding}`, `{group}`, `{kind}`, `{kinds}`,
`{a}`, `{b}`, `{findings}`, `{lead}`, `{feature}`, `{side}`, `{limit}` and `{change}` are filled by the `about_*`
modules, and `{Is}`, `{is_}`, `{Has}`, `{has}` in the number of the finding. A test holds the two sets apart, so that
an answer cannot be learned from a paraphrase. `SUSPECTING`: the paraphrases that sound as if the finding were expected
(`debiasing.biased_set`).
"""

from __future__ import annotations

from .comparison_paraphrases import COMPARISON_PARAPHRASES
from .lead_and_measurement_paraphrases import LEAD_PARAPHRASES, MEASUREMENT_PARAPHRASES

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
    "verify-kind": {
        "train": (
            "Does this ECG show any {kind}?",
            "Is there any {kind} in this ECG?",
            "Are any {kinds} present in this ECG?",
            "Can any {kind} be seen in this electrocardiogram?",
            "Do you see any {kind} on this tracing?",
            "Does this recording have at least one {kind}?",
            "Please check this ECG: is there any {kind}?",
            "Is this an ECG with any {kind}?",
        ),
        "test": (
            "Does any {kind} appear on this tracing?",
            "Looking at this recording, do you find any {kind}?",
        ),
    },
    "query-kind": {
        "train": (
            "Which {kinds} does this ECG show?",
            "What {kinds} are present in this ECG?",
            "Name the {kinds} in this ECG.",
            "List the {kinds} on this recording.",
            "Are there {kinds} in this ECG, and if so, which?",
            "What {kinds} can be seen in this electrocardiogram?",
            "State all {kinds} of this tracing.",
        ),
        "test": ("What {kinds} does this recording exhibit?", "List all {kinds} evident on this tracing."),
    },
    "choose-stage": {
        "train": (
            "Which stage of infarction does this ECG show, {a} or {b}?",
            "At which stage is the infarction in this ECG: {a}, {b}, or neither?",
            "Is the infarction stage of this ECG {a} or {b}?",
            "Of the stages {a} and {b}, which does this electrocardiogram show?",
            "{a} or {b}: which infarction stage is on this tracing?",
            "Which of the two stages is present in this recording, {a} or {b}, if any?",
        ),
        "test": (
            "Between the stages {a} and {b}, which is evident on this tracing?",
            "What infarction stage does this recording exhibit, {a} or {b}?",
        ),
    },
    "choose-noise": {
        "train": (
            "Which noise does this ECG show, {a} or {b}?",
            "Is it {a} or {b} that disturbs this ECG?",
            "Which of these disturbs the recording: {a}, {b}, both or none?",
            "Of {a} and {b}, which noise is in this electrocardiogram?",
            "What kind of noise is on this tracing, {a} or {b}?",
            "{a} or {b}: which of the two is present in this recording?",
        ),
        "test": (
            "Between {a} and {b}, which noise is evident on this tracing?",
            "What noise does this recording exhibit, {a} or {b}?",
        ),
    },
    "choose-group": {
        "train": (
            'Which kind of finding does this ECG show, "{a}" or "{b}"?',
            'Does this ECG have a finding of the kind "{a}" or of the kind "{b}"?',
            'Of the two kinds "{a}" and "{b}", which does this electrocardiogram show?',
            'Which is there in this ECG: "{a}", "{b}", both or none?',
            'Is what this recording shows "{a}" or "{b}"?',
            '"{a}" or "{b}": to which kind do findings of this tracing belong?',
        ),
        "test": (
            'Between "{a}" and "{b}", which kind of finding is evident on this recording?',
            'What kind of finding does this tracing exhibit, "{a}" or "{b}"?',
        ),
    },
    **LEAD_PARAPHRASES,
    **MEASUREMENT_PARAPHRASES,
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
