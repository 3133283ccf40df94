"""HOTA of a tiny clip by its definition: dictionaries, all one-to-one choices of each frame, a loop over matches."""

import itertools


def overlap(box, other):
    sides = [min(a + c, b + d) - max(a, b) for a, b, c, d in zip(box[:2], other[:2], box[2:], other[2:], strict=True)]
    both = max(0.0, sides[0]) * max(0.0, sides[1])
    return both / (box[2] * box[3] + other[2] * other[3] - both)


def hota_by_definition(true, found, thresholds):
    """(HOTA, DetA, AssA) at each threshold.

    Args:
        true: {frame: {identity: (left, top, width, height)}}.
        found: in the same layout.
        thresholds: minimum overlaps.
    """
    frames = sorted({*true, *found})
    similar = {
        (frame, i, j): overlap(box, other)
        for frame in frames
        for i, box in true.get(frame, {}).items()
        for j, other in found.get(frame, {}).items()
    }
    total = {i: sum(i in true.get(frame, {}) for frame in frames) for frame in true for i in true[frame]}
    other_total = {j: sum(j in found.get(frame, {}) for frame in frames) for frame in found for j in found[frame]}
    shared = dict.fromkeys(itertools.product(total, other_total), 0.0)
    for (frame, i, j), value in similar.items():
        if value > 0:
            row = sum(similar[frame, i, other] for other in found[frame])
            column = sum(similar[frame, other, j] for other in true[frame])
            shared[i, j] += value / (row + column - value)
    fit = {(i, j): value / (total[i] + other_total[j] - value) for (i, j), value in shared.items()}
    matches = []
    for frame in frames:
        objects, names = list(true.get(frame, {})), list(found.get(frame, {}))
        best, chosen = -1.0, []
        for choice in itertools.product([None, *names], repeat=len(objects)):
            pairs = [(i, j) for i, j in zip(objects, choice, strict=True) if j is not None]
            if len({j for _, j in pairs}) == len(pairs):
                value = sum(fit[pair] * similar[frame, *pair] for pair in pairs)
                if value > best:
                    best, chosen = value, pairs
        matches += [(frame, i, j) for i, j in chosen]
    scores = []
    for threshold in thresholds:
        kept = [match for match in matches if similar[match] >= threshold]
        joint = [sum((i, j) == (other, name) for _, other, name in kept) for _, i, j in kept]
        associations = [
            number / (total[i] + other_total[j] - number) for number, (_, i, j) in zip(joint, kept, strict=True)
        ]
        boxes = sum(total.values()) + sum(other_total.values()) - len(kept)
        detection, association = len(kept) / boxes, sum(associations) / max(1, len(kept))
        scores.append(((sum(associations) / boxes) ** 0.5, detection, association))
    return scores
