"""Published label sets: which labels a record bears, and that everything asked for is in the vocabulary."""

from ecgllm.corpora import PTBXL_CLASSES
from ecgllm.evaluation.label_sets import LABEL_SETS
from ecgllm.findings import GROUPS, VOCABULARY

BY_NAME = {labels.name: labels for labels in LABEL_SETS}


def test_sets_have_the_labels_that_papers_report() -> None:
    sizes = {name: len(labels.look_alikes) for name, labels in BY_NAME.items()}
    assert sizes == {
        "ptbxl-super": 5, "ptbxl-sub": 23, "ptbxl-form": 19, "ptbxl-rhythm": 12, "cpsc2018": 9, "csn": 38
    }  # fmt: skip
    for task in ("super", "sub", "form", "rhythm"):
        assert tuple(BY_NAME[f"ptbxl-{task}"].look_alikes) == PTBXL_CLASSES[task]
    for labels in LABEL_SETS:
        assert not labels.not_asked
        assert set(labels.asked.values()) <= {*VOCABULARY, *GROUPS}


def test_labels_are_the_codes_and_nothing_within_their_letters() -> None:
    def of(name: str, *statements: str) -> set[str]:
        return set(BY_NAME[name].of({"statements": list(statements)}))

    assert of("csn", "SNOMED:164930006", "SNOMED:164889003") == {
        "STE",
        "AFIB",
    }  # neither sinus tachycardia nor flutter
    assert of("csn", "SNOMED:251146004") == set()
    assert of("cpsc2018", "SNOMED:426783006") == {"NORM"}
    assert of("cpsc2018", "SNOMED:733534002", "SNOMED:284470004") == {"CLBBB", "PAC"}
    assert of("ptbxl-super", "SCP:IMI:15", "SCP:SR:0") == {"MI"}
    assert of("ptbxl-rhythm", "SCP:IMI:15", "SCP:SR:0") == {"SR"}
