"""Baselines by hand, exact on lines between walls, and their published errors on moving digits."""

import pytest
import torch

from inference.metrics import constant_velocity, hold_last, match_on_prefix
from pyro_models.components.scene import Scene
from videos import DDPAEDigits, EllipticDigits, LinearDigits
from videos.digit_motions import _SubPixelDigits
from videos.moving_digits import DigitScenes, _scaled


@pytest.fixture
def unfilmed(monkeypatch):
    """Thousands of sequences without their frames, whose black pixels share one number."""

    def black(simulator, tiles, corner, presence):
        return torch.zeros(1).expand(*corner.shape[:2], 1, simulator.size, simulator.size)

    _scaled.cache_clear()
    for motions in (DigitScenes, _SubPixelDigits):
        monkeypatch.setattr(motions, "_film", black)


def test_the_last_position_and_the_last_velocity_are_kept():
    places = torch.tensor([[1.0, 5.0], [2.0, 5.0], [4.0, 3.0], [torch.nan, torch.nan], [0.0, torch.nan]])
    places = places[None, :, None].expand(3, 5, 2, 2)
    assert hold_last(places, 3)[0, :, 1].tolist() == [[1, 5], [2, 5], [4, 3], [4, 3], [4, 3]]
    assert hold_last(places, 1)[2, :, 0].tolist() == [[1, 5]] * 5
    assert constant_velocity(places, 3)[1, :, 0].tolist() == [[1, 5], [2, 5], [4, 3], [6, 1], [8, -1]]
    walls = (torch.tensor(0.0), torch.tensor([7.0, 5.0]))
    assert constant_velocity(places, 3, walls)[1, :, 0].tolist() == [[1, 5], [2, 5], [4, 3], [6, 1], [6, 1]]
    for whole in (hold_last(places[:, :3], 3), constant_velocity(places[:, :3], 3)):
        assert torch.equal(whole, places[:, :3])


def test_a_line_between_walls_is_mirrored_step_by_step():
    """What goes too far comes back by as much and the velocity flips; each object has its own walls."""
    generator = torch.Generator().manual_seed(0)
    low = 8 * torch.rand(20, 3, 2, generator=generator, dtype=torch.float64) - 4
    high = low + 20 + 10 * torch.rand(20, 3, 2, generator=generator, dtype=torch.float64)
    place = low + (high - low) * torch.rand(20, 3, 2, generator=generator, dtype=torch.float64)
    velocity = 12 * torch.rand(20, 3, 2, generator=generator, dtype=torch.float64) - 6
    path, bounces = [], torch.zeros(20, 3, 2)
    for _ in range(101):
        path.append(place)
        place = place + velocity
        below, above = place < low, place > high
        place = torch.where(below, 2 * low - place, torch.where(above, 2 * high - place, place))
        velocity = torch.where(below | above, -velocity, velocity)
        bounces += below | above
    path = torch.stack(path, 1)
    free = torch.isclose(path[:, 2] - path[:, 1], path[:, 1] - path[:, 0]).all(-1)  # no bounce among the first three
    predicted = constant_velocity(path[:, 1:], 2, (low, high))
    apart = (predicted - path[:, 1:]).norm(dim=-1).transpose(1, 2)
    assert free.sum() > 20
    assert bounces[free].mean() > 5
    assert apart[free].max() < 1e-9
    assert apart[~free].amax(-1).max() > 5
    assert apart.isfinite().all()


@pytest.mark.slow
@pytest.mark.usefixtures("unfilmed")
@pytest.mark.parametrize(("motion", "hold", "velocity"), [(LinearDigits, 13.6, 21.4), (EllipticDigits, 13.4, 16.6)])
def test_errors_on_digits_after_five_frames(motion, hold, velocity, data_folder):
    """Means over frames 6 to 20, pixels, measured independently; a model that learned anything is below them."""
    videos = motion(folder=data_folder / "mnist").simulate(6000, torch.Generator().manual_seed(0))
    for baseline, expected, tolerance in ((hold_last, hold, 0.3), (constant_velocity, velocity, 0.5)):
        scene = Scene(videos.presence.float(), baseline(videos.positions, 5))
        matches = match_on_prefix(scene, videos, 5)
        assert matches.prediction_error.mean == pytest.approx(expected, abs=tolerance)
        assert 0 < matches.prediction_error.standard_error < 0.2
        assert matches.counting_accuracy == 1
        curve = matches.error_by_frame()
        assert curve.means[:5].max() == 0
        assert curve.predicted.mean() == pytest.approx(matches.prediction_error.mean)


@pytest.mark.slow
@pytest.mark.usefixtures("unfilmed")
def test_errors_on_the_videos_of_ddpae_after_ten_frames(data_folder):
    """Hold last: mean over frames 11 to 20, then at frames 30 and 60, pixels, measured independently."""
    videos = DDPAEDigits(num_frames=60, folder=data_folder / "mnist").simulate(3000, torch.Generator().manual_seed(0))
    matches = match_on_prefix(Scene(positions=hold_last(videos.positions, 10)), videos, 10)
    curve = matches.error_by_frame()
    measured = (matches.first_frames(20).prediction_error.mean, curve.means[29], curve.means[59])
    assert [float(value) for value in measured] == pytest.approx((14.7, 17.9, 19.3), abs=0.4)


def test_wrong_arguments_are_named():
    places = torch.rand(2, 5, 3, 2)
    for prefix in (0, 6):
        with pytest.raises(ValueError, match=f"prefix: expected 1 to the number of frames = 5, got {prefix}; give"):
            hold_last(places, prefix)
    for prefix in (1, 6):
        with pytest.raises(ValueError, match=f"prefix: expected 2 to the number of frames = 5, got {prefix}; give"):
            constant_velocity(places, prefix)
    with pytest.raises(ValueError, match="walls: expected lowest positions below the highest, got some that are not"):
        constant_velocity(places, 2, (torch.tensor([0.0, 5.0]), torch.tensor([4.0, 5.0])))
