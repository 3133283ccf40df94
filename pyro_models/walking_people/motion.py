"""How people come, walk, are hidden and go."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.walking_people.silhouette import Silhouette

# Shares of the frame's width and height: middles and standard deviations of where feet are first seen
_ENTRIES = (
    ((0.5, 0.5), (0.35, 0.35)),
    ((0.0, 0.5), (0.04, 0.35)),
    ((1.0, 0.5), (0.04, 0.35)),
    ((0.5, 1.1), (0.35, 0.08)),
)
_ENTRY_WEIGHTS = (0.1, 0.35, 0.35, 0.2)


class Walkers(NamedTuple):
    """The state after a frame, dims (*plates, objects, sequences, ...).

    Attributes:
        presence: 1 for people, 0 for empty slots.
        visible: 1 if a person is to be seen, 0 if hidden; 0 for empty slots.
        place: x and y of the feet, pixels, log size and log width.
        velocity: of the feet, pixels per frame.
    """

    presence: Float[Tensor, "*batch"]
    visible: Float[Tensor, "*batch"]
    place: Float[Tensor, "*batch 4"]
    velocity: Float[Tensor, "*batch 2"]


class Steps(NamedTuple):
    """Standard deviations of one step of a person.

    Attributes:
        sway: of the feet around the path, pixels.
        push: of the velocity, pixels per frame.
        shape: of log size and log width.
    """

    sway: Float[Tensor, "*batch"]
    push: Float[Tensor, "*batch"]
    shape: Float[Tensor, "*batch 2"]


class WalkingMotion(nn.Module):
    """A Markov chain for each slot: empty, or a person who walks on, seen or hidden::

        presence ~ Bernoulli(enter or stay(place));   visible ~ Bernoulli(1 - hide, reappear or appear)
        v_t ~ N(v_{t-1}, push^2);   p_t ~ N(p_{t-1} + v_t, sway^2);   a_t ~ N(r a_{t-1}, (1 - r^2) spread^2)

    with push and sway in heights of a person at p_{t-1}; the log width is a chain like a, with a shorter memory. At
    first p is drawn from a mixture of the frame and its edges, v ~ N(0, speed^2) and a ~ N(0, spread^2). `stay` falls
    from `stay_inside` to `stay_outside` where the middle of a person leaves the frame. All parameters are learned but the places of entries.

    Args:
        silhouette: says how tall people are.
        frame_size: height and width of a frame, pixels.
    """

    entry_means: Tensor
    entry_scales: Tensor
    entry_logits: Tensor

    def __init__(self, silhouette: Silhouette, frame_size: tuple[int, int]) -> None:
        super().__init__()
        height, width = frame_size
        self._silhouette = [silhouette]  # the model's: not registered twice
        self.frame_size = frame_size
        size = torch.tensor([width, height], dtype=torch.float32)
        means, scales = torch.tensor(_ENTRIES).unbind(1)
        self.register_buffer("entry_means", means * size)
        self.register_buffer("entry_scales", scales * size)
        self.register_buffer("entry_logits", torch.tensor(_ENTRY_WEIGHTS).log())
        self.first_logit = nn.Parameter(torch.tensor(0.3).logit())
        self.enter_logit = nn.Parameter(torch.tensor(0.003).logit())
        self.stay_inside = nn.Parameter(torch.tensor(0.995).logit())
        self.stay_outside = nn.Parameter(torch.tensor(0.5).logit())
        self.hide_logit = nn.Parameter(torch.tensor(0.01).logit())
        self.reappear_logit = nn.Parameter(torch.tensor(0.1).logit())
        self.appear_logit = nn.Parameter(torch.tensor(0.95).logit())
        self.log_sway = nn.Parameter(torch.tensor(0.02).log())
        self.log_push = nn.Parameter(torch.tensor(0.02).log())
        self.log_speed = nn.Parameter(torch.tensor(0.1).log())
        self.log_spread = nn.Parameter(torch.tensor([0.06, 0.08]).log())
        self.memory_logit = nn.Parameter(torch.tensor([0.98, 0.9]).logit())

    @property
    def memory(self) -> Float[Tensor, " 2"]:
        """The memory r of log size and log width."""
        return self.memory_logit.sigmoid()

    def presence_probability(self, before: Walkers | None, like: Tensor) -> Float[Tensor, "*batch"]:
        """Of a person in each slot."""
        if before is None:
            return self.first_logit.sigmoid().expand_as(like)
        return torch.where(before.presence > 0, self.stay_probability(before.place), self.enter_logit.sigmoid())

    def stay_probability(self, place: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        """Of a person at a place."""
        tall = self._silhouette[0].height(place)
        height, width = self.frame_size
        x, y = place[..., 0], place[..., 1] - 0.5 * tall
        edge = 0.1 * tall
        inside = (x / edge).sigmoid() * ((width - x) / edge).sigmoid()
        inside = inside * (y / edge).sigmoid() * ((height - y) / edge).sigmoid()
        return self.stay_outside.sigmoid().lerp(self.stay_inside.sigmoid(), inside)

    def visible_probability(self, before: Walkers | None, like: Tensor) -> Float[Tensor, "*batch"]:
        """Of being seen, for a person."""
        appear = self.appear_logit.sigmoid().expand_as(like)
        if before is None:
            return appear
        stayed = torch.where(before.visible > 0, (-self.hide_logit).sigmoid(), self.reappear_logit.sigmoid())
        return torch.where(before.presence > 0, stayed, appear)

    def steps(self, place: Float[Tensor, "*batch 4"]) -> Steps:
        """Standard deviations of the next step of people at these places."""
        tall = self._silhouette[0].mean_height(place[..., 1])
        shape = self.log_spread.exp() * (1 - self.memory.square()).sqrt()
        return Steps(self.log_sway.exp() * tall, self.log_push.exp() * tall, shape.expand(*tall.shape, 2))

    def entry(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales (*batch, entries, 4) of places where people are first seen."""
        means = torch.nn.functional.pad(self.entry_means, (0, 2))
        scales = torch.cat([self.entry_scales, self.log_spread.exp().expand(len(means), 2)], -1)
        return means.expand(*like.shape, *means.shape), scales.expand(*like.shape, *scales.shape)

    def place_law(self, before: Walkers | None, like: Tensor) -> dist.MixtureSameFamily:
        """Distribution of the places of people; all members of the mixture are alike for those who were there."""
        means, scales = self.entry(like)
        if before is not None:
            steps = self.steps(before.place)
            feet = before.place[..., :2] + before.velocity
            there = torch.cat([feet, self.memory * before.place[..., 2:]], -1)
            spread = (steps.sway.square() + steps.push.square()).sqrt()
            wide = torch.cat([spread[..., None], spread[..., None], steps.shape], -1)
            stayed = before.presence[..., None, None] > 0
            means = torch.where(stayed, there[..., None, :], means)
            scales = torch.where(stayed, wide[..., None, :], scales)
        return place_mixture(self.entry_logits, means, scales.diag_embed())

    def velocity_law(self, before: Walkers | None, place: Float[Tensor, "*batch 4"]) -> dist.Independent:
        """Distribution of velocities given places: what the step from the place before suggests."""
        speed = (self.log_speed.exp() * self._silhouette[0].mean_height(place[..., 1]))[..., None].expand(
            *place.shape[:-1], 2
        )
        mean = torch.zeros_like(speed)
        if before is not None:
            steps = self.steps(before.place)
            both = (steps.sway.square() + steps.push.square())[..., None]
            gain = steps.push.square()[..., None] / both
            surprise = place[..., :2] - before.place[..., :2] - before.velocity
            narrow = (steps.push * steps.sway)[..., None] / both.sqrt()
            stayed = before.presence[..., None] > 0
            mean = torch.where(stayed, before.velocity + gain * surprise, mean)
            speed = torch.where(stayed, narrow, speed)
        return dist.Normal(mean, speed).to_event(1)


def place_mixture(
    logits: Float[Tensor, " entries"],
    means: Float[Tensor, "*batch entries 4"],
    scale_trils: Float[Tensor, "*batch entries 4 4"],
) -> dist.MixtureSameFamily:
    """A mixture of Gaussians over places."""
    mixing = dist.Categorical(logits=logits.expand(means.shape[:-1]))
    return dist.MixtureSameFamily(mixing, dist.MultivariateNormal(means, scale_tril=scale_trils))
