"""Stable public names: where they are exported, and that every export list is sorted, complete and correct."""

import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAY = {
    "videos": {
        "SIMULATORS",
        "EndlessVideos",
        "FixedVideos",
        "VideoBatch",
        "VideoSource",
        "load_videos",
        "split_videos",
    },
    "pyro_models": {"DeepMarkovModel", "DeepVariationalBayesFilter", "KalmanVAE", "RecurrentCodes"},
    "pyro_models.distributions": {"GaussianPath", "LinearGaussianSSM", "MixtureLinearGaussianSSM"},
    "guides": {
        "FrameGaussianGuide",
        "KalmanGuide",
        "RecurrentGuide",
        "RecurrentStateGuide",
        "check_guide",
        "describe_sites",
    },
    "inference": {
        "IWAE",
        "SVI",
        "Evidence",
        "Stage",
        "compare",
        "load",
        "log_evidence",
        "predictive_scores",
        "queries",
        "train",
    },
    "inference.recipes": {"RECIPES"},
}


@pytest.mark.parametrize("package", sorted(STAY))
def test_public_names_are_exported(package):
    module = importlib.import_module(package)
    assert STAY[package] <= set(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("package", sorted(STAY))
def test_export_lists_are_sorted(package):
    names = importlib.import_module(package).__all__
    assert list(names) == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_every_exported_estimator_is_listed():
    from tests.contracts.registry import ESTIMATORS, exported_estimators

    assert {type(build()) for build in ESTIMATORS.values()} == exported_estimators()


def test_importing_everything_leaves_no_trace():
    """Torch's default dtype, validation and number of threads are as the user set them."""
    import subprocess
    import sys

    packages = ", ".join(sorted(STAY))
    program = (
        "import torch, pyro; from torch.distributions import Distribution; "
        "state = lambda: (torch.get_default_dtype(), torch.get_num_threads(), Distribution._validate_args, "
        "torch.get_rng_state().sum().item(), pyro.settings.get()); "
        f"before = state(); import {packages}; assert state() == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_library_is_imported_without_numba():
    import subprocess
    import sys

    program = (
        "import sys; sys.modules['numba'] = None; import inference, torch; "
        "from pyro_models.distributions import LinearGaussianSSM as S; i = torch.eye(2); "
        "s = S(torch.zeros(2), i, i[None], i[None], i[None], i[None], num_steps=3); "
        "assert s.log_prob(torch.zeros(5, 3, 2)).isfinite().all()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_every_package_is_listed_for_installation():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(settings["tool"]["setuptools"]["packages"])
    tops = ("kinema", "videos", "pyro_models", "guides", "inference")
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for top in tops for path in (ROOT / top).rglob("__init__.py")
    }
    assert listed == found
    assert all((ROOT / path).is_dir() for path in settings["tool"]["pyright"]["include"])
