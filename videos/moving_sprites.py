"""Sprites-MOT: coloured shapes that enter, cross the frame, hide one another and leave."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from videos.batch import VideoBatch
from videos.typed import typed_fields

CANVAS = 128  # height and width of the original pictures, pixels: the unit of all numbers below
SIDE = 21  # of a sprite's template
MARGIN = SIDE // 2  # smallest distance of a sprite's centre from the outermost pixels
SPEED = 5.3  # per frame
SCALES, RATIOS = (0.9, 1.1), (0.8, 1.2)
WAIT = 7  # smallest number of frames without a sprite, from the one in which it would have left the frame
BIRTH = 0.5  # probability of a new sprite in every frame after the wait
SHAPES = ("disc", "rectangle", "triangle", "diamond")
#: Channels of the colours: blue, green, cyan, red, magenta, yellow.
COLOURS = ((0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0))
STARTS = (100, 400)  # frames of an endless video among which a video begins
SAMPLES = 2  # points per pixel and axis
_LONGEST = 30  # frames of the longest way through the frame, and one more
_SHORTEST = WAIT + 20  # frames from one sprite of a slot to the next


@dataclass(frozen=True)
@typed_fields
class MovingSprites:
    """Sprites-MOT of Weis et al. (2021), by the rules of its generator, which is that of He et al. (2019).

    The original pictures have 128 x 128 pixels and were reduced to 64 x 64. In these units, each of `max_objects` slots
    holds a sprite or waits. A new sprite has one of four shapes and of six saturated colours, all equally likely; its
    box is 21 r s high and 21 s / r wide, rounded, with s uniform on [0.9, 1.1] and r^2 uniform on [0.8, 1.2]. It starts
    with its centre 10 pixels from one of the four sides, at a uniform place along it, moves at 5.3 pixels a frame
    towards a uniform place along the opposite side, and is gone as soon as its centre is less than 10 pixels from any
    side: so sprites appear and vanish almost whole. Then the slot is empty for 7 frames, and for further ones with
    probability 1/2 each. Later slots are in front of earlier ones. The ground is black.

    Where ours differs: the published videos are successive pieces of one endless video. Ours are independent pieces,
    each of which begins at a uniform frame between 100 and 400 of an endless video, when slots have forgotten how they
    started. Edges are those of exact shapes, where theirs are templates that are resized by interpolation. A pixel is
    the mean of 2 x 2 points, for 64 pixels those of the original picture; how the published frames were reduced is not
    documented. From the same state of the generator frames of all sizes show the same sprites, and a long video begins
    with the short one.

    A slot is an object, as in the published annotations. Where one sprite leaves and another appears in the same slot
    within a video (in 4 % of slots, if there are ten frames), both are one object.

    `state` is (x, y, v_x, v_y) of all slots in turn, in pixels of the original size and frames, from the centre of the
    top-left pixel. `box_sizes` is the whole box, also of what is hidden or outside. `labels` is 4 c + s for colour c of
    `COLOURS` and shape s of `SHAPES`. A pixel is in the mask of the sprite that shows in at least half of it. Slots
    without a sprite have zeros everywhere.

    Args:
        num_frames: frames of a video.
        size: height and width of a frame, pixels; sizes and speeds of sprites are in proportion.
        max_objects: number of slots.
        masks: whether to keep the masks of sprites, a byte per pixel and slot. Does not change the videos.

    Raises:
        ValueError: if a number is not positive, or a frame has fewer than 16 pixels a side, where sprites are specks.
    """

    num_frames: int = 10
    size: int = 64
    max_objects: int = 3
    masks: bool = field(default=False, kw_only=True, repr=False)  # not in the videos' name: it does not change them

    def __post_init__(self) -> None:
        for name, least in (("num_frames", 1), ("size", 16), ("max_objects", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name}: expected at least {least}, got {getattr(self, name)}; leave it out for the default"
                )

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw sprites from `generator`, and film them on `device`.

        Args:
            num_sequences: number of videos.
            generator: source of randomness, on the CPU; its state advances.
            device: device on which videos are drawn and returned.

        Raises:
            ValueError: if `num_sequences` is not positive.
        """
        if num_sequences < 1:
            raise ValueError(
                f"num_sequences: expected a positive number, got {num_sequences}; ask for at least one video"
            )
        sprites = _draw(num_sequences, self.max_objects, self.num_frames, generator).to(device)
        per_unit, exists = self.size / CANVAS, sprites.presence

        def of_sprites(values: Tensor) -> Tensor:
            return torch.where(exists[..., None], values, 0.0)

        shares, owners = self._shares(sprites)
        palette = torch.tensor(COLOURS, dtype=torch.float32, device=exists.device)
        colours = palette[sprites.colours]  # (sequences, time, slots, channels)
        light = (colours.mT @ shares.flatten(3)).unflatten(-1, (self.size, self.size))
        return VideoBatch(
            frames=light,
            positions=of_sprites((sprites.centres + 0.5) * per_unit - 0.5),
            velocities=of_sprites(sprites.velocities * per_unit),
            state=of_sprites(torch.cat([sprites.centres, sprites.velocities], -1)).flatten(2),
            presence=exists,
            box_sizes=of_sprites(sprites.sides * per_unit),
            labels=torch.where(exists, len(SHAPES) * sprites.colours + sprites.shapes, 0),
            masks=owners if self.masks else None,
        )

    def _shares(self, sprites: _Sprites) -> tuple[Tensor, Tensor]:
        """The share of each pixel that shows each sprite, and the masks, (sequences, time, slots, size, size)."""
        points = self.size * SAMPLES
        place = (torch.arange(points, device=sprites.centres.device) + 0.5) * (CANVAS / points) - 0.5
        across, down = (place - sprites.centres[..., axis, None] for axis in (0, 1))
        reach = _half_widths(down / (0.5 * sprites.sides[..., 1, None]), sprites.shapes[..., None])
        reach = torch.where(sprites.presence[..., None], reach * 0.5 * sprites.sides[..., 0, None], -1.0)
        free, counts = None, []
        for slot in reversed(range(self.max_objects)):  # from the front to the back
            shown = across[:, :, slot].abs().unsqueeze(-2) <= reach[:, :, slot].unsqueeze(-1)
            if free is None:
                free = ~shown
            else:
                shown = shown & free
                free = free & ~shown
            counts.append(_counted(shown.view(torch.uint8)))
        shares = torch.stack(counts[::-1], 2) / SAMPLES**2
        front = self.max_objects - 1 - shares.flip(2).argmax(2, keepdim=True)  # of two halves, the one in front
        slots = torch.arange(self.max_objects, device=shares.device)[:, None, None]
        return shares, (shares >= 0.5) & (slots == front)


@dataclass(frozen=True)
class _Sprites:
    """The sprites of videos in every frame, in the units of the original pictures; what is absent has any values."""

    presence: Bool[Tensor, "sequences time slots"]
    centres: Float[Tensor, "sequences time slots 2"]
    velocities: Float[Tensor, "sequences time slots 2"]
    sides: Float[Tensor, "sequences time slots 2"]
    shapes: Int[Tensor, "sequences time slots"]
    colours: Int[Tensor, "sequences time slots"]

    def to(self, device: torch.device | str) -> _Sprites:
        return _Sprites(**{name: value.to(device).contiguous() for name, value in vars(self).items()})


def _draw(num_sequences: int, num_slots: int, num_frames: int, generator: torch.Generator) -> _Sprites:
    """Draw the sprites that live one after the other in each slot, and look up that of every frame."""
    size = (num_sequences, num_slots)
    begin = torch.randint(*STARTS, (num_sequences, num_slots), generator=generator)
    lives, clock = [], torch.zeros(size, dtype=torch.long)
    for _ in range(-(-(STARTS[1] + num_frames) // _SHORTEST)):
        drawn = torch.rand(*size, 9, generator=generator, dtype=torch.float64)
        life = _life(drawn)
        # the number of failures before a success: P(n) = (1 - BIRTH)^n BIRTH
        more = (drawn[..., 8].clamp(min=1e-9).log() / torch.tensor(1 - BIRTH).double().log()).long()
        born = clock + WAIT + more
        clock = born + life["length"].long()
        lives.append({**life, "born": born.double(), "gone": clock.double()})
    table = {name: torch.stack([life[name] for life in lives], -1) for name in lives[0]}
    now = (begin[:, None] + torch.arange(num_frames)[:, None]).unsqueeze(-1)  # (sequences, time, slots, 1)
    alive = (now >= table["born"][:, None]) & (now < table["gone"][:, None])
    which = alive.int().argmax(-1, keepdim=True)
    found = {
        name: values[:, None].expand(-1, num_frames, -1, -1).gather(-1, which)[..., 0] for name, values in table.items()
    }
    age = now[..., 0] - found["born"]

    def pair(name: str) -> Tensor:
        return torch.stack([found[f"{name}_x"], found[f"{name}_y"]], -1)

    velocities, sides = pair("v"), pair("side")
    corner = ((pair("start") + age[..., None] * velocities).round() - 0.5 * (sides - 1)).floor()
    return _Sprites(
        presence=alive.any(-1),
        centres=(corner + 0.5 * (sides - 1)).float(),
        velocities=velocities.float(),
        sides=sides.float(),
        shapes=found["shape"].long(),
        colours=found["colour"].long(),
    )


def _life(drawn: Float[Tensor, "*batch 9"]) -> dict[str, Tensor]:
    """A sprite from numbers that are uniform on [0, 1)."""
    side, low, high = (4 * drawn[..., 0]).floor(), MARGIN, CANVAS - 1 - MARGIN
    start, end = (low + ((CANVAS - 2 * MARGIN) * drawn[..., index]).floor() for index in (1, 2))
    angle = torch.atan2(end - start, torch.full_like(start, high - low))
    forward, sideways = SPEED * angle.cos(), SPEED * angle.sin()
    backwards, vertical = side % 2 == 1, side < 2
    first = torch.where(backwards, high, low).to(start)
    forward = torch.where(backwards, -forward, forward)
    steps = torch.arange(_LONGEST, device=drawn.device)
    along = (first.unsqueeze(-1) + steps * forward.unsqueeze(-1)).round()
    scale = SCALES[0] + (SCALES[1] - SCALES[0]) * drawn[..., 3]
    ratio = (RATIOS[0] + (RATIOS[1] - RATIOS[0]) * drawn[..., 4]).sqrt()
    return {
        "length": ((along >= low) & (along <= high)).sum(-1),
        "start_x": torch.where(vertical, start, first),
        "start_y": torch.where(vertical, first, start),
        "v_x": torch.where(vertical, sideways, forward),
        "v_y": torch.where(vertical, forward, sideways),
        "side_x": (SIDE * scale / ratio).round(),
        "side_y": (SIDE * scale * ratio).round(),
        "shape": (len(SHAPES) * drawn[..., 5]).floor(),
        "colour": (len(COLOURS) * drawn[..., 6]).floor(),
    }


def _counted(shown: Tensor) -> Tensor:
    """The number of points in each pixel, from zeros and ones at all points."""
    columns = sum(shown[..., start::SAMPLES] for start in range(SAMPLES))
    assert isinstance(columns, Tensor)
    return columns.unflatten(-2, (-1, SAMPLES)).sum(-2, dtype=torch.uint8)


def _half_widths(height: Tensor, shapes: Tensor) -> Tensor:
    """Half the width of each shape at a height from -1 (top) to 1 (bottom), in halves of its width; below 0 outside."""
    widths = torch.stack(
        [
            (1 - height.square()).clamp(min=0).sqrt(),
            torch.ones_like(height),
            0.5 * (1 + height),
            1 - height.abs(),
        ]
    )
    chosen = widths.gather(0, shapes.expand_as(height).unsqueeze(0)).squeeze(0)
    return torch.where(height.abs() <= 1, chosen, -1.0)
