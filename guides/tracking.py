"""Attention that follows objects where the dynamics predict them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from guides.keypoints import Keypoints
from pyro_models.components.ballistic_mixture import COORDINATES, PositionPrior


class Filtering(NamedTuple):
    """A Kalman filter without the observations: what depends on the dynamics alone.

    Attributes:
        start: mean of the first state.
        transition: A.
        offset: u.
        emission: C.
        gains: of the update at each step.
        variances: of each coordinate's innovation.
    """

    start: Float[Tensor, " state"]
    transition: Float[Tensor, "state state"]
    offset: Float[Tensor, " state"]
    emission: Float[Tensor, "2 state"]
    gains: Float[Tensor, "time state 2"]
    variances: Float[Tensor, "time 2"]


class TrackedKeypoints(Keypoints):
    """`Keypoints` frame after frame, with a window around the place that a Kalman filter predicts::

        score_p^n = l_p^n - |place_p - c_t^n|^2 / (2 w_t)            l = W s + b, as in `Keypoints`
        w_p^n prop. to (v_p + 0.001) exp(score_p^n) share_p^n,   share_p^n = exp(score_p^n) / sum_j exp(score_p^j)
        h_t = h_t^- + G_t (m_t - c_t),   h_{t+1}^- = A h_t + u,   c = C h^-

    so each object keeps to its own light, and where two meet each leaves the way that it came: data association by the
    model's own dynamics (as in probabilistic data association filters, Bar-Shalom and Tse 1975). Gains G_t and
    innovation variances w_t depend on no frame: they are computed once for all sequences. No gradient reaches the
    dynamics from here. The first frame has no window; there states alone tell objects apart.

    Args:
        feature_dim: size of a state.
        frame_shape: (channels, height, width).
        prior: of positions; held as a plain reference.
    """

    def __init__(self, feature_dim: int, frame_shape: tuple[int, int, int], prior: PositionPrior) -> None:
        super().__init__(feature_dim, frame_shape)
        self._served = [prior]
        # A disc is about a quarter of a unit across: light that far from the predicted place is still its own.
        self.log_extent = nn.Parameter(torch.tensor(0.05).log())

    def forward(
        self,
        features: Float[Tensor, "objects sequences time feature"],
        frames: Float[Tensor, "sequences time channels height width"],
        presence: Bool[Tensor, "objects sequences"],
    ) -> Float[Tensor, "objects sequences time 2"]:
        """Places of all objects in all frames."""
        logits = self.attention(features)
        light = self.light(frames)
        places = self.get_buffer("places")
        steps = frames.shape[1]
        filtering = self.filtering(steps)
        there = presence[..., None]
        state = filtering.start.expand(*presence.shape, -1)
        found = []
        for step in range(steps):
            score, centre = logits[:, :, step], state @ filtering.emission.mT
            if step > 0:
                width = filtering.variances[step] + self.log_extent.exp()
                apart = (places - centre.unsqueeze(-2)).square() / width
                score = score - 0.5 * apart.sum(-1)
            share = torch.where(there, score, -torch.inf).log_softmax(0)
            weights = torch.where(there, light[:, step] + score + share, 0.0).softmax(-1)
            reading = weights @ places
            found.append(reading)
            state = state + (reading - centre) @ filtering.gains[step].mT
            state = state @ filtering.transition.mT + filtering.offset
        return torch.stack(found, 2)

    @torch.no_grad()
    def filtering(self, steps: int) -> "Filtering":
        """The Kalman filter of the model's dynamics, their components collapsed into one.

        Args:
            steps: frames of a video.
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
