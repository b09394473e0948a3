"""A saved folder as remote code: loaded where `ecgllm` cannot be imported, saved from there, and loaded once more."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoProcessor,
    BertConfig,
    BertModel,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from ecgllm import (
    ECGEncoderConfig,
    ECGFeatureExtractor,
    ECGForSequenceClassification,
    ECGLLMConfig,
    ECGLLMForConditionalGeneration,
    ECGProcessor,
    ECGTextDualEncoder,
    ECGTextDualEncoderProcessor,
    ZeroShotECGClassificationPipeline,
)
from ecgllm.pipeline_ecgllm import ECGTextToTextPipeline

from .fake_hub import FakeHub
from .launching import run_without_package

pytestmark = pytest.mark.smoke

MODEL_FILES = {
    "README.md", "config.json", "generation_config.json", "model.safetensors", "batch_ecgllm.py", "beats_ecgllm.py",
    "chat_template_ecgllm.py", "classification_ecgllm.py", "classification_pipeline_ecgllm.py",
    "answer_calibration_ecgllm.py", "measured_figures_ecgllm.py",
    "composition_ecgllm.py", "configuration_ecgllm.py", "conversation_ecgllm.py",
    "dual_encoder_ecgllm.py", "language_model_base_ecgllm.py", "weights_ecgllm.py",
    "configuration_base_ecgllm.py", "encoder_configuration_ecgllm.py", "filters_ecgllm.py", "ecg_input_ecgllm.py",
    "encoder_adapter_ecgllm.py", "encoder_ecgllm.py", "errors_ecgllm.py", "feature_extraction_ecgllm.py",
    "heart_ecgllm.py", "language_model_ecgllm.py", "loading_ecgllm.py", "modeling_ecgllm.py", "pipeline_ecgllm.py",
    "embedding_pipeline_ecgllm.py", "pipeline_base_ecgllm.py", "processor_parts_ecgllm.py",
    "prefix_cache_ecgllm.py", "prefix_scoring_ecgllm.py",
    "processing_ecgllm.py", "projector_ecgllm.py", "saving_ecgllm.py", "scoring_ecgllm.py", "signal_ecgllm.py",
    "dual_encoder_processing_ecgllm.py", "zero_shot_pipeline_ecgllm.py", "trained_words_ecgllm.py",
    "published_weights_ecgllm.py", "ecgfounder_ecgllm.py", "merl_ecgllm.py",
}  # fmt: skip
ENCODER_FILES = {
    "README.md", "config.json", "model.safetensors", "preprocessor_config.json",
    "configuration_ecgllm.py", "encoder_ecgllm.py", "errors_ecgllm.py", "feature_extraction_ecgllm.py",
    "configuration_base_ecgllm.py", "encoder_configuration_ecgllm.py", "filters_ecgllm.py", "ecg_input_ecgllm.py",
    "heart_ecgllm.py", "loading_ecgllm.py", "saving_ecgllm.py", "signal_ecgllm.py",
    "embedding_pipeline_ecgllm.py", "pipeline_base_ecgllm.py", "processor_parts_ecgllm.py",
}  # fmt: skip
ANY_ENCODER_FILES = ENCODER_FILES | {
    "beats_ecgllm.py", "ecgfounder_ecgllm.py", "merl_ecgllm.py", "published_weights_ecgllm.py",
    "encoder_adapter_ecgllm.py",
}  # fmt: skip
DUAL_ENCODER_FILES = ANY_ENCODER_FILES | {
    "dual_encoder_ecgllm.py", "dual_encoder_processing_ecgllm.py",
    "trained_words_ecgllm.py", "zero_shot_pipeline_ecgllm.py",
}  # fmt: skip
CLASSIFIER_FILES = ANY_ENCODER_FILES | {"classification_ecgllm.py", "classification_pipeline_ecgllm.py"}
TEXT_FILES = {"processor_config.json", "tokenizer.json", "tokenizer_config.json"}
PROCESSOR_FILES = {
    "batch_ecgllm.py", "chat_template.jinja", "chat_template_ecgllm.py", "configuration_ecgllm.py",
    "configuration_base_ecgllm.py", "encoder_configuration_ecgllm.py", "filters_ecgllm.py", "ecg_input_ecgllm.py",
    "answer_calibration_ecgllm.py", "measured_figures_ecgllm.py", "loading_ecgllm.py",
    "conversation_ecgllm.py", "errors_ecgllm.py", "feature_extraction_ecgllm.py", "heart_ecgllm.py",
    "preprocessor_config.json", "processing_ecgllm.py", "processor_config.json", "saving_ecgllm.py",
    "processor_parts_ecgllm.py", "signal_ecgllm.py", "tokenizer.json", "tokenizer_config.json",
    "trained_words_ecgllm.py", "weights_ecgllm.py",
}  # fmt: skip
QUESTION = "Is there atrial fibrillation?"
LEADS = ["I", "II", "V1", "V5"]

# Run in a process of its own: argv is the folder to load, the folder with inputs and outputs, the folder to save to.
BLOCKED = """
import json, sys
sys.modules["ecgllm"] = None
import numpy as np, torch
from transformers import (AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForCausalLM, AutoModelForMultimodalLM,
                          AutoProcessor, AutoTokenizer, pipeline)
folder, work, target = sys.argv[1:]
signals = np.load(work + "/signals.npy")
ecgs = [{"signal": signal, "sampling_rate": 500, "leads": ["I", "II", "V1", "V5"]} for signal in signals]
trust = {"trust_remote_code": True}
processor = AutoProcessor.from_pretrained(folder, **trust)
extractor = AutoFeatureExtractor.from_pretrained(folder, **trust)
result = {
    "config": type(AutoConfig.from_pretrained(folder, **trust)).__name__,
    "processor": type(processor).__name__,
    "same_preprocessing": extractor.preprocessing_id == processor.feature_extractor.preprocessing_id,
    "tokenizer": len(AutoTokenizer.from_pretrained(folder, **trust)) == len(processor.tokenizer),
    "logits": {}, "answers": {},
}
for auto in (AutoModel, AutoModelForCausalLM, AutoModelForMultimodalLM):
    model = auto.from_pretrained(folder, **trust).eval()
    result.setdefault("models", []).append(type(model).__name__)
    for count in (1, 2, 3):
        turns = processor.build_conversation("Is there atrial fibrillation?", ecgs[:count])
        inputs = processor.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
        with torch.no_grad():
            np.save(f"{work}/{auto.__name__}-{count}.npy", model(**inputs).logits.numpy())
for name, pipe in (("unnamed", pipeline(model=folder, **trust)),
                   ("named", pipeline("ecg-text-to-text", model=folder, **trust))):
    result["answers"][name] = [
        pipe("Is there atrial fibrillation?", ecgs=ecgs[:count], max_new_tokens=3) for count in (1, 2, 3)]
try:
    pipe("Is there atrial fibrillation?", ecgs="record.hea")
except ImportError as error:
    result["path"] = str(error)
adapter = work + "/adapter"
inputs = processor.apply_chat_template(processor.build_conversation("Is there atrial fibrillation?", ecgs[:1]),
                                       tokenize=True, add_generation_prompt=True)
for name in ("from_pretrained", "load_adapter"):
    if name == "from_pretrained":
        adapted = AutoModel.from_pretrained(adapter, **trust).eval()
    else:
        adapted = AutoModel.from_pretrained(folder, **trust).eval()
        adapted.load_adapter(adapter)
    with torch.no_grad():
        np.save(f"{work}/{name}.npy", adapted(**inputs).logits.numpy())
model.save_pretrained(target)
processor.save_pretrained(target)
print(json.dumps(result))
"""

# The third process: what was saved by the second, which never saw the package.
AGAIN = """
import sys
sys.modules["ecgllm"] = None
import numpy as np, torch
from transformers import AutoModel, AutoProcessor
folder, work, _ = sys.argv[1:]
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
ecgs = [{"signal": signal, "sampling_rate": 500, "leads": ["I", "II", "V1", "V5"]}
        for signal in np.load(work + "/signals.npy")]
inputs = processor.apply_chat_template(processor.build_conversation("Is there atrial fibrillation?", ecgs),
                                       tokenize=True, add_generation_prompt=True)
with torch.no_grad():
    np.save(work + "/again.npy", model(**inputs).logits.numpy())
print("{}")
"""


# A process that loads encoder, dual encoder and classifier, saves them again, and goes on with what it saved.
ENCODERS = """
import json, pathlib, shutil, sys
sys.modules["ecgllm"] = None
import torch
from transformers import (AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForSequenceClassification,
                          AutoProcessor, pipeline)
work = pathlib.Path(sys.argv[1])
trust = {"trust_remote_code": True}
found = {}
# Two folders with different code in one process: each keeps its own.
other = work / "other"
shutil.copytree(work / "encoder", other)
code = other / "encoder_ecgllm.py"
code.write_text(code.read_text().replace("    main_input_name", "    other = True; main_input_name", 1))
folders = (work / "encoder", other, work / "encoder")
found["other"] = [hasattr(type(AutoModel.from_pretrained(folder, **trust)), "other") for folder in folders]
for name in ("encoder", "dual", "classifier"):
    saved, again = work / name, work / f"{name}-again"
    AutoModel.from_pretrained(saved, **trust).save_pretrained(again)
    own = AutoProcessor if name == "dual" else AutoFeatureExtractor
    own.from_pretrained(saved, **trust).save_pretrained(again)
    shutil.rmtree(saved)  # nothing may point back at it
    model = AutoModel.from_pretrained(again, **trust).eval()
    extractor = AutoFeatureExtractor.from_pretrained(again, **trust)
    found[name] = [type(part).__name__ for part in (model, AutoConfig.from_pretrained(again, **trust), extractor)]
    encoder = model if name == "encoder" else model.ecg_encoder
    ecg = {"signal": torch.load(work / "signal.pt"), "sampling_rate": 500, "leads": ["I", "II", "V1", "V5"]}
    with torch.no_grad():
        torch.save(encoder(**extractor(ecg)).pooler_output, work / f"{name}.pt")
classifier = AutoModelForSequenceClassification.from_pretrained(again, **trust).eval()
with torch.no_grad():
    scores = classifier(**extractor(ecg)).logits.sigmoid()[0].tolist()
for name in ("encoder", "dual"):
    task = {} if name == "encoder" else {"task": "ecg-feature-extraction"}  # a dual encoder has two
    pipe = pipeline(model=str(work / f"{name}-again"), **task, **trust)
    found[f"{name} embeds"] = pipe([ecg, ecg], batch_size=2, require_heart=False)[1].tolist()
pipe = pipeline("zero-shot-ecg-classification", model=str(work / "dual-again"), **trust)
found["zero-shot"] = pipe(ecg, candidate_labels=["AF", "SR"])
pipe.save_pretrained(work / "dual-pipeline")
pipe = pipeline(model=str(work / "classifier-again"), **trust)
found["labels"] = [pipe.task, *pipe([ecg, ecg], batch_size=2)[1]]
found["scores"] = {classifier.config.id2label[number]: score for number, score in enumerate(scores)}
print(json.dumps(found))
"""


def make_ecgs() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    beat = np.exp(-0.5 * (((np.arange(1000) / 500 - 0.2) % 0.7 - 0.3) / 0.012) ** 2)
    signals = rng.uniform(0.5, 1.5, (3, len(LEADS), 1)) * beat + 0.05 * rng.normal(size=(3, len(LEADS), 1000))
    signals = signals.astype(np.float32)
    return [{"signal": signal, "sampling_rate": 500, "leads": LEADS} for signal in signals]


@pytest.fixture(scope="module")
def checkpoint() -> tuple[ECGLLMForConditionalGeneration, ECGProcessor]:
    torch.manual_seed(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({word: number for number, word in enumerate(["</s>", *alphabet])}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>")
    encoder = ECGEncoderConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, stem_channels=[4, 4],
        preprocessing=ECGFeatureExtractor().preprocessing,
    )  # fmt: skip
    language_model = AutoModelForCausalLM.from_config(
        LlamaConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            vocab_size=len(tokenizer), tie_word_embeddings=True, initializer_range=0.3, eos_token_id=0,
            bos_token_id=None, pad_token_id=0,
        )
    )  # fmt: skip
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, language_model, tokenizer=tokenizer, patches_per_token=5, trained_on="random weights"
    ).eval()
    return model, ECGProcessor.for_model(model, tokenizer)


def logits(model: Any, processor: ECGProcessor, ecgs: list[dict[str, Any]]) -> np.ndarray:
    turns = processor.build_conversation(QUESTION, ecgs)
    with torch.no_grad():
        return model(**processor.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)).logits.numpy()


def run_blocked(code: str, *arguments: Path) -> dict[str, Any]:
    """Run code far from the repository, in the environment of these tests; its last line is its result."""
    work = arguments[1]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=work, env=environment, capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_saved_folder_needs_no_package(
    checkpoint: tuple[ECGLLMForConditionalGeneration, ECGProcessor], tmp_path: Path
) -> None:
    model, processor = checkpoint
    ecgs = make_ecgs()
    folder, work, target = tmp_path / "saved", tmp_path / "work", tmp_path / "saved-again"
    work.mkdir()
    np.save(work / "signals.npy", np.stack([ecg["signal"] for ecg in ecgs]))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    assert {file.name for file in folder.iterdir()} == MODEL_FILES | PROCESSOR_FILES
    expected = {count: logits(model, processor, ecgs[:count]) for count in (1, 2, 3)}

    base = ECGLLMForConditionalGeneration.from_pretrained(folder).eval()
    lora = LoraConfig(target_modules=r".*language_model.*\.(q_proj|v_proj)", modules_to_save=["projector"], r=2)
    adapted = get_peft_model(base, lora).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    adapted.save_pretrained(work / "adapter")
    assert json.loads((work / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(folder)
    expected_adapted = logits(adapted, processor, ecgs[:1])
    assert np.abs(expected_adapted - expected[1]).max() > 1e-3

    result = run_blocked(BLOCKED, folder, work, target)
    assert result["config"] == "ECGLLMConfig"
    assert result["processor"] == "ECGProcessor"
    assert result["models"] == ["ECGLLMForConditionalGeneration"] * 3
    assert result["same_preprocessing"]
    assert result["tokenizer"]
    assert "Install ecgllm, or pass a mapping" in result["path"]
    for name in ("AutoModel", "AutoModelForCausalLM", "AutoModelForMultimodalLM"):
        for count in (1, 2, 3):
            np.testing.assert_allclose(np.load(work / f"{name}-{count}.npy"), expected[count], atol=1e-6, rtol=0)
    assert len(result["answers"]["named"]) == 3
    assert result["answers"]["named"] == result["answers"]["unnamed"]
    for name in ("from_pretrained", "load_adapter"):
        np.testing.assert_allclose(np.load(work / f"{name}.npy"), expected_adapted, atol=1e-6, rtol=0)

    assert {file.name for file in target.iterdir()} == MODEL_FILES | PROCESSOR_FILES
    for name in (*(MODEL_FILES & PROCESSOR_FILES), "modeling_ecgllm.py", "pipeline_ecgllm.py"):
        assert (target / name).read_text() == (folder / name).read_text()
    shutil.rmtree(folder)  # nothing may point back at it
    run_without_package(AGAIN, work, target, work, target)
    np.testing.assert_allclose(np.load(work / "again.npy"), expected[3], atol=1e-6, rtol=0)


def test_encoders_need_no_package(
    checkpoint: tuple[ECGLLMForConditionalGeneration, ECGProcessor], tmp_path: Path
) -> None:
    encoder, extractor = checkpoint[0].ecg_encoder, checkpoint[1].feature_extractor
    text_encoder = BertModel(
        BertConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    )
    problem = {"id2label": {0: "NORM", 1: "MI"}, "problem_type": "multi_label_classification"}
    classifier = ECGForSequenceClassification.from_encoder(encoder, **problem).eval()
    models = {
        "encoder": encoder,
        "dual": ECGTextDualEncoder.from_encoder_and_text_encoder(encoder, text_encoder),
        "classifier": classifier,
    }
    files = {"encoder": ENCODER_FILES, "dual": DUAL_ENCODER_FILES | TEXT_FILES, "classifier": CLASSIFIER_FILES}
    tokenizer = copy.deepcopy(checkpoint[1].tokenizer)
    tokenizer.chat_template = None  # the language model's
    processor = ECGTextDualEncoderProcessor.for_model(models["dual"], tokenizer)
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        alone = {file.name for file in (tmp_path / name).iterdir()}
        # with the code that its configuration names
        assert alone == files[name] - TEXT_FILES - {"preprocessor_config.json"}
        (processor if name == "dual" else extractor).save_pretrained(tmp_path / name)
    ecg = make_ecgs()[0]
    torch.save(torch.from_numpy(ecg["signal"]), tmp_path / "signal.pt")
    classes = run_without_package(ENCODERS, tmp_path, tmp_path, tmp_path)
    assert classes.pop("other") == [False, True, False]
    with torch.no_grad():
        scores = classifier(**extractor(ecg)).logits.sigmoid()[0].tolist()
    by_label = {"NORM": pytest.approx(scores[0]), "MI": pytest.approx(scores[1])}
    assert classes.pop("scores") == by_label
    task, *labels = classes.pop("labels")
    assert task == "ecg-classification" and {each["label"]: each["score"] for each in labels} == by_label
    with torch.no_grad():
        embedding = models["dual"].eval().get_ecg_features(**extractor(ecg)).pooler_output[0]
    assert classes.pop("encoder embeds") == pytest.approx(
        encoder(**extractor(ecg)).pooler_output[0].tolist(), abs=1e-5
    )
    assert classes.pop("dual embeds") == pytest.approx(embedding.tolist(), abs=1e-5)
    zero_shot = ZeroShotECGClassificationPipeline(model=models["dual"], processor=processor)
    for found, own in zip(classes.pop("zero-shot"), zero_shot(ecg, ["AF", "SR"]), strict=True):
        assert found == own | {"score": pytest.approx(own["score"], abs=1e-6)}
    assert {file.name for file in (tmp_path / "dual-pipeline").iterdir()} == files["dual"]
    assert classes == {
        "encoder": ["ECGEncoder", "ECGEncoderConfig", "ECGFeatureExtractor"],
        "dual": ["ECGTextDualEncoder", "ECGTextDualEncoderConfig", "ECGFeatureExtractor"],
        "classifier": ["ECGForSequenceClassification", "ECGClassifierConfig", "ECGFeatureExtractor"],
    }
    with torch.no_grad():
        expected = encoder(**extractor(ecg)).pooler_output
    for name in models:
        assert {file.name for file in (tmp_path / f"{name}-again").iterdir()} == files[name]
        torch.testing.assert_close(torch.load(tmp_path / f"{name}.pt"), expected, atol=1e-6, rtol=0)


def test_inside_the_package_nobody_is_asked_for_trust(
    checkpoint: tuple[ECGLLMForConditionalGeneration, ECGProcessor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*args: Any) -> str:
        raise AssertionError("trust was asked for")

    monkeypatch.setattr("builtins.input", asked)
    model, processor = checkpoint
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    code = tmp_path / "modeling_ecgllm.py"
    code.write_text("raise ImportError")  # whatever a folder brings, the package's own classes are used
    expected = logits(model, processor, make_ecgs())
    for trust in ({}, {"trust_remote_code": True}):
        loaded = AutoProcessor.from_pretrained(tmp_path, **trust)
        assert type(loaded) is ECGProcessor and type(loaded.feature_extractor) is ECGFeatureExtractor
        assert type(AutoFeatureExtractor.from_pretrained(tmp_path, **trust)) is ECGFeatureExtractor
        assert type(AutoConfig.from_pretrained(tmp_path, **trust)) is ECGLLMConfig
        for auto in (AutoModel, AutoModelForCausalLM, AutoModelForMultimodalLM):
            again = auto.from_pretrained(tmp_path, **trust).eval()
            assert type(again) is ECGLLMForConditionalGeneration
            np.testing.assert_array_equal(logits(again, loaded, make_ecgs()), expected)


Checkpoint = tuple[ECGLLMForConditionalGeneration, ECGProcessor]
SENT_BY_THE_HUB = {".gitattributes"}


@pytest.mark.parametrize("while_saving", [False, True])
def test_what_is_pushed_is_what_is_saved(
    checkpoint: Checkpoint, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, while_saving: bool
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    model, processor = checkpoint
    pipe = ECGTextToTextPipeline(model=model, processor=processor)
    expected = {"model": MODEL_FILES, "processor": PROCESSOR_FILES, "pipe": MODEL_FILES | PROCESSOR_FILES}
    for name, part in (("model", model), ("processor", processor), ("pipe", pipe)):
        part.save_pretrained(tmp_path / name, push_to_hub=while_saving)
        if not while_saving:
            part.push_to_hub(f"someone/{name}")
        sent = hub.files(f"someone/{name}")
        assert set(sent) - SENT_BY_THE_HUB == expected[name] == {path.name for path in (tmp_path / name).iterdir()}
        assert all(sent[file] == (tmp_path / name / file).read_bytes() for file in expected[name])
        assert name == "processor" or b"Not a medical device" in sent["README.md"]
