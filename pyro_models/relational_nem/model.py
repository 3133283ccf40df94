"""Relational neural expectation maximisation: slots predict the next frame, and share its pixels by an E-step."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pyro.nn import PyroModule
from torch import Tensor

from pyro_models.components.arguments import check_video
from pyro_models.components.initial_weights import glorot
from pyro_models.components.layout import to_time_plate
from pyro_models.components.scene import Decomposition, Scene
from pyro_models.relational_nem.assignments import binarised, composed, expectation_step, fixed_normal, normalised
from pyro_models.relational_nem.networks import SlotDecoder, SlotEncoder
from pyro_models.relational_nem.relational_cell import RelationalCell
from videos.typed import Count, FrameShape, typed

Overlay = Literal["union", "mixture"]
CERTAIN = 1e-30  # smallest probability of a pixel; its logit is finite in single precision


class Predictions(NamedTuple):
    """What the slots predict of every frame, and how they share it.

    Attributes:
        outputs: o, from the frames before, of which psi is decoded.
        logits: of psi, the probability of each pixel by slot.
        assignments: gamma after the E-step on the frame; in the first frame as they start.
    """

    outputs: Float[Tensor, "sequences time slots state"]
    logits: Float[Tensor, "sequences time slots height width"]
    assignments: Float[Tensor, "sequences time slots height width"]


class RelationalNeuralEM(PyroModule):
    """Binary frames, predicted by K interacting slots (van Steenkiste, Chang, Greff & Schmidhuber 2018, R-NEM)::

        theta_t+1, o_t+1 = cell(theta_t, enc(gamma_t,k (v_t - psi_t,k)))      all slots together; see `RelationalCell`
        psi_t+1 = sigmoid(dec(o_t+1));   gamma_t+1 = E-step(psi_t+1, v_t+1)   see `expectation_step`
        v_t+1 ~ Bernoulli(1 - prod_k (1 - psi_t+1,k))                         at each pixel

    theta_1 = psi_1 = 0. gamma_1 is noise, |N(0, 1)| normalised over slots, without which all slots would stay equal.
    There are no latents and the guide is `NoLatentsGuide`. Sites in the plates `sequences` and `time`: the observed
    `frames`; and as `pyro.deterministic`, for queries, `assignments`, gamma, event (slots, height, width), `outputs`,
    o, event (slots, state), and `composite`, sum_k gamma_k psi_k, event (1, height, width).

    The first frame has no prediction in the paper. Here, as in `EncoderDecoderLSTM`, it is predicted from a black
    frame, and the bound is a log evidence of whole videos: the same step, from theta = 0 and a residual of 0. This step
    leaves no state behind, and the first `assignments` are gamma_1: noise, not a segmentation.

    Train it by `OwnLoss("expectation_loss")`, the paper's loss. With overlay "union", the distribution above, that loss
    is an upper bound of the negative log evidence. Its expectation is smallest where psi_k = E[gamma_k v]: the slots'
    predictions add up to that of the frame. "mixture" is the equally weighted mixture of K Bernoullis that the E-step
    inverts, v ~ Bernoulli(mean_k psi_k). Under that distribution, predictions that are best by the loss are up to K
    times too dark. Loss, assignments and rollout do not depend on the overlay.

    In training mode the input, not the predicted frame, is noisy: each pixel of a seen frame is flipped with the given
    probability, and gamma_1 is drawn. These numbers come from torch's generator and are no sites. In evaluation mode
    no pixel is flipped, and gamma_1 is a fixed pattern, the same for all sequences.

    A missing frame is replaced by `composite` at the input, and in the E-step by the pixels for which max_k psi_k is
    above 0.1: the paper's rollout. No parameter belongs to a slot, so `num_slots` may be set at any time.

    Args:
        frame_shape: (1, height, width); height and width are multiples of 2 to the number of convolutions, here 8.
        num_slots: K, including slots for the background.
        state_dim: size of theta.
        hidden: size of the encoder's code, and units of the decoder's first layer.
        channels: filters of the encoder's convolutions; the decoder's images have them in reverse.
        attention_dim: units of the attention's hidden layer.
        flip_probability: chance that a pixel of the input is flipped.
        evaluation_noise: noise in evaluation mode as well, as in the paper's evaluation; sequences then differ by
            chance. Queries draw it from their seed.
        overlay: how slots make up a frame: "union" (a pixel is on if it is on in any of the slots, which are
            independent) or "mixture" (it is on if it is on in a slot chosen at random).

    Raises:
        ValueError: if an argument is out of range, or frames, observed or controls have the wrong shape.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 64, 64),
        *,
        num_slots: Count = 5,
        state_dim: Count = 250,
        hidden: Count = 512,
        channels: Sequence[Count] = (16, 32, 64),
        attention_dim: Count = 100,
        flip_probability: float = 0.2,
        evaluation_noise: bool = False,
        overlay: Overlay = "union",
    ) -> None:
        super().__init__()
        count, height, width = frame_shape
        factor = 2 ** len(channels)
        if count != 1:
            raise ValueError(
                f"frame_shape: expected 1 channel, got {count}; the E-step is for binary pixels, not for colours"
            )
        if not channels or height % factor or width % factor:
            raise ValueError(
                f"frame_shape: expected height and width divisible by 2^len(channels) = {factor}, got {height} x "
                f"{width}; pad the frames, or change channels, of which there is at least one"
            )
        if not 0 <= flip_probability < 1:
            raise ValueError(
                f"flip_probability: expected from 0 to below 1, got {flip_probability}; 0 leaves the input as it is"
            )
        if overlay not in get_args(Overlay):
            raise ValueError(
                f"overlay: expected one of {', '.join(get_args(Overlay))}, got {overlay!r}; take 'union', whose "
                "evidence the loss bounds"
            )
        self.frame_shape = frame_shape
        self.control_dim = 0
        self.num_slots = num_slots
        self.flip_probability = flip_probability
        self.evaluation_noise = evaluation_noise
        self.overlay = overlay
        self.encoder = SlotEncoder((height, width), channels, hidden)
        self.cell = RelationalCell(hidden, state_dim, attention_dim)
        self.decoder = SlotDecoder(state_dim, (height, width), channels, hidden)
        self.apply(glorot)

    @property
    def num_slots(self) -> int:
        """Number of slots, K; may be set to another number at any time."""
        return self._num_slots

    @num_slots.setter
    def num_slots(self, number: int) -> None:
        if number < 1:
            raise ValueError(f"num_slots: expected at least 1, got {number}; give one per object and one for the rest")
        self._num_slots = number

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Score one batch.

        Args:
            frames: (sequences, time, 1, height, width), zeros and ones; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.

        Returns:
            The logits of each frame given those before it, (sequences, time, 1, height, width).
        """
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        found = self._predict(frames, None if observed is None else seen)
        logits = self._overlaid(found.logits)
        law = dist.Bernoulli(logits=to_time_plate(logits, 3)).to_event(3)
        law = law if observed is None else law.mask(seen.T)
        composite = (found.assignments * found.logits.sigmoid()).sum(2, keepdim=True)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            pyro.deterministic("assignments", to_time_plate(found.assignments, 3), event_dim=3)
            pyro.deterministic("outputs", to_time_plate(found.outputs, 2), event_dim=2)
            pyro.deterministic("composite", to_time_plate(composite, 3), event_dim=3)
            pyro.sample("frames", law, obs=to_time_plate(frames, 3))
        return logits

    def expectation_loss(
        self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
    ) -> Float[Tensor, " sequences"]:
        """The paper's loss of each sequence, summed over seen frames, pixels and slots, in nats::

            sum_k sg[gamma_k] BCE(psi_k, v) + (1 - sg[gamma_k]) KL(Bernoulli(0) || Bernoulli(psi_k))

        with gamma after the E-step on the same frame, and no gradient through sg. At least the negative log evidence
        with overlay "union": where a pixel is off, they are equal; where it is on, the loss is the mean over gamma of
        -log P(on in slot k alone). The paper starts at the second frame; here the first is included.

        Args:
            frames: (sequences, time, 1, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.
        """
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        found = self._predict(frames, None if observed is None else seen)
        losses = F.softplus(found.logits) - found.assignments * frames * found.logits  # both terms, in logits
        return (losses.flatten(2).sum(2) * seen).sum(1)

    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The slots' shares of each pixel, as masks; those of the first frame are noise.

        Args:
            latents: `values` of the answer of a query, with `assignments` among them.

        Raises:
            ValueError: if `assignments` is not among them.
        """
        return Scene(masks=to_time_plate(_computed("assignments", latents), 3))

    @torch.no_grad()
    def decompose(self, latents: Mapping[str, Tensor]) -> Decomposition:
        """What each slot predicts, psi, and its share of each pixel once the frame is seen; the first are noise.

        Args:
            latents: `values` of the answer of a query, with `assignments` and `outputs` among them.

        Raises:
            ValueError: if either is not among them.
        """
        masks, outputs = (_computed(name, latents) for name in ("assignments", "outputs"))
        means = self.decoder(outputs.flatten(end_dim=-3)).sigmoid().reshape(*masks.shape[:-2], 1, *masks.shape[-2:])
        return Decomposition(means=to_time_plate(means, 4), masks=to_time_plate(masks, 3))

    def _predict(
        self,
        frames: Float[Tensor, "sequences time 1 height width"],
        observed: Bool[Tensor, "sequences time"] | None,
    ) -> Predictions:
        """Run through a video; frames are zero where they are missing."""
        noisy = self.training or self.evaluation_noise
        shape = (self.num_slots, *self.frame_shape[1:])
        start = frames.new_zeros(shape)
        assignments = normalised(
            torch.randn_like(start.expand(len(frames), *shape)) if noisy else fixed_normal(start)
        ).expand(len(frames), *shape)
        inputs = frames
        if noisy and self.flip_probability > 0:
            flipped = torch.rand_like(frames) < self.flip_probability
            inputs = torch.where(flipped, 1 - frames, frames)
        rest = frames.new_zeros(1, self.num_slots, self.cell.state_dim)
        black = self.cell(rest, self.encoder(start.unsqueeze(0))).output
        outputs = [black.expand(len(frames), -1, -1)]
        # equal in all slots, so an E-step would undo the noise
        logits = [self.decoder(black).expand(len(frames), *shape)]
        shares = [assignments]
        memory, means = rest.expand(len(frames), -1, -1), torch.zeros_like(assignments)
        for step in range(frames.shape[1] - 1):
            image = inputs[:, step]
            if observed is not None:
                expected = composed(logits[step].sigmoid(), shares[step])
                image = torch.where(observed[:, step, None, None, None], image, expected)
            memory, output = self.cell(memory, self.encoder(shares[step] * (image - means)))
            outputs.append(output)
            logits.append(self.decoder(output))
            means = logits[-1].sigmoid()
            target = frames[:, step + 1]
            if observed is not None:
                target = torch.where(observed[:, step + 1, None, None, None], target, binarised(means))
            shares.append(expectation_step(means, target))
        return Predictions(torch.stack(outputs, 1), torch.stack(logits, 1), torch.stack(shares, 1))

    def _overlaid(
        self, logits: Float[Tensor, "sequences time slots height width"]
    ) -> Float[Tensor, "sequences time 1 height width"]:
        """Logits of a frame that the slots make up."""
        off = F.logsigmoid(-logits)
        if self.overlay == "mixture":
            on = F.logsigmoid(logits).logsumexp(2, keepdim=True)
            return on - off.logsumexp(2, keepdim=True)
        # Log of the probability that the pixel is off in all slots; 0 in single precision if they are certain of it
        off = off.sum(2, keepdim=True).clamp(max=-CERTAIN)
        return torch.log(-torch.expm1(off)) - off


def _computed(name: str, values: Mapping[str, Tensor]) -> Tensor:
    """A value that the model computes; there are no latents to compute it from again."""
    if name not in values:
        raise ValueError(
            f"latents: expected {name!r}, got {', '.join(map(repr, values)) or 'none'}; this model has no latents to "
            "compute masks from, give it the values of a query's answer: reconstruct(...).values"
        )
    return values[name]
