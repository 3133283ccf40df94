"""What becomes of a frame when one entry of a slot's latent moves and everything else stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from pyro import poutine
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from guides.describe import describe_sites
from guides.iterative_refinement.site_parameters import gaussian_of
from guides.site_table import Site
from inference.programs.decoding import SEQUENCES, Arguments
from inference.programs.given_videos import check_shapes
from inference.programs.traces import Program, sample_sites
from inference.queries.ask import reconstruct
from inference.queries.imputation import Latents, quietly
from pyro_models.components.scene import DecomposesFrames, Decomposition
from videos.typed import check_kind, typed_fields

OBJECTS = "objects"


@dataclass(frozen=True, kw_only=True)
@typed_fields
class Walk:
    """Where a walk starts, and how far it goes.

    Attributes:
        frame: number of the frame, from 1. The video is cut after it; in the first frame, latents have to tell
            everything, as there is no memory.
        slot: index of the slot, from 0; None = the one with the largest divergence from the prior.
        site: name of the latent before the number of the frame.
        most_entries: largest number of entries of the latent.
        reach: of the walk to either side, standard deviations of the prior.
        num_places: places on a walk; an odd number, so that the middle one is what was inferred.
    """

    frame: int = 1
    slot: int | None = None
    site: str = "z"
    most_entries: int = 6
    reach: float = 2.5
    num_places: int = 7

    def __post_init__(self) -> None:
        if self.most_entries < 1:
            raise ValueError(f"most_entries: expected at least 1, got {self.most_entries}")
        if not self.reach > 0:
            raise ValueError(f"reach: expected a positive number of standard deviations, got {self.reach}")
        if self.num_places < 3 or self.num_places % 2 == 0:
            raise ValueError(
                f"num_places: expected an odd number from 3 on, with what was inferred in the middle, got "
                f"{self.num_places}"
            )


@dataclass(frozen=True)
class LatentWalk:
    """One frame, decoded at all places of walks along single entries of a slot's latent.

    Attributes:
        site: name of the latent, with the number of the frame.
        slot: index of the slot, from 0.
        entries: indices of the entries walked along, from 0: those that diverge most from the prior, first.
        nats: KL(q(z_d) || p(z_d)) of each, nats, at the path of the guide's means.
        distances: places of a walk, standard deviations of the prior from the inferred value.
        decomposition: the frame, leading dims (entries, places).
    """

    site: str
    slot: int
    entries: tuple[int, ...]
    nats: Float[Tensor, " entries"]
    distances: Float[Tensor, " places"]
    decomposition: Decomposition


def walk_latent(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    walk: Walk | None = None,
    seed: int = 0,
) -> LatentWalk:
    """Decode a frame again and again, while one entry of a slot's latent moves and everything else stays::

        z_d + s sigma_d,      -reach <= s <= reach,      sigma_d the prior's standard deviation given earlier latents

    z is the guide's mean (see `reconstruct`), and entries are those with the largest divergence from the prior: the
    others hardly carry anything. Means and masks are the model's own, by its `decompose`.

    Args:
        model: has a method `decompose` (see `DecomposesFrames`) and Gaussian latents `z_1`, `z_2`, ... in plates
            `sequences` and `objects`.
        guide: a guide for it.
        frames: one video, (1, time, channels, height, width) in [0, 1].
        observed: bool (1, time), None = all seen.
        controls: (1, time, control) or None.
        walk: where it starts, and how far it goes; None = the defaults.
        seed: seed of the draws of a guide without a point estimate.

    Raises:
        TypeError: if the model has no `decompose`.
        ValueError: if there is more than one video, or no such frame, slot or site, or the site is not Gaussian.
    """
    check_kind("walk", walk, Walk | None)
    walk = Walk() if walk is None else walk
    decomposing: Any = model
    if not isinstance(decomposing, DecomposesFrames):
        raise TypeError(
            f"model: expected one whose slots share the pixels of a frame, with a method decompose, got "
            f"{type(model).__name__}"
        )
    check_shapes(model, frames, observed, controls)
    if frames.dim() != 5 or len(frames) != 1:
        raise ValueError(
            f"frames: expected one video, (1, time, channels, height, width), got {tuple(frames.shape)}; select one"
        )
    if not 1 <= walk.frame <= frames.shape[1]:
        raise ValueError(f"frame: expected 1 to {frames.shape[1]}, the number of frames, got {walk.frame}")
    seen, given = (None if value is None else value[:, : walk.frame] for value in (observed, controls))
    arguments = (frames[:, : walk.frame], seen, given)
    latents = reconstruct(model, guide, *arguments, seed=seed).latents
    name = f"{walk.site}_{walk.frame}"
    with quietly(model, guide, seed=seed):
        table = describe_sites(model, *arguments)
        if name not in latents or OBJECTS not in [plate.name for plate in table[name].plates]:
            raise ValueError(
                f"site: expected a latent of single slots and frames (a site in the plate {OBJECTS!r}, with the number "
                f"of the frame at its end), got {name!r} where the latents are {', '.join(latents) or 'none'}"
            )
        inferred, prior = (_gaussian(program, arguments, latents, name) for program in (guide, model))
        nats = kl_divergence(inferred, prior)[:, 0]  # (slots, entries)
        if walk.slot is not None and not 0 <= walk.slot < len(nats):
            raise ValueError(f"slot: expected 0 to {len(nats) - 1}, got {walk.slot}")
        slot = int(nats.sum(-1).argmax()) if walk.slot is None else walk.slot
        found = nats[slot].sort(descending=True)
        entries = found.indices[: walk.most_entries].tolist()
        half = walk.num_places // 2
        distances = torch.arange(-half, half + 1).to(frames) * (walk.reach / half)
        copies = {key: _repeated(value, table[key], walk.num_places) for key, value in latents.items()}
        means, masks = [], []
        for entry in entries:
            moved = copies[name].clone()
            moved[slot, :, entry] += distances * prior.stddev[slot, 0, entry]
            parts = decomposing.decompose(copies | {name: moved})  # the places are sequences of a batch
            means.append(parts.means[:, -1])
            masks.append(parts.masks[:, -1])
    return LatentWalk(
        site=name,
        slot=slot,
        entries=tuple(entries),
        nats=found.values[: walk.most_entries],
        distances=distances,
        decomposition=Decomposition(torch.stack(means), torch.stack(masks)),
    )


def _gaussian(program: Program, arguments: Arguments, latents: Latents, name: str) -> Normal:
    """The distribution of a site, given all latents before it."""
    trace = poutine.trace(poutine.condition(program, dict(latents))).get_trace(*arguments)
    sites: Mapping[str, Any] = sample_sites(trace)
    gaussian = gaussian_of(sites[name]["fn"])
    if gaussian is None:
        raise ValueError(
            f"site: expected a Gaussian, so that there are standard deviations to walk by, got {name!r} with "
            f"{type(sites[name]['fn']).__name__} in {type(program).__name__}"
        )
    value = latents[name]
    return Normal(gaussian.loc.expand_as(value), gaussian.scale.expand_as(value))


def _repeated(value: Tensor, site: Site, times: int) -> Tensor:
    """The value of one video for a batch of equal ones."""
    (plate,) = (plate for plate in site.plates if plate.name == SEQUENCES)
    return value.repeat_interleave(times, plate.dim - len(site.event_shape))
