"""A finished run: its root works as remote code without the package, its adapter stands on its base."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

from ecgllm import ECGLLMForConditionalGeneration, ECGProcessor
from ecgllm.corpora.records.dataset_folders import saved_rows
from ecgllm.corpora.records.recognition import SeenRecords, find_seen_records
from ecgllm.signals.simulation import simulate_ecgs

from ..hub_cards import card_errors

pytestmark = pytest.mark.smoke

QUESTION = "Does this ECG show atrial fibrillation?"

# Runs where `ecgllm` cannot be imported. In: run folder, file with signals, file for the results.
WITHOUT_THE_PACKAGE = """
import json, sys
sys.modules["ecgllm"] = None
import numpy as np, torch
from transformers import AutoModel, AutoModelForCausalLM, AutoProcessor, pipeline
run, signals, out = sys.argv[1:]
saved = np.load(signals)
leads = [str(name) for name in saved["leads"]]
ecgs = [{"signal": signal, "sampling_rate": 100.0, "leads": leads} for signal in saved["signals"]]
model = AutoModel.from_pretrained(run, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(run, trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules."), type(model)
question = "Does this ECG show atrial fibrillation?"
logits = []
for count in (1, 2, 3):
    conversation = processor.build_conversation(question, ecgs[:count])
    inputs = processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)
    with torch.no_grad():
        logits.append(model(**inputs).logits[0].numpy())
pipe = pipeline(model=run, trust_remote_code=True)
answers = [pipe(question, ecgs=ecgs[:count], candidates=["yes", "no"]) for count in (1, 2, 3)]
free = pipe(question, ecgs=ecgs[:1], max_new_tokens=8)
np.savez(out, *logits)
print(json.dumps([answers, free["generated_text"]]))
"""


def logits_of(model: torch.nn.Module, processor: ECGProcessor, ecgs: list) -> np.ndarray:
    conversation = processor.build_conversation(QUESTION, ecgs)
    inputs = processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)
    with torch.no_grad():
        return model.eval()(**inputs).logits[0].numpy()


def check_without_the_package(run: Path, folder: Path) -> None:
    """Logits of one, two and three ECGs equal those with the package, and the pipeline answers about them."""
    records = simulate_ecgs(3, seed=77)
    np.savez(folder / "ecgs.npz", signals=np.stack([r.signal for r in records]), leads=np.array(records[0].leads))
    command = [
        sys.executable,
        "-c",
        WITHOUT_THE_PACKAGE,
        str(run),
        str(folder / "ecgs.npz"),
        str(folder / "logits.npz"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ)
    assert done.returncode == 0, done.stderr
    answers, free = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == 3 and isinstance(free, str)
    for answer in answers:
        assert answer["generated_text"] in ("yes", "no") and 0.5 <= answer["probability"] <= 1
    saved = np.load(folder / "logits.npz")
    model = ECGLLMForConditionalGeneration.from_pretrained(run)
    processor = ECGProcessor.from_pretrained(run, trust_remote_code=True)
    for count, name in enumerate(saved.files, start=1):
        np.testing.assert_allclose(saved[name], logits_of(model, processor, records[:count]), atol=1e-6, rtol=0)


def test_the_root_works_where_the_package_is_unknown(finished_run: Path, tmp_path: Path) -> None:
    check_without_the_package(finished_run, tmp_path)


def test_root_and_last_stage_are_one_checkpoint(finished_run: Path) -> None:
    last = finished_run / "finetune" / "model"
    for file in last.iterdir():
        if file.name != "README.md":
            assert (finished_run / file.name).read_bytes() == file.read_bytes(), file.name
    # one copy on the disk, not two
    assert (finished_run / "model.safetensors").stat().st_ino == (last / "model.safetensors").stat().st_ino


def test_encoder_bits_stay_those_of_pretrain(finished_run: Path) -> None:
    pretrained = load_file(finished_run / "pretrain" / "model" / "model.safetensors")
    encoder = {name: value for name, value in pretrained.items() if name.startswith("ecg_encoder.")}
    assert encoder
    for stage in ("debias", "finetune"):
        weights = load_file(finished_run / stage / "model" / "model.safetensors")
        assert all(torch.equal(weights[name], value) for name, value in encoder.items())


def test_adapter_is_small_and_stands_on_the_stage_before(finished_run: Path) -> None:
    adapter = finished_run / "finetune" / "adapter"
    names = set(load_file(adapter / "adapter_model.safetensors"))
    assert names and all("language_model" in name and "lora_" in name or ".projector." in name for name in names)
    assert not any("ecg_encoder" in name for name in names)
    size = (adapter / "adapter_model.safetensors").stat().st_size
    assert size < 0.25 * (finished_run / "model.safetensors").stat().st_size
    base = Path(json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"])
    assert base == (finished_run / "debias" / "model").resolve()


def test_adapter_reloads_exactly_and_merges_to_the_saved_model(finished_run: Path) -> None:
    adapter, base = finished_run / "finetune" / "adapter", finished_run / "debias" / "model"
    records = simulate_ecgs(2, seed=5)
    processor = ECGProcessor.from_pretrained(base, trust_remote_code=True)
    onto_base = PeftModel.from_pretrained(ECGLLMForConditionalGeneration.from_pretrained(base), adapter)
    merged = ECGLLMForConditionalGeneration.from_pretrained(finished_run)
    expected = logits_of(onto_base, processor, records)
    by_auto = AutoModel.from_pretrained(adapter, trust_remote_code=True)
    assert (logits_of(by_auto, processor, records) == expected).all()
    np.testing.assert_allclose(logits_of(merged, processor, records), expected, atol=1e-6, rtol=0)
    before = logits_of(ECGLLMForConditionalGeneration.from_pretrained(base), processor, records)
    assert np.abs(before - expected).max() > 1e-3  # the adapter does something


def test_what_a_user_sees(finished_run: Path) -> None:
    log = (finished_run.parent / "log.txt").read_text()
    assert "simulation: 60 ECGs (49 train, 4 validation, 7 test)" in log
    for number, stage in enumerate(("pretrain", "debias", "finetune"), start=1):
        assert f"[{number}/3] {stage}: 24 steps of 8 examples" in log
    table = log[log.index("[3/3]") :]
    assert "ecg_encoder                27,392              0" in table
    for unwanted in ("pin_memory", "Warning", "Writing model shards", "LOAD REPORT", "custom code", "mtime"):
        assert unwanted not in log, log
    # lines, not bars: nobody watches a pipe
    assert log.count("\n") < 130 and "step/s" not in log


def test_every_stage_is_validated(finished_run: Path) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert list(metrics) == ["pretrain", "debias", "finetune"]
    for stage, values in metrics.items():
        assert values["validation"]["eval_loss"] > 0, stage
        assert values["world_size"] == 1 and values["versions"]["torch"] == torch.__version__
        assert json.loads((finished_run / stage / "metrics.json").read_text()) == values
    assert metrics["finetune"]["answers"]["all"]["questions"] == 16
    # a sample of all types, not the first of the file
    assert len(metrics["finetune"]["answers"]) > 3


def test_card_says_data_recipe_seed_figures_preprocessing_and_limits(finished_run: Path) -> None:
    card = (finished_run / "README.md").read_text()
    for part in ("49 simulated ECGs", "scaling: millivolt", "seed 3", "| finetune | all |", "Not a medical device"):
        assert part in card
    assert "tune: lora" in card and "max_steps: 24" in card
    assert str(finished_run.parent) not in card  # folders of the machine that trained are nobody's business
    assert not card_errors(card, "model")
    data = ModelCard(card).data  # as the Hub reads it; text-generation would be answered without an ECG
    assert (data.library_name, data.pipeline_tag) == ("transformers", "any-to-any") and "ecg" in data.tags
    assert (data.license, data.language, data.base_model) == ("mit", "en", None)
    (figure,) = data.eval_results
    answers = json.loads((finished_run / "metrics.json").read_text())["finetune"]["answers"]["all"]
    assert (figure.dataset_name, figure.metric_type) == ("simulation, validation records", "exact_match")
    assert figure.metric_value == pytest.approx(answers["exact_match"], abs=1e-4)
    assert f"{answers['commonest_answer']:.1%}" in figure.metric_name
    encoders = ModelCard((finished_run / "pretrain" / "model" / "README.md").read_text()).data
    assert (encoders.pipeline_tag, encoders.license) == ("feature-extraction", "mit")


@pytest.mark.parametrize("name", ["recipe.yaml", "versions.json", "metrics.json", "corpus.txt", "README.md"])
def test_the_folder_says_how_it_was_made(finished_run: Path, name: str) -> None:
    assert (finished_run / name).stat().st_size


def test_what_a_run_saw_is_known_again(finished_run: Path) -> None:
    noted = find_seen_records(finished_run / "finetune" / "model")
    assert noted is not None and noted.parent == finished_run
    corpus = saved_rows(finished_run / "corpus")
    expected = {"train": "trained", "validation": "chosen", "test": "new"}
    assert SeenRecords.load(noted).of(corpus) == [expected[split] for split in corpus["split"]]
