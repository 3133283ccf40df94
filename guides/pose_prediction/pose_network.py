"""A recurrent network over objects and frames, which infers changes of pose and goes on to predict them."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_models.ddpae.networks import StridedEncoder, dcgan_weights
from pyro_models.ddpae.poses import POSE_DIM

SMALLEST_STD = 1e-4  # a softplus alone can underflow to 0
Memory = tuple[Tensor, Tensor]
"""Output and cell of an LSTM, (sequences, units) each."""


class PoseDistributions(NamedTuple):
    """Distributions of the poses of all objects, one event dim each.

    Attributes:
        input_beta: changes in the input frames, batch (input time, objects, sequences).
        pred_beta: changes in the frames to predict, (output time, objects, sequences).
        initial_pose: (objects, sequences).
    """

    input_beta: dist.Independent
    pred_beta: dist.Independent
    initial_pose: dist.Independent


class GaussianHead(nn.Module):
    """A Gaussian of a pose or a change: a linear mean, and a linear layer with a softplus for standard deviations.

    Args:
        units: size of the input.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.mean = nn.Linear(units, POSE_DIM)
        self.scale = nn.Linear(units, POSE_DIM)

    @torch.no_grad()
    def start_at(self, mean: Tensor, scale: Tensor) -> None:
        """Set the biases so that the distribution starts close to this one."""
        self.mean.bias.copy_(mean)
        self.scale.bias.copy_((scale - SMALLEST_STD).expm1().log())

    def forward(self, code: Float[Tensor, "*batch units"]) -> dist.Independent:
        """The distribution for each code."""
        return dist.Normal(self.mean(code), softplus(self.scale(code)) + SMALLEST_STD).to_event(1)


class PoseNetwork(nn.Module):
    """The "2-D LSTM" of Hsieh et al. 2018, as in the authors' code. For object i and frame j::

        e_j = encoder(x_j);   h_ij = LSTM_infer([e_j, h_{i-1,j}]; state of i after j - 1)              h_0j = 0
        g_ij = LSTM_predict([g_{i,j-1}, g_{i-1,j}]; state of i after j - 1)      after the input, from its last state
        beta_ij ~ N(heads(h_ij)) or N(heads(g_ij)), the same heads
        initial_pose_i ~ N(heads of its own (LSTM_initial over objects of h_i1))

    so an object knows what the objects before it have explained. Where an input frame is missing, the predictor takes
    the place of the encoder for this frame, and the initial poses are read off the first frame that is seen: a clip
    whose input ends early is simply predicted from there. All weights are shared by the objects.

    Args:
        side: height and width of a frame.
        image_dim: size of e_j.
        units: units of each LSTM.
        num_objects: number of objects.
        channels: filters of the encoder's first convolution.
    """

    def __init__(self, side: int, image_dim: int, units: int, num_objects: int, channels: int) -> None:
        super().__init__()
        self.num_objects = num_objects
        self.units = units
        self.encoder = StridedEncoder(side, image_dim, channels)
        self.infer = nn.LSTM(image_dim + units, units)
        self.predict = nn.LSTM(2 * units, units)
        self.initial = nn.LSTM(units, units)
        self.beta_head = GaussianHead(units)
        self.initial_head = GaussianHead(units)
        self.apply(dcgan_weights)

    def forward(
        self,
        images: Float[Tensor, "time sequences side side"],
        seen: Bool[Tensor, "time sequences"] | None,
        num_output: int,
    ) -> PoseDistributions:
        """Distributions of all poses.

        Args:
            images: input frames, with stand-ins for missing ones.
            seen: which of them are real, None = all.
            num_output: number of frames to predict.
        """
        codes = self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        before = codes.new_zeros(*codes.shape[:2], self.units)
        inferred, memories = [], []
        for _ in range(self.num_objects):
            before, memory = self._infer(codes, before, seen)
            inferred.append(before)
            memories.append(memory)
        predicted = self._predict(memories, num_output)
        outputs = torch.stack(inferred, 1)
        if seen is None:
            first = outputs[0]
        else:
            place = seen.long().argmax(0)[None, None, :, None].expand(1, *outputs.shape[1:])
            first = outputs.gather(0, place)[0]
        return PoseDistributions(
            self.beta_head(outputs), self.beta_head(predicted), self.initial_head(self.initial(first)[0])
        )

    def _infer(self, codes: Tensor, before: Tensor, seen: Tensor | None) -> tuple[Tensor, Memory]:
        """Outputs of one object in all input frames, (time, sequences, units), and its memory after them."""
        inputs = torch.cat([codes, before], -1)
        if seen is None:
            outputs, (output, cell) = self.infer(inputs)
            return outputs, (output[0], cell[0])
        infer, predict = self.infer.all_weights[0], self.predict.all_weights[0]
        memory = (torch.zeros_like(before[0]), torch.zeros_like(before[0]))
        outputs = []
        for image, other, real in zip(inputs, before, seen[..., None], strict=True):
            updated = torch.lstm_cell(image, memory, *infer)
            expected = torch.lstm_cell(torch.cat([memory[0], other], -1), memory, *predict)
            memory = (torch.where(real, updated[0], expected[0]), torch.where(real, updated[1], expected[1]))
            outputs.append(memory[0])
        return torch.stack(outputs), memory

    def _predict(self, memories: list[Memory], num_output: int) -> Float[Tensor, "time objects sequences units"]:
        """Outputs of all objects in the frames to predict."""
        weights = self.predict.all_weights[0]
        before = [torch.zeros_like(memories[0][0])] * num_output
        predicted = []
        for memory in memories:
            outputs = []
            for other in before:
                memory = torch.lstm_cell(torch.cat([memory[0], other], -1), memory, *weights)
                outputs.append(memory[0])
            before = outputs
            predicted.append(torch.stack(outputs))
        return torch.stack(predicted, 1)
