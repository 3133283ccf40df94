"""Boxes that move and grow at nearly constant speeds: a linear-Gaussian state-space model."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from pyro_models.distributions import LinearGaussianSSM


@dataclass(frozen=True)
class BoxMotion:
    r"""Motion of the centre and the size of a box, b_t, with velocity v_t, and a noisy reading a_t of it.

    .. math::

        b_{t+1} = b_t + v_t + \tfrac{1}{2} e_t, \quad v_{t+1} = v_t + e_t, \quad e_t \sim N(0, E^2), \quad
        a_t \sim N(b_t, R^2)

    The acceleration e_t is constant between two frames (Bar-Shalom, Li and Kirubarajan 2001, section 6.3). States are
    (x, y, width, height) and their velocities; standard deviations are in units of `unit`.

    Args:
        unit: pixels; the typical height of a box.
        position_noise: standard deviation of a reading of the centre.
        size_noise: standard deviation of a reading of width and height.
        acceleration: standard deviation of the centre's acceleration, per frame squared.
        size_acceleration: standard deviation of the size's, per frame squared.
        speed: standard deviation of the centre's velocity at the start, per frame.
        growth: standard deviation of the size's, per frame.
    """

    unit: float
    position_noise: float
    size_noise: float
    acceleration: float
    size_acceleration: float
    speed: float
    growth: float

    def started(
        self, readings: Float64[Tensor, "tracks 4"]
    ) -> tuple[Float64[Tensor, "tracks 8"], Float64[Tensor, "tracks 8 8"]]:
        """Mean and covariance of the states given their first readings: a flat prior of boxes, velocities around 0."""
        covariance = torch.block_diag(self._reading, self._squares(self.speed, self.growth))
        return torch.cat([readings, torch.zeros_like(readings)], -1), covariance.expand(len(readings), 8, 8)

    def ssm(
        self,
        mean: Float64[Tensor, "*tracks 8"],
        covariance: Float64[Tensor, "*tracks 8 8"],
        observed: Bool[Tensor, "*tracks time"],
    ) -> LinearGaussianSSM:
        """The distribution of readings, given moments of the first state, with missing ones where not `observed`."""
        return LinearGaussianSSM(
            initial_mean=mean,
            initial_covariance=covariance,
            **self._steps,
            observed=observed,
            validate_args=False,  # valid by construction, and built in every frame
        )

    def boxes(
        self, readings: Float64[Tensor, "time 4"], seen: Bool[Tensor, " time"], *, smoothed: bool
    ) -> Float64[Tensor, "time 4"]:
        """Mean boxes of a track given its readings: left edge, top edge, width, height; at least a pixel wide and tall.

        Args:
            readings: middles and sizes, anything where not seen; the first one is seen.
            seen: which frames have a reading.
            smoothed: given all readings; False = given earlier ones and that of the frame.
        """
        mean, covariance = self.started(readings[:1])
        later = seen.clone()
        later[0] = False  # the first state's moments are already given its reading
        ssm = self.ssm(mean[0], covariance[0], later)
        states = (ssm.smooth(readings) if smoothed else ssm.filter(readings)).mean
        sizes = states[:, 2:4].clamp(min=1.0)
        return torch.cat([states[:, :2] - sizes / 2, sizes], -1)

    @cached_property
    def _steps(self) -> dict[str, Any]:
        """Parameters that hold for every step."""
        one, none = torch.eye(4).double(), torch.zeros(4, 4).double()
        kick = torch.cat([0.5 * one, one])
        pushes = self._squares(self.acceleration, self.size_acceleration)
        return {
            "transition_matrix": torch.cat([torch.cat([one, one], -1), torch.cat([none, one], -1)])[None],
            "transition_covariance": (kick @ pushes @ kick.mT)[None],
            "emission_matrix": torch.cat([one, none], -1)[None],
            "emission_covariance": self._reading[None],
        }

    @property
    def _reading(self) -> Tensor:
        return self._squares(self.position_noise, self.size_noise)

    def _squares(self, position: float, size: float) -> Tensor:
        return (self.unit * torch.tensor([position, position, size, size]).double()).square().diag()
