"""What every exported guide promises.

These tests pin: it fits its model; a missing frame changes no bit of the bound, its gradients or a completion; every
parameter is reached; plain Pyro takes it; it owns its own parameters only; particles are scored as they would be
alone and sequences do not mix; `complete` gives every latent in the model's layout by every method it names; queries
take it; no value is looked at, so that a step can be traced and captured.
"""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from guides import check_guide, describe_sites
from inference import queries
from tests.contracts.cases import FRAME_SHAPE, SEQUENCES, TIME
from tests.contracts.registry import GUIDES, MODELS, build_guide, exported_guides, make_video, unsettle
from tests.contracts.scores import draw, score, single

members = pytest.mark.parametrize("name", GUIDES)


def video_for(name, dtype=torch.float32):
    return make_video(MODELS[GUIDES[name].model].control_dim, dtype)


def completing():
    return [name for name in GUIDES if hasattr(build_guide(name)[1], "complete")]


def test_every_exported_guide_is_listed():
    assert {type(build_guide(name)[1]) for name in GUIDES} == exported_guides()


def test_every_model_has_a_guide():
    assert {case.model for case in GUIDES.values()} == set(MODELS)


@members
@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_it_fits_its_model(name, missing):
    model, guide = build_guide(name)
    unsettle(guide)
    frames, observed, controls = video_for(name)
    check = check_guide(model.eval(), guide, frames, observed if missing else None, controls)
    assert {site.name for site in check.guide.latent} == {site.name for site in check.model.latent}


@members
def test_a_missing_frame_changes_no_bit_of_bound_and_gradients(name):
    model, guide = build_guide(name)
    model.eval()
    frames, observed, controls = video_for(name)
    results = []
    for filling in (0.0, 0.7, float("nan")):
        holes = torch.where(observed[:, :, None, None, None], frames, filling)
        pyro.set_rng_seed(1)
        model.zero_grad()
        guide.zero_grad()
        loss = Trace_ELBO().loss_and_grads(model, guide, holes, observed, controls)
        parameters = [*model.parameters(), *guide.parameters()]
        results.append((loss, [None if one.grad is None else one.grad.clone() for one in parameters]))
    for loss, gradients in results[1:]:
        assert loss == results[0][0]
        for gradient, first in zip(gradients, results[0][1], strict=True):
            assert gradient is first is None or torch.equal(gradient, first)


@members
def test_every_parameter_gets_a_gradient(name):
    model, guide = build_guide(name)
    unsettle(guide)
    unsettle(model)
    Trace_ELBO().loss_and_grads(model, guide, *video_for(name))
    idle = {key for key, one in guide.named_parameters() if one.grad is None or not one.grad.any()}
    assert idle == set(GUIDES[name].idle)
    assert all(one.grad.isfinite().all() for one in guide.parameters() if one.grad is not None)


@members
def test_it_owns_its_own_parameters_only(name):
    model, guide = build_guide(name)
    shared = {id(one) for one in model.parameters()} & {id(one) for one in guide.parameters()}
    assert not shared
    assert not {id(one) for one in model.modules()} & {id(one) for one in guide.modules()}


@members
def test_plain_pyro_trains_it(name):
    model, guide = build_guide(name)
    unsettle(guide)
    before = {key: one.clone() for key, one in guide.named_parameters()}
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
    losses = [svi.step(*video_for(name)) for _ in range(3)]
    assert torch.tensor(losses).isfinite().all()
    assert {key for key, one in guide.named_parameters() if torch.equal(one, before[key])} == set(GUIDES[name].idle)


@members
def test_several_particles_train_it(name):
    model, guide = build_guide(name)
    nesting = describe_sites(model, *video_for(name)).plate_nesting
    elbo = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=nesting)
    assert torch.tensor(elbo.loss_and_grads(model, guide, *video_for(name))).isfinite()


@members
@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_particles_are_scored_as_they_would_be_alone(name, missing):
    model, guide = build_guide(name)
    model.double(), guide.double()
    frames, observed, controls = video_for(name, torch.float64)
    arguments = (frames, observed if missing else None, controls)
    nesting = describe_sites(model, *arguments).plate_nesting
    alone = draw(guide, arguments)
    latents = draw(guide, arguments, 3, nesting)
    together = score(guide, arguments, latents, 3, nesting)
    assert together.shape == (3, SEQUENCES)
    separately = torch.stack([score(guide, arguments, single(latents, particle, alone)) for particle in range(3)])
    torch.testing.assert_close(together, separately)


@members
def test_sequences_do_not_mix(name):
    model, guide = build_guide(name)
    model.double(), guide.double()
    arguments = video_for(name, torch.float64)
    table = describe_sites(model, *arguments)
    latents = draw(guide, arguments)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = tuple(None if value is None else value[order] for value in arguments)
    reordered = {site: value.index_select(-1 - len(table[site].event_shape), order) for site, value in latents.items()}
    torch.testing.assert_close(score(guide, shuffled, reordered), score(guide, arguments, latents)[order])


@members
def test_weights_survive_a_file(name, tmp_path):
    model, first = build_guide(name)
    second = GUIDES[name].build(model)
    arguments = video_for(name)
    latents = draw(first, arguments)
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    second.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(score(first, arguments, latents), score(second, arguments, latents))


@pytest.mark.parametrize("name", completing())
def test_complete_gives_every_latent_in_the_layout_of_the_model(name):
    model, guide = build_guide(name)
    arguments = video_for(name)
    table = describe_sites(model, *arguments)
    assert guide.completion_methods
    for method in guide.completion_methods:
        values = guide.complete(*arguments, method=method)
        for site in table.latent:
            assert values[site.name].shape == (*site.batch_shape, *site.event_shape)
            assert values[site.name].isfinite().all()
            assert not values[site.name].requires_grad
    default, named = guide.complete(*arguments), guide.complete(*arguments, method=guide.completion_methods[0])
    assert all(torch.equal(default[site.name], named[site.name]) for site in table.latent)


@pytest.mark.parametrize("name", completing())
def test_complete_draws_in_the_layout_of_the_model(name):
    model, guide = build_guide(name)
    arguments = video_for(name)
    table = describe_sites(model, *arguments)
    values = guide.complete(*arguments, num_samples=4)
    for site in table.latent:
        plates = (1,) * (table.plate_nesting - len(site.batch_shape)) + site.batch_shape
        assert values[site.name].shape == (4, *plates, *site.event_shape)
    differ = [not torch.equal(values[site.name][0], values[site.name][1]) for site in table.latent]
    assert any(differ) == MODELS[GUIDES[name].model].has_latents


@pytest.mark.parametrize("name", completing())
def test_complete_never_reads_a_missing_frame(name):
    guide = build_guide(name)[1]
    frames, observed, controls = video_for(name)
    for method in guide.completion_methods:
        results = []
        for filling in (0.0, float("nan")):
            holes = torch.where(observed[:, :, None, None, None], frames, filling)
            pyro.set_rng_seed(1)
            results.append(guide.complete(holes, observed, controls, method=method))
        assert all(torch.equal(value, results[1][site]) for site, value in results[0].items())


@pytest.mark.parametrize("name", completing())
def test_complete_names_its_methods_when_asked_for_another(name):
    guide = build_guide(name)[1]
    with pytest.raises(ValueError, match=r"method: expected one of .*" + guide.completion_methods[0]):
        guide.complete(*video_for(name), method="guessing")


@members
@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_neither_it_nor_its_model_looks_at_a_value(name, missing):
    # tensors without data: `.item()`, `if tensor:` and shapes that depend on values raise
    model, guide = build_guide(name)
    frames, observed, controls = video_for(name)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, pyro.validation_enabled(False):
        arguments = (frames, observed if missing else None, controls)
        arguments = tuple(None if value is None else mode.from_tensor(value) for value in arguments)
        drawn = poutine.trace(guide).get_trace(*arguments)
        scored = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*arguments)
        bound = scored.log_prob_sum() - drawn.log_prob_sum()
    assert isinstance(bound, FakeTensor)


@members
def test_queries_take_it(name):
    model, guide = build_guide(name)
    frames, observed, controls = video_for(name)
    imputed = queries.impute(model, guide, frames, observed, controls, num_samples=3)
    assert imputed.frames.shape == (SEQUENCES, TIME, *FRAME_SHAPE)
    assert imputed.samples.shape == (3, SEQUENCES, TIME, *FRAME_SHAPE)
    assert imputed.samples.isfinite().all()
    assert (imputed.lower <= imputed.upper).all()
    longer = None if controls is None else torch.cat([controls, controls[:, :2]], 1)
    predicted = queries.forecast(model, guide, frames, observed, longer, num_frames=2)
    assert predicted.frames.shape == (SEQUENCES, TIME + 2, *FRAME_SHAPE)
    assert predicted.frames.isfinite().all()


@members
def test_wrong_shapes_are_refused_by_name(name):
    guide = build_guide(name)[1]
    frames, observed, controls = video_for(name)
    with pytest.raises(ValueError, match="frames: expected"):
        guide(frames[..., :3], observed, controls)
    with pytest.raises(ValueError, match="observed: expected"):
        guide(frames, observed[:, :3], controls)
