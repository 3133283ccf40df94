"""Relational neural expectation maximisation: against plain loops, and what slots, noise, gaps and rollouts do."""

from itertools import product

import jaxtyping
import numpy as np
import pyro
import pytest
import torch
import torch.nn.functional as F
from pyro import poutine
from pyro.infer import Trace_ELBO

from guides import NoLatentsGuide, describe_sites
from inference import queries
from inference.metrics import adjusted_rand_index
from pyro_models import RelationalNeuralEM
from pyro_models.relational_nem import model as module
from pyro_models.relational_nem.assignments import expectation_step, fixed_normal, normalised
from pyro_models.relational_nem.networks import DoublingConv
from tests.oracles.relational_nem_loop import Loop

SEQUENCES, TIME, SLOTS = 4, 6, 3
FRAME = (1, 8, 16)
DTYPE = torch.float64


def small_model(frame_shape=FRAME, channels=(3, 4), **options):
    sizes = {"num_slots": SLOTS, "state_dim": 6, "hidden": 7, "attention_dim": 5}
    model = RelationalNeuralEM(frame_shape, channels=channels, **(sizes | options)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases start at zero, and so would everything after a black frame
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def arguments(frame_shape=FRAME):
    frames = torch.bernoulli(torch.full((SEQUENCES, TIME, *frame_shape), 0.3, dtype=DTYPE))
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 3:5] = False
    observed[2, 0] = False
    observed[3, 3:] = False
    return frames, observed


def traced(model, *arguments):
    trace = poutine.trace(model).get_trace(*arguments)
    trace.compute_log_prob()
    return trace


def log_prob(model, *arguments):
    """Log density of each sequence, (sequences,)."""
    return traced(model, *arguments).nodes["frames"]["log_prob"].sum(0)


def assignments_of(model, *arguments):
    """(sequences, time, slots, height, width)."""
    return traced(model, *arguments).nodes["assignments"]["value"].transpose(0, 1)


# the E-step


def test_an_expectation_step_by_hand():
    means = torch.tensor([0.9, 0.3, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    target = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    on, off = [0.9, 0.3, 0.0], [0.1, 0.7, 1.0]
    expected = [[value / sum(chances) for value in chances] for chances in (on, off)]
    found = expectation_step(means, target)[0, :, 0].T
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=2e-6)
    assert 0 < found[0, 2] < 1e-6


def test_a_pixel_that_no_slot_explains_is_shared():
    shares = expectation_step(torch.zeros(1, 4, 1, 1), torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(shares, torch.full_like(shares, 0.25))


def test_no_gradient_passes_an_expectation_step():
    means = torch.rand(1, 2, 3, 3, requires_grad=True)
    assert not expectation_step(means, torch.ones(1, 1, 3, 3)).requires_grad


# against loops


@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_loss_and_predictions_are_those_of_the_loops(missing):
    model = small_model()
    frames, observed = arguments()
    seen = observed if missing else torch.ones_like(observed)
    shares = assignments_of(model, frames, observed if missing else None)
    logits = model(frames, observed if missing else None)
    losses = model.expectation_loss(frames, observed if missing else None)
    loop = Loop(model.state_dict())
    for row in range(SEQUENCES):
        video = (frames[row, :, 0].numpy(), seen[row].numpy(), shares[row, 0].numpy())
        means, gammas = loop.run(*video)
        np.testing.assert_allclose(shares[row].numpy(), gammas, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(logits[row, :, 0].detach().sigmoid().numpy(), 1 - (1 - means).prod(1), rtol=1e-7)
        assert losses[row].item() == pytest.approx(loop.loss(*video), rel=1e-9)
        assert loop.loss(video[0] * 0, *video[1:]) != pytest.approx(losses[row].item(), rel=1e-3)


@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_gradients_are_finite_differences_at_fixed_assignments(missing):
    model = small_model()
    frames, observed = (value[1:2] for value in arguments())
    observed = observed if missing else torch.ones_like(observed)
    shares = assignments_of(model, frames, observed)[0].numpy()
    model.expectation_loss(frames, observed).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    for name, gradient in gradients.items():
        direction = torch.randn_like(gradient)
        ends = []
        for size in (1e-5, -1e-5):
            loop = Loop(weights | {name: weights[name] + size * direction})
            ends.append(loop.loss(frames[0, :, 0].numpy(), observed[0].numpy(), shares[0], shares))
        expected = (gradient * direction).sum().item()
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, rel=1e-4, abs=1e-5), name
    assert all(gradient.any() for gradient in gradients.values())


def test_a_doubling_convolution_is_one_of_the_doubled_image():
    layer, images = DoublingConv(3, 5).double(), torch.randn(2, 3, 4, 6, dtype=DTYPE)
    doubled = F.pad(F.interpolate(images, scale_factor=2, mode="nearest"), (1, 2, 1, 2))
    torch.testing.assert_close(layer(images), F.conv2d(doubled, layer.weight, layer.bias))


def test_size_of_the_published_network():
    with torch.device("meta"):
        model = RelationalNeuralEM()

    def count(part):
        return sum(parameter.numel() for parameter in part.parameters())

    def layer(inputs, units):
        return (inputs + 1) * units

    def norm(units):
        return 2 * units

    def convolution(before, filters):
        return (16 * before + 1) * filters

    encoder = convolution(1, 16) + norm(16) + convolution(16, 32) + norm(32) + convolution(32, 64) + norm(64)
    encoder += layer(4096, 512) + norm(512)
    cell = layer(250, 250) + norm(250) + layer(500, 250) + norm(250) + layer(250, 250) + norm(250)
    cell += layer(250, 100) + norm(100) + layer(100, 1) + layer(250 + 250 + 512, 250) + norm(250)
    decoder = layer(250, 512) + norm(512) + layer(512, 4096) + norm(4096)
    decoder += convolution(64, 32) + norm(32) + convolution(32, 16) + norm(16) + convolution(16, 1)
    assert (count(model.encoder), count(model.cell), count(model.decoder)) == (encoder, cell, decoder)
    assert count(model) == encoder + cell + decoder == 4_951_978


# the distribution of frames


def test_sites_and_plates():
    frames, observed = arguments()
    table = describe_sites(small_model(), frames, observed)
    assert table.names == ("frames",)
    assert [site.name for site in table.deterministic] == ["assignments", "outputs", "composite"]
    events = {"frames": FRAME, "composite": FRAME, "assignments": (SLOTS, *FRAME[1:]), "outputs": (SLOTS, 6)}
    for name, event in events.items():
        assert table[name].batch_shape == (TIME, SEQUENCES)
        assert table[name].event_shape == event
        assert {(plate.name, plate.dim) for plate in table[name].plates} == {("sequences", -1), ("time", -2)}


@pytest.mark.parametrize("overlay", ["union", "mixture"])
def test_probabilities_of_all_videos_sum_to_one(overlay):
    values = torch.tensor(list(product([0.0, 1.0], repeat=8)), dtype=DTYPE).reshape(-1, 2, 1, 2, 2)
    model = small_model((1, 2, 2), (2,), overlay=overlay)
    torch.testing.assert_close(log_prob(model, values).logsumexp(0), torch.zeros((), dtype=DTYPE))


@pytest.mark.parametrize("overlay", ["union", "mixture"])
def test_a_frame_is_made_up_of_its_slots(overlay):
    logits = 3 * torch.randn(2, 3, SLOTS, 4, 4, dtype=DTYPE)
    means = logits.sigmoid()
    expected = 1 - (1 - means).prod(2) if overlay == "union" else means.mean(2)
    found = small_model(overlay=overlay)._overlaid(logits)
    torch.testing.assert_close(found[:, :, 0].sigmoid(), expected)


@pytest.mark.parametrize("overlay", ["union", "mixture"])
@pytest.mark.parametrize("size", [-200.0, 200.0])
def test_certain_slots_have_finite_logits_and_gradients(overlay, size):
    logits = torch.full((1, 1, SLOTS, 2, 2), size, requires_grad=True)
    found = small_model(overlay=overlay)._overlaid(logits)
    found.sum().backward()
    assert found.isfinite().all()
    assert torch.equal(found.sign(), torch.full_like(found, size).sign())
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_the_loss_bounds_the_log_evidence_of_the_union(missing):
    model = small_model()
    frames, observed = arguments()
    observed = observed if missing else None
    loss, evidence = model.expectation_loss(frames, observed), log_prob(model, frames, observed)
    assert (loss > -evidence).all()
    black = torch.zeros_like(frames)
    torch.testing.assert_close(model.expectation_loss(black, observed), -log_prob(model, black, observed))


def test_the_loss_is_smallest_where_predictions_of_slots_add_up():
    shares, video = torch.tensor([0.7, 0.2, 0.1], dtype=DTYPE), torch.tensor([1.0, 0, 0, 1, 0], dtype=DTYPE)
    logits = torch.zeros(3, dtype=DTYPE, requires_grad=True)
    for _ in range(400):
        loss = sum((F.softplus(logits) - shares * pixel * logits).sum() for pixel in video) / len(video)
        (slope,) = torch.autograd.grad(loss, logits)
        logits = (logits - 4 * slope).detach().requires_grad_()
    torch.testing.assert_close(logits.sigmoid(), shares * video.mean(), rtol=1e-3, atol=1e-4)


# slots


def test_assignments_add_up_to_one():
    frames, observed = arguments()
    shares = assignments_of(small_model(), frames, observed)
    torch.testing.assert_close(shares.sum(2), torch.ones(SEQUENCES, TIME, *FRAME[1:], dtype=DTYPE))
    assert (shares > 0).all()
    assert (shares.amax(2) > 0.4).any()


@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_slots_that_start_in_another_order_stay_so(missing, monkeypatch):
    model = small_model()
    frames, observed = arguments()
    observed = observed if missing else None
    shares, logits = assignments_of(model, frames, observed), model(frames, observed)
    order = torch.tensor([2, 0, 1])
    monkeypatch.setattr(module, "fixed_normal", lambda like: fixed_normal(like)[order])
    torch.testing.assert_close(assignments_of(model, frames, observed), shares[:, :, order])
    torch.testing.assert_close(model(frames, observed), logits)
    assert not torch.allclose(shares[:, 1:], shares[:, 1:, order])


def test_a_single_slot_feels_no_effect():
    cell = small_model().cell
    codes = torch.randn(2, 3, 6, dtype=DTYPE)
    assert torch.equal(cell.effects(codes[:, :1]), torch.zeros(2, 1, 6, dtype=DTYPE))
    assert cell.effects(codes).any()
    frames, observed = arguments()
    assert torch.equal(assignments_of(small_model(num_slots=1), frames, observed).unique(), torch.ones(1, dtype=DTYPE))


def test_the_number_of_slots_is_free():
    few, many = small_model(num_slots=2), small_model(num_slots=7)
    shapes = {name: parameter.shape for name, parameter in few.named_parameters()}
    assert shapes == {name: parameter.shape for name, parameter in many.named_parameters()}
    many.load_state_dict(few.state_dict())
    many.num_slots = 2
    frames, observed = arguments()
    assert torch.equal(many(frames, observed), few(frames, observed))
    many.num_slots = 5
    assert assignments_of(many, frames, observed).shape[2] == 5


@pytest.mark.parametrize("frame_shape", [(1, 64, 64), (1, 32, 32), (1, 24, 24), (1, 8, 24)])
def test_frames_of_any_size(frame_shape):
    model = RelationalNeuralEM(frame_shape, num_slots=2, state_dim=6, hidden=7, channels=(2, 2, 2), attention_dim=3)
    frames = torch.bernoulli(torch.full((2, 3, *frame_shape), 0.3))
    assert model(frames).shape == frames.shape
    assert model.expectation_loss(frames).isfinite().all()


# time


@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_a_frame_moves_no_earlier_prediction(missing):
    model = small_model()
    frames, observed = arguments()
    observed = observed if missing else None
    changed = frames.clone()
    changed[:, 2] = 1 - changed[:, 2]
    moved = (model(changed, observed) != model(frames, observed)).flatten(2).any(2).any(0)
    assert moved.tolist() == [step > 2 for step in range(TIME)]
    moved = assignments_of(model, changed, observed) != assignments_of(model, frames, observed)
    assert moved.flatten(2).any(2).any(0).tolist() == [step >= 2 for step in range(TIME)]


def test_a_forecast_is_a_video_whose_end_is_missing():
    model = small_model()
    guide = NoLatentsGuide(model)
    frames, _ = arguments()
    forecast = queries.forecast(model, guide, frames[:, :3], num_frames=TIME - 3)
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[:, 3:] = False
    torch.testing.assert_close(forecast.frames, model(frames, observed).detach().sigmoid())
    whole = queries.reconstruct(model, guide, frames)
    torch.testing.assert_close(forecast.frames[:, :4], whole.frames[:, :4])
    assert not torch.allclose(forecast.frames[:, 5:], whole.frames[:, 5:])


def test_a_rollout_may_be_cut_anywhere():
    model = small_model()
    guide = NoLatentsGuide(model)
    frames, _ = arguments()
    whole = queries.forecast(model, guide, frames[:, :2], num_frames=7)
    first = queries.forecast(model, guide, frames[:, :2], num_frames=3)
    torch.testing.assert_close(first.frames, whole.frames[:, :5])
    both = queries.forecast(model, guide, first.fill(frames[:, :2]), first.observed, num_frames=4)
    torch.testing.assert_close(both.frames, whole.frames)
    torch.testing.assert_close(both.deterministic["assignments"], whole.deterministic["assignments"])


def test_what_is_stored_in_a_gap_is_never_read():
    model = small_model().train()
    frames, observed = arguments()
    results = []
    for filling in (0.0, 1.0, torch.nan):
        video = torch.where(observed[:, :, None, None, None], frames, filling).requires_grad_()
        for loss in (
            lambda video: model.expectation_loss(video, observed).sum(),
            lambda video: Trace_ELBO().differentiable_loss(model, NoLatentsGuide(model), video, observed),
        ):
            model.zero_grad()
            pyro.set_rng_seed(3)
            value = loss(video)
            value.backward()
            assert not video.grad[~observed].any()
            results.append((value.detach(), [parameter.grad.clone() for parameter in model.parameters()]))
    for kind in (0, 1):
        for value, gradients in results[2 + kind :: 2]:
            assert torch.equal(value, results[kind][0])
            assert all(torch.equal(one, other) for one, other in zip(gradients, results[kind][1], strict=True))


# noise


def inputs_of(model, frames):
    """What the first step reads: the shares of the slots add up to the frame."""
    read = []
    hook = model.encoder.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    model.expectation_loss(frames)
    hook.remove()
    return read[1].sum(1, keepdim=True)  # the first is black


def test_training_flips_pixels_of_the_input_alone():
    model = small_model((1, 32, 32)).train()
    frames = torch.bernoulli(torch.full((100, 3, 1, 32, 32), 0.3, dtype=DTYPE))
    for probability in (0.2, 0.05, 0.0):
        model.flip_probability = probability
        flipped = (inputs_of(model, frames) - frames[:, 0]).abs() > 0.5
        for value in (0.0, 1.0):
            rate = flipped[frames[:, 0] == value].double().mean().item()
            assert rate == pytest.approx(probability, abs=0.01)
    # the first frame has no input: noise does not reach its score
    torch.testing.assert_close(model.expectation_loss(frames[:, :1]), model.eval().expectation_loss(frames[:, :1]))


def test_training_assigns_pixels_of_the_clean_frame():
    model = small_model().train()
    frames, _ = arguments()
    _, logits, shares = model._predict(frames, None)
    for step in range(1, TIME):
        torch.testing.assert_close(shares[:, step], expectation_step(logits[:, step].sigmoid(), frames[:, step]))


def test_noise_is_of_training_and_of_torch_s_generator():
    frames, _ = arguments()
    model = small_model()

    def run():
        torch.manual_seed(1)
        first, again = model.expectation_loss(frames), model.expectation_loss(frames)
        torch.manual_seed(1)
        assert torch.equal(model.expectation_loss(frames), first)
        return first, again, torch.get_rng_state()

    first, again, state = run()
    torch.manual_seed(1)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    clean = first
    for noisy in (model.train(), small_model(evaluation_noise=True)):
        noisy.load_state_dict(model.state_dict())
        model = noisy
        first, again, _ = run()
        assert not torch.allclose(first, again)
        assert not torch.allclose(first, clean)


def test_assignments_start_like_normalised_normal_numbers():
    start = fixed_normal(torch.zeros(6, 64, 64))
    assert start.mean().item() == pytest.approx(0, abs=0.02)
    assert start.std().item() == pytest.approx(1, abs=0.02)
    assert start.pow(4).mean().item() == pytest.approx(3, abs=0.15)
    assert (torch.corrcoef(start.flatten(1)) - torch.eye(6)).abs().max() < 0.06
    for shift, dim in ((1, 1), (1, 2), (2, 2), (8, 2)):
        assert (start * start.roll(shift, dim)).mean().abs() < 0.03
    torch.testing.assert_close(fixed_normal(torch.zeros(6, 64, 64, dtype=DTYPE)).float(), start)
    assert torch.equal(fixed_normal(torch.zeros(2, 64, 64)), start[:2])
    shares = normalised(start)
    torch.testing.assert_close(shares.sum(0), torch.ones(64, 64))
    drawn = normalised(torch.randn(6, 64, 64))
    for level in (0.1, 0.5, 0.9):
        assert shares.quantile(level).item() == pytest.approx(drawn.quantile(level).item(), abs=0.01)
    assert torch.equal(normalised(torch.zeros(2, 1, 1)), torch.full((2, 1, 1), 0.5))


# scenes


def test_assignments_are_the_masks_of_a_scene():
    model = small_model()
    frames, observed = arguments()
    answer = queries.reconstruct(model, NoLatentsGuide(model), frames, observed)
    masks = model.scene(answer.values).masks
    torch.testing.assert_close(masks, assignments_of(model, frames, observed))
    truth = torch.zeros(SEQUENCES, TIME, 2, *FRAME[1:], dtype=torch.bool)
    truth[:, :, 0, :, :4], truth[:, :, 1, :, 6:] = True, True
    assert adjusted_rand_index(masks, truth).isfinite().all()
    composite = (masks * model._predict(frames, observed).logits.sigmoid()).sum(2, keepdim=True)
    torch.testing.assert_close(answer.deterministic["composite"].transpose(0, 1), composite)
    with pytest.raises(ValueError, match="latents: expected 'assignments', got none; .* answer: reconstruct"):
        model.scene(answer.latents)


def test_slots_are_taken_apart():
    model = small_model()
    frames, observed = arguments()
    answer = queries.reconstruct(model, NoLatentsGuide(model), frames, observed)
    parts = model.decompose(answer.values)
    assert not parts.means.requires_grad
    torch.testing.assert_close(parts.means.squeeze(3), model._predict(frames, observed).logits.sigmoid())
    torch.testing.assert_close(parts.masks, model.scene(answer.values).masks)
    torch.testing.assert_close(parts.composite, answer.deterministic["composite"].transpose(0, 1))
    with pytest.raises(ValueError, match="latents: expected 'outputs', got 'assignments'; .* answer: reconstruct"):
        model.decompose({"assignments": answer.values["assignments"]})


def test_an_unknown_overlay_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # annotations are checked in the tests alone
    with pytest.raises(ValueError, match="overlay: expected one of union, mixture, got 'sum'; take 'union'"):
        RelationalNeuralEM(overlay="sum")


def test_wrong_arguments_are_refused():
    frames, _ = arguments()
    with pytest.raises(ValueError, match="frames: expected"):
        small_model()(frames[0])
    with pytest.raises(ValueError, match="frames: expected"):
        small_model().expectation_loss(frames[0])
    with pytest.raises(ValueError, match="controls: expected None"):
        small_model()(frames, None, torch.zeros(SEQUENCES, TIME, 2))
    for options, message in (
        ({"frame_shape": (3, 32, 32)}, "frame_shape: expected 1 channel, got 3; the E-step is for binary pixels"),
        ({"frame_shape": (1, 32, 36)}, r"frame_shape: expected height and width divisible by .* = 8, got 32 x 36; pad"),
        ({"channels": ()}, "channels, of which there is at least one"),
        ({"num_slots": 0}, "^num_slots: expected a whole number of at least 1, got 0$"),
        ({"flip_probability": 20.0}, "flip_probability: expected from 0 to below 1, got 20.0; 0 leaves"),
    ):
        with pytest.raises(ValueError, match=message):
            RelationalNeuralEM(**options)
    with pytest.raises(ValueError, match="num_slots: expected at least 1, got 0; give one per object"):
        small_model().num_slots = 0
