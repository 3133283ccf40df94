"""These tests pin: a loss, gradient or update that is not finite ends training with its step, site and a checkpoint."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from inference import IWAE, SVI, NonFiniteError, Stage
from inference.svi.nonfinite import inspect_step
from tests.inference.toy_training import (
    DiscreteGuide,
    DiscreteModel,
    FramesGuide,
    FramesModel,
    Sabotage,
    go,
    toys,
    values,
)
from tests.oracles.closed_form_bounds import ToyParameters
from videos import VideoBatch


def only_infinite(batch):
    return VideoBatch(torch.full_like(batch.frames, torch.inf))


@pytest.mark.filterwarnings("ignore:Encountered NaN")  # Pyro says so as well, where it validates
@pytest.mark.parametrize("at", [1, 7])
def test_a_bad_observation_is_reported_with_step_site_frames_and_checkpoint(tmp_path, at):
    message = (
        f"step {at}: loss or gradient is not finite; site 'z': its draw is not finite; frames: expected finite values "
        "in observed frames, got values from inf to inf; replace them, .*; the last good checkpoint is "
        f".*checkpoints.step-0000000{at // 3 * 3}"
    )
    with pytest.raises(NonFiniteError, match=message) as caught:
        go(tmp_path / "run", source=Sabotage(only_infinite, at))
    assert caught.value.step == at
    last = sorted((tmp_path / "run/checkpoints").iterdir())[-1]
    assert last.name == f"step-0000000{at // 3 * 3}"


def test_a_bad_observation_in_the_first_batch_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="frames: expected finite values in observed frames, got values from inf to"):
        go(tmp_path / "run", source=Sabotage(only_infinite, 0))
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_training_after_a_bad_step_goes_on_from_the_last_good_checkpoint(tmp_path):
    with pytest.raises(NonFiniteError):
        go(tmp_path / "run", source=Sabotage(only_infinite, 7), log_every=5)
    *_, model, guide = go(tmp_path / "run", log_every=5)
    *_, whole_model, whole_guide = go(tmp_path / "whole", log_every=5)
    torch.testing.assert_close(values(model, guide), values(whole_model, whole_guide), rtol=0, atol=0)


class Explosive(PyroModule):
    """Fine for some steps; then one site or one gradient is not finite, depending on `how`."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.count = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=False)

    def forward(self, frames, observed=None, controls=None):
        x = frames[..., 0, 0, 0]
        bad = x[0, 0] > 90
        with pyro.plate("sequences", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
            scale = torch.where(bad, -1.0, 1.0) if self.how == "log_prob" else torch.ones(())
            mean = self.w * z
            if self.how == "gradient":
                fine = 1.0 - bad.to(x.dtype)  # the square root below has no derivative where this is 0
                mean = mean + (fine + (self.w - self.w)).sqrt() - fine
            pyro.sample("frames", dist.Normal(mean, 1.0).mask(torch.ones(x.shape[0]).bool()), obs=x[:, 1])
            pyro.sample("scaled", dist.Normal(mean, scale), obs=x[:, 2])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (
            "log_prob",
            "site 'scaled': its log probability is not finite: expected the parameter 'scale' of Normal to be "
            "positive, got -1; constrain what makes it, by softplus or exp say, and look for NaN in what goes in",
        ),
        ("gradient", "site 'frames': the gradient of its log probability for 'model.w' is not finite"),
    ],
)
def test_the_first_bad_site_is_found_by_replay(tmp_path, how, reason):
    def provoke(batch):
        frames = batch.frames.clone()
        frames[0, 0] = 99
        return VideoBatch(frames)

    with pytest.raises(NonFiniteError, match=f"step 5: loss or gradient is not finite; {reason}; the last good"):
        go(
            tmp_path / "run",
            Explosive(how),
            FramesGuide(ToyParameters.make()),
            source=Sabotage(provoke, 5),
            log_every=8,
        )


class Unlucky(PyroModule):
    """A site, or its gradient, that fails for some draws: only the very same draws show it again."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=frames.dtype), 1.0))
            fine = (z < 1.8).to(z.dtype)
            scale = 2 * fine - 1 if self.how == "log_prob" else torch.ones(())
            root = (fine + (self.w - self.w)).sqrt() if self.how == "gradient" else fine
            pyro.sample("frames", dist.Normal(self.w * z + root, scale), obs=frames[:, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("log_prob", "site 'frames': its log probability is not finite"),
        ("gradient", "site 'frames': the gradient of its log probability for 'model.w' is not finite"),
    ],
)
def test_the_very_same_draws_are_looked_at_again(tmp_path, how, reason):
    steps = []
    for log_every in (1, 6, 50):
        with pytest.raises(NonFiniteError, match=reason) as caught:
            go(
                tmp_path / str(log_every),
                Unlucky(how),
                FramesGuide(ToyParameters.make()),
                [Stage(50)],
                log_every=log_every,
                checkpoint_every=50,
                learning_rate=0.0,
            )
        steps.append(caught.value.step)
    assert len(set(steps)) == 1
    assert steps[0] > 1


def test_an_update_that_overflows_is_noticed_before_it_is_saved(tmp_path):
    with pytest.raises(
        NonFiniteError, match="step 2: after the update 'model.* is not finite, though loss and gradient were"
    ):
        go(
            tmp_path / "run",
            optimizer=torch.optim.SGD,
            learning_rate=lambda step: float("inf") if step == 2 else 0.0,
            log_every=50,
        )
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["step-00000000"]


def test_other_errors_stay_what_they_are(tmp_path):
    def fail(batch):
        return VideoBatch(batch.frames[:, :, :, :, :0])

    with pytest.raises(IndexError):
        go(tmp_path / "run", source=Sabotage(fail, 3))
    with pytest.raises(ValueError, match="gradient: 'standard' expects every latent site"):
        go(tmp_path / "discrete", DiscreteModel(), DiscreteGuide())

    class OnceOnly(FramesModel):
        """Fails for a reason that is gone when the step is repeated."""

        calls = 0

        def forward(self, frames, observed=None, controls=None):
            self.calls += 1
            if self.calls == 9:
                raise ValueError("the disk is full")
            super().forward(frames, observed, controls)

    p = ToyParameters.make()
    with pytest.raises(ValueError, match="the disk is full") as caught:
        go(tmp_path / "once", OnceOnly(p), FramesGuide(p))
    assert not isinstance(caught.value, NonFiniteError)


def test_a_step_that_is_finite_when_it_is_repeated_is_said_to_be_that(tmp_path):
    class OnceOnly(FramesModel):
        calls = 0

        def forward(self, frames, observed=None, controls=None):
            self.calls += 1
            super().forward(frames * (float("inf") if self.calls == 8 else 1.0), observed, controls)

    p = ToyParameters.make()
    message = r"step \d+: the loss or a gradient was not finite, but finite when that step was repeated; the last good"
    with pytest.raises(NonFiniteError, match=message), pyro.validation_enabled(False):
        go(tmp_path / "run", OnceOnly(p), FramesGuide(p), log_every=1, validate_every=100)


def test_a_good_step_is_taken_as_it_is():
    frames = torch.ones(3, 3, 1, 1, 1, dtype=torch.float64)
    results = []
    for inspect in (False, True):
        model, guide = toys()
        svi = SVI(model, guide, torch.optim.SGD([*model.parameters(), *guide.parameters()], lr=0.1), IWAE(3))
        torch.manual_seed(0)
        assert (inspect_step(svi, (frames,)) if inspect else None) is None
        if not inspect:
            svi.step(frames)
        results.append(values(model, guide))
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("observe", "reason"),
    [
        (
            True,
            ", nor is the observed value; frames: expected finite values in observed frames, got NaN; replace them, or "
            "mark their frames as missing in observed",
        ),
        (
            False,
            ": expected the parameter 'scale' of Normal to be positive, got 1 and 1 of 2 not finite; constrain what "
            "makes it, by softplus or exp say, and look for NaN in what goes in",
        ),
    ],
)
def test_an_observed_value_is_blamed_where_it_is_to_blame(observe, reason):
    class Model(PyroModule):
        def forward(self, x):
            with pyro.plate("sequences", 2):
                scale = torch.ones(2) if observe else torch.tensor([1.0, torch.nan])
                pyro.sample("frames", dist.Normal(torch.zeros(2), scale), obs=x)

    x = torch.tensor([1.0, torch.nan]) if observe else torch.ones(2)
    weight = nn.Parameter(torch.zeros(()))
    svi = SVI(Model(), lambda x: None, torch.optim.SGD([weight], lr=0.1), IWAE(1))
    with pyro.validation_enabled(False):
        found = inspect_step(svi, (x,))
    assert found == f"site 'frames': its log probability is not finite{reason}"


def test_a_draw_that_fails_is_blamed_on_its_site():
    class Model(PyroModule):
        def __init__(self):
            super().__init__()
            self.probs = nn.Parameter(torch.tensor([0.5, torch.nan]))

        def forward(self, x):
            with pyro.plate("sequences", 2):
                pyro.sample("k", dist.Categorical(self.probs.expand(2, 2)))
                pyro.sample("frames", dist.Normal(torch.zeros(2), 1.0), obs=x)

    model = Model()
    svi = SVI(model, model, torch.optim.SGD(model.parameters(), lr=0.1), IWAE(1))
    assert inspect_step(svi, (torch.zeros(2),)).startswith("site 'k': drawing from it failed: ")
