"""A linear-Gaussian video whose posterior is diagonal, and update rules that are no networks.

z ~ N(0, I) in 2 dims,   x_t | z ~ N(W z + b, r^2 I)  with orthogonal columns of W       (oracles in refining_toy)
"""

import math

import torch
from torch import nn

from guides import IterativeRefinementGuide
from guides.iterative_refinement import Shift
from tests.contracts import refining_toy as toy
from tests.contracts.test_differentiating_guides import FRAMES, OBSERVED, SEQUENCES

ARGUMENTS = (FRAMES, OBSERVED)


class NaturalGradient(nn.Module):
    """One step of size 1: precision from the slope of the log scale, 1 - A s^2, and the mean that it implies."""

    def __init__(self, size, tap_size):
        super().__init__()

    def forward(self, view, state):
        precision = (1 - view.slopes.log_scale) * torch.exp(-2 * view.shift.log_scale)
        return Shift(view.slopes.loc / precision, -0.5 * precision.log() - view.shift.log_scale), None


class Ascent(nn.Module):
    """Small plain steps uphill, of a size that can be learned."""

    def __init__(self, size, tap_size, step_size=0.03):
        super().__init__()
        self.step_size = nn.Parameter(torch.tensor(step_size))

    def forward(self, view, state):
        return Shift(*(self.step_size * slope for slope in view.slopes)), None


def pair(**options):
    """The model and a guide that starts from its prior."""
    model = toy.LinearVideo().double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.8, -0.3], [0.3, 0.8], [0.0, 0.0]]))
    return model, IterativeRefinementGuide(model, **{"start": "prior"} | options).double()


def trained_pair(**options):
    """The same with updates that are not zero."""
    model, guide = pair(**options)
    with torch.no_grad():
        for one in guide.updates.parameters():
            one.add_(0.1 * torch.randn_like(one))
    return model, guide


def cubature(steps, sequences=SEQUENCES):
    """Noise of `inner_draws=4`: the points +-sqrt(2) e_i, at which averages of quadratics are exact; one look first."""
    points = math.sqrt(2) * torch.cat([torch.eye(2), -torch.eye(2)]).double()
    whole = points[:, None, None].expand(4, 1, sequences, 2)
    return [torch.zeros(sequences, 2).double(), *[whole] * steps]


def gaussian(refined):
    """Mean and log scale of z after a step, from the prior N(0, I)."""
    shift = refined.shifts["z"]
    return shift.loc, shift.log_scale
