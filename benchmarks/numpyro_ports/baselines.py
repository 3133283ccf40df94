"""Neural baselines of Pyro's `TraceGraph_ELBO`, which NumPyro's does not have."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from numpyro.handlers import seed
from numpyro.infer import TraceGraph_ELBO
from numpyro.infer.elbo import MultiFrameTensor, get_nonreparam_deps
from numpyro.infer.util import get_importance_trace


class TraceGraphWithBaselines(TraceGraph_ELBO):
    """NumPyro's estimator, with `infer={"baseline_value": ...}` of a site subtracted from its downstream cost.

    A baseline is trained by the squares of what remains of the cost (Mnih & Gregor 2014), as by Pyro's option
    `baseline_value`. One particle.
    """

    def loss(
        self,
        rng_key: jax.Array,
        param_map: Mapping[str, Any],
        model: Callable[..., None],
        guide: Callable[..., None],
        *args: Any,
        **kwargs: Any,
    ) -> jax.Array:
        """The negative bound; its gradient is that of the surrogate loss."""
        model_key, guide_key = jax.random.split(rng_key)
        model_trace, guide_trace = get_importance_trace(
            seed(model, model_key), seed(guide, guide_key), args, kwargs, param_map
        )
        sites = [(name, site) for name, site in guide_trace.items() if site["type"] == "sample"]
        latents = {name: site["value"] for name, site in sites}
        model_deps, guide_deps = get_nonreparam_deps(model, guide, args, kwargs, param_map, latents=latents)
        costs: dict[str, MultiFrameTensor] = defaultdict(MultiFrameTensor)
        bound = jnp.zeros(())
        for name, site in model_trace.items():
            if site["type"] == "sample":
                bound += site["log_prob"].sum()
                for key in model_deps[name]:
                    costs[key].add((site["cond_indep_stack"], site["log_prob"]))
        for name, site in sites:
            total = site["log_prob"].sum()
            bound -= total if site["fn"].has_rsample else stop_gradient(total)
            for key in guide_deps[name]:
                costs[key].add((site["cond_indep_stack"], -site["log_prob"]))
        for key, cost in costs.items():
            site = guide_trace[key]
            baseline = site["infer"].get("baseline_value", jnp.zeros(()))
            excess = stop_gradient(cost.sum_to(site["cond_indep_stack"]) - baseline)
            # both are exactly 0, so rounding of large costs does not reach the bound
            score = site["log_prob"] - stop_gradient(site["log_prob"])
            learned = 2 * (baseline - stop_gradient(baseline))  # the gradient of -(cost - baseline)^2
            bound += (excess * (score + learned)).sum()
        return -bound
