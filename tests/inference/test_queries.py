"""These tests pin: one mechanism answers for guides that complete and guides that draw, in chunks, seeded, disturbing
nothing, never reading a missing frame; with the values checked against what the model says in closed form."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from guides import GlimpseAttentionGuide, RecurrentGuide
from inference import queries
from inference.queries import imputation
from inference.queries.imputation import Imputation
from pyro_models import AttendInferRepeat, DeepMarkovModel, KalmanVAE

SEQUENCES, TIME, SHAPE = 5, 7, (2, 3, 4)


class Model(PyroModule):
    """A level per frame and a hue per sequence; frame = level * hue, with a discrete switch that flips its sign."""

    frame_shape = SHAPE

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, frames, observed=None, controls=None):
        sequences, time = frames.shape[:2]
        seen = torch.ones(sequences, time, dtype=torch.bool) if observed is None else observed
        frames = torch.where(seen[:, :, None, None, None], frames, 0)
        with pyro.plate("sequences", sequences, dim=-1):
            hue = pyro.sample("hue", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            flip = pyro.sample("flip", dist.Bernoulli(torch.tensor(0.5)))
            with pyro.plate("time", time, dim=-2):
                level = pyro.sample("level", dist.Normal(0.0, 1.0))
                if controls is not None:
                    level = level + controls[..., 0].T
                mean = self.gain * ((1 - 2 * flip) * level)[..., None] * hue
                mean = mean[..., None, None].expand(mean.shape + SHAPE[1:])
                pyro.sample("frames", dist.Normal(mean, 0.1).to_event(3).mask(seen.T), obs=frames.transpose(0, 1))


class DrawingGuide(PyroModule):
    def forward(self, frames, observed=None, controls=None):
        if observed is not None:
            frames = torch.where(observed[:, :, None, None, None], frames, 0)
        brightness = frames.mean((2, 3, 4))
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("hue", dist.Normal(frames.mean((1, 3, 4)), 0.01).to_event(1))
            pyro.sample("flip", dist.Bernoulli(torch.zeros(frames.shape[0])))
            with pyro.plate("time", frames.shape[1], dim=-2):
                pyro.sample("level", self.level_law(brightness, observed))

    def level_law(self, brightness, observed):
        return dist.Normal(brightness.T, 0.5)


class CompletingGuide(DrawingGuide):
    completion_methods = ("looking ahead", "looking back")

    def complete(self, frames, observed=None, controls=None, *, method="looking ahead", num_samples=None, sign=1.0):
        if observed is not None:
            frames = torch.where(observed[:, :, None, None, None], frames, 0)
        lead = () if num_samples is None else (num_samples,)
        singleton = () if num_samples is None else (num_samples, 1)
        level = frames.mean((2, 3, 4)).T * (sign if method == "looking ahead" else 2.0)
        level = level.expand(*lead, *level.shape)
        sequences = frames.shape[0]
        hue = torch.ones(*singleton, sequences, 2)
        if num_samples is not None:
            level = level + torch.randn(level.shape)
        return {"hue": hue, "flip": torch.zeros(*singleton, sequences), "level": level, "unused": hue}


@pytest.fixture
def frames():
    return torch.rand(SEQUENCES, TIME, *SHAPE)


@pytest.fixture
def observed():
    observed = torch.rand(SEQUENCES, TIME) > 0.4
    observed[:, 0] = False
    observed[:, 1] = True
    return observed


def test_a_completing_guide_s_point_estimate_is_decoded(frames):
    answer = queries.reconstruct(Model(), CompletingGuide(), frames)
    level = frames.mean((2, 3, 4))
    torch.testing.assert_close(answer.frames, level[:, :, None, None, None].expand(SEQUENCES, TIME, *SHAPE))
    torch.testing.assert_close(answer.latents["level"], level.T)
    assert set(answer.latents) == {"hue", "flip", "level"}
    assert answer.method == "looking ahead"
    assert answer.samples is None
    assert answer.observed.all()


def test_methods_and_options_reach_the_guide(frames):
    plain = queries.reconstruct(Model(), CompletingGuide(), frames).frames
    back = queries.reconstruct(Model(), CompletingGuide(), frames, method="looking back")
    torch.testing.assert_close(back.frames, 2 * plain)
    assert back.method == "looking back"
    torch.testing.assert_close(queries.reconstruct(Model(), CompletingGuide(), frames, sign=-1.0).frames, -plain)
    with pytest.raises(TypeError, match="sing"):
        queries.reconstruct(Model(), CompletingGuide(), frames, sing=-1.0)


def test_draws_spread_as_the_latents_do_and_the_interval_covers_them(frames):
    answer = queries.reconstruct(Model(), CompletingGuide(), frames, num_samples=4000, coverage=0.8)
    assert answer.samples.shape == (4000, SEQUENCES, TIME, *SHAPE)
    assert answer.latent_samples["level"].shape == (4000, TIME, SEQUENCES)
    assert answer.latent_samples["hue"].shape == (4000, 1, SEQUENCES, 2)
    # level is normal with spread 1: the 80 % interval is mean -+ 1.2816; its standard error over 4000 draws is 0.027
    torch.testing.assert_close(answer.upper - answer.frames, torch.full_like(frames, 1.2816), rtol=0, atol=0.17)
    torch.testing.assert_close(answer.frames - answer.lower, torch.full_like(frames, 1.2816), rtol=0, atol=0.17)
    inside = ((answer.samples >= answer.lower) & (answer.samples <= answer.upper)).float().mean()
    assert abs(inside - 0.8) < 0.01


def test_a_guide_without_complete_is_drawn_from(frames):
    answer = queries.reconstruct(Model(), DrawingGuide(), frames, num_samples=300)
    assert answer.method is None
    assert answer.latent_samples["hue"].shape == (300, 1, SEQUENCES, 2)
    assert answer.latent_samples["level"].shape == (300, TIME, SEQUENCES)
    assert answer.latents["hue"].shape == (SEQUENCES, 2)
    torch.testing.assert_close(answer.latents["level"], answer.latent_samples["level"].mean(0))
    torch.testing.assert_close(answer.frames, answer.samples.mean(0))
    level, hue = answer.latent_samples["level"][3, 2, 4], answer.latent_samples["hue"][3, 0, 4]
    torch.testing.assert_close(answer.samples[3, 4, 2, :, 0, 0], level * hue)
    few = queries.reconstruct(Model(), DrawingGuide(), frames)
    assert few.samples is None
    assert few.latents["flip"].shape == (SEQUENCES,)


@pytest.mark.parametrize("guide", [CompletingGuide(), DrawingGuide()], ids=["completes", "draws"])
@pytest.mark.parametrize("frames_per_chunk", [1, 2 * TIME, 10**6])
def test_chunks_change_shapes_nowhere_and_points_not_at_all(frames, observed, guide, frames_per_chunk):
    settings = {"num_samples": 3, "frames_per_chunk": frames_per_chunk}
    answer = queries.impute(Model(), guide, frames, observed, **settings)
    assert answer.frames.shape == frames.shape
    assert answer.samples.shape == (3, *frames.shape)
    assert answer.latent_samples["hue"].shape == (3, 1, SEQUENCES, 2)
    assert answer.latent_samples["level"].shape == (3, TIME, SEQUENCES)
    assert answer.latents["level"].shape == (TIME, SEQUENCES)
    if isinstance(guide, CompletingGuide):
        whole = queries.impute(Model(), guide, frames, observed)
        torch.testing.assert_close(answer.frames, whole.frames)


def test_missing_frames_are_never_read_and_gaps_are_filled(frames, observed):
    seen = observed[:, :, None, None, None]
    holes = torch.where(seen, frames, float("nan"))
    answer = queries.impute(Model(), CompletingGuide(), holes, observed)
    assert torch.equal(answer.frames, queries.impute(Model(), CompletingGuide(), frames, observed).frames)
    filled = answer.fill(holes)
    assert torch.equal(filled, torch.where(seen, frames, answer.frames))
    with pytest.raises(ValueError, match=r"observed: expected bool \(sequences, time\), False = missing, got None"):
        queries.impute(Model(), CompletingGuide(), frames)


def test_a_forecast_appends_missing_frames(frames, observed):
    answer = queries.forecast(Model(), CompletingGuide(), frames, observed, num_frames=3, num_samples=2)
    assert answer.frames.shape == (SEQUENCES, TIME + 3, *SHAPE)
    assert answer.samples.shape == (2, SEQUENCES, TIME + 3, *SHAPE)
    assert torch.equal(answer.observed[:, :TIME], observed)
    assert not answer.observed[:, TIME:].any()
    filled = answer.fill(frames)
    assert torch.equal(filled[:, :TIME][observed], frames[observed])
    assert torch.equal(filled[:, TIME:], answer.frames[:, TIME:])


def test_a_forecast_needs_the_controls_to_come(frames):
    controls = torch.rand(SEQUENCES, TIME + 3, 1)
    answer = queries.forecast(Model(), CompletingGuide(), frames, controls=controls, num_frames=3)
    expected = controls[:, TIME:, :, None, None].expand(SEQUENCES, 3, *SHAPE)
    torch.testing.assert_close(answer.frames[:, TIME:], expected)
    with pytest.raises(ValueError, match=r"controls: expected .* = \(5, 10, ...\), got \(5, 7, 1\); a forecast needs"):
        queries.forecast(Model(), CompletingGuide(), frames, controls=controls[:, :TIME], num_frames=3)
    with pytest.raises(ValueError, match="num_frames: expected at least 1, got 0"):
        queries.forecast(Model(), CompletingGuide(), frames, num_frames=0)


def test_generation_draws_from_the_prior():
    model = Model()
    new = queries.generate(model, 2000, 3, frames_per_chunk=300)
    assert new.frames.shape == (2000, 3, *SHAPE)
    assert new.latents["level"].shape == (3, 2000)
    assert new.latents["hue"].shape == (2000, 2)
    sign = 1 - 2 * new.latents["flip"]
    torch.testing.assert_close(new.frames[:, 1, 0, 0, 0], sign * new.latents["level"][1] * new.latents["hue"][:, 0])
    # standard error of the standard deviation over 6000 draws: 0.009
    assert abs(new.latents["level"].std() - 1) < 0.05
    other = queries.generate(model, 2, 3, seed=1)
    assert not torch.equal(other.latents["level"], queries.generate(model, 2, 3).latents["level"])
    assert torch.equal(other.latents["level"], queries.generate(model, 2, 3, seed=1).latents["level"])
    controls = torch.full((2, 3, 1), 100.0)
    assert queries.generate(model, 2, 3, controls=controls).frames.abs().mean() > 10
    with pytest.raises(ValueError, match="frame_shape: expected .* got None, and the model has no frame_shape"):
        queries.generate(lambda frames, observed, controls: None, 2, 3)
    with pytest.raises(ValueError, match="num_sequences: expected at least 1, got 0"):
        queries.generate(model, 0, 3)


@pytest.mark.parametrize("guide", [CompletingGuide(), DrawingGuide()], ids=["completes", "draws"])
def test_answers_are_seeded_free_of_gradients_and_leave_no_trace(frames, guide):
    model = Model()
    pyro.set_rng_seed(3)
    expected = torch.rand(4)
    pyro.set_rng_seed(3)
    first = queries.reconstruct(model, guide, frames, num_samples=2)
    assert torch.equal(torch.rand(4), expected)
    again = queries.reconstruct(model, guide, frames, num_samples=2)
    other = queries.reconstruct(model, guide, frames, num_samples=2, seed=1)
    assert torch.equal(first.samples, again.samples)
    assert not torch.equal(first.samples, other.samples)
    assert not first.frames.requires_grad
    assert model.training
    assert len(pyro.get_param_store()) == 0


def test_the_record_checks_its_shapes(frames):
    with pytest.raises(TypeError, match="samples"):
        Imputation(frames, torch.ones(SEQUENCES, TIME, dtype=torch.bool), {}, samples=frames)


def test_wrong_arguments_are_named(frames):
    model, guide = Model(), CompletingGuide()
    with pytest.raises(
        ValueError, match="method: expected one of 'looking ahead', 'looking back' for CompletingGuide, got"
    ):
        queries.reconstruct(model, guide, frames, method="sideways")
    with pytest.raises(ValueError, match="got 'looking bak'; did you mean 'looking back'?"):
        queries.reconstruct(model, guide, frames, method="looking bak")
    with pytest.raises(
        ValueError, match=r"method, sign: expected none, since DrawingGuide has no complete\(\), only draws"
    ):
        queries.reconstruct(model, DrawingGuide(), frames, method="looking back", sign=1.0)
    with pytest.raises(ValueError, match="num_samples: expected at least 1, got 0"):
        queries.reconstruct(model, guide, frames, num_samples=0)
    with pytest.raises(ValueError, match=r"coverage: expected a probability between 0 and 1, got 1\.5"):
        queries.reconstruct(model, guide, frames, num_samples=2, coverage=1.5)
    with pytest.raises(ValueError, match="frames_per_chunk: expected at least 1, got 0"):
        queries.reconstruct(model, guide, frames, frames_per_chunk=0)
    with pytest.raises(
        ValueError, match=r"frames: expected \(sequences, time, channels, height, width\) = .*, got \(5, 7\)"
    ):
        queries.reconstruct(model, guide, frames[:, :, 0, 0, 0])
    with pytest.raises(
        ValueError, match=r"observed: expected bool \(sequences, time\) = \(5, 7\), got torch.float32 \(5, 7"
    ):
        queries.reconstruct(model, guide, frames, torch.ones(5, 7))


def test_a_guide_that_leaves_out_a_latent_is_named(frames):
    class Forgetful(CompletingGuide):
        def complete(self, *arguments, **options):
            values = super().complete(*arguments, **options)
            del values["hue"]
            return values

    with pytest.raises(ValueError, match="Forgetful.complete: expected values for all latents .* got none for hue"):
        queries.reconstruct(Model(), Forgetful(), frames)


class MaskingGuide(DrawingGuide):
    """Says nothing of the level of a missing frame, as the guide of a model that leaves it out would."""

    def level_law(self, brightness, observed):
        law = super().level_law(brightness, observed)
        return law if observed is None else law.mask(observed.T)


class OnlyDraws(PyroModule):
    """A guide without its `complete`."""

    def __init__(self, guide):
        super().__init__()
        self.guide = guide

    def forward(self, frames, observed=None, controls=None):
        return self.guide(frames, observed, controls)


@pytest.mark.parametrize("ask", [queries.impute, queries.reconstruct])
def test_draws_that_no_density_holds_to_anything_are_refused(frames, observed, ask):
    message = (
        "guide: expected complete.. and completion_methods, or draws that guide and model score where frames are "
        "missing, got MaskingGuide without complete.., and the guide leaves out 'level' there, so its draws are "
        "meaningless; give the guide complete"
    )
    with pytest.raises(ValueError, match=message):
        ask(Model(), MaskingGuide(), frames, observed)
    with pytest.raises(ValueError, match=message):
        queries.forecast(Model(), MaskingGuide(), frames, num_frames=2)
    assert queries.reconstruct(Model(), MaskingGuide(), frames, torch.ones_like(observed)).frames.isfinite().all()
    assert queries.reconstruct(Model(), MaskingGuide(), frames).frames.isfinite().all()


def test_one_missing_frame_in_one_sequence_is_enough(frames):
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[-1, -1] = False
    with pytest.raises(ValueError, match="leaves out 'level'"):
        queries.impute(Model(), MaskingGuide(), frames, observed, frames_per_chunk=1)


def test_draws_that_the_model_leaves_out_are_refused(observed):
    """A Kalman VAE has no density for the code of a missing frame, whether its guide has one or not."""
    model = KalmanVAE((1, 8, 8), code_dim=2, decoder="mlp")
    frames = torch.rand(SEQUENCES, TIME, 1, 8, 8).round()

    class Careless(PyroModule):
        masks = False

        def forward(self, frames, observed=None, controls=None):
            law = dist.Normal(torch.zeros(*frames.shape[:2], 2), 1.0).to_event(1)
            with pyro.plate("sequences", frames.shape[0], dim=-1):
                pyro.sample("a", (law.mask(observed) if self.masks else law).to_event(1))

    guide = Careless()
    with pytest.raises(ValueError, match="and the model leaves out 'a' there"):
        queries.impute(model, guide, frames, observed)
    guide.masks = True
    with pytest.raises(ValueError, match="and the guide and the model leave out 'a' there"):
        queries.impute(model, guide, frames, observed)


@pytest.mark.slow
def test_draws_from_the_prior_at_missing_frames_are_answers(observed):
    """A recurrent guide without its `complete`: a forecast is then the average of draws of the model itself."""
    model = DeepMarkovModel((1, 8, 8), hidden_dim=6, likelihood="bernoulli")
    guide = RecurrentGuide(model, hidden_dim=6)
    frames = torch.rand(SEQUENCES, TIME, 1, 8, 8).round()
    answer = queries.impute(model, OnlyDraws(guide), frames, observed, num_samples=3)
    assert answer.method is None
    assert answer.samples.shape == (3, SEQUENCES, TIME, 1, 8, 8)
    ahead = queries.forecast(model, OnlyDraws(guide), frames, num_frames=1, num_samples=4000)
    completed = queries.forecast(model, guide, frames, num_frames=1, num_samples=4000)
    torch.testing.assert_close(ahead.samples.mean(0)[:, -1], completed.samples.mean(0)[:, -1], rtol=0, atol=0.02)


def test_objects_that_are_absent_are_left_out_for_a_reason_of_their_own(observed):
    model = AttendInferRepeat((1, 8, 8), num_slots=2, what_dim=2, glimpse_size=4, hidden=(5,), another=0.5)
    guide = GlimpseAttentionGuide(model, hidden_dim=5)
    frames = torch.rand(SEQUENCES, TIME, 1, 8, 8)
    assert queries.impute(model, OnlyDraws(guide), frames, observed).frames.isfinite().all()


def test_looking_at_the_draws_first_changes_none(frames, observed, monkeypatch):
    answer = queries.impute(Model(), DrawingGuide(), frames, observed, num_samples=3, seed=4)
    monkeypatch.setattr(imputation, "check_draws_at_missing", lambda *arguments, **settings: None)
    same = queries.impute(Model(), DrawingGuide(), frames, observed, num_samples=3, seed=4)
    assert torch.equal(answer.samples, same.samples)


def test_a_model_without_the_frames_site_is_named(frames):
    def nameless(frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0))

    def unplated(frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("frames", dist.Normal(torch.zeros(frames.shape[1:]), 1.0).to_event(4), obs=frames)

    with pytest.raises(ValueError, match="model: expected an observed site 'frames', got sites x"):
        queries.reconstruct(nameless, CompletingGuide(), frames)
    with pytest.raises(
        ValueError, match=r"model: expected site 'frames' in plates .* got plates \['sequences'\] and event"
    ):
        queries.reconstruct(unplated, CompletingGuide(), frames)
