"""What iterative refinement refuses, by name."""

import jaxtyping
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from guides import FrameGaussianGuide, IterativeRefinementGuide, KalmanGuide, NoLatentsGuide
from tests.contracts.cases import TIME
from tests.contracts.registry import MODELS, build_guide, make_video
from tests.guides.test_iterative_refinement_models import BASES


@pytest.fixture
def unchecked(monkeypatch):
    """Annotations are checked in the tests alone."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_starts_that_do_not_fit_are_refused(unchecked):
    model, other = (MODELS["KalmanVAE"].build() for _ in range(2))
    with pytest.raises(ValueError, match="base: expected a guide with start='base', got None; give the guide to start"):
        IterativeRefinementGuide(model, start="base")
    with pytest.raises(ValueError, match="base: expected None with start='prior', got KalmanGuide; leave it out, or"):
        IterativeRefinementGuide(model, KalmanGuide(model), start="prior")
    with pytest.raises(
        ValueError, match="base: expected a guide of the model that is refined, got KalmanGuide of anoth"
    ):
        IterativeRefinementGuide(model, KalmanGuide(other))
    with pytest.raises(ValueError, match="start: expected one of 'base', 'prior', 'learned', got 'posterior'"):
        IterativeRefinementGuide(model, start="posterior")
    with pytest.raises(TypeError, match="base: expected a guide that is a PyroModule, got the class KalmanGuide"):
        IterativeRefinementGuide(model, KalmanGuide)
    with pytest.raises(
        TypeError, match="model: IterativeRefinementGuide expected a model with control_dim, frame_shape"
    ):
        IterativeRefinementGuide(nn.Linear(1, 1))


def test_numbers_and_modes_are_checked(unchecked):
    model = MODELS["DeepMarkovModel"].build()
    with pytest.raises(ValueError, match="steps: expected a whole number of at least 0, got -1$"):
        IterativeRefinementGuide(model, steps=-1)
    with pytest.raises(ValueError, match="inner_draws: expected a whole number of at least 1, got 0$"):
        IterativeRefinementGuide(model, inner_draws=0)
    with pytest.raises(
        ValueError, match="gradients: expected one of 'first_order', .* got 'third_order'; 'first_order' is"
    ):
        IterativeRefinementGuide(model, gradients="third_order")


def test_models_without_gaussians_are_refused():
    model = MODELS["EncoderDecoderLSTM"].build()
    with pytest.raises(
        ValueError, match="model: expected a latent site with a diagonal Gaussian .* got no latents; give"
    ):
        IterativeRefinementGuide(model, NoLatentsGuide(model))
    model = MODELS["KalmanVAE"].build()
    with pytest.raises(
        ValueError, match="model: expected a latent site .* got 'a' .CodePrior.; give a base guide that"
    ):
        IterativeRefinementGuide(model, start="prior")
    model = MODELS["RecurrentCodes"].build()
    with pytest.raises(
        ValueError, match="model: expected a latent site .* got 'a' .Delta.; give a base guide that draws"
    ):
        IterativeRefinementGuide(model, FrameGaussianGuide(model, point=True))


def test_sites_that_cannot_be_refined_are_refused():
    model = MODELS["AttendInferRepeat"].build()
    base = BASES["AttendInferRepeat"](model)
    expected = "sites: expected families of sites with a Gaussian .'z_what', 'z_where'., got "
    with pytest.raises(
        ValueError, match=expected + "'z_pres', which is discrete .Bernoulli. .* leave it out: the start"
    ):
        IterativeRefinementGuide(model, base, sites=["z_where", "z_pres"])
    with pytest.raises(ValueError, match=expected + "'z_where_1', which no .* leave the numbers out: 'z_where'"):
        IterativeRefinementGuide(model, base, sites=["z_where_1"])
    with pytest.raises(ValueError, match=expected + "'where', which no latent site belongs to; leave it out"):
        IterativeRefinementGuide(model, base, sites=["where"])
    model = MODELS["KalmanVAE, states drawn"].build()
    base = BASES["KalmanVAE, states drawn"](model)
    with pytest.raises(
        ValueError, match="got 'z', which is RecurrentStatePath; leave it out, or start from a guide that"
    ):
        IterativeRefinementGuide(model, base, sites=["z"])


def test_a_base_whose_sites_have_another_shape_is_refused():
    model = MODELS["DeepMarkovModel"].build()

    class Wider(PyroModule):
        def forward(self, frames, observed=None, controls=None):
            with pyro.plate("sequences", len(frames), dim=-1):
                for step in range(frames.shape[1]):
                    pyro.sample(f"z_{step + 1}", dist.Normal(torch.zeros(4), 1.0).to_event(1))

    with pytest.raises(
        ValueError, match=r"base: expected .* 'z_1' has the model's event shape \(3,\), got \(4,\); che"
    ):
        IterativeRefinementGuide(model, Wider(), steps=1)


def test_sizes_that_depend_on_the_number_of_frames_are_refused():
    model, base = build_guide("ObjectStatesGuide, learned")
    arguments = make_video(MODELS["DynamicsFromPixels, states drawn"].control_dim)
    guide = IterativeRefinementGuide(model, base, steps=1)
    with pytest.raises(ValueError, match="site 'noise': expected 12 entries .* got 28, which depends on the"):
        guide(*arguments)
    IterativeRefinementGuide(model, base, steps=1, example_frames=TIME)(*arguments)
    IterativeRefinementGuide(model, base, steps=1, sites=["a"])(*arguments)


def test_a_model_that_needs_more_frames_says_so():
    model, base = build_guide("PosePredictionGuide")
    with pytest.raises(ValueError, match="example_frames: expected a number .* got 2 .frames: expected clips of"):
        IterativeRefinementGuide(model, base, example_frames=2)


def test_batch_norm_in_training_mode_is_refused():
    model, base = build_guide("PosePredictionGuide, large glimpses")
    guide = IterativeRefinementGuide(model, base, steps=1, hidden_dim=5)
    frames = make_video(0)[0]
    with pytest.raises(ValueError, match="model: expected no batch norm in training mode, got ParticleBatchNorm at"):
        guide(frames)
    model.eval()
    guide(frames)
