"""The guide of Chiappa and Paquet (2019): positions read frame by frame, without knowing the dynamics."""

import pyro.distributions as dist
from torch import Tensor

from guides.objects.guide import ObjectGuide


class ObjectFilterGuide(ObjectGuide):
    """Positions of all objects, independent given the frames::

        q(a | v) = prod_{t,n} N(a_t^n; mu(s_t^n), diag sigma^2(s_t^n))

    with states s of `ObjectTimeRecurrence` (Chiappa and Paquet 2019, eqs. 5 and 6): a filter, as s_t^n has seen v_1 ...
    v_t; with `bidirectional` a smoother. log sigma is kept in -7 ... 3.

    `pyro.infer.Trace_ELBO` with one particle is the paper's objective: the entropy's gradient has no noise, as a draw
    is mu + sigma eps. `pyro.infer.TraceMeanField_ELBO` takes log p(a) in expectation too, which in this model is what
    is noisy (see `MixtureLinearGaussianSSM.expected_log_prob`).

    Args:
        model: the model served.
        options: `state_dim`, `bidirectional`, `reading` and `first_log_scale`, as in `ObjectGuide`.
    """

    def law(self, mean: Tensor, scale: Tensor, observed: Tensor | None) -> dist.Independent:
        """Independent normals; those of missing frames have no density."""
        law = dist.Normal(mean, scale).to_event(1)
        return (law if observed is None else law.mask(observed)).to_event(1)
