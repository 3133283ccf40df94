"""Weights on the log probabilities of named sites, for training only: a tempered reconstruction, an annealed KL."""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.svi.schedules import Number, Schedule, value_at
from videos.typed import typed


class SiteWeights(Messenger):
    """Multiply the scale of named sample sites, in the model and in the guide alike.

    Inside `with SiteWeights({"frames": 0.3}):` every site called `frames` contributes 0.3 log p to a loss. A latent
    site's weight w multiplies log p(z | ...) and log q(z | ...) alike, so that in an ELBO it is the weight of that
    site's KL: w ramped from 0 to 1 is KL annealing (Bowman et al., 2016), a constant w on all latents is the beta of
    the beta-VAE (Higgins et al., 2017). A weighted ELBO is no bound on the evidence: weights belong in the loss of a
    training step and nowhere else.

    Args:
        weights: non-negative weight by site name, a number or a tensor without dims; a name may be a glob
            pattern (`z_*` for `z_1`, `z_2`, ...), and the first one that matches a site counts.

    Raises:
        ValueError: if a weight is negative or not finite.
    """

    @typed
    def __init__(self, weights: Mapping[str, Number | Tensor]) -> None:
        super().__init__()
        for name, weight in weights.items():
            # The value of a tensor is not looked at: it may be that of another step when a graph runs.
            if not isinstance(weight, Tensor) and not (weight >= 0 and math.isfinite(weight)):
                raise ValueError(f"site_weights: expected a finite weight >= 0 for site {name!r}, got {weight}")
        self.weights = dict(weights)
        self.sites: dict[str, None] = {}

    @classmethod
    def at_step(cls, weights: Mapping[str, Schedule], step: int) -> "SiteWeights":
        """The weights of a step, from numbers and schedules of the global step."""
        return cls({name: value_at(weight, step) for name, weight in weights.items()})

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name is None or site_is_subsample(msg):
            return
        self.sites[name] = None
        for pattern, weight in self.weights.items():
            if fnmatchcase(name, pattern):
                msg["scale"] = msg["scale"] * weight
                return

    def check_names(self) -> None:
        """Refuse names that no site had.

        Raises:
            ValueError: if a name or pattern matched none of the sites that ran since this was built; lists the sites.
        """
        unknown = [pattern for pattern in self.weights if not any(fnmatchcase(site, pattern) for site in self.sites)]
        if unknown:
            raise ValueError(
                f"site_weights: no site is called {', '.join(map(repr, unknown))}; "
                f"model and guide have {', '.join(map(repr, self.sites)) or 'no site'}"
            )
