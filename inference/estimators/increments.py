"""Log weights split by time step."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.traces import ImportanceTraces, sample_sites

TIME = "time"
NUMBER = re.compile(r"_(\d+)(?:_\d+)*$")


def increments(traces: ImportanceTraces) -> Float[Tensor, "particles time sequences"]:
    """What each time step adds to the log weights, in nats, with gradients; their sum over time is `log_weights()`.

        sum of log p - sum of log q        over the sites of a step

    A site belongs to steps by the plate `time`, or to one step by the first of the numbers that end its name (`z_3`;
    `z_where_3_1` is object 1 at step 3). Numbers may begin at 0 or 1.

    Args:
        traces: draws of a guide and the model run against them.

    Raises:
        ValueError: if a site has neither plate nor number, such as a latent that is a whole path; names it. And if
            plates and numbers are not of the same steps.
    """
    signed = [(1.0, site) for site in sample_sites(traces.model)]
    signed += [(-1.0, site) for site in sample_sites(traces.guide)]
    plated = [(sign, site, frame) for sign, site in signed if (frame := _time_plate(site)) is not None]
    numbered = [(sign, site, _number(site)) for sign, site in signed if _time_plate(site) is None]
    first = min((number for *_, number in numbered), default=0)
    last = max((number for *_, number in numbered), default=0)
    sizes = {int(frame.size) for *_, frame in plated} or {last - first + 1}
    size = max(sizes)
    if len(sizes) > 1 or last - first >= size:
        found = ", ".join(sorted(site["name"] for _, site, _ in [*plated, *numbered]))
        raise ValueError(f"model: expected sites of the same steps, got plates {TIME!r} of {sorted(sizes)} and {found}")
    steps: list[list[Tensor]] = [[torch.zeros_like(traces.log_weights())] for _ in range(size)]
    for sign, site, number in numbered:
        steps[number - first].append(traces.per_sequence(site, sign * site["log_prob"]))
    for sign, site, frame in plated:
        for index in range(size):
            steps[index].append(traces.per_sequence(site, sign * site["log_prob"].narrow(frame.dim, index, 1)))
    return torch.stack([torch.stack(terms).sum(0) for terms in steps], 1)


def _time_plate(site: Mapping[str, Any]) -> Any:
    return next((frame for frame in site["cond_indep_stack"] if frame.name == TIME and frame.vectorized), None)


def _number(site: Mapping[str, Any]) -> int:
    found = NUMBER.search(site["name"])
    if found is None:
        raise ValueError(
            f"site {site['name']!r}: expected inside a plate called {TIME!r}, or a name that ends in the number of its "
            "step; a latent that is a whole path has no increments"
        )
    return int(found[1])
