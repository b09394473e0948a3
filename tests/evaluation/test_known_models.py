"""Models of which it is known what they do land where they belong, behind each protocol, through the whole command."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ecgllm.cli import main
from ecgllm.corpora import save_corpus
from ecgllm.corpora.records.dataset_folders import save_rows
from ecgllm.evaluation.building import build_material
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.models.pipeline import PipelineModel
from ecgllm.evaluation.models.rewritten_ecgs import as_words
from ecgllm.evaluation.protocol import ShownECG
from ecgllm.evaluation.run import Options, evaluate_to_folder
from ecgllm.evaluation.seen import Seen
from ecgllm.findings import VOCABULARY
from ecgllm.reliance import DOES_NOT_READ, READS
from tests.evaluation.models.chat_server import Served, completion
from tests.evaluation.models.tiny_llava import SIZES

RECORDS = 60
BELONGS = {
    "seeing": (READS, None, "ideal"),
    "blind": (DOES_NOT_READ, None, "worst"),
    "consistent and blind": (DOES_NOT_READ, None, "dangerous"),
    "yes-sayer": (DOES_NOT_READ, "yes", "dangerous"),
}
"""Who it is -> verdict, bias, and which of the four kinds most of its answers are."""
KNOWN = '''
"""Answers of models of whom it is known what they do, as a function."""
import json
import pathlib

TRUTH = json.loads(pathlib.Path(__file__).with_name("truth.json").read_text())

def known_by(samples):
    """An ECG by the first samples of its first lead; an ECG that was changed is nobody's."""
    return ",".join(f"{float(sample):.4f}" for sample in samples[:16])

def said(who, question, ecg):
    named = [name for name in TRUTH["vocabulary"] if name in question]
    name = TRUTH["attributes"].get(question) or max(named, key=len, default="")
    yes = {
        "seeing": name in TRUTH["records"].get(ecg, ()),  # reads the simulator's truth
        "blind": sum(map(ord, question)) % 2,  # goes by the words, whatever they ask
        "consistent and blind": sum(map(ord, name)) % 2,  # goes by what is asked, in whatever words
        "yes-sayer": True,
    }[who]
    return "Yes." if yes else "No."

def answering(who):
    def answer(records, questions):
        return [said(who, question, known_by(own[0].signal[0]) if own else None)
                for own, question in zip(records, questions)]
    return answer

seeing, blind = answering("seeing"), answering("blind")
consistent_and_blind, yes_sayer = answering("consistent and blind"), answering("yes-sayer")
'''
PROGRAM = """
import array, base64, json, sys
from known import known_by, said

for line in sys.stdin:
    asked = json.loads(line)
    shown = [known_by(array.array("f", base64.b64decode(ecg["signal"]))) for ecg in asked["ecgs"]]
    answer = said(sys.argv[1], asked["question"], shown[0] if shown else None)
    print(json.dumps({"id": asked["id"], "answer": answer}))
"""


@pytest.fixture(scope="module")
def place(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with records in `corpus`, questions about them in `questions`, and the models in `known.py`."""
    folder = tmp_path_factory.mktemp("known")
    corpus = material.corpus.select(range(RECORDS))
    save_corpus(corpus, folder / "corpus")
    (folder / "questions").mkdir()
    questions = material.questions.filter(set(corpus["id"]).issuperset, input_columns="ecg_ids")
    save_rows(questions, folder / "questions", "arrow")
    (folder / "known.py").write_text(KNOWN)
    (folder / "program.py").write_text(PROGRAM)
    attributes = dict(zip(questions["question"], questions["attribute"], strict=True))
    names, known_by = {*VOCABULARY, *attributes.values()}, {}
    exec(KNOWN.split("TRUTH")[0] + KNOWN[KNOWN.index("def known_by") : KNOWN.index("def said")], known_by)
    records = {
        known_by["known_by"](material.ecgs[ShownECG(record_id)].signal[0]): [
            name for name in names if material.labels.of(record_id, name)
        ]
        for record_id in corpus["id"]
    }
    truth = {"vocabulary": list(VOCABULARY), "attributes": attributes, "records": records}
    (folder / "truth.json").write_text(json.dumps(truth))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("known", None)


@pytest.fixture
def server(place: Path) -> Iterator[Callable[[str], str]]:
    """Who -> the name of an endpoint that answers as they do."""
    import known

    with Served() as served:

        def named(who: str) -> str:
            served.says = lambda body: (200, {}, completion(_answered(known, who, body["messages"][0]["content"])))
            return f"{served.address}#{who.replace(' ', '-')}"

        yield named


def _answered(known: ModuleType, who: str, content: str | Sequence[Mapping[str, Any]]) -> str:
    """What a chat is answered: its ECG comes as a table, its question as the last line but that of the choice."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    files = [part["file"]["file_data"] for part in parts if part["type"] == "file"]
    question = text.removesuffix("Answer yes or no.").strip().splitlines()[-1]
    shown = None
    if files:
        lines = base64.b64decode(files[0].partition(",")[2]).decode().splitlines()[3:19]
        shown = known.known_by([line.split(",")[0] for line in lines])
    return known.said(who, question, shown)


def evaluated(model: str, place: Path, report: Path, *options: str) -> dict[str, Any]:
    """Sections of metrics.json, by the command."""
    arguments = ["evaluate", model, place / "questions", "--corpus", place / "corpus", "-o", report, "--no-baselines"]
    more = ["--sections", "reliance,language", "--questions", 280, "--margin", 0.2]
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in (*arguments, *(options or more))])
    assert not end.value.code
    return json.loads((report / "metrics.json").read_text())["sections"]


def where(sections: dict[str, Any]) -> tuple[str, str | None, str]:
    """As `BELONGS` has it."""
    verdict = sections["reliance"]["values"]["verdict"]
    return verdict["outcome"], verdict["figures"]["yes"]["biased"], _quadrant(sections)


def _quadrant(sections: dict[str, Any]) -> str:
    return sections["language"]["values"]["model"]["quadrants"]["model"]


@pytest.mark.parametrize("who", BELONGS)
def test_a_function(who: str, place: Path, tmp_path: Path) -> None:
    function = f"{place / 'known.py'}:{who.replace(' ', '_').replace('-', '_')}"
    assert where(evaluated(function, place, tmp_path / "report")) == BELONGS[who]


def _most_are_slow(quick: str) -> list[Any]:
    return [pytest.param(who, marks=() if who == quick else pytest.mark.slow) for who in BELONGS]


@pytest.mark.parametrize("who", _most_are_slow("seeing"))
def test_a_program(who: str, place: Path, tmp_path: Path) -> None:
    program = f"program:{sys.executable} {place / 'program.py'} '{who}'"
    assert where(evaluated(program, place, tmp_path / "report")) == BELONGS[who]


@pytest.mark.parametrize("who", _most_are_slow("consistent and blind"))
def test_an_endpoint(who: str, place: Path, server: Callable[[str], str], tmp_path: Path) -> None:
    assert where(evaluated(server(who), place, tmp_path / "report")) == BELONGS[who]


def test_a_pipeline_from_its_folder(place: Path, tmp_path: Path) -> None:
    """A model of text whose likeliest word is always "yes"."""
    tokenizer = Tokenizer(models.WordLevel({"yes": 0, "no": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = LlamaConfig(**SIZES, vocab_size=3, num_hidden_layers=1, bos_token_id=None, eos_token_id=2,
                         max_position_embeddings=8192)  # fmt: skip
    model = LlamaForCausalLM(config)
    torch.nn.init.zeros_(model.model.norm.weight)
    model.save_pretrained(tmp_path / "says-yes")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[UNK]").save_pretrained(
        tmp_path / "says-yes"
    )
    options = ("--sections", "reliance", "--questions", "14", "--with", "max_new_tokens=2")
    found = evaluated(f"pipeline:{tmp_path / 'says-yes'}", place, tmp_path / "report", *options)
    assert found["reliance"]["values"]["verdict"]["figures"]["yes"]["share"]["value"] == 1.0
    assert "it is told in words" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.slow
def test_a_pipeline_in_this_process(material: Material, tmp_path: Path) -> None:
    """One of text that reads the truth by the numbers that it is given of lead II."""
    corpus = material.corpus.select(range(RECORDS))
    questions = material.questions.filter(set(corpus["id"]).issuperset, input_columns="ecg_ids")
    few = build_material(corpus, questions, Settings(questions=280, margin=0.2))
    attributes = dict(zip(questions["question"], questions["attribute"], strict=True))
    records = {as_words(few.ecgs[ShownECG(one)]).splitlines()[-1]: one for one in corpus["id"]}

    def pipe(prompts: list[str], **settings: Any) -> list[list[dict[str, str]]]:
        return [[{"generated_text": f" {answer(prompt)}"}] for prompt in prompts]

    def answer(prompt: str) -> str:
        question = prompt.strip().removesuffix("Answer yes or no.").strip().splitlines()[-1]
        named = [name for name in VOCABULARY if name in question]
        name = attributes.get(question) or max(named, key=len, default=None)
        shown = next((records[line] for line in prompt.splitlines() if line in records), None)
        return "Yes." if shown and name and few.labels.of(shown, name) else "No."

    pipe.task, pipe.tokenizer, pipe.model = "text-generation", SimpleNamespace(), torch.nn.Linear(1, 1)
    options = Options(sections=("reliance", "language"), baselines=False)
    model = PipelineModel(pipe, name="seeing")
    evaluate_to_folder(lambda name: model, "seeing", few, tmp_path / "report", Seen(False, RECORDS), options)
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())["sections"]
    assert where(found) == BELONGS["seeing"]
