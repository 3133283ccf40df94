"""Tracks by hand, by enumeration, by another library, and under other names and orders."""

import itertools
import math

import numpy as np
import pytest
import torch

from inference.metrics import score_tracks
from pyro_models.components.scene import Scene

COUNTS = (
    "objects",
    "predictions",
    "matches",
    "misses",
    "false_positives",
    "switches",
    "fragmentations",
    "redetected_objects",
    "late_discoveries",
    "identity_matches",
)
# pip install motmetrics==1.4.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
# For each sequence of random_tracks(seed) an MOTAccumulator(auto_id=True), updated frame by frame with the true places,
# the identities and the distances, NaN outside the gate: 1 - motmetrics.distances.boxiou, or those of the middles. Then
# metrics.create().compute_many(accumulators, names, generate_overall=True), whose overall row is this. Where two
# objects have held one identity, motmetrics lets the first keep it, this project the last; these tracks do not tell.
# seed, max_distance: num_misses, num_false_positives, num_switches, num_fragmentations, idtp; mota, motp, idf1
MOTMETRICS = {
    (0, None): (125, 99, 44, 66, 228, 0.372365, 0.292886, 0.550725),
    (0, 3.0): (116, 90, 46, 61, 235, 0.409836, 1.452921, 0.567633),
    (2, None): (118, 88, 53, 72, 213, 0.407323, 0.296742, 0.504739),
    (2, 3.0): (110, 80, 59, 69, 218, 0.430206, 1.499248, 0.516588),
    (3, None): (96, 76, 33, 55, 283, 0.525463, 0.288929, 0.670616),
    (3, 3.0): (93, 73, 33, 57, 282, 0.539352, 1.393488, 0.668246),
}


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


def random_tracks(seed, sequences=10, time=12, objects=4):
    """Objects that wander among each other, come and go, and what a poor tracker makes of them."""
    draws = np.random.RandomState(seed)
    shape = (sequences, time, objects)
    positions = 20 * draws.rand(sequences, 1, objects, 2) + draws.randn(*shape, 2).cumsum(1)
    box_sizes = 8 + 6 * draws.rand(sequences, 1, objects, 2) + 0.3 * draws.randn(*shape, 2)
    presence = draws.rand(*shape) < 0.9
    guesses = positions + 1.2 * draws.randn(*shape, 2)
    guesses = np.where(draws.rand(*shape, 1) < 0.1, 20 * draws.rand(*shape, 2), guesses)  # ghosts
    guessed_sizes = box_sizes + draws.randn(*shape, 2)
    found = draws.rand(*shape) < 0.85
    names = np.arange(objects) + objects * (draws.rand(*shape) < 0.05).cumsum(1)
    for sequence in range(sequences):
        first, second = draws.permutation(objects)[:2]
        start = draws.randint(time)
        names[sequence, start:, [first, second]] = names[sequence, start:, [second, first]]
    order = draws.rand(*shape).argsort(-1)
    names, found = (np.take_along_axis(value, order, -1) for value in (names, found))
    guesses, guessed_sizes = (np.take_along_axis(value, order[..., None], -2) for value in (guesses, guessed_sizes))
    predicted = Scene(
        torch.tensor(found).double(),
        torch.tensor(guesses),
        torch.tensor(guessed_sizes),
        identities=torch.tensor(np.where(found, names, -1)),
    )
    return predicted, Scene(torch.tensor(presence), torch.tensor(positions), torch.tensor(box_sizes))


def overlap(place, size, other, other_size):
    sides = [
        max(0.0, min(a + b / 2, c + d / 2) - max(a - b / 2, c - d / 2))
        for a, b, c, d in zip(place, size, other, other_size, strict=True)
    ]
    both = sides[0] * sides[1]
    return both / (size[0] * size[1] + other_size[0] * other_size[1] - both)


def slow_scores(predicted, truth, max_distance=None, visible=None):
    """All counts of one sequence after another, with dictionaries, by trying all assignments."""
    totals = []
    for sequence in range(len(predicted.presence)):
        counts = dict.fromkeys(COUNTS, 0) | {"closeness": 0.0, "distance": 0.0}
        latest, claims, interrupted, met, first_seen, shared = {}, {}, set(), {}, {}, {}
        for time in range(predicted.presence.shape[1]):
            objects = truth.presence[sequence, time].nonzero()[:, 0].tolist()
            hidden = [i for i in objects if visible is not None and not visible[sequence, time, i]]
            names, near, measured = [], {}, {}
            for slot in predicted.presence[sequence, time].nonzero()[:, 0].tolist():
                name = int(predicted.identities[sequence, time, slot])
                names.append(name)
                first_seen.setdefault(name, time)
                for i in objects:
                    boxes = [
                        value[sequence, time, place].tolist()
                        for scene, place in ((truth, i), (predicted, slot))
                        for value in (scene.positions, scene.box_sizes)
                    ]
                    distance, iou = math.dist(boxes[0], boxes[2]), overlap(*boxes)
                    closeness = iou if max_distance is None else distance
                    near[i, name] = iou >= 0.5 if max_distance is None else distance <= max_distance
                    measured[i, name] = closeness, distance
            asked = [i for i in objects if i not in hidden]
            kept = {i: claims[i] for i in asked if near.get((i, claims.get(i)))}
            rest = [i for i in asked if i not in kept]
            spare = [name for name in names if name not in kept.values()]
            best = (0, 0.0)
            chosen = {}
            for choice in itertools.product(*[[None, *[name for name in spare if near[i, name]]] for i in rest]):
                pairs = [(i, name) for i, name in zip(rest, choice, strict=True) if name is not None]
                total = sum(measured[pair][0] for pair in pairs)
                value = (len(pairs), total if max_distance is None else -total)
                if len({name for _, name in pairs}) == len(pairs) and value > best:
                    best, chosen = value, dict(pairs)
            matched = kept | chosen
            excused = [name for name in names if name not in matched.values() and any(near[i, name] for i in hidden)]
            counts["objects"] += len(asked)
            counts["predictions"] += len(names) - len(excused)
            counts["matches"] += len(matched)
            for i in asked:
                if i not in matched:
                    interrupted.add(i)
                for name in names:
                    if near[i, name] and name not in excused:
                        shared[i, name] = shared.get((i, name), 0) + 1
            for i, name in matched.items():
                counts["closeness"] += measured[i, name][0]
                counts["distance"] += measured[i, name][1]
                counts["switches"] += latest.get(i, name) != name
                counts["fragmentations"] += i in latest and i in interrupted
                interrupted.discard(i)
                latest[i] = name
                met.setdefault(i, set()).add(name)
                claims = {other: claim for other, claim in claims.items() if claim != name} | {i: name}
        counts["misses"] = counts["objects"] - counts["matches"]
        counts["false_positives"] = counts["predictions"] - counts["matches"]
        counts["redetected_objects"] = sum(len(names) > 1 for names in met.values())
        counts["late_discoveries"] = sum(time > 0 for time in first_seen.values())
        options = [[None, *first_seen] for _ in range(truth.presence.shape[-1])]
        for choice in itertools.product(*options):
            given = [name for name in choice if name is not None]
            if len(set(given)) == len(given):
                explained = sum(shared.get((i, name), 0) for i, name in enumerate(choice))
                counts["identity_matches"] = max(counts["identity_matches"], explained)
        totals.append(counts)
    return totals


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
