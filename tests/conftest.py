"""What every test can rely on: no network, own caches, one thread, fixed seeds, and real records where there are any.

The environment is set when pytest loads this file, before any test imports torch or a Hugging Face library, and is
inherited by the processes that tests start.
"""

import atexit
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from .fake_hub import FakeHub, reserve

ROOT = Path(__file__).resolve().parents[1]

# The Hub of these tests: nothing listens there until a test asks for the fixture `hub`.
_HUB_ADDRESS = reserve()

# Each pytest process gets its own home: two xdist workers that load remote code into one HF_MODULES_CACHE race.
_HOME = tempfile.mkdtemp(prefix="ecgllm-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in (
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "HF_MODULES_CACHE",
    "HF_EVALUATE_CACHE",
    "HF_METRICS_CACHE",
    "HF_TOKEN",
):
    os.environ.pop(_name, None)
os.environ.update(
    HF_HOME=_HOME,
    HF_ENDPOINT=f"http://127.0.0.1:{_HUB_ADDRESS.getsockname()[1]}",
    HF_HUB_DISABLE_XET="1",
    NO_PROXY="127.0.0.1,localhost",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_EVALUATE_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
    # Sums depend on how many threads share them; equal results need an equal number.
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
)

# Results are compared with what one process on a CPU gives; with ECGLLM_TEST_GPU=1 whatever chooses a device by itself
# takes the GPU.
if not os.environ.get("ECGLLM_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# A busy machine is no failure, and a test that passed yesterday passes today.
settings.register_profile("ecgllm", deadline=None, derandomize=True, database=None)
settings.load_profile("ecgllm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no worker ends with one of them while the other has nothing."""
    items.sort(key=lambda item: "training" not in item.path.parts)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Seed what is already imported, so that no test depends on those that ran before it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _shared_folder(variable: str, default: str, holds: str) -> Path:
    """The folder that an environment variable names, or the one beside the checkout; skips where there is none."""
    named = os.environ.get(variable)
    if named is not None:
        folder = Path(named).resolve()
        if not folder.is_dir():
            pytest.fail(f"{variable} is {named!r}, which is no folder; unset it to skip the tests on real records")
        return folder
    folder = ROOT.parent / "shared" / default
    if not folder.is_dir():
        pytest.skip(f"no real records: set {variable} to a folder that holds {holds}")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real records (`ludb`, `cinc2021`, ...): ECGLLM_TEST_DATA, or `shared/data` beside the checkout."""
    return _shared_folder("ECGLLM_TEST_DATA", "data", "ludb, cinc2021 or ptbxl")


@pytest.fixture(scope="session")
def shared_vendor() -> Path:
    """Folder of real files of recorders and converters, and of wfdb-python's samples: ECGLLM_TEST_VENDOR, or
    `shared/vendor` beside the checkout."""
    return _shared_folder("ECGLLM_TEST_VENDOR", "vendor", "files of recorders and the folder wfdb-samples")


@pytest.fixture(scope="session")
def _served_hub() -> Iterator[FakeHub]:
    with FakeHub(_HUB_ADDRESS) as served:
        yield served


@pytest.fixture
def hub(_served_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty Hub of this machine's (`tests/fake_hub.py`), which this process may reach, with caches of its own.

    Nobody is logged in: set HF_TOKEN to `hub.token`, or pass token=.
    """
    import datasets.config
    from huggingface_hub import constants

    for settings_of in (constants, datasets.config):
        monkeypatch.setattr(settings_of, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    _served_hub.clear()
    yield _served_hub
    assert not _served_hub.unknown, f"the fake Hub does not know {_served_hub.unknown}"


# ---------------------------------------------------------------------------------------------------------------------
# Tiny models
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_tokenizer():
    """A fresh byte-level BPE tokenizer of 300 tokens, without the ECG placeholder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        ["User: Is there atrial fibrillation?\nAssistant: yes no Here is an electrocardiogram: "] * 3,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.fixture
def tiny_encoder_config():
    """Two layers of size 32, with the preprocessing of the default feature extractor."""
    from ecgllm import ECGEncoderConfig, ECGFeatureExtractor

    return ECGEncoderConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        stem_channels=[8, 8],
        stem_strides=[2, 1],
        preprocessing=ECGFeatureExtractor().preprocessing,
    )


@pytest.fixture
def make_ecg():
    """make_ecg(seconds, seed, leads=12): noise in mV at 100 Hz with the first standard leads."""
    import numpy as np

    from ecgllm.processing_ecgllm import LEADS

    def make(seconds: float = 2.0, seed: int = 0, leads: int = 12) -> dict:
        signal = np.random.default_rng(seed).normal(scale=0.4, size=(leads, int(seconds * 100))).astype(np.float32)
        return {"signal": signal, "sampling_rate": 100, "leads": list(LEADS[:leads])}

    return make


@pytest.fixture
def encoder(tiny_encoder_config):
    """A random `ECGEncoder` of `tiny_encoder_config`."""
    import torch

    from ecgllm import ECGEncoder

    torch.manual_seed(0)
    return ECGEncoder(tiny_encoder_config).eval()


@pytest.fixture
def text_encoder():
    """A random BERT of 60 words."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    return BertModel(
        BertConfig(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
    ).eval()


@pytest.fixture
def tiny_llm(tiny_tokenizer, tiny_encoder_config):
    """tiny_llm(language_model_config=None, **fields): (model, processor); a random Llama by default."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    from ecgllm import ECGLLMForConditionalGeneration, ECGProcessor

    def build(language_model_config=None, **fields):
        if language_model_config is None:
            language_model_config = LlamaConfig(
                vocab_size=300,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=48,
                bos_token_id=0,
                eos_token_id=1,
                tie_word_embeddings=True,
            )
        torch.manual_seed(0)
        language_model = AutoModelForCausalLM.from_config(language_model_config)
        model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
            tiny_encoder_config, language_model, tokenizer=tiny_tokenizer, **{"patches_per_token": 2} | fields
        ).eval()
        return model, ECGProcessor.for_model(model, tiny_tokenizer)

    return build
