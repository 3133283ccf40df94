"""Every model and guide that has a contract case, found in files `case_*.py` beside their tests; and every estimator.

`test_models.py`, `test_guides.py` and `test_public_names.py` fail when a class is exported but missing here.
"""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pyro.nn import PyroModule
from torch import Tensor

import guides
import inference.estimators
import pyro_models
from inference.estimators import IWAE, VIMCO, MultiSampleELBO, OwnWeightVIMCO, WakeSleep
from inference.recipes import RECIPES
from tests.contracts.cases import FRAME_SHAPE, SEQUENCES, TIME, GuideCase, ModelCase

TESTS = Path(__file__).parents[1]


def found(kind: str) -> dict[str, Any]:
    """The cases of all files, of models or guides.

    Args:
        kind: "MODELS" or "GUIDES".
    """
    cases: dict[str, Any] = {}
    for path in sorted(path for package in ("pyro_models", "guides") for path in (TESTS / package).rglob("case_*.py")):
        name = ".".join(("tests", *path.relative_to(TESTS).with_suffix("").parts))
        more = getattr(importlib.import_module(name), kind, {})
        assert not (twice := cases.keys() & more.keys()), f"{path} has cases of a name that is taken: {twice}"
        cases |= more
    return cases


MODELS: dict[str, ModelCase] = found("MODELS")
GUIDES: dict[str, GuideCase] = found("GUIDES")


ESTIMATORS = {
    "iwae": IWAE,
    "iwae-stl": partial(IWAE, gradient="stl"),
    "iwae-dreg": partial(IWAE, gradient="dreg"),
    "vimco": VIMCO,
    "vimco-own-weight": OwnWeightVIMCO,
    "wake-sleep": WakeSleep,
}


def exported_programs(package: object) -> set[type]:
    """The classes of a package that are models or guides: Pyro modules."""
    members = (getattr(package, name) for name in package.__all__)
    return {member for member in members if isinstance(member, type) and issubclass(member, PyroModule)}


def exported_models() -> set[type]:
    """The models of `pyro_models`."""
    return exported_programs(pyro_models)


def exported_guides() -> set[type]:
    """The guides of `guides`."""
    return exported_programs(guides)


def exported_estimators() -> set[type]:
    """The estimators of `inference.estimators` that weight independent particles, without their base class."""
    members = [getattr(inference.estimators, name) for name in inference.estimators.__all__]
    found = {member for member in members if isinstance(member, type) and issubclass(member, MultiSampleELBO)}
    return found - {MultiSampleELBO}


def build_guide(name: str) -> tuple[PyroModule, PyroModule]:
    """A model and its guide."""
    case = GUIDES[name]
    model = MODELS[case.model].build()
    return model, case.build(model)


def guide_of(model: str) -> str:
    """The first guide listed for a model."""
    return next(name for name, case in GUIDES.items() if case.model == model)


def unsettle(module: PyroModule) -> None:
    """Move every parameter off its initial value, where zeros meet zeros and some gradients vanish by symmetry."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


def make_video(control_dim: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor | None]:
    """Binary frames, controls, and a mask: nothing missing, the middle, the first frame, the end, all but the first."""
    frames = (torch.rand(SEQUENCES, TIME, *FRAME_SHAPE) > 0.5).to(dtype)
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 2:5] = False
    observed[2, 0] = False
    observed[3, -2:] = False
    observed[4, 1:] = False
    controls = torch.randn(SEQUENCES, TIME, control_dim, dtype=dtype) if control_dim else None
    return frames, observed, controls


def full_size(recipe: str) -> bool:
    """Whether there is a smaller recipe of the same kind, which is tested in every run of the tests."""
    return recipe in ("sqair-mlp", "sqair-conv", "spatio-temporal-balls-paper") or any(
        f"{recipe}-{size}" in RECIPES for size in ("small", "cpu")
    )
