"""The guide of spatial mixtures: refined within each frame by gradients, and carried from frame to frame."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.gradient_modes import gradient_mode
from guides.guide_of import GuideOf
from guides.missing_frames import where_seen
from guides.spatio_temporal_refinement.auxiliary_inputs import images_of, vectors_of
from guides.spatio_temporal_refinement.noise import apart, noise_like
from guides.spatio_temporal_refinement.refinement_network import Memory, RefinementNetwork
from guides.spatio_temporal_refinement.slopes import DecodedFrame, decode_frame
from guides.spatio_temporal_refinement.terms import RefinementTerm, term_of
from guides.stepwise import StepwiseGuide
from pyro_models.components.markov_video import VideoContext
from pyro_models.spatio_temporal_mixture.model import SlotStates, SpatioTemporalMixture
from videos.typed import Count, PositiveOrZero, typed

LOG_VARIANCES = (-10.0, 5.0)  # of the guide
FEWEST_DECODES = 2  # of a frame
LARGEST_WEIGHT = 1e6  # beyond which its gradients leave float32
UNITS = 128  # of the cell, where the model has no memory
COMPLETION = ("prior", "start")
SCATTER = 0.3  # standard deviation of its mean at first
SCATTERED_LOG_VARIANCE = -4.0  # of the first distribution, where its mean has the noise
NARROW = 1e-3  # standard deviation of the first draw, where it stands for the latent

Start = Literal["constant", "prediction"]
Grid = Literal["triangle", "full"]
Gradients = Literal["first_order", "truncated", "implicit"]
Draw = Callable[[str, Any], Tensor]
"""Turns the name of a site and its distribution into a value."""


@dataclass(frozen=True)
class RefinedVideo:
    """A checked video; whether noise is fixed; and where terms are kept, if they are wanted."""

    video: VideoContext
    fixed_noise: bool
    terms: list[list[RefinementTerm]] | None = None


class RefinedSlots(NamedTuple):
    """After a frame: the model's state, and the noise of the first draw, which all frames share."""

    slots: SlotStates
    noise: Float[Tensor, "*batch slots sequences latent"]


class SpatioTemporalRefinementGuide(GuideOf[SpatioTemporalMixture], StepwiseGuide):
    """Every frame's slots start alike, and n_t times a network improves them, seeing the gradients of the bound::

        lambda_t1 = lambda_0 (constant), or the prior's given h_{t-1} (prediction);    z_tr ~ q(lambda_tr)
        L_tr = -log p(x_t | z_tr, h_{t-1}) + v KL(q(lambda_tr) || p(z_t | h_{t-1}))
        lambda_{t,r+1} = lambda_tr + f(images, lambda_tr, dL_tr / dlambda; h_{t-1}, refinement r - 1);   q(z_t) = last

    (Zablotskaia et al. 2020, eqs. 8 to 11). A frame is decoded n_t = max(R - t + 1, 2) times, t from 1, the last time
    at the latents that are drawn: later frames are predicted well and need less. Gradients with respect to pictures are
    in closed form, and one pass back through the decoder gives the rest. To training they are constants (Greff et al.
    2019).

    All slots share lambda_0, so only noise tells them apart. In the paper it is that of the first draw, which is drawn
    once for a sequence and reused in each frame: this keeps a slot with its object. With `scattered` it moves the mean
    of lambda_0 instead, as in slot attention (Locatello et al. 2020), and first draws are means: slots start apart, in
    orthogonal directions, while latents are as certain as they need to be. The noise is no latent, see `guides.aside`.
    In evaluation mode the noise of slot k and refinement r is fixed, the same for all sequences; so q is then a
    function of the video. Refinements from one start may leave an object out, or two to one slot. So with `starts`
    above 1, the first frame is inferred from each of so many in evaluation mode, and the guide goes on from the one
    with the highest bound at the means.

    Where a frame is missing, z_t has the prior's distribution. If the model's memory is the guide's, h_t is the state
    of f after a pass on the last decode (on the expected frame, with zero gradients, where it is missing). If slots
    have no memory, every frame is refined R - 1 times by itself: IODINE (Greff et al. 2019).

    Completion methods: "prior", missing frames by the prior's mean (or draws of it); "start", by the first draw, as
    the paper predicts (the same where slots are scattered and start from the prediction). Without memory also
    "sequential", which refines once in each frame, from one start, and goes on from there in the next; z_t is what is
    expected before frame t is seen (SEQ-IODINE of the paper).

    Args:
        model: the model served.
        refinements: R.
        start: see above; the first frame starts from lambda_0 in any case.
        grid: "triangle", as above, or "full": every frame is decoded R times.
        scattered: see above.
        starts: number of starts in evaluation mode, see above; may be changed after training.
        gradients: what training differentiates; values are the same. "first_order": everything but gradients.
            "truncated": inputs of a refinement are constants, and so is what earlier ones added; credit passes through
            the cell's state. "implicit": the last refinement of each frame alone; what earlier ones added, their states
            and their terms are constants, so that neither memory nor the time back grows with R (Chang, Griffiths and
            Levine 2022). The start of a frame and the memory of earlier frames are differentiated in any case.
        network: f; None = one that halves images, for this model.
        divergence_weight: v; a buffer, so that a stage of training can schedule it.

    Raises:
        ValueError: if R is below 2, there is no start, a word is unknown, or the network has another size than the
            model.
        TypeError: if the model is of another kind.
    """

    serves = SpatioTemporalMixture
    divergence_weight: Tensor

    @typed(left=("model",))
    def __init__(
        self,
        model: SpatioTemporalMixture,
        *,
        refinements: Count = 5,
        start: Start = "prediction",
        grid: Grid = "triangle",
        scattered: bool = True,
        starts: Count = 1,
        gradients: Gradients = "first_order",
        network: RefinementNetwork | None = None,
        divergence_weight: PositiveOrZero = 1.0,
    ) -> None:
        super().__init__(model)
        if refinements < FEWEST_DECODES:
            raise ValueError(f"refinements: expected at least {FEWEST_DECODES}, got {refinements}")
        for name, word, known in (("start", start, Start), ("grid", grid, Grid), ("gradients", gradients, Gradients)):
            if word not in get_args(known):
                raise ValueError(f"{name}: expected one of {', '.join(get_args(known))}, got {word!r}")
        if divergence_weight > LARGEST_WEIGHT:
            raise ValueError(f"divergence_weight: expected at most {LARGEST_WEIGHT:g}, got {divergence_weight}")
        units = model.units or UNITS
        network = RefinementNetwork(model.frame_shape, model.latent_dim, units) if network is None else network
        if (model.units or network.units, 2 * model.latent_dim) != (network.units, network.step.out_features):
            raise ValueError(
                f"network: expected units and latent_dim of the model, {model.units} and {model.latent_dim}, got "
                f"{network.units} and {network.step.out_features // 2}"
            )
        self.refinements = refinements
        self.starts = starts
        self.grid = grid if model.units else "full"
        self.completion_methods = COMPLETION if model.units else (*COMPLETION, "sequential")
        self.start = start if model.units else "constant"
        self.differentiated = gradient_mode(gradients)
        self.network = network
        self.register_buffer("divergence_weight", torch.tensor(divergence_weight))
        self.start_mean = nn.Parameter(torch.empty(model.latent_dim).uniform_(-0.5, 0.5))
        self.start_log_variance = nn.Parameter(torch.empty(model.latent_dim).uniform_(-0.5, 0.5))
        self.log_scatter = nn.Parameter(torch.full((model.latent_dim,), math.log(SCATTER))) if scattered else None
        if scattered:
            with torch.no_grad():
                self.start_log_variance += SCATTERED_LOG_VARIANCE

    def num_decodes(self, index: int) -> int:
        """n_t of the frame with this index, from 0."""
        return self.refinements if self.grid == "full" else max(self.refinements - index, FEWEST_DECODES)

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> RefinedVideo:
        """See `StepwiseGuide.prepare`."""
        return RefinedVideo(self.model.prepare(frames, observed, controls), fixed_noise=not self.training)

    def step(self, index: int, state: RefinedSlots | None, context: RefinedVideo) -> RefinedSlots:
        """See `StepwiseGuide.step`."""
        return self._advance(index, state, context, pyro.sample)

    def refinement_terms(
        self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
    ) -> list[list[RefinementTerm]]:
        """The terms of all frames and refinements, for a loss that uses them all: [frame][refinement], last ones last.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: None.
        """
        context = replace(self.prepare(frames, observed, controls), terms=[])
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            state = None
            for index in range(frames.shape[1]):
                state = self.step(index, state, context)
        assert context.terms is not None
        return context.terms

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "prior",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Latents of every step, by the guide where frames are seen and by the model's prior elsewhere.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: None.
            method: see above.
            num_samples: number of draws, or None for one path in which each step has its mean given the means before.

        Returns:
            A value (slots, sequences, size) for each site of the model; with draws (num_samples, 1, slots, ...).

        Raises:
            ValueError: if the method is unknown.
        """
        self.check_method(method)
        latents: dict[str, Tensor] = {}
        plates = (self.model.num_slots, frames.shape[0])

        def draw(name: str, distribution: Any) -> Tensor:
            if num_samples is None:
                latents[name] = distribution.mean
            else:
                latents[name] = distribution.expand((num_samples, 1, *plates)).sample()
            return latents[name]

        context, state = replace(self.prepare(frames, observed, controls), fixed_noise=True), None
        if method == "sequential":
            self._one_frame_after_another(context, draw)
            return latents
        for index in range(frames.shape[1]):
            state = self._advance(index, state, context, draw, first_draw=method == "start")
        return latents

    def _advance(
        self, index: int, state: RefinedSlots | None, context: RefinedVideo, draw: Draw, first_draw: bool = False
    ) -> RefinedSlots:
        """One frame; `draw` turns a name and a distribution into a value."""
        model, video = self.model, context.video
        frame, seen = video.frames[:, index], video.seen[:, index]
        before = model.remembered(None if state is None else state.slots, video)
        prior = model.prior(before[0])
        noise = self._first_noise(prior, before, context) if state is None else state.noise
        terms: list[RefinementTerm] | None = None if context.terms is None else []
        q, first, passed = self._refined(index, prior, noise, before, context, terms)
        absent = dist.Normal(first, torch.full_like(first, NARROW)).to_event(1) if first_draw else prior
        with model.slots():
            latent = draw(f"z_{index + 1}", where_seen(seen, q, absent))
        inferred, mixture = None, None
        if model.memory_is_inferred:
            decoded = self._decode(latent, before, frame, seen, context)
            mixture = decoded.mixture
            shown = torch.where(seen[:, None, None, None], frame, mixture.mean)
            _, passed = self._refine(decoded, latent, q, prior, shown, before, passed)
            with model.slots():
                inferred = draw(f"h_{index + 1}", dist.Delta(torch.cat(passed, -1), event_dim=1))
        if context.terms is not None and terms is not None:
            mixture = model.mixture(latent, before[0]) if mixture is None else mixture
            context.terms.append([*terms, term_of(mixture, frame, q, prior, seen)])
        return RefinedSlots(model.after(latent, *before, inferred), noise.expand_as(latent))

    def _refined(
        self,
        index: int,
        prior: dist.Independent,
        noise: Tensor,
        before: tuple[Tensor, Tensor],
        context: RefinedVideo,
        terms: list[RefinementTerm] | None,
    ) -> tuple[dist.Independent, Tensor, Memory]:
        """The distribution after the last refinement of a frame, the first draw, and the state of the cell."""
        frame, seen = context.video.frames[:, index], context.video.seen[:, index]
        q, first = self._start(index, prior, noise)
        nothing = before[0].new_zeros(*before[0].shape[:-1], self.network.units)
        passed: Memory = (nothing, nothing)
        start, last, recording = q, self.num_decodes(index) - 2, torch.is_grad_enabled()
        inputs, earlier_steps = self.differentiated.inputs, self.differentiated.earlier_steps
        for number in range(last + 1):
            with torch.set_grad_enabled(recording and (earlier_steps or number == last)):
                q = q if earlier_steps else _held(q, start)
                latent = first
                if number > 0:
                    latent = q.mean + q.stddev * noise_like(q.mean, number, context.fixed_noise)
                decoded = self._decode(latent, before, frame, seen, context)
                if terms is not None:
                    terms.append(term_of(decoded.mixture, frame, q, prior, seen))
                known = before if self.model.units else passed
                step, passed = self._refine(decoded, latent, q, prior, frame, known, passed)
                q = _moved(q if inputs else _held(q, start), step)
        return q, first, passed

    def _first_noise(self, prior: dist.Independent, before: tuple[Tensor, Tensor], context: RefinedVideo) -> Tensor:
        """The noise of the first draw; in evaluation mode the fixed one that leads to the highest bound."""
        fixed = context.fixed_noise
        best = self._spread(noise_like(prior.mean, 0, fixed))
        if not fixed or self.starts == 1:
            return best
        frame, seen = context.video.frames[:, 0], context.video.seen[:, 0]
        with torch.no_grad():
            lowest = None
            for start in range(self.starts):
                noise = self._spread(noise_like(prior.mean, 0, fixed, start))
                q, _, _ = self._refined(0, prior, noise, before, context, terms=None)
                term = term_of(self.model.mixture(q.mean, before[0]), frame, q, prior, seen)
                loss = term.negative_log_likelihood + term.divergence
                if lowest is None:
                    lowest = loss
                    continue
                best = torch.where((loss < lowest).unsqueeze(-2).unsqueeze(-1), noise, best)
                lowest = torch.minimum(loss, lowest)
        return best

    def _spread(self, noise: Tensor) -> Tensor:
        """The noise of the first draw: where slots are scattered, that of their starts."""
        return noise if self.log_scatter is None else apart(noise)

    def _one_frame_after_another(self, context: RefinedVideo, draw: Draw) -> None:
        """Refine once in each frame; `draw` gets the distribution that frames before it led to."""
        video = context.video
        before = self.model.remembered(None, video)
        prior = self.model.prior(before[0])
        noise = self._spread(noise_like(prior.mean, 0, fixed=True))
        q, first = self._start(0, prior, noise)
        nothing = before[0].new_zeros(*before[0].shape[:-1], self.network.units)
        passed: Memory = (nothing, nothing)
        for index in range(video.frames.shape[1]):
            frame, seen = video.frames[:, index], video.seen[:, index]
            latent = first if index == 0 else q.mean + q.stddev * noise_like(q.mean, index, fixed=True)
            draw(f"z_{index + 1}", dist.Normal(latent, torch.full_like(latent, NARROW)).to_event(1))
            decoded = decode_frame(self.model, latent, before[0], frame, seen)
            step, after = self._refine(decoded, latent, q, prior, frame, passed, passed)
            shown = seen[:, None]
            q = _moved(q, torch.where(shown, step, 0.0))
            passed = (torch.where(shown, after[0], passed[0]), torch.where(shown, after[1], passed[1]))

    def _start(
        self, index: int, prior: dist.Independent, noise: Float[Tensor, "*batch slots sequences latent"]
    ) -> tuple[dist.Independent, Tensor]:
        """The distribution before the first refinement of a frame, and the first draw."""
        q = prior
        if self.start == "constant" or index == 0:
            mean = self.start_mean.expand_as(prior.mean)
            if self.log_scatter is not None:
                mean = mean + self.log_scatter.exp() * noise
            q = dist.Normal(mean, (0.5 * self.start_log_variance).exp().expand_as(mean)).to_event(1)
        return q, q.mean if self.log_scatter is not None else q.mean + q.stddev * noise

    def _decode(
        self, latent: Tensor, before: Memory, frame: Tensor, seen: Tensor, context: RefinedVideo
    ) -> DecodedFrame:
        """A frame decoded for a refinement; with a graph if training differentiates what is made of it."""
        needed = self.differentiated.inputs or context.terms is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and needed):
            return decode_frame(self.model, latent, before[0], frame, seen)

    def _refine(
        self,
        decoded: DecodedFrame,
        latent: Tensor,
        q: dist.Independent,
        prior: dist.Independent,
        frame: Tensor,
        before: Memory,
        passed: Memory,
    ) -> tuple[Tensor, Memory]:
        """The next step of q's parameters, and the state of the cell."""
        q = q.expand(decoded.latent.shape[:-1])  # under particles, a last pass has more of them than q
        with torch.no_grad():
            weight, pull = self.divergence_weight, (q.mean - prior.mean) / prior.variance
            by_mean = decoded.latent + weight * pull
            by_log_variance = 0.5 * (decoded.latent * (latent - q.mean) + weight * (q.variance / prior.variance - 1))
            slope = torch.cat([by_mean, by_log_variance], -1)
        network = self.network
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.differentiated.inputs):
            vectors = vectors_of(q.mean, 2 * q.stddev.log(), slope, norms=network.norms)
            images = images_of(decoded.mixture, frame, decoded.pictures, leave_one_out=network.leave_one_out)
        return network(images, vectors, before, passed)


def _held(q: dist.Independent, start: dist.Independent) -> dist.Independent:
    """The same distribution, where what was added to the start is a constant to training."""
    # what is added is 0, and the factor is 1: they are there for their gradients
    mean = q.mean.detach() + (start.mean - start.mean.detach())
    return dist.Normal(mean, q.stddev.detach() * (start.stddev / start.stddev.detach())).to_event(1)


def _moved(q: dist.Independent, step: Tensor) -> dist.Independent:
    """The distribution with means and log variances moved."""
    mean, log_variance = step.chunk(2, -1)
    log_variance = (2 * q.stddev.log() + log_variance).clamp(*LOG_VARIANCES)
    return dist.Normal(q.mean + mean, (0.5 * log_variance).exp()).to_event(1)
