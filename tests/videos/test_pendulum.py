"""The pendulum against its equation of motion, solved another way, and against the spread of the original data."""

import math

import pytest
import torch

from videos import Pendulum


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def runge_kutta(
    angle: float, velocity: float, torque: float, duration: float, steps: int = 2000
) -> tuple[float, float]:
    """The classical fourth-order method for phi'' = -0.5 phi' + 9.81 sin(phi) + u."""

    def slope(state: tuple[float, float]) -> tuple[float, float]:
        return state[1], -0.5 * state[1] + 9.81 * math.sin(state[0]) + torque

    def moved(state: tuple[float, float], by: tuple[float, float], step: float) -> tuple[float, float]:
        return state[0] + step * by[0], state[1] + step * by[1]

    state, h = (angle, velocity), duration / steps
    for _ in range(steps):
        a = slope(state)
        b = slope(moved(state, a, h / 2))
        c = slope(moved(state, b, h / 2))
        d = slope(moved(state, c, h))
        state = moved(state, tuple((w + 2 * x + 2 * y + z) / 6 for w, x, y, z in zip(a, b, c, d, strict=True)), h)
    return state


@pytest.mark.parametrize(("angle", "velocity", "torque"), [(0.1, 0.0, 0.0), (2.5, -7.0, 1.5), (-3.0, 4.0, -2.0)])
def test_motion_follows_the_equation(angle, velocity, torque):
    controls = torch.full((1, 15, 1), torque, dtype=torch.float64)
    controls[:, 0] = 1e6  # acts on nothing
    state = Pendulum().roll_out(torch.tensor([[angle, velocity]], dtype=torch.float64), controls).state[0]
    for frame in (1, 14):
        expected = torch.tensor(runge_kutta(angle, velocity, torque, 0.1 * frame))
        torch.testing.assert_close(state[frame], expected, rtol=0, atol=2e-3)


def test_integrator_is_of_second_order():
    start, controls = torch.tensor([[2.0, 5.0]], dtype=torch.float64), torch.ones(1, 15, 1, dtype=torch.float64)
    exact = Pendulum(num_substeps=4000)._swing(start, controls)
    coarse, fine = (
        (Pendulum(num_substeps=count)._swing(start, controls) - exact).abs().max().item() for count in (10, 40)
    )
    assert math.log(coarse / fine, 4) == pytest.approx(2.0, abs=0.1)


def test_a_control_acts_between_the_frame_before_and_its_own():
    still = torch.zeros(1, 2, dtype=torch.float64)  # upright, at rest: nothing moves until the torque comes
    controls = torch.zeros(1, 15, 1, dtype=torch.float64)
    controls[0, 6] = 1.0
    state = Pendulum().roll_out(still, controls).state[0]
    assert (state[:6] == 0).all()
    assert state[6, 1].item() == pytest.approx(0.1, abs=0.01)
    assert (state[7:, 1] > state[6, 1]).all()


def test_energy_is_conserved_without_friction_and_torque():
    start = torch.tensor([[0.3, 1.0], [3.0, 8.0], [1.5, -4.0]], dtype=torch.float64)
    state = Pendulum(damping=0.0, num_frames=200)._swing(start, torch.zeros(3, 200, 1, dtype=torch.float64))
    energy = 0.5 * state[..., 1].square() + 9.81 * state[..., 0].cos()
    assert (energy - energy[:, :1]).abs().max() < 5e-3


def test_spread_is_that_of_the_original_data():
    state = Pendulum().simulate(4000, generator()).state
    assert state[..., 1].std().item() == pytest.approx(3.69, rel=0.05)
    assert state[..., 0].sin().var().item() == pytest.approx(0.502, abs=0.02)
    assert state[..., 0].cos().var().item() == pytest.approx(0.473, abs=0.02)


def test_controls_fill_their_range_and_the_first_is_zero():
    controls = Pendulum().simulate(500, generator()).controls
    assert controls.shape == (500, 15, 1)
    assert (controls[:, 0] == 0).all()
    assert -2 <= controls.min() < -1.9
    assert 1.9 < controls.max() <= 2


def test_bob_is_where_the_angle_says():
    angles = torch.tensor([[0.0, 0.0], [math.pi / 2, 0.0], [math.pi, 0.0]], dtype=torch.float64)
    videos = Pendulum(num_frames=1).roll_out(angles, torch.zeros(3, 1, 1, dtype=torch.float64))
    expected = torch.tensor([[7.5, 2.5], [12.5, 7.5], [7.5, 12.5]])  # up, right, down
    torch.testing.assert_close(videos.positions[:, 0, 0], expected)
    assert videos.frames.max() == 1
    assert videos.frames.min() == 0
    assert ((videos.frames > 0) & (videos.frames < 1)).any()  # antialiased


def test_velocities_are_the_slope_of_the_positions():
    videos = Pendulum(time_step=0.001, num_substeps=1).simulate(20, generator())
    slope = videos.positions[:, 1:] - videos.positions[:, :-1]
    middle = 0.5 * (videos.velocities[:, 1:] + videos.velocities[:, :-1])
    torch.testing.assert_close(slope, middle, rtol=0, atol=1e-4)


def test_wrong_settings_and_calls_are_named():
    with pytest.raises(ValueError, match="num_substeps: expected a positive number, got 0; leave it out"):
        Pendulum(num_substeps=0)
    with pytest.raises(ValueError, match="num_sequences: expected a positive number, got 0; ask for at least one"):
        Pendulum().simulate(0, generator())
    with pytest.raises(ValueError, match=r"initial_state: expected \(sequences, 2\), got \(5, 3\); give phi"):
        Pendulum().roll_out(torch.zeros(5, 3), torch.zeros(5, 15, 1))
    with pytest.raises(
        ValueError, match=r"controls: expected \(sequences, time, 1\) = \(5, 15, 1\), got \(5, 14, 1\); give"
    ):
        Pendulum().roll_out(torch.zeros(5, 2), torch.zeros(5, 14, 1))
