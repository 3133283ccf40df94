"""Pictures of several objects from their positions.

Modules (positions, presence) -> logits (*batch, channels, height, width), for positions (objects, *batch, 2) and
presence (objects, *batch), broadcast.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pyro_models.components.glimpses import Windows, paste_glimpses
from pyro_models.components.initial_weights import normal_by_size
from videos.typed import Count, FrameShape, typed

UNITS_ACROSS = 6.0  # width of a frame in units of metric position: about that of N(0, I)
LOGIT_UNIT = 10.0  # of a glyph's weights


class RecurrentRenderer(nn.Module):
    """A canvas on which objects are drawn one after the other, gated by their position::

        x^0 = tanh(theta);   alpha^n = sigm(W_alpha a^n + b_alpha)
        x^n = (1 - alpha^n) x^{n-1} + alpha^n tanh(W_x a^n + b_x);   logits = W_v x^N + b_v

    (Chiappa and Paquet 2019, eq. 2). Later objects cover earlier ones, so their order matters. Gates and contributions
    of all objects are one product; only the N convex updates are sequential.

    Args:
        frame_shape: (channels, height, width).
        hidden_dim: size of the canvas x.
        base_rate: share of white pixels that initialises b_v; None = 0.5, as in the paper.
    """

    @typed
    def __init__(
        self, frame_shape: FrameShape = (1, 48, 48), hidden_dim: Count = 1024, base_rate: float | None = None
    ) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        channels, height, width = frame_shape
        self.gate = nn.Linear(2, hidden_dim)
        self.contribution = nn.Linear(2, hidden_dim)
        self.pixels = nn.Linear(hidden_dim, channels * height * width)
        self.apply(normal_by_size)
        self.background = nn.Parameter(torch.zeros(hidden_dim))
        if base_rate is not None:
            nn.init.constant_(self.pixels.bias, torch.tensor(base_rate).logit().item())

    def forward(
        self, positions: Float[Tensor, "objects *batch 2"], presence: Bool[Tensor, "objects *#batch"]
    ) -> Float[Tensor, "*batch channels height width"]:
        """Logits of pixels; an absent object does not change the canvas."""
        there = presence.unsqueeze(-1)
        positions = torch.where(there, positions, 0.0)
        alpha = torch.where(there, self.gate(positions).sigmoid(), 0.0)
        drawn = alpha * self.contribution(positions).tanh()
        canvas = self.background.tanh()
        for index in range(len(positions)):
            canvas = (1 - alpha[index]) * canvas + drawn[index]
        return self.pixels(canvas).unflatten(-1, self.frame_shape)


class GlyphRenderer(nn.Module):
    """One learned glyph pasted at every position: a pixel is black if no object makes it white::

        1 - p = (1 - p_0) prod_n (1 - sigm(glyph)(pixel - c(a^n))),    c(a) = middle + a * reach pixels

    So positions are metric, and drawing an object elsewhere needs no learning. Order does not matter.

    Args:
        frame_shape: (1, height, width).
        glyph_size: height and width of the glyph, pixels.
        reach: pixels per unit of position; None = a sixth of the frame's width.
        base_rate: initial p_0; learned.

    Logits are learned in units of `LOGIT_UNIT`: Adam moves a weight by about its learning rate whatever the gradient,
    and a logit has further to go than other weights.

    Raises:
        ValueError: if frames have more than one channel.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 48, 48),
        glyph_size: Count = 9,
        reach: float | None = None,
        base_rate: float = 0.01,
    ) -> None:
        super().__init__()
        if frame_shape[0] != 1:
            raise ValueError(f"frame_shape: expected 1 channel, got {frame_shape[0]}")
        self.frame_shape = frame_shape
        self.glyph_size = glyph_size
        self.reach = frame_shape[-1] / UNITS_ACROSS if reach is None else reach
        self.scaled_glyph = nn.Parameter(torch.zeros(glyph_size, glyph_size))
        self.scaled_base_logit = nn.Parameter(torch.tensor(base_rate).logit() / LOGIT_UNIT)

    def forward(
        self, positions: Float[Tensor, "objects *batch 2"], presence: Bool[Tensor, "objects *#batch"]
    ) -> Float[Tensor, "*batch channels height width"]:
        """Logits of pixels; an absent object makes none white."""
        _, height, width = self.frame_shape
        positions = torch.where(presence.unsqueeze(-1), positions, 0.0)
        extent = positions.new_tensor([width - 1, height - 1]) / 2
        scale = (self.glyph_size - 1) / 2 / extent
        windows = Windows(scale.expand(positions.shape), positions * (self.reach / extent))
        glyphs = (LOGIT_UNIT * self.scaled_glyph).sigmoid().expand(*positions.shape[:-1], -1, -1)
        light = torch.where(presence[..., None, None], paste_glimpses(glyphs, windows, (height, width)), 0.0)
        # log(1 - p) is a sum over objects; p bounded below 1 in float32 keeps logits finite
        dark = torch.log1p(-light.clamp(max=1 - 1e-6)).sum(0) + nn.functional.logsigmoid(
            -LOGIT_UNIT * self.scaled_base_logit
        )
        return (torch.log(-torch.expm1(dark)) - dark).unsqueeze(-3)
