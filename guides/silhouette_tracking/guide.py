"""A guide that follows people by the model's own log joint, and looks for new ones in what is left."""

import math
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro import poutine
from torch import Tensor
from tqdm import tqdm

from guides.guide_of import GuideOf
from guides.program import sample_sites
from guides.silhouette_tracking.correlation import CorrelationMap
from guides.silhouette_tracking.discovery import discover
from guides.silhouette_tracking.explanation import EMPTY, HIDDEN, SEEN, Prediction, explain, given_frame
from guides.silhouette_tracking.refinement import Effort
from guides.silhouette_tracking.tracking import Beliefs, Following, smooth
from guides.stepwise import StepwiseGuide
from pyro_models.distributions.gaussian_numerics import factor_definite
from pyro_models.walking_people import WalkingPeople
from pyro_models.walking_people.model import walkers
from pyro_models.walking_people.motion import Walkers, first_free, nobody, place_mixture
from videos.typed import Count, typed

DEFENCE = 0.01  # share of the prior in the guide's probabilities
DEFENCE_OF_PLACES = 0.1  # and in the distributions of places
TAIL = 2.0  # the last member of the guide's mixture of places is wider by this factor


class MaskReadings(NamedTuple):
    """A checked batch of masks.

    Attributes:
        images: frames, zero where missing.
        observed: which are seen; None = all.
        correlation: silhouettes, transformed.
    """

    images: Float[Tensor, "sequences time height width"]
    observed: Bool[Tensor, "sequences time"] | None
    correlation: CorrelationMap


class SilhouetteTrackingGuide(GuideOf[WalkingPeople], StepwiseGuide):
    """Proposals from the model's own log joint, without networks: nothing is to be trained::

        q(v_t | v_{t-1}, x_t) = prod_k q(presence_k) q(visible_k | presence_k) q(place_k | visible_k) p(velocity_k)

    People of the frame before are predicted by the model's transition, and their places refined together by
    Gauss-Newton steps, which give the means and covariances of q(place): a Laplace approximation of what is optimal in
    a particle filter (Doucet, Godsill and Andrieu 2000, section II.D). Probabilities of presence and visibility are the
    posterior odds, with places integrated out by the same approximation. Who enters is looked for at the maximum of
    what one more silhouette would explain. The velocity has the model's distribution given both places, which is the
    exact posterior. The prior has a share of 0.01 in every probability, and of 0.1 in the distribution of a place, for
    people who are there and out of sight; the rest has one member of doubled scale.

    Where a frame is missing, q is the model. Gradients of bounds reach the model by its own densities alone: proposals
    are constants, as in the wake phase of wake-sleep.

    `complete` and `track` do not draw: they carry Gaussians of place and velocity from frame to frame; see `Following`.

    Args:
        model: the model served.
        refinements: number of Gauss-Newton steps in a frame.
        pixel_weight: power to which `complete` and `track` raise the probability of a pixel given the people, as in a
            coarsened posterior (Miller and Dunson 2019): pixels whose errors are alike, as where a coat is wider than
            silhouettes are, count less than the model says. Proposals do not.

    Raises:
        ValueError: if `refinements` is below 1, `pixel_weight` is not a share, or frames, observed or controls have the
            wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = WalkingPeople
    completion_methods = ("smoother", "filter")

    @typed(left=("model",))
    def __init__(self, model: WalkingPeople, *, refinements: Count = 4, pixel_weight: float = 1.0) -> None:
        super().__init__(model)
        if not 0 < pixel_weight <= 1:
            raise ValueError(f"pixel_weight: expected a share in (0, 1], got {pixel_weight}")
        self.refinements = refinements
        self.pixel_weight = pixel_weight

    @torch.no_grad()
    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> MaskReadings:
        """See `StepwiseGuide.prepare`."""
        frames, _ = self.check_video(frames, observed, controls)
        return MaskReadings(frames[:, :, 0], observed, CorrelationMap(self.model))

    def step(self, index: int, state: Walkers | None, context: MaskReadings) -> Walkers:
        """See `StepwiseGuide.step`."""
        model, number = self.model, index + 1
        image = context.images[:, index]
        seen = None if context.observed is None else context.observed[:, index]
        before = nobody(image[:, 0, 0].expand(model.num_slots, -1)) if state is None else state
        with torch.no_grad():
            proposal = _Proposal.of(self, before, image, context.correlation)
            presence_prior = model.motion.presence_probability(before)
            visible_prior = model.motion.visible_probability(before)
            presence_chance = _defended(1 - proposal.chances[..., EMPTY], presence_prior, seen)
            share = proposal.chances[..., SEEN] / (1 - proposal.chances[..., EMPTY]).clamp(min=1e-20)
            visible_chance = _defended(share.clamp(max=1.0), visible_prior, seen)
        with model.slots():
            presence = pyro.sample(f"presence_{number}", dist.Bernoulli(presence_chance))
            there = presence > 0
            visible = pyro.sample(f"visible_{number}", dist.Bernoulli(visible_chance).mask(there))
            with torch.no_grad():
                found = (visible > 0) if seen is None else (visible > 0) & seen
                place_distribution = proposal.place_distribution(
                    model.motion.entry_logits, model.motion.place_distribution(before), found
                )
            place = pyro.sample(f"place_{number}", place_distribution.mask(there))
            place = torch.where(there[..., None], place, 0.0)
            with torch.no_grad():
                velocity_distribution = model.motion.velocity_distribution(before, place)
            velocity = pyro.sample(f"velocity_{number}", velocity_distribution.mask(there))
        return walkers(presence, visible, place, velocity)

    @torch.no_grad()
    def track(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        smoothed: bool = False,
        progress: bool = False,
    ) -> list[Beliefs]:
        """Beliefs about every slot after each frame, without drawing; see `Following`.

        Args:
            frames: (sequences, time, 1, height, width), of any length: memory grows by the beliefs alone.
            observed: bool (sequences, time), None = all.
            controls: None.
            smoothed: given all frames; False = given earlier ones and the frame.
            progress: show a bar on a terminal.

        Raises:
            ValueError: if frames are no masks of zeros and ones, or a shape is wrong.
        """
        seen, _ = self.check_video(frames, observed, controls)
        grey = (seen != 0) & (seen != 1)
        if bool(grey.any()):
            raise ValueError(
                "frames: expected masks of zeros and ones, as background subtraction gives them, got "
                f"{float(seen[grey][0]):g} among others; compare them with a threshold first"
            )
        return self._follow(frames, observed, controls, smoothed, skip=True, progress=progress)

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "smoother",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Who is there in each frame, if that is more likely than not, with the means of places and velocities.

        Args:
            frames: (sequences, time, 1, height, width).
            observed: bool (sequences, time), None = all.
            controls: None.
            method: "smoother": given all frames; "filter": given earlier ones and the frame.
            num_samples: number of draws from the guide; None = the above.

        Returns:
            A value (objects, sequences, ...) for each site of the model; with draws (num_samples, 1, objects,
            sequences, ...).

        Raises:
            ValueError: if the method is neither.
        """
        self.check_method(method)
        if num_samples is not None:
            with pyro.plate("samples", num_samples, dim=-4):
                trace = poutine.trace(self).get_trace(frames, observed, controls)
            return {name: node["value"] for name, node in sample_sites(trace).items()}
        path = self._follow(frames, observed, controls, method == "smoother", skip=False)
        values: dict[str, Tensor] = {}
        for number, beliefs in enumerate(path, 1):
            chances, mean = beliefs.chances.transpose(0, 1), beliefs.mean.transpose(0, 1)
            values[f"presence_{number}"] = (chances[..., EMPTY] < 0.5).to(mean.dtype)
            values[f"visible_{number}"] = (chances[..., SEEN] > chances[..., HIDDEN]).to(mean.dtype)
            values[f"place_{number}"], values[f"velocity_{number}"] = mean[..., :4], mean[..., 4:]
        return values

    def _follow(
        self,
        frames: Tensor,
        observed: Tensor | None,
        controls: Tensor | None,
        smoothed: bool,
        skip: bool,
        progress: bool = False,
    ) -> list[Beliefs]:
        context = self.prepare(frames, observed, controls)
        how = Effort(self.refinements, self.pixel_weight)
        following = Following(self.model, context.correlation, how, skip=skip)
        frames_left = following.run(context.images, context.observed)
        path = list(
            tqdm(frames_left, "following", context.images.shape[1], leave=False, disable=None if progress else True)
        )
        return smooth(path) if smoothed else path


class _Proposal(NamedTuple):
    """Distributions of a step, dims (*plates, objects, sequences, ...).

    Attributes:
        chances: of slots being empty, a person who is seen, one who is hidden.
        mean: of the place of a person who is seen.
        scale_tril: of the same.
    """

    chances: Tensor
    mean: Tensor
    scale_tril: Tensor

    @classmethod
    def of(
        cls, guide: SilhouetteTrackingGuide, before: Walkers, image: Tensor, correlation: CorrelationMap
    ) -> "_Proposal":
        """What a frame suggests, given the state before it."""
        model, motion = guide.model, guide.model.motion
        presence, visible = motion.presence_probability(before), motion.visible_probability(before)
        how = Effort(guide.refinements)
        prior = torch.stack([1 - presence, presence * visible, presence * (1 - visible)], -1).transpose(-2, -3)
        image = image.expand(*prior.shape[:-2], *image.shape[-2:])
        members = motion.place_distribution(before).component_distribution
        mean = members.loc[..., 0, :].transpose(-2, -3)
        covariance = members.covariance_matrix[..., 0, :, :].transpose(-3, -4)
        free = before.presence.transpose(-1, -2) == 0
        chances = torch.where(free[..., None], prior.new_tensor([1.0, 0.0, 0.0]), prior)
        old = explain(model, image, Prediction(chances, mean, covariance), how)
        new = discover(model, correlation, image, old.without, how)
        gain = torch.where(first_free(free, -1), new.gain[..., None], 0.0)
        chances = torch.where(free[..., None], given_frame(prior, gain), old.chances)
        mean = torch.where(free[..., None], new.mean[..., None, :], old.refined.mean)
        covariance = torch.where(free[..., None, None], new.covariance[..., None, :, :], old.refined.covariance)
        scale = factor_definite(covariance)  # NaN where a trajectory of annealing diverges, which is then rejected
        return cls(chances.transpose(-2, -3), mean.transpose(-2, -3), scale.transpose(-3, -4))

    def place_distribution(
        self, entry_logits: Tensor, prior: dist.MixtureSameFamily, found: Tensor
    ) -> dist.MixtureSameFamily:
        """Places of people who are found; of others the prior."""
        members = prior.component_distribution
        tails = torch.ones_like(entry_logits)
        tails[-1] = TAIL
        mean = torch.where(found[..., None, None], self.mean[..., None, :], members.loc)
        own = tails[:, None, None] * self.scale_tril[..., None, :, :]
        scale = torch.where(found[..., None, None, None], own, members.scale_tril)
        shares = entry_logits.log_softmax(-1)
        logits = torch.cat([shares + math.log(1 - DEFENCE_OF_PLACES), shares + math.log(DEFENCE_OF_PLACES)])
        means = torch.cat([mean, members.loc.expand_as(mean)], -2)
        return place_mixture(logits, means, torch.cat([scale, members.scale_tril.expand_as(scale)], -3))


def _defended(chance: Tensor, prior: Tensor, seen: Tensor | None) -> Tensor:
    """A probability with a share of the prior; the prior where the frame is missing."""
    mixed = (1 - DEFENCE) * chance + DEFENCE * prior
    return mixed if seen is None else torch.where(seen, mixed, prior)
