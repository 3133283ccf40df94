"""Patterns of missing frames (Fraccaro et al. 2017, section 5.1)."""

import math

import pytest
import torch

from videos import gap, random_drop, tail


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_random_drop_keeps_the_first_frames(probability):
    seen = random_drop(500, 20, probability, generator=generator())
    assert seen.dtype == torch.bool
    assert seen[:, :4].all()
    count = 500 * 16
    expected, spread = count * (1 - probability), math.sqrt(count * probability * (1 - probability))
    assert abs(int(seen[:, 4:].sum()) - expected) <= 5 * spread


def test_random_drop_of_everything_leaves_exactly_the_first():
    assert (random_drop(5, 20, 1.0, generator=generator()).sum(1) == 4).all()
    assert (random_drop(5, 20, 1.0, keep_first=2, generator=generator()).sum(1) == 2).all()


def test_random_drop_is_drawn_from_its_generator_alone():
    before = torch.get_rng_state()
    first = random_drop(5, 20, 0.5, generator=generator(3))
    assert torch.equal(first, random_drop(5, 20, 0.5, generator=generator(3)))
    assert not torch.equal(first, random_drop(5, 20, 0.5, generator=generator(4)))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("length", [1, 7, 15, 16])
def test_gap_starts_right_after_the_first_four(length):
    seen = gap(3, 20, length)
    assert seen.shape == (3, 20)
    assert (seen.sum(1) == 20 - length).all()
    assert not seen[:, 4 : 4 + length].any()


def test_tail_sees_the_beginning_only():
    seen = tail(3, 7, 5)
    assert seen.tolist() == [[True] * 5 + [False] * 2] * 3
    assert tail(2, 7, 7).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: random_drop(5, 7, 40.0, generator=generator()),
            r"probability: expected a value in \[0, 1\], got 40.0; give a fraction",
        ),
        (lambda: random_drop(5, 7, 0.4, 8, generator=generator()), "keep_first: expected 0 to num_frames = 7, got 8"),
        (lambda: gap(5, 7, 4), "length: expected 0 to num_frames - start = 3, got 4; shorten the gap"),
        (lambda: gap(5, 7, 1, start=-1), "start: expected 0 to num_frames = 7, got -1"),
        (lambda: tail(5, 7, 8), "num_seen: expected 0 to num_frames = 7, got 8"),
    ],
)
def test_wrong_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
