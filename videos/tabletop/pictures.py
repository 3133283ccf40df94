"""Pictures of solids on a grey table, lit by one lamp and from all around, by ray casting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from videos.tabletop.camera import Camera
from videos.tabletop.solids import Solids

_CENTRE = (0.0, 0.0)
_QUARTERS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))

_TABLE = 0.7  # grey of the table
_SKY = (0.35, 0.95)  # grey that metal reflects from the horizon and from above
_AMBIENT = 0.4  # share of the light that comes from all around
_DULL, _SHINY = 0.06, 0.9  # height of the highlight of rubber and of metal
_SOFT, _SHARP = 6.0, 60.0  # and the exponents of their falls
_DARKER = 0.65  # share of a metal's own colour that it shows
_MIRROR = 0.4  # share of what metal mirrors that it shows
_WHITE = 0.35  # share of that without the metal's colour


@dataclass(frozen=True)
class Scenes:
    """What the camera films, one scene per frame.

    Args:
        solids: the objects.
        metal: bool (frames, objects), False = rubber.
        colors: (frames, objects, 3), red-green-blue in [0, 1].
        lamps: (3, frames), where the lamp is.
    """

    solids: Solids
    metal: Bool[Tensor, "frames objects"]
    colors: Float[Tensor, "frames objects 3"]
    lamps: Float[Tensor, "3 frames"]

    def select(self, index: slice) -> Scenes:
        """Some of the scenes."""
        return Scenes(self.solids.select(index), self.metal[index], self.colors[index], self.lamps[:, index])

    def to(self, device: torch.device | str) -> Scenes:
        """The same scenes with every tensor on `device`."""
        return Scenes(self.solids.to(device), self.metal.to(device), self.colors.to(device), self.lamps.to(device))


class Film(NamedTuple):
    """Pictures, and what each pixel's centre shows.

    Attributes:
        frames: (frames, 3, height, width), red-green-blue in [0, 1].
        owners: int64 (frames, height, width), index of the object at the pixel's centre, -1 = the table.
    """

    frames: Float[Tensor, "frames 3 height width"]
    owners: Int64[Tensor, "frames height width"]


def film(scenes: Scenes, camera: Camera, supersampled: bool = True, shadows: bool = True) -> Film:
    """Pictures of scenes.

    Light at a point with normal n, for the direction l to the lamp, the direction v to the camera and h between them,

        diffuse = ambient + (1 - ambient) s max(n . l, 0),   highlight = s height max(n . h, 0)^exponent

    where s is 0 in shadow, else 1 (Lambert 1760; Blinn 1977). Rubber and the table show their colour times `diffuse`,
    plus a faint, broad highlight for rubber. Metal shows a darker colour, the grey of table or sky in the direction in
    which it mirrors the camera, tinted by its colour, and a sharp highlight.

    Args:
        scenes: what is filmed.
        camera: from where.
        supersampled: whether a pixel is the mean of 2 x 2 rays instead of the ray through its centre.
        shadows: whether objects cast shadows.
    """
    like = scenes.lamps
    offsets = (_CENTRE, *_QUARTERS) if supersampled else (_CENTRE,)
    directions = camera.rays(offsets, like).unsqueeze(1)
    eye = torch.tensor(camera.place, device=like.device, dtype=like.dtype)[:, None, None]
    distance, owner = scenes.solids.nearest(eye, directions)
    on_table = distance.isinf()
    pixels = camera.size**2
    owners = torch.where(on_table, -1, owner)[:, :pixels]
    first = pixels if supersampled else 0  # the ray through the centre then shows the mask alone
    colors = _shaded(
        scenes, eye, directions[..., first:], distance[:, first:], torch.where(on_table, -1, owner)[:, first:], shadows
    )
    samples = colors.unflatten(-1, (-1, camera.size, camera.size))  # (3, frames, samples, height, width)
    return Film(samples.mean(2).transpose(0, 1).contiguous(), owners.unflatten(-1, (camera.size, camera.size)))


def _shaded(
    scenes: Scenes, eye: Tensor, directions: Tensor, distance: Tensor, owner: Tensor, shadows: bool
) -> Float[Tensor, "3 frames rays"]:
    """What each ray shows."""
    on_table, index = owner < 0, owner.clamp(min=0)
    points = eye + directions * torch.where(on_table, -eye[2] / directions[2], distance)
    up = torch.tensor([0.0, 0.0, 1.0], device=points.device, dtype=points.dtype)[:, None, None]
    normals = torch.where(on_table, up, scenes.solids.normals(points, index))
    lamps = scenes.lamps.unsqueeze(-1)
    light = lamps - points
    light = light / light.square().sum(0).sqrt()
    facing = (normals * light).sum(0).clamp(min=0.0)
    if shadows:
        facing = facing * ~scenes.solids.between(points, lamps, owner)
    middle = light - directions
    shine = (normals * middle).sum(0).clamp(min=0.0) / middle.square().sum(0).sqrt()

    metal = scenes.metal.gather(1, index) & ~on_table
    own = torch.stack([channel.gather(1, index) for channel in scenes.colors.unbind(-1)])
    own = torch.where(on_table, _TABLE, own)
    diffuse = _AMBIENT + (1.0 - _AMBIENT) * facing
    mirrored = directions[2] - 2.0 * (normals * directions).sum(0) * normals[2]  # height of the mirrored direction
    around = torch.where(mirrored < 0, _TABLE, _SKY[0] + (_SKY[1] - _SKY[0]) * mirrored)
    reflected = _MIRROR * around * (_WHITE + (1.0 - _WHITE) * own) * metal
    body = own * diffuse * torch.where(metal, _DARKER, 1.0)
    highlight = torch.where(metal, _SHINY * shine**_SHARP, _DULL * shine**_SOFT) * (facing > 0) * ~on_table
    return (body + reflected + highlight).clamp(0.0, 1.0)
