"""The `ecgllm` command as a user meets it: what it prints, what it writes, and how it refuses."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import wfdb
from typer.main import get_command

from ecgllm import ECGError, __version__
from ecgllm.asking import answer_question
from ecgllm.cli import app, main
from ecgllm.cli.ask import _as_answer


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `ecgllm arguments...`."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def beats(time: np.ndarray) -> np.ndarray:
    """From 0 to 1, 75 a minute, at these times in s."""
    return np.exp(-0.5 * (((time - 0.1) % 0.8 - 0.3) / 0.012) ** 2)


@pytest.fixture
def wfdb_file(tmp_path: Path) -> Path:
    """Two leads, 2 s at 250 Hz, written by the wfdb library; lead V1 is flat, and the header names a patient."""
    import wfdb

    time = np.arange(500) / 250
    signal = np.stack([beats(time) - 0.5, np.zeros(500)], axis=1)
    wfdb.wrsamp(
        "rec",
        fs=250,
        units=["mV", "mV"],
        sig_name=["II", "V1"],
        p_signal=signal,
        fmt=["16", "16"],
        adc_gain=[1000, 1000],
        baseline=[0, 0],
        comments=["Name: Jane Roe", "Age: 61", "Sex: Female"],
        write_dir=str(tmp_path),
    )
    return tmp_path / "rec.hea"


def fake_module(monkeypatch: pytest.MonkeyPatch, name: str, function: str) -> list[tuple[object, ...]]:
    """Put a module in place that records the calls of one function: for commands whose work takes minutes."""
    calls: list[tuple[object, ...]] = []
    module = ModuleType(name)
    setattr(module, function, lambda *arguments: calls.append(arguments))
    monkeypatch.setitem(sys.modules, name, module)
    return calls


@pytest.mark.parametrize("name", sorted(get_command(app).commands))
def test_the_example_of_a_commands_help_is_one_that_it_takes(name: str) -> None:
    command = get_command(app).commands[name]
    program, called, *arguments = shlex.split(command.epilog.removeprefix("Example: "))
    assert (program, called) == ("ecgllm", name)
    command.make_context(name, arguments)  # raises on what the command does not know


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(
        command in out for command in ("ask", "info", "plot", "prepare", "questions", "simulate", "train", "demo")
    )
    assert "not a medical device" in " ".join(out.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"ecgllm {__version__}\n")


def test_info_as_json_describes_the_signal_and_not_the_patient(
    wfdb_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "info", wfdb_file, "--json")
    assert code == 0
    summary = json.loads(out)
    assert (summary["format"], summary["sampling_rate"], summary["samples"], summary["duration"]) == (
        "wfdb",
        250,
        500,
        2,
    )
    assert [lead["name"] for lead in summary["leads"]] == ["II", "V1"]
    assert summary["leads"][0]["range"] == pytest.approx(1.0, abs=0.002)
    assert any("lead V1: flat" in doubt for doubt in summary["quality"])
    assert any("2 leads instead of the standard 12" in doubt for doubt in summary["quality"])
    assert not {"id", "patient_id", "recorded_at", "report", "age", "sex"} & set(summary)
    assert "Roe" not in out


def test_info_as_text(wfdb_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "info", wfdb_file)
    assert code == 0
    assert "2 s (500 samples at 250 Hz)" in out
    assert "II       -0.500 to   0.500" in out
    assert "lead V1: flat" in out
    assert "Roe" not in out


def test_info_reads_a_real_file(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    headers = sorted((shared_data / "ludb").rglob("*.hea"))
    if not headers:
        pytest.skip(f"no LUDB record in {shared_data}")
    code, out, _ = run(capsys, "info", headers[0], "--json")
    summary = json.loads(out)
    assert code == 0
    assert len(summary["leads"]) == 12
    assert summary["statements"]
    assert summary["quality"] == []


def test_info_of_several_files(wfdb_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "info", wfdb_file, wfdb_file, "--json", "--no-measure")
    summaries = json.loads(out)
    assert code == 0 and [summary["file"] for summary in summaries] == [str(wfdb_file)] * 2
    _, alone, _ = run(capsys, "info", wfdb_file, "--json", "--no-measure")
    assert json.loads(alone) == {key: value for key, value in summaries[0].items() if key != "file"}
    code, out, _ = run(capsys, "info", wfdb_file, wfdb_file, "--no-measure")
    assert code == 0 and out.count(f"{wfdb_file}\nformat ") == 2


def test_info_goes_on_after_a_file_that_cannot_be_read(
    wfdb_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (wfdb_file, tmp_path / "nothing.hea", wfdb_file)
    code, out, err = run(capsys, "info", *files, "--no-measure")
    assert code == 2 and out.count(f"{wfdb_file}\nformat ") == 2
    assert "nothing.hea: " in err and err.endswith("1 of 3 files could not be read\n")
    code, out, _ = run(capsys, "info", *files, "--no-measure", "--json")
    described = json.loads(out)
    assert code == 2 and [each["file"] for each in described] == [str(file) for file in files]
    assert ["error" in each for each in described] == [False, True, False] and "no such" in described[1]["error"]
    with pytest.raises((ValueError, OSError), match=r"nothing\.hea"):
        main(["--debug", "info", *map(str, files)])


@pytest.mark.parametrize(
    ("content", "advice", "options"),
    [
        ("I,II\n0,0\n1,1\n", "Pass sampling_rate=... in Hz (--sampling-rate)", ("--unit", "mV")),
        ("I,II\n0,0\n1,1\n", "Pass unit='mV' or unit='uV' (--unit)", ("--sampling-rate", 100)),
        ("# unit: uV\nI,II\n0,0\n1,1\n", "unit='mV' was passed", ("--sampling-rate", 100, "--unit", "mV")),
        ("some words\nand others\n", "pass format='csv' (--format csv), and leads=[...] (--leads I,II,...)", ()),
    ],
)
def test_advice_names_options_of_the_command(
    content: str, advice: str, options: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text(content)
    code, _, err = run(capsys, "info", tmp_path / "table.csv", *options)
    assert code == 2 and advice in err


def test_ask_says_what_to_do_with_missing_samples_in_its_own_options(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time = np.arange(500) / 100
    rows = [f"{value:.3f},{value if number != 7 else 'nan'}" for number, value in enumerate(beats(time))]
    (tmp_path / "gap.csv").write_text("\n".join(["I,II", *rows]))
    arguments = (
        "ask",
        tmp_path / "gap.csv",
        "Is it atrial fibrillation?",
        "--model",
        checkpoint,
        "--unit",
        "mV",
        "--sampling-rate",
        100,
    )
    code, _, err = run(capsys, *arguments)
    assert code == 2 and "(ask: --nan-policy interpolate, drop_lead)" in err
    assert run(capsys, *arguments, "--nan-policy", "interpolate")[0] == 0


def test_damaged_files_are_read_by_the_options_that_the_message_names(
    wfdb_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="drawing is an extra: pip install 'ecgllm[plot]'")
    header, samples = wfdb_file.read_text(), wfdb_file.with_suffix(".dat")
    wrong_sum = re.sub(r"-?\d+ 0 II\n", "7 0 II\n", header)
    assert wrong_sum != header
    for text, size, option in ((wrong_sum, 2000, "--skip-checksum"), (header, 1600, "--allow-truncated")):
        wfdb_file.write_text(text)
        samples.write_bytes(samples.read_bytes()[:size])
        code, _, err = run(capsys, "info", wfdb_file, "--no-measure")
        assert code == 2 and f"({option}) to read" in err
        assert run(capsys, "info", wfdb_file, "--no-measure", option)[0] == 0
        code, _, err = run(capsys, "plot", wfdb_file, "-o", tmp_path / "ecg.png")
        assert code == 2 and f"({option}) to read" in err
        assert run(capsys, "plot", wfdb_file, "-o", tmp_path / "ecg.png", "--no-measure", option)[0] == 0
    code, _, err = run(capsys, "info", tmp_path)
    assert code == 2 and "Read its files one by one" in err


def test_info_does_not_call_two_samples_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "two.csv").write_text("# sampling_rate: 500\n# unit: mV\nI,II\n0,0.1\n1,1\n")
    code, out, _ = run(capsys, "info", tmp_path / "two.csv", "--no-measure")
    assert code == 0 and "0.00 s are too short" in out and "verdict on the recording: unusable" in out


def test_a_seed_below_zero_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "simulate", "-n", 1, "--seed", -1, "-o", tmp_path / "out")
    assert code == 2 and err.startswith("ecgllm: --seed is -1; expected a whole number from 0 on")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_one_message_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "info", tmp_path / "nothing.hea")
    assert (code, out) == (2, "")
    assert err.startswith("ecgllm: ")
    assert "nothing.hea" in err
    assert "Traceback" not in err


def test_debug_lets_the_traceback_through(tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError), match=r"nothing\.hea"):
        main(["--debug", "info", str(tmp_path / "nothing.hea")])


def test_errors_that_nobody_can_put_right_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch, wfdb_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library's ValueError is a defect. A refusal is told by its class' name: a checkpoint's code has its own."""
    of_a_checkpoint = type("ECGInputError", (type("ECGError", (ValueError,), {}),), {})
    raised: list[Exception] = [ECGError("two leads"), of_a_checkpoint("two leads"), ValueError("operands")]

    def read_ecg(*arguments: object, **options: object) -> None:
        raise raised[-1]

    monkeypatch.setattr("ecgllm.signals.read_ecg", read_ecg)
    with pytest.raises(ValueError, match="operands"):
        main(["info", str(wfdb_file)])
    while raised := raised[:-1]:
        code, _, err = run(capsys, "info", wfdb_file)
        assert code == 2 and err.startswith("ecgllm: two leads (ecgllm --debug")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model that always answers "yes", with everything that belongs to a checkpoint."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    from ecgllm import ECGEncoderConfig, ECGFeatureExtractor, ECGLLMForConditionalGeneration, ECGProcessor

    torch.manual_seed(0)
    words = ["</s>", "<unk>", "yes", "no", "User", "Assistant", ":", "\n"]
    bare = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="</s>", unk_token="<unk>")
    encoder = ECGEncoderConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, stem_channels=[4, 4],
        preprocessing=ECGFeatureExtractor().preprocessing,
    )  # fmt: skip
    language_model = AutoModelForCausalLM.from_config(
        LlamaConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=len(words),
            eos_token_id=0, bos_token_id=None, pad_token_id=0,
        )
    )  # fmt: skip
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, language_model, tokenizer=tokenizer, patches_per_token=5, trained_on="nothing:\nrandom weights"
    )
    model.generation_config.max_length = None
    with torch.no_grad():  # the last word decides: after ":" comes yes, after yes the end
        model.language_model.model.embed_tokens.weight.zero_()
        model.language_model.lm_head.weight.zero_()
        for number, (word, following) in enumerate({":": "yes", "yes": "</s>", "no": "</s>"}.items()):
            model.language_model.model.embed_tokens.weight[words.index(word), number] = 1.0
            model.language_model.lm_head.weight[words.index(following), number] = 3.0
        for layer in model.language_model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    ECGProcessor.for_model(model, tokenizer).save_pretrained(folder)
    return folder


def test_ask_prints_answer_training_and_notice(
    wfdb_file: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "ask", wfdb_file, "Is there atrial fibrillation?", "--model", checkpoint)
    assert (code, err) == (0, "")
    answer, relative, *doubts, measured, trained_on, notice = out.splitlines()
    assert doubts and all(line.startswith(f"note on {wfdb_file}: ") for line in doubts)  # one lead of it is flat
    assert answer.startswith("yes  (") and answer.endswith(" of yes and no)")
    assert relative.startswith("relative to each other: yes ")
    assert measured.startswith("measured, not by the model: ")
    assert trained_on == "The model was trained on: nothing: random weights"
    assert notice.startswith("Not a medical device")


def test_ask_as_json(wfdb_file: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = "What is new in the second ECG?"
    code, out, err = run(capsys, "ask", wfdb_file, wfdb_file, question, "--model", checkpoint, "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert set(result) == {
        "files", "question", "answer", "probability", "own", "candidates", "generated", "calibrated", "contradicted",
        "measured", "refused", "unsure", "model", "trained_on", "recorded", "measurements", "notes", "doubts",
        "prevalence", "negated", "refusal", "notice", "not_measured", "doubts_about_two",
    }  # fmt: skip
    assert result["files"] == [str(wfdb_file)] * 2
    assert (result["question"], result["answer"], result["model"]) == (question, "yes", str(checkpoint))
    assert result["generated"]["text"] == "yes" and 0 < result["generated"]["probability"] <= 1
    assert result["probability"] == result["candidates"]["yes"] and result["unsure"] is False
    assert result["candidates"]["yes"] > result["candidates"]["no"]
    assert sum(result["candidates"].values()) == pytest.approx(1)


def test_ask_chooses_among_candidates(wfdb_file: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("ask", wfdb_file, "Which?", "--model", checkpoint, "--candidates", "no, User")
    code, out, _ = run(capsys, *arguments, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["answer"] in result["candidates"]
    assert list(result["candidates"]) == sorted(result["candidates"], key=lambda a: -result["candidates"][a])
    assert set(result["candidates"]) == {"no", "User"}


def test_ask_asks_the_model_that_ships_where_none_is_named(
    wfdb_file: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from ecgllm import shipped

    monkeypatch.setattr(shipped, "TINY", checkpoint)
    code, out, _ = run(capsys, "ask", wfdb_file, "Is it atrial fibrillation?", "--json")
    assert (code, json.loads(out)["model"]) == (0, str(checkpoint))
    monkeypatch.setattr(shipped, "TINY", tmp_path / "none")
    for arguments in (("ask", wfdb_file, "Is it atrial fibrillation?"), ("demo",)):
        code, out, err = run(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "came without the one that ships" in err and "--model" in err


def test_ask_shows_what_was_measured_of_each_file(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wfdb

    from ecgllm.signals.simulation import simulate_ecg

    monkeypatch.chdir(tmp_path)
    for name, rate in (("slow", 50.0), ("fast", 110.0)):
        record = simulate_ecg(("sinus rhythm",), seed=1, heart_rate=rate, noise=0.2)
        wfdb.wrsamp(
            name, 100, ["mV"] * 12, list(record.leads), p_signal=record.signal.T.astype(np.float64), fmt=["16"] * 12
        )
    arguments = ("ask", "slow.hea", "fast.hea", "Is it atrial fibrillation?", "--model", checkpoint)
    _, out, _ = run(capsys, *arguments, "--json")
    found = json.loads(out)["measurements"]
    assert json.loads(out)["doubts_about_two"] == []
    _, once, _ = run(capsys, "ask", "slow.hea", "slow.hea", *arguments[3:])
    assert "note: These are one recording" in once
    rates = {file: each["heart_rate"]["value"] for file, each in found.items()}
    assert rates == {"slow.hea": pytest.approx(50, abs=2), "fast.hea": pytest.approx(110, abs=2)}
    _, out, _ = run(capsys, *arguments)
    lines = [line for line in out.splitlines() if line.startswith("measured in ")]
    expected = (
        r"measured in slow\.hea, not by the model: heart rate 50 bpm \(confidence [01]\.\d\d, below the usual 60\), "
    )
    assert re.match(
        expected + r"PR \d+ ms \(.*\), QRS \d+ ms \(.*\), QTc \(Bazett\) \d+ ms \(.*\), axis -?\d+", lines[0]
    )
    assert len(lines) == 2 and lines[1].startswith("measured in fast.hea, ")
    # What `info` says of the file is the same.
    _, out, _ = run(capsys, "info", "slow.hea", "--json")
    assert json.loads(out)["measured"] == found["slow.hea"]
    _, out, _ = run(capsys, *arguments, "--no-measure")
    assert "measured" not in out


BARE = {
    "prevalence": None,
    "recorded": [],
    "measurements": {},
    "notes": {},
    "doubts": {},
    "doubts_about_two": [],
    "notice": "",
}


class Answerer:
    """Writes `text` with `probability`, and scores candidates by `scores`; stands for a loaded pipeline."""

    processor = SimpleNamespace(reads_measured=False, calibration=None, refusal=None)
    model = SimpleNamespace(config=SimpleNamespace(trained_on="nothing"))

    def __init__(self, text: str, probability: float, scores: dict[str, float]):
        self.text, self.probability, self.scores = text, probability, scores

    def __call__(self, question: str, ecgs: object, candidates: list[str] | None = None) -> dict[str, Any]:
        if candidates is None:
            return {"generated_text": self.text, "probability": self.probability}
        scores = {answer: self.scores.get(answer, 1e-9) for answer in candidates}
        ranked = sorted(scores, key=lambda answer: -scores[answer])
        total = sum(scores.values())
        relative = {answer: scores[answer] / total for answer in ranked}
        found = {"generated_text": ranked[0], "probability": relative[ranked[0]], "candidates": relative}
        return {**found, "any_candidate": min(1.0, total)}


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), ("Yes", "No")])
def test_the_answer_is_the_likelier_of_yes_and_no_whatever_was_written(yes: str, no: str) -> None:
    answerer = Answerer(yes, 0.0139, {yes: 0.0139, no: 0.0589})
    free = answer_question(answerer, [], "Is it atrial fibrillation?")
    assert free["answer"] == "no" and free["probability"] == pytest.approx(0.809, abs=1e-3)
    assert free["generated"] == {"text": yes, "probability": 0.0139}
    assert free["unsure"]  # the two have 0.073 of all
    chosen = answer_question(answerer, [], "Is it atrial fibrillation?", [yes, no])
    assert chosen["answer"].lower() == free["answer"] and chosen["probability"] == free["probability"]
    shown, relative, written, unsure, *_ = _as_answer({**free, **BARE}).splitlines()
    assert shown == "no  (0.809 of yes and no)" and relative == "relative to each other: no 0.809, yes 0.191"
    assert repr(yes) in written and "not sure of any answer; yes and no together" in unsure
    assert _as_answer({**chosen, **BARE}).lower().startswith("no  (0.809 of ")


def test_a_question_of_yes_or_no_is_read_once_where_it_is_clear_what_is_written() -> None:
    class Counting(Answerer):
        asked: tuple[object, ...] = ()

        def __call__(self, question: str, ecgs: object, candidates: list[str] | None = None) -> dict[str, Any]:
            self.asked += (candidates,)
            return super().__call__(question, ecgs, candidates)

    both, free = ["yes", "no"], None
    for question, yes, asked in (
        ("Is it atrial fibrillation?", 0.8, (both,)),
        ("Is it atrial fibrillation?", 0.4, (both, free)),  # what is written may be anything
        ("What do you say to atrial fibrillation?", 0.8, (free, both)),
    ):
        answerer = Counting("yes", yes, {"yes": yes, "no": 0.1})
        found = answer_question(answerer, [], question)
        assert answerer.asked == asked
        assert found["generated"] == {"text": "yes", "probability": pytest.approx(yes)}
        assert found["probability"] == pytest.approx(yes / (yes + 0.1))


def test_an_answer_between_yes_and_no_is_marked() -> None:
    for yes, undecided in ((0.55, True), (0.69, True), (0.71, False)):
        free = answer_question(Answerer("yes", yes, {"yes": yes, "no": 1 - yes}), [], "Is it atrial fibrillation?")
        assert free["answer"] == "yes" and free["unsure"] is undecided
        assert ("undecided between yes and no" in _as_answer({**free, **BARE})) is undecided
        chosen = answer_question(
            Answerer("yes", yes, {"yes": yes, "no": 1 - yes}), [], "Is it atrial fibrillation?", ["yes", "no"]
        )
        assert chosen["unsure"] is None and "undecided" not in _as_answer({**chosen, **BARE})


class Refuser(Answerer):
    """Of a model that learned to refuse; relative to yes and no it does so with the probability `refusal`."""

    processor = SimpleNamespace(reads_measured=False, calibration=None, refusal="cannot tell")

    def __init__(self, text: str, refusal: float):
        super().__init__(text, 0.9, {"yes": 0.45, "no": 0.3})
        self.refusal = refusal

    def __call__(self, question: str, ecgs: object, candidates: list[str] | None = None) -> dict[str, Any]:
        found = super().__call__(question, ecgs, candidates)
        return found if candidates is None else {**found, "refusal": self.refusal}


def test_what_a_model_refuses_is_not_answered() -> None:
    question, written = "Is it atrial fibrillation?", "cannot tell: this question makes no sense"
    free = answer_question(Refuser(written, 0.8), [], question)
    assert (free["refused"], free["answer"], free["probability"]) == (written, None, None)
    assert free["own"] == {"answer": written, "probability": 0.9} and free["unsure"] is False
    assert _as_answer({**free, **BARE}).splitlines()[0] == f"{written}  (the model's own answer, probability 0.9)"
    # What it writes token by token begins with yes; as a whole, a refusal is likelier.
    compared = answer_question(Refuser("yes", 0.8), [], question)
    assert (compared["refused"], compared["answer"], compared["refusal"]) == ("cannot tell", None, 0.8)
    assert _as_answer({**compared, **BARE}).startswith("cannot tell  (the model's own answer, probability 0.8)\n")
    answered = answer_question(Refuser("yes", 0.2), [], question)
    assert (answered["refused"], answered["answer"], answered["refusal"]) == (None, "yes", 0.2)
    assert "rather" not in _as_answer({**answered, **BARE})
    chosen = answer_question(Refuser("yes", 0.8), [], question, ["yes", "no"])  # one of these was asked for
    assert (chosen["refused"], chosen["answer"], chosen["refusal"]) == (None, "yes", 0.8)
    assert "would rather say that there is no answer (0.8 beside" in _as_answer({**chosen, **BARE})


def test_an_answer_of_vanishing_probability_is_marked() -> None:
    lines = {
        probability: _as_answer(
            {**answer_question(Answerer("av block", probability, {}), [], "What is the rhythm?"), **BARE}
        )
        for probability in (8e-6, 0.6)
    }
    assert lines[8e-6].startswith("av block  (probability 8e-06)\nnote: the model is not sure of any answer")
    assert "not sure" not in lines[0.6]
    assert not answer_question(Answerer("yes", 0.06, {"yes": 0.5, "no": 5.0}), [], "Is it atrial fibrillation?")[
        "unsure"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Is it atrial fibrillation?",), "no ECG file was given before the question 'Is it atrial fibrillation?'"),
        (("FILE", " "), "the question is empty"),
        (("FILE", ""), "the question is empty"),
        (("FILE",), "the last argument must be the question"),
        (("FILE", "FILE"), "the last argument must be the question"),
        (("missing.hea", "Is it atrial fibrillation?"), "missing.hea"),
        (("FILE", "Is it atrial fibrillation?", "--model", "nobody/nothing"), "a Hub id needs --trust-remote-code"),
        (("FILE", "Is it atrial fibrillation?", "--model", "EMPTY"), "no config.json in it"),
        (("FILE", "Is it atrial fibrillation?", "--model", "BERT"), "a model of type 'bert'; expected 'ecgllm'"),
        (("FILE", "Is it atrial fibrillation?", "--model", "FILE"), "is no folder with a checkpoint"),
        (("FILE", "Is it atrial fibrillation?", "--candidates", "yes,"), "different answers separated by commas"),
        (("FILE", "Is it atrial fibrillation?", "--candidates", "yes,yes"), "different answers separated by commas"),
    ],
)
def test_ask_refuses_in_one_line(
    arguments: tuple[str, ...],
    message: str,
    wfdb_file: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    names = {"FILE": wfdb_file, "EMPTY": tmp_path / "empty", "BERT": tmp_path / "bert"}
    model = () if "--model" in arguments else ("--model", checkpoint)
    code, out, err = run(capsys, "ask", *(names.get(argument, argument) for argument in arguments), *model)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("damaged", ["model.safetensors", "tokenizer.json", "config.json"])
def test_ask_refuses_a_damaged_checkpoint_in_one_line(
    damaged: str, wfdb_file: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / damaged).write_bytes((copy / damaged).read_bytes()[:40])
    code, out, err = run(capsys, "ask", wfdb_file, "Is it atrial fibrillation?", "--model", copy)
    assert (code, out) == (2, "")
    assert str(copy) in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "holds a list; expected a JSON object"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        (b'{"model_type": ' * 100_000, "nested too deep"),
        (b'{"model_type": "\xff"}', "no JSON in UTF-8"),
        (b"", "no JSON in UTF-8"),
    ],
)
def test_ask_names_a_configuration_that_is_none(
    name: str, content: bytes, message: str, wfdb_file: Path, checkpoint: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / name).write_bytes(content)
    code, out, err = run(capsys, "ask", wfdb_file, "Is it atrial fibrillation?", "--model", copy)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"ecgllm: {copy / name} " in err and message in err


def code_that_tells(folder: Path, name: str) -> Path:
    """A module of remote code that leaves a file behind when it is run."""
    folder.mkdir(exist_ok=True)
    ran = folder / "ran"
    (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\nraise SystemExit(9)\n")
    return ran


@pytest.mark.parametrize("file", ["config.json", "processor_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("where", ["ELSEWHERE/evil.X", "someone/else--modeling_ecgllm.X", "mine.X", "../evil.X"])
def test_code_that_nobody_trusts_is_not_run(
    file: str, where: str, wfdb_file: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    ran = [
        code_that_tells(tmp_path / "elsewhere", "evil"),
        code_that_tells(tmp_path, "evil"),
        code_that_tells(copy, "mine"),
    ]
    where = where.replace("ELSEWHERE", str(tmp_path / "elsewhere"))
    for auto in (dict.fromkeys(("AutoModel", "AutoConfig", "AutoProcessor"), where), {"AutoTokenizer": [where, None]}):
        values = json.loads((checkpoint / file).read_text())
        (copy / file).write_text(json.dumps(values | {"auto_map": auto}))
        code, out, err = run(capsys, "ask", wfdb_file, "Is it atrial fibrillation?", "--model", copy)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{copy / file} names code that is none of ecgllm's own: {where!r}. It is not run" in err
        code, _, err = run(
            capsys, "train", "sim-demo", f"start_from={copy}", f"output={tmp_path / 'run'}", "--dry-run"
        )
        assert code == 2 and "names code that is none of ecgllm's own" in err
    assert not any(path.exists() for path in ran)


def test_a_folder_is_loaded_by_the_packages_own_code(
    wfdb_file: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    with open(copy / "modeling_ecgllm.py", "a", encoding="utf-8") as file:
        file.write(f"\nopen({str(tmp_path / 'ran')!r}, 'w').close()\n")
    arguments = ("ask", wfdb_file, "Is it atrial fibrillation?", "--no-measure", "--model", copy)
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and not (tmp_path / "ran").exists()
    assert run(capsys, *arguments, "--trust-remote-code")[:2] == (0, out)
    assert not (tmp_path / "ran").exists()


def test_ask_refuses_a_question_that_is_too_long(
    wfdb_file: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "ask", wfdb_file, "AF? " + "word " * 20_000, "--model", checkpoint)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.search(r"has 20,0\d\d tokens.*positions for 2,048", err)


def test_ask_names_the_weights_that_are_cut_off(
    wfdb_file: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[:-100])
    code, out, err = run(capsys, "ask", wfdb_file, "Is it atrial fibrillation?", "--model", copy)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{copy / 'model.safetensors'} is damaged: it holds {len(whole) - 100:,} bytes" in err
    assert f"promises {len(whole):,}. Copy the checkpoint again" in err


def test_ask_refuses_an_ecg_that_the_model_cannot_read(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import wfdb

    wfdb.wrsamp(
        "short", fs=250, units=["mV"], sig_name=["II"], p_signal=np.random.default_rng(0).normal(size=(100, 1)),
        fmt=["16"], write_dir=str(tmp_path),
    )  # fmt: skip
    code, out, err = run(capsys, "ask", tmp_path / "short.hea", "Is it atrial fibrillation?", "--model", checkpoint)
    assert (code, out) == (2, "")
    assert "the ECG lasts 0.4 s" in err


def test_simulated_ecgs_become_a_corpus_and_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, questions = tmp_path / "corpus", tmp_path / "questions"
    code, out, _ = run(capsys, "simulate", "-n", 12, "--seed", 3, "-o", corpus)
    assert code == 0
    assert out == f"12 records in {corpus}\n"
    code, out, _ = run(capsys, "questions", corpus, "-o", questions)
    assert code == 0

    from datasets import load_from_disk

    built = load_from_disk(str(questions))
    assert out == f"{len(built)} questions in {questions}\n"
    assert {"question", "ecg_ids", "answers"} <= set(built.column_names)
    assert {record for ids in built["ecg_ids"] for record in ids} <= set(load_from_disk(str(corpus))["id"])


def test_questions_in_more_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "simulate", "-n", 60, "-o", tmp_path / "corpus")
    words = ("questions", tmp_path / "corpus", "--types", "verify", "--words")
    assert run(capsys, *words, "unanswerable=0.5,negated=0.5", "-o", tmp_path / "own")[0] == 0
    assert run(capsys, *words, "varied", "-o", tmp_path / "varied")[0] == 0
    code, _, err = run(capsys, *words, "negated=much", "-o", tmp_path / "q")
    assert code == 2 and "expected shares such as names=0.4" in err

    from datasets import load_from_disk

    for name in ("own", "varied"):
        templates = load_from_disk(str(tmp_path / name))["template"][:]
        assert "verify-absence" in templates and "unanswerable-nonsense" in templates


def test_debiased_questions_are_answered_yes_as_often_as_no(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "simulate", "-n", 30, "-o", tmp_path / "corpus")
    code, _, err = run(capsys, "questions", tmp_path / "corpus", "-o", tmp_path / "questions", "--debias")
    assert code == 0
    assert "kept " in err

    from datasets import load_from_disk

    answers = [answer for (answer,) in load_from_disk(str(tmp_path / "questions"))["answers"]]
    assert set(answers) == {"yes", "no"}
    assert answers.count("yes") == answers.count("no")


def test_questions_refuses_a_split_that_the_corpus_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "simulate", "-n", 4, "-o", tmp_path / "corpus")
    code, _, err = run(capsys, "questions", tmp_path / "corpus", "-o", tmp_path / "q", "--split", "holdout")
    assert code == 2
    assert "no split 'holdout'; it has " in err


def test_questions_refuses_a_folder_that_is_no_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "questions", tmp_path, "-o", tmp_path / "q")
    assert code == 2
    assert "`ecgllm prepare` writes one" in err


def test_prepare_reads_a_real_corpus(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (shared_data / "ludb").is_dir():
        pytest.skip(f"no ludb in {shared_data}")
    code, out, err = run(capsys, "prepare", "ludb", shared_data / "ludb", "-o", tmp_path / "ludb", "--limit", 5)
    assert code == 0
    assert "ludb: 5 records" in err
    assert out.startswith("5 records in ")


def test_prepare_refuses_an_unknown_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "prepare", "nosuch", tmp_path, "-o", tmp_path / "out")
    assert code == 2
    assert "nosuch" in err
    assert "ptbxl" in err


@pytest.mark.parametrize("command", [("simulate", "-n", "1"), ("prepare", "ludb", "."), ("questions", ".")])
def test_nothing_is_overwritten(command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious.txt").write_text("do not lose me")
    code, _, err = run(capsys, *command, "-o", tmp_path)
    assert code == 2
    assert "already holds something" in err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_train_hands_recipe_and_overrides_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = fake_module(monkeypatch, "ecgllm.train", "main")
    assert run(capsys, "train", "tiny.yaml", "seed=3", "data=here")[0] == 0
    assert calls == [(["tiny.yaml", "seed=3", "data=here"],)]


def test_demo_hands_the_file_over_and_refuses_a_missing_one_at_once(
    wfdb_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = fake_module(monkeypatch, "ecgllm.training.demo", "run_demo")
    monkeypatch.setitem(sys.modules, "ecgllm.training", ModuleType("ecgllm.training"))
    assert run(capsys, "demo")[0] == 0
    assert run(capsys, "demo", "--ecg", wfdb_file)[0] == 0
    assert run(capsys, "demo", "--train")[0] == 0
    assert run(capsys, "demo", "--ecg", "missing.hea")[0] == 2
    assert calls == [(None, False), (wfdb_file, False), (None, True)]


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_plot_writes_a_picture(
    wfdb_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    pytest.importorskip("matplotlib", reason="drawing is an extra: pip install 'ecgllm[plot]'")
    output = tmp_path / f"ecg.{suffix}"
    code, out, err = run(capsys, "plot", wfdb_file, "-o", output, "--start", 0.5, "--duration", 1, "--gain", 5)
    assert (code, out.strip(), err) == (0, str(output), "")
    assert output.read_bytes().startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix])
    code, _, err = run(capsys, "plot", wfdb_file, "-o", output, "--layout", "4x3")
    assert code == 2 and "expected one of auto, 3x4" in err
    code, _, err = run(capsys, "plot", wfdb_file, "-o", tmp_path / "nodir" / f"ecg.{suffix}")
    assert code == 2 and f"the folder {tmp_path / 'nodir'} does not exist" in err


def test_plot_without_matplotlib_names_the_extra(
    wfdb_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "ecgllm.signals.plotting.plot", raising=False)
    code, _, err = run(capsys, "plot", wfdb_file, "-o", tmp_path / "ecg.png")
    assert code == 2 and "pip install 'ecgllm[plot]'" in err


def test_ask_refuses_a_file_without_a_heart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], checkpoint: Path
) -> None:
    wfdb.wrsamp(
        "zero", 500, ["mV"] * 2, ["I", "II"], p_signal=np.zeros((1000, 2)), fmt=["16"] * 2, adc_gain=[1000.0] * 2,
        baseline=[0] * 2, write_dir=str(tmp_path),
    )  # fmt: skip
    code, _, err = run(
        capsys, "ask", str(tmp_path / "zero.hea"), "Is it atrial fibrillation?", "--model", str(checkpoint)
    )
    assert code == 2 and "every lead is flat" in err
    noise = np.random.default_rng(0).normal(size=(5000, 2)).cumsum(axis=0) * 0.02
    wfdb.wrsamp("noise", 500, ["mV"] * 2, ["I", "II"], p_signal=noise, fmt=["16"] * 2, write_dir=str(tmp_path))
    code, _, err = run(
        capsys, "ask", str(tmp_path / "noise.hea"), "Is it atrial fibrillation?", "--model", str(checkpoint)
    )
    assert code == 2 and "no heart beats" in err and "asystole and ventricular fibrillation" in err


def test_questions_are_debiased_and_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, built, kept, report = (tmp_path / name for name in ("corpus", "questions", "kept", "report"))
    assert run(capsys, "simulate", "-n", 80, "-o", corpus)[0] == 0
    assert run(capsys, "questions", corpus, "-o", built)[0] == 0
    code, _, err = run(capsys, "debias", built, "-o", kept, "--corpus", corpus, "--match-on", "sex")
    assert code == 0 and "sex, matched: yes and no differ by" in err
    whole = (kept / "report.txt").read_text(encoding="utf-8").splitlines()
    shown = err[err.index("dropped of") :].splitlines()
    assert shown[-1] == whole[-1] and shown[-1].startswith("kept ")
    more = sum(line.startswith("dropped of") for line in whole) - 10
    assert more > 0 and f"... and {more} more (all are in {kept / 'report.txt'})" in shown
    code, out, _ = run(capsys, "audit", kept, "--corpus", corpus, "--json", "-o", report)
    assert code == 0 and json.loads(out)["overall"]["baseline"]["value"] == 0.5
    assert (report / "audit.png").is_file() and (report / "audit.json").is_file()
    assert "question-only [95 %]" in run(capsys, "audit", built)[1]
    code, _, err = run(capsys, "audit", corpus)
    assert code == 2 and "holds no questions" in err


def test_damaged_data_are_refused_by_their_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, built = tmp_path / "corpus", tmp_path / "questions"
    assert run(capsys, "simulate", "-n", 20, "-o", corpus)[0] == 0
    assert run(capsys, "questions", corpus, "-o", built)[0] == 0
    commands = {
        corpus: [("questions", corpus, "-o", tmp_path / "x"), ("audit", built, "--corpus", corpus)],
        built: [("audit", built), ("debias", built, "-o", tmp_path / "x")],
    }
    for folder in (built, corpus):
        (file,) = folder.glob("*.arrow")
        whole = file.read_bytes()
        file.write_bytes(whole[:-50])
        for command in commands[folder]:
            code, out, err = run(capsys, *command)
            assert (code, out) == (2, "") and f"{file} is cut off: it holds" in err and "copy the folder again" in err
        file.write_bytes(whole)


@pytest.mark.slow
def test_biased_questions_are_weighted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, biased, weighted = (tmp_path / name for name in ("corpus", "biased", "weighted"))
    assert run(capsys, "simulate", "-n", 300, "-o", corpus)[0] == 0
    code, out, _ = run(capsys, "confound", corpus, "-o", biased, "--strength", 1)
    assert code == 0 and out.endswith(f"questions in {biased}\n")
    assert json.loads(run(capsys, "audit", biased, "--json")[1])["words"]["baseline"]["value"] > 0.8
    options = ("--corpus", corpus, "--match-on", "severity", "--method", "weight", "--whole")
    code, _, err = run(capsys, "debias", biased, "-o", weighted, *options)
    assert code == 0 and "weights are worth" in err
    assert json.loads(run(capsys, "audit", weighted, "--json")[1])["overall"]["baseline"]["value"] < 0.6
    code, _, err = run(capsys, "confound", corpus, "-o", tmp_path / "x", "--strength", 2)
    assert code == 2 and "expected a number from 0 to 1" in err


def test_only_what_was_wished_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from datasets import load_from_disk

    run(capsys, "simulate", "-n", 60, "-o", tmp_path / "corpus")
    wishes = ("--types", "verify,query", "--attributes", "atrial fibrillation,PR interval", "--per-record", 1)
    assert run(capsys, "questions", tmp_path / "corpus", "-o", tmp_path / "questions", *wishes)[0] == 0
    built = load_from_disk(str(tmp_path / "questions"))
    assert set(built["type"]) == {"verify", "query"}
    assert {"atrial fibrillation", "pr interval"} <= set(built["attribute"])
    code, _, err = run(capsys, "questions", tmp_path / "corpus", "-o", tmp_path / "q", "--types", "verfy")
    assert code == 2 and "unknown question types" in err
