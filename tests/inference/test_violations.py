"""These tests pin: a value outside the support of its distribution, or an impossible parameter, is reported as that, by
site, with what was expected, what came and what to do: in training, in single steps, eager or compiled, in bounds."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from inference import IWAE, SVI, VIMCO, NonFiniteError, Stage
from inference.programs.violations import SupportError
from tests.inference.toy_training import Sabotage, go
from videos import FixedVideos, VideoBatch

BINARY = torch.rand(9, 3, 1, 1, 1, generator=torch.Generator().manual_seed(0)).round()
GREY = BINARY.clone()
GREY[4, 1] = 0.25
GREY[7, 0] = 0.75


class Model(PyroModule):
    """A level for each sequence, and pixels around it; tests break `likelihood` and `level_law`."""

    def __init__(self, likelihood=dist.Bernoulli, level_law=None):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.likelihood = likelihood
        self.level_law = level_law or (lambda: dist.Normal(0.0, 1.0))

    def forward(self, frames, observed=None, controls=None):
        pixels = frames[..., 0, 0, 0]
        with pyro.plate("sequences", len(frames), dim=-1):
            level = pyro.sample("level", self.level_law())
            law = self.likelihood((level + self.bias)[..., None].expand(*level.shape, 3).sigmoid()).to_event(1)
            if observed is not None:
                law = law.base_dist.mask(observed).to_event(1)
            pyro.sample("frames", law, obs=pixels)


class Guide(PyroModule):
    def __init__(self, law=None):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(()))
        self.law = law or (lambda mean: dist.Normal(mean, 1.0))

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", len(frames), dim=-1):
            pyro.sample("level", self.law(self.mean))


def svi_of(model, guide, compile="off", loss=None):
    parameters = [*model.parameters(), *guide.parameters()]
    return SVI(model, guide, torch.optim.Adam(parameters, lr=0.01), loss or IWAE(2), compile=compile)


def as_regex(text):
    return text.replace(".", r"\.").replace("(", r"\(").replace(")", r"\)")


def grey_message(outside):
    return as_regex(
        f"site 'frames': expected values in the support of Bernoulli.to_event(1): 0 or 1, got {outside}; observe it "
        "under a distribution whose support holds these values (for shades of grey dist.Normal, say)"
    )


@pytest.mark.parametrize("compile", ["off", "trace"])
@pytest.mark.parametrize("loss", [lambda: IWAE(2), lambda: VIMCO(2), Trace_ELBO], ids=["IWAE", "VIMCO", "Trace_ELBO"])
def test_shades_of_grey_under_a_bernoulli_stop_training_with_their_name(tmp_path, compile, loss):
    source = FixedVideos(VideoBatch(GREY), batch_size=9, seed=5)
    message = f"step 0: {grey_message('2 of 27 outside: 0.25 to 0.75')}; the last good checkpoint is .*step-00000000"
    with pytest.raises(SupportError, match=message) as caught:
        go(tmp_path / "run", Model(), Guide(), source=source, compile=compile, loss=loss())
    assert isinstance(caught.value, ValueError)
    assert caught.value.site == "frames"


@pytest.mark.parametrize("compile", ["off", "trace"])
def test_a_single_step_says_it_too(compile):
    svi = svi_of(Model(), Guide(), compile)
    with pytest.raises(SupportError, match="^" + grey_message("2 of 27 outside: 0.25 to 0.75")) as caught:
        svi.step(GREY)
    assert "to be within the support" in str(caught.value.__cause__)
    svi.step(BINARY)


def test_bounds_say_it_too():
    with pytest.raises(SupportError, match=grey_message("2 of 27 outside: 0.25 to 0.75")):
        svi_of(Model(), Guide()).evaluate_loss(GREY)


@pytest.mark.parametrize("compile", ["off", "trace"])
def test_batches_of_another_shape_are_looked_at_when_they_come(tmp_path, compile):
    def smaller(batch):
        return VideoBatch(torch.full((2, 3, 1, 1, 1), 0.5))

    class Binary(Sabotage):
        def batch(self, step):
            batch = super().batch(step)
            return batch if step == self.at else VideoBatch(batch.frames.round().float())

    with pytest.raises(SupportError, match=f"step 5: {grey_message('6 of 6 outside: 0.5')}"):
        go(tmp_path / "run", Model(), Guide(), [Stage(8)], source=Binary(smaller, 5), compile=compile)


def test_those_who_switch_validation_off_get_what_they_ask_for():
    never = lambda probs: dist.Bernoulli(probs, validate_args=False)  # noqa: E731
    for compile in ("off", "trace"):
        assert svi_of(Model(never), Guide(), compile).step(GREY).isfinite()
        with pyro.validation_enabled(False):
            assert svi_of(Model(), Guide(), compile).step(GREY).isfinite()


def test_a_draw_of_the_guide_outside_the_model_s_support():
    model = Model(level_law=lambda: dist.LogNormal(0.0, 1.0))
    guide = Guide(lambda mean: dist.Normal(mean - 20.0, 1.0))
    message = (
        "site 'level': expected values in the support of LogNormal: positive, got 18 of 18 outside: .* to .*; restrict "
        "the guide's distribution of it to this support; check_guide lists all mismatches"
    )
    with pytest.raises(SupportError, match=message):
        svi_of(model, guide).step(BINARY)


@pytest.mark.parametrize("compile", ["off", "trace"])
def test_an_impossible_parameter_is_named_with_its_site(compile):
    guide = Guide(lambda mean: dist.Normal(mean, mean - 0.5))
    message = (
        "site 'level': expected the parameter 'scale' of Normal to be positive, got -0.5; constrain what makes it, by "
        "softplus or exp say, and look for NaN in what goes in"
    )
    with pytest.raises(SupportError, match=message) as caught:
        svi_of(Model(), guide, compile).step(BINARY)
    assert caught.value.site == "level"


def test_parameters_that_are_not_finite_are_that_in_training(tmp_path):
    """NaN is outside every support, but its cause lies earlier."""
    model = Model()
    with torch.no_grad():
        model.bias.fill_(torch.nan)
    source = FixedVideos(VideoBatch(BINARY), batch_size=9, seed=5)
    message = "step 0: loss or gradient is not finite; site 'frames': its log probability is not finite: expected the "
    with pytest.raises(
        NonFiniteError, match=f"{message}parameter 'probs' of Bernoulli to be between 0 and 1, got 54 of"
    ):
        go(tmp_path / "run", model, Guide(), source=source)
    with pytest.raises(SupportError, match="site 'frames': expected the parameter 'probs'") as caught:
        svi_of(model, Guide()).step(BINARY)
    assert not caught.value.finite


def test_the_very_draws_that_failed_are_looked_at():
    """A scale that is negative for a few draws in a hundred."""

    class Unlucky(Model):
        def forward(self, frames, observed=None, controls=None):
            with pyro.plate("sequences", len(frames), dim=-1):
                level = pyro.sample("level", dist.Normal(0.0, 1.0))
                pyro.sample("frames", dist.Normal(self.bias, 2.5 + level), obs=frames[:, 0, 0, 0, 0])

    svi = svi_of(Unlucky(), Guide())
    pyro.set_rng_seed(0)
    message = "site 'frames': expected the parameter 'scale' of Normal to be positive, got -"
    with pytest.raises(SupportError, match=message):
        [svi.step(BINARY) for _ in range(200)]
    assert svi.num_steps > 1


def test_masked_values_that_torch_refuses_all_the_same():
    observed = torch.ones(9, 3, dtype=torch.bool)
    observed[2, 1] = False
    holes = torch.where(observed[..., None, None, None], BINARY, float("nan"))
    message = (
        r"site 'frames': expected values in the support of Bernoulli.*: 0 or 1, got 1 of 27 outside: 1 of 1 not finite;"
        r" these entries are masked: put values from the support there, torch.where\(observed, values, 0\) say"
    )
    with pytest.raises(SupportError, match=message):
        svi_of(Model(), Guide()).step(holes, observed)
    assert svi_of(Model(), Guide()).step(BINARY, observed).isfinite()


def test_what_pyro_says_of_plates_stays_what_it_is(tmp_path):
    """It was reported as a loss that is not finite: the step was repeated without validation, and then it was."""

    class Unplated(Model):
        def forward(self, frames, observed=None, controls=None):
            super().forward(frames, observed, controls)
            pyro.sample("loose", dist.Normal(torch.zeros(9), 1.0), obs=torch.zeros(9))

    source = FixedVideos(VideoBatch(BINARY), batch_size=9, seed=5)
    with pytest.raises(ValueError, match="loose"):
        go(tmp_path / "run", Unplated(), Guide(), source=source, loss=Trace_ELBO())


def test_a_step_that_is_validated_draws_what_it_draws_otherwise():
    losses = []
    for validate in (True, False):
        pyro.set_rng_seed(3)
        with pyro.validation_enabled(validate):
            losses.append(svi_of(Model(), Guide()).step(BINARY))
    assert torch.equal(*losses)
