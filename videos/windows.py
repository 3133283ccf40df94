"""Windows on a foreground: counts of objects in each, draws among those accepted, and their contents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int16, Int64, UInt8
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Windows:
    """Positions of windows of one size, one per sequence.

    Attributes:
        frames: int64 (sequences, time), index of each frame in the foreground.
        top: int64 (sequences,), uppermost row, pixels.
        left: int64 (sequences,), leftmost column, pixels.
        size: height and width, pixels.
    """

    frames: Int64[Tensor, "sequences time"]
    top: Int64[Tensor, " sequences"]
    left: Int64[Tensor, " sequences"]
    size: int

    def of(self, video: Tensor) -> Tensor:
        """The windows' contents: (time, height, width) -> (sequences, time, size, size)."""
        pixel = torch.arange(self.size)
        rows = (self.top[:, None] + pixel)[:, None, :, None]
        columns = (self.left[:, None] + pixel)[:, None, None, :]
        return video[self.frames[..., None, None], rows, columns]


@dataclass(frozen=True, eq=False)
class Components:
    """Connected components; one counts if at least `least_area` of its pixels are in the window.

    Args:
        labels: int16 (time, height, width), number of the component, 0 = none.
        least_area: smallest area that counts, pixels.
    """

    labels: Int16[Tensor, "time height width"]
    least_area: int

    def count(self, size: int) -> UInt8[Tensor, "time rows columns"]:
        """Number of components that count in the window at each corner, in each frame."""
        return torch.stack([self._count(labels, size) for labels in self.labels])

    def _count(self, labels: Tensor, size: int) -> Tensor:
        names = torch.arange(1, int(labels.max()) + 1)
        below = pad((labels == names[:, None, None]).int().cumsum(1).cumsum(2), (1, 0, 1, 0))  # an integral image
        area = below[:, size:, size:] - below[:, :-size, size:] - below[:, size:, :-size] + below[:, :-size, :-size]
        return (area >= self.least_area).sum(0).clamp(max=255).to(torch.uint8)

    def seen_through(
        self, windows: Windows
    ) -> tuple[Float64[Tensor, "sequences time objects 4"], Bool[Tensor, "sequences time objects"]]:
        """The part of each component inside the windows, and whether it counts.

        Returns:
            Left, top, right and lower edge, in pixels of the window (pixel i extends from i to i + 1), and bool. Edges
            of components that do not count are arbitrary.
        """
        labels = windows.of(self.labels)
        num_objects = int(labels.max())
        sequence, time, row, column = labels.nonzero().unbind(-1)  # few pixels are lit
        picture = sequence * labels.shape[1] + time
        owner = picture * num_objects + labels[sequence, time, row, column].long() - 1
        blank = torch.zeros(labels.shape[0] * labels.shape[1] * num_objects, dtype=torch.long)
        area = blank.scatter_add(0, owner, torch.ones_like(owner))
        low = [(blank + windows.size).scatter_reduce(0, owner, place, "amin") for place in (column, row)]
        high = [blank.scatter_reduce(0, owner, place + 1, "amax") for place in (column, row)]
        edges = torch.stack([*low, *high], -1).double()
        shape = (*labels.shape[:2], num_objects)
        return edges.reshape(*shape, 4), (area >= self.least_area).reshape(shape)


@dataclass(frozen=True, eq=False)
class Boxes:
    """Annotated boxes; one counts if at least `least_inside` of its area is in the window.

    Args:
        edges: float64 (time, objects, 4), left, top, right and lower edge; frames with fewer have empty boxes.
        least_inside: smallest share of the area that counts.
        shape: height and width of a frame, pixels.
    """

    edges: Float64[Tensor, "time objects 4"]
    least_inside: float
    shape: tuple[int, int]

    def count(self, size: int) -> UInt8[Tensor, "time rows columns"]:
        """See `Components.count`."""
        height, width = self.shape
        top = torch.arange(height - size + 1)[:, None, None]
        left = torch.arange(width - size + 1)[:, None]
        return torch.stack([self._clip(edges, top, left, size)[1].sum(-1).to(torch.uint8) for edges in self.edges])

    def seen_through(
        self, windows: Windows
    ) -> tuple[Float64[Tensor, "sequences time objects 4"], Bool[Tensor, "sequences time objects"]]:
        """See `Components.seen_through`."""
        top, left = windows.top[:, None, None], windows.left[:, None, None]
        return self._clip(self.edges[windows.frames], top, left, windows.size)

    def _clip(self, edges: Tensor, top: Tensor, left: Tensor, size: int) -> tuple[Tensor, Tensor]:
        low = torch.stack(torch.broadcast_tensors(left, top), -1)
        inside_low = torch.maximum(edges[..., :2], low)
        inside_high = torch.maximum(torch.minimum(edges[..., 2:], low + size), inside_low)
        area = (edges[..., 2:] - edges[..., :2]).prod(-1)
        counts = ((inside_high - inside_low).prod(-1) >= self.least_inside * area) & (area > 0)
        return torch.cat([inside_low - low, inside_high - low], -1), counts


#: The objects of a foreground, as seen through windows.
Objects = Components | Boxes


@dataclass(frozen=True, eq=False)
class Choice:
    """Accepted windows: every start and corner at which the number of objects in the fullest frame is in range.

    Args:
        largest: uint8 (starts, rows, columns), number of objects in the fullest frame of each window.
        starts: int64 (starts,), first frame.
        wanted: smallest and largest accepted number of objects.
    """

    largest: UInt8[Tensor, "starts rows columns"]
    starts: Int64[Tensor, " starts"]
    wanted: tuple[int, int]

    @cached_property
    def histogram(self) -> Int64[Tensor, " numbers"]:
        """Numbers of windows with 0, 1, 2, ... objects in their fullest frame."""
        return self.largest.flatten().bincount(minlength=self.wanted[1] + 1)

    @property
    def num_accepted(self) -> int:
        """Number of accepted windows."""
        return int(self._row_ends[-1])

    def draw(self, num_sequences: int, num_frames: int, size: int, generator: torch.Generator) -> Windows:
        """Windows of `num_frames` frames, uniform over the accepted ones, by rank among them."""
        rank = torch.randint(0, self.num_accepted, (num_sequences,), generator=generator)
        row = torch.searchsorted(self._row_ends, rank, right=True)
        in_row = self._accepted.flatten(0, 1)[row]
        place = rank - self._row_ends[row] + in_row.sum(-1)  # rank within the row
        left = (in_row.cumsum(-1) > place[:, None]).int().argmax(-1)
        start, top = row // self.largest.shape[1], row % self.largest.shape[1]
        frames = self.starts[start][:, None] + torch.arange(num_frames)
        return Windows(frames, top, left, size)

    @cached_property
    def _accepted(self) -> Bool[Tensor, "starts rows columns"]:
        fewest, most = self.wanted
        return (self.largest >= fewest) & (self.largest <= most)

    @cached_property
    def _row_ends(self) -> Int64[Tensor, " all_rows"]:
        """Number of accepted windows up to the end of each row of corners."""
        return self._accepted.sum(-1).flatten().cumsum(0)


def choose_from(
    objects: Objects, starts: Int64[Tensor, " starts"], num_frames: int, size: int, wanted: tuple[int, int]
) -> Choice:
    """Count the objects of every window of `num_frames` frames that starts at one of `starts`."""
    counts = objects.count(size)
    largest = counts[starts]
    for later in range(1, num_frames):
        largest = torch.maximum(largest, counts[starts + later])
    return Choice(largest, starts, wanted)


def in_slots(
    edges: Float64[Tensor, "sequences time objects 4"], counts: Bool[Tensor, "sequences time objects"], num_slots: int
) -> tuple[
    Bool[Tensor, "sequences time slots"],
    Float[Tensor, "sequences time slots 2"],
    Float[Tensor, "sequences time slots 2"],
]:
    """Presence, positions (of the middle) and box sizes of objects that count, left to right, zeros elsewhere.

    Args:
        edges: left, top, right and lower edge of each object.
        counts: which objects count; at most `num_slots` in a frame.
        num_slots: number of slots.
    """
    order = left_to_right(edges, counts, num_slots)
    edges, counts = _with_spare(edges, counts, num_slots)
    middle = _middles(edges)
    presence = counts.gather(-1, order)

    def sorted_values(value: Tensor) -> Tensor:
        chosen = value.gather(-2, order[..., None].expand(*order.shape, 2))
        return torch.where(presence[..., None], chosen, 0.0).float()

    return presence, sorted_values(middle), sorted_values(edges[..., 2:] - edges[..., :2])


def left_to_right(
    edges: Float64[Tensor, "sequences time objects 4"], counts: Bool[Tensor, "sequences time objects"], num_slots: int
) -> Int64[Tensor, "sequences time slots"]:
    """Index of the object in each slot of `in_slots`; arbitrary in an empty slot."""
    edges, counts = _with_spare(edges, counts, num_slots)
    across = torch.where(counts, _middles(edges)[..., 0], torch.inf)
    return across.argsort(dim=-1, stable=True)[..., :num_slots]


def _with_spare(edges: Tensor, counts: Tensor, num_slots: int) -> tuple[Tensor, Tensor]:
    """Objects that do not count, placed after the others so that every slot has an index."""
    spare = max(0, num_slots - counts.shape[-1])
    return pad(edges, (0, 0, 0, spare)), pad(counts, (0, spare))


def _middles(edges: Tensor) -> Tensor:
    """(x, y) of the middle of each box; the middle of the top left pixel is the origin."""
    return 0.5 * (edges[..., :2] + edges[..., 2:]) - 0.5
