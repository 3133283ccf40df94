"""Discs and segments as pictures, on the device of their coordinates.

There are three ways of drawing. *Lit pixels* are whole pixels, set where the tools of the KVAE authors (pygame 2.6.1
under pymunk 7.3.1) set them: discs, one-pixel lines, and lines that are antialiased and then binarised by > 0.
*Insides* are whole pixels, those whose centres lie inside a disc at its exact position. *Coverage* is antialiased, in
[0, 1], and keeps sub-pixel positions.

Positions are in pixels, (x to the right, y down), origin at the centre of the top-left pixel; `from_y_up` is the one
place where the authors' coordinates, in which y points up, are converted.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Pixels = tuple[Int[Tensor, "*batch pixels"], Int[Tensor, "*batch pixels"]]  # rows, columns


def from_y_up(points: Float[Tensor, "*batch 2"], height: int) -> Float[Tensor, "*batch 2"]:
    """Convert (x, y up) in the authors' pixels to (x, y down): y becomes height - y.

    The authors' y = 32 is row 0 of a frame of 32 rows and y = 1 is its last row. The map is its own inverse.
    """
    return torch.stack([points[..., 0], height - points[..., 1]], -1)


def light(
    background: Float[Tensor, "height width"],
    rows: Int[Tensor, "*batch pixels"],
    columns: Int[Tensor, "*batch pixels"],
    visible: Bool[Tensor, "*batch pixels"] | None = None,
) -> Float[Tensor, "*batch height width"]:
    """Pictures of the background with the given pixels set to one.

    Args:
        background: (height, width), shared by all pictures.
        rows: (*batch, pixels); pixels outside the picture are left out.
        columns: (*batch, pixels).
        visible: bool (*batch, pixels), False = leave this pixel out; None = draw all.
    """
    (height, width), batch = background.shape, rows.shape[:-1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    if visible is not None:
        inside = inside & visible
    spare = batch.numel() * height * width
    offsets = torch.arange(0, spare, height * width, device=rows.device).reshape(*batch, 1)
    # Writes that fall outside go to one spare element at the end, so shapes do not depend on the data.
    index = torch.where(inside, torch.add(offsets + columns, rows, alpha=width), spare)
    canvas = background.new_empty(spare + 1)
    pictures = canvas[:-1].view(*batch, height, width)
    pictures.copy_(background)
    canvas.scatter_(0, index.reshape(-1), 1.0)
    return pictures


def disc_pixels(centers: Float[Tensor, "*batch 2"], radius: int) -> Pixels:
    """The authors' ball: pygame's filled disc around the rounded centre, and the line that shows its angle.

    The disc of radius r covers columns and rows -r to r - 1 about the centre pixel, (dx + 1/2)^2 + (dy + 1/2)^2 <= r^2
    - r/2 (pygame's own choice of pixels for radii 1 to 5), so its middle is half a pixel up and left of the centre;
    the line adds one pixel at (r, 0). Radius 3 lights 25 pixels.

    Args:
        centers: (*batch, 2), pixels.
        radius: a whole number of pixels, 1 to 5.

    Raises:
        ValueError: if `radius` is not a whole number from 1 to 5.
    """
    if radius not in (1, 2, 3, 4, 5):
        raise ValueError(
            f"radius: expected a whole number from 1 to 5, got {radius}; draw other discs with disc_coverage"
        )
    span = range(-int(radius), int(radius))
    disc = [(dy, dx) for dy in span for dx in span if (dx + 0.5) ** 2 + (dy + 0.5) ** 2 <= radius**2 - radius / 2]
    pattern = torch.tensor([*disc, (0, int(radius))], device=centers.device)
    middle = centers.round().long()
    return middle[..., 1:] + pattern[:, 0], middle[..., :1] + pattern[:, 1]


def antialiased_line_pixels(
    starts: Float[Tensor, "*batch 2"], ends: Float[Tensor, "*batch 2"], longest: int
) -> tuple[Int[Tensor, "*batch pixels"], Int[Tensor, "*batch pixels"], Bool[Tensor, "*batch pixels"]]:
    """Every pixel that an antialiased line between two rounded points touches (Wu 1991), as rows, columns and visible.

    At each step along the longer axis the line passes between two pixels, or through the middle of one.

    Args:
        starts: (*batch, 2), pixels.
        ends: (*batch, 2), pixels.
        longest: number of steps along the longer axis up to which lines are drawn; longer ones are cut there.
    """
    start = starts.round()
    span = ends.round() - start
    length = span.abs().amax(-1, keepdim=True)  # (*batch, 1)
    steps = torch.arange(longest + 1, device=starts.device, dtype=starts.dtype)
    # A quotient of small whole numbers that is whole comes out exact, so "through the middle of a pixel" is exact too.
    travelled = steps.unsqueeze(-1) * span.unsqueeze(-2) / length.clamp(min=1).unsqueeze(-1)  # (*batch, steps, 2)
    near = travelled.floor()
    between = (travelled != near).any(-1)  # the longer axis always falls on a pixel
    near = near + start.unsqueeze(-2)
    far = near + (span.abs() < length).to(near.dtype).unsqueeze(-2)  # one further along the shorter axis
    points = torch.cat([near, far], -2).long()
    drawn = steps <= length
    return points[..., 1], points[..., 0], torch.cat([drawn, drawn & between], -1)


def line_pixels(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The pixels (x, y) of a one-pixel line between two pixels, both included (Bresenham 1965, as in pygame)."""
    (x, y), (x_end, y_end) = start, end
    dx, dy = abs(x_end - x), abs(y_end - y)
    x_step, y_step = (1 if x < x_end else -1), (1 if y < y_end else -1)
    error = dx // 2 if dx > dy else -(dy // 2)
    pixels = [(x, y)]
    while (x, y) != (x_end, y_end):
        previous = error
        if previous > -dx:
            error -= dy
            x += x_step
        if previous < dy:
            error += dx
            y += y_step
        pixels.append((x, y))
    return pixels


def disc_insides(
    centers: Float[Tensor, "*batch 2"], radii: Float[Tensor, "*batch"], height: int, width: int
) -> Bool[Tensor, "*batch height width"]:
    """Pixels whose centres are closer to a disc's centre than its radius; none for radius 0.

    Args:
        centers: (*batch, 2), pixels.
        radii: (*batch,), pixels.
        height: rows of the picture.
        width: columns of the picture.
    """
    columns, rows = _axes(centers, height, width)
    across = (columns - centers[..., 0, None]).square()
    left = radii[..., None].square() - (rows - centers[..., 1, None]).square()
    return across.unsqueeze(-2) < left.unsqueeze(-1)


def disc_coverage(
    centers: Float[Tensor, "*batch 2"], radius: float | Float[Tensor, "*batch"], height: int, width: int
) -> Float[Tensor, "*batch height width"]:
    """An antialiased disc: the coverage of a pixel falls linearly from 1 to 0 over one pixel across the edge.

    Args:
        centers: (*batch, 2), pixels.
        radius: pixels; one for all discs, or (*batch,).
        height: rows of the picture.
        width: columns of the picture.
    """
    columns, rows = _axes(centers, height, width)
    squared = (rows - centers[..., 1, None]).square()[..., :, None] + (columns - centers[..., 0, None]).square()[
        ..., None, :
    ]
    outer = radius[..., None, None] + 0.5 if isinstance(radius, Tensor) else radius + 0.5
    return squared.sqrt_().neg_().add_(outer).clamp_(0.0, 1.0)


def segment_coverage(
    starts: Float[Tensor, "*batch 2"], ends: Float[Tensor, "*batch 2"], thickness: float, height: int, width: int
) -> Float[Tensor, "*batch height width"]:
    """An antialiased segment with round ends; its edge is soft over one pixel, as in `disc_coverage`.

    Args:
        starts: (*batch, 2), pixels.
        ends: (*batch, 2), pixels.
        thickness: thickness of the segment, pixels.
        height: rows of the picture.
        width: columns of the picture.
    """
    columns, rows = _axes(starts, height, width)
    x = columns.expand(height, width) - starts[..., 0, None, None]
    y = rows[:, None].expand(height, width) - starts[..., 1, None, None]
    direction = ends - starts
    dx, dy = direction[..., 0, None, None], direction[..., 1, None, None]
    squared_length = (dx.square() + dy.square()).clamp(min=torch.finfo(starts.dtype).tiny)
    along = ((x * dx + y * dy) / squared_length).clamp(0.0, 1.0)
    distance = torch.hypot(x - along * dx, y - along * dy)
    return (0.5 * thickness + 0.5 - distance).clamp(0.0, 1.0)


def _axes(like: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    columns = torch.arange(width, device=like.device, dtype=like.dtype)
    rows = torch.arange(height, device=like.device, dtype=like.dtype)
    return columns, rows
