"""Videos simulated from a model, with their latents."""

import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from guides.incomplete_models import check_draws_videos
from inference.programs.given_videos import check_shapes
from inference.programs.site_values import sequences_first
from inference.programs.traces import Program, evaluation_mode, local_parameters, modules_of, sample_sites
from inference.runtime.generators import capture_generators, restore_generators, seeded

FRAMES = "frames"


@torch.no_grad()
def simulate(
    model: Program, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None, *, seed: int = 0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Simulate one video from the model for each given video, with the same size, mask and controls.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`, with an observed site `frames`.
        frames: (sequences, time, ...); its values are not used.
        observed: bool (sequences, time), or None.
        controls: (sequences, time, control), or None.
        seed: seed of the draws.

    Returns:
        Frames of the shape given, and the value of each latent site, (sequences, *other plates, *event).

    Raises:
        ValueError: if the model has no observed site called `frames`, draws it with another shape, or cannot draw
            videos without its guide.
    """
    trace = simulated_trace(model, frames, observed, controls, seed=seed)
    values = {site["name"]: sequences_first(site, None)[0][0] for site in sample_sites(trace).values()}
    return values.pop(FRAMES), values


@torch.no_grad()
def simulated_trace(
    model: Program, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None, *, seed: int = 0
) -> Trace:
    """The trace behind `simulate`."""
    check_shapes(model, frames, observed, controls)
    device = next((parameter.device for module in modules_of(model) for parameter in module.parameters()), None)
    args = tuple(None if value is None else value.to(device) for value in (observed, controls))
    with evaluation_mode(model), local_parameters(model), seeded("simulation", seed):
        trace = unconditioned_trace(model, frames.to(device), *args)
    sites = sample_sites(trace)
    if FRAMES not in sites or not sites[FRAMES]["infer"].get("was_observed"):
        raise ValueError(f"model: expected an observed site {FRAMES!r}, got sites {', '.join(map(repr, sites))}")
    drawn = sequences_first(sites[FRAMES], None)[0][0]
    if drawn.shape != frames.shape:
        raise ValueError(f"model: expected frames {tuple(frames.shape)}, it draws {tuple(drawn.shape)}")
    return trace


def check_frames_alone(trace: Trace) -> None:
    """Refuse models that observe more than frames: simulated latents are then no draw from the posterior.

    Args:
        trace: from `simulated_trace`.

    Raises:
        ValueError: names the other observed sites.
    """
    others = [
        repr(site["name"])
        for site in sample_sites(trace).values()
        if site["infer"].get("was_observed") and site["name"] != FRAMES
    ]
    if others:
        raise ValueError(
            f"model: expected {FRAMES!r} as the only observed site, it also observes {', '.join(others)}: the latents "
            "of a simulated video are no draw from the posterior given the values observed there. Block those sites "
            "(pyro.poutine.block), or draw them within `frames`"
        )


def unconditioned_trace(
    model: Program, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
) -> Trace:
    """Run a model with its frames drawn as well, from the current random state and mode.

    A frame or a latent may depend on earlier frames. So the model is re-run with the same noise on the video that it
    drew, until it draws the same video again: each run makes at least one more frame consistent.

    Args:
        model: called `(frames, observed, controls)`.
        frames: (sequences, time, ...); its values are not used.
        observed: bool (sequences, time), or None.
        controls: (sequences, time, control), or None.

    Raises:
        ValueError: if the model needs its guide, see `guides.incomplete_models`.
    """
    check_draws_videos(model)
    video, noise = torch.zeros_like(frames), capture_generators()
    for _ in range(frames.shape[1] if frames.dim() > 1 else 1):
        restore_generators(noise)
        trace = prune_subsample_sites(poutine.trace(poutine.uncondition(model)).get_trace(video, observed, controls))
        drawn = [sequences_first(site, None)[0][0] for site in sample_sites(trace).values() if site["name"] == FRAMES]
        if not drawn or drawn[0].shape != video.shape or torch.equal(drawn[0], video):
            break
        video = drawn[0]
    return trace
