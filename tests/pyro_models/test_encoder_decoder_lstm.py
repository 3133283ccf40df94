"""The encoder-decoder LSTM: a normalised distribution of whole videos, teacher forcing, and what it is fed in gaps."""

from itertools import product

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import nn

from guides import NoLatentsGuide, describe_sites
from pyro_models import EncoderDecoderLSTM

SEQUENCES, TIME, CONTROL = 5, 7, 2
FRAME = (1, 3, 2)
DTYPE = torch.float64


def small_model(frame_shape=FRAME, **options):
    model = EncoderDecoderLSTM(frame_shape, state_dim=8, code_dim=5, hidden=(6,), **options).double()
    with torch.no_grad():
        for parameter in model.parameters():  # biases start at zero, and so would everything after a black frame
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def arguments(control_dim=0):
    frames = torch.bernoulli(torch.full((SEQUENCES, TIME, *FRAME), 0.4, dtype=DTYPE))
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 3:5] = False
    observed[2, 0] = False
    observed[3, 4:] = False
    return frames, observed, torch.randn(SEQUENCES, TIME, control_dim, dtype=DTYPE) if control_dim else None


def log_prob(model, *arguments):
    """Log density of each sequence, (sequences,)."""
    trace = poutine.trace(model).get_trace(*arguments)
    trace.compute_log_prob()
    return trace.nodes["frames"]["log_prob"].sum(0)


def naive_step(model, frame, control, state):
    """One step written out, the LSTM's equations among them: logits and state."""
    (first, _, second), (third, _, fourth) = model.encoder, model.decoder.network
    code = second(torch.relu(first(frame.flatten(1))))
    inputs = code if control is None else torch.cat([code, control], -1)
    hidden, cell = state
    lstm = model.lstm
    gates = inputs @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + hidden @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
    write, forget, candidate, read = gates.chunk(4, -1)
    cell = forget.sigmoid() * cell + write.sigmoid() * candidate.tanh()
    hidden = read.sigmoid() * cell.tanh()
    return fourth(torch.relu(third(hidden))).unflatten(-1, model.frame_shape), (hidden, cell)


def naive_logits(model, frames, observed, controls):
    """Frame after frame, sequence after sequence: fed the seen frames, its own probabilities elsewhere."""
    rows = []
    for sequence in range(len(frames)):
        state = (torch.zeros(1, 8, dtype=DTYPE),) * 2
        before, logits = torch.zeros(1, *model.frame_shape, dtype=DTYPE), []
        for step in range(frames.shape[1]):
            control = None if controls is None else controls[sequence, step : step + 1]
            output, state = naive_step(model, before, control, state)
            seen = bool(observed[sequence, step])
            before = frames[sequence, step : step + 1] if seen else torch.sigmoid(output)
            logits.append(output)
        rows.append(torch.cat(logits))
    return torch.stack(rows)


def every_video(num_frames, frame_shape=(1, 1, 2)):
    pixels = num_frames * frame_shape[1] * frame_shape[2]
    values = torch.tensor(list(product([0.0, 1.0], repeat=pixels)), dtype=DTYPE)
    return values.reshape(-1, num_frames, *frame_shape)


def test_sites_and_plates():
    frames, observed, _ = arguments()
    table = describe_sites(small_model(), frames, observed)
    assert table.names == ("frames",)
    assert table["frames"].batch_shape == (TIME, SEQUENCES)
    assert table["frames"].event_shape == FRAME
    assert {plate.name for plate in table["frames"].plates} == {"sequences", "time"}


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_probabilities_of_all_videos_sum_to_one(num_frames):
    videos = every_video(num_frames)
    total = log_prob(small_model((1, 1, 2)), videos).logsumexp(0)
    torch.testing.assert_close(total, torch.zeros((), dtype=DTYPE))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_probabilities_of_what_is_seen_sum_to_one(missing):
    seen = every_video(2)
    gap = torch.full_like(seen[:, :1], torch.nan)
    videos = torch.cat([seen[:, :missing], gap, seen[:, missing:]], 1)
    observed = torch.ones(len(videos), 3, dtype=torch.bool)
    observed[:, missing] = False
    total = log_prob(small_model((1, 1, 2)), videos, observed).logsumexp(0)
    torch.testing.assert_close(total, torch.zeros((), dtype=DTYPE))


def test_size_of_the_published_network():
    with torch.device("meta"):
        model = EncoderDecoderLSTM()

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(model.lstm) == 25_182_208
    assert count(model.encoder) == (2304 + 1) * 1024 + (1024 + 1) * 1024
    assert count(model.decoder) == (2048 + 1) * 1024 + (1024 + 1) * 2304
    assert count(model) == sum(map(count, (model.encoder, model.lstm, model.decoder)))


def test_hidden_layers_are_mirrored():
    model = EncoderDecoderLSTM(FRAME, state_dim=8, code_dim=5, hidden=(7, 6), control_dim=CONTROL)
    encoder, decoder = (
        [layer.out_features for layer in part.modules() if isinstance(layer, nn.Linear)]
        for part in (model.encoder, model.decoder)
    )
    assert encoder == [7, 6, 5]
    assert model.lstm.input_size == 5 + CONTROL
    assert decoder == [6, 7, 6]
    plain = EncoderDecoderLSTM(FRAME, state_dim=8, code_dim=5, hidden=())
    assert [tuple(parameter.shape) for parameter in plain.encoder.parameters()] == [(5, 6), (5,)]
    assert [tuple(parameter.shape) for parameter in plain.decoder.parameters()] == [(6, 8), (6,)]


@pytest.mark.parametrize("control_dim", [0, CONTROL])
def test_teacher_forcing_is_the_loop_written_out(control_dim):
    model = small_model(control_dim=control_dim)
    frames, observed, controls = arguments(control_dim)
    expected = naive_logits(model, frames, torch.ones_like(observed), controls)
    torch.testing.assert_close(model(frames, None, controls), expected)
    torch.testing.assert_close(model(frames, torch.ones_like(observed), controls), expected)
    density = -nn.functional.binary_cross_entropy_with_logits(expected, frames, reduction="none").flatten(1).sum(1)
    torch.testing.assert_close(log_prob(model, frames, None, controls), density)


@pytest.mark.parametrize("control_dim", [0, CONTROL])
def test_gaps_are_filled_by_the_loop_written_out(control_dim):
    model = small_model(control_dim=control_dim)
    frames, observed, controls = arguments(control_dim)
    expected = naive_logits(model, frames, observed, controls)
    torch.testing.assert_close(model(frames, observed, controls), expected)
    density = -nn.functional.binary_cross_entropy_with_logits(expected, frames, reduction="none").flatten(2).sum(2)
    torch.testing.assert_close(log_prob(model, frames, observed, controls), (density * observed).sum(1))


def test_what_is_stored_in_a_gap_is_never_read():
    model = small_model()
    frames, observed, _ = arguments()
    results = []
    for filling in (0.0, torch.nan):
        video = torch.where(observed[:, :, None, None, None], frames, filling).requires_grad_()
        model.zero_grad()
        loss = Trace_ELBO().differentiable_loss(model, NoLatentsGuide(model), video, observed)
        loss.backward()
        assert not video.grad[~observed].any()
        assert video.grad[observed].isfinite().all()
        results.append((loss.detach(), [parameter.grad.clone() for parameter in model.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    assert all(torch.equal(one, other) for one, other in zip(results[0][1], results[1][1], strict=True))
    assert all(gradient.any() for gradient in results[0][1])


@pytest.mark.parametrize("missing", [False, True])
def test_a_frame_and_its_control_move_no_earlier_law(missing):
    model = small_model(control_dim=CONTROL)
    frames, observed, controls = arguments(CONTROL)
    observed = observed if missing else None
    before = model(frames, observed, controls)
    changed = frames.clone()
    changed[:, 2] = 1 - changed[:, 2]
    moved = (model(changed, observed, controls) != before).flatten(2).any(2).any(0)
    assert moved.tolist() == [step > 2 for step in range(TIME)]
    pushed = controls.clone()
    pushed[:, 2] += 1
    moved = (model(frames, observed, pushed) != before).flatten(2).any(2).any(0)
    assert moved.tolist() == [step >= 2 for step in range(TIME)]


def test_particles_share_one_law():
    model = small_model()
    frames, observed, _ = arguments()
    with pyro.plate("particles", 3, dim=-3):
        trace = poutine.trace(model).get_trace(frames, observed)
    trace.compute_log_prob()
    together = trace.nodes["frames"]["log_prob"]
    assert together.shape == (3, TIME, SEQUENCES)
    torch.testing.assert_close(together.sum(1), log_prob(model, frames, observed).expand(3, SEQUENCES))


def test_wrong_arguments_are_refused():
    frames, _, controls = arguments(CONTROL)
    with pytest.raises(ValueError, match="frames: expected"):
        small_model()(frames[0])
    with pytest.raises(ValueError, match="controls: expected None"):
        small_model()(frames, None, controls)
    with pytest.raises(ValueError, match=r"controls: expected .* got None"):
        small_model(control_dim=CONTROL)(frames)
