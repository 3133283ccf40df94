"""Attend, infer, repeat: scenes of a few objects, their number inferred (Eslami et al. 2016)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.components.arguments import check_video
from pyro_models.components.frame_networks import mlp
from pyro_models.components.glimpses import Windows, paste_and_add
from pyro_models.components.isotropic_gaussian import IsotropicGaussian
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.scene import Scene
from pyro_models.components.stepwise import StepwiseModel
from videos.typed import Count, FrameShape, Positive, typed

DARKNESS = 2.0  # subtracted from the logits of a patch: initially bright squares would be worse than no object


class Slot(NamedTuple):
    """The latents of one object, dims (*particles, time, sequences, ...).

    Attributes:
        presence: 1 if the object exists, 0 if not; once 0, it is 0 for all later slots.
        where: its window, as logits; meaningless without presence.
        what: its appearance; meaningless without presence.
    """

    presence: Float[Tensor, "*batch"]
    where: Float[Tensor, "*batch where"]
    what: Float[Tensor, "*batch what"]


class AttendInferRepeat(StepwiseModel):
    """Each frame, independently, is a sum of patches, one per object::

        z_pres_i ~ Bernoulli(another * z_pres_{i-1}),   z_pres_0 = 1            so the count is geometric, cut at N
        z_where_i ~ N(where_mean, diag(where_scale^2)),   z_what_i ~ N(0, I)    for i with z_pres_i = 1
        x ~ N(sum_i z_pres_i paste(decoder(z_what_i), z_where_i), frame_scale^2)

    (Eslami et al. 2016, section 3). z_where is the logit of a window's scale and the inverse hyperbolic tangents of its
    middle, see `Windows.from_logits`; a decoded patch is a sigmoid, so patches add light.

    Sites, in the plates `sequences` and `time`: `z_pres_i`, `z_where_i`, `z_what_i` for i = 1 ... N, and the observed
    `frames`. Where and what of an absent object are masked: they have no density, and their values are arbitrary.
    Guide: `GlimpseAttentionGuide`.

    Args:
        frame_shape: (1, height, width) of a frame.
        num_slots: N, the largest number of objects.
        what_dim: size of z_what.
        glimpse_size: height and width of a patch, pixels.
        hidden: units of each hidden layer of the decoder.
        another: probability that there is one more object. It is a buffer: training may anneal it.
        where_mean: prior means of z_where: scale, x, y.
        where_scale: prior standard deviations of z_where.
        frame_scale: standard deviation of a pixel.

    Raises:
        ValueError: if frames have more than one channel, or frames, observed or controls have the wrong shape.
    """

    another: Tensor
    where_mean: Tensor
    where_scale: Tensor

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 50, 50),
        *,
        num_slots: Count = 3,
        what_dim: Count = 50,
        glimpse_size: Count = 20,
        hidden: tuple[Count, ...] = (200,),
        another: float = 0.01,
        where_mean: tuple[float, float, float] = (-0.4, 0.0, 0.0),
        where_scale: tuple[Positive, Positive, Positive] = (0.3, 1.0, 1.0),
        frame_scale: Positive = 0.3,
    ) -> None:
        super().__init__()
        if frame_shape[0] != 1:
            raise ValueError(f"frame_shape: expected 1 channel, got {frame_shape[0]}")
        if not 0 <= another <= 1:
            raise ValueError(f"another: expected the probability of one more object, from 0 to 1, got {another}")
        self.frame_shape = frame_shape
        self.control_dim = 0
        self.num_slots = num_slots
        self.what_dim = what_dim
        self.glimpse_size = glimpse_size
        self.frame_scale = frame_scale
        self.decoder = mlp(what_dim, hidden, glimpse_size**2)
        self.register_buffer("another", torch.tensor(another))
        self.register_buffer("where_mean", torch.tensor(where_mean))
        self.register_buffer("where_scale", torch.tensor(where_scale))

    def where_law(self) -> dist.Independent:
        """Prior of z_where."""
        return dist.Normal(self.where_mean, self.where_scale).to_event(1)

    def what_law(self) -> dist.Independent:
        """Prior of z_what."""
        zeros = self.where_mean.new_zeros(self.what_dim)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> list[Slot]:
        """Draw or score one batch; every frame is an independent scene.

        Args:
            frames: (sequences, time, 1, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.

        Returns:
            The latents of each slot.
        """
        context = self.prepare(frames, observed, controls)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            slots = self._scenes(context.frames)
            self._emit(slots, context, slice(0, frames.shape[1]))
        return slots

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseModel.prepare`."""
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoContext(frames, seen, controls)

    def step(self, index: int, state: Sequence[Slot] | None, context: VideoContext) -> list[Slot]:
        """The objects of one frame, independent of earlier frames; sites as in `forward`, without `time`."""
        return self._scenes(context.frames[:, index : index + 1])

    def emit(self, states: Sequence[Sequence[Slot]], context: VideoContext, first: int = 0) -> None:
        """The frame of one step."""
        (slots,) = states
        with pyro.plate("time", 1, dim=-2):
            self._emit(slots, context, slice(first, first + 1))

    def _scenes(self, frames: Tensor) -> list[Slot]:
        alive = frames.new_ones(frames.shape[1], frames.shape[0])
        slots = []
        for index in range(1, self.num_slots + 1):
            alive = alive * pyro.sample(f"z_pres_{index}", dist.Bernoulli(self.another * alive))
            where = pyro.sample(f"z_where_{index}", self.where_law().mask(alive > 0))
            what = pyro.sample(f"z_what_{index}", self.what_law().mask(alive > 0))
            slots.append(Slot(alive, where, what))
        return slots

    def _emit(self, slots: Sequence[Slot], context: VideoContext, steps: slice) -> None:
        likelihood = IsotropicGaussian(dist.Normal(self.canvas(slots).unsqueeze(-3), self.frame_scale), 3)
        pyro.sample("frames", likelihood.mask(context.seen[:, steps].T), obs=context.frames[:, steps].transpose(0, 1))

    def canvas(self, slots: Sequence[Slot]) -> Float[Tensor, "*batch height width"]:
        """The sum of the patches of the objects that exist."""
        presence = torch.stack(torch.broadcast_tensors(*(slot.presence for slot in slots)), -1)
        where = torch.stack(torch.broadcast_tensors(*(slot.where for slot in slots)), -2)
        what = torch.stack(torch.broadcast_tensors(*(slot.what for slot in slots)), -2)
        side = self.glimpse_size
        glimpses = (self.decoder(what) - DARKNESS).sigmoid().unflatten(-1, (side, side))
        return paste_and_add(presence[..., None, None] * glimpses, Windows.from_logits(where), self.frame_shape[1:])

    def slots_of(self, latents: Mapping[str, Tensor]) -> list[Slot]:
        """The slots for given values of the latent sites."""
        alive, slots = None, []
        for index in range(1, self.num_slots + 1):
            presence = latents[f"z_pres_{index}"]
            alive = presence if alive is None else alive * presence
            slots.append(Slot(alive, latents[f"z_where_{index}"], latents[f"z_what_{index}"]))
        return slots

    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The objects for given values of the latent sites.

        Args:
            latents: values of all latent sites, dims (*particles, time, sequences, ...).
        """
        slots = self.slots_of(latents)

        def gather(values: list[Tensor], event_dims: int) -> Any:
            stacked = torch.stack(torch.broadcast_tensors(*values), -1 - event_dims)
            return stacked.transpose(-3 - event_dims, -2 - event_dims)

        windows = Windows.from_logits(gather([slot.where for slot in slots], 1))
        return Scene(
            presence=gather([slot.presence for slot in slots], 0),
            positions=windows.middles(*self.frame_shape[1:]),
            box_sizes=windows.sizes(*self.frame_shape[1:]),
            appearance=gather([slot.what for slot in slots], 1),
        )
