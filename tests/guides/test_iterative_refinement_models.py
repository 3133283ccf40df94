"""Iterative refinement of the library's models, from several starts.

These tests pin: an untrained guide is its base, in draws, density and completions; a batch is inferred as its sequences
are one by one; latents of missing frames follow the start; discrete sites are held; taps reach the updates; a traced
step is the eager one.
"""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import nn

from guides import (
    GlimpseAttentionGuide,
    IterativeRefinementGuide,
    KalmanGuide,
    PriorCorrectionGuide,
    RecurrentGuide,
    RecurrentStateGuide,
    check_guide,
)
from guides.aside import AsideNoise
from guides.iterative_refinement.inner_bound import held_values, inner_bound, latent_values, look
from guides.iterative_refinement.updates import magnitude, normalised
from inference import SVI, VIMCO, queries
from inference.svi.compiled import CompileWarning
from tests.contracts.cases import SEQUENCES, TIME
from tests.contracts.registry import MODELS, build_guide, make_video, unsettle
from tests.contracts.scores import draw, score

BASES = {
    "KalmanVAE": KalmanGuide,
    "KalmanVAE, states drawn": lambda model: RecurrentStateGuide(model, hidden_dim=11),
    "DeepMarkovModel": lambda model: RecurrentGuide(model, hidden_dim=11),
    "VariationalRecurrentNetwork": PriorCorrectionGuide,
    "AttendInferRepeat": lambda model: GlimpseAttentionGuide(model, hidden_dim=11),
}
models = pytest.mark.parametrize("name", BASES)


def pair(name, trained=True, **options):
    model = MODELS[name].build().double()
    guide = IterativeRefinementGuide(model, BASES[name](model).double(), **{"steps": 2, "hidden_dim": 5} | options)
    if trained:
        unsettle(guide.double().updates)
    return model, guide.double()


def video():
    return make_video(0, torch.float64)


# the start


@models
def test_an_untrained_guide_is_its_base(name):
    model, guide = pair(name, trained=False)
    base, arguments = guide.start.base, video()
    latents = draw(base, arguments)
    assert torch.equal(score(guide, arguments, latents), score(base, arguments, latents))
    losses, completions = [], []
    for one in (guide.eval(), base.eval()):  # without noise aside, so that the draws are the same
        pyro.set_rng_seed(1)
        losses.append(Trace_ELBO().loss(model, one, *arguments))
        completions.append(one.complete(*arguments))
    assert losses[0] == losses[1]
    torch.testing.assert_close(*completions, rtol=0, atol=0)


@models
def test_a_trained_guide_is_not_its_base(name):
    """The tests around could not tell otherwise."""
    _, guide = pair(name)
    base, arguments = guide.start.base, video()
    latents = draw(base, arguments)
    assert not torch.isclose(score(guide, arguments, latents), score(base, arguments, latents)).any()


@pytest.mark.slow
def test_a_tracker_is_refined():
    model, base = build_guide("DiscoveryPropagationGuide")
    guide = IterativeRefinementGuide(model, base, steps=1, hidden_dim=5)
    unsettle(guide)
    assert sorted(guide.updates) == ["disc_what", "disc_where", "prop_what"]  # prop_where is correlated
    check_guide(model, guide.eval(), *make_video(0))


# one sequence at a time


def part(value, index):
    """The numbers of one sequence: of the one dim that has as many entries as there are sequences."""
    (dim,) = (dim for dim, size in enumerate(value.shape) if size == SEQUENCES)
    return value.narrow(dim, index, 1)


@models
def test_a_batch_is_inferred_as_its_sequences_one_by_one(name):
    _, guide = pair(name, steps=3)
    frames, observed, _ = video()
    with AsideNoise() as noise:
        whole = guide.refine(frames, observed)[-1].shifts
    for index in range(SEQUENCES):
        rows = slice(index, index + 1)
        with AsideNoise([part(one, index) for one in noise.drawn]):
            alone = guide.refine(frames[rows], observed[rows])[-1].shifts
        for site, shift in alone.items():
            torch.testing.assert_close(shift, type(shift)(*(part(one, index) for one in whole[site])))


# missing frames


@pytest.mark.parametrize("start", ["base", "prior", "learned"])
def test_latents_of_missing_frames_follow_the_start(start):
    model = MODELS["DeepMarkovModel"].build().double()
    base = RecurrentGuide(model, hidden_dim=11).double() if start == "base" else None
    guide = IterativeRefinementGuide(model, base, start=start, steps=2, hidden_dim=5).double()
    unsettle(guide)
    frames, observed, _ = video()
    shifts = guide.refine(frames, observed)[-1].shifts
    for step in range(TIME):
        for shift in shifts[f"z_{step + 1}"]:
            moved = (shift != 0).all(-1)
            assert torch.equal(moved, observed[:, step])


@pytest.mark.parametrize("name", ["KalmanVAE", "AttendInferRepeat"])
def test_missing_frames_are_found_in_paths_and_plates(name):
    _, guide = pair(name)
    frames, observed, _ = video()
    shifts = guide.refine(frames, observed)[-1].shifts
    for shift in shifts.values():
        moved = (shift.loc != 0).any(-1)
        assert torch.equal(moved if name == "KalmanVAE" else moved.T, observed)


def test_a_forecast_goes_on_from_refined_latents_by_the_model():
    model, guide = pair("DeepMarkovModel")
    frames, _, _ = video()
    forecast = queries.forecast(model, guide, frames, num_frames=2)
    latents = forecast.latents
    expected = latents[f"z_{TIME}"]
    for step in (TIME, TIME + 1):
        expected = model.transition.law(expected, None).mean
        torch.testing.assert_close(latents[f"z_{step + 1}"], expected.detach())
    base = queries.forecast(model, guide.start.base, frames, num_frames=2)
    assert not torch.allclose(latents[f"z_{TIME}"], base.latents[f"z_{TIME}"])


def test_codes_of_missing_frames_are_those_of_the_base():
    model, guide = pair("KalmanVAE")
    frames, observed, _ = video()
    found, base = (queries.impute(model, one, frames, observed) for one in (guide, guide.start.base))
    same = (found.latents["a"] == base.latents["a"]).all(-1)
    assert torch.equal(same, ~observed)


def test_constants_of_a_path_are_scored_where_the_model_scores_them():
    model = MODELS["KalmanVAE"].build()
    guide = IterativeRefinementGuide(model, steps=1, hidden_dim=5)
    unsettle(guide)
    frames, observed, _ = make_video(0)
    check_guide(model, guide.eval(), frames, observed)
    assert queries.reconstruct(model, guide, frames).frames.isfinite().all()
    with pytest.raises(ValueError, match="observed: expected None, as site 'a' is a whole path .* give a base guide"):
        queries.impute(model, guide, frames, observed)


# discrete sites


def test_only_gaussians_are_refined_and_the_count_is_the_base_s():
    model, guide = pair("AttendInferRepeat")
    frames, _, _ = video()
    assert sorted(guide.updates) == ["z_what", "z_where"]
    assert set(guide.refine(frames)[-1].shifts) == {
        f"z_{what}_{slot}" for what in ("where", "what") for slot in (1, 2, 3)
    }
    found, base = guide.eval().complete(frames), guide.start.base.complete(frames)
    assert all(torch.equal(found[name], base[name]) for name in ("z_pres_1", "z_pres_2", "z_pres_3"))
    assert not torch.equal(found["z_where_1"], base["z_where_1"])


def test_discrete_draws_are_held_through_all_steps_and_not_scored():
    model, guide = pair("AttendInferRepeat", steps=3)
    arguments = (video()[0], None, None)
    with AsideNoise() as noise:
        guide.refine(*arguments)
    gaussians, presences = 6, 3
    assert len(noise.drawn) == presences + gaussians + 3 * gaussians
    inner, read, base = guide._inner, guide.start.read(arguments), guide.start.base
    held = held_values(look(inner, read))
    assert sorted(held) == ["z_pres_1", "z_pres_2", "z_pres_3"]
    evaluation = inner_bound(inner, read, {}, held)
    latents = latent_values(evaluation.nodes)
    assert all(latents[name] is value for name, value in held.items())
    conditioned = poutine.trace(poutine.condition(base, latents)).get_trace(*arguments)
    presence = sum(conditioned.nodes[name]["fn"].log_prob(value).sum(0) for name, value in held.items())
    expected = score(model, arguments, latents) - (score(base, arguments, latents) - presence)
    torch.testing.assert_close(evaluation.bound, expected)


def test_a_choice_of_sites_is_refined():
    _, guide = pair("AttendInferRepeat", sites=["z_where"])
    assert set(guide.refine(video()[0])[-1].shifts) == {"z_where_1", "z_where_2", "z_where_3"}


# taps


class DecodingError(nn.Module):
    """Features of each frame's error, x - E[x | a]: for Bernoulli pixels the gradient of the density in the logits."""

    def __init__(self, model):
        super().__init__()
        self.decode = [model.decoder]
        self.features = nn.Linear(64, 3)

    def forward(self, frames, seen, draws):
        error = torch.where(seen[..., None, None, None], frames - self.decode[0](draws["a"]).sigmoid(), 0.0)
        return {"a": self.features(error.flatten(-3))}


@pytest.mark.parametrize("gradients", ["first_order", "truncated"])
def test_taps_reach_the_updates_and_learn(gradients):
    model = MODELS["KalmanVAE"].build()
    taps = DecodingError(model)
    guide = IterativeRefinementGuide(
        model, KalmanGuide(model), steps=2, hidden_dim=5, taps=taps, gradients=gradients, inner_draws=1
    )
    assert guide.updates["a"].cell.input_size == 4 * 2 + 2 + 3
    unsettle(guide)
    frames, observed, _ = make_video(0)
    check_guide(model, guide.eval(), frames, observed)
    Trace_ELBO().differentiable_loss(model, guide.train(), frames, observed).backward()
    assert all(one.grad.any() for one in taps.parameters())


def test_taps_of_several_draws_are_averaged():
    model, _ = pair("DeepMarkovModel")
    seen = []

    def taps(frames, observed, draws):
        seen.append(draws["z_1"].shape)
        return {name: draw.tanh()[..., :2] for name, draw in draws.items()}

    guide = IterativeRefinementGuide(model, start="prior", steps=1, taps=taps, inner_draws=4).double()
    guide(*video())
    assert seen[-1] == (4, 1, SEQUENCES, 3)


def test_taps_of_a_wrong_shape_are_refused():
    model, _ = pair("DeepMarkovModel")

    def guide(taps):
        return IterativeRefinementGuide(model, start="prior", steps=1, taps=taps).double()

    with pytest.raises(ValueError, match="taps: expected 3 features for each site of the family 'z', got 2 for 'z_2'"):
        guide(lambda frames, seen, draws: {n: d[..., : 2 + (n == "z_1")] for n, d in draws.items()})
    wrong = guide(lambda frames, seen, draws: {n: d[:1] for n, d in draws.items()})
    with pytest.raises(
        ValueError, match=r"taps: expected \(\*draws, .*features\) = \(..., 5, ...\) for site 'z_1', got"
    ):
        wrong(*video())


# steps of training


@pytest.mark.parametrize(
    ("name", "loss"),
    [("KalmanVAE", Trace_ELBO()), pytest.param("AttendInferRepeat", VIMCO(2), marks=pytest.mark.slow)],
    ids=["KalmanVAE", "AIR, VIMCO"],
)
def test_a_traced_step_is_the_eager_one(name, loss, recwarn):
    walks = []
    for compile in ("off", "trace"):
        pyro.set_rng_seed(0)
        model, guide = pair(name, steps=1)
        parameters = [*model.parameters(), *guide.parameters()]
        svi = SVI(model, guide, torch.optim.SGD(parameters, 1e-4), loss, compile=compile)
        arguments = tuple(None if one is None else one[:, :3] for one in video())
        pyro.set_rng_seed(1)
        walks.append(([svi.step(*arguments) for _ in range(2)], [one.detach() for one in parameters]))
    assert not [warning for warning in recwarn if warning.category is CompileWarning]
    torch.testing.assert_close(*walks, rtol=1e-7, atol=1e-9)


# what an update sees


def test_layer_norm_of_slopes_and_what_it_takes_away():
    slopes = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -2.0, -3.0, -4.0]]).double()
    expected = torch.tensor([-1.5, -0.5, 0.5, 1.5]).double() / 1.25**0.5
    torch.testing.assert_close(normalised(slopes)[0], expected, rtol=1e-7, atol=0)
    assert torch.equal(normalised(slopes)[1], torch.zeros(4).double())
    torch.testing.assert_close(normalised(1e3 * slopes), normalised(slopes), rtol=1e-6, atol=0)
    size, mean = magnitude(slopes).unbind(-1)
    torch.testing.assert_close(10 * size[0], torch.tensor(7.5**0.5).double().log())
    assert size[1] < -1.8
    torch.testing.assert_close(mean, torch.tensor([2.5 / 7.5**0.5, 0.0, -2.5 / 7.5**0.5]).double())
