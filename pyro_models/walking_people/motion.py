"""How people come, walk, are hidden and go."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
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

        presence_t ~ Bernoulli(stay(place) or enter);   visible_t ~ Bernoulli(1 - hide, reappear or appear)
        v_t ~ N(v_{t-1}, push^2);   p_t ~ N(p_{t-1} + v_t, sway^2);   a_t ~ N(r a_{t-1}, (1 - r^2) spread^2)

    push and sway are in heights of a person at p_{t-1}; the log width is a chain like a, with a shorter memory. At
    first p is drawn from a mixture of the frame and its edges, v ~ N(0, speed^2) and a ~ N(0, spread^2). `stay` falls
    from `stay_inside` to `stay_outside` where the middle of a person leaves the frame. In a frame at most one person
    enters, with probability `enter`, and takes the first empty slot: people are assigned to slots in one way, and
    evidence has no factor of permutations. All parameters are learned but the places of entries.

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
        self.enter_logit = nn.Parameter(torch.tensor(0.03).logit())
        self.stay_inside = nn.Parameter(torch.tensor(0.99).logit())
        self.stay_outside = nn.Parameter(torch.tensor(0.5).logit())
        self.hide_logit = nn.Parameter(torch.tensor(0.05).logit())
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

    def presence_probability(self, before: Walkers) -> Float[Tensor, "*batch objects sequences"]:
        """Of a person in each slot: of staying, of entering in the first that is empty, and 0 in other empty ones."""
        enter = first_free(before.presence == 0, -2) * self.enter_logit.sigmoid()
        return torch.where(before.presence > 0, self.stay_probability(before.place), enter)

    def stay_probability(self, place: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        """Of a person at a place."""
        tall = self._silhouette[0].height(place)
        height, width = self.frame_size
        x, y = place[..., 0], place[..., 1] - 0.5 * tall
        edge = 0.1 * tall
        inside = (x / edge).sigmoid() * ((width - x) / edge).sigmoid()
        inside = inside * (y / edge).sigmoid() * ((height - y) / edge).sigmoid()
        return self.stay_outside.sigmoid().lerp(self.stay_inside.sigmoid(), inside)

    def visible_probability(self, before: Walkers) -> Float[Tensor, "*batch"]:
        """Of being seen, for a person."""
        stayed = torch.where(before.visible > 0, (-self.hide_logit).sigmoid(), self.reappear_logit.sigmoid())
        return torch.where(before.presence > 0, stayed, self.appear_logit.sigmoid())

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

    def place_distribution(self, before: Walkers) -> dist.MixtureSameFamily:
        """Distribution of the places of people; all members of the mixture are alike for those who were there."""
        means, scales = self.entry(before.presence)
        steps = self.steps(before.place)
        feet = before.place[..., :2] + before.velocity
        there = torch.cat([feet, self.memory * before.place[..., 2:]], -1)
        spread = (steps.sway.square() + steps.push.square()).sqrt()
        wide = torch.cat([spread[..., None], spread[..., None], steps.shape], -1)
        stayed = before.presence[..., None, None] > 0
        means = torch.where(stayed, there[..., None, :], means)
        scales = torch.where(stayed, wide[..., None, :], scales)
        return place_mixture(self.entry_logits, means, scales.diag_embed())

    def entry_distribution(self, like: Tensor) -> dist.MixtureSameFamily:
        """Distribution of places where people are first seen."""
        means, scales = self.entry(like)
        return place_mixture(self.entry_logits, means, scales.diag_embed())

    def velocity_distribution(self, before: Walkers, place: Float[Tensor, "*batch 4"]) -> dist.Independent:
        """Distribution of velocities given places: what the step from the place before suggests."""
        steps = self.steps(before.place)
        both = (steps.sway.square() + steps.push.square())[..., None]
        surprise = place[..., :2] - before.place[..., :2] - before.velocity
        mean = before.velocity + steps.push.square()[..., None] / both * surprise
        scale = (steps.push * steps.sway)[..., None] / both.sqrt()
        stayed = before.presence[..., None] > 0
        first = (self.log_speed.exp() * self._silhouette[0].mean_height(place[..., 1]))[..., None]
        scale = torch.where(stayed, scale, first).expand(mean.shape)
        return dist.Normal(torch.where(stayed, mean, 0.0), scale).to_event(1)


def nobody(like: Float[Tensor, "*batch"]) -> Walkers:
    """The state before the first frame: all slots are empty."""
    none = torch.zeros_like(like)
    return Walkers(none, none, none[..., None].expand(*none.shape, 4), none[..., None].expand(*none.shape, 2))


def first_free(free: Bool[Tensor, "*batch"], dim: int) -> Bool[Tensor, "*batch"]:
    """The first slot that is free, along a dim."""
    return free & (free.long().cumsum(dim) == 1)


def place_mixture(
    logits: Float[Tensor, " entries"],
    means: Float[Tensor, "*batch entries 4"],
    scale_trils: Float[Tensor, "*batch entries 4 4"],
) -> dist.MixtureSameFamily:
    """A mixture of Gaussians over places."""
    mixing = dist.Categorical(logits=logits.expand(means.shape[:-1]))
    return dist.MixtureSameFamily(mixing, dist.MultivariateNormal(means, scale_tril=scale_trils))
