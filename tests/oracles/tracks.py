"""Tracks scored by a slow search, frame by frame and order by order, and by another library."""

import itertools
import math

import numpy as np
import torch

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
# objects have held one identity, motmetrics lets the first keep it, this project the last; both agree on these tracks.
# seed, max_distance: num_misses, num_false_positives, num_switches, num_fragmentations, idtp; mota, motp, idf1
MOTMETRICS = {
    (0, None): (125, 99, 44, 66, 228, 0.372365, 0.292886, 0.550725),
    (0, 3.0): (116, 90, 46, 61, 235, 0.409836, 1.452921, 0.567633),
    (2, None): (118, 88, 53, 72, 213, 0.407323, 0.296742, 0.504739),
    (2, 3.0): (110, 80, 59, 69, 218, 0.430206, 1.499248, 0.516588),
    (3, None): (96, 76, 33, 55, 283, 0.525463, 0.288929, 0.670616),
    (3, 3.0): (93, 73, 33, 57, 282, 0.539352, 1.393488, 0.668246),
}


def random_tracks(seed, sequences=10, time=12, objects=4):
    """Objects that cross, come and go, and the output of a poor tracker."""
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
        frames, found = {}, {}
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
                frames[i], found[i] = frames.get(i, 0) + 1, found.get(i, 0) + (i in matched)
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
        counts["mostly_tracked"] = sum(5 * found[i] >= 4 * frames[i] for i in frames)
        counts["mostly_lost"] = sum(5 * found[i] < frames[i] for i in frames)
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
