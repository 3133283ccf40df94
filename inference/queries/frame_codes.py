"""Codes of single frames, as features for a probe."""

import torch
from jaxtyping import Float
from pyro import poutine
from torch import Tensor

from inference.programs.increments import NUMBER, TIME
from inference.programs.site_values import sequences_first
from inference.programs.traces import Program, evaluation_mode, local_parameters, sample_sites
from pyro_models.components.scene import PlacesObjects


@torch.no_grad()
def frame_codes(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
) -> Float[Tensor, "sequences time feature"]:
    """A code of each frame, from one draw of the guide; modules are in evaluation mode.

    For a model of objects with appearance: presence times appearance of each slot, concatenated. For other models: the
    latents of the frame, which are in the plate `time`, or have the number of its step in their name (as for
    `increments`).

    Args:
        model: a trained model.
        guide: its guide.
        frames: (sequences, time, channels, height, width) in [0, 1].
        observed: bool (sequences, time), or None.
        controls: (sequences, time, control), or None.

    Raises:
        ValueError: if there are no latents, one belongs to no single step, or sizes of latents differ between steps.
    """
    with evaluation_mode(model, guide), local_parameters(model, guide):
        trace = poutine.trace(guide).get_trace(frames, observed, controls)
    drawn = {name: site for name, site in sample_sites(trace).items() if not site["is_observed"]}
    if not drawn:
        raise ValueError("guide: expected latents to build codes from, got none; give a guide that draws latents")
    if isinstance(model, PlacesObjects):
        scene = model.scene({name: site["value"] for name, site in drawn.items()})
        if scene.presence is not None and scene.appearance is not None:
            presence = scene.presence.unsqueeze(-1)
            return torch.where(presence > 0, presence * scene.appearance, 0.0).flatten(-2)
    whole: list[Tensor] = []
    steps: dict[int, list[Tensor]] = {}
    for name, site in drawn.items():
        value, dims = sequences_first(site, None)
        value, number = value[0], NUMBER.search(name)
        if TIME in dims:
            whole.append(value.movedim(dims.index(TIME), 1).reshape(*frames.shape[:2], -1))
        elif number is not None:
            steps.setdefault(int(number[1]), []).append(value.reshape(len(frames), -1))
        else:
            raise ValueError(
                f"site {name!r}: expected inside a plate called {TIME!r}, or a name that ends in the number of its "
                "step; a latent that belongs to no single frame cannot be part of its code"
            )
    if steps:
        codes = [torch.cat(steps[step], -1) for step in sorted(steps)]
        if len(codes) != frames.shape[1] or len({code.shape for code in codes}) > 1:
            sizes = ", ".join(str(code.shape[-1]) for code in codes)
            raise ValueError(f"guide: expected latents of one size in each of {frames.shape[1]} steps, got {sizes}")
        whole.append(torch.stack(codes, 1))
    return torch.cat(whole, -1).to(frames.dtype)
