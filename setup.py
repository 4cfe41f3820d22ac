"""Package xlsr-st: the `st` library and fairseq plugin, and the `covost` preparation tools."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# ve-fairseq ships one wheel per interpreter for Linux x86-64; everywhere else a source build of fairseq-fixed is needed.
HAS_WHEEL = "sys_platform == 'linux' and platform_machine == 'x86_64' and python_version < '3.13'"
NO_WHEEL = "sys_platform != 'linux' or platform_machine != 'x86_64' or python_version >= '3.13'"

TRAIN = [
    f"ve-fairseq==0.12.3; {HAS_WHEEL}",
    f"fairseq-fixed==0.12.3.1; {NO_WHEEL}",
    "hydra-core>=1.3.2",
    "tensorboard>=2.16",
]
SERVE = ["fastapi>=0.115", "starlette>=0.49.1", "python-multipart>=0.0.18", "uvicorn>=0.30"]
# Its wheel has KenLM in it; the package kenlm itself comes as source only.
LM = ["flashlight-text>=0.0.7"]
DEV = [
    "pytest>=8",
    "pytest-xdist>=3.7",
    "hypothesis>=6.100",
    # Pinned: another version formats and finds other things.
    "ruff==0.17.6",
    "mypy==2.4.1",
    "codespell>=2.3",
    "validate-pyproject>=0.20",
    "transformers>=5,<6",
    "types-PyYAML",
    # Tests that need it are skipped where it has no wheel.
    f"flashlight-text>=0.0.7; {HAS_WHEEL}",
]

RECIPES = sorted(path.relative_to(HERE) for path in (HERE / "configs").rglob("*.yaml"))

setup(
    name="xlsr-st",
    version="0.1.0",
    description="Speech translation with an XLS-R encoder, an mBART decoder and a CTC head, for all 36 CoVoST-2 directions",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["st", "st.*", "covost", "covost.*"]),
    package_data={"st": ["py.typed", "evaluation/report/*.tsv"], "covost": ["py.typed"]},
    # Relative to the Python environment; docs/training.md says how to name them.
    data_files=[(f"share/xlsr-st/{path.parent.as_posix()}", [path.as_posix()]) for path in RECIPES],
    install_requires=[
        # Below 2.10 weights_only loading has known holes; torchaudio 2.11, the last release, refuses the CUDA 13.2 of 2.15.
        "torch>=2.10,<2.15",
        "torchaudio>=2.11,<2.12",
        "numpy>=1.26",
        "omegaconf>=2.3",
        "pyyaml>=6.0",
        "sentencepiece>=0.2",
        "sacrebleu[ja]>=2.5",
        "jiwer>=4.0",
        "soundfile>=0.14",
        "soxr>=0.5",
        "safetensors>=0.5",
        "huggingface_hub>=0.34",
        "httpx2>=2,<3",
        "polars>=1.20",
        "babel>=2.16",
        "espeakng-loader>=0.2.4",
        "lameenc>=1.7",
        "tqdm>=4.66",
    ],
    extras_require={"train": TRAIN, "serve": SERVE, "lm": LM, "dev": TRAIN + DEV},
    entry_points={"console_scripts": ["st = st.cli:main", "covost = covost.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
