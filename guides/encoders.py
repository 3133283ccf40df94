"""Encoders that read each frame independently and give the moments of its code."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.frame_networks import frame_encoder
from pyro_models.components.initial_weights import glorot
from videos.typed import Count, FrameShape, PositiveOrZero, typed


class FrameEncoder(nn.Module):
    """Mean and variance of the code of each frame, q(a_t | x_t) = N(mean, diag(variance)).

    It sees frames only, so it runs once per sequence and not once per particle. With a `variance_limit` the variance is
    limit * sigmoid(v), as in the reference code of Fraccaro et al. 2017, where the limit is the emission noise: it
    keeps q from collapsing to the prior early in training. Without one it is softplus(v). A limit of 0 makes the code a
    point, as in an auto-encoder: there is no network for the variance, which is 0.

    `noise` squared is added to this variance. `noise`, a standard deviation, is a buffer and 0 by default: training may
    start with a large value and anneal it to 0. Under noise, nearby codes must decode alike, so the map from frames to
    codes unfolds before it sharpens; without noise it often stays twisted.

    Args:
        frame_shape: (channels, height, width).
        code_dim: size of a code.
        network: "conv", "mlp", or a module (*batch, channels, height, width) -> (*batch, feature) with an attribute
            `feature_dim`.
        variance_limit: upper limit of every variance; None = unbounded, 0 = a point.
        **options: further arguments of a named network, such as its width.

    Raises:
        ValueError: if the network is unknown or `variance_limit` is negative.
    """

    noise: Tensor

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 32, 32),
        code_dim: Count = 2,
        network: str | nn.Module = "conv",
        variance_limit: PositiveOrZero | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.variance_limit = variance_limit
        self.network = frame_encoder(network, frame_shape, **options) if isinstance(network, str) else network
        features = cast(int, self.network.feature_dim)
        self.mean = nn.Linear(features, code_dim).apply(glorot)
        self.variance = None if variance_limit == 0 else nn.Linear(features, code_dim).apply(glorot)
        self.register_buffer("noise", torch.zeros(()))

    def forward(
        self, frames: Float[Tensor, "sequences time channels height width"]
    ) -> tuple[Float[Tensor, "sequences time code"], Float[Tensor, "sequences time code"]]:
        """Mean and variance of every frame's code.

        Args:
            frames: zero where they are missing.
        """
        features = self.network(frames)
        mean = self.mean(features)
        if self.variance is None:
            variance = torch.zeros_like(mean)
        elif self.variance_limit is None:
            variance = nn.functional.softplus(self.variance(features))
        else:
            variance = self.variance_limit * self.variance(features).sigmoid()
        return mean, variance + self.noise.square()
