"""Packaging: the repository root is the package `ecgllm`.

The same files serve `pip install`, `trust_remote_code=True` and a reader who opens the folder, so the root folder
itself is mapped to the package name. What goes into the wheel is decided here: root modules except this file, every
sub-package that has an `__init__.py` and is not a test, benchmark or guide, and as data the recipes, the template of
reports, and the checkpoints and metrics that ship, whose links to the root's code become files.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
NOT_SHIPPED = ("tests", "benchmarks", "docs", "build", "dist", "requirements")
SUBPACKAGES = find_packages(
    str(ROOT), include=["*"], exclude=[pattern for name in NOT_SHIPPED for pattern in (name, f"{name}.*")]
)


class BuildWithoutSetup(build_py):
    """`build_py` that leaves `setup.py` out: with the root as the package it would count as one of its modules."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if not (package == "ecgllm" and module[1] in ("setup", "conftest"))]


CORE = [
    "torch>=2.13",  # the oldest that is tested
    "transformers>=5.18,<6",
    "peft>=0.21",
    "accelerate>=1.10",
    "datasets>=4.0",
    "evaluate>=0.4.5",
    "numpy>=2.0",
    "scipy>=1.13",
    "scikit-learn>=1.5.2",
    "wfdb>=4.3.1",
    "typer>=0.15",
    "pydantic>=2.8",  # the first for Python 3.13
    "typing_extensions>=4.12",  # its TypedDict for Python 3.10 and 3.11
    "pyyaml>=6.0",
    "pandas>=2.2.3",  # datasets and evaluate need it, too; the oldest that wfdb takes
    "jinja2>=3.1",  # torch and transformers need it, too
    "filelock>=3.16",  # transformers and datasets need it, too
]
EXTRAS = {
    "formats": ["ecgdatakit[dicom]>=2.0", "h5py>=3.11"],
    "measure": [],  # part of the core; the name stays for those who install it
    "plot": ["matplotlib>=3.8"],
    "audit": ["matplotlib>=3.8"],
    "evaluate": ["matplotlib>=3.8"],
    "export": ["onnx>=1.18", "onnxruntime>=1.22", "onnxscript>=0.5"],
    "explain": ["captum>=0.8"],
    "app": ["gradio>=6.31"],
    "serve": ["fastapi>=0.115", "uvicorn>=0.30", "prometheus-client>=0.20"],
    "scale": ["ray[data]>=2.40"],
    "dev": [
        "pytest>=8.0",
        "pytest-xdist>=3.7",
        "hypothesis>=6.100",
        "ruff>=0.9",
        "build>=1.2",
        "h5py>=3.11",
        "pyedflib>=0.1.40",
        "httpx>=0.27",
        "openai>=1.60",  # its client asks the server
        "nbclient>=0.10",  # runs docs/tour.ipynb
        "ipykernel>=6.29",
        "playwright>=1.50",  # opens reports in a Chromium of the system; it downloads none
    ],
}
EXTRAS["all"] = sorted({requirement for requirements in EXTRAS.values() for requirement in requirements})

setup(
    packages=["ecgllm", *(f"ecgllm.{name}" for name in SUBPACKAGES)],
    package_dir={"ecgllm": "."},
    package_data={
        "ecgllm": [
            "recipes/*.yaml",
            "recipes/accelerate/*.yaml",
            "recipes/records/*.txt",
            "recipes/experiments/*.yaml",
            "checkpoints/*/*",
            "checkpoints/*/adapter/*",
            "metrics/*/*",
            "evaluation/report/*.jinja",
            "serving/app/*.js",
            "serving/app/*.css",
            "serving/app/*.html",
        ]
    },
    include_package_data=False,
    install_requires=CORE,
    extras_require=EXTRAS,
    cmdclass={"build_py": BuildWithoutSetup},
)
