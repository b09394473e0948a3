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
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

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

# A busy machine is no failure, and a test that passed yesterday passes today.
settings.register_profile("ecgllm", deadline=None, derandomize=True, database=None)
settings.load_profile("ecgllm")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Seed what is already imported, so that no test depends on those that ran before it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real records (`ludb`, `cinc2021`, ...): ECGLLM_TEST_DATA, or `shared/data` beside the checkout."""
    named = os.environ.get("ECGLLM_TEST_DATA")
    if named is not None:
        folder = Path(named).resolve()
        if not folder.is_dir():
            pytest.fail(
                f"ECGLLM_TEST_DATA is {named!r}, which is no folder; unset it to skip the tests on real records"
            )
        return folder
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real records: set ECGLLM_TEST_DATA to a folder that holds ludb, cinc2021 or ptbxl")
    return folder
