"""An exact guide passes calibration; one too narrow, too wide or biased is named as such; weights correct it."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from inference import calibrate
from inference.pictures import draw_calibration
from inference.programs.simulation import simulate
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters

EXACT = ToyParameters.make(exact_for=3)
TEMPLATE = torch.full((400, 3), float("nan"), dtype=torch.float64)


def changed(**values):
    p = ToyParameters.make(exact_for=3)
    for name, change in values.items():
        setattr(p, name, getattr(p, name) + change)
    return ToyGuide(p)


def toy_calibration(guide, **options):
    return calibrate(ToyModel(EXACT), guide, TEMPLATE, num_draws=60, seed=1, **options)


def test_the_exact_posterior_is_calibrated():
    result = toy_calibration(changed())
    assert result.verdicts() == {"z": "calibrated"} == result.verdicts(weighted=True)
    torch.testing.assert_close(result.effective_sample_size, torch.full((400,), 60.0, dtype=torch.float64))
    assert result.ranks["z"].shape == (400, 1)
    assert "calibrated (p" in str(result)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"log_e": -0.3466}, "too narrow"),  # half the variance
        ({"log_e": 0.3466}, "too wide"),  # twice the variance
        ({"c": 0.15}, "biased"),
    ],
)
def test_a_wrong_guide_is_told_in_what_way(change, verdict):
    result = toy_calibration(changed(**change))
    assert result.verdicts() == {"z": verdict}
    assert result.p_values()["z"] < 1e-4
    assert result.p_values(weighted=True)["z"] > 100 * result.p_values()["z"]


def test_discrete_sites_are_ranked_with_random_ties():
    def model(x, *_):
        with pyro.plate("sequences", x.shape[0]):
            k = pyro.sample("k", dist.Bernoulli(torch.tensor(0.3, dtype=x.dtype)))
            pyro.sample("frames", dist.Normal(k, 1.0), obs=x)

    def guide_with(shift):
        def guide(x, *_):
            with pyro.plate("sequences", x.shape[0]):
                odds = torch.tensor(0.3 / 0.7, dtype=x.dtype).log() + x - 0.5 + shift  # Bayes' rule
                pyro.sample("k", dist.Bernoulli(logits=odds))

        return guide

    template = torch.zeros(600, dtype=torch.float64)
    assert calibrate(model, guide_with(0.0), template, num_draws=30).verdicts() == {"k": "calibrated"}
    assert calibrate(model, guide_with(1.5), template, num_draws=30).verdicts() == {"k": "biased"}


def test_one_seed_gives_one_result_and_chunks_of_videos_change_draws_only():
    first, again = (toy_calibration(changed(log_e=-0.3)) for _ in range(2))
    assert torch.equal(first.ranks["z"], again.ranks["z"])
    parted = toy_calibration(changed(log_e=-0.3), sequences_per_chunk=150, draws_per_chunk=7)
    assert parted.verdicts() == first.verdicts()


def test_simulated_videos_follow_the_model_and_ignore_the_template():
    frames, latents = simulate(ToyModel(EXACT), TEMPLATE, seed=3)
    assert frames.shape == TEMPLATE.shape
    assert set(latents) == {"z"}
    assert bool(torch.isfinite(frames).all())
    scored = poutine.trace(poutine.condition(ToyModel(EXACT), latents)).get_trace(frames)
    assert bool(torch.isfinite(scored.log_prob_sum()))
    assert torch.equal(simulate(ToyModel(EXACT), TEMPLATE, seed=3)[0], frames)


def test_wrong_calls():
    def silent(x, *_):
        with pyro.plate("sequences", x.shape[0]):
            pyro.sample("z", dist.Normal(torch.zeros_like(x[:, 0]), 1.0))

    with pytest.raises(ValueError, match="model: expected an observed site 'frames', got sites 'z'"):
        simulate(silent, TEMPLATE)
    with pytest.raises(ValueError, match="num_draws: expected at least 1, got 0"):
        calibrate(ToyModel(EXACT), changed(), TEMPLATE, num_draws=0)


def test_the_picture_has_a_row_for_each_site():
    figure = draw_calibration(toy_calibration(changed(log_e=-0.3466)))
    assert [axes.get_title() for axes in figure.axes][1] == "guide: too narrow"
    figure.canvas.draw()


CHANCE, SPREAD, NOISE = 0.4, 2.0, 0.5


def lamps(frames, *_):
    """A lamp may stand somewhere; a frame shows where, or 0, with noise."""
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        lamp = pyro.sample("lamp", dist.Bernoulli(torch.full(frames.shape[:1], CHANCE, dtype=torch.float64)))
        place = pyro.sample("place", dist.Normal(torch.zeros_like(lamp), SPREAD).mask(lamp > 0))
        pyro.sample("frames", dist.Normal(lamp * place, NOISE), obs=frames)


def lamp_guide(width):
    """The exact posterior, with the spread of places times `width`."""

    def guide(frames, *_):
        on = dist.Normal(0.0, (SPREAD**2 + NOISE**2) ** 0.5).log_prob(frames)
        off = dist.Normal(0.0, NOISE).log_prob(frames)
        logit = on - off + torch.logit(torch.tensor(CHANCE, dtype=torch.float64))
        precision = SPREAD**-2 + NOISE**-2
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            lamp = pyro.sample("lamp", dist.Bernoulli(logits=logit))
            law = dist.Normal(frames * NOISE**-2 / precision, width * precision**-0.5)
            pyro.sample("place", law.mask(lamp > 0))

    return guide


def test_objects_that_do_not_exist_are_no_fault():
    template = torch.zeros(400, dtype=torch.float64)
    exact = calibrate(lamps, lamp_guide(1.0), template, num_draws=60, seed=1)
    assert exact.verdicts() == {"lamp": "calibrated", "place": "calibrated"} == exact.verdicts(weighted=True)
    narrow = calibrate(lamps, lamp_guide(0.5), template, num_draws=60, seed=1)
    assert narrow.verdicts() == {"lamp": "calibrated", "place": "too narrow"}
    assert narrow.p_values()["place"] < 1e-6


def test_what_is_masked_is_drawn_chunk_by_chunk():
    """No more videos at once than requested, neither by the guide's draws nor by what completes the truth."""
    sizes = []
    inner = lamp_guide(1.0)

    def guide(frames, *rest):
        sizes.append(len(frames))
        inner(frames, *rest)

    template = torch.zeros(110, dtype=torch.float64)
    result = calibrate(lamps, guide, template, num_draws=20, sequences_per_chunk=40)
    assert set(sizes) == {40, 30}
    assert result.ranks["place"].shape == (110, 1)
    whole = calibrate(lamps, inner, template, num_draws=20)
    assert torch.equal(result.bits["lamp"].truth, whole.bits["lamp"].truth)
    with pytest.raises(ValueError, match="sequences_per_chunk: expected at least 1, got 0"):
        calibrate(lamps, inner, template, sequences_per_chunk=0)


def test_chunks_cut_plates_of_any_place():
    """Sequences at dim -2, and a value with a dim of its own."""

    def program(frames, seen):
        with pyro.plate("sequences", len(frames), dim=-2):
            scale = pyro.sample("scale", dist.Gamma(3.0 + 0 * frames[:, :1], 3.0))
            with pyro.plate("time", 2, dim=-1):
                zero = torch.zeros(3, dtype=frames.dtype)
                z = pyro.sample("z", dist.Normal(zero, scale.unsqueeze(-1)).to_event(1))
                if seen:
                    pyro.sample("frames", dist.Normal(z.sum(-1), 1.0), obs=frames)

    template = torch.zeros(9, 2, dtype=torch.float64)
    pair = (lambda frames, *_: program(frames, True)), (lambda frames, *_: program(frames, False))
    result = calibrate(*pair, template, num_draws=5, sequences_per_chunk=4)
    assert result.ranks["z"].shape == (9, 6)
    assert result.ranks["scale"].shape == (9, 1)


def test_a_model_that_observes_more_than_frames_is_refused():
    def model(x, *_):
        with pyro.plate("sequences", x.shape[0]):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x[:, 0]), 1.0))
            pyro.sample("frames", dist.Normal(z[:, None], 1.0).expand(x.shape).to_event(1), obs=x)
            pyro.sample("reward", dist.Normal(z, 1.0), obs=x[:, 0])

    with pytest.raises(ValueError, match="'frames' as the only observed site, it also observes 'reward'"):
        calibrate(model, changed(), TEMPLATE)
