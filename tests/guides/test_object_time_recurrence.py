"""The recurrence along diagonals is the double loop of the paper."""

import pytest
import torch

from guides.objects.time_recurrence import ObjectTimeRecurrence
from tests.oracles.object_time_loop import naive_states

TIME, SEQUENCES, FRAME, STATE = 6, 4, 10, 5
PRESENCE = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=torch.bool)


def network_of(objects=3, backward=False):
    return ObjectTimeRecurrence(FRAME, STATE, objects, backward).double()


def frames_of(time=TIME):
    return torch.randn(time, SEQUENCES, FRAME, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("objects", [1, 2, 3])
def test_outputs_and_gradients_are_those_of_the_double_loop(objects, backward):
    network, frames = network_of(objects, backward), frames_of()
    presence = PRESENCE[:objects] if objects > 1 else torch.ones(1, SEQUENCES, dtype=torch.bool)
    found, expected = network(frames, presence), naive_states(network, frames, presence)
    assert found.shape == (objects, TIME, SEQUENCES, STATE)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    inputs = [frames, *network.parameters()]
    pairs = zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_video_shorter_than_there_are_objects():
    network, frames = network_of(), frames_of(2)
    torch.testing.assert_close(network(frames, PRESENCE), naive_states(network, frames, PRESENCE))


def test_it_goes_on_from_its_memory():
    """4 frames, then 2 from the last states, are 6 frames."""
    network, frames = network_of(), frames_of()
    whole = network(frames, PRESENCE)
    first = network(frames[:4], PRESENCE)
    rest = network(frames[4:], PRESENCE, memory=first[:, -1])
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)


def test_states_know_only_frames_and_objects_up_to_their_own():
    network, frames = network_of(), frames_of()
    everyone = torch.ones_like(PRESENCE)
    states = network(frames, everyone)
    later = torch.autograd.grad(states[:, :3].sum(), frames, retain_graph=True)[0][3:]
    assert (later == 0).all()
    (gradient,) = torch.autograd.grad(states[0].sum(), network.initial, retain_graph=True)
    assert (gradient[[3]] != 0).all()  # three objects: rows 3, 4, 5
    assert (gradient[[0, 1, 2, 4, 5]] == 0).all()


def test_absent_objects_change_nothing():
    """A mask is a shorter unroll, with the first states of as many objects as there are."""
    large, small = network_of(3), network_of(2)
    with torch.no_grad():
        for name in ("gate", "candidate"):
            getattr(small, name).load_state_dict(getattr(large, name).state_dict())
        small.initial.copy_(large.initial[:3])
    frames = frames_of()
    presence = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]], dtype=torch.bool)
    torch.testing.assert_close(large(frames, presence)[:2], small(frames, presence[:2]))


def test_the_published_size():
    """Of weights and biases by eq. 6 of Chiappa and Paquet (2019): 48 x 48 pixels, state 1024; 32 x 32."""
    with torch.device("meta"):
        network = ObjectTimeRecurrence(48 * 48, 1024, 3)
        smaller = ObjectTimeRecurrence(32 * 32, 1024, 3)
    core = [sum(p.numel() for name, p in one.named_parameters() if name != "initial") for one in (network, smaller)]
    assert core == [8_914_944, 6_293_504]
    assert network.initial.numel() == 6_144


def test_it_starts_as_the_paper_says():
    network = ObjectTimeRecurrence(1000, 64, 2)
    size = 64 * (2 * 64 + 1000)
    for layer in (network.gate, network.candidate):
        assert layer.weight.std().item() == pytest.approx(size**-0.25, rel=0.05)
        assert (layer.bias == 0).all()
