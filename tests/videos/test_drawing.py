"""Pixels: the authors' disc, lines against a plain Python drawing, antialiased shapes against their area."""

import math

import pytest
import torch

from videos.drawing import (
    antialiased_line_pixels,
    disc_coverage,
    disc_pixels,
    from_y_up,
    light,
    line_pixels,
    segment_coverage,
)


def picture_of(text: str) -> torch.Tensor:
    return torch.tensor([[float(sign == "#") for sign in line.strip()] for line in text.strip().splitlines()])


def test_y_up_is_turned_round_and_back():
    points = torch.tensor([[3.0, 32.0], [3.0, 1.0]])
    assert from_y_up(points, 32).tolist() == [[3.0, 0.0], [3.0, 31.0]]
    assert torch.equal(from_y_up(from_y_up(points, 32), 32), points)


def test_disc_is_the_one_in_the_authors_frames():
    rows, columns = disc_pixels(torch.tensor([4.3, 3.8]), 3)
    expected = picture_of("""
        .........
        ...##....
        ..####...
        .######..
        .#######.
        ..####...
        ...##....
        .........
    """)
    assert torch.equal(light(torch.zeros(8, 9), rows, columns), expected)


# Widths of the rows of pygame 2.6.1's filled circle, upper half.
@pytest.mark.parametrize(
    ("radius", "widths"), [(1, [2]), (2, [2, 4]), (3, [2, 4, 6]), (4, [2, 6, 6, 8]), (5, [4, 6, 8, 10, 10])]
)
def test_disc_has_the_widths_of_pygame(radius, widths):
    rows, columns = disc_pixels(torch.tensor([8.0, 8.0]), radius)
    picture = light(torch.zeros(17, 17), rows, columns)
    picture[8, 8 + radius] -= 1.0  # the line that shows the angle
    assert picture.sum(1)[8 - radius : 8].tolist() == widths
    assert picture.sum(1)[8 : 8 + radius].tolist() == widths[::-1]
    assert picture.sum() == 2 * sum(widths)


def test_disc_refuses_radii_that_pygame_was_not_measured_at():
    with pytest.raises(ValueError, match=r"radius: expected a whole number from 1 to 5, got 6; draw other discs with"):
        disc_pixels(torch.zeros(2), 6)


def test_light_clips_and_keeps_the_background():
    background = torch.zeros(4, 5)
    background[0, 0] = 1.0
    rows = torch.tensor([[1, -1, 4, 0, 3], [2, 2, 2, 2, 2]])
    columns = torch.tensor([[2, 2, 2, 5, 4], [0, 1, 2, 3, -1]])
    visible = torch.tensor([[True] * 5, [True, False, True, True, True]])
    pictures = light(background, rows, columns, visible)
    assert pictures.nonzero().tolist() == [[0, 0, 0], [0, 1, 2], [0, 3, 4], [1, 0, 0], [1, 2, 0], [1, 2, 2], [1, 2, 3]]
    assert background.sum() == 1


def test_line_is_the_polygon_edge_in_the_authors_frames():
    # The lower right edge of their polygon, (30, 8) to (15, 1) with y up: rows 24 to 31.
    by_row: dict[int, list[int]] = {}
    for x, y in line_pixels((30, 24), (15, 31)):
        by_row.setdefault(y, []).append(x)
    assert {y: sorted(xs) for y, xs in by_row.items()} == {
        24: [29, 30],
        25: [27, 28],
        26: [25, 26],
        27: [23, 24],
        28: [21, 22],
        29: [19, 20],
        30: [17, 18],
        31: [15, 16],
    }


def touched_by_line(start: tuple[int, int], end: tuple[int, int]) -> set[tuple[int, int]]:
    """Every pixel whose centre is less than one pixel away from the line, measured along the shorter axis."""
    (x0, y0), (x1, y1) = start, end
    steep = abs(y1 - y0) > abs(x1 - x0)
    if steep:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if x0 == x1:
        return {start}
    pixels = set()
    for x in range(min(x0, x1), max(x0, x1) + 1):
        exact = y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        near = {y for y in range(-20, 20) if abs(y - exact) < 1 - 1e-9}
        pixels |= {(y, x) if steep else (x, y) for y in near}
    return pixels


def test_antialiased_lines_touch_the_pixels_beside_them():
    generator = torch.Generator().manual_seed(0)
    starts = torch.randint(-3, 4, (200, 2), generator=generator).double()
    ends = starts + torch.randint(-5, 6, (200, 2), generator=generator)
    rows, columns, visible = antialiased_line_pixels(starts + 0.3, ends - 0.3, longest=5)
    for line in range(200):
        drawn = {(int(x), int(y)) for x, y, seen in zip(columns[line], rows[line], visible[line], strict=True) if seen}
        assert drawn == touched_by_line(tuple(starts[line].int().tolist()), tuple(ends[line].int().tolist()))


def test_soft_disc_has_the_area_and_the_middle_of_a_disc():
    centers = torch.tensor([[7.25, 6.5], [8.0, 7.75]], dtype=torch.float64)
    pictures = disc_coverage(centers, 3.0, 16, 17)
    assert pictures.shape == (2, 16, 17)
    torch.testing.assert_close(
        pictures.sum((1, 2)), torch.full((2,), math.pi * 9, dtype=torch.float64), rtol=0.02, atol=0
    )
    columns, rows = torch.arange(17.0).double(), torch.arange(16.0).double()
    middle = torch.stack([(pictures.sum(1) * columns).sum(-1), (pictures.sum(2) * rows).sum(-1)], -1)
    torch.testing.assert_close(middle / pictures.sum((1, 2))[:, None], centers, rtol=0, atol=0.02)


def test_soft_segment_has_the_area_of_a_bar():
    start, end = torch.tensor([4.0, 3.0], dtype=torch.float64), torch.tensor([10.0, 11.0], dtype=torch.float64)
    picture = segment_coverage(start, end, 2.0, 16, 15)
    torch.testing.assert_close(picture.sum().item(), 2.0 * 10.0 + math.pi, rtol=0.05, atol=0)
    assert picture[7, 7] == 1.0  # the middle of the bar
    assert picture[3, 10] == 0.0
    point = segment_coverage(start, start, 2.0, 16, 15)
    torch.testing.assert_close(point, disc_coverage(start, 1.0, 16, 15))
