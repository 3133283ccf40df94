"""A particle filter over any model and guide that can be run one step at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inference.estimators.multi_sample import log_mean_exp
from inference.estimators.resampling import RESAMPLING, select_particles
from inference.estimators.twists import Twist, state_features
from inference.estimators.vimco import leave_one_out_bounds
from inference.programs.trace_checks import SEQUENCES
from inference.programs.traces import ImportanceTraces, Program, check_particles_fit, find_particle_dim, run_traces


@dataclass(frozen=True)
class Resampling:
    """When and how particles are replaced by copies of the better ones.

    Attributes:
        scheme: "systematic" or "multinomial".
        threshold: between two steps, a sequence resamples if its effective sample size is below this share of the
            particles; 0 never, above 1 always.
    """

    scheme: str = "systematic"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.scheme not in RESAMPLING:
            raise ValueError(f"scheme: expected one of {', '.join(map(repr, RESAMPLING))}, got {self.scheme!r}")
        if not self.threshold >= 0:
            raise ValueError(f"threshold: expected at least 0, got {self.threshold}")


@dataclass(frozen=True, eq=False)
class FilterResult:
    """What a particle filter leaves behind.

    Attributes:
        log_evidence: (sequences,), log of an unbiased estimate of p(x), in nats, with gradients along the draws.
        choices: (sequences,), a number whose gradient is that of choices which cannot be reparameterised, see `FIVO`;
            its value does not matter.
        effective_sample_size: (time, sequences), before resampling.
        resampled: (time, sequences), which sequences resampled after which step; never after the last.
        ancestors: (time - 1, particles, sequences), the particle of step t from which each of step t + 1 went on.
        score_sites: names of latent sites whose draws carry no gradient.
    """

    log_evidence: Float[Tensor, " sequences"]
    choices: Float[Tensor, " sequences"]
    effective_sample_size: Float[Tensor, "time sequences"]
    resampled: Bool[Tensor, "time sequences"]
    ancestors: Int[Tensor, "moves particles sequences"]
    score_sites: tuple[str, ...]


class FilterStep(NamedTuple):
    """What a filter shows of one step before it resamples.

    Attributes:
        traces: draws of the step's latents and the density of its frame.
        states: of model and guide after the step.
        increments: log weights of this step, without a twist.
        log_shares: logarithms of normalised weights since a sequence last resampled, with the twist.
    """

    traces: ImportanceTraces
    states: tuple[Any, Any]
    increments: Float[Tensor, "particles sequences"]
    log_shares: Float[Tensor, "particles sequences"]


STEPS = {"model": ("prepare", "step", "emit"), "guide": ("prepare", "step")}


def has_steps(model: Program, guide: Program) -> bool:
    """Whether both programs have the methods of `StepwiseModel` and `StepwiseGuide`, and can use them."""
    programs = {"model": model, "guide": guide}
    return all(not _missing(name, one) and getattr(one, "runs_stepwise", True) for name, one in programs.items())


def check_stepwise(model: Program, guide: Program) -> None:
    """Refuse programs without steps.

    Raises:
        ValueError: if a method of `StepwiseModel` or `StepwiseGuide` is missing.
    """
    for name, program in (("model", model), ("guide", guide)):
        if missing := _missing(name, program):
            raise ValueError(
                f"{name}: expected one that can be run step by step, {type(program).__name__} has no method "
                f"{', '.join(missing)}; see pyro_models.components.stepwise and guides.stepwise"
            )


def _missing(name: str, program: Program) -> list[str]:
    return [method for method in STEPS[name] if not callable(getattr(program, method, None))]


def follows_model_state(guide: Any) -> bool:
    """Whether a guide's steps are given the model's state, from which they compute what the model expects."""
    return getattr(guide, "follows_model_state", False)


@dataclass(frozen=True, eq=False)
class ParticleFilter:
    """Particles that take the steps of model and guide, resampled between them (Doucet and Johansen 2009, section 4).

    With a the log weights gathered since a sequence last resampled: where it resamples, log 1/K sum_k exp a_k joins its
    log evidence and a = 0; after the last step it always does.

    Attributes:
        num_particles: K, at least 1.
        resampling: when and how.
        twist: weighs particles by the density of later frames, without gradients; unused with a single particle.
        conditional: the first particle always survives, as in a conditional filter (Andrieu, Doucet and Holenstein
            2010), and the others are drawn multinomially; see `RetainedDraws`.
        particle_dim: what `find_particle_dim` returns for the pair; None = find it.
    """

    num_particles: int
    resampling: Resampling
    twist: Twist | None = None
    conditional: bool = False
    particle_dim: int | None = None

    def run(
        self,
        model: Any,
        guide: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None,
        watch: Callable[[FilterStep], None] | None = None,
    ) -> FilterResult:
        """Run the filter once.

        Args:
            model: a `StepwiseModel`.
            guide: a `StepwiseGuide`.
            args: frames first, and the other arguments of both.
            kwargs: keyword arguments of both.
            watch: called after each step.

        Raises:
            ValueError: if model or guide has no steps, and what `inference.programs.traces` raises.
        """
        check_stepwise(model, guide)
        kwargs = dict(kwargs or {})
        check_particles_fit(self.num_particles, args[0])
        num_particles, resampling, particle_dim = self.num_particles, self.resampling, self.particle_dim
        if num_particles == 1:
            particle_dim = None
        elif particle_dim is None:
            particle_dim = find_particle_dim(model, guide, args, kwargs)
        with model._pyro_context, guide._pyro_context:  # as calls have it: parameters are seen by Pyro's own SVI
            contexts = model.prepare(*args, **kwargs), guide.prepare(*args, **kwargs)
        num_sequences, num_steps = args[0].shape[:2]
        states: tuple[Any, Any] = (None, None)
        ahead = args[0].new_zeros(())
        total = weights = choices = scores = args[0].new_zeros(())
        sizes, resampled, moves, scored = [], [], [], {}
        identity = torch.arange(num_particles, device=args[0].device)[:, None].expand(-1, num_sequences)
        draw = RESAMPLING["multinomial" if self.conditional else resampling.scheme]
        learns = torch.is_grad_enabled() and num_particles > 1
        for index in range(num_steps):
            traces, states = filter_step(
                model, guide, index, states, contexts, num_sequences, num_particles, particle_dim
            )
            increments = traces.log_weights()
            weights = weights + increments
            if self.twist is not None and particle_dim is not None:
                known, ahead = ahead, torch.zeros_like(increments)
                if index < num_steps - 1:
                    features = state_features(states[0], particle_dim, increments)
                    ahead = self.twist.steps[index].log_values(features)
                weights = weights + (ahead - known)
            scored |= dict.fromkeys(traces.score_sites())
            if learns and scored:
                scores = scores + traces.log_scores()
            shares = weights.detach().softmax(0)
            if watch is not None:
                watch(FilterStep(traces, states, increments.detach(), weights.detach().log_softmax(0)))
            sizes.append(1 / shares.square().sum(0))
            again = sizes[-1] < resampling.threshold * num_particles
            if index == num_steps - 1 or particle_dim is None:
                resampled.append(torch.zeros_like(again))
                if index < num_steps - 1:
                    moves.append(identity)
                continue
            resampled.append(again)
            if resampling.threshold == 0:
                moves.append(identity)
                continue
            ancestors = torch.where(again, draw(shares), identity)
            if self.conditional:
                ancestors = torch.cat([identity[:1], ancestors[1:]])
            moves.append(ancestors)
            states = tuple(select_particles(state, ancestors, -particle_dim) for state in states)
            ahead = ahead.gather(0, ancestors) if ahead.dim() else ahead
            total = total + torch.where(again, log_mean_exp(weights), 0.0)
            if learns and scored:
                choices = choices + torch.where(again, _credit(weights, scores), 0.0)
                scores = torch.where(again, 0.0, scores)
            weights = torch.where(again, 0.0, weights)
        if learns and scored:
            choices = choices + _credit(weights, scores)
        evidence = total + log_mean_exp(weights)
        return FilterResult(
            evidence,
            choices.expand_as(evidence),
            torch.stack(sizes),
            torch.stack(resampled),
            torch.stack(moves) if moves else identity.new_zeros(0, num_particles, num_sequences),
            tuple(scored),
        )


def _credit(weights: Tensor, scores: Tensor) -> Tensor:
    """VIMCO's judgement of the choices since a sequence last resampled."""
    weights = weights.detach()
    return ((log_mean_exp(weights) - leave_one_out_bounds(weights)) * scores).sum(0)


def filter_step(
    model: Any,
    guide: Any,
    index: int,
    states: tuple[Any, Any],
    contexts: tuple[Any, Any],
    num_sequences: int,
    num_particles: int,
    particle_dim: int | None,
) -> tuple[ImportanceTraces, tuple[Any, Any]]:
    """Draw a step's latents and score its frame; also the states after it."""
    after: dict[str, Any] = {}

    def model_step() -> None:
        with model._pyro_context, pyro.plate(SEQUENCES, num_sequences, dim=-1):
            after["model"] = model.step(index, states[0], contexts[0])
            model.emit([after["model"]], contexts[0], index)

    def guide_step() -> None:
        with guide._pyro_context, pyro.plate(SEQUENCES, num_sequences, dim=-1):
            after["guide"] = guide.step(index, states[0 if follows_model_state(guide) else 1], contexts[1])

    traces = run_traces(model_step, guide_step, (), num_particles, {}, particle_dim)
    return traces, (after["model"], after["guide"])
