"""Slots, names and counts of SQAIR, by hand."""

import pytest
import torch

from pyro_models.sqair.object_slots import Identities, hazard_logits, packed_order, take_slots


def chain_of(pmf):
    return hazard_logits(torch.tensor(pmf).log()).sigmoid()


def test_counts_as_chains_of_presences():
    """p = (.9, .5, .2) corresponds to the count (.10, .45, .36, .09), in both directions."""
    hazards = torch.tensor([0.9, 0.5, 0.2])
    pmf = (0.10, 0.45, 0.36, 0.09)
    torch.testing.assert_close(chain_of(pmf), hazards)
    torch.testing.assert_close(chain_of((1.0, 0.0, 0.0, 0.0))[0], torch.tensor(0.0), rtol=0, atol=1e-12)
    torch.testing.assert_close(chain_of((0.0, 1.0, 0.0, 0.0))[:2], torch.tensor([1.0, 0.0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_no_more_objects_than_there_is_room_for(room):
    log_probs = torch.randn(4).double().log_softmax(-1).requires_grad_()
    logits = hazard_logits(log_probs, torch.tensor(float(room)))
    expected = log_probs[: room + 1].softmax(-1)
    alive, found = torch.ones((), dtype=torch.double), []
    for index in range(room):
        found.append(alive * (1 - logits[index].sigmoid()))
        alive = alive * logits[index].sigmoid()
    torch.testing.assert_close(torch.stack([*found, alive]), expected)
    (gradient,) = torch.autograd.grad(logits[:room].sum() + 0 * log_probs.sum(), log_probs)
    assert gradient.isfinite().all()


def test_objects_are_packed_in_their_order():
    """Two of three tracked objects stay, two are found, there are three slots: the second new one is lost."""
    tracked, found = torch.tensor([0.0, 1, 1]), torch.tensor([1.0, 1, 0])
    names = Identities(torch.tensor([7, 3, 5]), torch.tensor(7)).follow(tracked, found)
    order = packed_order(torch.cat([tracked, found]), 3)
    assert order.tolist() == [1, 2, 3]
    assert take_slots(names.names, order, 0).tolist() == [3, 5, 8]
    assert names.latest == 9
    capped = torch.tensor([1.0, 0, 0])
    names = Identities(torch.tensor([7, 3, 5]), torch.tensor(7)).follow(tracked, capped)
    assert take_slots(names.names, packed_order(torch.cat([tracked, capped]), 3), 0).tolist() == [3, 5, 8]
    assert names.latest == 8


def test_slots_are_taken_batch_by_batch():
    presence = (torch.rand(4, 3, 6) > 0.5).float()
    values = torch.randn(3, 6, 2, 5)
    order = packed_order(presence, 4)
    taken = take_slots(values, order, 2)
    assert taken.shape == (4, 3, 4, 2, 5)
    for particle in range(4):
        for sequence in range(3):
            there = presence[particle, sequence].bool()
            expected = torch.cat([values[sequence][there], values[sequence][~there]])[:4]
            torch.testing.assert_close(taken[particle, sequence], expected)
            assert taken[particle, sequence].shape == (4, 2, 5)


def test_names_are_kept_and_never_given_twice():
    """On random presences."""
    names = Identities(torch.full((50, 3), -1), torch.full((50,), -1))
    presence = torch.zeros(50, 3)
    seen = [set() for _ in range(50)]
    for _ in range(12):
        tracked = presence * (torch.rand(50, 3) > 0.3)
        room = 3 - tracked.sum(-1, keepdim=True)
        found = (torch.arange(3) < torch.minimum(room, torch.randint(0, 3, (50, 1)))).float()
        joined = names.follow(tracked, found)
        everything = torch.cat([tracked, found], -1)
        order = packed_order(everything, 3)
        before = names.names
        presence = take_slots(everything, order, 0)
        names = Identities(take_slots(joined.names, order, 0), joined.latest)
        for row in range(50):
            present = names.names[row][presence[row] > 0].tolist()
            assert len(set(present)) == len(present)
            assert (names.names[row][presence[row] == 0] == -1).all()
            new = set(present) - set(before[row].tolist())
            assert not new & seen[row]
            seen[row] |= set(present)
