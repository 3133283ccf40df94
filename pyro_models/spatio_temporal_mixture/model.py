"""Slots that share a frame's pixels and remember earlier frames (Zablotskaia et al. 2020)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro import poutine
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_models.components.arguments import check_video
from pyro_models.components.initial_weights import glorot
from pyro_models.components.layout import TIME_OF_OBJECTS, join_frames
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.scene import Decomposition, Scene
from pyro_models.components.stepwise import StepwiseModel
from pyro_models.distributions.pixel_mixture import PixelMixture
from pyro_models.spatio_temporal_mixture.broadcast_decoder import BroadcastDecoder
from pyro_models.spatio_temporal_mixture.slot_memory import SlotMemory
from videos.typed import Count, FrameShape, Positive, typed

LOG_VARIANCES = (-6.0, 4.0)  # of the prior
FIRST_GAIN = 0.1  # of its last layers: it is nearly standard normal at first
VIDEOS_AT_ONCE = 64  # whose masks are decoded together, a frame at a time: what the decoder computes is far larger


class SlotStates(NamedTuple):
    """The slots after a frame, (*particles, slots, sequences, ...).

    Attributes:
        latent: z_t.
        given: h_{t-1}, which the prior of z_t and the decoder of the frame read.
        output: h_t.
        memory: c_t, the other half of the memory's state.
    """

    latent: Float[Tensor, "*batch slots sequences latent"]
    given: Float[Tensor, "*batch slots sequences units"]
    output: Float[Tensor, "*batch slots sequences units"]
    memory: Float[Tensor, "*batch slots sequences units"]


class SpatioTemporalMixture(StepwiseModel):
    """Each pixel of a frame belongs to one of K slots, whose latents depend on what the slot remembers::

        z_tk ~ N(m(h_{t-1,k}), diag(s(h_{t-1,k}))^2);      h_t = memory(z_t, h_{t-1}),   h_0 = 0
        x_ti ~ sum_k softmax_k(logits_tk)_i N(mu_tki, frame_scale^2 I);   mu_tk, logits_tk = decoder(z_tk, h_{t-1,k})

    (Zablotskaia et al. 2020, eqs. 4 to 6). All parameters are shared by the slots, so their number may be changed after
    training: `model.num_slots = 9`.

    In the paper h is the state of the inference network, so that the model cannot run without its guide; this is
    `memory="guide"`: sites `h_t`, which have no density in the model, take the guide's value, a function of x_1 ... x_t
    and z_1 ... z_t. No video can be drawn from it, and its bound and evidence are those of model and guide together.
    With a `SlotMemory` the model has a state of its own: it generates, forecasts and is compared by evidence like any
    other. With `memory=None` slots remember nothing, and z_tk ~ N(0, I) for each frame: the mixture of IODINE (Greff et
    al. 2019).

    Sites, in the plates `sequences` and `objects`: `z_1` ... `z_T` (and `h_1` ... `h_T`); and the observed `frames`, in
    the plates `sequences` and `time`.

    Args:
        frame_shape: (channels, height, width).
        num_slots: K, background included.
        decoder: None = the paper's, for these frames.
        memory: see above.
        units: size of h, where the memory is the guide's.
        conditional_prior: whether z_t depends on h_{t-1}; else z_t ~ N(0, I) even with a memory, which the decoder and
            the guide may use.
        log_variance: of the prior: "free" (between -6 and 4) or "softplus", as in the code of the authors: never below
            0, so the prior's standard deviation is at least 1.
        frame_scale: standard deviation of a pixel; a buffer, so that a stage of training can schedule it.
        per_channel: see `PixelMixture`.

    Raises:
        ValueError: if sizes do not fit, a word is unknown, there is no slot, or frames, observed or controls have the
            wrong shape.
    """

    frame_scale: Tensor

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (3, 64, 64),
        *,
        num_slots: Count = 5,
        decoder: BroadcastDecoder | None = None,
        memory: SlotMemory | Literal["guide"] | None = None,
        units: Count = 128,
        conditional_prior: bool = True,
        log_variance: Literal["free", "softplus"] = "free",
        frame_scale: Positive = 0.3,
        per_channel: bool = False,
    ) -> None:
        super().__init__()
        if not (memory is None or memory == "guide" or isinstance(memory, SlotMemory)):
            raise ValueError(f"memory: expected a SlotMemory, 'guide' or None, got {memory!r}")
        if log_variance not in ("free", "softplus"):
            raise ValueError(f"log_variance: expected free or softplus, got {log_variance!r}")
        own = memory if isinstance(memory, SlotMemory) else None
        units = own.units if own is not None else units if memory == "guide" else 0
        decoder = BroadcastDecoder(frame_shape, memory_dim=units) if decoder is None else decoder
        if decoder.frame_shape != frame_shape:
            raise ValueError(f"decoder: expected one of frames {frame_shape}, got {decoder.frame_shape}")
        if decoder.memory_dim not in (0, units):
            raise ValueError(f"decoder: expected memory_dim 0 or that of the memory, {units}, got {decoder.memory_dim}")
        if own is not None and own.latent_dim != decoder.latent_dim:
            raise ValueError(f"memory: expected the decoder's latent_dim {decoder.latent_dim}, got {own.latent_dim}")
        self.frame_shape = frame_shape
        self.control_dim = 0
        self.num_slots = num_slots
        self.latent_dim = decoder.latent_dim
        self.units = units
        self.log_variance = log_variance
        self.per_channel = per_channel
        self.decoder = decoder
        self.memory = own
        self.prior_body = None
        if units and conditional_prior:
            self.prior_body = nn.Sequential(nn.Linear(units, units), nn.ReLU())
            self.prior_mean = nn.Linear(units, self.latent_dim)
            self.prior_raw = nn.Linear(units, self.latent_dim)
            with torch.no_grad():
                for head in (self.prior_mean, self.prior_raw):
                    head.apply(glorot).weight *= FIRST_GAIN
        self.register_buffer("frame_scale", torch.tensor(frame_scale))

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseModel.prepare`."""
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoContext(frames, seen, None)

    def step(self, index: int, state: SlotStates | None, context: VideoContext) -> SlotStates:
        """See `StepwiseModel.step`."""
        output, memory = self.remembered(state, context)
        with self.slots():
            latent = pyro.sample(f"z_{index + 1}", self.prior(output))
            if self.memory_is_inferred:
                given = latent.new_zeros(2 * self.units)
                free = dist.Normal(given, torch.ones_like(given)).to_event(1).mask(False)
                return self.after(latent, output, memory, pyro.sample(f"h_{index + 1}", free))
        return self.after(latent, output, memory)

    def emit(self, states: Sequence[SlotStates], context: VideoContext, first: int = 0) -> Tensor:
        """Frames of consecutive steps; returns their means, (*particles, time, 1, sequences, *frame)."""
        mixture = self._mixtures(states)
        mixture = PixelMixture(
            mixture.logits.unsqueeze(-5), mixture.means.unsqueeze(-6), self.frame_scale, per_channel=self.per_channel
        )
        steps = slice(first, first + len(states))
        seen, frames = context.seen[:, steps].T.unsqueeze(-2), context.frames[:, steps].transpose(0, 1).unsqueeze(1)
        with pyro.plate("time", len(states), dim=TIME_OF_OBJECTS):
            pyro.sample("frames", mixture.mask(seen), obs=frames)
        return mixture.mean

    @property
    def memory_is_inferred(self) -> bool:
        """Whether the guide has the slots' memory."""
        return self.memory is None and self.units > 0

    @property
    def needs_guide(self) -> str | None:
        """What the model takes from its guide, and what to do about it; None = nothing."""
        if not self.memory_is_inferred:
            return None
        return "has the guide's memory; give it one of its own, memory=SlotMemory(...), in recipes --memory model"

    @contextmanager
    def slots(self) -> Iterator[None]:
        """The plate `objects`, at dim -2; for model and guide alike."""
        # A plate is a site itself: created apart from all handlers, it may be entered in every step of one trace.
        with poutine.block():
            plate = pyro.plate("objects", self.num_slots, dim=-2)
        with plate:
            yield

    def remembered(self, state: SlotStates | None, context: VideoContext) -> tuple[Tensor, Tensor]:
        """Output and memory before a frame; zero before the first."""
        if state is not None:
            return state.output, state.memory
        zeros = context.frames.new_zeros(self.num_slots, len(context.frames), self.units)
        return zeros, zeros

    def prior(self, output: Float[Tensor, "*batch units"]) -> dist.Independent:
        """Distribution of a slot's latent, given what it remembers."""
        if self.prior_body is None:
            zeros = output.new_zeros(*output.shape[:-1], self.latent_dim)
            return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)
        hidden = self.prior_body(output)
        raw = self.prior_raw(hidden)
        log_variance = softplus(raw) if self.log_variance == "softplus" else raw.clamp(*LOG_VARIANCES)
        return dist.Normal(self.prior_mean(hidden), (0.5 * log_variance).exp()).to_event(1)

    def after(self, latent: Tensor, output: Tensor, memory: Tensor, inferred: Tensor | None = None) -> SlotStates:
        """The slots after a frame.

        Args:
            latent: z_t.
            output: h_{t-1}.
            memory: c_{t-1}.
            inferred: h_t and c_t, where the memory is the guide's.
        """
        batch = torch.broadcast_shapes(latent.shape[:-1], output.shape[:-1])
        latent, output, memory = (value.expand(*batch, -1) for value in (latent, output, memory))
        if self.memory is not None:
            return SlotStates(latent, output, *self.memory(latent, output, memory))
        if inferred is None:
            return SlotStates(latent, output, output, memory)
        after = inferred.chunk(2, -1)
        return SlotStates(latent, output, after[0], after[1])

    def mixture(
        self,
        latent: Float[Tensor, "*plates slots sequences latent"],
        given: Float[Tensor, "*#plates slots sequences units"],
    ) -> PixelMixture:
        """The distribution of a frame, batch dims (*plates, sequences).

        Args:
            latent: z_t.
            given: h_{t-1}.
        """
        batch = torch.broadcast_shapes(latent.shape[:-1], given.shape[:-1])
        pictures = self.decoder(latent.expand(*batch, -1), given.expand(*batch, -1))
        logits, means = pictures.logits.transpose(-3, -4), pictures.means.transpose(-4, -5)
        return PixelMixture(logits, means, self.frame_scale, per_channel=self.per_channel)

    @torch.no_grad()
    def decompose(self, latents: Mapping[str, Tensor]) -> Decomposition:
        """What each slot shows, and its mask.

        Args:
            latents: as for `scene`.
        """
        mixtures = self._mixtures(self._states(latents))  # batch dims (*particles, time, sequences)
        return Decomposition(means=mixtures.means.transpose(-5, -6), masks=mixtures.masks.transpose(-4, -5))

    @torch.no_grad()
    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The masks of all slots; each is its own for the whole video.

        Args:
            latents: values of all latent sites, (*particles, 1, slots, sequences, ...) or (slots, sequences, ...).
        """
        frames = []
        for state in self._states(latents):
            parts = zip(*(value.split(VIDEOS_AT_ONCE, -2) for value in state), strict=True)
            frames.append(torch.cat([self._mixtures([SlotStates(*part)]).masks for part in parts], -4))
        return Scene(masks=torch.cat(frames, -5).transpose(-4, -5))

    def _states(self, latents: Mapping[str, Tensor]) -> list[SlotStates]:
        """The slots after each frame, given values of all latent sites."""
        number = sum(name.startswith("z_") for name in latents)
        first = latents["z_1"]
        zeros = first.new_zeros(*first.shape[-3:-1], self.units)
        state = SlotStates(first, zeros, zeros, zeros)
        states = []
        for index in range(1, number + 1):
            state = self.after(latents[f"z_{index}"], state.output, state.memory, latents.get(f"h_{index}"))
            states.append(state)
        return states

    def _mixtures(self, states: Sequence[SlotStates]) -> PixelMixture:
        """Distributions of consecutive frames, batch dims (*particles, time, sequences)."""
        return self.mixture(
            join_frames([one.latent for one in states], 1), join_frames([one.given for one in states], 1)
        )
