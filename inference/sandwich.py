"""The log evidence between two bounds, for videos that the model itself drew."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from inference.annealing import Annealing, anneal, frozen, tuned_step_sizes
from inference.estimators.multi_sample import log_mean_exp
from inference.estimators.traces import Program, importance_traces, sample_sites
from inference.generators import seeded
from inference.simulation import FRAMES, simulated_trace
from inference.site_values import sequences_first
from inference.tempered_densities import TemperedDensities


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Stochastic bounds of the log evidence of each simulated video, nats.

    In expectation lower <= log p(x) <= upper, so the mean gap bounds how far either is from the truth, and so how far
    an estimate by the same annealing on real videos is likely to be, if the model fits them.

    Attributes:
        lower: (sequences,), from chains that go from the guide to the posterior.
        upper: (sequences,), from chains that go back from the posterior, at the latents behind the video.
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

    def __str__(self) -> str:
        def mean(values: Tensor) -> str:
            return f"{values.mean():.2f} ± {values.std() / len(values) ** 0.5:.2f}"

        return (
            f"{len(self.gap)} simulated videos, {self.num_particles} chains each way, nats per sequence: "
            f"lower {mean(self.lower)}, upper {mean(self.upper)}, gap {mean(self.gap)}"
        )


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

    A video that was simulated comes with one exact draw from its posterior: the latents behind it. Annealing from the
    guide underestimates the log evidence, annealing back from that draw overestimates it.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`, with an observed site `frames`; latents continuous
            or bits.
        guide: likewise, drawing the latents of the model and no others.
        frames: (sequences, time, ...); as many videos of this size are simulated. The values are not used.
        observed: bool (sequences, time), the masks of the simulated videos, or None.
        controls: (sequences, time, control), their controls, or None.
        num_particles: chains in each direction.
        annealing: how; None = the defaults of `Annealing`.
        seed: of the videos and the chains.

    Raises:
        ValueError: if the guide draws a site that the model has not, if a latent is neither continuous nor bits, and
            what `inference.simulation` and `inference.estimators.traces` raise.
    """
    annealing = Annealing() if annealing is None else annealing
    truth = {site["name"]: site for site in sample_sites(simulated_trace(model, frames, observed, controls, seed=seed))}
    videos = sequences_first(truth[FRAMES], None)[0][0]
    args = (videos, *(None if value is None else value.to(videos.device) for value in (observed, controls)))
    with frozen(model, guide), seeded("sandwich", seed):
        traces = importance_traces(model, guide, args, num_particles)
        densities = TemperedDensities(traces, model, guide, args)
        foreign = [name for name in densities.sites if name not in truth]
        if foreign:
            raise ValueError(
                f"guide: expected no latent sites but the model's, got {', '.join(map(repr, foreign))}: what lies "
                "behind a video would not be known of them"
            )
        exact = densities.exact({name: truth[name]["value"] for name in densities.sites})
        sizes = tuned_step_sizes(traces, model, guide, args, annealing)
        forwards, _ = anneal(densities, densities.start(), annealing, sizes)
        backwards, _ = anneal(densities, exact, annealing, sizes.flip(0), backwards=True)
    return Sandwich(log_mean_exp(forwards).cpu(), -log_mean_exp(backwards).cpu(), num_particles, videos)
