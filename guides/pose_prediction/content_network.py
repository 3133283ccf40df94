"""A recurrent network over crops of an object, which infers its content."""

from math import prod

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from guides.pose_prediction.pose_network import SMALLEST_STD
from pyro_models.ddpae.networks import StridedEncoder, dcgan_weights


class ContentNetwork(nn.Module):
    """Content from crops of all input frames: an encoder of each, an LSTM over time, a linear head on its last output.

    Crops of missing frames leave the LSTM's memory as it is.

    Args:
        side: height and width of a crop.
        what_dim: size of a content, and of the code of a crop.
        units: units of the LSTM.
        channels: filters of the encoder's first convolution.
    """

    def __init__(self, side: int, what_dim: int, units: int, channels: int) -> None:
        super().__init__()
        self.encoder = StridedEncoder(side, what_dim, channels)
        self.lstm = nn.LSTM(what_dim, units)
        self.head = nn.Linear(units, 2 * what_dim)
        self.apply(dcgan_weights)

    def forward(
        self,
        crops: Float[Tensor, "*particles objects time sequences side side"],
        seen: Bool[Tensor, "time sequences"] | None,
    ) -> dist.Independent:
        """Distribution of the contents, batch (*particles, objects, sequences).

        Args:
            crops: each object in each input frame.
            seen: which of these frames are real, None = all.
        """
        steps, batch = crops.shape[-4], (*crops.shape[:-4], crops.shape[-3])
        codes = self.encoder(crops.flatten(0, -3), prod(crops.shape[:-5]))
        codes = codes.reshape(*crops.shape[:-2], -1).movedim(-3, 0).reshape(steps, prod(batch), -1)
        if seen is None:
            last = self.lstm(codes)[1][0][0]
        else:
            last = self._skip_missing(codes, seen.repeat(1, prod(batch[:-1])))
        mean, scale = self.head(last).reshape(*batch, -1).chunk(2, -1)
        return dist.Normal(mean, softplus(scale) + SMALLEST_STD).to_event(1)

    def _skip_missing(self, codes: Tensor, seen: Tensor) -> Tensor:
        """The last output if codes of missing frames are passed over."""
        weights = self.lstm.all_weights[0]
        output = cell = codes.new_zeros(codes.shape[1], self.lstm.hidden_size)
        for code, real in zip(codes, seen[..., None], strict=True):
            after = torch.lstm_cell(code, (output, cell), *weights)
            output, cell = torch.where(real, after[0], output), torch.where(real, after[1], cell)
        return output
