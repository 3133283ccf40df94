"""Contract cases of the guide of spatial mixtures of slots."""

from functools import partial
from typing import Any

from guides import RefinementNetwork, SpatioTemporalRefinementGuide
from tests.contracts.cases import GuideCase


def refined(model: Any, **options: Any) -> SpatioTemporalRefinementGuide:
    """A small one."""
    network = RefinementNetwork(
        model.frame_shape, model.latent_dim, model.units or 6, channels=4, layers=2, two_axes=model.units > 0
    )
    return SpatioTemporalRefinementGuide(model, refinements=3, network=network, **options)


GUIDES = {
    "SpatioTemporalRefinementGuide": GuideCase("SpatioTemporalMixture", refined, draws_aside=True),
    "SpatioTemporalRefinementGuide, from a constant": GuideCase(
        "SpatioTemporalMixture, relations",
        partial(refined, start="constant", scattered=False, gradients="implicit"),
        draws_aside=True,
    ),
    "SpatioTemporalRefinementGuide, frame by frame": GuideCase(
        "SpatioTemporalMixture, without memory", partial(refined, gradients="truncated"), draws_aside=True
    ),
}
