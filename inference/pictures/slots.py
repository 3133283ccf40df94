"""Videos taken apart into slots: what each slot shows, through its mask, and what follows when its latent moves."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from inference.pictures.films import write_film
from inference.pictures.masks import paint_masks
from inference.pictures.strips import draw_strips
from inference.pictures.theme import IDENTITIES, MISSING
from inference.queries.latent_walks import LatentWalk
from pyro_models.components.scene import Decomposition

MOST_COLUMNS = 12  # of a figure
WIDEST = 1200  # film, screen pixels
SQUARES = 8  # on the longer side of a frame
SHADES = (0.45, 0.62)  # of the squares: neither black nor white, so that black and white objects stand out


class SlotPanels(NamedTuple):
    """The rows of a figure, or the panels of a film.

    Attributes:
        videos: name -> (time, 1 or 3, height, width).
        outlines: name of a slot's panel -> its colour in the masks.
    """

    videos: dict[str, Tensor]
    outlines: dict[str, str]


def draw_slots(
    frames: Tensor,
    decomposition: Decomposition,
    observed: Tensor | None = None,
    expected: Tensor | None = None,
    *,
    every: int | None = None,
    title: str = "",
) -> Figure:
    """One video taken apart: frames, reconstruction, masks in one colour a slot, and a row for each slot.

    A slot's row shows its mask times its mean over a chequerboard: where its mask is 0 there is only the board. It has
    an outline in the colour of its mask. Frames that were missing are outlined in orange.

    Args:
        frames: (time, 1 or 3, height, width) in [0, 1].
        decomposition: leading dims (time,).
        observed: bool (time,), None = all seen.
        expected: what the model expects, shaped as the frames; None = what all slots make up together.
        every: show every n-th frame; None = so that there are at most 12.
        title: above all.

    Raises:
        ValueError: if a shape is wrong, masks are not in [0, 1], or `every` is below 1.
    """
    panels = slot_panels(frames, decomposition, expected)
    every = -(-len(frames) // MOST_COLUMNS) if every is None else every
    return draw_strips(panels.videos, observed, every=every, outlines=panels.outlines, imputed=MISSING, title=title)


def animate_slots(
    path: str | Path,
    frames: Tensor,
    decomposition: Decomposition,
    observed: Tensor | None = None,
    expected: Tensor | None = None,
    *,
    scale: int | None = None,
    frames_per_second: float = 6.0,
) -> Path:
    """Write one video, taken apart as by `draw_slots`, as a GIF with all panels side by side.

    Args:
        path: output file; parent folders are created.
        frames: as for `draw_slots`.
        decomposition: as for `draw_slots`.
        observed: as for `draw_slots`.
        expected: as for `draw_slots`.
        scale: screen pixels per pixel; None = at most 5, and fewer where there are many slots or pixels.
        frames_per_second: speed; GIF players take at most 50.

    Returns:
        The path.

    Raises:
        ValueError: if a shape is wrong, masks are not in [0, 1], the scale is below 1 or the speed is not in (0, 50].
    """
    panels = slot_panels(frames, decomposition, expected)
    if scale is None:
        scale = max(1, min(5, WIDEST // (len(panels.videos) * frames.shape[-1])))
    return write_film(
        path,
        panels.videos,
        observed,
        outlines=panels.outlines,
        imputed=MISSING,
        scale=scale,
        frames_per_second=frames_per_second,
    )


def draw_latent_walk(walk: LatentWalk, *, alone: bool = False, title: str = "") -> Figure:
    """The frame for every place of every entry of a latent that was walked along, one row for each entry.

    As in figure 11 of Zablotskaia et al. (2020). A row is titled with the number of the entry, from 1, and its
    divergence from the prior.

    Args:
        walk: from `walk_latent`.
        alone: add a row below each, with the slot whose latent moves, over a chequerboard.
        title: above all.
    """
    rows, outlines = {}, {}
    slots = show_slots(walk.decomposition)[:, :, walk.slot] if alone else None
    for place, (entry, nats) in enumerate(zip(walk.entries, walk.nats.tolist(), strict=True)):
        name = f"{walk.site}[{entry + 1}], {nats:.2f} nats"
        rows[name] = walk.decomposition.composite[place]
        if slots is not None:
            rows[below := f"slot {walk.slot + 1}, {walk.site}[{entry + 1}]"] = slots[place]
            outlines[below] = IDENTITIES[walk.slot % len(IDENTITIES)]
    columns = [f"{distance:+.2g}" if distance else "0" for distance in walk.distances.tolist()]
    across = "moved by this number of standard deviations of the prior"
    return draw_strips(rows, outlines=outlines, columns=columns, across=across, title=title)


def slot_panels(frames: Tensor, decomposition: Decomposition, expected: Tensor | None = None) -> SlotPanels:
    """What `draw_slots` and `animate_slots` show.

    Args:
        frames: (time, 1 or 3, height, width).
        decomposition: leading dims (time,).
        expected: shaped as the frames.

    Raises:
        ValueError: if a shape is wrong, or masks are not in [0, 1].
    """
    means, masks = decomposition.means, decomposition.masks
    count = means.shape[-4] if means.dim() == 5 else "slots"
    time, *picture = frames.shape
    for name, value, wanted in (
        ("means", means, (time, count, *picture)),
        ("masks", masks, (time, count, *picture[1:])),
    ):
        if tuple(value.shape) != wanted:
            raise ValueError(
                f"decomposition.{name}: expected {wanted}, for the frames {tuple(frames.shape)} of one video, got "
                f"{tuple(value.shape)}; select one video of the decomposition and one particle"
            )
    videos = {"frames": frames, "expected": decomposition.composite if expected is None else expected}
    videos["masks"] = paint_masks(masks)
    slots = {f"slot {slot + 1}": video for slot, video in enumerate(show_slots(decomposition).unbind(1))}
    outlines = {name: IDENTITIES[slot % len(IDENTITIES)] for slot, name in enumerate(slots)}
    return SlotPanels(videos | slots, outlines)


def show_slots(decomposition: Decomposition) -> Float[Tensor, "*batch slots channels height width"]:
    """Mask times mean over a chequerboard, m mu + (1 - m) board, means clipped to [0, 1].

    Args:
        decomposition: any leading dims.
    """
    means, masks = decomposition.means.detach().cpu(), decomposition.masks.detach().cpu().unsqueeze(-3)
    height, width = masks.shape[-2:]
    side = max(1, max(height, width) // SQUARES)
    odd = (torch.arange(height)[:, None] // side + torch.arange(width) // side) % 2
    return torch.lerp(torch.tensor(SHADES, dtype=means.dtype)[odd], means.clamp(0, 1), masks)
