"""What users install: the wheel's contents, that it works without the checkout, and the floors of imports."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from graphlib import TopologicalSorter
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import ecgllm
from ecgllm.saving_ecgllm import code_files

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = {"tests", "benchmarks", "docs", "build", "dist", "requirements"}

TRAVELS = (  # the ground floor from below: each imports only those before it
    "errors_ecgllm",
    "weights_ecgllm",
    "configuration_base_ecgllm",
    "encoder_configuration_ecgllm",
    "configuration_ecgllm",
    "trained_words_ecgllm",
    "signal_ecgllm",
    "filters_ecgllm",
    "heart_ecgllm",
    "saving_ecgllm",
    "loading_ecgllm",
    "published_weights_ecgllm",
    "ecg_input_ecgllm",
    "feature_extraction_ecgllm",
    "processor_parts_ecgllm",
    "pipeline_base_ecgllm",
    "embedding_pipeline_ecgllm",
    "classification_pipeline_ecgllm",
    "answer_calibration_ecgllm",
    "measured_figures_ecgllm",
    "conversation_ecgllm",
    "chat_template_ecgllm",
    "batch_ecgllm",
    "processing_ecgllm",
    "encoder_ecgllm",
    "beats_ecgllm",
    "ecgfounder_ecgllm",
    "merl_ecgllm",
    "encoder_adapter_ecgllm",
    "classification_ecgllm",
    "dual_encoder_processing_ecgllm",
    "zero_shot_pipeline_ecgllm",
    "dual_encoder_ecgllm",
    "projector_ecgllm",
    "language_model_ecgllm",
    "language_model_base_ecgllm",
    "composition_ecgllm",
    "scoring_ecgllm",
    "prefix_cache_ecgllm",
    "prefix_scoring_ecgllm",
    "pipeline_ecgllm",
    "modeling_ecgllm",
)
# The map of the house in docs/development.md: "floor 3" and, indented, a path and what it holds.
GUIDE = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
MAP = re.search(r"^```\n(floor 1.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[1]
ROOMS: dict[str, int] = {}
for _line in MAP.splitlines():
    if _line.startswith("floor "):
        _floor = int(_line.split()[1].rstrip(",:"))
    else:
        ROOMS[_line.split()[0]] = _floor
FLOOR = {path.split("/")[0].removesuffix(".py"): floor for path, floor in ROOMS.items()}


def subpackages() -> list[str]:
    return sorted(
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if path.parent.name not in NOT_SHIPPED and path.parent.name.isidentifier()
    )


def package_files() -> list[str]:
    """Every Python file of the package, as a path relative to the root."""
    files = [path for path in ROOT.glob("*.py") if path.name != "setup.py"]
    files += [path for name in subpackages() for path in (ROOT / name).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build in the checkout leaves a `build` folder that leaks into the next wheel."""
    source, out = tmp_path_factory.mktemp("source") / "ecgllm-source", tmp_path_factory.mktemp("wheel")
    wanted = [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    folders = (*subpackages(), "recipes", "checkpoints", "metrics", "tests", "benchmarks")
    wanted += [ROOT / name for name in folders if (ROOT / name).is_dir()]
    source.mkdir()
    for path in wanted:
        if path.is_dir():
            shutil.copytree(path, source / path.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    pip("wheel", str(source), "--no-deps", "--no-build-isolation", "--wheel-dir", str(out))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip("install", str(wheel), "--no-deps", "--no-index", "--target", str(target))
    return target


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(sys.prefix))
    assert done.returncode == 0, f"pip {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"


def run_installed(installed: Path, cwd: Path, *arguments: str) -> str:
    """What Python prints where `ecgllm` is the installed wheel, with nothing on stderr. PYTHONPATH is searched before
    an editable install."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )
    told = f"python {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    assert (done.returncode, done.stderr) == (0, ""), told
    return done.stdout


def test_wheel_holds_the_package_its_recipes_checkpoints_and_metrics_and_nothing_else(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
    recipes = {
        path.relative_to(ROOT).as_posix() for end in ("*.yaml", "*.txt") for path in (ROOT / "recipes").rglob(end)
    }
    patterns = ("checkpoints/*/*", "checkpoints/*/adapter/*", "metrics/*/*")
    folders = [path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()]
    linked = {path.relative_to(ROOT).as_posix() for path in folders}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "evaluation").rglob("*.jinja")}
    page = (ROOT / "serving" / "app").iterdir()
    templates |= {path.relative_to(ROOT).as_posix() for path in page if path.suffix in (".js", ".css", ".html")}
    assert names == {f"ecgllm/{name}" for name in {*package_files(), *recipes, *linked, *templates}}
    # The code of a checkpoint, and of a metric, is links in the checkout, and files in the wheel.
    assert all(archive.read(f"ecgllm/{name}") == (ROOT / name).read_bytes() for name in linked)


def test_wheel_carries_version_license_and_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    by_name = {name.split(".dist-info/")[1]: name for name in archive.namelist() if ".dist-info/" in name}
    assert wheel.name == f"ecgllm-{ecgllm.__version__}-py3-none-any.whl"
    assert {"licenses/LICENSE", "licenses/NOTICE"} <= set(by_name)
    assert "ecgllm = ecgllm.cli:main" in archive.read(by_name["entry_points.txt"]).decode()
    metadata = archive.read(by_name["METADATA"]).decode()
    required = {
        re.split(r"[^\w-]", line.removeprefix("Requires-Dist: "))[0]
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    }
    core = "torch transformers peft accelerate datasets evaluate numpy scipy scikit-learn wfdb typer filelock"
    core += " pydantic typing_extensions pyyaml pandas jinja2"
    assert required == set(core.split())
    extras = {line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Provides-Extra:")}
    assert extras == {
        "formats",
        "measure",
        "plot",
        "audit",
        "evaluate",
        "export",
        "explain",
        "app",
        "serve",
        "scale",
        "dev",
        "all",
    }


def test_installed_wheel_imports_and_runs_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = "import ecgllm, ecgllm.configuration_ecgllm; print(ecgllm.__file__); print(ecgllm.ECGLLMConfig.__module__)"
    file, module = run_installed(installed, tmp_path, "-c", code).split()
    assert Path(file) == installed / "ecgllm" / "__init__.py"
    assert module == "ecgllm.configuration_ecgllm"
    assert "simulate" in run_installed(installed, tmp_path, "-m", "ecgllm.cli", "--help")


def test_installed_wheel_answers_with_the_checkpoint_that_it_brings(installed: Path, tmp_path: Path) -> None:
    tiny = installed / "ecgllm" / "checkpoints" / "ecgllm-tiny"
    assert not any(path.is_symlink() for path in tiny.iterdir())
    leads = "I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
    rows = "\n".join(
        ",".join(f"{(0.1 + lead / 20) * (row % 80 < 4):.3f}" for lead in range(12)) for row in range(1000)
    )
    (tmp_path / "beats.csv").write_text(f"{leads}\n{rows}\n")
    ask = ("ask", "beats.csv", "Is there noise?", "--sampling-rate", "100", "--unit", "mV", "--no-measure", "--json")
    result = json.loads(run_installed(installed, tmp_path, "-m", "ecgllm.cli", *ask))
    assert result["model"] == str(tiny) and "simulated" in result["trained_on"]


@pytest.mark.slow  # `test_remote_code` has it of a folder that is saved here, in the same way
def test_the_checkpoint_of_a_wheel_answers_where_the_package_is_unknown(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ecgllm'] = None\n"
        "from transformers import pipeline\n"
        "ecg = {'signal': [([0, 0.2, 1, 0.2] + [0] * 76) * 12] * 2, 'sampling_rate': 100, 'leads': ['I', 'II']}\n"
        "pipe = pipeline(model=sys.argv[1], trust_remote_code=True)\n"
        "print(pipe('Is there noise?', ecgs=ecg, candidates=['yes', 'no'])['generated_text'])"
    )
    tiny = installed / "ecgllm" / "checkpoints" / "ecgllm-tiny"
    assert run_installed(installed, tmp_path, "-c", code, str(tiny)).strip() in ("yes", "no")


def test_importing_the_package_loads_neither_torch_nor_transformers(tmp_path: Path) -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'numpy'}"
    code = f"import sys, ecgllm, ecgllm.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "[]"


def test_every_exported_name_exists() -> None:
    missing = [name for name in ecgllm.__all__ if getattr(ecgllm, name, None) is None]
    assert not missing
    assert set(ecgllm.__all__) <= set(dir(ecgllm))
    with pytest.raises(AttributeError, match="no attribute 'ECGnome'; it exports .*ECGProcessor"):
        _ = ecgllm.ECGnome


def test_no_file_of_the_package_is_imported_twice() -> None:
    """`tests` import `ecgllm.x`, never `x`: a class that exists twice is not an instance of itself.

    The root's `__init__.py` is exempt: pytest loads it once more, under the checkout's name, and it defines no class.
    """
    assert Path(ecgllm.__file__).parent == ROOT
    own = {(ROOT / file).as_posix() for file in package_files()} - {(ROOT / "__init__.py").as_posix()}
    loaded = [(getattr(module, "__file__", None), name) for name, module in list(sys.modules.items())]
    strays = [name for file, name in loaded if file in own and not name.startswith("ecgllm.")]
    assert not strays


def test_no_root_name_shadows_a_dependency() -> None:
    """`python train.py` puts the root first on the import path: a root `datasets.py` would replace the library."""
    own = {Path(name).stem for name in package_files() if "/" not in name} - {"__init__"}
    own |= {path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in NOT_SHIPPED}
    ours = {"ecgllm", *own}
    others = {name for name, owners in packages_distributions().items() if set(owners) != {"ecgllm"}}
    assert not ours & (others | set(sys.stdlib_module_names))


def imported_own_names(file: str) -> set[str]:
    """Root modules and sub-packages of this package that a file imports, relatively, as `ecgllm.x` or by file name."""
    package = ["ecgllm", *Path(file).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            modules = [base] if base != "ecgllm" else [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {parts[1] for module in modules if (parts := module.split("."))[0] == "ecgllm" and len(parts) > 1}
    return found


def test_the_map_shows_every_room() -> None:
    """Each module of the root and each folder with modules, in one line; nothing that is not there."""
    files = [Path(file) for file in package_files()]
    rooms = {f"{file.parent.as_posix()}/" for file in files if len(file.parts) > 1}
    modules = {file.name for file in files if len(file.parts) == 1} - {"__init__.py"}
    assert set(ROOMS) == rooms | modules
    assert [name for name, floor in ROOMS.items() if floor == 1] == [f"{name}.py" for name in TRAVELS]


@pytest.mark.parametrize("file", [name for name in package_files() if name != "__init__.py"])
def test_imports_only_go_down(file: str) -> None:
    owner = Path(file).parts[0].removesuffix(".py")
    above = {name for name in imported_own_names(file) if FLOOR.get(name, 0) > FLOOR[owner]}
    assert not above, f"{file} (floor {FLOOR[owner]}) imports {sorted(above)} from a floor above"


def imported_when_loaded(file: str, modules: dict[str, str]) -> set[str]:
    """Files of the package that a file imports as it is loaded; what a function imports when it is called is not."""
    package, found = [*Path(file).parent.parts], set()
    waiting = list(ast.parse((ROOT / file).read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, (ast.If, ast.Try)):
            waiting += [
                *node.body,
                *node.orelse,
                *(one for each in getattr(node, "handlers", ()) for one in each.body),
            ]
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else [])]
        for alias in node.names:
            name = ".".join([*base, alias.name])
            found.add(modules.get(name) or modules.get(".".join(base), ""))
    return found - {"", file}


def test_no_imports_in_a_circle() -> None:
    files = [name for name in package_files() if name != "__init__.py"]
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in files}
    order = TopologicalSorter({file: imported_when_loaded(file, modules) for file in files})
    order.prepare()  # raises CycleError, which names them


def test_what_the_package_refuses_has_one_base_class() -> None:
    """The command line shows an `ECGError` as one line; a `ValueError` is a defect, and shows its traceback."""
    plain = [
        f"{file}:{node.lineno}"
        for file in package_files()
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise)
        and "ValueError" in {name.id for name in ast.walk(node) if type(name) is ast.Name}
    ]
    assert not plain, f"raise ECGError (errors_ecgllm) or a class of your own derived from it at {plain}"


def test_a_saved_model_takes_all_files_of_its_floor_along() -> None:
    """They are found by relative imports; a folder loaded as remote code brings no more than these reach."""
    assert code_files("modeling_ecgllm") == sorted(f"{name}.py" for name in TRAVELS)
    assert set(TRAVELS) == {path.stem for path in ROOT.glob("*_ecgllm.py")}


def test_names_in_checkpoints_that_were_saved_before_still_exist() -> None:
    """Where all models stood in one file, and the feature extractor beside the processor."""
    names = {
        "processing_ecgllm": {"ECGFeatureExtractor", "ECGProcessor"},
        "modeling_ecgllm": {"ECGEncoder", "ECGTextDualEncoder", "ECGLLMForConditionalGeneration"},
        "pipeline_ecgllm": {"ECGTextToTextPipeline"},
    }
    assert not [n for file, known in names.items() for n in known - set(dir(import_module(f"ecgllm.{file}")))]


@pytest.mark.parametrize("module", TRAVELS)
def test_files_that_travel_need_only_a_plain_transformers(module: str) -> None:
    """Judged by the scanner that transformers itself runs before it loads remote code; it reads docstrings too."""
    from transformers.dynamic_module_utils import get_imports, get_relative_imports

    file = ROOT / f"{module}.py"
    below = set(TRAVELS[: TRAVELS.index(module)])
    assert set(get_relative_imports(file)) <= below
    assert imported_own_names(file.name) <= below
    plain = {"numpy", "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub"}
    assert set(get_imports(file)) <= plain | set(sys.stdlib_module_names)
