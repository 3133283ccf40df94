"""Silhouettes, heights and error rates learned from a clip without labels: tracking and maximisation in turns."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from guides.silhouette_tracking.explanation import EMPTY, SEEN
from guides.silhouette_tracking.guide import SilhouetteTrackingGuide
from guides.silhouette_tracking.tracking import Beliefs
from pyro_models.walking_people import WalkingPeople
from pyro_models.walking_people.foreground import ForegroundPixels, union
from pyro_models.walking_people.heights import fit_heights

_SURE = 0.9  # chance of being seen from which a height counts
_LEAST_HEIGHT = 4.0  # pixels; smaller people say little about heights
_RANGE = (1e-5, 0.995)  # of error rates


def fit_silhouettes(
    guide: SilhouetteTrackingGuide,
    frames: Float[Tensor, "sequences time 1 height width"],
    *,
    rounds: int = 2,
    steps: int = 100,
    batch: int = 8,
    seed: int = 0,
    progress: bool = False,
) -> None:
    """Learn how people look in a clip, without labels, by rounds of tracking and maximisation.

    A round tracks everybody (`SilhouetteTrackingGuide.track`), then maximises the log probability of the frames given
    the posterior means of places and chances of being seen, one group of parameters after the other: the line of
    heights, by robust least squares; the error rates of each pixel, by the EM step of their mixture

        miss_i = (sum_t r_ti (1 - x_ti) + A miss) / (sum_t r_ti + A);   r_ti = p(pixel i is covered | x_ti)

    and in the same way false_i, with the means over pixels as prior and A = 10 or 20 frames; the curves of the
    silhouette by Adam, on random frames. It is EM with one mode for each place, whose posterior is narrower than a
    pixel. Parameters of the motion stay as they are.

    Args:
        guide: the guide of the model that learns; start with `model.start_from(frames)`.
        frames: masks of zeros and ones, of one sequence.
        rounds: number of rounds.
        steps: steps of Adam in a round.
        batch: frames in a step.
        seed: of the choice of frames.
        progress: show bars on a terminal.

    Raises:
        ValueError: if a number is below 1, the frames are not one sequence of the model's size, or nobody was found.
    """
    for name, value in (("rounds", rounds), ("steps", steps), ("batch", batch)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if len(frames) != 1:
        raise ValueError(f"frames: expected one sequence, the whole clip, got {len(frames)}")
    images = guide.check_video(frames, None, None)[0][0, :, 0]
    for _ in range(rounds):
        path = guide.track(frames, smoothed=True, progress=progress)
        place = torch.stack([beliefs.mean[0, :, :4] for beliefs in path])
        seen = torch.stack([_seen(beliefs)[0] for beliefs in path])
        place = _fit_heights(guide.model, place, seen)
        _fit_rates(guide.model, images, place, seen)
        _fit_curves(guide.model, images, place, seen, steps, torch.Generator().manual_seed(seed), batch)
        _fit_rates(guide.model, images, place, seen)


def _seen(beliefs: Beliefs) -> Tensor:
    return beliefs.chances[..., SEEN] * (beliefs.chances[..., EMPTY] < 0.5)


@torch.no_grad()
def _fit_heights(model: WalkingPeople, place: Tensor, seen: Tensor) -> Tensor:
    """The line of heights and the mean width; returns places with sizes and widths that keep the boxes."""
    silhouette = model.silhouette
    height = silhouette.height(place)
    sure = (seen > _SURE) & (height > _LEAST_HEIGHT)
    intercept, slope = fit_heights(place[..., 1][sure], height[sure])
    wider = place[..., 3][sure].median()
    silhouette.line.copy_(silhouette.line.new_tensor([intercept, 100 * slope]))
    silhouette.log_half_width.add_(wider)
    size = (height / silhouette.mean_height(place[..., 1])).log()
    return torch.stack([place[..., 0], place[..., 1], size, place[..., 3] - wider], -1)


@torch.no_grad()
def _fit_rates(model: WalkingPeople, images: Tensor, place: Tensor, seen: Tensor) -> None:
    """One EM step of the error rates of each pixel."""
    pixels: ForegroundPixels = model.pixels
    covered, missed, free, wrong = (torch.zeros_like(images[0]) for _ in range(4))
    for image, one, weight in zip(images, place, seen, strict=True):
        share = pixels.covered(union(model.silhouette(one), weight, -3), image)
        covered += share
        missed += share * (1 - image)
        free += 1 - share
        wrong += (1 - share) * image
    for logit, errors, total, prior in (
        (pixels.miss_logit, missed, covered, 10.0),
        (pixels.false_logit, wrong, free, 20.0),
    ):
        rate = (errors + prior * errors.sum() / total.sum()) / (total + prior)
        logit.copy_(rate.clamp(*_RANGE).logit())


def _fit_curves(
    model: WalkingPeople,
    images: Tensor,
    place: Tensor,
    seen: Tensor,
    steps: int,
    generator: torch.Generator,
    batch: int,
) -> None:
    """The curves of the silhouette."""
    silhouette = model.silhouette
    curves: Sequence[Tensor] = [silhouette.log_half_width, silhouette.solid_logit]
    optimizer = torch.optim.Adam(curves, 0.02)
    for _ in range(steps):
        index = torch.randint(len(images), (batch,), generator=generator)
        cover = union(silhouette(place[index]), seen[index], -3)
        loss = -model.pixels.log_prob(cover, images[index]).sum() / batch
        gradients = torch.autograd.grad(loss, curves)
        for curve, gradient in zip(curves, gradients, strict=True):
            curve.grad = gradient
        optimizer.step()
        optimizer.zero_grad()
