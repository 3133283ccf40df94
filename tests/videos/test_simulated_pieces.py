"""Videos simulated piece by piece: the first ones are the same however many are asked for."""

from dataclasses import fields

import pytest
import torch

from videos import BoxWorld, Cannonballs, VideoBatch
from videos.loaders import simulate_in_pieces

BOX, BALLS = BoxWorld(num_frames=3), Cannonballs(num_frames=3, max_balls=2)


def same(one: VideoBatch, other: VideoBatch) -> bool:
    for field in fields(VideoBatch):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if (first is None) != (second is None) or (first is not None and not torch.equal(first, second)):
            return False
    return True


@pytest.mark.parametrize("simulator", [BOX, BALLS], ids=["box", "cannonballs"])
def test_fewer_videos_are_the_first_of_more(simulator):
    whole = simulate_in_pieces(simulator, 11, 4, seed=5)
    assert whole.num_sequences == 11
    for count in (1, 3, 4, 5, 8, 10):
        assert same(simulate_in_pieces(simulator, count, 4, seed=5), whole.select(slice(0, count)))
    # which a single call does not give
    seven, eleven = (simulator.simulate(count, torch.Generator().manual_seed(5)) for count in (7, 11))
    assert not same(seven, eleven.select(slice(0, 7)))


def test_the_first_piece_is_what_the_seed_alone_gives():
    videos = simulate_in_pieces(BOX, 4, 4, seed=5)
    assert same(videos, BOX.simulate(4, torch.Generator().manual_seed(5)))


def test_pieces_and_seeds_have_videos_of_their_own():
    pieces = [
        simulate_in_pieces(BOX, 12, 4, seed=seed).select(slice(4 * k, 4 * k + 4)) for seed in (5, 6) for k in range(3)
    ]
    starts = torch.cat([piece.state[:, 0] for piece in pieces])
    assert len(starts.unique(dim=0)) == 24


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 4), "num_sequences: expected a positive number, got 0; ask for at least one"),
        ((3, 0), "piece: expected a positive number, got 0"),
    ],
)
def test_refusals(numbers, message):
    with pytest.raises(ValueError, match=message):
        simulate_in_pieces(BOX, *numbers, seed=0)
