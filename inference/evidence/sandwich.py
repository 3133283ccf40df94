"""Lower and upper bounds of the log evidence of videos simulated from the model."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from inference.annealing.densities import TemperedDensities
from inference.annealing.walks import Annealing, anneal, frozen, tuned_paces
from inference.estimators.multi_sample import log_mean_exp
from inference.programs.simulation import FRAMES, check_frames_alone, simulated_trace
from inference.programs.site_values import sequences_first
from inference.programs.traces import Program, importance_traces, sample_sites
from inference.runtime.generators import seeded
from inference.runtime.numbers import check_count
from videos.typed import check_kind

LEVEL = 0.95  # of the limits that are printed


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Stochastic bounds of the log evidence of each simulated video, nats.

    In expectation lower <= log p(x) <= upper, so the mean gap bounds the error of either, and suggests the error of an
    estimate by the same annealing on real videos, if the model fits them. For a single video each bound is noisy: the
    truth may lie outside, and lower above upper. `limits` and `mean_limits` hold at a stated level.

    They require only E[exp(lower)] = p(x) and E[exp(-upper)] = 1 / p(x), which holds for any annealing (Grosse,
    Ghahramani and Adams 2015, section 4). By Markov's inequality

        P(lower > log p(x) + log 1/a) <= a,   P(upper < log p(x) - log 1/a) <= a,

    and since the videos are independent, the same holds for products over n of them:

        P(mean lower > mean log p(x) + 1/n log 1/a) <= a,   and the same for the mean of the upper bounds.

    Attributes:
        lower: (sequences,), from chains annealed from the guide to the posterior.
        upper: (sequences,), from reverse chains that start at the true latents, a draw from the posterior.
        num_particles: chains in each direction.
        frames: the videos.
    """

    lower: Float[Tensor, " sequences"]
    upper: Float[Tensor, " sequences"]
    num_particles: int
    frames: Tensor

    @property
    def gap(self) -> Float[Tensor, " sequences"]:
        """Upper minus lower."""
        return self.upper - self.lower

    def limits(self, level: float = LEVEL) -> tuple[Float[Tensor, " sequences"], Float[Tensor, " sequences"]]:
        """Limits between which the log evidence of a video lies with at least this probability, nats.

        They hold for each video separately, not simultaneously: of many videos, a share of 1 - level may lie outside.

        Args:
            level: between 0 and 1, for both sides together; either side fails with probability (1 - level) / 2.

        Raises:
            ValueError: if the level is not between 0 and 1.
        """
        slack = _slack(level)
        return self.lower - slack, self.upper + slack

    def mean_limits(self, level: float = LEVEL) -> tuple[float, float]:
        """Limits between which the mean log evidence of these videos lies with at least this probability, nats.

        With n videos they are 1/n log(2 / (1 - level)) outside the means of the two bounds.

        Args:
            level: between 0 and 1, for both sides together.

        Raises:
            ValueError: if the level is not between 0 and 1.
        """
        slack = _slack(level) / len(self.gap)
        return self.lower.mean().item() - slack, self.upper.mean().item() + slack

    def __str__(self) -> str:
        def mean(values: Tensor) -> str:
            return f"{values.mean():.2f} ± {values.std() / len(values) ** 0.5:.2f}"

        low, high = self.mean_limits()
        return (
            f"{len(self.gap)} simulated videos, {self.num_particles} chains each way, nats per sequence: "
            f"lower {mean(self.lower)}, upper {mean(self.upper)}, gap {mean(self.gap)}; the mean log evidence of these "
            f"videos lies between {low:.2f} and {high:.2f} ({LEVEL:.0%} confidence), that of one video at most "
            f"{_slack(LEVEL):.1f} outside its own bounds ({LEVEL:.0%} each)"
        )


def _slack(level: float) -> float:
    """Log 1/a in Markov's inequality, with a = (1 - level) / 2 for each side."""
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability between 0 and 1, such as 0.95, got {level}")
    return math.log(2 / (1 - level))


def sandwich(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    num_particles: int = 16,
    annealing: Annealing | None = None,
    seed: int = 0,
) -> Sandwich:
    """Bracket the log evidence from both sides by bidirectional Monte Carlo (Grosse, Ghahramani and Adams 2015).

    A simulated video comes with one exact draw from its posterior: its true latents. Annealing from the guide
    underestimates the log evidence; reverse annealing from that draw overestimates it.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`, with one observed site, `frames`; latents
            continuous or binary.
        guide: called with the same arguments; draws the latents of the model and no others.
        frames: (sequences, time, ...); gives number and size of the simulated videos. The values are not used.
        observed: bool (sequences, time), the masks of the simulated videos, or None.
        controls: (sequences, time, control), their controls, or None.
        num_particles: chains in each direction.
        annealing: annealing settings; None = the defaults of `Annealing`.
        seed: seed of the videos and the chains.

    Raises:
        TypeError: if `num_particles` is no whole number, or `annealing` no `Annealing`.
        ValueError: if it is not positive, or the model observes anything but `frames`; also what
            `inference.programs.simulation`, `inference.programs.traces` and `TemperedDensities` raise.
    """
    check_kind("annealing", annealing, Annealing | None)
    annealing = Annealing() if annealing is None else annealing
    check_count("num_particles", num_particles)
    trace = simulated_trace(model, frames, observed, controls, seed=seed)
    check_frames_alone(trace)
    truth = sample_sites(trace)
    videos = sequences_first(truth[FRAMES], None)[0][0]
    args = (videos, *(None if value is None else value.to(videos.device) for value in (observed, controls)))
    with frozen(model, guide), seeded("sandwich", seed):
        traces = importance_traces(model, guide, args, num_particles)
        densities = TemperedDensities(traces, model, guide, args)
        exact = densities.exact({name: site["value"] for name, site in truth.items()})
        paces = tuned_paces(traces, model, guide, args, annealing)
        forwards, _ = anneal(densities, densities.start(), annealing, paces)
        backwards, _ = anneal(densities, exact, annealing, paces, backwards=True)
    return Sandwich(log_mean_exp(forwards).cpu(), -log_mean_exp(backwards).cpu(), num_particles, videos)
