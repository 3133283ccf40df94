"""The ELBO of a model whose continuous count switches objects on, with the gradient of switching."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.distributions import kl_divergence

from inference.estimators.multi_sample import MultiSampleELBO
from inference.programs.traces import ImportanceTraces, Program, sample_sites
from videos.typed import typed


class CountBoundary(MultiSampleELBO):
    """The ELBO, with the gradient that masks of objects miss.

        L = E[log p(x, z) - log q(z)],   latents of object i masked unless c > c_i

    When the count c crosses c_i from below, the whole KL_i of one more object joins the bound. The mask has no
    gradient, so along the paths of draws the count never feels that price. The missing term, for objects 2 to N, is

        - sum_i KL_i d P(c > c_i),      P from q(c), KL_i as if the object were in play

    The value of the bound is that of `pyro.infer.Trace_ELBO`. The gradient is unbiased if KL_i does not depend on c,
    and for one particle only: weights of several particles would have to weigh the term. KL_i is the sum over the
    latent sites in the plate of objects, in closed form given the draws before each.

        CountBoundary(model.scenes.count_thresholds())            for a DisentangledStateSpaceModel

    Args:
        thresholds: c_2, ..., c_N, in increasing order; none for a single object, which is always in play.
        count: name of the site of c. Its distribution under the guide has a `cdf`.
        plate: name of the plate of objects.
        num_particles: 1.

    Raises:
        ValueError: if there is more than one particle, or thresholds do not increase; in a run, if the guide has no
            such site or no latent site in such a plate, the plate is of another size, or a site in it is not masked.
    """

    @typed
    def __init__(
        self, thresholds: Sequence[float], *, count: str = "count_1", plate: str = "objects", num_particles: int = 1
    ) -> None:
        super().__init__(num_particles)
        if num_particles != 1:
            raise ValueError(
                f"num_particles: expected 1, got {num_particles}; the boundary's gradient is that of the ELBO, several "
                "particles need IWAE on a model with counting='always_on'"
            )
        if any(not low < high for low, high in zip(thresholds, thresholds[1:], strict=False)):
            raise ValueError(
                f"thresholds: expected increasing numbers, for objects 2 to N, got {tuple(thresholds)}; "
                "count_thresholds() of the model's scenes gives them"
            )
        self.thresholds = tuple(thresholds)
        self.count = count
        self.plate = plate

    def objective(
        self, traces: ImportanceTraces, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]
    ) -> Float[Tensor, " sequences"]:
        """See `MultiSampleELBO.objective`."""
        bound = traces.log_weights()[0]
        if not self.thresholds:
            return bound
        drawn, scored = sample_sites(traces.guide), sample_sites(traces.model)
        if self.count not in drawn:
            raise ValueError(
                f"count: expected the name of a latent site of the guide, got {self.count!r}; it has "
                f"{', '.join(map(repr, drawn)) or 'no site'}"
            )
        count, place, prices = drawn[self.count], 0, []
        for name, site in drawn.items():
            frame = next((one for one in site["cond_indep_stack"] if one.name == self.plate), None)
            if frame is None or site["is_observed"]:
                continue
            if frame.size != len(self.thresholds) + 1:
                raise ValueError(
                    f"thresholds: expected {frame.size - 1}, one for each but the first of the {frame.size} objects in "
                    f"plate {self.plate!r} of site {name!r}, got {len(self.thresholds)}; the model counts them"
                )
            if site["mask"] is None:
                raise ValueError(
                    f"site {name!r}: expected inside poutine.mask, since the count switches its density, got no mask; "
                    "with counting='always_on' pyro.infer.Trace_ELBO has the whole gradient"
                )
            place = int(frame.dim)
            prices.append(_price(site, scored[name]).narrow(place, 1, frame.size - 1))
        if not prices:
            raise ValueError(
                f"plate: expected one with latent sites of the guide, got {self.plate!r}; its objects are in "
                "a plate of another name"
            )
        thresholds = prices[0].new_tensor(self.thresholds).reshape(-1, *[1] * (-place - 1))
        chance = 1 - count["fn"].cdf(thresholds)
        total = sum(prices[1:], start=prices[0]).detach()
        return bound - traces.per_sequence(count, (chance - chance.detach()) * total)[0]


def _price(drawn: Mapping[str, Any], scored: Mapping[str, Any]) -> Tensor:
    """KL of a site, whether it is masked or not, times the scale of the site."""
    return kl_divergence(drawn["fn"], scored["fn"]) * drawn["scale"]
