"""Tracks by hand, by enumeration, by another library, and under other names and orders."""

import itertools
import math

import pytest
import torch

from inference.metrics import score_tracks
from pyro_models.components.scene import Scene
from tests.oracles.tracks import COUNTS, MOTMETRICS, random_tracks, slow_scores


def scene_of(tracks, slots=None):
    """Boxes of 4 by 4 pixels: for each frame {identity: (x, y)}, one sequence."""
    slots = slots or max(1, *(len(frame) for frame in tracks))
    identities = torch.full((1, len(tracks), slots), -1)
    positions = torch.full((1, len(tracks), slots, 2), torch.nan)
    for time, frame in enumerate(tracks):
        for slot, (identity, place) in enumerate(frame.items()):
            identities[0, time, slot] = identity
            positions[0, time, slot] = torch.tensor(place)
    return Scene((identities >= 0).float(), positions, torch.full_like(positions, 4.0), identities=identities)


def truth_of(tracks):
    """As above, where an identity is a place among the slots."""
    objects = 1 + max(itertools.chain([0], *tracks))
    presence = torch.zeros(1, len(tracks), objects, dtype=torch.bool)
    positions = torch.full((1, len(tracks), objects, 2), torch.nan)
    for time, frame in enumerate(tracks):
        for index, place in frame.items():
            presence[0, time, index] = True
            positions[0, time, index] = torch.tensor(place)
    return Scene(presence, positions, torch.full_like(positions, 4.0))


def joined(*scenes):
    fields = ("presence", "positions", "box_sizes", "identities")
    values = [[getattr(scene, field) for scene in scenes] for field in fields]
    return Scene(
        **{field: torch.cat(value) for field, value in zip(fields, values, strict=True) if value[0] is not None}
    )


def check_counts(scores, **expected):
    for name, values in expected.items():
        assert getattr(scores, name).tolist() == pytest.approx(values), name


def check_same(one, two):
    for name in (*COUNTS, "closeness", "distance"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name), msg=name)


LEFT, RIGHT, FAR = (5.0, 5.0), (15.0, 5.0), (40.0, 40.0)


def test_perfect_tracks():
    scene = scene_of([{7: (x, 5.0), 3: (20.0, x)} for x in (1.0, 4.0, 7.0)])
    truth = truth_of([{0: (20.0, x), 1: (x, 5.0)} for x in (1.0, 4.0, 7.0)])
    for max_distance, motp in ((None, 1.0), (2.0, 0.0)):
        scores = score_tracks(scene, truth, max_distance=max_distance)
        assert (scores.mota, scores.motp, scores.idf1, scores.position_error) == (1.0, motp, 1.0, 0.0)
        assert scores.unswitched_share == 1.0
        check_counts(scores, objects=[6], predictions=[6], matches=[6], identity_matches=[6])
        rest = [name for name in COUNTS if name not in ("objects", "predictions", "matches", "identity_matches")]
        check_counts(scores, **{name: [0] for name in rest})


def test_a_swap_at_a_crossing_is_two_switches():
    truth = [{0: (x, 5.0), 1: (16.0 - x, 5.0)} for x in (0.0, 4.0, 8.0, 12.0, 16.0)]
    scene = scene_of(
        [
            {index if time < 3 else 1 - index: place for index, place in frame.items()}
            for time, frame in enumerate(truth)
        ]
    )
    scores = score_tracks(scene, truth_of(truth))
    check_counts(scores, matches=[10], switches=[2], fragmentations=[0], redetected_objects=[2], late_discoveries=[0])
    # the first three frames of each, of ten objects; at the crossing itself either order will do
    check_counts(scores, identity_matches=[6])
    assert (scores.mota, scores.idf1, scores.unswitched_share) == (pytest.approx(0.8), pytest.approx(0.6), 0.0)


def test_a_track_that_dies_and_is_found_anew():
    truth = truth_of([{0: LEFT}] * 5)
    scores = score_tracks(scene_of([{0: LEFT}, {0: LEFT}, {}, {1: LEFT}, {1: LEFT}]), truth)
    check_counts(scores, misses=[1], switches=[1], fragmentations=[1], redetected_objects=[1], late_discoveries=[1])
    assert (scores.mota, scores.idf1) == (pytest.approx(1 - 2 / 5), pytest.approx(2 * 2 / 9))
    # at once: nothing is missed, so nothing is torn
    scores = score_tracks(scene_of([{0: LEFT}, {0: LEFT}, {1: LEFT}, {1: LEFT}, {1: LEFT}]), truth)
    check_counts(scores, misses=[0], switches=[1], fragmentations=[0], redetected_objects=[1], late_discoveries=[1])
    # under its own name: torn, but the same
    scores = score_tracks(scene_of([{0: LEFT}, {}, {}, {0: LEFT}, {0: LEFT}]), truth)
    check_counts(scores, misses=[2], switches=[0], fragmentations=[1], redetected_objects=[0], late_discoveries=[0])
    # found late and lost for good is not torn
    scores = score_tracks(scene_of([{}, {0: LEFT}, {0: LEFT}, {}, {}]), truth)
    check_counts(scores, misses=[3], switches=[0], fragmentations=[0], redetected_objects=[0], late_discoveries=[1])


def test_names_that_alternate_switch_each_time_and_redetect_once():
    scores = score_tracks(scene_of([{time % 2: LEFT} for time in range(5)]), truth_of([{0: LEFT}] * 5))
    check_counts(scores, switches=[4], redetected_objects=[1], late_discoveries=[1], identity_matches=[3])


def test_an_object_that_leaves_and_returns_is_not_torn():
    tracks = [{0: LEFT}, {}, {0: LEFT}]
    scores = score_tracks(scene_of(tracks), truth_of(tracks))
    check_counts(scores, objects=[2], misses=[0], fragmentations=[0], false_positives=[0])


def test_ghosts_are_false_positives():
    truth = truth_of([{0: LEFT}] * 2)
    scores = score_tracks(scene_of([{0: LEFT, 1: FAR, 2: RIGHT}, {0: LEFT, 3: FAR, 2: RIGHT}]), truth)
    check_counts(scores, false_positives=[4], misses=[0], switches=[0], late_discoveries=[1], identity_matches=[2])
    assert (scores.mota, scores.idf1) == (-1.0, pytest.approx(2 * 2 / 8))


def test_two_on_one_object_are_one_too_many():
    scores = score_tracks(scene_of([{0: LEFT, 1: LEFT}]), truth_of([{0: LEFT}]))
    check_counts(scores, matches=[1], false_positives=[1])


def test_nobody_anywhere_and_nobody_found():
    nobody, somebody = [{}, {}], [{0: LEFT}, {0: LEFT}]
    blank = score_tracks(scene_of(nobody), truth_of(nobody))
    check_counts(blank, **{name: [0] for name in COUNTS})
    assert all(math.isnan(score) for score in (blank.mota, blank.motp, blank.idf1, blank.position_error))
    assert blank.unswitched_share == 1.0
    blind = score_tracks(scene_of(nobody), truth_of(somebody))
    check_counts(blind, misses=[2], false_positives=[0])
    assert (blind.mota, blind.idf1) == (0.0, 0.0)
    assert math.isnan(blind.motp)
    dreamt = score_tracks(scene_of(somebody), truth_of(nobody))
    check_counts(dreamt, false_positives=[2], misses=[0], identity_matches=[0])
    assert dreamt.idf1 == 0.0
    assert math.isnan(dreamt.mota)


def test_sequences_count_for_themselves_and_scores_pool_them():
    truth = truth_of([{0: LEFT}] * 3)
    scene = joined(
        scene_of([{0: LEFT}] * 3),
        scene_of([{0: LEFT}, {1: LEFT}, {0: LEFT}]),
        scene_of([{}] * 3),
        scene_of([{0: FAR}] * 3),
    )
    scores = score_tracks(scene, joined(truth, truth, truth, truth))
    check_counts(scores, matches=[3, 3, 0, 0], false_positives=[0, 0, 0, 3], switches=[0, 2, 0, 0])
    check_counts(scores, identity_matches=[3, 2, 0, 0], late_discoveries=[0, 1, 0, 0], redetected_objects=[0, 1, 0, 0])
    assert scores.unswitched_share == 0.75
    assert scores.mota == pytest.approx(1 - (6 + 3 + 2) / 12)
    assert scores.idf1 == pytest.approx(2 * 5 / (12 + 9))


def test_a_match_is_kept_even_if_another_comes_nearer():
    truth = truth_of([{0: (5.0, 5.0)}] * 3)
    scene = scene_of([{0: (5.0, 5.0)}, {0: (6.0, 5.0), 1: (5.0, 5.0)}, {0: (9.0, 5.0), 1: (5.0, 5.0)}])
    scores = score_tracks(scene, truth)
    # in the second frame the farther one is kept: boxes of 4 by 4, one pixel apart, overlap by 12 of 20
    check_counts(scores, switches=[1], false_positives=[2], closeness=[1 + 12 / 20 + 1], distance=[1.0])


def test_a_match_is_kept_through_a_gap():
    scene = scene_of([{0: LEFT}, {}, {0: (6.0, 5.0), 1: LEFT}])
    check_counts(score_tracks(scene, truth_of([{0: LEFT}] * 3)), switches=[0], fragmentations=[1], distance=[1.0])


def test_who_had_an_identity_last_keeps_it():
    """Identity 0 goes over from object 0 to object 1; when both are near it, it is object 1 that has it."""
    truth = [{0: LEFT, 1: FAR}, {0: LEFT, 1: FAR}, {0: (5.0, 6.0), 1: LEFT}]
    scene = [{0: LEFT}, {0: FAR}, {0: (5.0, 5.5)}]
    for order in ((0, 1), (1, 0)):
        renamed = truth_of([{order[index]: place for index, place in frame.items()} for frame in truth])
        check_counts(score_tracks(scene_of(scene), renamed), matches=[3], switches=[0], misses=[3])


def test_an_object_keeps_its_new_identity_when_another_takes_its_old_one():
    """Object 0 goes over from identity 0 to 1, object 1 takes identity 0; then 2 comes nearer to object 0 than 1."""
    truth = truth_of([{0: LEFT, 1: FAR}] * 4)
    scene = [{0: LEFT}, {1: LEFT}, {1: LEFT, 0: FAR}, {1: (5.5, 5.0), 2: LEFT, 0: FAR}]
    check_counts(score_tracks(scene_of(scene), truth), switches=[1], distance=[0.5])


def test_mostly_tracked_and_mostly_lost():
    """At least four fifths of five frames, and less than one fifth."""
    for found, tracked, lost in ((0, 0, 1), (1, 0, 0), (3, 0, 0), (4, 1, 0), (5, 1, 0)):
        scene = scene_of([{0: LEFT} if time < found else {} for time in range(5)])
        scores = score_tracks(scene, truth_of([{0: LEFT}] * 5))
        check_counts(scores, mostly_tracked=[tracked], mostly_lost=[lost])


def test_as_many_as_possible_are_matched_then_as_closely_as_possible():
    # the closest pair of all, 0 and 4, would leave the other object without a match
    scores = score_tracks(
        scene_of([{4: (5.1, 5.0), 8: (3.2, 5.0)}]), truth_of([{0: (5.0, 5.0), 1: (6.9, 5.0)}]), max_distance=2.0
    )
    check_counts(scores, matches=[2], distance=[1.8 + 1.8])
    scores = score_tracks(
        scene_of([{4: (5.1, 5.0), 8: (6.8, 5.0)}]), truth_of([{0: (5.0, 5.0), 1: (6.9, 5.0)}]), max_distance=2.0
    )
    check_counts(scores, matches=[2], distance=[0.1 + 0.1])


def test_gates():
    truth = truth_of([{0: (5.0, 5.0)}])
    shifted = scene_of([{0: (6.0, 6.0)}])  # 9 of 23 square pixels, sqrt(2) pixels
    assert score_tracks(shifted, truth).matches.item() == 0
    scores = score_tracks(shifted, truth, min_overlap=0.39)
    assert (scores.motp, scores.position_error) == (pytest.approx(9 / 23), pytest.approx(2**0.5))
    assert score_tracks(shifted, truth, max_distance=1.4).matches.item() == 0
    scores = score_tracks(shifted, truth, max_distance=1.5)
    assert scores.motp == scores.position_error == pytest.approx(2**0.5)
    without = [Scene(scene.presence, scene.positions, identities=scene.identities) for scene in (shifted, truth)]
    check_same(score_tracks(*without, max_distance=1.5), scores)
    half = Scene(truth.presence, truth.positions, torch.tensor([4.0, 2.0]).expand(1, 1, 1, 2))
    assert score_tracks(scene_of([{0: (5.0, 5.0)}]), half).motp == 0.5  # the gate itself is inside
    empty = Scene(truth.presence, truth.positions, torch.zeros(1, 1, 1, 2))
    assert (
        score_tracks(
            Scene(
                *[getattr(empty, f) for f in ("presence", "positions", "box_sizes")],
                identities=torch.zeros(1, 1, 1, dtype=torch.long),
            ),
            empty,
        ).matches.item()
        == 0
    )


def test_objects_out_of_sight_are_not_asked_for():
    truth = truth_of([{0: LEFT, 1: RIGHT}] * 4)
    visible = torch.ones(1, 4, 2, dtype=torch.bool)
    visible[0, 1:3, 0] = False
    lost = scene_of([{0: LEFT, 1: RIGHT}, {1: RIGHT}, {1: RIGHT}, {0: LEFT, 1: RIGHT}])
    scores = score_tracks(lost, truth, visible)
    check_counts(scores, objects=[6], predictions=[6], misses=[0], fragmentations=[0], identity_matches=[6])
    assert (scores.mota, scores.idf1) == (1.0, 1.0)
    assert score_tracks(lost, truth).mota == pytest.approx(0.75)
    # a model that still sees it is not punished for it, one that sees things elsewhere is
    check_same(score_tracks(scene_of([{0: LEFT, 1: RIGHT}] * 4), truth, visible), scores)
    ghost = scene_of([{0: LEFT, 1: RIGHT}, {0: FAR, 1: RIGHT}, {0: FAR, 1: RIGHT}, {0: LEFT, 1: RIGHT}])
    check_counts(score_tracks(ghost, truth, visible), objects=[6], false_positives=[2], identity_matches=[6])
    # an identity that is lost out of sight is lost
    renamed = scene_of([{0: LEFT, 1: RIGHT}, {2: LEFT, 1: RIGHT}, {2: LEFT, 1: RIGHT}, {2: LEFT, 1: RIGHT}])
    check_counts(score_tracks(renamed, truth, visible), switches=[1], redetected_objects=[1], late_discoveries=[1])


def test_a_hidden_object_takes_no_match_from_a_visible_one():
    truth = truth_of([{0: (5.0, 5.0), 1: (6.0, 5.0)}])
    visible = torch.tensor([[[False, True]]])
    scores = score_tracks(scene_of([{0: (5.0, 5.0)}]), truth, visible)
    check_counts(scores, matches=[1], misses=[0], false_positives=[0], distance=[1.0])


def test_what_is_not_counted_explains_nothing():
    """Identity 0 is always near the visible object too, which others hold: it is not among the predictions."""
    truth = truth_of([{0: (5.0, 5.0), 1: (6.0, 5.0)}] * 2)
    visible = torch.tensor([[[False, True]] * 2])
    scores = score_tracks(scene_of([{0: (5.0, 5.0), 1: (6.0, 5.0)}, {0: (5.0, 5.0), 2: (6.0, 5.0)}]), truth, visible)
    check_counts(scores, objects=[2], predictions=[2], identity_matches=[1])


def test_position_error_is_a_mean_distance():
    truth = truth_of([{0: (5.0, 5.0), 1: RIGHT, 2: FAR}])
    scores = score_tracks(scene_of([{0: (5.6, 5.8), 1: (15.0, 5.5)}]), truth)
    assert scores.position_error == pytest.approx((1.0 + 0.5) / 2)


@pytest.mark.parametrize("max_distance", [None, 3.0])
@pytest.mark.parametrize("hide", [False, True])
def test_counts_are_those_of_a_slow_search(max_distance, hide):
    predicted, truth = random_tracks(seed=5, sequences=30, time=5, objects=3)
    visible = torch.rand(30, 5, 3) < 0.7 if hide else None
    scores = score_tracks(predicted, truth, visible, max_distance=max_distance)
    slow = slow_scores(predicted, truth, max_distance, visible)
    check_counts(scores, **{name: [counts[name] for counts in slow] for name in slow[0]})
    assert all(getattr(scores, name).sum() > 0 for name in COUNTS)  # there is something to get wrong


@pytest.mark.parametrize(("seed", "max_distance"), MOTMETRICS)
def test_counts_are_those_of_motmetrics(seed, max_distance):
    *counts, mota, motp, idf1 = MOTMETRICS[seed, max_distance]
    scores = score_tracks(*random_tracks(seed), max_distance=max_distance)
    names = ("misses", "false_positives", "switches", "fragmentations", "identity_matches")
    assert [int(getattr(scores, name).sum()) for name in names] == counts
    ours = (scores.mota, scores.motp if max_distance else 1 - scores.motp, scores.idf1)
    assert ours == pytest.approx((mota, motp, idf1), abs=1e-6)


def test_names_and_orders_do_not_matter():
    predicted, truth = random_tracks(seed=6)
    visible = torch.rand(truth.presence.shape) < 0.8
    scores = score_tracks(predicted, truth, visible)
    names = torch.randperm(int(predicted.identities.max()) + 1) * 10**12
    renamed = torch.where(predicted.identities < 0, -1, names[predicted.identities])
    check_same(
        score_tracks(
            Scene(predicted.presence, predicted.positions, predicted.box_sizes, identities=renamed), truth, visible
        ),
        scores,
    )
    slots, objects = torch.rand(10, 12, 4).argsort(-1), torch.rand(10, 4).argsort(-1)[:, None].expand(10, 12, 4)
    check_same(score_tracks(reordered(predicted, slots), truth, visible), scores)
    check_same(score_tracks(predicted, reordered(truth, objects), visible.gather(-1, objects)), scores)
    rows = torch.randperm(10)
    picked = [
        Scene(**{name: value[rows] for name, value in vars(scene).items() if value is not None})
        for scene in (predicted, truth)
    ]
    for name in COUNTS:
        assert torch.equal(getattr(score_tracks(*picked, visible[rows]), name), getattr(scores, name)[rows])


def reordered(scene, order):
    pairs = order[..., None].expand(*order.shape, 2)
    identities = None if scene.identities is None else scene.identities.gather(-1, order)
    return Scene(
        scene.presence.gather(-1, order),
        scene.positions.gather(-2, pairs),
        scene.box_sizes.gather(-2, pairs),
        identities=identities,
    )


def test_empty_slots_are_never_read():
    scores = []
    for filling in (torch.nan, torch.inf, 5.0):
        predicted, truth = random_tracks(seed=7)
        for scene in (predicted, truth):
            for value in (scene.positions, scene.box_sizes):
                value[scene.presence == 0] = filling
        predicted.identities[predicted.presence == 0] = int(torch.randint(-9, 9, ()))
        scores.append(score_tracks(predicted, truth))
    check_same(scores[0], scores[1])
    check_same(scores[0], scores[2])
    assert all(score == score for score in (scores[0].mota, scores[0].motp, scores[0].position_error))


def test_presence_may_be_a_probability():
    scene = scene_of([{0: LEFT, 1: RIGHT}] * 2)
    likely = torch.tensor([[[0.6, 0.4], [1.0, 0.5]]])
    scene = Scene(likely, scene.positions, scene.box_sizes, identities=scene.identities)
    check_counts(score_tracks(scene, truth_of([{0: LEFT}] * 2)), matches=[2], predictions=[2])


def test_what_is_nowhere_matches_nothing():
    scene = scene_of([{0: (math.nan, 5.0)}])
    for max_distance in (None, 3.0):
        scores = score_tracks(scene, truth_of([{0: LEFT}]), max_distance=max_distance)
        check_counts(scores, matches=[0], misses=[1], false_positives=[1], closeness=[0.0])


def test_wrong_arguments_are_named():
    scene, truth = scene_of([{0: LEFT, 1: RIGHT}] * 2), truth_of([{0: LEFT}] * 2)

    def changed(**values):
        return Scene(**{**vars(scene), **values})

    with pytest.raises(ValueError, match="predicted: expected a scene with identities, got None"):
        score_tracks(truth, truth)
    with pytest.raises(ValueError, match="predicted: expected a scene with presence, positions and box sizes, one of"):
        score_tracks(changed(box_sizes=None), truth)
    with pytest.raises(ValueError, match="truth: expected a scene with presence and positions, one of them is None"):
        score_tracks(scene, Scene(truth.presence), max_distance=1.0)
    with pytest.raises(ValueError, match=r"predicted.presence: expected \(sequences, time, slots\).* got \(2, 2\); of"):
        score_tracks(changed(presence=scene.presence[0]), truth)
    with pytest.raises(ValueError, match=r"truth.presence: .* at least one of each, got \(1, 2, 0\)"):
        score_tracks(scene, Scene(truth.presence[..., :0], truth.positions[:, :, :0], truth.box_sizes[:, :, :0]))
    with pytest.raises(ValueError, match=r"predicted.positions: expected .* = \(1, 2, 2, 2\), got .* \(1, 2, 1, 2\)"):
        score_tracks(changed(positions=scene.positions[:, :, :1]), truth)
    with pytest.raises(ValueError, match=r"predicted.box_sizes: expected floating point .* got torch.int64"):
        score_tracks(changed(box_sizes=scene.box_sizes.long()), truth)
    with pytest.raises(ValueError, match=r"predicted.identities: expected integers .* got torch.float32"):
        score_tracks(changed(identities=scene.identities.float()), truth)
    with pytest.raises(
        ValueError, match=r"predicted.identities: expected integers .* = \(1, 2, 2\), got .* \(1, 2, 1\)"
    ):
        score_tracks(changed(identities=scene.identities[..., :1]), truth)
    with pytest.raises(ValueError, match="predicted.identities: expected one, from 0 up, for each object .* got -1"):
        score_tracks(changed(identities=torch.full((1, 2, 2), -1)), truth)
    with pytest.raises(ValueError, match="predicted.identities: expected different ones within a frame, got one twice"):
        score_tracks(changed(identities=torch.zeros(1, 2, 2, dtype=torch.long)), truth)
    with pytest.raises(
        ValueError, match=r"truth: expected the sequences and frames of predicted, \(1, 2\), got \(1, 3\)"
    ):
        score_tracks(scene, truth_of([{0: LEFT}] * 3))
    with pytest.raises(ValueError, match=r"visible: expected bool .* = \(1, 2, 1\), got torch.bool \(1, 2\)"):
        score_tracks(scene, truth, torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"visible: expected bool .* got torch.float32 \(1, 2, 1\)"):
        score_tracks(scene, truth, torch.ones(1, 2, 1))
    with pytest.raises(ValueError, match=r"min_overlap: expected a share in \(0, 1\], got 0"):
        score_tracks(scene, truth, min_overlap=0.0)
    with pytest.raises(ValueError, match="max_distance: expected a positive number of pixels, got -1.0"):
        score_tracks(scene, truth, max_distance=-1.0)
