"""ECG-QA in its official layout: nothing is guessed, nothing crashes on a record that is not there."""

import json
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from datasets import load_from_disk

from ecgllm import cli
from ecgllm.corpora import QUESTION_FEATURES, check_patient_split, load_ecg_qa, prepare_ecg_qa
from ecgllm.corpora.questions.ecg_qa import ECG_QA_FEATURES, TYPES, answer_options, find_shards
from ecgllm.corpora.records.sources.ptbxl import noise_leads, statements_of


def question(sample_id: int = 0, **fields) -> dict:
    return {
        "template_id": 1, "question_id": 0, "sample_id": sample_id, "question_type": "single-verify",
        "attribute_type": "scp_code", "question": "Is there evidence of größe?", "answer": ["yes"], "ecg_id": [1],
        "attribute": ["non-diagnostic t abnormalities"], **fields,
    }  # fmt: skip


def shard(folder: Path, questions: list, place: str = "paraphrased/train/0.json") -> Path:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(questions), encoding="utf-8")
    return folder


def test_every_type_and_the_columns(tmp_path):
    rows = [
        question(i, question_type=kind, ecg_id=[1] if kind.startswith("single") else [1, 2])
        for i, kind in enumerate(TYPES)
    ]
    rows[1] |= {"attribute": ["b", "a"], "answer": ["B", "a"]}
    rows[2] |= {"answer": []}
    rows[3] |= {"attribute": None, "answer": ["none"], "ecg_path": ["x", "y"], "more": 1}
    questions, report = load_ecg_qa(shard(tmp_path, rows))
    assert questions.features == ECG_QA_FEATURES and set(QUESTION_FEATURES) <= set(questions.column_names)
    assert Counter(questions["type"][:]) == Counter(TYPES.values())
    first, choose, query, comparison = (questions[i] for i in range(4))
    assert first["ecg_ids"] == ["ptbxl-1"] and first["severity"] == [None] and first["template"] == "ecg-qa-1"
    assert first["question"] == "Is there evidence of größe?" and first["attribute_type"] == "scp_code"
    assert first["question_id"] == "ecg-qa-ptbxl-paraphrased-train-0" and first["split"] == "train"
    assert choose["attribute"] == "b or a" and choose["answers"] == ["a", "b"]
    assert query["answers"] == ["none"] and comparison["answers"] == ["none"]
    assert comparison["ecg_ids"] == ["ptbxl-1", "ptbxl-2"] and comparison["attribute"] is None
    assert report.questions == 7 and "type verify: 1 questions" in str(report)


def test_shards_splits_and_wordings(tmp_path):
    for wording in ("paraphrased", "template"):
        shard(tmp_path, [question(0), question(1)], f"ptbxl/{wording}/train/0.json")
        shard(tmp_path, [question(2)], f"ptbxl/{wording}/train/10000.json")
        shard(tmp_path, [question(0, ecg_id=[2])], f"ptbxl/{wording}/valid/0.json")
        shard(tmp_path, [question(0, ecg_id=[3])], f"ptbxl/{wording}/test/0/0.json")
    shard(tmp_path, {"not": "a shard"}, "settings.json")
    questions, report = load_ecg_qa(tmp_path)
    assert Counter(questions["split"][:]) == {"train": 3, "validation": 1, "test": 1}
    assert set(questions["wording"]) == {"paraphrased"} and len(report.shards) == 4
    assert len(set(questions["question_id"])) == 5
    assert set(load_ecg_qa(tmp_path, wording="template")[0]["wording"]) == {"template"}
    assert len(load_ecg_qa(tmp_path / "ptbxl" / "template" / "train")[0]) == 3
    one, _ = load_ecg_qa(tmp_path / "ptbxl" / "template" / "valid" / "0.json")
    assert one["split"][:] == ["validation"]
    assert len(load_ecg_qa(tmp_path, limit=2)[0]) == 2


def test_a_shard_alone_needs_its_split(tmp_path):
    shard(tmp_path, [question()], "0.json")
    with pytest.raises(ValueError, match="lies in no folder called train, valid or test"):
        load_ecg_qa(tmp_path / "0.json")
    questions, _ = load_ecg_qa(tmp_path / "0.json", split="test")
    assert questions[0]["split"] == "test" and questions[0]["wording"] == "unknown"
    assert load_ecg_qa(shard(tmp_path / "old", [question()], "paraphrased/valid.json"))[0]["split"][:] == [
        "validation"
    ]


def test_mimic_questions_are_told_by_their_ids(tmp_path):
    questions, report = load_ecg_qa(shard(tmp_path, [question(ecg_id=[40689238])]))
    assert questions[0]["ecg_ids"] == ["mimic-iv-ecg-40689238"] and report.source == "mimic-iv-ecg"
    with pytest.raises(ValueError, match="asks about ptbxl, shards before it about mimic-iv-ecg"):
        load_ecg_qa(shard(tmp_path, [question(1)], "paraphrased/train/1.json"))
    for name in ("ptbxl", "mimic-iv-ecg"):
        shard(tmp_path / "both", [question()], f"{name}/paraphrased/train/0.json")
    with pytest.raises(ValueError, match="holds both versions"):
        load_ecg_qa(tmp_path / "both")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"question_type": "single-guess"}, "question 0: question_type is 'single-guess'; expected one of single-v"),
        ({"answer": "yes"}, "answer is 'yes'; expected a list of texts"),
        ({"answer": [1]}, r"answer is \[1\]"),
        ({"ecg_id": 5}, "ecg_id is 5; expected a list of numbers"),
        ({"ecg_id": [1, 2]}, "single-verify names 2 ECGs; expected 1"),
        ({"question_type": "comparison_irrelevant-query"}, "names 1 ECGs; expected 2"),
        ({"ecg_id": [999_999]}, "ecg_id 999999 is of neither"),
        ({"question": " "}, "question is ' '; expected a text"),
        ({"template_id": "1"}, "template_id is '1'; expected a number"),
        ({"attribute": "noise"}, "attribute is 'noise'; expected a list of texts, or null"),
    ],
)
def test_a_shard_that_is_not_as_published_is_refused(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        load_ecg_qa(shard(tmp_path, [question(**fields)]))


def test_other_refusals(tmp_path):
    lacking = question()
    del lacking["sample_id"]
    with pytest.raises(ValueError, match="lacks 'sample_id'; it has answer"):
        load_ecg_qa(shard(tmp_path / "a", [lacking]))
    with pytest.raises(ValueError, match="holds a dict; expected a list of questions"):
        load_ecg_qa(shard(tmp_path / "b", {}))
    with pytest.raises(ValueError, match="sample_id 0 of the train split is in .*Is a shard there twice"):
        load_ecg_qa(shard(tmp_path / "c", [question(), question()]))
    (tmp_path / "d" / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"d holds train; expected .*json.* of ECG-QA"):
        load_ecg_qa(tmp_path / "d")
    (tmp_path / "d" / "train" / "0.json").write_text("[{", encoding="utf-8")
    with pytest.raises(ValueError, match="is no JSON"):
        load_ecg_qa(tmp_path / "d")
    with pytest.raises(FileNotFoundError, match="has the wording paraphrased, and not template"):
        load_ecg_qa(shard(tmp_path / "e", [question()]), wording="template")
    with pytest.raises(ValueError, match="wording='both'; expected one of paraphrased, template"):
        find_shards(tmp_path, wording="both")


def test_records_come_along_and_missing_ones_are_listed(write_ptbxl, tmp_path, capsys):
    write_ptbxl(tmp_path / "ptbxl", [1, 2, 3], fold=10, broken=[3])
    shard(tmp_path / "qa", [question(0), question(1, ecg_id=[3]), question(2, ecg_id=[9])])
    shard(tmp_path / "qa", [question(0, ecg_id=[2], answer=["no"])], "paraphrased/valid/0.json")
    found = prepare_ecg_qa(tmp_path / "qa", tmp_path / "ptbxl", sampling_rate=100)
    assert found.questions["ecg_ids"][:] == [["ptbxl-1"], ["ptbxl-2"]]
    # ECG-QA's split, not the fold: fold 10 is PTB-XL's test fold
    assert dict(zip(found.records["id"], found.records["split"], strict=True)) == {
        "ptbxl-1": "train", "ptbxl-2": "validation",
    }  # fmt: skip
    assert found.questions["severity"][:] == [[1], [1]]
    assert found.report.missing["ptbxl-9"].startswith("not in the table") and "ptbxl-3" in found.report.missing
    assert "2 records are missing; 2 questions about them left out" in str(found.report)
    kept = prepare_ecg_qa(tmp_path / "qa", tmp_path / "ptbxl", keep_missing=True)
    assert len(kept.questions) == 4 and kept.questions[2]["severity"] == [None]

    with pytest.raises(SystemExit) as end:
        cli.main(
            [
                "prepare",
                "ecg-qa",
                str(tmp_path / "qa"),
                "--records",
                str(tmp_path / "ptbxl"),
                "-o",
                str(tmp_path / "out"),
            ]
        )
    assert end.value.code == 0
    out, err = capsys.readouterr()
    assert "2 questions in" in out and "2 records in" in out and "missing: ptbxl-9" in err
    whole = (tmp_path / "out" / "report.txt").read_text(encoding="utf-8")
    assert whole.splitlines()[-1].endswith("2 questions about 2 records, from 2 shards") and whole in err
    assert len(load_from_disk(str(tmp_path / "out"))) == 2
    assert load_from_disk(str(tmp_path / "out" / "records"))[0]["report"] == "größenmäßig unauffällig"


def test_the_mimic_version_with_its_records(write_mimic, tmp_path):
    studies = [(40689238, 10000032), (44458630, 10000032)]
    write_mimic(tmp_path / "mimic", studies, [["Sinus rhythm"], ["Atrial fibrillation"]])
    pair = question(question_type="comparison_consecutive-verify", ecg_id=[40689238, 44458630], attribute=None)
    found = prepare_ecg_qa(shard(tmp_path / "qa", [pair], "paraphrased/test/0.json"), tmp_path / "mimic")
    assert found.questions[0]["severity"] == [0, 1] and set(found.records["split"]) == {"test"}
    assert found.questions[0]["ecg_ids"] == found.records["id"][:] == [f"mimic-iv-ecg-{study}" for study, _ in studies]
    assert found.questions[0]["type"] == "comparison-verify"


def test_a_leak_is_an_error(write_ptbxl, tmp_path):
    write_ptbxl(tmp_path / "ptbxl", [1, 2], patients=[7, 7])
    shard(tmp_path / "qa", [question(0)])
    shard(tmp_path / "qa", [question(0, ecg_id=[2])], "paraphrased/test/0.json")
    with pytest.raises(ValueError, match="ptbxl-7 in test and train"):
        prepare_ecg_qa(tmp_path / "qa", tmp_path / "ptbxl")
    shard(tmp_path / "qa", [question(0, ecg_id=[1])], "paraphrased/test/0.json")
    with pytest.raises(ValueError, match="ptbxl-1 is in the test split, and in .* of the train split"):
        prepare_ecg_qa(tmp_path / "qa", tmp_path / "ptbxl")
    with pytest.raises(ValueError, match="not one of the 1 records that the questions name"):
        prepare_ecg_qa(shard(tmp_path / "other", [question(ecg_id=[50])]), tmp_path / "ptbxl")


@pytest.mark.parametrize("wording", ["paraphrased", "template"])
def test_the_real_shards(shared_data, wording):
    questions, report = load_ecg_qa(shared_data / "ecg-qa", wording)
    print(report)
    assert report.questions == len(questions) == 14_663 and report.records == 5_598
    assert report.types == {"verify": 10_000, "comparison-irrelevant-query": 4_663}
    assert report.splits == {"train": 10_000, "validation": 4_663}
    assert not report.unlisted and not report.not_in_split
    assert len(set(questions["question_id"])) == len(questions)
    options = answer_options(shared_data / "ecg-qa" / "ptbxl")
    assert len(options) == 70
    rows = zip(questions["template_id"], questions["answers"], strict=True)
    # "none" stands for no answer, and is not an option of every template
    assert all(set(answers) <= {*options[template], "none"} for template, answers in rows)


def test_the_real_shards_with_their_records(shared_data):
    found = prepare_ecg_qa(shared_data / "ecg-qa", shared_data / "ptbxl")
    print(found)
    assert len(found.questions) == 13 and len(found.records) == 17 and len(found.report.missing) == 5_581
    assert {name for ids in found.questions["ecg_ids"] for name in ids} <= set(found.records["id"])
    check_patient_split(found.records)


def test_the_published_split_is_by_patient_and_not_by_fold(shared_data):
    labels = pd.read_parquet(shared_data / "ptbxl" / "merl_labels_21799.parquet").set_index("ecg_id")
    patients, in_test_fold = {}, 0
    for split in ("train", "valid", "test"):
        path = shared_data / "ecg-qa" / "ptbxl" / f"{split}_ecgs.tsv"
        rows = labels.loc[pd.read_csv(path, sep="\t", header=None)[1]]
        patients[split] = set(rows.patient_id)
        in_test_fold += (rows.strat_fold == 10).sum() if split == "train" else 0
    assert not patients["train"] & patients["test"] and not patients["train"] & patients["valid"]
    assert in_test_fold == 1_581  # training ECGs of ECG-QA in PTB-XL's test fold


def test_leads_of_noise_agree_with_the_published_answers(shared_data):
    """ECG-QA asked PTB-XL's noise columns too, so that its answers check `leads_in`, on records that both have."""
    table = pd.read_parquet(shared_data / "ptbxl" / "metadata_10356.parquet").astype(object)
    rows = {
        row["ecg_id"]: {k: "" if pd.isna(v) else str(v) for k, v in row.items()} for row in table.to_dict("records")
    }
    shard_path = shared_data / "ecg-qa" / "ptbxl" / "template" / "train" / "120000.json"
    counts = Counter()
    for asked in json.loads(shard_path.read_text(encoding="utf-8")):
        row = rows.get(asked["ecg_id"][0])
        if row is None:
            continue
        leads, _ = noise_leads(row)
        noises = {text.split(":")[2].replace("_", " ") for text in statements_of(row) if "PTBXL:noise" in text}
        wanted = asked["attribute"][0].replace("electrodes", "electrode")
        noises = noises - {"none"} if wanted.startswith("any") else noises & {wanted}
        lead = re.search(r"in lead (\w+)\?", asked["question"])
        if lead is None:
            answer = "yes" if noises else "no"
        elif any(lead[1] in leads.get(noise, ()) for noise in noises):
            answer = "yes"
        else:
            answer = "open" if noises - leads.keys() else "no"
        counts["open" if answer == "open" else "same" if [answer] == asked["answer"] else "other"] += 1
    print(dict(counts))
    # open: "mittel", "noisy recording" or "V1???", which name no lead for sure. other: one "leicht" that they drop
    assert counts == {"same": 4_376, "open": 28, "other": 1}
