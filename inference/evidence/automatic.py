"""Evidence by the best available method, with more draws until estimates agree, and a verdict in words."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from guides.incomplete_models import need_of_guide
from inference.annealing.smc import SMC
from inference.estimators.fivo import FIVO
from inference.estimators.particle_filter import has_steps
from inference.evidence.bracket import bracket
from inference.evidence.chunks import chunk_of, device_of
from inference.evidence.importance import evidence_by_draws
from inference.evidence.pilot import Pilot
from inference.evidence.record import Evidence, summaries
from inference.evidence.room import ELEMENTS_AT_ONCE, elements_of_a_draw
from inference.evidence.settings import DrawSettings, Method
from inference.evidence.verdict import Verdict
from inference.programs.traces import Program
from inference.runtime.generators import child_seed
from inference.runtime.numbers import check_count, check_positive
from videos.typed import typed_fields

REPEATS = 8
RUNGS = (32, 128, 512, 2048, 8192)  # particles of each repeat
USUAL = 2048  # particles of the last rung, unless the budget allows more
PILOT_PARTICLES = 128  # at most
FIRST_ROUNDS = 3  # of pilots on the first rung
BRACKETED_AT_ONCE = 8  # sequences
WIDEST = 1.0  # nats per sequence; the widest bracket that certifies
DRAWS_AT_ONCE = 2048  # particles of all repeats and sequences that run together
QUIET = 0.5  # nats; spread of repeats below which the bias of their mean, spread^2 / 2 R, is below 0.02
HOPELESS = 20.0  # nats; four times the particles cannot reconcile repeats that differ by more
SLACK = 0.05  # nats; allowed difference between rungs beyond their standard errors
SAMPLERS = SMC(32), SMC(64, target_ess=0.97)
SAMPLERS_COST = 8.0  # cost of both, relative to the first
IMPORTANCE, FILTERS = "importance sampling", "particle filters"


@dataclass(frozen=True)
@typed_fields
class Budget:
    """How much `log_evidence(method="auto")` may spend: give it as the method, `log_evidence(method=Budget(...))`.

    Attributes:
        seconds: time limit from the start; None = none. A rung is skipped if, judging by the time of the one before
            it, it would end later than this. With a limit the result depends on the machine.
        particles: maximum number of particles per repeat.
        tolerance: error of the mean, nats per sequence, up to which the verdict is "converged".
        populations: run annealed SMC (`SMC`) on videos whose estimates have not converged; some hundred times more
            expensive per particle; for continuous or binary latents.
        certify: also bracket the evidence of videos near the given ones from both sides (`bracket`), which takes a few
            times longer. The verdict is "certified" if estimates have converged and the bracket is at most a nat wide.
    """

    seconds: float | None = None
    particles: int = USUAL
    tolerance: float = 0.1
    populations: bool = False
    certify: bool = False

    def __post_init__(self) -> None:
        if self.seconds is not None:
            check_positive("seconds", self.seconds)
        check_count("particles", self.particles, RUNGS[0])
        check_positive("tolerance", self.tolerance)


@dataclass
class _Climb:
    """Estimates of each sequence so far."""

    estimates: Float[Tensor, "repeats sequences"]
    method: str
    rung: int
    change: Float[Tensor, " sequences"]
    settled: Tensor
    tried_again: Tensor

    @property
    def impossible(self) -> Tensor:
        """Sequences for which some repeat has only draws of probability 0."""
        return ~self.estimates.isfinite().all(0)

    @property
    def worth_more(self) -> Tensor:
        """Sequences that another rung may settle."""
        return ~self.settled & ((self.estimates.std(0) <= HOPELESS) | self.impossible)


def evidence_by_rungs(
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    budget: Budget,
    settings: DrawSettings,
) -> Evidence:
    """The best method that model and guide support, with more draws until estimates agree; see `log_evidence`.

    Methods are particle filters with pilots, for models and guides with steps, and importance sampling. The first rung
    tries each; the one with the highest single repeats is kept, since all are lower bounds in expectation. Each rung
    has eight repeats with independent draws, and four times the particles of the rung before. A video has settled when
    the repeats of its last rung differ by less than half a nat (one standard deviation), the last two rungs agree
    within their errors, and its error is small enough for the mean over videos; only the others take the next rung. If
    the budget says so, annealed SMC (`SMC`) then runs on the videos that have not settled, with two settings that must
    agree. Standard errors are over repeats.

    Returns:
        A record whose log weights are the repeats, (8, sequences), and whose `verdict` says what was done. `elbo` and
        its parts are over the guide's draws in the first rung.
    """
    began = time.monotonic()
    methods = _methods(model, guide)
    records = {
        name: run(RUNGS[0], args, _with_stream(settings, f"first rung, {name}")) for name, run in methods.items()
    }
    some = next(iter(records.values()))
    if some.verdict is not None and some.verdict.kind == "exact":
        return some
    singles = {name: _repeats(record).mean().item() for name, record in records.items()}
    method = max(records, key=lambda name: _height(_repeats(records[name])))
    estimates = _repeats(records[method])
    none = torch.zeros(estimates.shape[1], dtype=torch.bool)
    climb = _Climb(estimates, method, 0, torch.full_like(estimates[0], math.inf), none, none.clone())
    spent = time.monotonic() - began
    for rung, particles in enumerate(RUNGS[1:], 1):
        late = budget.seconds is not None and time.monotonic() - began + 4 * spent > budget.seconds
        if not bool(climb.worth_more.any()) or particles > budget.particles or settings.processes.any(late):
            break
        start = time.monotonic()
        _go_up(climb, rung, methods[method], args, budget.tolerance, _with_stream(settings, "rungs", rung))
        spent = time.monotonic() - start
    note = ""
    if budget.populations and not bool(climb.settled.all()):
        left = None if budget.seconds is None else budget.seconds - (time.monotonic() - began)
        note = _anneal_rest(climb, model, guide, args, budget.tolerance, left, _with_stream(settings, "populations"))
    record = _record(climb, some, singles, budget, note)
    if not budget.certify:
        return record
    return _certified(record, climb, model, guide, args, settings.seed)


def _certified(
    record: Evidence, climb: _Climb, model: Program, guide: Program, args: tuple[Tensor | None, ...], seed: int
) -> Evidence:
    """Add a bracket to the record."""
    verdict = record.verdict
    assert verdict is not None
    needs = need_of_guide(model) is not None
    if needs or climb.method != FILTERS:
        why = "the model cannot draw videos without its guide" if needs else "it needs filters"
        return replace(record, verdict=replace(verdict, words=f"{verdict.words}; no bracket, since {why}"))
    device = device_of(model, guide)
    found = []
    for start in range(0, climb.estimates.shape[1], BRACKETED_AT_ONCE):
        some = chunk_of(args, slice(start, start + BRACKETED_AT_ONCE), device)
        found.append(bracket(model, guide, *some, seed=child_seed("bracket", seed, start)).width)
    widths = torch.cat(found)
    error = widths.std().item() / len(widths) ** 0.5 if len(widths) > 1 else math.inf
    width = widths.mean().item() + 2 * error
    words = f"{verdict.words}; on {len(widths)} videos near these the bracket is {widths.mean().item():.2f} nats wide"
    if verdict.kind == "converged" and width <= WIDEST:
        verdict = Verdict("certified", words, max(width, verdict.width or 0.0))
    return replace(record, verdict=replace(verdict, words=words), bracket_width=width)


def _with_stream(settings: DrawSettings, purpose: str, *numbers: int) -> DrawSettings:
    """The settings with a random stream for one purpose."""
    return replace(settings, seed=child_seed(purpose, settings.seed, *numbers))


Run = Callable[[int, tuple[Tensor | None, ...], DrawSettings], Evidence]


def _methods(model: Program, guide: Program) -> dict[str, Run]:
    def importance(particles: int, args: Any, settings: DrawSettings) -> Evidence:
        settings = replace(settings, **_chunks(args[0], None, particles, 1))
        return evidence_by_draws(model, guide, args, None, REPEATS * particles, settings)

    def filters(particles: int, args: Any, settings: DrawSettings) -> Evidence:
        method = FIVO(particles)
        settings = replace(settings, pilot=_pilot(particles), **_chunks(args[0], method, REPEATS, particles))
        return evidence_by_draws(model, guide, args, method, REPEATS, settings)

    return {IMPORTANCE: importance} | ({FILTERS: filters} if has_steps(model, guide) else {})


def _pilot(particles: int) -> Pilot:
    """More pilots on higher rungs, where only the videos with a poor guide remain."""
    number = min(particles, PILOT_PARTICLES)
    return Pilot(number, FIRST_ROUNDS * 2 ** RUNGS.index(particles), looks_ahead=number == PILOT_PARTICLES)


def _chunks(frames: Tensor, method: Method, draws: int, particles: int) -> dict[str, int]:
    """Chunk sizes with at most `DRAWS_AT_ONCE` particles, from one or several repeats, fewer where frames are large."""
    room = ELEMENTS_AT_ONCE * particles // elements_of_a_draw(frames, method)
    at_once = max(1, min(DRAWS_AT_ONCE, room))
    sequences = max(1, min(frames.shape[0], at_once // particles))
    return {
        "sequences_per_chunk": sequences,
        "particles_per_chunk": max(1, min(draws, at_once // (particles * sequences))),
    }


def _repeats(record: Evidence) -> Float[Tensor, "repeats sequences"]:
    """Log estimates of the eight repeats."""
    grouped = record.log_weights.unflatten(0, (REPEATS, -1))
    return grouped.logsumexp(1) - math.log(grouped.shape[1])


def _height(estimates: Float[Tensor, "repeats sequences"]) -> tuple[int, float]:
    """Sort key of a method: the number of finite repeats, then their mean in nats."""
    possible = estimates[estimates.isfinite()]
    return len(possible), possible.mean().item() if len(possible) else -math.inf


def _go_up(
    climb: _Climb,
    rung: int,
    run: Run,
    args: tuple[Tensor | None, ...],
    tolerance: float,
    settings: DrawSettings,
) -> None:
    """Run one rung for the sequences that have not settled."""
    rows = climb.worth_more.nonzero()[:, 0]
    chosen = tuple(None if value is None else value[rows.to(value.device)] for value in args)
    estimates = _repeats(run(RUNGS[rung], chosen, settings))
    settled, change = _agreement(climb.estimates[:, rows], estimates, tolerance, len(climb.settled))
    climb.estimates[:, rows] = estimates
    climb.change[rows], climb.settled[rows], climb.tried_again[rows] = change, settled, True
    climb.rung = rung


def _anneal_rest(
    climb: _Climb,
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    tolerance: float,
    seconds: float | None,
    settings: DrawSettings,
) -> str:
    """Run annealed SMC on unsettled sequences and keep its estimates where they are higher. Returns a note in words."""
    rows = (~climb.settled).nonzero()[:, 0]
    settings = replace(settings, sequences_per_chunk=1, particles_per_chunk=REPEATS)

    def run(sampler: SMC, rows: Tensor) -> Tensor:
        chosen = tuple(None if value is None else value[rows.to(value.device)] for value in args)
        return evidence_by_draws(model, guide, chosen, sampler, REPEATS, settings).log_weights

    start = time.monotonic()
    try:
        run(SAMPLERS[0], rows[:1])
    except ValueError as error:
        return f"no annealing, since {error}"
    if seconds is not None and SAMPLERS_COST * len(rows) * (time.monotonic() - start) > seconds:
        return "no time left to anneal the others"
    first, second = (run(sampler, rows) for sampler in SAMPLERS)
    higher = second.mean(0) >= climb.estimates[:, rows].mean(0)
    settled, change = _agreement(first, second, tolerance, len(climb.settled))
    taken = rows[higher]
    climb.estimates[:, taken] = second[:, higher]
    climb.change[taken], climb.settled[taken], climb.tried_again[taken] = change[higher], settled[higher], True
    return f"{int(higher.sum())} of the other {len(rows)} by populations of {SAMPLERS[1].num_particles} annealed chains"


def _agreement(
    before: Float[Tensor, "repeats sequences"],
    now: Float[Tensor, "repeats sequences"],
    tolerance: float,
    count: int,
) -> tuple[Tensor, Tensor]:
    """Mask of sequences that have settled between two rungs, and by how much their estimates changed."""
    old, new = summaries(before), summaries(now)
    change = (new["log_evidence"] - old["log_evidence"]).abs()
    error = (new["standard_error"].square() + old["standard_error"].square()).sqrt()
    precise = new["standard_error"] <= tolerance * count**0.5 / 4  # twice that of the mean: half of the tolerance
    return (now.std(0) <= QUIET) & (change <= 2 * error + SLACK) & precise, change


def _record(climb: _Climb, some: Evidence, singles: dict[str, float], budget: Budget, note: str) -> Evidence:
    known = summaries(climb.estimates)
    return replace(
        some,
        log_weights=climb.estimates,
        **(known | {"elbo": some.elbo}),
        filtering=FIVO(RUNGS[climb.rung]) if climb.method == FILTERS else None,
        pilot=_pilot(RUNGS[climb.rung]) if climb.method == FILTERS else None,
        verdict=_verdict(climb, known, singles, budget, note),
    )


def _verdict(climb: _Climb, known: dict[str, Any], singles: dict[str, float], budget: Budget, note: str) -> Verdict:
    count = len(climb.settled)
    variance = climb.estimates.var(0)
    bias = (variance / (2 * REPEATS)).clamp_max(climb.change.nan_to_num(posinf=math.inf))
    doubtful = torch.where(climb.settled, bias, torch.maximum(climb.change, bias))
    width = doubtful.mean().item() + 2 * known["standard_error"].square().sum().sqrt().item() / count
    words = list(_words(climb, singles, count, note))
    if width <= budget.tolerance:
        return Verdict("converged", f"{'; '.join(words)}; the mean is off by at most about {width:.2g} nats", width)
    if once := int((~climb.tried_again).sum()):
        some = "" if once == count else f" for {once} of {count} videos"
        return Verdict("lower bound", "; ".join([*words, f"one rung only{some}"]))
    if math.isfinite(width):
        words.append(f"the mean may still rise by {width:.2g} nats or more")
    return Verdict("lower bound", "; ".join(words))


def _words(climb: _Climb, singles: dict[str, float], count: int, note: str) -> Iterator[str]:
    yield f"{climb.method}, {REPEATS} repeats of up to {RUNGS[climb.rung]} particles"
    for name, single in singles.items():
        if name != climb.method:
            lower = singles[climb.method] - single
            yield f"{name} with {RUNGS[0]} " + (
                f"lies {lower:.1f} nats lower"
                if math.isfinite(lower)
                else "has only draws of probability 0 in some videos"
            )
    if note:
        yield note
    if hopeless := int((climb.estimates.std(0) > HOPELESS).sum()):
        yield f"in {hopeless} videos repeats differ by more than {HOPELESS:g} nats, which more particles would not mend"
    if impossible := int(climb.impossible.sum()):
        yield f"in {impossible} videos some repeats have only draws of probability 0"
    settled = int(climb.settled.sum())
    yield f"estimates of {'all' if settled == count else settled} of {count} videos settled"
