"""Masks of objects: what is visible of each, one owner per pixel; the videos are the same with them and without."""

from dataclasses import fields

import pytest
import torch

from videos import (
    SIMULATORS,
    BackgroundSubtraction,
    BoxWorld,
    Cannonballs,
    EllipticDigits,
    EndlessVideos,
    FixedVideos,
    GrowingVideos,
    LinearDigits,
    MovingDigits,
    PongWorld,
    SingleFrames,
    StillDigits,
    Surveillance,
    VideoBatch,
    random_drop,
    split_videos,
    synthetic_clip,
    visible_masks,
)
from videos.digits import Digits, _from_scikit_learn
from videos.loaders import simulate_in_pieces
from videos.moving_digits import _scaled

OTHERS = [field.name for field in fields(VideoBatch) if field.name != "masks"]
DIGITS = [name for name, kind in SIMULATORS.items() if hasattr(kind, "visibility")]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def small_digits(monkeypatch):
    """One digit of each class; they do not outlive the test."""
    digits = _from_scikit_learn("train")
    first = torch.stack([(digits.labels == label).nonzero()[0, 0] for label in range(10)])
    digits = Digits(digits.tiles[first], digits.sizes[first], torch.arange(10), "one of each")
    monkeypatch.setattr("videos.moving_digits.load_digits", lambda split, folder: digits)
    _scaled.cache_clear()
    yield digits
    _scaled.cache_clear()


def test_a_pixel_belongs_to_the_brightest_then_to_the_first_and_to_none_behind_the_background():
    layers = torch.tensor([[0.0, 0.2, 0.5, 0.5, 0.3], [0.0, 0.6, 0.5, 0.0, 0.3], [0.0, 0.6, 0.4, 0.7, 0.3]])[:, None]
    assert visible_masks(layers)[:, 0].int().tolist() == [[0, 0, 1, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
    walls = torch.tensor([[0.0, 0.6, 0.6, 0.8, 0.0]])
    assert visible_masks(layers, walls)[:, 0].int().tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    whole = (255 * layers).to(torch.uint8).expand(2, 4, -1, -1, -1)
    assert torch.equal(visible_masks(whole), visible_masks(layers).expand(2, 4, -1, -1, -1))


def test_layers_of_wrong_shapes_are_refused():
    with pytest.raises(
        ValueError, match=r"layers: expected \(\*batch, objects, height, width\) .*, got \(4, 5\); give a"
    ):
        visible_masks(torch.rand(4, 5))
    with pytest.raises(ValueError, match=r"layers: .* with at least one object, got \(2, 0, 4, 5\)"):
        visible_masks(torch.rand(2, 0, 4, 5))
    with pytest.raises(
        ValueError, match=r"background: expected height and width of layers, \(4, 5\), got \(5, 4\); draw"
    ):
        visible_masks(torch.rand(2, 4, 5), torch.rand(5, 4))


@pytest.mark.parametrize("name", sorted(SIMULATORS))
def test_masks_change_nothing_else(name):
    kind = SIMULATORS[name]
    plain, asked = (kind(num_frames=3, masks=masks) for masks in (False, True))
    draws = generator(3), generator(3)
    without, with_masks = plain.simulate(9, draws[0]), asked.simulate(9, draws[1])
    assert torch.equal(draws[0].get_state(), draws[1].get_state())
    assert kind().masks is False
    assert without.masks is None
    for field in OTHERS:
        first, second = getattr(without, field), getattr(with_masks, field)
        assert (first is None) == (second is None), field
        assert first is None or torch.equal(first, second), field
    # A recipe names its videos by the simulator's repr, and these are the same videos.
    assert repr(asked) == repr(plain)
    assert "masks" not in repr(plain)
    assert plain != asked


@pytest.mark.parametrize("name", sorted(SIMULATORS))
def test_masks_lie_on_light_do_not_overlap_and_belong_to_what_is_present(name):
    videos = SIMULATORS[name](num_frames=6, masks=True).simulate(60, generator())
    masks = videos.masks
    assert masks.dtype == torch.bool
    assert masks.shape == (*videos.positions.shape[:3], *videos.frames.shape[-2:])
    assert masks.any((-2, -1)).float().mean() > 0.3
    assert masks.sum(2).max() == 1
    lit = (videos.frames > 0).any(2)
    assert not (masks.any(2) & ~lit).any()
    if name in DIGITS or name in ("cannonballs", "massive-balls", "pendulum"):  # nothing but objects gives light
        assert torch.equal(masks.any(2), lit)
    if videos.presence is not None:
        assert not masks[~videos.presence].any()


@pytest.mark.parametrize("name", sorted(SIMULATORS))
def test_masks_of_the_meta_device(name):
    assert SIMULATORS[name](masks=True).simulate(2, generator(), device="meta").masks.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(SIMULATORS))
def test_masks_of_the_gpu(name):
    simulator = SIMULATORS[name](num_frames=3, masks=True)
    here, there = (simulator.simulate(20, generator(), device=device).masks for device in ("cpu", "cuda"))
    # A pixel at the rim of an antialiased disc, or lit by a rounded weight, may be on the other side of 0.
    assert (here != there.cpu()).float().mean() < 1e-4


def test_digits_own_the_pixels_where_they_are_brightest(small_digits):
    """Against templates, pixel for pixel."""
    videos = MovingDigits(max_digits=3, min_digits=3, masks=True).simulate(20, generator())
    corners = (videos.positions - 0.5 * (videos.box_sizes - 1)).round().long()
    expected, contested, decided_by_order = torch.zeros_like(videos.masks), 0, 0
    for sequence in range(20):
        for time in range(10):
            layers = torch.zeros(3, 110, 110, dtype=torch.int)  # room for what leaves the frame
            for digit in range(3):
                left, top = corners[sequence, time, digit].tolist()
                tile = small_digits.tiles[videos.labels[sequence, time, digit]].int()
                layers[digit, top : top + 28, left : left + 28] = tile
            layers = layers[:, :50, :50]
            for row, column in (layers.sum(0) > 0).nonzero().tolist():
                values = layers[:, row, column].tolist()
                expected[sequence, time, values.index(max(values)), row, column] = True
                contested += sum(value > 0 for value in values) > 1
                decided_by_order += values.count(max(values)) > 1
    assert contested > 1000
    assert decided_by_order > 20
    assert torch.equal(videos.masks, expected)


@pytest.mark.parametrize("blend", ["max", "sum"])
@pytest.mark.parametrize("kind", [LinearDigits, EllipticDigits])
def test_digits_between_pixels_own_what_they_light_alone(kind, blend):
    options = {"num_frames": 8, "blend": blend}
    both = kind(min_digits=2, masks=True, **options).simulate(30, generator())
    for digit in (0, 1):
        # The same scene without the other digit, whose light is then that of the mask or has lost against it.
        scene = kind(min_digits=2, **options)
        layer = scene._layers(*_drawn(both, digit))[:, :, 0]
        other = scene._layers(*_drawn(both, 1 - digit))[:, :, 0]
        expected = (layer > other) | ((layer == other) & (layer > 0) & (digit == 0))
        near_tie = (layer - other).abs() < 1e-5  # positions of the batch are rounded to float32
        mask = both.masks[:, :, digit]
        assert not ((mask != expected) & ~near_tie).any()
        assert (mask & ~near_tie).sum() > 10_000


def _drawn(videos, digit):
    """Tiles, corner and presence of one digit, from what is known of a batch."""
    digits = _scaled("train", None, 1.0)
    corner = videos.positions - 0.5 * (videos.box_sizes - 1)
    tiles = digits.tiles[videos.labels[:, 0, digit]][:, None]
    return tiles, corner[:, :, digit : digit + 1], videos.presence[:, 0, digit : digit + 1]


def test_balls_are_whole_discs_unless_an_earlier_one_is_in_front():
    simulator = Cannonballs(num_frames=20, size=24, min_balls=3, masks=True)
    videos = simulator.simulate(40, generator())
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    middle = videos.positions.clamp(2, 21).round()
    discs = (columns - middle[..., 0, None, None]) ** 2 + (rows - middle[..., 1, None, None]) ** 2 <= 4
    assert (discs.sum((-2, -1)) == 13).all()
    hidden = discs.int().cumsum(2) - discs.int() > 0
    assert (discs & hidden).sum() > 100
    assert torch.equal(videos.masks, discs & ~hidden)


def test_a_ball_is_the_authors_disc_without_walls_and_contact_marks():
    videos = BoxWorld(masks=True).simulate(100, generator())
    masks = videos.masks[:, :, 0]
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    across, down = (
        place - videos.positions[:, :, 0, axis].double().round()[..., None, None]
        for axis, place in enumerate((columns, rows))
    )
    disc = (across + 0.5) ** 2 + (down + 0.5) ** 2 <= 7.5
    line = (across == 3) & (down == 0)
    rounded = (videos.positions.frac() - 0.5).abs().amin((2, 3)) > 1e-4  # the batch has float32, the drawing float64
    assert torch.equal(masks[rounded], (disc | line)[rounded])
    assert masks[rounded].sum((-2, -1)).max() == 25
    still = (videos.frames[:, :, 0] > 0).all(0).all(0)
    beside = (videos.frames[:, :, 0] > 0) & ~still & ~masks
    touches = videos.hits
    assert not beside[~touches & ~touches.roll(1, 1) & ~touches.roll(-1, 1)].any()
    assert beside[touches].any()  # a mark
    assert (masks & still).any()  # in front of the wall


def test_soft_balls_are_in_front_of_what_is_not_brighter():
    world = PongWorld(rendering="antialiased", masks=True)
    videos = world.simulate(50, generator())
    lone = BoxWorld(size=world.size, rendering="antialiased", masks=True)
    assert lone.simulate(5, generator()).masks.any((-2, -1)).all()
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    x, y = videos.positions[:, :, 0].unsqueeze(-1).unsqueeze(-1).unbind(2)
    light = (3.5 - (columns - x).hypot(rows - y)).clamp(0, 1)
    mask, frames = videos.masks[:, :, 0], videos.frames[:, :, 0]
    sure = (light - frames).abs() > 1e-4
    assert not (mask & sure & (light < frames)).any()  # behind a wall or a paddle
    assert ((light > 1e-4) & (light < frames - 1e-4)).any()
    assert mask[(light > 1e-4) & (light >= frames)].all()
    assert not mask[light <= 0].any()


@pytest.fixture(scope="module")
def clip():
    return synthetic_clip(generator(), num_frames=140, height=90, width=120, num_objects=5)


SUBTRACTION = BackgroundSubtraction(warm_up=40, width=120, height=90)


def test_masks_of_a_clip_are_its_components_in_the_slots_of_their_boxes(clip):
    plain, source = (Surveillance(clip, SUBTRACTION, size=40, masks=masks) for masks in (False, True))
    without, videos = plain.simulate(60, generator()), source.simulate(60, generator())
    assert without.masks is None
    for field in OTHERS:
        first, second = getattr(without, field), getattr(videos, field)
        assert (first is None and second is None) or torch.equal(first, second), field
    assert torch.equal(videos.masks.any((-2, -1)), videos.presence)
    assert (videos.presence.sum(-1) > 1).sum() > 20
    assert videos.masks.sum(2).max() == 1
    components = source.foregrounds[0].components
    for sequence in range(60):
        for time in range(5):
            _, number, left, top = videos.state[sequence, time].int().tolist()
            labels = components[number - 40, top : top + 40, left : left + 40]
            for slot in videos.presence[sequence, time].nonzero()[:, 0].tolist():
                mask = videos.masks[sequence, time, slot]
                (name,) = labels[mask].unique().tolist()
                assert name > 0
                assert torch.equal(mask, labels == name)
                rows, columns = mask.nonzero().unbind(-1)
                size = torch.stack([columns.max() - columns.min(), rows.max() - rows.min()]) + 1
                assert size.tolist() == videos.box_sizes[sequence, time, slot].tolist()
                middle = torch.stack([columns.max() + columns.min(), rows.max() + rows.min()]) / 2
                assert middle.tolist() == videos.positions[sequence, time, slot].tolist()


def test_annotated_boxes_have_no_masks(clip):
    with pytest.raises(ValueError, match="masks: expected False with annotated boxes, .*, got True; leave out"):
        Surveillance(clip, SUBTRACTION, size=40, boxes=torch.zeros(0, 5), masks=True)


def test_loaders_hand_masks_on_with_their_frames():
    simulator = StillDigits(num_frames=3, size=32, masks=True)
    videos = simulate_in_pieces(simulator, 12, 5, seed=0)
    assert videos.num_sequences == 12

    def agree(batch):
        assert batch.masks.any()
        return torch.equal(batch.masks.any(2), batch.frames[:, :, 0] > 0)

    def drop(*size, generator):
        return random_drop(*size, probability=0.5, keep_first=0, generator=generator)

    fixed = FixedVideos(videos, 4, seed=0, missing=drop)
    endless = EndlessVideos(simulator, 4, seed=0, missing=drop)
    assert not fixed.batch(1).observed.all()  # of missing frames the truth is kept
    parts = split_videos(videos, (0.5, 0.5), seed=0)
    assert all(agree(batch) for batch in (videos, fixed.batch(1), endless.batch(5), *parts))
    growing, single = GrowingVideos(fixed, 2, 10).batch(3), SingleFrames(fixed).batch(3)
    assert growing.masks.shape == (4, 2, 2, 32, 32)
    assert single.masks.shape == (12, 1, 2, 32, 32)
    assert agree(growing)
    assert agree(single)
