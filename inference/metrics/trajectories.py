"""Errors of inferred positions of several objects, whose order and coordinate system are the model's choice.

A model trained without positions identifies them up to one affine map shared by all videos, and the objects of a video
up to their order (Chiappa and Paquet 2019, section 2). So first the map is fitted, on videos with a single object,
which have no order; then each video's objects are matched; then positions are compared, in pixels:

    world = fit_single_object_map(inferred, positions, presence)
    matched = match_objects(world.predict(inferred), positions, presence)
    coefficient_of_determination(matched, positions, presence)

Positions are always (sequences, time, objects, 2); `presence`, bool (sequences, objects), says which slots hold an
object, for both inferred and true ones. Values in the other slots are never read and may be NaN.
"""

from itertools import permutations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from inference.metrics.positions import PositionMap, fit_position_map
from videos.typed import typed

MAX_OBJECTS = 6  # their 720 orders are all tried


@typed
def fit_single_object_map(inferred: Tensor, positions: Tensor, presence: Tensor) -> PositionMap:
    """The affine map from inferred to true positions, by least squares over the sequences with exactly one object.

    Args:
        inferred: (sequences, time, objects, 2), in the model's own coordinates.
        positions: (sequences, time, objects, 2), pixels.
        presence: bool (sequences, objects); a single object must be in the same slot on both sides.

    Returns:
        The map; `predict` takes inferred positions of any shape (*batch, 2) to pixels.

    Raises:
        ValueError: if shapes differ, or no sequence has exactly one object.
    """
    _check(inferred, positions, presence)
    single = presence & (presence.sum(-1, keepdim=True) == 1)
    if not bool(single.any()):
        raise ValueError("presence: expected a sequence with exactly one object to fit the map to, got none")
    return fit_position_map(_tracks(inferred, single), _tracks(positions, single))


@typed
def object_order(inferred: Tensor, positions: Tensor, presence: Tensor) -> Int[Tensor, "sequences objects"]:
    """Permutation of inferred objects that matches the true ones with the least squared error over the sequence.

    Inferred object `order[i, j]` of sequence i follows true object j. Slots without an object keep their place.

    Args:
        inferred: (sequences, time, objects, 2), pixels.
        positions: (sequences, time, objects, 2), pixels.
        presence: bool (sequences, objects).

    Raises:
        ValueError: if shapes differ or there are more than six slots.
    """
    costs, orders = _order_costs(inferred, positions, presence)
    return orders[costs.sum(1).argmin(-1)]


@typed
def match_objects(
    inferred: Tensor, positions: Tensor, presence: Tensor
) -> Float[Tensor, "sequences time objects coordinate"]:
    """The inferred positions in the order of the true ones, by `object_order`; arguments and errors as there."""
    order = object_order(inferred, positions, presence)
    return inferred.gather(2, order[:, None, :, None].expand(inferred.shape))


@typed
def swap_rate(inferred: Tensor, positions: Tensor, presence: Tensor, apart: float = 6.0) -> Float[Tensor, ""]:
    """Share of the sequences with two or more objects in which inferred objects swap identities.

    They do if the order with the least squared error is not the same in all frames in which all true objects are
    further apart than `apart`, whether it changed there or while objects were near one another. Frames in which objects
    are near are ignored. The order of the slots does not matter.

    Args:
        inferred: (sequences, time, objects, 2), pixels.
        positions: (sequences, time, objects, 2), pixels.
        presence: bool (sequences, objects).
        apart: pixels; 6 is one more than the width of a disc of radius 2.

    Returns:
        The share; NaN if an inferred position is NaN where there is an object.

    Raises:
        ValueError: if shapes differ, there are more than six slots, or no sequence has two objects.
    """
    costs, _ = _order_costs(inferred, positions, presence)
    several = presence.sum(-1) >= 2
    if not bool(several.any()):
        raise ValueError("presence: expected a sequence with at least two objects, got none")
    best = costs.argmin(-1)
    pairs = (presence[:, :, None] & presence[:, None, :]).triu(1)
    gaps = (positions[:, :, :, None] - positions[:, :, None]).double().norm(dim=-1)
    clear = ~((gaps <= apart) & pairs[:, None]).flatten(2).any(-1)
    first = best.gather(1, clear.int().argmax(1, keepdim=True))
    swapped = (best != first) & clear
    rate = swapped.any(-1)[several].double().mean()
    return torch.where(costs[several].isnan().any(), torch.nan, rate)


@typed
def coefficient_of_determination(inferred: Tensor, positions: Tensor, presence: Tensor) -> Float[Tensor, ""]:
    """R^2 = 1 - sum |inferred - positions|^2 / sum |positions - mean|^2 over objects, frames, x and y together.

    The mean is taken separately for x and y, over all objects and frames: 1 is perfect, 0 is as good as the mean place.

    Args:
        inferred: (sequences, time, objects, 2), pixels, in the order of the true ones.
        positions: (sequences, time, objects, 2), pixels.
        presence: bool (sequences, objects).

    Raises:
        ValueError: if shapes differ, there is no object, or no object moves or differs from another.
    """
    guess, target = _present(inferred, positions, presence)
    spread = (target - target.mean((0, 1))).square().sum()
    if not bool(spread > 0):
        raise ValueError("positions: expected positions that vary, got a constant one")
    return 1 - (guess - target).square().sum() / spread


@typed
def root_mean_squared_error(inferred: Tensor, positions: Tensor, presence: Tensor) -> Float[Tensor, ""]:
    """Root of the mean squared error of a coordinate, x and y together, pixels; sqrt(2) times it is that of a distance.

    Args:
        inferred: (sequences, time, objects, 2), pixels, in the order of the true ones.
        positions: (sequences, time, objects, 2), pixels.
        presence: bool (sequences, objects).

    Raises:
        ValueError: if shapes differ or there is no object.
    """
    guess, target = _present(inferred, positions, presence)
    return (guess - target).square().mean().sqrt()


@typed
def side_accuracy(components: Tensor, labels: Tensor, presence: Tensor) -> Float[Tensor, ""]:
    """Share of objects whose mixture component has their label, under the best assignment of labels to components.

    Each component gets one label and each label at least one component, to maximise the share: with equal numbers of
    components and labels this is the best permutation.

    Args:
        components: integer (sequences, objects), each object's component, 0 ... K - 1, in the order of the labels:
            `components.gather(1, object_order(...))`.
        labels: integer (sequences, objects), each object's class, 0 ... L - 1, such as the side that a ball comes from.
        presence: bool (sequences, objects).

    Raises:
        ValueError: if shapes differ, there is no object, or a component or label of an object is negative.
    """
    from scipy.optimize import linear_sum_assignment

    if components.dim() != 2 or not components.shape == labels.shape == presence.shape:
        raise ValueError(
            "components, labels, presence: expected one shape (sequences, objects), got "
            f"{tuple(components.shape)}, {tuple(labels.shape)} and {tuple(presence.shape)}"
        )
    for name, value in (("components", components), ("labels", labels)):
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise ValueError(f"{name}: expected whole numbers, got {value.dtype}; convert with .long()")
    if presence.dtype != torch.bool:
        raise ValueError(f"presence: expected bool, got {presence.dtype}; convert with .bool()")
    _check_present(presence)
    component, label = components[presence].long(), labels[presence].long()
    if bool((component < 0).any()) or bool((label < 0).any()):
        raise ValueError("components, labels: expected numbers from 0 up, got a negative one")
    num_labels = int(label.max()) + 1
    num_components = max(int(component.max()) + 1, num_labels)  # unused components may take any label
    counts = (component * num_labels + label).bincount(minlength=num_components * num_labels)
    counts = counts.reshape(num_components, num_labels).double()
    # A component assigned a label other than its most frequent one loses the difference.
    most = counts.amax(1)
    losses = (most[:, None] - counts).cpu().numpy()
    chosen = linear_sum_assignment(losses)
    return (most.sum() - losses[chosen].sum()) / counts.sum()


def _order_costs(inferred: Tensor, positions: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error of each frame under each order, (sequences, time, orders), and the orders, (orders, objects)."""
    _check(inferred, positions, presence)
    num_objects = presence.shape[-1]
    if num_objects > MAX_OBJECTS:
        raise ValueError(
            f"presence: expected at most {MAX_OBJECTS} slots, all orders of which are tried, got {num_objects}"
        )
    orders = torch.tensor(list(permutations(range(num_objects))), device=inferred.device)
    slots = torch.arange(num_objects, device=inferred.device)
    squared = (inferred.double()[:, :, :, None] - positions[:, :, None]).square().sum(-1)
    pairs = presence[:, :, None] & presence[:, None, :]
    squared = torch.where(pairs[:, None], squared, 0.0)
    costs = squared[:, :, orders, slots].sum(-1)
    allowed = ((orders == slots) | presence[:, None]).all(-1)
    return costs.masked_fill(~allowed[:, None], torch.inf), orders


def _present(inferred: Tensor, positions: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides' objects, float64 (objects, time, 2)."""
    _check(inferred, positions, presence)
    _check_present(presence)
    return _tracks(inferred, presence).double(), _tracks(positions, presence).double()


def _tracks(positions: Tensor, presence: Tensor) -> Tensor:
    """The objects that exist, (objects, time, 2)."""
    return positions.transpose(1, 2)[presence]


def _check(inferred: Tensor, positions: Tensor, presence: Tensor) -> None:
    if inferred.shape != positions.shape or inferred.dim() != 4 or inferred.shape[-1] != 2:
        raise ValueError(
            "inferred, positions: expected one shape (sequences, time, objects, 2), "
            f"got {tuple(inferred.shape)} and {tuple(positions.shape)}"
        )
    for name, value in (("inferred", inferred), ("positions", positions)):
        if value.dtype == torch.bool:
            raise ValueError(f"{name}: expected pixels, got {value.dtype}; swapped with presence?")
    expected = (inferred.shape[0], inferred.shape[2])
    if presence.dtype != torch.bool or tuple(presence.shape) != expected:
        raise ValueError(
            f"presence: expected bool (sequences, objects) = {expected}, got {presence.dtype} {tuple(presence.shape)}; "
            "of a VideoBatch in which objects neither come nor go, take presence[:, 0]"
        )


def _check_present(presence: Tensor) -> None:
    if not bool(presence.any()):
        raise ValueError("presence: expected at least one object, got none")
