"""Scenes of solids that slide over a table and collide: videos like those of CLEVRER."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from videos.batch import VideoBatch
from videos.tabletop.camera import Camera
from videos.tabletop.kinds import NUM_KINDS, color_values, kind_parts
from videos.tabletop.motion import Clock, Table
from videos.tabletop.pictures import Scenes, film
from videos.tabletop.solids import Solids, half_heights
from videos.tabletop.start import Regions
from videos.typed import typed_fields

_LAMP = (-4.0, -3.0, 9.0)  # middle of the lamp's places, units
_ABOVE_HORIZON = 5.0  # least angle between the horizon and the frame, degrees
_SHALLOW = 0.2  # largest overlap of two bodies at the highest speed, radii
_PAIRS_ON_CPU, _PAIRS_ELSEWHERE = 2**17, 2**22  # rays times objects cast together: on a CPU they fit into its cache


@dataclass(frozen=True)
@typed_fields
class TabletopScenes:
    """Spheres, cubes and cylinders that enter, slide, collide and hide one another, as in CLEVRER.

    As in CLEVRER (Yi et al. 2020, section 3.1), objects have one size, one of three shapes, two materials and eight
    colours, and no two objects of a scene agree in all of these. A camera looks down on the grey table on which they
    stand. Some objects are in view from the start. The others wait beyond the left or right edge of the frame until one
    push each, at a random time, sends them in, half of them towards the first object. Objects slide with friction and
    collide as discs, which turns them about the vertical axis, see `videos.tabletop.motion.Table`. The number of
    objects is uniform on min_objects ... max_objects; those that do not exist are the last slots.

    What differs from CLEVRER: its videos have 128 frames of 480 x 320 pixels at 25 a second, rendered by Blender with
    soft shadows of several lamps, rounded edges and true reflections. There objects enter from all sides, may roll or
    tip over, and collide as rigid bodies with corners. Here the table has one grey, one lamp at a random place casts
    hard shadows, metal mirrors no other object, and objects are larger in the frame.

    `presence` says whether any pixel's centre shows the object: one that is hidden or out of the frame is absent, and
    its fields but `state` are zero. `positions` is the image of a solid's middle, even where only a part of it is
    visible, `velocities` that image's velocity, `box_sizes` width and height of the box around the visible pixels.
    `labels` is the kind, see `videos.tabletop.kinds.kind_label`. `hits` marks collisions, also of objects out of view.
    `state` is (x, y, angle, vx, vy, spin) of each object in turn, in units and radians and per second, x to the right
    and y away from the camera, the origin in the middle of the frame; zeros for objects that do not exist.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.
        min_objects: smallest number of objects, at least 1.
        max_objects: largest number of objects; number of slots.
        frame_rate: frames per second; CLEVRER has 25.
        still: probability that an object is in view from the start, 0 ... 1; unless it is 0, the first one always is.
        speed: (lowest, highest) speed after a push, units per second.
        warm_up: time that passes before the first frame, in which pushes happen too, seconds.
        last_entry: time of the last possible push after the first frame, seconds; so a long sequence begins with the
            short one.
        radius: radius of a footprint, units; spheres and cylinders are two radii high, cubes 1.41.
        friction: deceleration by sliding friction, units per squared second.
        restitution: speed of parting over speed of approach in a collision, 0 ... 1.
        grip: largest tangential impulse over normal impulse in a collision; 0 = nothing turns.
        elevation: angle of the line of sight below the horizon, degrees.
        distance: distance of the camera from the middle of the scene, units.
        view: width that the frame shows there, units.
        lamp_jitter: largest displacement of the lamp along each axis, units, uniform, constant in a sequence.
        supersampled: whether a pixel is the mean of 2 x 2 rays instead of the ray through its centre.
        masks: whether to keep the masks of objects, a byte per pixel and object: the pixels whose centre shows the
            object. Does not change the videos.

    Raises:
        ValueError: if a setting is not as above, the horizon is in the frame, or more objects are requested than fit.
    """

    num_frames: int = 20
    size: int = 64
    min_objects: int = 3
    max_objects: int = 5
    frame_rate: float = 12.5
    still: float = 0.5
    speed: tuple[float, float] = (2.0, 3.5)
    warm_up: float = 1.5
    last_entry: float = 0.76
    radius: float = 0.35
    friction: float = 0.6
    restitution: float = 0.8
    grip: float = 0.3
    elevation: float = 40.0
    distance: float = 12.0
    view: float = 5.0
    lamp_jitter: float = 1.0
    supersampled: bool = True
    masks: bool = field(default=False, kw_only=True, repr=False)  # not in the videos' name: it does not change them

    def __post_init__(self) -> None:
        for name in ("num_frames", "size", "min_objects", "max_objects", "frame_rate", "radius", "distance", "view"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: expected a positive number, got {value}; leave it out for the default")
        if self.min_objects > self.max_objects:
            raise ValueError(
                f"min_objects: expected at most max_objects = {self.max_objects}, got {self.min_objects}; raise "
                "max_objects too"
            )
        if self.max_objects > NUM_KINDS:
            raise ValueError(
                f"max_objects: expected at most {NUM_KINDS}, the number of kinds, got {self.max_objects}; no two "
                "objects of a scene are of one kind"
            )
        for name in ("warm_up", "last_entry", "friction", "grip", "lamp_jitter"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: expected at least 0, got {value}; leave it out for the default")
        for name in ("still", "restitution"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {value}; give a share")
        if not 0 < self.speed[0] <= self.speed[1] < math.inf:
            raise ValueError(
                f"speed: expected (lowest, highest), both positive, got {self.speed}; give the lower first"
            )
        if self.lamp_jitter > 0.5 * _LAMP[2] or 4.0 * self.radius > _LAMP[2]:
            raise ValueError(
                f"lamp_jitter: expected at most {0.5 * _LAMP[2]}, and radius at most {0.25 * _LAMP[2]}, for a lamp "
                f"above all objects, got {self.lamp_jitter} and {self.radius}; lower them"
            )
        if self.camera.place[2] < 4.0 * self.radius:
            raise ValueError(
                f"distance: expected a camera above all objects, 4 radii = {4.0 * self.radius:.3g} high or more, got "
                f"{self.camera.place[2]:.3g} with distance = {self.distance}; raise distance or elevation"
            )
        horizon = math.degrees(self.camera.half_angle) + _ABOVE_HORIZON
        if not horizon <= self.elevation <= 90.0:
            raise ValueError(
                f"elevation: expected {horizon:.1f} to 90 degrees, where the frame shows the table alone, got "
                f"{self.elevation}; look further down, or narrow the view"
            )
        fits = self._regions.capacity
        if self.max_objects > fits:
            raise ValueError(
                f"max_objects: expected at most {fits}, for which there is room with radius = {self.radius} and view = "
                f"{self.view}, got {self.max_objects}; take fewer or smaller objects, or a wider view"
            )

    @property
    def camera(self) -> Camera:
        """The camera, with the map from the table to pixels."""
        return Camera(self.size, self.elevation, self.distance, self.view)

    @property
    def table(self) -> Table:
        """The physics of the table."""
        return Table(self.radius, self.friction, self.restitution, self.grip)

    @property
    def num_substeps(self) -> int:
        """Steps of the physics from frame to frame: two bodies at the highest speed overlap by 0.2 radii at most."""
        return max(1, math.ceil(2.0 * self.speed[1] / self.frame_rate / (_SHALLOW * self.radius)))

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw videos; all randomness comes from `generator`, which lives on the CPU.

        Frames are drawn a few at a time: up to 384 x 384 pixels, memory beyond the batch's own stays below 1 GiB.

        Args:
            num_sequences: number of videos.
            generator: source of randomness; its state advances.
            device: device on which frames are drawn and returned.

        Raises:
            ValueError: if `num_sequences` is not positive.
        """
        if num_sequences < 1:
            raise ValueError(
                f"num_sequences: expected a positive number, got {num_sequences}; ask for at least one video"
            )
        count = torch.randint(self.min_objects, self.max_objects + 1, (num_sequences, 1), generator=generator)
        exists = torch.arange(self.max_objects) < count
        kinds = torch.rand(num_sequences, NUM_KINDS, generator=generator).argsort(1)[:, : self.max_objects]
        bodies, stands = self._regions.draw((num_sequences, self.max_objects), self.still, generator)
        pushes = self._regions.pushes(bodies, stands, self.speed, self._push_times, generator)
        lamps = torch.tensor(_LAMP) + self.lamp_jitter * (2.0 * torch.rand(num_sequences, 3, generator=generator) - 1.0)
        state, hits = self.table.roll_out(bodies, exists, pushes, self._clock)
        shapes, metal, colors = kind_parts(kinds)
        height = half_heights(shapes, self.radius)[:, None, :, None].expand_as(state[..., :1])
        middles = torch.cat([state[..., :2], height], -1)

        def of_all_frames(value: Tensor) -> Tensor:
            return value[:, None].expand(-1, self.num_frames, *value.shape[1:]).flatten(0, 1)

        scenes = Scenes(
            Solids(
                of_all_frames(shapes),
                middles.flatten(0, 1).movedim(-1, 0).float(),
                state[..., 2].flatten(0, 1).float(),
                of_all_frames(exists),
                self.radius,
            ),
            of_all_frames(metal == 1),
            of_all_frames(color_values(colors)),
            of_all_frames(lamps).T,
        )
        shots = self._film(scenes.to(device))

        def of_sequences(value: Tensor) -> Tensor:
            return value.unflatten(0, (num_sequences, self.num_frames))

        speeds = pad(state[..., 3:5] / self.frame_rate, (0, 1))
        positions, velocities = self.camera.project(middles, speeds)
        presence = of_sequences(shots.presence)

        def of_present(value: Tensor) -> Tensor:
            return torch.where(presence[..., None], value.float().to(device), 0.0)

        return VideoBatch(
            frames=of_sequences(shots.frames),
            positions=of_present(positions),
            velocities=of_present(velocities),
            state=torch.where(exists[:, None, :, None], state, 0.0).float().flatten(2).to(device),
            hits=hits.to(device),
            presence=presence,
            box_sizes=of_sequences(shots.box_sizes),
            labels=torch.where(presence, kinds[:, None].to(device), 0),
            masks=of_sequences(shots.masks) if self.masks else None,
        )

    @property
    def _regions(self) -> Regions:
        return Regions(self.camera, self.radius)

    @property
    def _clock(self) -> Clock:
        return Clock(self.num_frames, round(self.warm_up * self.frame_rate), self.frame_rate, self.num_substeps)

    @property
    def _push_times(self) -> tuple[float, float]:
        """First and last time of a push, seconds."""
        clock = self._clock
        return -clock.num_before / self.frame_rate, self.last_entry

    def _film(self, scenes: Scenes) -> _Shots:
        """Film scenes a few at a time."""
        num_scenes, num_objects = scenes.metal.shape
        device = scenes.metal.device
        pairs = (5 if self.supersampled else 1) * self.size**2 * num_objects
        at_once = max(1, (_PAIRS_ON_CPU if device.type == "cpu" else _PAIRS_ELSEWHERE) // pairs)
        shots = _Shots(
            frames=torch.empty(num_scenes, 3, self.size, self.size, device=device),
            presence=torch.empty(num_scenes, num_objects, dtype=torch.bool, device=device),
            box_sizes=torch.empty(num_scenes, num_objects, 2, device=device),
            masks=torch.empty(
                num_scenes if self.masks else 0, num_objects, self.size, self.size, dtype=torch.bool, device=device
            ),
        )
        objects = torch.arange(num_objects, device=device)[:, None, None]
        for first in range(0, num_scenes, at_once):
            part = slice(first, first + at_once)
            shots.frames[part], owners = film(scenes.select(part), self.camera, self.supersampled)
            masks = owners.unsqueeze(1) == objects
            shots.presence[part] = masks.any((-2, -1))
            shots.box_sizes[part] = torch.stack([_extent(masks.any(-2)), _extent(masks.any(-1))], -1)
            if self.masks:
                shots.masks[part] = masks
        return shots


class _Shots(NamedTuple):
    """What was filmed: one entry per scene; no masks unless they are kept."""

    frames: Float[Tensor, "scenes 3 height width"]
    presence: Bool[Tensor, "scenes objects"]
    box_sizes: Float[Tensor, "scenes objects 2"]
    masks: Bool[Tensor, "kept_scenes objects height width"]


def _extent(lit: Bool[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch"]:
    """Number of pixels from the first that is lit to the last; 0 where none is."""
    pixel = torch.arange(lit.shape[-1], device=lit.device)
    last, first = torch.where(lit, pixel, -1).amax(-1), torch.where(lit, pixel, lit.shape[-1]).amin(-1)
    return (last - first + 1).clamp(min=0).float()
