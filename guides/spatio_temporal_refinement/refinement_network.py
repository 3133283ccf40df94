"""The network that turns what is known about a slot into a step of its variational parameters."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.spatio_temporal_refinement.auxiliary_inputs import num_channels
from guides.spatio_temporal_refinement.two_axis_cell import TwoAxisCell
from pyro_models.components.initial_weights import glorot
from pyro_models.components.recurrent_cells import step_lstm
from videos.typed import Count, FrameShape, typed

LARGEST_STEP = 5.0
POOL = 4  # pixels, of images that are read at their full size

Memory = tuple[Float[Tensor, "*#batch units"], Float[Tensor, "*#batch units"]]


class RefinementNetwork(nn.Module):
    """Convolutions read the images of a slot; a cell joins them with vectors, the frames before and refinements before.

    Args:
        frame_shape: (channels, height, width).
        latent_dim: size of z.
        units: size of the cell, and of the code of the images.
        channels: filters of each convolution.
        layers: convolutions, 3 x 3 with ELU.
        strided: halve images at each convolution; else read them at their size and pool them in the end, as in the
            paper, which takes twenty times as many multiplications.
        leave_one_out: whether images show by how much a slot raises the density of a pixel.
        norms: whether vectors have the log norm of the gradient, which is normalised itself.
        two_axes: False = an LSTM over refinements alone, which does not see the frame before.

    Raises:
        ValueError: if images are smaller than what convolutions or pooling take together.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (3, 64, 64),
        latent_dim: Count = 64,
        units: Count = 128,
        *,
        channels: Count = 64,
        layers: Count = 4,
        strided: bool = True,
        leave_one_out: bool = True,
        norms: bool = True,
        two_axes: bool = True,
    ) -> None:
        super().__init__()
        smallest = 2**layers if strided else POOL
        if min(frame_shape[1:]) < smallest:
            raise ValueError(
                f"layers: expected frames of at least {smallest} pixels, got {frame_shape[1]} x {frame_shape[2]}; "
                "take fewer layers"
            )
        self.leave_one_out = leave_one_out
        self.norms = norms
        modules: list[nn.Module] = []
        before = inputs = num_channels(frame_shape[0], leave_one_out=leave_one_out)
        for _ in range(layers):
            modules += [nn.Conv2d(before, channels, 3, stride=2 if strided else 1, padding=1), nn.ELU(inplace=True)]
            before = channels
        if not strided:
            modules.append(nn.AvgPool2d(POOL))
        self.convolutions = nn.Sequential(*modules).apply(glorot)
        with torch.no_grad():
            size = self.convolutions(torch.zeros(1, inputs, *frame_shape[1:])).numel()
        self.code = nn.Sequential(nn.Linear(size, units), nn.ELU()).apply(glorot)
        inputs = units + 4 * latent_dim + norms
        self.cell = TwoAxisCell(inputs, units) if two_axes else nn.LSTMCell(inputs, units)
        self.step = nn.Linear(units, 2 * latent_dim).apply(glorot)
        self.units = units

    def forward(
        self,
        images: Float[Tensor, "*plates sequences slots channels height width"],
        vectors: Float[Tensor, "*plates slots sequences vector"],
        frame: Memory,
        refinement: Memory,
    ) -> tuple[Float[Tensor, "*plates slots sequences step"], Memory]:
        """The step of means and log variances, and the cell's state.

        Args:
            images: see `images_of`.
            vectors: see `vectors_of`.
            frame: state after the previous frame.
            refinement: state after the previous refinement.
        """
        # channels last in memory: the faster layout
        read = self.convolutions(images.flatten(0, -4).contiguous(memory_format=torch.channels_last)).flatten(1)
        code = self.code(read).reshape(*images.shape[:-3], -1).transpose(-2, -3)
        known = torch.cat([code, vectors], -1)
        cell = self.cell
        state = cell(known, frame, refinement) if isinstance(cell, TwoAxisCell) else step_lstm(cell, known, *refinement)
        return self.step(state[0]).clamp(-LARGEST_STEP, LARGEST_STEP), state
