"""A torque-controlled pendulum, seen as small grey images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from videos.batch import VideoBatch
from videos.drawing import disc_coverage
from videos.typed import typed_fields
from videos.visible import visible_masks


@dataclass(frozen=True)
@typed_fields
class Pendulum:
    """A damped pendulum under random torque (Karl et al. 2017, section 4.1; used by Fraccaro et al. 2017, table 1).

    phi'' = -damping phi' + gravity sin(phi) + u, with unit mass and length; phi = 0 is upright, clockwise is positive.

    The original data, their ranges and their renderer were not published. The settings below give the spread of
    (sin phi, cos phi, phi') that the regression table of Karl et al. implies (standard deviation of phi' 3.69). Results
    on these videos are comparable with one another, not with the published ones.

    Initial distribution: phi uniform in [-pi, pi), phi' uniform in +-max_initial_velocity; each torque uniform in
    +-max_torque and held from one frame to the next. `controls[:, t]` (one torque) acted between frame t - 1 and frame
    t; `controls[:, 0]` is zero. `state` is (phi, phi') in radians and radians per time unit; phi is not wrapped.
    `positions` is the bob's.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.
        time_step: time units from frame to frame.
        num_substeps: steps of the integrator from frame to frame.
        gravity: gravity over length, per squared time unit.
        damping: friction, per time unit.
        max_initial_velocity: largest initial speed, radians per time unit.
        max_torque: largest torque per unit of inertia, radians per squared time unit.
        arm: distance of the bob from the pivot in the middle of the frame, pixels.
        bob_radius: radius of the bob, pixels.
        masks: whether to keep the mask of the bob, every pixel that is not black; a byte per pixel. Does not change the
            videos.

    Raises:
        ValueError: if a size, a step or a number of frames is not positive.
    """

    num_frames: int = 15
    size: int = 16
    time_step: float = 0.1
    num_substeps: int = 20
    gravity: float = 9.81
    damping: float = 0.5
    max_initial_velocity: float = 8.0
    max_torque: float = 2.0
    arm: float = 5.0
    bob_radius: float = 2.0
    masks: bool = field(default=False, kw_only=True, repr=False)  # not in the videos' name: it does not change them

    def __post_init__(self) -> None:
        for name in ("num_frames", "size", "time_step", "num_substeps", "bob_radius"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name}: expected a positive number, got {value}; leave it out for the default")

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw initial states and torques from `generator`, let the pendulums swing, and film them on `device`.

        Args:
            num_sequences: number of videos.
            generator: the only source of randomness; the same state gives the same batch.
            device: where the batch is computed and returned.

        Raises:
            ValueError: if `num_sequences` is not positive.
        """
        if num_sequences < 1:
            raise ValueError(
                f"num_sequences: expected a positive number, got {num_sequences}; ask for at least one video"
            )

        def symmetric(limit: float, *shape: int) -> Tensor:
            draws = torch.rand(*shape, generator=generator, device=generator.device, dtype=torch.float64)
            return limit * (2.0 * draws - 1.0)

        angle = symmetric(math.pi, num_sequences)
        velocity = symmetric(self.max_initial_velocity, num_sequences)
        torques = symmetric(self.max_torque, num_sequences, self.num_frames, 1)
        torques[:, 0] = 0.0
        return self.roll_out(torch.stack([angle, velocity], -1).to(device), torques.to(device))

    def roll_out(self, initial_state: Tensor, controls: Tensor) -> VideoBatch:
        """Film pendulums that start from given states under given torques.

        Args:
            initial_state: (sequences, 2), (phi, phi').
            controls: (sequences, time, 1), torques; `controls[:, t]` acts between frame t - 1 and frame t.

        Raises:
            ValueError: if a shape is not as above.
        """
        if initial_state.dim() != 2 or initial_state.shape[1] != 2:
            raise ValueError(
                f"initial_state: expected (sequences, 2), got {tuple(initial_state.shape)}; "
                "give phi and phi' of each pendulum"
            )
        expected = (len(initial_state), self.num_frames, 1)
        if tuple(controls.shape) != expected:
            raise ValueError(
                f"controls: expected (sequences, time, 1) = {expected}, got {tuple(controls.shape)}; "
                "give one torque per frame, the first of which acts on nothing"
            )
        state = self._swing(initial_state.double(), controls.double())
        angle, velocity = state.unbind(-1)
        direction = torch.stack([angle.sin(), -angle.cos()], -1)  # y down: upright is up
        turning = torch.stack([angle.cos(), angle.sin()], -1) * velocity.unsqueeze(-1)
        positions = (0.5 * (self.size - 1) + self.arm * direction).float()
        pictures = disc_coverage(positions, self.bob_radius, self.size, self.size).unsqueeze(2)
        return VideoBatch(
            frames=pictures,
            controls=controls.float(),
            positions=positions.unsqueeze(2),
            velocities=(self.arm * self.time_step * turning).unsqueeze(2).float(),
            state=state.float(),
            masks=visible_masks(pictures) if self.masks else None,
        )

    def _swing(
        self, initial_state: Float[Tensor, "sequences 2"], controls: Float[Tensor, "sequences time 1"]
    ) -> Float[Tensor, "sequences time 2"]:
        """Leapfrog, with the friction solved exactly over each kick: second order, no energy drift without friction."""
        step = self.time_step / self.num_substeps
        kept = math.exp(-self.damping * step)
        kick = -math.expm1(-self.damping * step) / self.damping if self.damping else step
        angle, velocity = (part.clone() for part in initial_state.unbind(-1))
        record = [initial_state]
        for time in range(1, self.num_frames):
            push = kick * controls[:, time, 0]
            angle.add_(velocity, alpha=0.5 * step)
            for substep in range(self.num_substeps):
                velocity.mul_(kept).add_(push).add_(angle.sin(), alpha=kick * self.gravity)
                angle.add_(velocity, alpha=step if substep < self.num_substeps - 1 else 0.5 * step)
            record.append(torch.stack([angle, velocity], -1))
        return torch.stack(record, 1)
