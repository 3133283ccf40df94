"""A structured guide for positions of objects: readings of frames combined with the exact dynamics."""

import torch
from torch import Tensor

from guides.objects.guide import ObjectGuide
from pyro_models.distributions import ObservationsGivenReadings


class ObjectPotentialsGuide(ObjectGuide):
    """Positions under the model's own dynamics, given the readings of each frame::

        q(a | v) prop. to p~(a) prod_t N(m_t; a_t, diag r_t)          for each object; m_t, r_t read by the network

    p~ is the model's distribution with its components collapsed into one, whose first state has the mean and covariance
    of the mixture under q(k) prop. to w_k p(m | k), p(m | k) with r added to the emission noise (potentials as in
    Johnson et al. 2016; for one object Pearce, Chiappa and Paquet 2018). Where the readings identify the component, as
    they do after a few frames, this is the posterior given the readings; otherwise it is a Gaussian near it, so draws
    can be reparameterised. With `reading="tracking"` the dynamics also decide which light belongs to which object.

    log p(a) - log q(a) has little noise here, as p~ is in both: use `pyro.infer.Trace_ELBO`.

    Args:
        model: the model served.
        options: `state_dim`, `bidirectional`, `reading` and `first_log_scale`, as in `ObjectGuide`.
    """

    def law(
        self, mean: Tensor, scale: Tensor, observed: Tensor | None, weights: Tensor | None = None
    ) -> ObservationsGivenReadings:
        """The posterior given the readings; `weights` of components (objects, sequences, component), None = q(k)."""
        prior, steps = self.model.prior, mean.shape[-2]
        variance = scale.square()
        if weights is None:
            mixture = prior.law(steps, observed)
            fit = ObservationsGivenReadings(mixture.components, mean.unsqueeze(-3), variance.unsqueeze(-3))
            weights = (mixture.log_weights + fit.log_evidence).softmax(-1)
        return ObservationsGivenReadings(prior.collapsed(weights, steps, observed), mean, variance)

    def fill(
        self, mean: Tensor, scale: Tensor, observed: Tensor, weights: Tensor | None, num_samples: int | None
    ) -> Tensor:
        """Positions in all frames under q, which contains the dynamics; see `ObjectGuide.fill`."""
        law = self.law(mean, scale, observed, weights)
        return law.mean if num_samples is None else law.sample(torch.Size([num_samples]))
