"""Every model and guide that the packages export, as tiny builders: what is listed here has to keep the contracts.

`test_models.py` and `test_guides.py` fail when a class is exported and not listed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from pyro.nn import PyroModule
from torch import Tensor

import guides
import pyro_models
from guides import FrameGaussianGuide, GlimpseAttentionGuide, KalmanGuide, RecurrentGuide, RecurrentStateGuide
from pyro_models import AttendInferRepeat, DeepMarkovModel, DeepVariationalBayesFilter, KalmanVAE, RecurrentCodes
from pyro_models.components.code_predictors import BidirectionalPredictor

FRAME_SHAPE = (1, 8, 8)
SEQUENCES, TIME, CONTROL = 5, 7, 3


@dataclass(frozen=True)
class ModelCase:
    """A model to test.

    Attributes:
        build: makes it, its weights drawn from the global generator.
        control_dim: size of its controls.
        idle: parameters that get no gradient, and why.
    """

    build: Callable[[], PyroModule]
    control_dim: int = 0
    idle: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GuideCase:
    """A guide to test.

    Attributes:
        model: name in `MODELS` of the model it serves.
        build: makes it for a model.
        idle: parameters that get no gradient, and why.
    """

    model: str
    build: Callable[[PyroModule], PyroModule]
    idle: dict[str, str] = field(default_factory=dict)


_KALMAN = partial(KalmanVAE, FRAME_SHAPE, code_dim=2, state_dim=4, num_components=3, decoder="mlp")


def _bidirectional() -> RecurrentCodes:
    """Hides any code but the first, so that a short video trains every weight."""
    return RecurrentCodes(FRAME_SHAPE, decoder="mlp", predictor=BidirectionalPredictor(2, hidden_dim=11, keep_first=1))


MODELS: dict[str, ModelCase] = {
    "AttendInferRepeat": ModelCase(
        partial(AttendInferRepeat, FRAME_SHAPE, what_dim=3, glimpse_size=4, hidden=(11,), another=0.6)
    ),
    "KalmanVAE": ModelCase(_KALMAN),
    "KalmanVAE, states drawn": ModelCase(partial(_KALMAN, marginalize_state=False)),
    "KalmanVAE, controls": ModelCase(partial(_KALMAN, control_dim=CONTROL, likelihood="gaussian"), CONTROL),
    "KalmanVAE, MLP weights": ModelCase(partial(_KALMAN, mixture="mlp")),
    "KalmanVAE, convolutions": ModelCase(partial(_KALMAN, mixture="fifo", decoder="conv")),
    "RecurrentCodes": ModelCase(partial(RecurrentCodes, FRAME_SHAPE, decoder="mlp")),
    "RecurrentCodes, controls": ModelCase(partial(RecurrentCodes, FRAME_SHAPE, control_dim=CONTROL), CONTROL),
    "RecurrentCodes, bidirectional": ModelCase(_bidirectional),
    "DeepMarkovModel": ModelCase(partial(DeepMarkovModel, FRAME_SHAPE, hidden_dim=11, likelihood="bernoulli")),
    "DeepMarkovModel, controls": ModelCase(
        partial(DeepMarkovModel, FRAME_SHAPE, hidden_dim=11, control_dim=CONTROL), CONTROL
    ),
    "DeepVariationalBayesFilter": ModelCase(
        partial(DeepVariationalBayesFilter, FRAME_SHAPE, hidden_dim=11, num_matrices=6)
    ),
    "DeepVariationalBayesFilter, controls": ModelCase(
        partial(DeepVariationalBayesFilter, FRAME_SHAPE, hidden_dim=11, noise_dim=2, control_dim=CONTROL), CONTROL
    ),
}

GUIDES: dict[str, GuideCase] = {
    "GlimpseAttentionGuide": GuideCase("AttendInferRepeat", partial(GlimpseAttentionGuide, hidden_dim=11)),
    "KalmanGuide, collapsed": GuideCase("KalmanVAE", KalmanGuide),
    "KalmanGuide, collapsed, controls": GuideCase("KalmanVAE, controls", KalmanGuide),
    "KalmanGuide, joint": GuideCase("KalmanVAE, states drawn", partial(KalmanGuide, posterior="joint")),
    "KalmanGuide, marginals": GuideCase("KalmanVAE, states drawn", partial(KalmanGuide, posterior="marginals")),
    "KalmanGuide, MLP weights": GuideCase("KalmanVAE, MLP weights", KalmanGuide),
    "KalmanGuide, convolutions": GuideCase("KalmanVAE, convolutions", KalmanGuide),
    "RecurrentStateGuide": GuideCase("KalmanVAE, states drawn", partial(RecurrentStateGuide, hidden_dim=11)),
    "FrameGaussianGuide": GuideCase("RecurrentCodes", FrameGaussianGuide),
    "FrameGaussianGuide, controls": GuideCase("RecurrentCodes, controls", FrameGaussianGuide),
    "FrameGaussianGuide, bidirectional": GuideCase("RecurrentCodes, bidirectional", FrameGaussianGuide),
    "FrameGaussianGuide, point": GuideCase("RecurrentCodes", partial(FrameGaussianGuide, point=True)),
    "RecurrentGuide": GuideCase("DeepMarkovModel", partial(RecurrentGuide, hidden_dim=11)),
    "RecurrentGuide, controls": GuideCase("DeepMarkovModel, controls", partial(RecurrentGuide, hidden_dim=11)),
    "RecurrentGuide of DVBF": GuideCase("DeepVariationalBayesFilter", partial(RecurrentGuide, hidden_dim=11)),
    "RecurrentGuide of DVBF, controls": GuideCase(
        "DeepVariationalBayesFilter, controls", partial(RecurrentGuide, hidden_dim=11)
    ),
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
