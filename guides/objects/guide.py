"""Base class of guides for positions of several objects: a recurrent reader of frames, and the filling of gaps."""

from abc import abstractmethod
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.nn import PyroModule
from torch import Tensor, nn

from guides.guide_of import GuideOf
from guides.objects.keypoints import Keypoints
from guides.objects.predicted_windows import TrackedKeypoints
from guides.objects.time_recurrence import ObjectTimeRecurrence
from pyro_models.components.initial_weights import normal_by_size
from pyro_models.distributions.gaussian_steps import Moments, product_of_gaussians
from pyro_models.dynamics_from_pixels.ballistic_mixture import COORDINATES
from pyro_models.dynamics_from_pixels.model import DynamicsFromPixels, PositionContext, PositionState
from pyro_models.dynamics_from_pixels.position_steps import position_moments
from videos.typed import Count, typed

LOG_SCALES = (-7.0, 3.0)
READINGS = ("linear", "keypoints", "tracking")


class ReadPositions(NamedTuple):
    """Readings of each object, (objects, sequences, time, 2), and the video in the form the model takes."""

    mean: Tensor
    scale: Tensor
    video: PositionContext


class ObjectGuide(GuideOf[DynamicsFromPixels], PyroModule):
    """Reads a mean and a scale of every object's position in every frame, by `ObjectTimeRecurrence`.

    The subclass decides how they are used. Frames are read once for all particles.

    Args:
        model: the model served.
        state_dim: size of the network's states.
        bidirectional: read in both directions of time, by two networks whose states are concatenated.
        reading: how a mean is computed from a state: "linear", as in the paper, "keypoints" (see `Keypoints`),
            or "tracking", which follows objects by the dynamics (see `TrackedKeypoints`).
        first_log_scale: initial log standard deviation of all positions.

    Raises:
        ValueError: if the reading is unknown.
        TypeError: if the model is of another kind.
    """

    serves = DynamicsFromPixels
    completion_methods = ("smoothing", "first frames")
    follows_model_state = True

    @typed(left=("model",))
    def __init__(
        self,
        model: DynamicsFromPixels,
        *,
        state_dim: Count = 1024,
        bidirectional: bool = False,
        reading: str = "linear",
        first_log_scale: float = 0.0,
    ) -> None:
        super().__init__(model)
        if reading not in READINGS:
            raise ValueError(f"reading: expected one of {', '.join(READINGS)}, got {reading!r}")
        frame_dim = model.frame_shape[0] * model.frame_shape[1] * model.frame_shape[2]
        self.networks = nn.ModuleList(
            ObjectTimeRecurrence(frame_dim, state_dim, model.num_objects, backward)
            for backward in ((False, True) if bidirectional else (False,))
        )
        self.feature_dim = state_dim * len(self.networks)
        self.reading = reading
        if reading == "linear":
            self.mean = nn.Linear(self.feature_dim, COORDINATES).apply(normal_by_size)
        elif reading == "keypoints":
            self.mean = Keypoints(self.feature_dim, model.frame_shape)
        else:
            self.mean = TrackedKeypoints(self.feature_dim, model.frame_shape, model.prior)
        self.log_scale = nn.Linear(self.feature_dim, COORDINATES).apply(normal_by_size)
        nn.init.constant_(self.log_scale.bias, first_log_scale)

    def check_video(
        self, frames: Tensor, observed: Tensor | None, controls: Tensor | None
    ) -> tuple[Float[Tensor, "sequences time channels height width"], Bool[Tensor, "sequences time"]]:
        """As `GuideOf.check_video`; controls may be left out, since they only say which objects there are."""
        return self.model.check_arguments(frames, observed, controls)

    @abstractmethod
    def law(self, mean: Tensor, scale: Tensor, observed: Tensor | None) -> TorchDistribution:
        """The distribution of positions, event (time, 2), given readings, (objects, sequences, time, 2) each."""

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Draw the positions of all objects.

        Args:
            frames: (sequences, time, channels, height, width), zeros and ones; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: presence of objects, (sequences, time, objects), or None for all.
        """
        frames, _ = self.check_video(frames, observed, controls)
        presence = self.model.presence(frames, controls)
        law = self.law(*self.read(frames, presence), observed)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("objects", len(presence), dim=-2):
            pyro.sample("a", law.mask(presence))

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> ReadPositions:
        """See `StepwiseGuide.prepare`."""
        video = self.model.prepare(frames, observed, controls)
        return ReadPositions(*self.read(video.frames, video.presence), video)

    def step(self, index: int, state: PositionState | None, context: ReadPositions) -> None:
        """Draw positions from the product of reading and prediction.

            q(a_t^n | a_{<t}, v) prop. to N(a; m, P) N(a; mu_t^n, diag r_t^n)     m, P of the model's p(a_t^n | a_{<t})

        Args:
            index: index of the frame, from 0.
            state: the model's state after the previous step; None at the first.
            context: result of `prepare`.
        """
        prior, seen = context.video.prior, context.video.seen[:, index]
        prediction = self.model.prediction(state, context.video)
        weights = prediction.log_weights.exp()
        means, covariances = position_moments(prior, index, prediction)
        predicted = (weights.unsqueeze(-1) * means).sum(-2)
        apart = means - predicted.unsqueeze(-2)
        spread = covariances + apart.unsqueeze(-1) * apart.unsqueeze(-2)
        covariance = (weights[..., None, None] * spread).sum(-3)
        read, variance = context.mean[:, :, index], context.scale[:, :, index].square()
        joint = product_of_gaussians(Moments(predicted, covariance), read, variance)
        with pyro.plate("objects", self.model.num_objects, dim=-2):
            distribution = dist.MultivariateNormal(*joint, validate_args=False)
            pyro.sample(f"a_{index + 1}", distribution.mask(context.video.presence & seen))

    def features(self, frames: Tensor, presence: Tensor) -> Float[Tensor, "objects sequences time feature"]:
        """States of the networks."""
        flat = frames.flatten(2).transpose(0, 1)
        return torch.cat([network(flat, presence) for network in self.networks], -1).transpose(1, 2)

    def read(
        self, frames: Tensor, presence: Tensor
    ) -> tuple[Float[Tensor, "objects sequences time 2"], Float[Tensor, "objects sequences time 2"]]:
        """Mean and scale of each position."""
        return self.position_of(self.features(frames, presence), frames, presence)

    def position_of(self, features: Tensor, frames: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of each position, from the networks' states and the frames they have read."""
        if self.reading == "linear":
            mean = self.mean(features)
        elif self.reading == "keypoints":
            mean = self.mean(features, frames)
        else:
            mean = self.mean(features, frames, presence)
        return mean, self.log_scale(features).clamp(*LOG_SCALES).exp()

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "smoothing",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Positions in every frame, those of missing frames by the dynamics (Chiappa and Paquet 2019, section 3.2).

        The first run of seen frames is read and the state-space model extrapolates its positions. Frames rendered from
        these stand in for the missing ones, so that the network keeps object identities when frames come back. Then all
        frames are read again, and the smoother gives the missing positions. In a forecast no frame comes back. Missing
        frames before the first seen one stay black.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: presence of objects, (sequences, time, objects), or None for all.
            method: "first frames" takes the most likely component before the first gap, as the paper does;
                "smoothing" averages over components given all positions.
            num_samples: number of joint draws instead of the expected positions, noise included.

        Returns:
            `{"a": (objects, sequences, time, 2)}`; with draws (num_samples, objects, sequences, time, 2).

        Raises:
            ValueError: if the method is unknown.
        """
        self.check_method(method)
        frames, _ = self.check_video(frames, observed, controls)
        presence = self.model.presence(frames, controls)
        mean, scale = self.read(frames, presence)
        if observed is None:
            law = self.law(mean, scale, None)
            return {"a": law.mean if num_samples is None else law.sample(torch.Size([num_samples]))}
        begun = observed.cummax(1).values
        known = observed & ~(begun & ~observed).cummax(1).values
        prior = self.model.prior.law(frames.shape[1], known)
        first = prior.component_posterior(mean).probs
        first = nn.functional.one_hot(first.argmax(-1), first.shape[-1]).to(mean)
        stand_in = self.model.render(prior.impute(mean, first), presence).sigmoid()
        gaps = (begun & ~observed)[:, :, None, None, None]
        mean, scale = self.read(torch.where(gaps, stand_in, frames), presence)
        weights = first if method == "first frames" else None
        return {"a": self.fill(mean, scale, observed, weights, num_samples)}

    def fill(
        self,
        mean: Tensor,
        scale: Tensor,
        observed: Bool[Tensor, "sequences time"],
        weights: Tensor | None,
        num_samples: int | None,
    ) -> Tensor:
        """Positions in all frames: the guide's in seen frames, the smoother's, given those, in missing ones.

        Args:
            mean: readings, (objects, sequences, time, 2).
            scale: their standard deviations, the same shape.
            observed: which frames were seen.
            weights: weights of components, (objects, sequences, component), None = their posterior.
            num_samples: None for expected positions, else the number of draws.
        """
        prior = self.model.prior.law(mean.shape[-2], observed)
        law = self.law(mean, scale, observed)
        if num_samples is None:
            positions = law.mean
            return torch.where(observed.unsqueeze(-1), positions, prior.impute(positions, weights))
        _, _, positions = prior.sample_posterior(law.sample(torch.Size([num_samples])))
        return positions
