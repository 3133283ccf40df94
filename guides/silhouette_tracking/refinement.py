"""Places of all people of a frame, refined together by Gauss-Newton steps on the model's own log joint."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.walking_people import WalkingPeople
from pyro_models.walking_people.foreground import CERTAIN

_LONGEST_STEP = (0.25, 0.25, 0.1, 0.2)  # of a Gauss-Newton step: shares of a person's height, log size and width
_PLACE = 4


class Effort(NamedTuple):
    """How places are refined.

    Attributes:
        refinements: number of Gauss-Newton steps.
        weight: w of the log probability of a pixel; 1 = Bayes' rule, less where neighbouring pixels err together.
    """

    refinements: int
    weight: float = 1.0


class Refined(NamedTuple):
    """A Gaussian approximation of the places given a frame, and what the frame says about each person.

    Attributes:
        mean: the mode.
        covariance: of each person, the others' places integrated out.
        cover: silhouettes at the mode.
        gain: log probability of the frame with the person in sight, minus that without, the others as they are
            weighted; the person's place is integrated out, by Laplace's method.
    """

    mean: Float[Tensor, "*batch people 4"]
    covariance: Float[Tensor, "*batch people 4 4"]
    cover: Float[Tensor, "*batch people height width"]
    gain: Float[Tensor, "*batch people"]


def refine(
    model: WalkingPeople,
    image: Float[Tensor, "... height width"],
    weight: Float[Tensor, "*batch people"],
    prior: tuple[Float[Tensor, "*batch people 4"], Float[Tensor, "*batch people 4 4"]],
    *,
    start: Float[Tensor, "*batch people 4"] | None = None,
    others: Float[Tensor, "... height width"] | None = None,
    how: Effort,
) -> Refined:
    """Maximise log p(places) + w log p(image | places) by Gauss-Newton steps with the Fisher information of the pixels.

    Args:
        model: the model.
        image: a mask of zeros and ones.
        weight: probability that a person is in sight.
        prior: mean and covariance of each place.
        start: where to begin; None = the prior's means.
        others: product of 1 - w m over further people, who stay where they are; None = there are none.
        how: number of steps, and the weight w of pixels.
    """
    mean, covariance = prior
    precision = torch.linalg.inv(covariance)
    place = mean if start is None else start
    for _ in range(how.refinements):
        slopes, shade = _slopes(model, place, weight, others)
        gradient, information = (how.weight * one for one in _normal_equations(model, image, slopes, shade, weight))
        gradient = gradient - (precision @ (place - mean)[..., None])[..., 0]
        step = torch.linalg.solve(information + _blocks(precision), gradient.flatten(-2)).view_as(place)
        tall = model.silhouette.height(place)[..., None].expand(*place.shape[:-1], 2)
        longest = place.new_tensor(_LONGEST_STEP) * torch.cat([tall, torch.ones_like(tall)], -1)
        place = place + step.clamp(-longest, longest)
    slopes, shade = _slopes(model, place, weight, others)
    _, information = _normal_equations(model, image, slopes, shade, weight)
    spread = _own_blocks(torch.linalg.inv(how.weight * information + _blocks(precision)))
    away = place - mean
    fit = -0.5 * (away[..., None, :] @ precision @ away[..., None])[..., 0, 0]
    fit = fit + 0.5 * (torch.logdet(spread) - torch.logdet(covariance))
    return Refined(place, spread, slopes[0], fit + how.weight * presence_gain(model, image, slopes[0], shade))


def presence_gain(
    model: WalkingPeople, image: Tensor, cover: Tensor, without: Tensor
) -> Float[Tensor, "*batch people"]:
    """Log probability of a frame with a person in sight, minus that without.

    Args:
        model: the model.
        image: (*batch, height, width).
        cover: silhouettes, (*batch, people, height, width).
        without: product of 1 - w m over everybody else, (*batch, people, height, width).
    """
    pixels, image = model.pixels, image[..., None, :, :]
    present = pixels.log_prob(1 - without * (1 - cover), image)
    return (present - pixels.log_prob(1 - without, image)).sum((-2, -1))


def _slopes(model: WalkingPeople, place: Tensor, weight: Tensor, others: Tensor | None) -> tuple[tuple, Tensor]:
    """Silhouettes with derivatives, and the product of 1 - w m over everybody else, for each person."""
    slopes = model.silhouette.with_slopes(place)
    gaps = (1 - weight[..., None, None] * slopes.cover).clamp(min=CERTAIN)
    whole = gaps.prod(-3, keepdim=True)
    if others is not None:
        whole = whole * others[..., None, :, :]
    return slopes, whole / gaps


def _normal_equations(
    model: WalkingPeople, image: Tensor, slopes: tuple, shade: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient (*batch, people, 4) and Fisher information (*batch, 4 people, 4 people) of the log probability."""
    cover = slopes[0]
    whole = 1 - shade[..., 0, :, :] * (1 - weight[..., :1, None] * cover[..., 0, :, :])
    odds = model.pixels.odds(whole, image)
    scale = weight[..., None, None] * shade
    jacobian = torch.stack([scale * slope for slope in slopes[1:]], -3)  # (*batch, people, 4, height, width)
    jacobian = jacobian.flatten(-2)
    gradient = (jacobian * odds.score.flatten(-2)[..., None, None, :]).sum(-1)
    rows = jacobian.flatten(-3, -2)
    information = (rows * odds.information.flatten(-2)[..., None, :]) @ rows.mT
    return gradient, information


def _blocks(matrices: Tensor) -> Tensor:
    """Block diagonal matrices, (*batch, people, 4, 4) -> (*batch, 4 people, 4 people)."""
    people = matrices.shape[-3]
    eye = torch.eye(people, dtype=matrices.dtype, device=matrices.device)
    spread = eye[:, None, :, None] * matrices[..., :, :, None, :]
    return spread.flatten(-4, -3).flatten(-2)


def _own_blocks(matrix: Tensor) -> Tensor:
    """The reverse: (*batch, 4 people, 4 people) -> (*batch, people, 4, 4)."""
    people = matrix.shape[-1] // _PLACE
    split = matrix.unflatten(-1, (people, _PLACE)).unflatten(-3, (people, _PLACE))
    return split.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)
