"""These tests pin: the grid of refinements and frames, what tells slots apart, and terms as those of the bound."""

import subprocess
import sys

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch import nn

from guides import RefinementNetwork, SpatioTemporalRefinementGuide
from guides.spatio_temporal_refinement.auxiliary_inputs import images_of, num_channels, vectors_of
from guides.spatio_temporal_refinement.noise import fixed_normals
from guides.spatio_temporal_refinement.slopes import decode_frame
from guides.spatio_temporal_refinement.two_axis_cell import TwoAxisCell
from inference import IWAE
from inference.estimators.refinement_bounds import RefinementBounds
from inference.queries import reconstruct
from pyro_models import BroadcastDecoder, SlotMemory, SpatioTemporalMixture
from tests.pyro_models.case_spatio_temporal_mixture import LATENT, UNITS, mixture

FRAMES = torch.rand(3, 4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def pair(memory=True, refinements=3, dtype=torch.float64, **options):
    torch.manual_seed(0)
    model = mixture(SlotMemory(LATENT, UNITS) if memory else "guide").to(dtype)
    network = RefinementNetwork(model.frame_shape, LATENT, UNITS, channels=4, layers=2)
    with torch.no_grad():
        network.step.weight *= 10  # as it might be after training
    guide = SpatioTemporalRefinementGuide(model, refinements=refinements, network=network, **options).to(dtype)
    return model, guide


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_sizes_at_the_size_of_the_paper():
    """Known from the authors' description, without the features of a pretrained network."""
    shape = (3, 64, 64)
    decoder = BroadcastDecoder(shape)
    assert (count(decoder.convolutions), count(decoder.code)) == (151_172, 16_512)
    network = RefinementNetwork(shape, strided=False, leave_one_out=False, norms=False)
    parts = (network.convolutions, network.code, network.cell, network.step)
    assert tuple(map(count, parts)) == (120_064, 2_097_280, 411_520, 16_512)
    model = SpatioTemporalMixture(shape, decoder=decoder, memory="guide")
    guide = SpatioTemporalRefinementGuide(model, refinements=6, network=network, scattered=False)
    assert count(model) + count(guide) == 2_846_212
    more = RefinementNetwork(shape, strided=False, norms=False)
    assert count(more) - count(network) == 576
    alone = RefinementNetwork(shape, strided=False, leave_one_out=False, norms=False, two_axes=False)
    assert count(alone.cell) == 263_168
    frame_by_frame = SpatioTemporalMixture(shape, decoder=BroadcastDecoder(shape, memory_dim=0))
    iodine = SpatioTemporalRefinementGuide(frame_by_frame, refinements=6, network=alone, scattered=False)
    assert count(frame_by_frame) + count(iodine) == 2_648_324


@pytest.mark.parametrize(
    ("refinements", "frames", "total"), [(6, 1, 6), (6, 4, 18), (6, 10, 30), (6, 40, 90), (5, 40, 86), (2, 7, 14)]
)
def test_the_grid_is_triangular(refinements, frames, total):
    _, guide = pair(refinements=refinements)
    assert sum(guide.num_decodes(index) for index in range(frames)) == total


@pytest.mark.parametrize("memory", [True, False], ids=["model's memory", "guide's memory"])
def test_terms_come_from_as_many_decodes(memory, monkeypatch):
    model, guide = pair(memory)
    calls = []
    forward = model.decoder.forward
    monkeypatch.setattr(model.decoder, "forward", lambda *args: calls.append(0) or forward(*args))
    terms = guide.refinement_terms(FRAMES)
    assert [len(frame) for frame in terms] == [3, 2, 2, 2]
    assert len(calls) == 9


def test_the_cell_by_hand():
    cell = TwoAxisCell(3, 2)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    zeros, ones = torch.zeros(1, 2), torch.ones(1, 2)
    output, memory = cell(torch.zeros(1, 3), (zeros, ones), (zeros, zeros))
    torch.testing.assert_close(memory, 0.25 * ones)
    torch.testing.assert_close(output, torch.full((1, 2), 0.1224593))
    for parameter in cell.parameters():
        nn.init.normal_(parameter)
    with torch.no_grad():
        cell.from_input.bias[6:8] = -1e3  # the previous frame's memory is left out: an LSTM over refinements
    inputs, state = torch.randn(1, 3), (torch.randn(1, 2), torch.randn(1, 2))
    usual = nn.LSTMCell(3, 2)
    order = torch.tensor([0, 1, 2, 3, 8, 9, 4, 5])  # torch's: input, forget, new, output
    with torch.no_grad():
        usual.weight_ih.copy_(cell.from_input.weight[order])
        usual.weight_hh.copy_(cell.from_refinement.weight[order])
        usual.bias_ih.copy_((cell.from_input.bias + cell.from_frame.bias)[order])
        usual.bias_hh.copy_(cell.from_refinement.bias[order])
    torch.testing.assert_close(cell(inputs, (zeros, torch.randn(1, 2)), state), usual(inputs, state))


@pytest.mark.parametrize("scattered", [True, False])
@pytest.mark.parametrize("start", ["constant", "prediction"])
def test_last_terms_are_the_bound(start, scattered):
    model, guide = pair(start=start, scattered=scattered)
    torch.manual_seed(1)
    terms = guide.refinement_terms(FRAMES)
    total = sum((frame[-1].negative_log_likelihood + frame[-1].divergence).sum() for frame in terms)
    torch.manual_seed(1)
    torch.testing.assert_close(TraceMeanField_ELBO().differentiable_loss(model, guide, FRAMES), total)
    torch.manual_seed(1)
    only_last = RefinementBounds(weight=lambda number, of: float(number == of))
    torch.testing.assert_close(only_last.differentiable_loss(model, guide, FRAMES), total)
    torch.manual_seed(1)
    sharp = RefinementBounds(entropy=0.5, weight=lambda number, of: float(number == of))
    entropy = sum(frame[-1].entropy.sum() for frame in terms)
    torch.testing.assert_close(sharp.differentiable_loss(model, guide, FRAMES), total + 0.5 * entropy)


def test_gradients_of_latents_are_those_of_autograd():
    model, _ = pair()
    latent = torch.randn(3, 3, LATENT, dtype=torch.float64)
    given = torch.randn(3, 3, UNITS, dtype=torch.float64)
    seen = torch.tensor([True, False, True])
    decoded = decode_frame(model, latent, given, FRAMES[:, 0], seen)
    point = latent.clone().requires_grad_()
    (-model.mixture(point, given).log_prob(FRAMES[:, 0]) * seen).sum().backward()
    torch.testing.assert_close(decoded.latent, point.grad)
    assert not decoded.latent.requires_grad
    with torch.no_grad():
        again = decode_frame(model, latent, given, FRAMES[:, 0], seen)
    torch.testing.assert_close(again.latent, decoded.latent)
    assert not again.mixture.means.requires_grad


def test_the_network_is_told_what_it_should_be():
    model, _ = pair()
    latent, given = torch.randn(3, 3, LATENT, dtype=torch.float64), torch.zeros(3, 3, UNITS, dtype=torch.float64)
    decoded = decode_frame(model, latent, given, FRAMES[:, 0], torch.ones(3, dtype=torch.bool))
    images = images_of(decoded.mixture, FRAMES[:, 0], decoded.pictures)
    assert images.shape == (3, 3, num_channels(1, leave_one_out=True), 8, 8) == (3, 3, 11, 8, 8)
    normalised = images[:, :, 5:9]
    torch.testing.assert_close(normalised.mean((-2, -1)), torch.zeros(3, 3, 4, dtype=torch.float64))
    slope = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    vector = vectors_of(torch.zeros(1, 2), torch.ones(1, 2), slope)
    torch.testing.assert_close(
        vector[0], torch.tensor([0, 0, 1, 1, -1.341635, -0.447212, 0.447212, 1.341635, torch.tensor(30.0).log()])
    )
    torch.testing.assert_close(vectors_of(torch.zeros(1, 2), torch.ones(1, 2), 5 * slope)[0, :8], vector[0, :8])
    assert vectors_of(torch.zeros(1, 2), torch.ones(1, 2), 0 * slope)[0, 4:8].tolist() == [0, 0, 0, 0]


GUIDE = "SpatioTemporalRefinementGuide(SpatioTemporalMixture()"


def run_apart(call):
    """A call with a wrong word outside of the tests' type checks, as users make it."""
    program = f"from guides import *\nfrom pyro_models import *\n{call}"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    raise ValueError(done.stderr.splitlines()[-1])


def masks_of(model, guide, frames=FRAMES):
    return model.scene(guide.complete(frames)).masks


@pytest.mark.parametrize("particles", [(), (2, 1)])
@pytest.mark.parametrize("memory", [SlotMemory(LATENT, UNITS), None])
def test_masks_of_a_scene_are_decoded_in_pieces(monkeypatch, particles, memory):
    model = mixture(memory)
    latents = {f"z_{t}": torch.randn(*particles, 3, 5, model.latent_dim) for t in (1, 2, 3)}
    whole = model.decompose(latents).masks
    monkeypatch.setattr("pyro_models.spatio_temporal_mixture.model.VIDEOS_AT_ONCE", 2)
    assert whole.shape[-5:] == (5, 3, 3, *model.frame_shape[1:])
    torch.testing.assert_close(model.scene(latents).masks, whole)


def test_a_sequence_is_inferred_as_it_is_alone():
    model, guide = pair()
    together = guide.complete(FRAMES)
    for index in range(3):
        for name, value in guide.complete(FRAMES[index : index + 1]).items():
            torch.testing.assert_close(value[:, 0], together[name][:, index])


@pytest.mark.parametrize("memory", [True, False], ids=["model's memory", "guide's memory"])
@pytest.mark.parametrize("method", ["prior", "start"])
def test_predictions_go_on(memory, method):
    """Latents of missing frames at the end do not depend on how many follow, nor on what the frames hold."""
    model, guide = pair(memory)
    observed = torch.ones(3, 4, dtype=torch.bool)
    observed[:, 2:] = False
    long = guide.complete(FRAMES, observed, method=method)
    short = guide.complete(FRAMES[:, :3], observed[:, :3], method=method)
    other = guide.complete(FRAMES.where(observed[:, :, None, None, None], 0.7), observed, method=method)
    for name, value in long.items():
        assert torch.equal(value, other[name])
        if not name.endswith("4"):
            torch.testing.assert_close(value, short[name])


def test_the_number_of_slots_may_change_after_training():
    model, guide = pair()
    model.num_slots = 7
    answer = reconstruct(model, guide, FRAMES, seed=0)
    assert masks_of(model, guide).shape == (3, 4, 7, 8, 8)
    assert answer.frames.shape == FRAMES.shape


def test_the_guides_memory_reaches_the_model():
    model, guide = pair(memory=False)
    pyro.set_rng_seed(0)
    trace = poutine.trace(guide).get_trace(FRAMES)
    replayed = poutine.trace(poutine.replay(model, trace)).get_trace(FRAMES)
    replayed.compute_log_prob()
    trace.compute_log_prob()
    assert torch.equal(replayed.nodes["h_2"]["value"], trace.nodes["h_2"]["value"])
    assert float(replayed.nodes["h_2"]["log_prob_sum"]) == float(trace.nodes["h_2"]["log_prob_sum"]) == 0.0
    loss = TraceMeanField_ELBO().differentiable_loss(model, guide, FRAMES)
    loss.backward()
    assert guide.network.cell.from_frame.weight.grad.abs().max() > 0


def iodine(refinements=3):
    torch.manual_seed(0)
    decoder = BroadcastDecoder((1, 8, 8), LATENT, 0, channels=4, layers=2, halvings=1)
    model = SpatioTemporalMixture((1, 8, 8), num_slots=3, decoder=decoder).double()
    network = RefinementNetwork((1, 8, 8), LATENT, UNITS, channels=4, layers=2, two_axes=False)
    with torch.no_grad():
        network.step.weight *= 10
    return model, SpatioTemporalRefinementGuide(model, refinements=refinements, network=network).double()


def test_slots_without_memory_know_one_frame():
    model, guide = iodine()
    whole, last = guide.complete(FRAMES), guide.complete(FRAMES[:, 3:])
    torch.testing.assert_close(whole["z_4"], last["z_1"])
    assert [len(frame) for frame in guide.refinement_terms(FRAMES)] == [3, 3, 3, 3]
    assert guide.completion_methods == ("prior", "start", "sequential")


def test_one_refinement_in_each_frame():
    """On a video that stands still it is the same as one frame's refinements, each of them before its frame is seen."""
    model, guide = iodine(refinements=4)
    still = FRAMES[:, :1].expand(-1, 4, -1, -1, -1)
    latents = guide.complete(still, method="sequential")
    torch.testing.assert_close(latents["z_1"], guide.complete(still, torch.zeros(3, 4).bool(), method="start")["z_1"])
    # before frame 4 there were three refinements, as within one frame
    guide.eval()
    q = poutine.trace(guide).get_trace(still[:, :1]).nodes["z_1"]["fn"]
    noise = fixed_normals(3, 3, LATENT).double()[:, None]
    torch.testing.assert_close(latents["z_4"], q.mean + q.stddev * noise)
    hidden = torch.ones(3, 4, dtype=torch.bool)
    hidden[:, 1:3] = False
    skipped = guide.complete(still, hidden, method="sequential")
    assert (skipped["z_4"] - latents["z_4"]).abs().max() > 1e-4


def test_evaluation_leaves_no_gradient_and_no_site():
    model, guide = pair()
    guide.eval()
    with torch.no_grad():
        trace = poutine.trace(guide).get_trace(FRAMES)
    sites = {name for name, node in trace.nodes.items() if node["type"] == "sample" and name.startswith(("z_", "h_"))}
    assert sites == {"z_1", "z_2", "z_3", "z_4"}
    assert all(parameter.grad is None for parameter in (*model.parameters(), *guide.parameters()))


@pytest.mark.slow
def test_more_particles_are_no_worse():
    model, guide = pair()
    model.eval(), guide.eval()
    pyro.set_rng_seed(0)
    one, many = (
        [-IWAE(number).loss(model, guide, FRAMES) for _ in range(repetitions)]
        for number, repetitions in ((1, 100), (30, 10))
    )
    assert sum(one) / len(one) < sum(many) / len(many)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pair(refinements=1), "refinements: expected at least 2, got 1"),
        (lambda: pair(starts=0), "starts: expected a whole number of at least 1, got 0$"),
        (
            lambda: SpatioTemporalRefinementGuide(pair()[0], network=RefinementNetwork((1, 8, 8), 5, 6, layers=2)),
            "network: expected units and latent_dim of the model, 6 and 3, got 6 and 5",
        ),
        (lambda: RefinementNetwork((1, 8, 8), layers=4), "layers: expected frames of at least 16 pixels, got 8 x 8"),
        (lambda: BroadcastDecoder((1, 9, 9), halvings=1), "halvings: expected sides of 9 x 9 to be multiples of 2"),
        (lambda: BroadcastDecoder(layers=2, halvings=2), "halvings: expected 0 to 1, fewer than layers, got 2"),
        (lambda: SpatioTemporalMixture(num_slots=0), "num_slots: expected a whole number of at least 1, got 0$"),
        (
            lambda: SpatioTemporalMixture((1, 8, 8), decoder=BroadcastDecoder((1, 16, 16))),
            r"decoder: expected one of frames \(1, 8, 8\), got \(1, 16, 16\)",
        ),
        (
            lambda: SpatioTemporalMixture((3, 64, 64), memory=SlotMemory(5)),
            "memory: expected the decoder's latent_dim 64, got 5",
        ),
        (lambda: run_apart('SpatioTemporalMixture(memory="own")'), "memory: expected a SlotMemory, 'guide' or None"),
        (
            lambda: run_apart('SpatioTemporalMixture(log_variance="x")'),
            "log_variance: expected free or softplus, got 'x'",
        ),
        (lambda: run_apart(f'{GUIDE}, grid="square")'), "grid: expected one of triangle, full, got 'square'"),
        (
            lambda: run_apart(f'{GUIDE}, gradients="second_order")'),
            "gradients: expected one of first_order, truncated, implicit, got 'second_order'",
        ),
        (lambda: run_apart(f'{GUIDE}, start="prior")'), "start: expected one of constant, prediction, got 'prior'"),
        (lambda: pair()[1].complete(FRAMES, method="paper"), "method: expected one of"),
        (
            lambda: RefinementBounds(entropy=-1.0).begin_step(0, torch.device("cpu")),
            "entropy: expected a finite number",
        ),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_guide_without_terms_is_refused():
    model, _ = pair()
    with pytest.raises(TypeError, match="guide: expected one with a method refinement_terms"):
        RefinementBounds().differentiable_loss(model, lambda frames: None, FRAMES)


def test_a_guide_without_the_weight_of_divergences_is_refused():
    model, guide = pair()
    del guide.divergence_weight
    with pytest.raises(TypeError, match="and a number divergence_weight, as .*, got SpatioTemporalRefinementGuide"):
        RefinementBounds().differentiable_loss(model, guide, FRAMES)
