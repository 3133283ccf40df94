"""What every exported model promises.

These tests pin: plain Pyro takes it; every parameter is reached; a missing frame changes no bit; particles are scored
as they would be alone; weights survive a round trip through a file; all sites lie in `sequences` and sequences do not
mix; it works in both precisions; its prior can be drawn from.
"""

import copy

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch import nn

from guides import describe_sites
from inference import queries
from tests.contracts.cases import CONTROL, FRAME_SHAPE, SEQUENCES, TIME
from tests.contracts.registry import MODELS, build_guide, exported_models, guide_of, make_video, unsettle
from tests.contracts.scores import draw, score, single

members = pytest.mark.parametrize("name", MODELS)


def test_every_exported_model_is_listed():
    assert {type(case.build()) for case in MODELS.values()} == exported_models()


def gradients(module: nn.Module) -> dict[str, torch.Tensor | None]:
    return {name: parameter.grad for name, parameter in module.named_parameters()}


@members
def test_plain_pyro_trains_it(name):
    model, guide = build_guide(guide_of(name))
    arguments = make_video(MODELS[name].control_dim)
    unsettle(model)
    before = {key: parameter.clone() for key, parameter in model.named_parameters()}
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
    losses = [svi.step(*arguments) for _ in range(3)]
    assert all(torch.isfinite(torch.tensor(loss)) for loss in losses)
    still = {key for key, parameter in model.named_parameters() if torch.equal(parameter, before[key])}
    assert still == set(MODELS[name].idle)


@members
def test_every_parameter_gets_a_gradient(name):
    model, guide = build_guide(guide_of(name))
    arguments = make_video(MODELS[name].control_dim)
    unsettle(model)
    Trace_ELBO().loss_and_grads(model, guide, *arguments)
    idle = {key for key, gradient in gradients(model).items() if gradient is None or not gradient.any()}
    assert idle == set(MODELS[name].idle)
    assert all(gradient.isfinite().all() for gradient in gradients(model).values() if gradient is not None)


@members
def test_a_missing_frame_changes_no_bit(name):
    case = MODELS[name]
    model = case.build().eval()
    frames, observed, controls = make_video(case.control_dim)
    latents = draw(model, (frames, None, controls))
    results = []
    for filling in (0.0, 0.7, float("nan")):
        holes = torch.where(observed[:, :, None, None, None], frames, filling)
        model.zero_grad()
        value = score(model, (holes, observed, controls), latents)
        value.sum().backward()
        results.append((value, copy.deepcopy(gradients(model))))
    for value, grads in results[1:]:
        assert torch.equal(value, results[0][0])
        assert grads.keys() == results[0][1].keys()
        for key, gradient in grads.items():
            assert (gradient is None) == (results[0][1][key] is None)
            assert gradient is None or torch.equal(gradient, results[0][1][key])


@members
def test_a_missing_frame_takes_its_terms_with_it(name):
    case = MODELS[name]
    model = case.build().eval().double()
    frames, observed, controls = make_video(case.control_dim, torch.float64)
    latents = draw(model, (frames, None, controls))
    trace = poutine.trace(poutine.condition(model, latents)).get_trace(frames, observed, controls)
    trace.compute_log_prob()
    terms = trace.nodes["frames"]["log_prob"]
    sizes = {frame.dim: frame.size for frame in trace.nodes["frames"]["cond_indep_stack"]}
    assert terms.shape == tuple(sizes.get(dim, 1) for dim in range(min(sizes), 0))
    assert torch.equal(terms.reshape(TIME, SEQUENCES) != 0, observed.T)


@members
@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_particles_are_scored_as_they_would_be_alone(name, missing):
    case = MODELS[name]
    model = case.build().eval().double()
    frames, observed, controls = make_video(case.control_dim, torch.float64)
    arguments = (frames, observed if missing else None, controls)
    nesting = describe_sites(model, *arguments).plate_nesting
    alone = draw(model, arguments)
    latents = draw(model, arguments, 3, nesting)
    together = score(model, arguments, latents, 3, nesting)
    assert together.shape == (3, SEQUENCES)
    separately = torch.stack([score(model, arguments, single(latents, particle, alone)) for particle in range(3)])
    torch.testing.assert_close(together, separately)
    assert torch.allclose(separately[0], separately[1]) != case.has_latents


@members
def test_weights_survive_a_file(name, tmp_path):
    case = MODELS[name]
    arguments = make_video(case.control_dim)
    first, second = case.build().eval(), case.build().eval()
    latents = draw(first, arguments)
    assert not torch.equal(score(first, arguments, latents), score(second, arguments, latents))
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    second.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(score(first, arguments, latents), score(second, arguments, latents))


@members
def test_all_sites_lie_in_sequences_and_frames_in_time(name):
    case = MODELS[name]
    table = describe_sites(case.build().eval(), *make_video(case.control_dim))
    assert all(("sequences", SEQUENCES, -1) in site.plates for site in table)
    assert table["frames"].observed
    assert ("time", TIME) in [(plate.name, plate.size) for plate in table["frames"].plates]
    assert all(plate.dim < -1 for plate in table["frames"].plates if plate.name == "time")
    assert table["frames"].event_shape == FRAME_SHAPE
    assert [site.name for site in table if site.observed] == ["frames"]
    assert bool(table.latent) == case.has_latents


@members
def test_sequences_do_not_mix(name):
    case = MODELS[name]
    model = case.build().eval().double()
    frames, observed, controls = make_video(case.control_dim, torch.float64)
    table = describe_sites(model, frames, observed, controls)
    latents = draw(model, (frames, observed, controls))
    order = torch.tensor([3, 0, 4, 2, 1])

    def reorder(site, value):
        (plate,) = (plate for plate in table[site].plates if plate.name == "sequences")
        return value.index_select(plate.dim - len(table[site].event_shape), order)

    shuffled = (frames[order], observed[order], None if controls is None else controls[order])
    other = score(model, shuffled, {site: reorder(site, value) for site, value in latents.items()})
    torch.testing.assert_close(other, score(model, (frames, observed, controls), latents)[order])


@members
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_the_precision_of_its_weights(name, dtype):
    case = MODELS[name]
    model = case.build().eval().to(dtype)
    arguments = make_video(case.control_dim, dtype)
    latents = draw(model, arguments)
    found = {value.dtype for value in latents.values() if value.is_floating_point()}  # others count components
    assert found == ({dtype} if case.has_latents else set())
    value = score(model, arguments, latents)
    assert value.dtype == dtype
    assert value.isfinite().all()


@members
def test_single_precision_agrees_with_double(name):
    case = MODELS[name]
    model = case.build().eval()
    frames, observed, controls = make_video(case.control_dim)
    latents = draw(model, (frames, observed, controls))
    value = score(model, (frames, observed, controls), latents)
    arguments = (frames.double(), observed, None if controls is None else controls.double())
    exact = score(model.double(), arguments, {site: latent.double() for site, latent in latents.items()})
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-2)


@members
def test_its_prior_can_be_drawn_from(name):
    case = MODELS[name]
    model = case.build().eval()
    controls = make_video(case.control_dim)[2]
    videos = queries.generate(model, SEQUENCES, TIME, controls=controls)
    assert videos.frames.shape == (SEQUENCES, TIME, *FRAME_SHAPE)
    assert videos.frames.isfinite().all()
    assert not torch.equal(videos.frames[0], videos.frames[1])
    other = queries.generate(model, SEQUENCES, TIME, controls=controls, seed=1)
    # presences may be the same by chance
    latents = {site: value for site, value in videos.latents.items() if not ((value == 0) | (value == 1)).all()}
    assert bool(latents) == case.has_latents
    assert all(not torch.equal(value, other.latents[site]) for site, value in latents.items())


@members
def test_wrong_shapes_are_refused_by_name(name):
    case = MODELS[name]
    model = case.build().eval()
    frames, observed, controls = make_video(case.control_dim)
    with pytest.raises(ValueError, match="frames: expected"):
        model(frames[..., :3], observed, controls)
    with pytest.raises(ValueError, match="observed: expected"):
        model(frames, observed[:, :3], controls)
    with pytest.raises(ValueError, match="controls: expected"):
        model(frames, observed, torch.zeros(SEQUENCES, TIME, CONTROL + 1))
