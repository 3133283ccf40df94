"""Attention that follows objects where the dynamics predict them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from guides.objects.keypoints import Keypoints
from pyro_models.dynamics_from_pixels.ballistic_mixture import COORDINATES, PositionPrior

ABSENT = -1e9


class Filtering(NamedTuple):
    """The part of a Kalman filter that does not depend on observations.

    Attributes:
        start: mean of the first state.
        transition: A.
        offset: u.
        emission: C.
        gains: Kalman gain of the update at each step.
        variances: innovation variance of each coordinate.
    """

    start: Float[Tensor, " state"]
    transition: Float[Tensor, "state state"]
    offset: Float[Tensor, " state"]
    emission: Float[Tensor, "2 state"]
    gains: Float[Tensor, "time state 2"]
    variances: Float[Tensor, "time 2"]


class TrackedKeypoints(Keypoints):
    """`Keypoints` frame by frame, with a window around the place that a Kalman filter predicts::

        score_p^n = l_p^n - |place_p - c_t^n|^2 / (2 w_t)            l = W s + b, as in `Keypoints`
        w_p^n prop. to (v_p + 0.001) exp(score_p^n) share_p^n,   share_p^n = exp(score_p^n) / sum_j exp(score_p^j)
        h_t = h_t^- + G_t (m_t - c_t),   h_{t+1}^- = A h_t + u,   c = C h^-

    So each object keeps to its own light, and after two meet each continues on its own path: data association by the
    model's own dynamics (as in probabilistic data association filters, Bar-Shalom and Tse 1975). Gains G_t and
    innovation variances w_t do not depend on frames and are computed once for all sequences. No gradient flows from
    here to the dynamics.

    In the first frame there is no prediction yet, and a mean over light that the states do not tell apart would lie
    between two balls: the first velocity would be wrong, and every reading after a gap. There an object's window is
    centred where it covers most light, and objects look one after the other, each at the light that those before have
    left; see `first_centres`. Where the first frames are missing, and so black, the filter starts at the first seen
    frame.

    Args:
        feature_dim: size of a state.
        frame_shape: (channels, height, width).
        prior: prior of positions; held as a plain reference.
    """

    def __init__(self, feature_dim: int, frame_shape: tuple[int, int, int], prior: PositionPrior) -> None:
        super().__init__(feature_dim, frame_shape)
        self._served = [prior]
        self.size = frame_shape[1:]
        # A disc is about a quarter of a unit across: light that far from the predicted place is still its own.
        self.log_extent = nn.Parameter(torch.tensor(0.05).log())

    def forward(
        self,
        features: Float[Tensor, "objects sequences time feature"],
        frames: Float[Tensor, "sequences time channels height width"],
        presence: Bool[Tensor, "objects sequences"],
    ) -> Float[Tensor, "objects sequences time 2"]:
        """Places of all objects in all frames."""
        # An absent object has no share in any light. Time is unbound once: each slice's gradient would otherwise be
        # scattered into a tensor of all frames.
        logits = torch.where(presence[..., None, None], self.attention(features), ABSENT).unflatten(-1, self.size)
        light = self.light(frames).unflatten(-1, self.size)
        begin = (frames.flatten(2).amax(-1) > 0).int().argmax(-1)  # a video starts with its first frame that has light
        sequences = torch.arange(len(begin), device=begin.device)
        first = self.first_centres(light[sequences, begin] + logits[:, sequences, begin], presence)
        columns, rows = self.columns, self.rows
        filtering = self.filtering(light.shape[1])
        extent = self.log_extent.exp()
        state = filtering.start.expand(*presence.shape, -1)
        found = []
        for step, (score, lit) in enumerate(zip(logits.unbind(2), light.unbind(1), strict=True)):
            fresh, age = (step <= begin).unsqueeze(-1), (step - begin).clamp(min=0)
            state = torch.where(fresh, filtering.start, state)
            centre = _times(filtering.emission, state)
            width = extent + torch.where(fresh, 0.0, filtering.variances[age])
            score = score + self.window(torch.where(fresh, first, centre), width)
            weights = (lit + score + score.log_softmax(0)).flatten(-2).softmax(-1).unflatten(-1, self.size)
            reading = torch.stack([(weights.sum(-2) * columns).sum(-1), (weights.sum(-1) * rows).sum(-1)], -1)
            found.append(reading)
            state = state + _times(filtering.gains[age], reading - centre)
            state = _times(filtering.transition, state) + filtering.offset
        return torch.stack(found, 2)

    def window(
        self, centre: Float[Tensor, "*batch 2"], width: Float[Tensor, "*#batch 2"]
    ) -> Float[Tensor, "*batch height width"]:
        """Log of a Gaussian bump, 0 in its middle.

        Args:
            centre: place of its maximum.
            width: variance along each axis.
        """
        across = (self.columns - centre[..., :1]).square() / (-2 * width[..., :1])
        down = (self.rows - centre[..., 1:]).square() / (-2 * width[..., 1:])
        return across.unsqueeze(-2) + down.unsqueeze(-1)

    @torch.no_grad()
    def first_centres(
        self, scores: Float[Tensor, "objects sequences height width"], presence: Bool[Tensor, "objects sequences"]
    ) -> Float[Tensor, "objects sequences 2"]:
        """For each object in turn, the place with most light around it that no earlier object has claimed::

            c^n = argmax_c sum_p bump(p - c) left_p^n exp(s_p^n),   left_p^n = prod_{j < n} (1 - bump(p - c^j))

        Args:
            scores: log weights of pixels, s.
            presence: which objects are present.
        """
        extent = self.log_extent.exp()
        blur_across = ((self.columns[:, None] - self.columns).square() / (-2 * extent)).exp()
        blur_down = ((self.rows[:, None] - self.rows).square() / (-2 * extent)).exp()
        places, left, centres = self.places(), torch.ones_like(scores[0]), []
        for score, there in zip(scores, presence, strict=True):
            weights = left * score.flatten(-2).softmax(-1).unflatten(-1, self.size)
            around = blur_down @ weights @ blur_across
            centre = places[around.flatten(-2).argmax(-1)]
            taken = self.window(centre, extent.expand(2)).exp()
            left = left * torch.where(there[:, None, None], 1 - taken, 1.0)
            centres.append(centre)
        return torch.stack(centres)

    @torch.no_grad()
    def filtering(self, steps: int) -> "Filtering":
        """The Kalman filter of the model's dynamics, with its components collapsed into one.

        Args:
            steps: number of frames of a video.
        """
        (prior,) = self._served
        weights = prior.law(steps).log_weights.exp()
        ssm = prior.collapsed(weights, steps)
        covariance = ssm.filter(weights.new_zeros(steps, COORDINATES)).predicted_covariance
        assert covariance is not None
        emission = ssm.emission_matrix
        innovation = emission @ covariance @ emission.mT + ssm.emission_covariance
        offset = ssm.transition_offset
        return Filtering(
            start=ssm.initial_mean,
            transition=ssm.transition_matrix[0],
            offset=ssm.initial_mean.new_zeros(ssm.state_dim) if offset is None else offset[0],
            emission=emission[0],
            gains=torch.linalg.solve_ex(innovation, emission @ covariance)[0].mT,
            variances=innovation.diagonal(dim1=-2, dim2=-1),
        )


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """A matrix times vectors: at this size a library call takes ten times as long as the plain sum."""
    return (matrix * vector.unsqueeze(-2)).sum(-1)
