"""Options of slots: which memory the model depends on, and which combinations are refused."""

import pytest
import torch

from guides import check_guide
from inference.recipes import RECIPES, OptionError

SMALL = RECIPES["spatio-temporal-balls-small"].with_options(
    **{"frame_size": 16, "channels": 4, "units": 4, "latent_dim": 3, "decoder_layers": 2, "halvings": 1},
    **{"reading_layers": 2, "refinements": 2, "num_slots": 3},
)
UNCONDITIONED = SMALL.with_options(memory="guide", conditioned=False, grid="full", start="constant")


def test_only_the_guide_remembers():
    model, guide = UNCONDITIONED.build()
    frames = torch.rand(2, 3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    check_guide(model, guide, frames)
    memories = torch.randn(2, 3, 2, 4)
    priors = [model.prior(memory) for memory in memories]
    assert all(torch.equal(prior.mean, torch.zeros(3, 2, 3)) for prior in priors)
    assert all(torch.equal(prior.stddev, torch.ones(3, 2, 3)) for prior in priors)
    latent = torch.randn(3, 2, 3)
    one, other = (model.mixture(latent, memory).mean for memory in memories)
    assert torch.equal(one, other)
    guide.eval()
    values = guide.complete(frames)
    later = guide.complete(torch.cat([1 - frames[:, :1], frames[:, 1:]], 1))
    assert {name for name in values if name.startswith("h")} == {"h_1", "h_2", "h_3"}
    assert not torch.allclose(values["z_3"], later["z_3"])  # it remembers the first frame
    conditioned = UNCONDITIONED.with_options(conditioned=True).build()[0]
    one, other = (conditioned.mixture(latent, memory).mean for memory in memories)
    assert not torch.allclose(one, other)
    assert not torch.equal(*(conditioned.prior(memory).mean for memory in memories))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditioned": False}, "--no-conditioned: expected --memory guide or none, got model"),
        ({"num_slots": 0}, "--num-slots: expected at least 1, got 0; give one more than objects"),
        ({"starts": 0}, "--starts: expected at least 1, got 0; 1 is quickest"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        SMALL.with_options(**options).build()


def test_iodine_in_colours_sees_single_frames_of_three_channels():
    recipe = RECIPES["iodine-balls-colour-small"]
    model, guide = recipe.build()
    assert (recipe.label, model.frame_shape, model.units, guide.grid) == ("IODINE", (3, 32, 32), 0, "full")
    assert (recipe.videos.num_frames, recipe.videos.colour) == (1, True)
