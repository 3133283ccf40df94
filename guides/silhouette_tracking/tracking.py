"""People followed through a whole clip in constant memory: Gaussians and chances carried from frame to frame."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from guides.silhouette_tracking.correlation import CorrelationMap
from guides.silhouette_tracking.discovery import discover
from guides.silhouette_tracking.explanation import EMPTY, SEEN, Prediction, explain, given_frame
from guides.silhouette_tracking.refinement import Effort, Refined, refine
from pyro_models.walking_people import WalkingPeople
from pyro_models.walking_people.motion import first_free

_PLACE, _STATE = 4, 6  # x, y, log size, log width; and velocity


class Beliefs(NamedTuple):
    """What is believed about each slot after a frame.

    Attributes:
        chances: probabilities of being empty, a person who is seen, one who is hidden.
        mean: of x, y, log size, log width and velocity.
        covariance: of the same.
        entered: whether the person came in this frame.
        predicted_mean: before the frame, of those who were there.
        predicted_covariance: of the same.
        transition: matrix of the state's mean, from the frame before.
        moves: probabilities of going from empty, seen or hidden to each, from the frame before.
        gain: log probability of the frame with the person in sight, minus that without.
    """

    chances: Float[Tensor, "*batch slots 3"]
    mean: Float[Tensor, "*batch slots 6"]
    covariance: Float[Tensor, "*batch slots 6 6"]
    entered: Bool[Tensor, "*batch slots"]
    predicted_mean: Float[Tensor, "*batch slots 6"]
    predicted_covariance: Float[Tensor, "*batch slots 6 6"]
    transition: Float[Tensor, "6 6"]
    moves: Float[Tensor, "*batch slots 3 3"]
    gain: Float[Tensor, "*batch slots"]


class Following:
    """The posterior of each person approximated by a Gaussian of place and velocity and three chances.

    In each frame the Gaussian is predicted by the exact moments of the transition, with its scales at the mean, and
    updated by the Laplace approximation of its place; the chances are those of a hidden Markov chain with the states
    empty, seen and hidden (`WalkingMotion`). Who was not seen in the frame before is looked for again in the whole
    Gaussian, by the correlation map. A slot in which nobody is more likely than somebody is free.

    Args:
        model: the model.
        correlation: its silhouettes, transformed.
        how: number of Gauss-Newton steps in a frame, and the weight of pixels.
        skip: leave out what changes nothing: empty slots, and looking again where nobody is lost. Faster, and looks at
            values.
    """

    def __init__(self, model: WalkingPeople, correlation: CorrelationMap, how: Effort, *, skip: bool) -> None:
        self._model = model
        self._correlation = correlation
        self._how = how
        self._skip = skip

    def run(
        self,
        images: Float[Tensor, "sequences time height width"],
        observed: Bool[Tensor, "sequences time"] | None = None,
    ) -> Iterator[Beliefs]:
        """Beliefs after each frame, given it and those before."""
        beliefs: Beliefs | None = None
        for index in range(images.shape[1]):
            seen = None if observed is None else observed[:, index]
            beliefs = self.advance(beliefs, images[:, index], seen)
            yield beliefs

    def advance(
        self, before: Beliefs | None, image: Float[Tensor, "sequences height width"], seen: Tensor | None
    ) -> Beliefs:
        """Beliefs after one more frame.

        Args:
            before: after the frame before; None at the first.
            image: a mask of zeros and ones.
            seen: bool (sequences,), which sequences have the frame; None = all.
        """
        predicted = self._predict(self._nobody(len(image)) if before is None else before)
        mean, covariance = predicted.mean, predicted.covariance
        place = Prediction(predicted.chances, mean[..., :_PLACE], covariance[..., :_PLACE, :_PLACE])
        refined = self._refined(before, image, place)
        chances = given_frame(predicted.chances, refined.gain)
        if seen is not None:
            chances = torch.where(seen[:, None, None], chances, predicted.chances)
        found = (chances[..., SEEN] > 0.5) if seen is None else (chances[..., SEEN] > 0.5) & seen[:, None]
        mean, covariance = _updated(mean, covariance, refined, found)
        after = predicted._replace(chances=chances, mean=mean, covariance=covariance, gain=refined.gain)
        if seen is not None:
            after = after._replace(gain=torch.where(seen[:, None], refined.gain, 0.0))
        return self._admit(after, image, refined.cover, seen)

    def _refined(self, before: Beliefs | None, image: Tensor, predicted: Prediction) -> Refined:
        """Places given the frame of slots that are in use in any sequence; of others the prediction, at no gain."""
        mean = predicted.mean
        idle = Refined(
            mean,
            predicted.covariance,
            image[..., None, :, :].new_zeros(()).expand(*mean.shape[:-1], *image.shape[-2:]),
            torch.zeros_like(mean[..., 0]),
        )
        if before is None:
            return idle
        used = list(range(mean.shape[1]))
        if self._skip:
            used = _occupied(before).any(0).nonzero()[:, 0].tolist()
        if not used:
            return idle
        some = Prediction(*(value[:, used] for value in predicted))
        refined = explain(self._model, image, some, self._how).refined
        lost = (_occupied(before) & (before.chances[..., SEEN] <= 0.5))[:, used]
        if not self._skip or bool(lost.any()):
            refined = self._look_again(image, some, refined, lost)
        places = torch.tensor(used, device=mean.device)
        return Refined(*(old.index_copy(1, places, new) for old, new in zip(idle, refined, strict=True)))

    def _nobody(self, sequences: int) -> Beliefs:
        like = self._model.silhouette.columns
        slots = (sequences, self._model.num_slots)
        zeros = like.new_zeros(*slots, _STATE)
        ones = torch.eye(_STATE, dtype=like.dtype, device=like.device).expand(*slots, _STATE, _STATE)
        empty = like.new_tensor([1.0, 0.0, 0.0]).expand(*slots, 3)
        never = torch.zeros(slots, dtype=torch.bool, device=like.device)
        moves = torch.eye(3, dtype=like.dtype, device=like.device).expand(*slots, 3, 3)
        return Beliefs(empty, zeros, ones, never, zeros, ones, ones[0, 0], moves, like.new_zeros(slots))

    def _predict(self, before: Beliefs) -> Beliefs:
        """Beliefs before the next frame."""
        motion = self._model.motion
        steps = motion.steps(before.mean[..., :_PLACE])
        matrix = torch.eye(_STATE, dtype=before.mean.dtype, device=before.mean.device)
        matrix[0, 4] = matrix[1, 5] = 1
        matrix[2, 2], matrix[3, 3] = motion.memory
        push, sway = steps.push.square(), steps.sway.square()
        noise = torch.zeros_like(before.covariance)
        for axis, speed in ((0, 4), (1, 5)):
            noise[..., axis, axis] = push + sway
            noise[..., axis, speed] = noise[..., speed, axis] = noise[..., speed, speed] = push
        noise[..., 2, 2], noise[..., 3, 3] = steps.shape.square().unbind(-1)
        mean = (matrix @ before.mean[..., None])[..., 0]
        covariance = matrix @ before.covariance @ matrix.mT + noise
        occupied = _occupied(before)
        moves = self._moves(before)
        chances = (before.chances[..., None, :] @ moves)[..., 0, :]
        chances = torch.where(occupied[..., None], chances, chances.new_tensor([1.0, 0.0, 0.0]))
        never = torch.zeros_like(occupied)
        gain = torch.zeros_like(chances[..., 0])
        return Beliefs(chances, mean, covariance, never, mean, covariance, matrix, moves, gain)

    def _moves(self, before: Beliefs) -> Tensor:
        """Probabilities of going from empty, seen and hidden to each; who has left is gone."""
        motion = self._model.motion
        stay = motion.stay_probability(before.mean[..., :_PLACE])
        hide, back = motion.hide_logit.sigmoid(), motion.reappear_logit.sigmoid()
        rows = [
            [torch.ones_like(stay), torch.zeros_like(stay), torch.zeros_like(stay)],
            [1 - stay, stay * (1 - hide), stay * hide],
            [1 - stay, stay * back, stay * (1 - back)],
        ]
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    def _look_again(self, image: Tensor, predicted: Prediction, refined: Refined, lost: Tensor) -> Refined:
        """Places of people who were not seen in the frame before, wherever in their Gaussians they explain most."""
        sure = torch.where(lost, 0.0, predicted.chances[..., SEEN])
        without = (1 - sure[..., None, None] * refined.cover).prod(-3)
        inverse = torch.linalg.inv(predicted.covariance[..., :2, :2])
        away = self._correlation.grid[..., :2] - predicted.mean[..., None, None, :2]
        density = -0.5 * torch.einsum("...yxi,...ij,...yxj->...yx", away, inverse, away)
        start = self._correlation.best(
            self._how.weight * self._correlation.gain(image, without)[..., None, :, :] + density
        )
        start = torch.cat([start[..., :2], predicted.mean[..., 2:]], -1)
        slots = start.shape[-2]
        alone = refine(
            self._model,
            image[..., None, :, :].expand(*image.shape[:-2], slots, *image.shape[-2:]),
            torch.ones_like(start[..., :1]),
            (predicted.mean[..., None, :], predicted.covariance[..., None, :, :]),
            start=start[..., None, :],
            others=without[..., None, :, :],
            how=self._how,
        )
        new = Refined(
            alone.mean[..., 0, :], alone.covariance[..., 0, :, :], alone.cover[..., 0, :, :], alone.gain[..., 0]
        )
        return Refined(*(_where(lost, value, old) for value, old in zip(new, refined, strict=True)))

    def _admit(self, after: Beliefs, image: Tensor, cover: Tensor, seen: Tensor | None) -> Beliefs:
        """Fill the first free slot if somebody is found."""
        motion = self._model.motion
        free = ~_occupied(after)
        sight = torch.where(free, 0.0, after.chances[..., SEEN])
        without = (1 - sight[..., None, None] * cover).prod(-3)
        new = discover(self._model, self._correlation, image, without, self._how)
        prior = motion.enter_logit.sigmoid() * motion.appear_logit.sigmoid()
        chance = (new.gain + prior.logit()).sigmoid()
        entered = first_free(free, -1) & (chance > 0.5)[..., None]
        if seen is not None:
            entered = entered & seen[:, None]
        speed = (motion.log_speed.exp() * self._model.silhouette.mean_height(new.mean[..., 1])).square()
        mean = torch.nn.functional.pad(new.mean, (0, 2))
        covariance = torch.nn.functional.pad(new.covariance, (0, 2, 0, 2))
        covariance = covariance + torch.nn.functional.pad(speed[..., None].expand(*speed.shape, 2), (4, 0)).diag_embed()
        chances = torch.stack([1 - chance, chance, torch.zeros_like(chance)], -1)
        return after._replace(
            chances=_where(entered, chances[..., None, :], after.chances),
            mean=_where(entered, mean[..., None, :], after.mean),
            covariance=_where(entered, covariance[..., None, :, :], after.covariance),
            entered=entered,
        )


def smooth(path: Sequence[Beliefs]) -> list[Beliefs]:
    """Beliefs given all frames: the Rauch-Tung-Striebel recursion for Gaussians, the backward pass for chances.

    Args:
        path: beliefs given earlier frames, from `Following.run`.
    """
    later = path[-1]
    message = torch.ones_like(later.chances)
    smoothed = [later]
    for now, after in zip(path[-2::-1], path[:0:-1], strict=True):
        goes_on = _occupied(now) & ~after.entered
        gain = now.covariance @ after.transition.mT @ torch.linalg.inv(after.predicted_covariance)
        mean = now.mean + (gain @ (later.mean - after.predicted_mean)[..., None])[..., 0]
        covariance = now.covariance + gain @ (later.covariance - after.predicted_covariance) @ gain.mT
        weight = torch.stack([torch.zeros_like(after.gain), after.gain, torch.zeros_like(after.gain)], -1)
        weight = (weight - weight.amax(-1, keepdim=True)).exp()  # up to a factor
        message = (after.moves @ (weight * message)[..., None])[..., 0]
        message = torch.where(goes_on[..., None], message / message.amax(-1, keepdim=True), 1.0)
        chances = now.chances * message
        later = now._replace(
            chances=chances / chances.sum(-1, keepdim=True),
            mean=_where(goes_on, mean, now.mean),
            covariance=_where(goes_on, covariance, now.covariance),
        )
        smoothed.append(later)
    return smoothed[::-1]


def _updated(mean: Tensor, covariance: Tensor, refined: Refined, found: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussians of whole states, given those of their places: exact where the place alone is seen."""
    gain = covariance[..., :, :_PLACE] @ torch.linalg.inv(covariance[..., :_PLACE, :_PLACE])
    shift = (gain @ (refined.mean - mean[..., :_PLACE])[..., None])[..., 0]
    narrowing = covariance[..., :_PLACE, :_PLACE] - refined.covariance
    return _where(found, mean + shift, mean), _where(found, covariance - gain @ narrowing @ gain.mT, covariance)


def _occupied(beliefs: Beliefs) -> Tensor:
    return beliefs.chances[..., EMPTY] < 0.5


def _where(condition: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Chosen by slot, whatever dims follow."""
    return torch.where(condition.view(*condition.shape, *(1,) * (new.dim() - condition.dim())), new, old)
