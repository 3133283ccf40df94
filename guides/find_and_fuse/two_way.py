"""Motions inferred from all that was found in a video, before and after."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.find_and_fuse.motion import UNIT, MotionFuser
from pyro_models.components.initial_weights import glorot
from pyro_models.vtssi.gaussians import Gaussian, GaussianHeads
from pyro_models.vtssi.model import DisentangledStateSpaceModel


class FoundPath(NamedTuple):
    """Where objects were found, and what that says of their motions.

    Attributes:
        positions: in the frames up to M, or in all of them, (*plates, time, 2).
        loc: means of motions, (*plates, time, motion); of no frame before frame M.
        scale: their standard deviations.
    """

    positions: Tensor
    loc: Tensor
    scale: Tensor


class TwoWayMotionFuser(MotionFuser):
    """A `MotionFuser` whose LSTM reads the positions found in both directions of time.

    A guide that infers motions from the past alone fits a product of posteriors that know less than the frames tell,
    and holds the dynamics to it (Bayer et al. 2021). Here the finder goes through the whole video at frame M, from what
    it found there, and motions are inferred from all of its path. In frames that are missing it stays where it was.

    Args:
        model: as in `MotionFuser`.
        units: of the LSTM in each direction.
        head_units: hidden units of each head.
        weights: as in `MotionFuser`.
        displacements: as in `MotionFuser`.
    """

    def __init__(
        self,
        model: DisentangledStateSpaceModel,
        *,
        units: int = 64,
        head_units: int = 32,
        weights: tuple[float, float] = (0.01, 0.99),
        displacements: bool = False,
    ) -> None:
        super().__init__(model, units=units, head_units=head_units, weights=weights, displacements=displacements)
        self.recurrence = nn.LSTM(self.inputs, units, batch_first=True, bidirectional=True).apply(glorot)
        self.heads = GaussianHeads(2 * units, head_units, model.motion_dim, nn.Tanh, initial_scale=0.5)

    def start(self, like: Float[Tensor, "*plates objects sequences 2"]) -> FoundPath:
        """See `MotionFuser.start`."""
        nothing = like.new_zeros(*like.shape[:-1], 0, self.motion_dim)
        return FoundPath(like.new_zeros(*like.shape[:-1], 0, 2), nothing, nothing)

    def follow(self, scale: Tensor, what: Tensor, position: Tensor, memory: FoundPath) -> FoundPath:
        """See `MotionFuser.follow`; what was found ahead is known."""
        if memory.loc.shape[-2] > 0:
            return memory
        return memory._replace(positions=torch.cat([memory.positions, position.unsqueeze(-2)], -2))

    def look_ahead(self, scale: Tensor, what: Tensor, positions: list[Tensor], memory: FoundPath) -> FoundPath:
        """Infer the motions of all frames.

        Args:
            scale: sizes of the objects.
            what: their appearances.
            positions: where they are found in the frames after M.
            memory: up to frame M.
        """
        path = torch.cat([memory.positions, *(one.unsqueeze(-2) for one in positions)], -2)
        known = torch.cat([scale, what], -1).unsqueeze(-2)
        inputs = torch.cat([known.expand(*path.shape[:-1], -1), path], -1)
        if self.displacements:
            inputs = torch.cat([inputs, UNIT * path.diff(dim=-2, prepend=path[..., :1, :])], -1)
        outputs = self.recurrence(inputs.flatten(0, -3))[0].unflatten(0, path.shape[:-2])
        return FoundPath(path, *self.heads(outputs))

    def position(self, number: int, memory: FoundPath) -> Tensor:
        """Where objects are found in a frame.

        Args:
            number: of the frame, from 1.
            memory: after `look_ahead`.
        """
        return memory.positions[..., number - 1, :]

    def motion(self, number: int, memory: FoundPath) -> Gaussian:
        """See `MotionFuser.motion`."""
        return Gaussian(memory.loc[..., number - 1, :], memory.scale[..., number - 1, :])
