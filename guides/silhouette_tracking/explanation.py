"""What a frame says about people who were there before."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from guides.silhouette_tracking.refinement import Effort, Refined, refine
from pyro_models.walking_people import WalkingPeople

EMPTY, SEEN, HIDDEN = range(3)


class Prediction(NamedTuple):
    """What is expected of each slot before a frame.

    Attributes:
        chances: probabilities of being empty, a person who is seen, one who is hidden.
        mean: of the place of a person.
        covariance: of the same.
    """

    chances: Float[Tensor, "*batch people 3"]
    mean: Float[Tensor, "*batch people 4"]
    covariance: Float[Tensor, "*batch people 4 4"]


class Explanation(NamedTuple):
    """What is known after it.

    Attributes:
        chances: the same, given the frame.
        refined: places of people who are seen.
    """

    chances: Float[Tensor, "*batch people 3"]
    refined: Refined

    @property
    def without(self) -> Float[Tensor, "*batch height width"]:
        """Product of 1 - w m over all people."""
        return (1 - self.chances[..., SEEN, None, None] * self.refined.cover).prod(-3)


def explain(
    model: WalkingPeople, image: Float[Tensor, "... height width"], predicted: Prediction, how: Effort
) -> Explanation:
    """Refine the places of people together, and weigh whether each is seen; see `refine`.

    Args:
        model: the model.
        image: a mask of zeros and ones.
        predicted: what is expected.
        how: number of Gauss-Newton steps, and the weight of pixels.
    """
    refined = refine(model, image, predicted.chances[..., SEEN], (predicted.mean, predicted.covariance), how=how)
    return Explanation(given_frame(predicted.chances, refined.gain), refined)


def given_frame(chances: Float[Tensor, "*batch people 3"], gain: Float[Tensor, "*batch people"]) -> Tensor:
    """Chances after a frame whose log probability rises by `gain` if a person is seen."""
    nothing = torch.zeros_like(gain)
    return (chances.log() + torch.stack([nothing, gain, nothing], -1)).softmax(-1)
