"""A guide that differentiates its model inside `forward`, for a linear-Gaussian video, with exact oracles.

    z_n ~ N(0, I) in 2 dims,   x_nt | z_n ~ N(W z_n + b, r^2 I)  for the frames that are seen,
    q(z_n | x_n) = N(mean, diag scale^2),  mean and log scale refined along the gradient of their own bound

The bound of a Gaussian q under a quadratic log joint is an average over the 2 dims x 2 points mean +- sqrt(2) scale e_i
(exact for quadratics), so that the inner gradient has no noise; the points come as sample dims, left of all plates.
"""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from guides import inner_gradients, log_joint
from guides.guide_of import GuideOf
from guides.refining import RefiningGuide
from pyro_models.components.arguments import check_video

FRAME_SHAPE = (1, 1, 3)
LATENT = 2


class LinearVideo(PyroModule):
    frame_shape, control_dim = FRAME_SHAPE, 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.8, -0.3], [0.1, 0.5], [-0.4, 0.6]]))
        self.bias = nn.Parameter(torch.tensor([0.1, -0.2, 0.3]))
        self.log_scale = nn.Parameter(torch.tensor(-0.2))

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim)
        sequences, time = frames.shape[:2]
        with pyro.plate("sequences", sequences, dim=-1):
            z = pyro.sample("z", dist.Normal(self.weight.new_zeros(LATENT), 1.0).to_event(1))
            with pyro.plate("time", time, dim=-2):
                mean = (z @ self.weight.T + self.bias).unflatten(-1, FRAME_SHAPE)
                pixels = dist.Normal(mean, self.log_scale.exp()).to_event(3).mask(seen.mT)
                pyro.sample("frames", pixels, obs=frames.transpose(0, 1))


class GradientGuide(GuideOf[LinearVideo], RefiningGuide):
    """Follows the gradient of its own bound, by a step size that is learned."""

    serves = LinearVideo

    def __init__(self, model: LinearVideo, num_refinements: int = 3, differentiable: bool = True) -> None:
        super().__init__(model)
        self.num_refinements = num_refinements
        self.differentiable = differentiable
        self.start = nn.Parameter(torch.tensor([0.2, -0.1]))
        self.log_scale = nn.Parameter(torch.tensor([-0.5, -0.3]))
        self.step_size = nn.Parameter(torch.tensor(0.2))

    def bound(self, mean: Tensor, log_scale: Tensor, *arguments: Tensor | None) -> Tensor:
        """The ELBO of each sequence, in nats, by the points of a cubature."""
        offsets = math.sqrt(LATENT) * torch.eye(LATENT, dtype=mean.dtype)
        signs = torch.cat([offsets, -offsets])[:, None, None]  # (points, 1 for time, 1 for sequences, latent)
        density = log_joint(self.model, {"z": mean + signs * log_scale.exp()}, *arguments)
        return density.mean(0) + (log_scale + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def refine(
        self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        frames, _ = self.check_video(frames, observed, controls)
        mean, log_scale = (one.expand(frames.shape[0], LATENT) for one in (self.start, self.log_scale))
        refined = []
        for _ in range(self.num_refinements):
            slopes = inner_gradients(
                lambda *point: self.bound(*point, frames, observed, controls),
                mean,
                log_scale,
                differentiable=self.differentiable,
            )
            mean, log_scale = mean + self.step_size * slopes[0], log_scale + self.step_size * slopes[1]
            refined.append((mean, log_scale))
        return refined

    def draw(
        self,
        parameters: tuple[Tensor, Tensor],
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
    ) -> None:
        mean, log_scale = parameters
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(mean, log_scale.exp()).to_event(1))

    @property
    def completion_methods(self) -> tuple[str, ...]:
        return ("smoothing",)

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str | None = None,
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        mean, log_scale = self.refine(frames, observed, controls)[-1]
        if num_samples is None:
            return {"z": mean}
        return {"z": mean + log_scale.exp() * torch.randn(num_samples, 1, *mean.shape, dtype=mean.dtype)}


# closed forms, sharing no code with the above


def posterior(model: LinearVideo, frames: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Precision (sequences, latent, latent) of z given x, and precision times mean (sequences, latent)."""
    weight, noise = model.weight, torch.exp(-2 * model.log_scale)
    counts = observed.sum(1).to(weight.dtype)
    precision = torch.eye(LATENT, dtype=weight.dtype) + noise * counts[:, None, None] * (weight.mT @ weight)
    centred = torch.where(observed[..., None], frames.flatten(2) - model.bias, 0.0).sum(1)
    return precision, noise * centred @ weight


def log_evidence(model: LinearVideo, frames: Tensor, observed: Tensor) -> Tensor:
    """(sequences,): the dense Gaussian of each sequence's observed pixels."""
    found = []
    for video, seen in zip(frames.flatten(2), observed, strict=True):
        x = video[seen].flatten()
        weight = model.weight.repeat(int(seen.sum()), 1)
        covariance = weight @ weight.mT + torch.exp(2 * model.log_scale) * torch.eye(len(x), dtype=x.dtype)
        mean = model.bias.repeat(int(seen.sum()))
        found.append(torch.distributions.MultivariateNormal(mean, covariance).log_prob(x))
    return torch.stack(found)


def refinements(
    model: LinearVideo, guide: GradientGuide, frames: Tensor, observed: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Means and log scales after each step: gradients c - A m and 1 - diag(A) s^2 of the bound, by hand."""
    precision, target = posterior(model, frames, observed)
    mean, log_scale = (one.expand(len(frames), LATENT) for one in (guide.start, guide.log_scale))
    found = []
    for _ in range(guide.num_refinements):
        slope = target - (precision @ mean[..., None])[..., 0]
        curvature = 1 - precision.diagonal(dim1=-2, dim2=-1) * torch.exp(2 * log_scale)
        mean, log_scale = mean + guide.step_size * slope, log_scale + guide.step_size * curvature
        found.append((mean, log_scale))
    return found


def elbo(model: LinearVideo, mean: Tensor, log_scale: Tensor, frames: Tensor, observed: Tensor) -> Tensor:
    """(sequences,): evidence minus the divergence of two Gaussians."""
    precision, target = posterior(model, frames, observed)
    exact = torch.distributions.MultivariateNormal(
        torch.linalg.solve(precision, target[..., None])[..., 0], precision_matrix=precision
    )
    guide = torch.distributions.MultivariateNormal(mean, torch.diag_embed(torch.exp(2 * log_scale)))
    return log_evidence(model, frames, observed) - torch.distributions.kl_divergence(guide, exact)
