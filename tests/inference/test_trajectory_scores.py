"""The three queries: the exact distribution's floors, and scores of a model whose answers are known."""

import pytest
import torch

from guides import NoLatentsGuide, ObjectFilterGuide, ObjectPotentialsGuide
from inference.scores.ballistic_oracle import oracle_law, oracle_positions
from inference.scores.score import Evaluated
from inference.scores.trajectories import Trajectories
from pyro_models import DynamicsFromPixels, EncoderDecoderLSTM
from pyro_models.dynamics_from_pixels.covariances import STRIDE
from pyro_models.dynamics_from_pixels.object_renderers import LOGIT_UNIT, GlyphRenderer
from videos import Cannonballs, VideoBatch
from videos.missing import gap, tail


def test_the_law_of_the_simulator_has_the_moments_of_its_ranges():
    """Those of the ranges from which places, angles and speeds are drawn, for each of the two sides."""
    law = oracle_law(Cannonballs())
    start = law.components
    torch.testing.assert_close(
        start.initial_mean,
        torch.tensor([[-0.30, 0, 1.60, 1.91], [0.60, 0, -1.60, 1.91]], dtype=torch.float64),
        rtol=0,
        atol=6e-3,
    )
    variances = torch.tensor([0.0133, 0.0833, 0.072, 0.075], dtype=torch.float64)
    torch.testing.assert_close(
        start.initial_covariance.diagonal(dim1=-2, dim2=-1), variances.expand(2, 4), rtol=0, atol=1e-3
    )
    moving = start.initial_covariance[:, 2:, 2:]
    correlation = moving[:, 0, 1] / (moving[:, 0, 0] * moving[:, 1, 1]).sqrt()
    torch.testing.assert_close(correlation, torch.tensor([0.12, -0.12], dtype=torch.float64), rtol=0, atol=0.01)


def test_the_law_of_the_simulator_fits_its_videos():
    simulator = Cannonballs(min_balls=1, max_balls=1)
    videos = simulator.simulate(2000, torch.Generator().manual_seed(0))
    state = videos.state[:, 0].double()
    side = videos.labels[:, 0, 0]
    law = oracle_law(simulator).components
    for label in range(2):
        mine = state[side == label]
        torch.testing.assert_close(mine.mean(0), law.initial_mean[label], rtol=0, atol=0.04)
        torch.testing.assert_close(torch.cov(mine.T), law.initial_covariance[label], rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("observed", "error"), [(tail(300, 30, num_seen=5), 0.0658), (gap(300, 30, length=20, start=5), 0.0136)]
)
def test_floors_of_exact_inference(observed, error):
    """Section 7: mean distance to the noise-free path in frames 6 to 25, in units, for balls from the left."""
    simulator = Cannonballs(min_balls=1, max_balls=1)
    videos = simulator.simulate(900, torch.Generator().manual_seed(0))
    left = (videos.labels[:, 0, 0] == 0).nonzero()[:300, 0]
    videos = videos.select(left)
    found = oracle_positions(simulator, videos.positions, observed)
    apart = (found - simulator.clean_positions(videos)) / simulator.pixels_per_unit
    assert apart[:, 5:25].norm(dim=-1).mean().item() == pytest.approx(error, rel=0.06)
    hidden = torch.where(observed[:, :, None, None], videos.positions, torch.nan)
    torch.testing.assert_close(oracle_positions(simulator, hidden, observed), found)


@pytest.fixture
def pasted():
    """A model that draws discs where positions are, and knows gravity; its guide reads keypoints."""
    simulator = Cannonballs(size=32, max_balls=1)
    model = DynamicsFromPixels((1, 32, 32), 1, renderer=GlyphRenderer((1, 32, 32)))
    unit = 32 / 6
    with torch.no_grad():
        rows = torch.arange(9.0) - 4
        disc = rows[:, None].square() + rows.square() <= 4
        model.renderer.scaled_glyph.copy_(torch.where(disc, 6.0, -9.0) / LOGIT_UNIT)
        model.renderer.scaled_base_logit.fill_(-9.0 / LOGIT_UNIT)
        law = oracle_law(simulator).components
        scale = (simulator.pixels_per_unit / unit).float()
        model.prior.log_step.fill_(torch.tensor(0.015).log())
        model.prior.offset.copy_(scale * torch.tensor([0.0, -9.81 * 0.015]))
        middle = (simulator.pixel_offset - 15.5) / unit
        mean = law.initial_mean.unflatten(-1, (2, 2)) * scale
        mean[:, 0] += middle
        model.prior.initial_mean.copy_(mean.flatten(1))
        for covariance, variance in (("emission_covariance", 0.0065), ("transition_covariance", 1e-7)):
            raw = torch.full((), variance).sqrt() - 1e-4
            getattr(model.prior, covariance).scaled_raw.fill_(torch.expm1(raw).log() / STRIDE)
    return simulator, model


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("build", [ObjectFilterGuide, ObjectPotentialsGuide])
def test_a_model_that_knows_the_world_scores_as_it_should(pasted, build):
    simulator, model = pasted
    guide = build(model, state_dim=5, reading="keypoints", first_log_scale=-4.0)
    with torch.no_grad():
        guide.mean.attention.weight.zero_()
    videos = simulator.simulate(60, torch.Generator().manual_seed(0))
    scores = Trajectories(simulator=simulator).compute(Evaluated(model, guide, videos))
    assert scores.r_squared[1] > 0.99
    assert scores.error[1] < 0.6
    assert scores.swaps == {}
    assert scores.side_accuracy > 0.95
    assert scores.true_acceleration[0] == 0
    assert scores.acceleration == pytest.approx(scores.true_acceleration, rel=0.03, abs=0.003)
    assert 0 < scores.prior_gap < 15
    found = {(one.query, one.method): one for one in scores.predictions}
    for method in ("smoothing", "first frames"):
        forecast, filled = found["forecast", method], found["interpolation", method]
        assert len(forecast.position_errors) == 25
        assert len(filled.position_errors) == 20
        floor = found["interpolation", "exact law of positions"].position_error
        assert floor * 0.9 < filled.position_error < 2 * floor
        assert filled.position_error < forecast.position_error / 2
        assert filled.nats < forecast.nats < found["forecast", "last frame"].nats
        assert filled.overlap > forecast.overlap
        assert forecast.disc_error == pytest.approx(forecast.position_error, rel=0.1)  # a frame rounds to pixels
        assert filled.disc_error < forecast.disc_error / 2


def test_a_model_without_positions_is_scored_by_its_frames():
    simulator = Cannonballs(size=32, max_balls=2)
    model = EncoderDecoderLSTM((1, 32, 32), state_dim=5, code_dim=4, hidden=(), control_dim=2)
    videos = simulator.simulate(8, torch.Generator().manual_seed(0))
    scores = Trajectories(simulator=simulator).compute(Evaluated(model, NoLatentsGuide(model), videos))
    assert scores.r_squared == scores.error == scores.swaps == {}
    assert scores.side_accuracy is None
    assert scores.acceleration is None
    assert scores.prior_gap is None
    assert {one.balls for one in scores.predictions} == {1, 2}
    assert {one.method for one in scores.predictions} == {"autoregressive", "last frame"}
    assert all(one.position_error is None and one.nats > 0 for one in scores.predictions)
    assert all(len(one.disc_errors) == {"forecast": 25, "interpolation": 20}[one.query] for one in scores.predictions)


def test_videos_that_cannot_be_scored_are_refused():
    model = EncoderDecoderLSTM((1, 32, 32), state_dim=5, code_dim=4, hidden=(), control_dim=1)
    short = Cannonballs(num_frames=10, size=32, max_balls=1)
    videos = short.simulate(2, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="videos: expected more than 10 frames, since the first 5 and the last 5"):
        Trajectories(simulator=short).compute(Evaluated(model, NoLatentsGuide(model), videos))
    with pytest.raises(ValueError, match="videos: expected presence and positions"):
        Trajectories(simulator=short).compute(Evaluated(model, NoLatentsGuide(model), VideoBatch(videos.frames)))
