"""Scenes on a table: pictures, masks and ground truth agree, and follow from the generator alone."""

import math
from dataclasses import fields

import pytest
import torch
from torch.nn.functional import avg_pool2d, max_pool2d

from videos import TabletopScenes, VideoBatch
from videos.tabletop.camera import Camera
from videos.tabletop.kinds import COLORS, MATERIALS, NUM_KINDS, SHAPES, color_values, kind_label, kind_parts
from videos.tabletop.pictures import Scenes, film
from videos.tabletop.solids import Solids, half_heights


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def videos():
    """Sixteen videos of 32 x 32 pixels with masks."""
    return TabletopScenes(num_frames=12, size=32, masks=True).simulate(16, generator())


def still_life(num_scenes=12, num_objects=5, seed=0, metal=None):
    """Solids at random places of the middle of the table."""
    draws = generator(seed)
    shapes = torch.randint(0, 3, (num_scenes, num_objects), generator=draws)
    places = 2.4 * torch.rand(2, num_scenes, num_objects, generator=draws) - 1.2
    middles = torch.cat([places, half_heights(shapes, 0.35).float()[None]])
    angles = 6.0 * torch.rand(num_scenes, num_objects, generator=draws)
    solids = Solids(shapes, middles, angles, torch.ones_like(shapes, dtype=torch.bool), 0.35)
    drawn_metal = torch.rand(num_scenes, num_objects, generator=draws) < 0.5
    colors = color_values(torch.randint(0, len(COLORS), (num_scenes, num_objects), generator=draws))
    lamps = torch.tensor([-4.0, -3.0, 9.0])[:, None].expand(3, num_scenes)
    return Scenes(solids, drawn_metal if metal is None else torch.full_like(drawn_metal, metal), colors, lamps)


def test_fields_agree_with_masks(videos):
    masks, presence = videos.masks, videos.presence
    assert masks.sum(2).max() == 1
    assert torch.equal(masks.any((-2, -1)), presence)
    assert 0.2 < presence.float().mean() < 0.9
    assert not videos.positions[~presence].any()
    assert not videos.velocities[~presence].any()
    assert not videos.box_sizes[~presence].any()
    assert not videos.labels[~presence].any()
    for sequence, time, number in presence.nonzero()[::17].tolist():
        rows, columns = masks[sequence, time, number].nonzero().unbind(-1)
        box = [columns.max() - columns.min() + 1, rows.max() - rows.min() + 1]
        assert videos.box_sizes[sequence, time, number].tolist() == box
    assert videos.frames.shape == (16, 12, 3, 32, 32)
    assert videos.frames.min() > 0
    assert videos.frames.max() <= 1


def test_positions_are_in_the_middle_of_whole_spheres(videos):
    shape = kind_parts(videos.labels)[0]
    near = ((videos.positions - 15.5).abs() < 10).all(-1) & videos.presence & (shape == 0)
    pixel = torch.arange(32.0)
    area = videos.masks.sum((-2, -1)).clamp(min=1)
    x = (videos.masks.sum(-2) * pixel).sum(-1) / area
    y = (videos.masks.sum(-1) * pixel).sum(-1) / area
    whole = near & (videos.box_sizes[..., 0] - videos.box_sizes[..., 1]).abs().le(1) & (area > 12)
    assert whole.sum() > 50
    far = (torch.stack([x, y], -1) - videos.positions)[whole].abs()
    assert far.median() < 0.3
    assert far.quantile(0.95) < 0.8  # others may hide a part


def test_velocities_are_those_of_positions():
    videos = TabletopScenes(num_frames=12, size=32, frame_rate=50.0).simulate(60, generator(1))
    seen = videos.presence[:, 2:] & videos.presence[:, 1:-1] & videos.presence[:, :-2]
    calm = seen & ~(videos.hits[:, 2:] | videos.hits[:, 1:-1])[..., None]
    centred = 0.5 * (videos.positions[:, 2:] - videos.positions[:, :-2])
    error = (centred - videos.velocities[:, 1:-1]).abs().amax(-1)[calm]
    moving = videos.velocities[:, 1:-1].abs().amax(-1)[calm] > 0.1
    assert moving.sum() > 100
    assert error.quantile(0.97) < 0.01  # a push has no derivative


def test_objects_wait_out_of_view_until_they_are_pushed():
    world = TabletopScenes(num_frames=30, size=24, warm_up=0.0, min_objects=5, friction=0.2, supersampled=False)
    videos = world.simulate(60, generator(2))
    state = videos.state.unflatten(-1, (5, 6))
    stands = state[:, 0, :, :2].abs()[..., 0] < 1.001 * world._regions.half_width
    assert stands[:, 0].all()
    assert 0.4 < stands[:, 1:].float().mean() < 0.6
    assert not videos.presence[:, 0][~stands].any()
    assert videos.presence[:, 0][stands].float().mean() > 0.95
    assert videos.presence.any(1)[~stands].float().mean() > 0.6
    assert TabletopScenes(still=1.0).simulate(3, generator()).velocities.abs().max() == 0
    assert not TabletopScenes(still=0.0, warm_up=0.0, size=24).simulate(9, generator()).presence[:, 0].any()


def test_an_object_hidden_by_another_is_absent():
    """A low camera looks along the table; an object whose middle is in the frame can still have no visible pixel."""
    world = TabletopScenes(
        num_frames=2, size=24, elevation=17.0, view=4.5, still=1.0, min_objects=4, max_objects=4, masks=True
    )
    videos = world.simulate(300, generator(3))
    state = videos.state.unflatten(-1, (4, 6))
    kinds = torch.rand(300, NUM_KINDS, generator=_after_count(world, 300, 3)).argsort(1)[:, None, :4].expand(-1, 2, -1)
    height = half_heights(kind_parts(kinds)[0], world.radius).float()
    middles = torch.cat([state[..., :2], height[..., None]], -1)
    seen, _ = world.camera.project(middles, torch.zeros_like(middles))
    hidden = ((seen - 11.5).abs() < 9).all(-1) & ~videos.presence
    assert hidden.sum() >= 2
    assert not videos.masks[hidden].any()
    for values in (videos.positions, videos.box_sizes, videos.labels):
        assert not values[hidden].any()
    assert torch.equal(videos.labels[videos.presence], kinds[videos.presence])


def _after_count(world, num_sequences, seed):
    """The generator from which the kinds are drawn."""
    draws = generator(seed)
    torch.randint(world.min_objects, world.max_objects + 1, (num_sequences, 1), generator=draws)
    return draws


def test_numbers_of_objects_and_kinds():
    videos = TabletopScenes(num_frames=1, size=24, still=1.0, min_objects=2, max_objects=4).simulate(200, generator(5))
    exists = (videos.state.unflatten(-1, (4, 6))[:, 0] != 0).any(-1)
    assert exists.sum(1).bincount(minlength=5).tolist()[:2] == [0, 0]
    assert exists.sum(1).bincount(minlength=5)[2:].min() > 45
    assert torch.equal(exists, exists.sort(1, descending=True).values)
    assert not (videos.presence[:, 0] & ~exists).any()
    labels = videos.labels[:, 0]
    for row, present in zip(labels, videos.presence[:, 0], strict=True):
        assert len(row[present].unique()) == present.sum()
    assert len(labels[videos.presence[:, 0]].unique()) == NUM_KINDS


@pytest.mark.parametrize("metal", [False, True], ids=MATERIALS)
def test_pixels_of_an_object_have_its_hue_and_the_table_has_none(metal):
    scenes = still_life(metal=metal)
    camera = Camera(48, 40.0, 12.0, 5.0)
    frames, owners = film(scenes, camera, supersampled=False)
    values = frames.movedim(1, -1)
    assert (values.amax(-1) - values.amin(-1))[owners < 0].max() < 1e-6
    objects = owners >= 0
    own = scenes.colors.gather(1, owners.clamp(min=0).flatten(1)[..., None].expand(-1, -1, 3)).reshape(values.shape)
    coloured = objects & (own.amax(-1) - own.amin(-1) > 0.1)
    hue = torch.nn.functional.cosine_similarity(
        values - values.mean(-1, keepdim=True), own - own.mean(-1, keepdim=True), -1
    )
    assert coloured.sum() > 1000
    assert (hue[coloured] > 0.97).float().mean() > (0.95 if metal else 0.995)  # a highlight may be white
    gray = objects & (own.amax(-1) - own.amin(-1) == 0)
    assert (values.amax(-1) - values.amin(-1))[gray].max() < 1e-5
    if metal:
        dull, _ = film(still_life(metal=False), camera, supersampled=False)
        assert frames.amax() > 0.95
        assert (frames.amax(1)[objects] - dull.amax(1)[objects]).amin() < -0.1  # darker in its dark parts
        assert (frames.amin(1)[objects] - dull.amin(1)[objects]).amax() > 0.4  # with highlights


def test_shadows_darken_and_never_brighten():
    scenes, camera = still_life(), Camera(48, 40.0, 12.0, 5.0)
    dark, owners = film(scenes, camera, supersampled=False)
    bright, same_owners = film(scenes, camera, supersampled=False, shadows=False)
    assert torch.equal(owners, same_owners)
    assert (dark <= bright).all()
    darker = (dark < bright - 0.05).all(1)
    assert darker[owners < 0].sum() > 200  # on the table
    assert darker[owners >= 0].sum() > 10  # on other objects
    alone = still_life(num_objects=1)
    one, owner = film(alone, camera, supersampled=False)
    without, _ = film(alone, camera, supersampled=False, shadows=False)
    assert torch.equal(one.movedim(1, -1)[owner >= 0], without.movedim(1, -1)[owner >= 0])  # none on itself


def test_a_shadow_lies_away_from_the_lamp():
    solids = Solids(
        torch.zeros(1, 1, dtype=torch.long),
        torch.tensor([0.0, 0.0, 0.35])[:, None, None],
        torch.zeros(1, 1),
        torch.ones(1, 1, dtype=torch.bool),
        0.35,
    )
    camera = Camera(64, 40.0, 12.0, 5.0)
    for lamp in ((-4.0, 0.0, 6.0), (4.0, 0.0, 6.0), (0.5, 4.0, 8.0)):
        scenes = Scenes(solids, torch.zeros(1, 1, dtype=torch.bool), torch.ones(1, 1, 3), torch.tensor(lamp)[:, None])
        dark, bright = (film(scenes, camera, supersampled=False, shadows=shadows).frames for shadows in (True, False))
        rows, columns = (dark < bright - 0.05).all(1)[0].nonzero().unbind(-1)
        # the middle of the shadow is where the line from the lamp through the sphere's middle meets the table
        middle = -torch.tensor(lamp[:2]) * 0.35 / (lamp[2] - 0.35)
        expected, _ = camera.project(torch.tensor([*middle.tolist(), 0.0]), torch.zeros(3))
        corner = torch.stack([columns.float(), rows.float()], -1)
        assert len(rows) > 20
        assert (corner - expected).norm(dim=-1).max() < 9
        toward = torch.sign(corner.mean(0)[0] - 31.5)
        if lamp[0] != 0.5:
            assert toward == -math.copysign(1.0, lamp[0])
        else:
            assert corner.mean(0)[1] > 31.5  # nearer to the camera


def test_four_rays_are_the_mean_of_a_picture_twice_as_large():
    scenes = still_life(num_scenes=3)
    fine, _ = film(scenes, Camera(48, 40.0, 12.0, 5.0), supersampled=False)
    soft, soft_owners = film(scenes, Camera(24, 40.0, 12.0, 5.0))
    plain, owners = film(scenes, Camera(24, 40.0, 12.0, 5.0), supersampled=False)
    assert torch.allclose(soft, avg_pool2d(fine, 2), atol=1e-4)
    assert torch.equal(soft_owners, owners)
    assert (soft - plain).abs().max() > 0.1


def test_the_generator_alone_decides(monkeypatch):
    world = TabletopScenes(num_frames=5, size=24, masks=True)
    torch.manual_seed(1)
    first = world.simulate(4, generator(7))
    torch.manual_seed(2)
    monkeypatch.setattr("videos.tabletop.scenes._PAIRS_ON_CPU", 3 * 5 * 5 * 24**2)  # three frames at once
    second = world.simulate(4, generator(7))
    other = world.simulate(4, generator(8))
    for field in fields(VideoBatch):
        one, two = getattr(first, field.name), getattr(second, field.name)
        assert (one is None) == (two is None)
        assert one is None or torch.equal(one, two), field.name
    assert not torch.equal(first.frames, other.frames)
    draws = generator(7)
    world.simulate(4, draws)
    assert not torch.equal(world.simulate(4, draws).frames, first.frames)


def test_lamps_differ_between_sequences_and_stay_in_one():
    world = TabletopScenes(num_frames=3, size=24, min_objects=1, max_objects=1, still=0.0, warm_up=0.0, last_entry=0.16)
    empty = world.simulate(6, generator(1)).frames[:, 0]  # objects wait out of view, their shadows too
    assert (empty.mean((1, 2, 3)).diff().abs() > 1e-4).all()
    steady = TabletopScenes(num_frames=3, size=24, still=1.0).simulate(3, generator()).frames
    assert torch.equal(steady[:, 0], steady[:, 2])
    fixed = TabletopScenes(
        num_frames=1, size=24, min_objects=1, max_objects=1, still=0.0, warm_up=0.0, lamp_jitter=0.0
    ).simulate(6, generator(1))
    assert max_pool2d(fixed.frames.std(0), 24).max() < 1e-6


def test_labels_name_kinds():
    assert kind_label("sphere", "rubber", "gray") == 0
    assert kind_label("cylinder", "metal", "yellow") == NUM_KINDS - 1
    labels = torch.arange(NUM_KINDS)
    words = zip(*(part.tolist() for part in kind_parts(labels)), strict=True)
    names = [(SHAPES[shape], MATERIALS[material], list(COLORS)[color]) for shape, material, color in words]
    assert [kind_label(*name) for name in names] == labels.tolist()
    for wrong in (("ball", "metal", "red"), ("cube", "wood", "red"), ("cube", "metal", "pink")):
        with pytest.raises(
            ValueError, match=r"(shape|material|color): expected one of .*, got '(ball|wood|pink)'; CLEVRER"
        ):
            kind_label(*wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "num_frames: expected a positive number, got 0"),
        ({"size": -64}, "size: expected a positive number, got -64"),
        ({"radius": -0.35}, "radius: expected a positive number, got -0.35"),
        ({"view": 0.0}, "view: expected a positive number, got 0.0"),
        ({"frame_rate": math.inf}, "frame_rate: expected a positive number, got inf"),
        ({"distance": math.nan}, "distance: expected a positive number, got nan"),
        ({"min_objects": 0}, "min_objects: expected a positive number, got 0"),
        ({"min_objects": 4, "max_objects": 3}, "min_objects: expected at most max_objects = 3, got 4; raise"),
        ({"max_objects": 8}, r"max_objects: expected at most 7, .* radius = 0.35 and view = 5.0, got 8; take fewer"),
        ({"radius": 1.0, "min_objects": 2}, r"max_objects: expected at most 1, .* radius = 1.0"),
        ({"max_objects": 49, "radius": 0.01}, "max_objects: expected at most 48, the number of kinds, got 49; no two"),
        ({"friction": -0.1}, "friction: expected at least 0, got -0.1"),
        ({"grip": -1.0}, "grip: expected at least 0, got -1.0"),
        ({"warm_up": -1.0}, "warm_up: expected at least 0, got -1.0"),
        ({"restitution": 1.1}, "restitution: expected 0 to 1, got 1.1; give a share"),
        ({"still": -0.5}, "still: expected 0 to 1, got -0.5"),
        ({"last_entry": -2.0}, "last_entry: expected at least 0, got -2.0"),
        (
            {"speed": (3.0, 2.0)},
            r"speed: expected \(lowest, highest\), both positive, got \(3.0, 2.0\); give the lower",
        ),
        ({"speed": (0.0, 2.0)}, r"speed: expected \(lowest, highest\), both positive, got \(0.0, 2.0\)"),
        ({"elevation": 15.0}, r"elevation: expected 16.8 to 90 degrees, .* got 15.0; look further down"),
        ({"elevation": 95.0}, r"elevation: expected 16.8 to 90 degrees, .* got 95.0"),
        ({"distance": 2.0, "view": 0.5}, "distance: expected a camera above .* = 1.4 high or more, got 1.29 with"),
        ({"lamp_jitter": 5.0}, r"lamp_jitter: expected at most 4.5, .* got 5.0 and 0.35; lower"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TabletopScenes(**settings)


def test_no_videos_are_refused():
    with pytest.raises(ValueError, match="num_sequences: expected a positive number, got 0; ask"):
        TabletopScenes().simulate(0, generator())


def test_as_many_objects_as_fit_find_room():
    world = TabletopScenes(num_frames=1, size=24, min_objects=7, max_objects=7, still=0.5)
    for still in (0.0, 0.5, 1.0):
        bodies, _ = world._regions.draw((1000, 7), still, generator(4))
        distance = torch.cdist(bodies.places, bodies.places) + 9.0 * torch.eye(7)
        assert distance.min() > 2.19 * world.radius
