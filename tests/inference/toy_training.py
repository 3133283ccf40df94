"""A toy to train, for the tests of training: three frames of one pixel each, in float64."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import nn

from inference import IWAE, RunFolder, Stage, TrainingOptions, train
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters
from videos import FixedVideos, VideoBatch

VIDEOS = torch.rand(9, 3, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class FramesModel(ToyModel):
    def forward(self, frames, observed=None, controls=None):
        super().forward(frames[..., 0, 0, 0], observed)


class FramesGuide(ToyGuide):
    def forward(self, frames, observed=None, controls=None):
        super().forward(frames[..., 0, 0, 0], observed)


def toys():
    p = ToyParameters.make()
    return FramesModel(p), FramesGuide(p)


def go(path, model=None, guide=None, stages=None, source=None, config=None, **options):
    if model is None:
        model, guide = toys()
    options = {"learning_rate": 0.01, "log_every": 2, "validate_every": 4, "checkpoint_every": 3} | options
    source = FixedVideos(VideoBatch(VIDEOS), batch_size=3, seed=5) if source is None else source
    run = RunFolder.start(path, config or {"name": "toy"})
    loss = options.pop("loss", IWAE(2))
    result = train(
        model,
        guide,
        source,
        stages or [Stage(12)],
        loss=loss,
        validation=options.pop("validation", None),
        run=run,
        options=TrainingOptions(**options),
    )
    return result, run, model, guide


def values(*modules):
    return {name: value.clone() for module in modules for name, value in module.state_dict().items()}


class Sabotage(FixedVideos):
    """Does something when a step's batch is asked for."""

    def __init__(self, act, at):
        super().__init__(VideoBatch(VIDEOS), batch_size=3, seed=5)
        self.act, self.at = act, at

    def batch(self, step):
        batch = super().batch(step)
        return (self.act(batch) or batch) if step == self.at else batch


class DiscreteModel(PyroModule):
    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0]):
            k = pyro.sample("k", dist.Bernoulli(torch.tensor(0.3)))
            pyro.sample("frames", dist.Normal(k, 1.0), obs=frames[:, 0, 0, 0, 0].float())


class DiscreteGuide(PyroModule):
    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(()))

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0]):
            pyro.sample("k", dist.Bernoulli(logits=self.logits))
