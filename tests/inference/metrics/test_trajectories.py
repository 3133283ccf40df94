"""Small worlds by hand: exact maps, swaps at known frames, orders that must not matter, slots that must not be read."""

import itertools

import pytest
import torch

from inference.metrics import (
    coefficient_of_determination,
    fit_single_object_map,
    match_objects,
    object_order,
    root_mean_squared_error,
    side_accuracy,
    swap_rate,
)

TURN = torch.tensor([[0.3, -0.8], [1.1, 0.4]], dtype=torch.float64)
SHIFT = torch.tensor([5.0, -2.0], dtype=torch.float64)
COUNTS = torch.tensor([1, 2, 3, 1, 2, 3, 2, 3])


def presence_of(counts: torch.Tensor, slots: int = 3) -> torch.Tensor:
    return torch.arange(slots) < counts[:, None]


def affine_world(frames: int = 10):
    """Smooth tracks far apart, what a perfect model infers of them, and NaN where there is nothing."""
    presence = presence_of(COUNTS)
    middle = torch.tensor([[8.0, 8.0], [40.0, 10.0], [20.0, 40.0]], dtype=torch.float64)
    time = torch.arange(frames, dtype=torch.float64)[:, None, None]
    positions = middle + 0.2 * time + torch.randn(len(COUNTS), 1, 3, 2, dtype=torch.float64)
    positions = positions + 0.1 * torch.randn(len(COUNTS), frames, 3, 2, dtype=torch.float64)
    positions[~presence[:, None].expand(-1, frames, -1)] = torch.nan
    return (positions - SHIFT) @ torch.linalg.inv(TURN), positions, presence


def permuted(tracks: torch.Tensor, presence: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tracks with the objects of every sequence in another order, and which is where."""
    order = torch.arange(3).repeat(len(tracks), 1)
    for row, count in enumerate(presence.sum(-1).tolist()):
        order[row, :count] = torch.arange(count).roll(1)
    return tracks.gather(2, order[:, None, :, None].expand(tracks.shape)), order


def two_tracks(gap: float, sequences: int = 4, frames: int = 8) -> torch.Tensor:
    """Two balls side by side, `gap` pixels apart, in all sequences, in three slots of which the last is empty."""
    positions = torch.full((sequences, frames, 3, 2), torch.nan)
    positions[..., 0, :] = torch.arange(1.0, frames + 1)[:, None]
    positions[..., 1, :] = positions[..., 0, :] + torch.tensor([gap, 0.0])
    return positions


def swapped_from(positions: torch.Tensor, sequence: int, frame: int, until: int | None = None) -> torch.Tensor:
    """The first two objects of one sequence change places at a frame, and back again at another."""
    inferred = positions.clone()
    inferred[sequence, frame:until, :2] = positions[sequence, frame:until, :2].flip(1)
    return inferred


def test_an_exact_affine_world_is_perfect():
    inferred, positions, presence = affine_world()
    world = fit_single_object_map(inferred, positions, presence)
    torch.testing.assert_close(world.coefficients, torch.cat([SHIFT[None], TURN]))
    mapped = world.predict(inferred)
    matched = match_objects(mapped, positions, presence)
    assert coefficient_of_determination(matched, positions, presence).item() == pytest.approx(1.0)
    assert root_mean_squared_error(matched, positions, presence).item() == pytest.approx(0.0, abs=1e-9)
    assert swap_rate(mapped, positions, presence).item() == 0


def test_map_is_fitted_to_single_objects_alone():
    inferred, positions, presence = affine_world()
    inferred[presence.sum(-1) > 1] = 1e3
    world = fit_single_object_map(inferred, positions, presence)
    torch.testing.assert_close(world.coefficients, torch.cat([SHIFT[None], TURN]))
    # a lone object may be in any slot, if it is in the same one on both sides
    flipped = [value.flip(-2) for value in (inferred, positions)]
    again = fit_single_object_map(*flipped, presence.flip(-1))
    torch.testing.assert_close(again.coefficients, world.coefficients)


def test_order_of_the_slots_does_not_matter():
    inferred, positions, presence = affine_world()
    mapped = fit_single_object_map(inferred, positions, presence).predict(inferred)
    mapped = mapped + torch.randn_like(mapped)
    other, order = permuted(mapped, presence)
    assert torch.equal(object_order(mapped, positions, presence), torch.arange(3).expand(8, 3))
    found = object_order(other, positions, presence)
    assert torch.equal(order.gather(1, found), torch.arange(3).expand(8, 3))
    one, two = match_objects(mapped, positions, presence), match_objects(other, positions, presence)
    torch.testing.assert_close(one, two, equal_nan=True)
    for score in (coefficient_of_determination, root_mean_squared_error):
        assert score(one, positions, presence) == score(two, positions, presence)
    assert swap_rate(other, positions, presence) == swap_rate(mapped, positions, presence) == 0
    unmatched = coefficient_of_determination(other, positions, presence)
    assert unmatched < 0.5 < coefficient_of_determination(two, positions, presence)


def test_order_is_the_best_of_all_by_a_slow_search():
    counts = torch.tensor([0, 1, 2, 3, 4, 4, 3])
    inferred, positions = torch.randn(7, 5, 4, 2), torch.randn(7, 5, 4, 2)
    presence = presence_of(counts, 4)[:, [2, 0, 3, 1]]  # slots without an object anywhere
    order = object_order(inferred, positions, presence)
    for row in range(7):
        slots = presence[row].nonzero().flatten().tolist()
        errors = {
            choice: sum(
                (inferred[row, :, i] - positions[row, :, j]).square().sum().item()
                for i, j in zip(choice, slots, strict=True)
            )
            for choice in itertools.permutations(slots)
        }
        assert tuple(order[row, slots].tolist()) == min(errors, key=errors.__getitem__)
        rest = (~presence[row]).nonzero().flatten()
        assert torch.equal(order[row, rest], rest)


def test_matching_is_by_the_whole_sequence():
    positions = two_tracks(gap=20.0)
    presence = presence_of(torch.full((4,), 2))
    inferred = swapped_from(positions, sequence=2, frame=3)  # three frames in one order, five in the other
    order = object_order(inferred, positions, presence)
    assert order.tolist() == [[0, 1, 2], [0, 1, 2], [1, 0, 2], [0, 1, 2]]
    # three frames of one sequence in four are 20 pixels off in x, for both balls
    matched = match_objects(inferred, positions, presence)
    expected = (3 / 8 / 4 * 400 / 2) ** 0.5
    assert root_mean_squared_error(matched, positions, presence).item() == pytest.approx(expected)


def test_a_swap_in_the_open_counts_once_per_sequence():
    positions = two_tracks(gap=20.0)
    presence = presence_of(torch.full((4,), 2))
    assert swap_rate(positions, positions, presence).item() == 0
    assert swap_rate(swapped_from(positions, 1, 4), positions, presence).item() == 0.25
    assert swap_rate(swapped_from(positions, 1, 4, 6), positions, presence).item() == 0.25
    assert swap_rate(swapped_from(positions, 1, 0), positions, presence).item() == 0  # another order, kept
    both = swapped_from(swapped_from(positions, 1, 4), 3, 2)
    assert swap_rate(both, positions, presence).item() == 0.5


def test_sequences_of_one_object_are_no_part_of_the_swap_rate():
    positions = two_tracks(gap=20.0)
    inferred = swapped_from(positions, 1, 4)
    assert swap_rate(inferred, positions, presence_of(torch.tensor([1, 2, 1, 2]))).item() == 0.5


@pytest.mark.parametrize("frame", [3, 4, 5, 6, 7])
def test_a_swap_counts_where_it_lasts_beyond_a_crossing(frame):
    """Whether identities are exchanged in the open or under cover of a crossing, they are wrong afterwards."""
    positions = two_tracks(gap=20.0, frames=10)
    positions[:, 4:6, 1] = positions[:, 4:6, 0] + torch.tensor([4.0, 3.0])  # a crossing: 5 pixels apart
    presence = presence_of(torch.full((4,), 2))
    assert swap_rate(swapped_from(positions, 0, frame), positions, presence).item() == 0.25


def test_an_order_that_is_lost_only_where_balls_overlap_is_no_swap():
    positions = two_tracks(gap=20.0, frames=10)
    positions[:, 4:6, 1] = positions[:, 4:6, 0] + torch.tensor([4.0, 3.0])
    presence = presence_of(torch.full((4,), 2))
    for frames in ((4, 5), (5, 6), (4, 6)):
        inferred = swapped_from(positions, 0, *frames)
        assert swap_rate(inferred, positions, presence).item() == 0
        assert swap_rate(inferred, positions, presence, apart=4.9).item() == 0.25


def test_all_balls_must_be_apart():
    positions = two_tracks(gap=20.0)
    inferred = swapped_from(positions, 0, 4)
    inferred[..., 2, :] = positions[..., 2, :] = positions[..., 0, :] + 3.0
    assert swap_rate(inferred, positions, presence_of(torch.full((4,), 2))).item() == 0.25
    assert swap_rate(inferred, positions, presence_of(torch.full((4,), 3))).item() == 0


def test_scores_by_hand():
    positions = torch.zeros(2, 2, 2, 2)
    positions[0, :, 0] = torch.tensor([[0.0, 10.0], [2.0, 14.0]])
    positions[1, :, 0] = torch.tensor([[4.0, 10.0], [6.0, 14.0]])
    presence = torch.tensor([[True, False], [True, False]])
    inferred = positions + torch.tensor([1.0, 0.0])
    # x: mean 3, squares 9 + 1 + 1 + 9; y: mean 12, squares 4 times 4; errors 4 times 1
    assert coefficient_of_determination(inferred, positions, presence).item() == pytest.approx(1 - 4 / 36)
    assert root_mean_squared_error(inferred, positions, presence).item() == pytest.approx(0.5**0.5)
    mean = torch.tensor([3.0, 12.0]).expand_as(positions)
    assert coefficient_of_determination(mean, positions, presence).item() == pytest.approx(0.0)


def test_slots_without_an_object_are_never_read():
    scores = []
    for filling in (torch.nan, torch.inf, -7.0):
        torch.manual_seed(0)
        inferred, positions, presence = affine_world()
        absent = ~presence[:, None].expand(-1, 10, -1)
        inferred[absent] = filling
        positions[absent] = -filling
        mapped = fit_single_object_map(inferred, positions, presence).predict(inferred)
        mapped, _ = permuted(mapped + torch.randn_like(mapped), presence)
        matched = match_objects(mapped, positions, presence)
        scores.append(
            [
                score(tracks, positions, presence).item()
                for score in (coefficient_of_determination, root_mean_squared_error, swap_rate)
                for tracks in (mapped, matched)
            ]
        )
    assert scores[0] == scores[1] == scores[2]
    assert all(score == score for score in scores[0])


def test_a_model_that_has_diverged_gets_no_score():
    positions = two_tracks(gap=20.0)
    presence = presence_of(torch.full((4,), 2))
    inferred = positions.clone()
    inferred[0, 3, 1] = torch.nan
    for score in (coefficient_of_determination, root_mean_squared_error, swap_rate):
        assert score(inferred, positions, presence).isnan()


def test_components_are_named_as_well_as_possible():
    labels = torch.tensor([[0, 0, 1], [1, 1, 0], [0, 1, 0]])
    everywhere = torch.ones(3, 3, dtype=torch.bool)
    assert side_accuracy(labels, labels, everywhere).item() == 1
    assert side_accuracy(1 - labels, labels, everywhere).item() == 1
    wrong = labels.clone()
    wrong[0, 0] = 1
    assert side_accuracy(wrong, labels, everywhere).item() == pytest.approx(8 / 9)
    assert side_accuracy(1 - wrong, labels, everywhere).item() == pytest.approx(8 / 9)
    # one component for all: right for the five of the more frequent side
    assert side_accuracy(torch.zeros_like(labels), labels, everywhere).item() == pytest.approx(5 / 9)
    assert side_accuracy(torch.full_like(labels, 3), labels, everywhere).item() == pytest.approx(5 / 9)


def test_two_components_do_not_share_a_label_that_both_prefer():
    labels = torch.tensor([[0, 0, 0, 1, 0, 0, 1]])
    components = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])
    # most frequent labels alone would give 5 of 7
    assert side_accuracy(components, labels, torch.ones(1, 7, dtype=torch.bool)).item() == pytest.approx(4 / 7)


def test_several_components_may_stand_for_one_label():
    labels = torch.tensor([[0, 0, 1, 1, 0, 1]])
    components = torch.tensor([[2, 0, 1, 3, 2, 2]])
    assert side_accuracy(components, labels, torch.ones(1, 6, dtype=torch.bool)).item() == pytest.approx(5 / 6)


def test_components_of_slots_without_an_object_are_never_read():
    labels = torch.tensor([[0, 1, -5], [1, 0, 9]])
    components = torch.tensor([[1, 0, 7], [0, 1, -1]])
    assert side_accuracy(components, labels, presence_of(torch.tensor([2, 2]))).item() == 1


def test_components_follow_the_order_of_the_objects():
    inferred, positions, presence = affine_world()
    mapped = fit_single_object_map(inferred, positions, presence).predict(inferred)
    labels = torch.randint(0, 2, presence.shape)
    other, order = permuted(mapped, presence)
    components = labels.gather(1, order)
    components = components.gather(1, object_order(other, positions, presence))
    assert side_accuracy(components, labels, presence).item() == 1


def test_wrong_arguments_are_named():
    inferred, positions, presence = affine_world()
    several, nothing = presence_of(torch.full((8,), 2)), torch.zeros_like(presence)
    with pytest.raises(ValueError, match=r"inferred, positions: expected one shape .*, got \(8, 9, 3, 2\) and \(8, 10"):
        match_objects(inferred[:, :9], positions, presence)
    with pytest.raises(
        ValueError, match=r"presence: expected bool \(sequences, objects\) = \(8, 3\), .* presence\[:, 0"
    ):
        swap_rate(inferred, positions, presence[:, None].expand(8, 10, 3))
    with pytest.raises(ValueError, match=r"presence: expected bool .* got torch.float32 \(8, 3\)"):
        root_mean_squared_error(inferred, positions, presence.float())
    with pytest.raises(ValueError, match="presence: expected a sequence with exactly one object to fit the map to"):
        fit_single_object_map(inferred, positions, several)
    with pytest.raises(ValueError, match="presence: expected a sequence with at least two objects, got none"):
        swap_rate(inferred, positions, presence_of(torch.ones(8)))
    with pytest.raises(ValueError, match="presence: expected at least one object, got none"):
        coefficient_of_determination(inferred, positions, nothing)
    with pytest.raises(ValueError, match="positions: expected positions that vary, got a constant one"):
        coefficient_of_determination(torch.zeros(8, 10, 3, 2), torch.zeros(8, 10, 3, 2), presence)
    with pytest.raises(ValueError, match="presence: expected at most 6 slots, all orders of which are tried, got 7"):
        object_order(torch.zeros(1, 2, 7, 2), torch.zeros(1, 2, 7, 2), torch.ones(1, 7, dtype=torch.bool))
    labels = torch.zeros(8, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"components, labels, presence: expected one shape .* got \(8, 2\), \(8, 3\)"):
        side_accuracy(labels[:, :2], labels, presence)
    with pytest.raises(ValueError, match="components, labels: expected numbers from 0 up, got a negative one"):
        side_accuracy(labels - 1, labels, presence)
    with pytest.raises(ValueError, match="presence: expected at least one object, got none"):
        side_accuracy(labels, labels, nothing)
