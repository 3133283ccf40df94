"""Rays against solids: entries against marching, normals against differences, masks against projected outlines."""

import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path
from scipy.spatial import ConvexHull

from videos.tabletop.camera import Camera
from videos.tabletop.kinds import SHAPES
from videos.tabletop.solids import Solids, half_heights

RADIUS = 0.4
STEP = 1e-3


def gauge(points, shape, angle):
    """Below 1 inside a solid in the origin, 1 on its surface; points (..., 3)."""
    x, y, z = points.unbind(-1)
    if shape == 0:
        return points.norm(dim=-1) / RADIUS
    if shape == 2:
        return torch.maximum((x.square() + y.square()).sqrt(), z.abs()) / RADIUS
    side = RADIUS / math.sqrt(2)
    turned = torch.stack([math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x, z], -1)
    return turned.abs().amax(-1) / side


def solid(shape, angle=0.0, middle=(0.0, 0.0, 0.0), exists=True):
    return Solids(
        torch.tensor([[shape]]),
        torch.tensor(middle, dtype=torch.float64)[:, None, None],
        torch.tensor([[angle]], dtype=torch.float64),
        torch.tensor([[exists]]),
        RADIUS,
    )


def rays(number, generator):
    """Starts outside and directions of any length that pass by or through the origin; some are parallel to an axis."""
    origins = 2.0 * torch.nn.functional.normalize(
        torch.randn(number, 3, generator=generator, dtype=torch.float64), dim=-1
    )
    aims = RADIUS * (2.4 * torch.rand(number, 3, generator=generator, dtype=torch.float64) - 1.2)
    directions = (aims - origins) * (0.5 + torch.rand(number, 1, generator=generator, dtype=torch.float64))
    for axis in range(3):
        chosen = slice(20 * axis, 20 * axis + 20)
        origins[chosen] = aims[chosen]
        origins[chosen, axis] = 1.5
        directions[chosen] = 0.0
        directions[chosen, axis] = -0.7
    return origins, directions


@pytest.mark.parametrize("shape", range(3), ids=SHAPES)
def test_first_entry_is_where_marching_finds_it(shape):
    generator, angle = torch.Generator().manual_seed(shape), 0.6
    origins, directions = rays(400, generator)
    distance, owner = solid(shape, angle).nearest(origins.mT[:, None], directions.mT[:, None])
    assert not owner.any()
    length = directions.norm(dim=-1)
    marched = torch.arange(0.0, 4.5, STEP, dtype=torch.float64)
    inside = gauge(origins[:, None] + marched[:, None] * (directions / length[:, None])[:, None], shape, angle) < 1
    met = inside.any(1)
    first = marched[inside.int().argmax(1)]
    found = distance[0] * length
    assert 100 < met.sum() < 390
    assert (found[met] - first[met] <= 1e-9).all()
    assert (found[met] > first[met] - STEP - 1e-9).all()
    # marching may step over a corner that a ray cuts off, and nothing else
    assert (found.isfinite() & ~met).sum() <= 5
    entry = (origins + distance[0][:, None] * directions)[found.isfinite()]
    assert (gauge(entry, shape, angle) - 1).abs().max() < 1e-9


@pytest.mark.parametrize("shape", range(3), ids=SHAPES)
def test_normals_are_the_slope_of_the_surface(shape):
    generator, angle = torch.Generator().manual_seed(shape), 0.6
    origins, directions = rays(400, generator)
    body = solid(shape, angle, middle=(0.3, -0.2, 0.1))
    origins = origins + torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    distance, owner = body.nearest(origins.mT[:, None], directions.mT[:, None])
    met = distance[0].isfinite()
    points = (origins + distance[0][:, None] * directions)[met]
    normals = body.normals(points.mT[:, None], owner[:, met])[:, 0].mT
    local = points - torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    small = 1e-6 * torch.eye(3, dtype=torch.float64)
    slope = torch.stack([gauge(local + step, shape, angle) - gauge(local - step, shape, angle) for step in small], -1)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(len(normals), dtype=torch.float64))
    agrees = (normals - torch.nn.functional.normalize(slope, dim=-1)).abs().amax(-1) < 1e-4
    assert agrees.float().mean() > 0.99  # an edge has no slope
    assert ((normals * directions[met]).sum(-1) <= 1e-9).all()  # a ray enters from outside


@pytest.mark.parametrize("shape", range(3), ids=SHAPES)
def test_what_lies_between_is_what_marching_meets(shape):
    generator, angle = torch.Generator().manual_seed(shape), 0.6
    origins, directions = rays(300, generator)
    ends = origins + directions * torch.rand(300, 1, generator=generator, dtype=torch.float64) * 1.5
    body = solid(shape, angle)
    blocked = body.between(origins.mT[:, None], ends.mT[:, None], torch.full((1, 300), -1))[0]
    share = torch.linspace(0, 1, 4000, dtype=torch.float64)
    met = (gauge(origins[:, None] + share[:, None] * (ends - origins)[:, None], shape, angle) < 1).any(1)
    assert 40 < met.sum() < 270
    assert (blocked != met).sum() <= 2  # corners
    assert not body.between(origins.mT[:, None], ends.mT[:, None], torch.zeros(1, 300, dtype=torch.long)).any()
    absent = solid(shape, angle, exists=False)
    assert not absent.between(origins.mT[:, None], ends.mT[:, None], torch.full((1, 300), -1)).any()
    assert absent.nearest(origins.mT[:, None], directions.mT[:, None])[0].isinf().all()


def test_the_nearest_of_several_solids_is_met():
    middles = torch.tensor([[0.0, 0.0, 0.0], [3.0, 1.0, 2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)[:, None]
    angles, exists = torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.bool)
    bodies = Solids(torch.tensor([[0, 0, 0]]), middles, angles, exists, RADIUS)
    origin = torch.tensor([0.0, 9.0, 0.0], dtype=torch.float64)[:, None, None]
    distance, owner = bodies.nearest(origin, torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)[:, None, None])
    assert owner.item() == 0
    assert distance.item() == pytest.approx(6.0 - RADIUS)
    behind, _ = bodies.nearest(origin, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)[:, None, None])
    assert behind.isinf().all()


def outline(shape, angle, middle, camera):
    """Points in space whose image's convex hull is the outline of a solid."""
    turn = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    if shape == 1:
        corner = angle + np.pi / 4 + np.pi / 2 * np.arange(4)
        ring = RADIUS * np.stack([np.cos(corner), np.sin(corner)], -1)
        height = RADIUS / np.sqrt(2)
    else:
        ring, height = RADIUS * np.stack([np.cos(turn), np.sin(turn)], -1), RADIUS
    if shape > 0:
        sides = [np.concatenate([ring, np.full((len(ring), 1), z)], -1) for z in (-height, height)]
        return np.concatenate(sides) + middle
    # the circle in which the cone from the camera touches the sphere
    away = np.array(camera.place) - middle
    distance = np.linalg.norm(away)
    away = away / distance
    one = np.cross(away, [1.0, 0.0, 0.0])
    one = one / np.linalg.norm(one)
    two = np.cross(away, one)
    around = np.cos(turn)[:, None] * one + np.sin(turn)[:, None] * two
    return middle + RADIUS**2 / distance * away + RADIUS * np.sqrt(1 - (RADIUS / distance) ** 2) * around


@pytest.mark.parametrize("shape", range(3), ids=SHAPES)
@pytest.mark.parametrize("size", [24, 64])
def test_pixels_inside_the_projected_outline_show_the_solid(shape, size):
    camera = Camera(size, 40.0, 9.0, 4.0)
    directions = camera.rays(((0.0, 0.0),), torch.zeros(1, dtype=torch.float64))[:, None]
    eye = torch.tensor(camera.place, dtype=torch.float64)[:, None, None]
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(-1, 2)
    for x, y, angle in ((0.0, 0.0, 0.0), (1.1, 1.7, 0.5), (-0.9, -1.2, 1.1)):
        height = float(half_heights(torch.tensor(shape), RADIUS))
        middle = np.array([x, y, height])
        distance, _ = solid(shape, angle, tuple(middle)).nearest(eye, directions)
        points = torch.from_numpy(outline(shape, angle, middle, camera))
        seen, _ = camera.project(points, torch.zeros_like(points))
        hull = Path(seen.numpy()[ConvexHull(seen.numpy()).vertices])
        expected = hull.contains_points(grid)
        assert expected.sum() > 5 * (size / 24) ** 2
        assert np.array_equal(distance[0].isfinite().numpy(), expected)


def test_velocities_in_the_picture_are_the_slope_of_positions():
    camera = Camera(64, 35.0, 8.0, 5.0)
    points, velocities = torch.randn(2, 50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    later, _ = camera.project(points + 1e-6 * velocities, velocities)
    earlier, _ = camera.project(points - 1e-6 * velocities, velocities)
    _, speeds = camera.project(points, velocities)
    assert torch.allclose(speeds, (later - earlier) / 2e-6, atol=1e-6)


def test_the_frame_shows_what_the_camera_says():
    camera = Camera(40, 50.0, 9.0, 4.0)
    near, far = camera.depths
    y = torch.tensor([near, far, 0.0], dtype=torch.float64)
    points = torch.stack([camera.half_width(y), y, 0 * y], -1)
    seen, _ = camera.project(points, torch.zeros_like(points))
    expected = torch.tensor([[39.5, 39.5], [39.5, -0.5], [39.5, 19.5]], dtype=torch.float64)
    assert torch.allclose(seen, expected)
    assert camera.half_width(torch.tensor(0.0)).item() == pytest.approx(2.0)
