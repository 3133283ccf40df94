"""Every model, guide and estimator that the packages export, as builders: what is listed keeps the contracts.

`test_models.py`, `test_guides.py` and `test_public_names.py` fail when a class is exported and not listed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from pyro.nn import PyroModule
from torch import Tensor

import guides
import inference.estimators
import pyro_models
from guides import (
    DiscoveryPropagationGuide,
    FrameGaussianGuide,
    GlimpseAttentionGuide,
    KalmanGuide,
    NoLatentsGuide,
    ObjectFilterGuide,
    ObjectPotentialsGuide,
    ObjectStatesGuide,
    PriorCorrectionGuide,
    RecurrentGuide,
    RecurrentStateGuide,
)
from inference.estimators import IWAE, VIMCO, MultiSampleELBO, OwnWeightVIMCO, WakeSleep
from pyro_models import (
    AttendInferRepeat,
    DeepMarkovModel,
    DeepVariationalBayesFilter,
    DynamicsFromPixels,
    EncoderDecoderLSTM,
    KalmanVAE,
    RecurrentCodes,
    SequentialAttendInferRepeat,
    VariationalRecurrentNetwork,
)
from pyro_models.components.glimpse_networks import GlimpseNetworks
from pyro_models.dynamics_from_pixels.ballistic_mixture import IndependentPositions
from pyro_models.dynamics_from_pixels.object_renderers import GlyphRenderer, RecurrentRenderer
from pyro_models.recurrent_codes.code_predictors import BidirectionalPredictor
from pyro_models.vrnn.mirrored_convolutions import MirroredConvolutions

FRAME_SHAPE = (1, 8, 8)
SEQUENCES, TIME, CONTROL = 5, 7, 3


@dataclass(frozen=True)
class ModelCase:
    """A model to test.

    Attributes:
        build: makes it, its weights drawn from the global generator.
        control_dim: size of its controls.
        idle: parameters that get no gradient, and why.
        has_latents: whether it has latent sites.
    """

    build: Callable[[], PyroModule]
    control_dim: int = 0
    idle: dict[str, str] = field(default_factory=dict)
    has_latents: bool = True


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


_PIXELS = partial(EncoderDecoderLSTM, FRAME_SHAPE, state_dim=11, code_dim=6, hidden=(9,))
_KALMAN = partial(KalmanVAE, FRAME_SHAPE, code_dim=2, state_dim=4, num_components=3, decoder="mlp")


_CONVOLUTIONS = MirroredConvolutions(9, (2, 3), (2, 2))
_FOLLOWED = partial(
    SequentialAttendInferRepeat,
    FRAME_SHAPE,
    num_slots=2,
    what_dim=3,
    glimpse_size=(4, 4),
    networks=GlimpseNetworks(units=7),
    units=8,
    context_units=5,
    where_mean=(-0.5, -0.5, 0.0, 0.0),
    propagation_offset=1.0,  # so that objects come and go within a few frames
    later_offset=0.0,
)


def _bidirectional() -> RecurrentCodes:
    """Hides any code but the first, so that a short video trains every weight."""
    return RecurrentCodes(FRAME_SHAPE, decoder="mlp", predictor=BidirectionalPredictor(2, hidden_dim=11, keep_first=1))


def _balls(**options: Any) -> DynamicsFromPixels:
    """Presence of objects is its control."""
    renderer = options.pop("renderer", None) or RecurrentRenderer(FRAME_SHAPE, 11)
    return DynamicsFromPixels(FRAME_SHAPE, CONTROL, renderer=renderer, **options)


def _pasted_balls() -> DynamicsFromPixels:
    renderer = GlyphRenderer(FRAME_SHAPE, 3)
    torch.nn.init.normal_(renderer.scaled_glyph, std=0.1)  # it starts from zeros, and no two models would differ
    return _balls(renderer=renderer, prior=IndependentPositions())


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
    "DynamicsFromPixels": ModelCase(_balls, CONTROL),
    "DynamicsFromPixels, states drawn": ModelCase(partial(_balls, marginalize=False), CONTROL),
    "DynamicsFromPixels, glyphs without dynamics": ModelCase(_pasted_balls, CONTROL),
    "SequentialAttendInferRepeat": ModelCase(_FOLLOWED),
    "SequentialAttendInferRepeat, plain": ModelCase(partial(_FOLLOWED, chained=False, residual=True, mean_image=False)),
    "VariationalRecurrentNetwork": ModelCase(partial(VariationalRecurrentNetwork, FRAME_SHAPE, latent_dim=3, units=7)),
    "VariationalRecurrentNetwork, convolutions": ModelCase(
        partial(VariationalRecurrentNetwork, FRAME_SHAPE, latent_dim=3, units=7, layers=1, networks=_CONVOLUTIONS)
    ),
    "EncoderDecoderLSTM": ModelCase(_PIXELS, has_latents=False),
    "EncoderDecoderLSTM, controls": ModelCase(partial(_PIXELS, control_dim=CONTROL), CONTROL, has_latents=False),
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
    "ObjectFilterGuide": GuideCase("DynamicsFromPixels", partial(ObjectFilterGuide, state_dim=7)),
    "ObjectFilterGuide, bidirectional": GuideCase(
        "DynamicsFromPixels, glyphs without dynamics", partial(ObjectFilterGuide, state_dim=7, bidirectional=True)
    ),
    "ObjectPotentialsGuide": GuideCase("DynamicsFromPixels", partial(ObjectPotentialsGuide, state_dim=7)),
    "ObjectPotentialsGuide, keypoints": GuideCase(
        "DynamicsFromPixels, glyphs without dynamics",
        partial(ObjectPotentialsGuide, state_dim=7, reading="keypoints"),
    ),
    "ObjectPotentialsGuide, tracking": GuideCase(
        "DynamicsFromPixels", partial(ObjectPotentialsGuide, state_dim=7, reading="tracking")
    ),
    "ObjectStatesGuide": GuideCase("DynamicsFromPixels, states drawn", partial(ObjectStatesGuide, state_dim=7)),
    "ObjectStatesGuide, learned": GuideCase(
        "DynamicsFromPixels, states drawn", partial(ObjectStatesGuide, state_dim=7, posterior="learned")
    ),
    "DiscoveryPropagationGuide": GuideCase(
        "SequentialAttendInferRepeat", partial(DiscoveryPropagationGuide, correlated=True, propagation_bias=1.0)
    ),
    "DiscoveryPropagationGuide, presence first": GuideCase(
        "SequentialAttendInferRepeat, plain",
        partial(DiscoveryPropagationGuide, order="first", masked=False, propagation_bias=1.0),
    ),
    "PriorCorrectionGuide": GuideCase("VariationalRecurrentNetwork", PriorCorrectionGuide),
    "PriorCorrectionGuide, convolutions": GuideCase("VariationalRecurrentNetwork, convolutions", PriorCorrectionGuide),
    "NoLatentsGuide": GuideCase("EncoderDecoderLSTM", NoLatentsGuide),
    "NoLatentsGuide, controls": GuideCase("EncoderDecoderLSTM, controls", NoLatentsGuide),
}


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
    """The estimators of `inference.estimators` that weigh independent particles, without their base."""
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
