"""Light and heavy balls that bounce off one another in a box, in black and white or in colours."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from videos.batch import VideoBatch
from videos.drawing import disc_coverage, disc_insides
from videos.elastic_balls import ElasticPath, place_apart, roll_out_elastic
from videos.memory import check_room
from videos.typed import typed_fields

SIDE = 10.0  # of the box, units
RADII = (0.8, 1.0)  # of light and heavy balls, units
MASSES = (1.0, 6.0)
STARTS = (1.25, 8.75)  # range of a coordinate in the first frame, units
SPEED = 1.0 / 3.0  # Frobenius norm of all velocities in the first frame, units per frame
SUBSTEPS = 2
MOST_BALLS = 10  # one placement in 4,000 is then free of overlap; with 12 there is none in 200,000
#: Colours of balls 0, 1, ... in the published videos: red, green and blue, 0 ... 255.
PALETTE = (
    (227, 206, 166),
    (180, 120, 31),
    (138, 223, 178),
    (44, 160, 51),
    (153, 154, 251),
    (28, 26, 227),
    (111, 191, 253),
    (0, 127, 255),
)


@dataclass(frozen=True)
@typed_fields
class MassiveBalls:
    """Balls of two kinds in a box, with elastic collisions (van Steenkiste et al. 2018; Zablotskaia et al. 2020).

    The box has a side of 10 units and fills the frame, whose edges are its walls: a frame of 64 pixels has 6.4 pixels
    per unit. A ball is light (radius 0.8 units, mass 1) or heavy (radius 1, mass 6), with probability 1/2 each. In the
    first frame the centres are uniform on [1.25, 8.75]^2, given that no two balls overlap; velocities are N(0, I),
    scaled such that the squared velocities of all balls add up to 1/9 squared unit per squared frame. Balls then move
    as in `videos.elastic_balls`, in two sub-steps per frame. The original generator is unpublished: constants were
    measured on its published videos. Unlike there, balls collide only while they approach, so none stick together.

    The number of balls is uniform on min_balls ... max_balls; absent balls are the last slots. 4 balls, and 6 to 8, are
    the published sets. From the same state of the generator a long clip begins with the short one, and frames of all
    sizes and colours show the same motion.

    A pixel shows a ball if its centre is closer to the ball's centre than its radius, and the last such ball if there
    are several. Ball k has colour k of `PALETTE` in every frame; in the published videos colours change while a ball
    is hidden.

    `state` is (x, y, v_x, v_y) of all balls in turn, in units and units per frame, y down, the origin in the top left
    corner of the box. `labels` is the kind: 0 = light, 1 = heavy; `RADII` and `MASSES` are indexed by it. `box_sizes`
    is the diameter. `hits` are collisions of balls with walls or with one another. Absent balls have zeros everywhere.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels; radii are in proportion.
        max_balls: largest number of balls, at most 10.
        min_balls: smallest number of balls, at least 1.
        colour: whether frames have three channels and balls have colours; False = one channel, balls are white.
        palette_size: number of colours, 4 or 8, after which they repeat; balls 0 to 3 look the same under both.
        antialiased: whether the edges of balls are soft, over one pixel. Otherwise every pixel is of a ball's colour or
            black, as in the published sets. Masks are those of sharp edges in either case.
        masks: whether to keep the masks of balls, a byte per pixel and ball. Does not change the videos.

    Raises:
        ValueError: if a number is not positive, `min_balls` exceeds `max_balls`, there are more balls than can be
            placed, a pixel is larger than a unit, or `palette_size` is neither 4 nor 8.
    """

    num_frames: int = 40
    size: int = 64
    max_balls: int = 4
    min_balls: int = 4
    colour: bool = False
    palette_size: int = 8
    antialiased: bool = False
    masks: bool = field(default=False, kw_only=True, repr=False)  # not in the videos' name: it does not change them

    def __post_init__(self) -> None:
        for name in ("num_frames", "size", "max_balls", "min_balls"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name}: expected a positive number, got {value}; leave it out for the default")
        check_room("size", self.size, self.size * self.num_frames, "pixels of a video")
        if self.max_balls > MOST_BALLS:
            raise ValueError(
                f"max_balls: expected at most {MOST_BALLS}, since placements without overlap are then too rare to be "
                f"found by chance, got {self.max_balls}; take fewer balls"
            )
        if self.min_balls > self.max_balls:
            raise ValueError(
                f"min_balls: expected at most max_balls = {self.max_balls}, got {self.min_balls}; "
                "set both, to the same value for a constant number of balls"
            )
        if self.size < SIDE:
            raise ValueError(
                f"size: expected at least {SIDE:g} pixels, one per unit of the box, got {self.size}; take larger frames"
            )
        if self.palette_size not in (4, 8):
            raise ValueError(f"palette_size: expected 4 or 8, got {self.palette_size}; leave it out for all colours")

    @property
    def pixels_per_unit(self) -> float:
        """Pixels per unit of the box."""
        return self.size / SIDE

    def to_pixels(self, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Points in pixels, from the centre of the top-left pixel: pixel i has its centre at (i + 1/2) size / 10 units.

        Args:
            points: (*batch, 2), (x, y down) in units.
        """
        return points * self.pixels_per_unit - 0.5

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw starts from `generator`, let the balls move, and film them on `device`.

        Args:
            num_sequences: number of videos.
            generator: source of randomness, on the CPU; its state advances.
            device: device on which videos are computed and returned.

        Raises:
            ValueError: if `num_sequences` is not positive.
        """
        if num_sequences < 1:
            raise ValueError(
                f"num_sequences: expected a positive number, got {num_sequences}; ask for at least one video"
            )
        count = torch.randint(self.min_balls, self.max_balls + 1, (num_sequences, 1), generator=generator)
        presence = torch.arange(self.max_balls) < count
        kinds = torch.randint(0, 2, presence.shape, generator=generator)
        velocities = torch.randn(*presence.shape, 2, generator=generator, dtype=torch.float64)
        velocities = torch.where(presence[..., None], velocities, 0.0)
        velocities = SPEED * velocities / velocities.square().sum((1, 2), keepdim=True).sqrt()
        radii = torch.where(presence, torch.tensor(RADII, dtype=torch.float64)[kinds], 0.0)
        states = torch.cat([place_apart(radii, *STARTS, generator), velocities], -1)
        states = torch.where(presence[..., None], states, 0.0)
        return self._film(states.to(device), kinds.to(device), presence.to(device))

    def roll_out(
        self, initial_state: Float[Tensor, "sequences balls 4"], kinds: Int64[Tensor, "sequences balls"]
    ) -> VideoBatch:
        """Film balls that start from given states; all are present, and their number is free.

        Args:
            initial_state: (sequences, balls, 4), (x, y, v_x, v_y) in units and units per frame, y down.
            kinds: (sequences, balls), 0 = light, 1 = heavy.

        Raises:
            ValueError: if a shape is not as above, or a kind is neither 0 nor 1.
        """
        if initial_state.dim() != 3 or initial_state.shape[-1] != 4:
            raise ValueError(
                f"initial_state: expected (sequences, balls, 4), got {tuple(initial_state.shape)}; "
                "give x, y, v_x, v_y of each ball"
            )
        if kinds.shape != initial_state.shape[:2] or bool(((kinds != 0) & (kinds != 1)).any()):
            raise ValueError(
                f"kinds: expected 0 or 1 for each ball, {tuple(initial_state.shape[:2])}, got values "
                f"{kinds.unique().tolist()} of shape {tuple(kinds.shape)}; 0 is a light ball, 1 a heavy one"
            )
        return self._film(initial_state.double(), kinds, torch.ones_like(kinds, dtype=torch.bool))

    def _film(self, states: Tensor, kinds: Tensor, presence: Tensor) -> VideoBatch:
        radii, masses = (states.new_tensor(values)[kinds] for values in (RADII, MASSES))
        radii = torch.where(presence, radii, 0.0)
        path = roll_out_elastic(states, radii, masses, self.num_frames, SIDE, SUBSTEPS)
        exists = presence[:, None].expand(path.bounced.shape)
        owners = self._owners(path, radii)
        slots = torch.arange(presence.shape[1], device=owners.device)[:, None, None]

        def of_balls(values: Tensor) -> Tensor:
            return torch.where(exists[..., None], values, 0.0).float()

        positions = of_balls(self.to_pixels(path.states[..., :2]))
        diameters = 2.0 * self.pixels_per_unit * radii[:, None, :, None]
        return VideoBatch(
            frames=self._soft(positions, radii) if self.antialiased else self._sharp(owners),
            positions=positions,
            velocities=of_balls(self.pixels_per_unit * path.states[..., 2:]),
            state=of_balls(path.states).flatten(2),
            hits=path.bounced.any(-1),
            presence=exists.contiguous(),
            box_sizes=of_balls(diameters.expand(*exists.shape, 2)),
            labels=torch.where(presence, kinds, 0)[:, None].expand(exists.shape).contiguous(),
            masks=owners.unsqueeze(2) == slots if self.masks else None,
        )

    def _owners(self, path: ElasticPath, radii: Tensor) -> Tensor:
        """The ball that each pixel shows, int8 (sequences, time, height, width); -1 = none."""
        centers = self.to_pixels(path.states[..., :2])
        reach = (self.pixels_per_unit * radii)[:, None].expand(centers.shape[:-1])
        owners = torch.full((*centers.shape[:2], self.size, self.size), -1, dtype=torch.int8, device=centers.device)
        for ball in range(centers.shape[2]):
            owners.masked_fill_(disc_insides(centers[:, :, ball], reach[:, :, ball], self.size, self.size), ball)
        return owners

    def _sharp(self, owners: Tensor) -> Tensor:
        """Frames (sequences, time, channels, size, size) of flat discs."""
        if not self.colour:
            return (owners >= 0).float().unsqueeze(2)
        black = torch.zeros(1, 3, device=owners.device)
        table = torch.cat([black, self._colours(MOST_BALLS, owners.device)])
        numbers = (owners + 1).int().flatten()
        channels = [table[:, channel].index_select(0, numbers).reshape(owners.shape) for channel in range(3)]
        return torch.stack(channels, 2)

    def _soft(self, positions: Tensor, radii: Tensor) -> Tensor:
        """The same with soft edges; each ball covers the ones before it."""
        reach = torch.where(radii > 0, self.pixels_per_unit * radii, -1.0).float()  # -1: not even half a pixel
        reach = reach[:, None].expand(positions.shape[:-1])
        colours = self._colours(positions.shape[2], positions.device)
        frames = torch.zeros(*positions.shape[:2], colours.shape[1], self.size, self.size, device=positions.device)
        for ball in range(positions.shape[2]):
            coverage = disc_coverage(positions[:, :, ball], reach[:, :, ball], self.size, self.size)
            frames = torch.lerp(frames, colours[ball, :, None, None], coverage.unsqueeze(2))
        return frames

    def _colours(self, count: int, device: torch.device) -> Float[Tensor, "balls channels"]:
        """Colours of the balls, in [0, 1]."""
        if not self.colour:
            return torch.ones(count, 1, device=device)
        palette = torch.tensor(PALETTE, device=device) / 255.0
        return palette[torch.arange(count, device=device) % self.palette_size]
