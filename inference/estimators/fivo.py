"""The filtering bound: particles that are resampled between time steps."""

from typing import Any

import torch
from jaxtyping import Float
from pyro.util import warn_if_nan
from torch import Tensor

from inference.estimators.multi_sample import SequenceELBO
from inference.estimators.particle_filter import FilterResult, ParticleFilter, Resampling
from inference.estimators.twists import Twist
from inference.programs.traces import Program
from videos.typed import typed


class FIVO(SequenceELBO):
    """The filtering variational objective of Maddison et al. (2017), eq. 4, sequence by sequence.

        L = sum_n E[ log p_hat(x_n) ],      p_hat the estimate of a `ParticleFilter` with K particles

    Where weights of K whole paths come to rest on one of them, a filter replaces bad beginnings by copies of good ones:
    the bound is tighter on long videos. K = 1 is the ELBO, and without resampling (threshold 0) it is `IWAE`. An exact
    smoothing guide, q(z_t | z_{t-1}, x_{t:T}), makes the IWAE bound tight but not this one, which wants guides that do
    not look ahead, or few resamplings.

    The gradient is pathwise; the score function of the resampled indices is left out, as in Maddison et al.: biased,
    and with far less variance. Choices that cannot be reparameterised, such as presence, are judged as in `VIMCO`, by
    what all steps between two resamplings come to: with a_k and b_k the log weights and the choices' log q since a
    sequence last resampled,

        sum_k (log 1/K sum_j exp a_j - L_-k) d b_k,      L_-k the bound with a_k replaced by the mean of the others

    at each resampling and at the end. Without resampling it is `VIMCO`. What a choice does to steps after the next
    resampling is left out as well: whose descendants live on was decided there. For models and guides with steps,
    `StepwiseModel` and `StepwiseGuide`.

    Args:
        num_particles: K, at least 1.
        resampling: "systematic" or "multinomial".
        threshold: a sequence resamples when its effective sample size is below this share of K; 0 never.

    Raises:
        ValueError: if an argument is not as described; when a gradient is requested with one particle and a latent site
            of the guide is not reparameterised; and what `ParticleFilter.run` raises.
    """

    @typed
    def __init__(self, num_particles: int = 4, resampling: str = "systematic", threshold: float = 0.5) -> None:
        super().__init__(num_particles)
        self.resampling = Resampling(resampling, threshold)

    def run(
        self, model: Program, guide: Program, *args: Any, twist: Twist | None = None, **kwargs: Any
    ) -> FilterResult:
        """Run the particle filter once; see `ParticleFilter` for the twist."""
        dim = None if self.num_particles == 1 else self.particle_dim(model, guide, args, kwargs)
        particles = ParticleFilter(self.num_particles, self.resampling, twist, particle_dim=dim)
        return particles.run(model, guide, args, kwargs)

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The negative bound in nats, without gradients; discrete latents are welcome."""
        with torch.no_grad():
            loss = -self.run(model, guide, *args, **kwargs).log_evidence.sum()
        warn_if_nan(loss, "loss")
        return loss.item()

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The negative bound in nats; nothing is read back from the device."""
        result = self.run(model, guide, *args, **kwargs)
        if result.score_sites and self.num_particles == 1:
            raise ValueError(
                f"num_particles: expected at least 2 for a guide whose {', '.join(map(repr, result.score_sites))} is "
                "not reparameterised, since the baseline of a particle is made of the others, got 1"
            )
        return -(result.log_evidence + (result.choices - result.choices.detach())).sum()
