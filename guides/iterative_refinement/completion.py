"""Values of all latents from a refined guide: refined Gaussians over what its base infers otherwise."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from guides.check.support import entry_mask
from guides.iterative_refinement.noise import centre
from guides.iterative_refinement.site_parameters import RefinedSites, gaussian_of


class CompletionDraws(Messenger):
    """Gives values to latents: means or draws of the refined Gaussians, and for the rest what was inferred before.

    The rest are other sites, and entries that a Gaussian's mask leaves out, such as codes of missing frames.

    Args:
        sites: the refined ones.
        others: values of all latents inferred without refinement; empty = the centres of the other sites.
        drawn: whether the Gaussians are drawn.

    Attributes:
        values: by site.
    """

    def __init__(self, sites: RefinedSites, others: Mapping[str, Tensor], *, drawn: bool) -> None:
        super().__init__()
        self.values: dict[str, Tensor] = {}
        self._sites, self._others, self._drawn = sites, others, drawn

    def _pyro_sample(self, msg: Any) -> None:
        name, distribution = msg["name"], msg["fn"]
        if msg["is_observed"] or type(distribution).__name__ == "_Subsample":
            return
        other, gaussian = self._others.get(name), gaussian_of(distribution)
        if name in self._sites and gaussian is not None:
            value = gaussian.sample() if self._drawn else gaussian.mean
            if other is not None:
                value = torch.where(entry_mask({**msg, "value": value}), value, other)
        elif other is not None:
            value = other
        else:
            value = distribution.sample() if self._drawn else centre(distribution)
        self.values[name] = msg["value"] = value
