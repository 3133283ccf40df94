"""The frame-by-frame guide: AE-RNN, VAE-RNN and the bidirectional imputer, from stage to completion."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch.distributions import Normal

from guides import FrameEncoder, FrameGaussianGuide, check_guide, describe_sites
from pyro_models import RecurrentCodes
from pyro_models.components.frame_networks import MLPDecoder

SEQUENCES, TIME, CODE = 5, 7, 2
FRAME = (1, 3, 4)
DTYPE = torch.float64


def pair(predictor="forward", point=False):
    model = RecurrentCodes(FRAME, code_dim=CODE, predictor=predictor, decoder=MLPDecoder(CODE, FRAME, hidden=(6,)))
    limit = 0.0 if point else None
    encoder = FrameEncoder(FRAME, CODE, network="mlp", hidden=(6,), variance_limit=limit)
    return model.double(), FrameGaussianGuide(model, point=point, encoder=encoder).double()


def arguments(missing=False):
    frames = torch.bernoulli(torch.full((SEQUENCES, TIME, *FRAME), 0.3, dtype=DTYPE))
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 3:5] = False
    observed[2, 0] = False
    return frames, observed if missing else None


def freeze(*modules):
    for module in modules:
        for parameter in module.parameters():
            parameter.requires_grad_(False)


def bound(model, guide, *arguments, seed=1):
    pyro.set_rng_seed(seed)
    for parameter in [*model.parameters(), *guide.parameters()]:
        parameter.grad = None
    loss = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=2)
    value = -loss.differentiable_loss(model, guide, *arguments)
    value.backward()
    named = [*model.named_parameters(prefix="model"), *guide.named_parameters(prefix="guide")]
    return value.detach(), {name: parameter.grad for name, parameter in named}


# Pyro warns of every parameter that is frozen, unless the module is in evaluation mode.
pytestmark = pytest.mark.filterwarnings("ignore:.*was not registered in the param store because requires_grad=False")

EVERY_PAIR = pytest.mark.parametrize(
    ("predictor", "point"), [("forward", False), ("forward", True), ("bidirectional", True)]
)


@pytest.mark.parametrize("missing", [False, True])
def test_fits_its_model(missing):
    check_guide(*pair(), *arguments(missing))


@EVERY_PAIR
def test_draws_the_site_of_its_model(predictor, point):
    model, guide = pair(predictor, point)
    drawn, wanted = describe_sites(guide, *arguments(missing=True)), describe_sites(model, *arguments(missing=True))
    assert drawn.names == ("a",)
    assert drawn["a"].event_shape == wanted["a"].event_shape
    assert drawn["a"].plates == wanted["a"].plates


@EVERY_PAIR
def test_missing_frames_are_never_read(predictor, point):
    model, guide = pair(predictor, point)
    frames, observed = arguments(missing=True)
    spoiled = torch.where(observed[:, :, None, None, None], frames, float("nan"))
    value, gradients = bound(model, guide, frames, observed)
    again, gradients_again = bound(model, guide, spoiled, observed)
    assert value.isfinite()
    assert torch.equal(value, again)
    for name, gradient in gradients.items():
        assert gradient is None or torch.equal(gradient, gradients_again[name]), name
    assert torch.equal(guide.complete(frames, observed)["a"], guide.complete(spoiled, observed)["a"])


@EVERY_PAIR
def test_every_parameter_is_reached_in_its_stage(predictor, point):
    model, guide = pair(predictor, point)
    if predictor == "bidirectional":
        model.predictor.keep_first = 1

    def reached():
        _, gradients = bound(model, guide, *arguments())
        return {name for name, gradient in gradients.items() if gradient is not None and gradient.any()}

    names = {name for name, _ in model.named_parameters(prefix="model")}
    names |= {name for name, _ in guide.named_parameters(prefix="guide")}
    predicting = {name for name in names if name.startswith("model.predictor")}
    assert reached() == names
    freeze(model.predictor)
    assert reached() == names - predicting
    for parameter in model.predictor.parameters():
        parameter.requires_grad_(True)
    freeze(model.decoder, guide.encoder)
    assert reached() == predicting


def test_gaussian_density_of_the_guide_and_its_mask():
    model, guide = pair()
    frames, observed = arguments(missing=True)
    mean, variance = guide.encoder(torch.where(observed[:, :, None, None, None], frames, 0.0))
    trace = poutine.trace(guide).get_trace(frames, observed)
    expected = Normal(mean, variance.sqrt()).log_prob(trace.nodes["a"]["value"]).sum(-1)
    torch.testing.assert_close(trace.log_prob_sum(), (expected * observed).sum())


def test_point_guide_draws_the_encodings():
    model, guide = pair(point=True)
    frames, _ = arguments()
    trace = poutine.trace(guide).get_trace(frames)
    assert torch.equal(trace.nodes["a"]["value"], guide.encoder(frames)[0])
    assert trace.log_prob_sum() == 0
    assert FrameGaussianGuide(RecurrentCodes(), point=True).encoder.variance is None
    assert FrameGaussianGuide(RecurrentCodes()).encoder.variance is not None


@EVERY_PAIR
def test_completion(predictor, point):
    model, guide = pair(predictor, point)
    frames, observed = arguments(missing=True)
    method = {"forward": "filtering", "bidirectional": "smoothing"}[predictor]
    assert guide.completion_methods == (method,)
    codes = guide.complete(frames, observed, method=method)["a"]
    assert codes.shape == (SEQUENCES, TIME, CODE)
    torch.testing.assert_close(codes[observed], guide.encoder(frames)[0][observed])
    torch.testing.assert_close(codes, model.predictor.complete(guide.encoder(frames)[0], observed, None))
    draws = guide.complete(frames, observed, num_samples=3)["a"]
    assert draws.shape == (3, 1, SEQUENCES, TIME, CODE)
    assert (draws[0, 0][~observed] != draws[1, 0][~observed]).all()
    assert torch.equal(draws[0, 0][observed], draws[1, 0][observed]) == point
    with pyro.plate("draws", 3, dim=-3):
        trace = poutine.trace(poutine.condition(model, {"a": draws})).get_trace(frames, observed)
    assert trace.nodes["frames"]["fn"].mean.shape == (3, TIME, SEQUENCES, *FRAME)


def test_completion_by_the_forward_network_is_causal():
    model, guide = pair(point=True)
    frames, observed = arguments(missing=True)
    changed = frames.clone()
    changed[:, 5:] = 1 - changed[:, 5:]
    before, after = guide.complete(frames, observed)["a"], guide.complete(changed, observed)["a"]
    torch.testing.assert_close(before[:, :5], after[:, :5])


def test_messages():
    model, guide = pair()
    frames, observed = arguments(missing=True)
    with pytest.raises(ValueError, match="method: expected one of .*filtering.*, got 'smoothing'"):
        guide.complete(frames, observed, method="smoothing")
    with pytest.raises(ValueError, match="observed: expected bool"):
        guide(frames, observed.double())


def test_plain_svi_through_both_stages():
    model, guide = pair(point=True)
    frames, _ = arguments()
    freeze(model.predictor)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    encodings = guide.encoder(frames)[0].detach()
    losses = [svi.step(frames) for _ in range(30)]
    assert losses[-1] < losses[0]
    assert not torch.equal(guide.encoder(frames)[0], encodings)
    encodings = guide.encoder(frames)[0].detach()
    for parameter in model.predictor.parameters():
        parameter.requires_grad_(True)
    freeze(model.decoder, guide.encoder)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    losses = [svi.step(frames) for _ in range(30)]
    assert losses[-1] < losses[0]
    assert torch.equal(guide.encoder(frames)[0], encodings)


def moving_bars(sequences, time, seed):
    """A column that moves to the right, or to the left, and turns at the edges of eight columns."""
    generator = torch.Generator().manual_seed(seed)
    phase = torch.randint(14, (sequences, 1), generator=generator) + torch.arange(time)
    place = 7 - (phase % 14 - 7).abs()
    columns = torch.nn.functional.one_hot(place, 8).float()
    return columns[:, :, None, None, :].expand(-1, -1, 1, 2, 8).contiguous()


@pytest.mark.slow
@pytest.mark.parametrize("predictor", ["forward", "bidirectional"])
def test_a_short_training_imputes_a_toy(predictor):
    pyro.set_rng_seed(3)
    frame_shape, time = (1, 2, 8), 12
    decoder = MLPDecoder(2, frame_shape, hidden=(32, 32))
    model = RecurrentCodes(frame_shape, code_dim=2, predictor=predictor, decoder=decoder)
    encoder = FrameEncoder(frame_shape, 2, network="mlp", hidden=(32, 32), variance_limit=0.0)
    guide = FrameGaussianGuide(model, point=True, encoder=encoder)
    for stage, steps in (("frames", 1500), ("codes", 1500)):
        for module, learns in (
            (model.predictor, stage == "codes"),
            (model.decoder, stage == "frames"),
            (guide.encoder, stage == "frames"),
        ):
            for parameter in module.parameters():
                parameter.requires_grad_(learns)
        assert model.stage == stage
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 5e-3}), Trace_ELBO())
        for step in range(steps):
            svi.step(moving_bars(64, time, seed=step))
    model.eval()
    frames = moving_bars(200, time, seed=10**6)
    observed = torch.ones(200, time, dtype=torch.bool)
    observed[:, 4:7] = False
    codes = guide.complete(frames, observed)
    shown = poutine.trace(poutine.condition(model, codes)).get_trace(frames, observed).nodes["frames"]["fn"].mean
    right = shown.transpose(0, 1)[:, 4:7, 0, 0].argmax(-1) == frames[:, 4:7, 0, 0].argmax(-1)
    copied = frames[:, 3:4, 0, 0].argmax(-1) == frames[:, 4:7, 0, 0].argmax(-1)
    assert right.float().mean() > 0.9, (right.float().mean(), copied.float().mean())


@pytest.mark.parametrize("point", [False, True])
def test_noise_comes_on_top_and_goes(point):
    """Its variance adds to the encoder's while it is on."""
    model, guide = pair(point=point)
    frames, _ = arguments()
    frames = frames[:1].repeat(4000, 1, 1, 1, 1)
    with torch.no_grad():
        mean, variance = guide.encoder(frames[:1])
        quiet = guide(frames)
        guide.encoder.noise.fill_(1.5)
        noisy = guide(frames)
    expected = variance.expand_as(mean)[0]
    if point:
        assert torch.equal(quiet, mean.expand_as(quiet))
    torch.testing.assert_close(quiet.var(0), expected, rtol=0.1, atol=1e-9)
    torch.testing.assert_close(noisy.var(0), expected + 1.5**2, rtol=0.1, atol=0.0)
    assert "guide.encoder.noise" in {f"guide.{name}" for name, _ in guide.named_buffers()}
