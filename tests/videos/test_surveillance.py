"""Windows hold what was asked for, boxes lie around light, splits share no frame, and nothing else is random."""

from dataclasses import replace

import pytest
import torch

from videos import BackgroundSubtraction, EndlessVideos, Simulator, Surveillance, synthetic_clip
from videos.clips import frames_at
from videos.windows import Boxes, Choice, Components, Windows, choose_from, in_slots

SUBTRACTION = BackgroundSubtraction(warm_up=40, width=120, height=90)
SQUARE = 20  # side of the annotated thing, pixels of the clip
FIELDS = ("frames", "presence", "positions", "box_sizes", "state")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def clip():
    return synthetic_clip(generator(), num_frames=140, height=90, width=120, num_objects=5)


@pytest.fixture(scope="module")
def source(clip):
    return Surveillance(clip, SUBTRACTION, size=40)


def same(first, second):
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in FIELDS)


def test_sequences_are_windows_on_the_foreground_that_hold_the_objects_asked_for(source):
    assert isinstance(source, Simulator)
    videos = source.simulate(200, generator())
    assert videos.frames.shape == (200, 5, 1, 40, 40)
    assert videos.presence.shape == (200, 5, 3)
    counts = videos.presence.sum(-1)
    assert counts.amax(1).unique().tolist() == [1, 2, 3]
    assert counts.min() == 0  # only the fullest frame is asked for
    foreground = source.foregrounds[0]
    assert (videos.state[:, 1:] - videos.state[:, :-1]).unique(dim=0).unique(dim=1).tolist() == [[[0, 1, 0, 0]]]
    for sequence in range(0, 200, 20):
        for time in range(5):
            index, number, left, top = videos.state[sequence, time].int().tolist()
            assert index == 0
            (place,) = (foreground.numbers == number).nonzero()[0].tolist()
            window = foreground.light[place, top : top + 40, left : left + 40]
            torch.testing.assert_close(255 * videos.frames[sequence, time, 0], window.float())


def test_counts_and_boxes_agree_with_the_components_in_the_window(source):
    """Against a count pixel by pixel."""
    videos = source.simulate(60, generator())
    foreground = source.foregrounds[0]
    for sequence in range(60):
        for time in range(5):
            _, number, left, top = videos.state[sequence, time].int().tolist()
            labels = foreground.components[number - 40, top : top + 40, left : left + 40]
            expected = []
            for name in labels.unique().tolist():
                rows, columns = (labels == name).nonzero().unbind(-1)
                if name > 0 and len(rows) >= 30:
                    low = (int(columns.min()), int(rows.min()))
                    size = (int(columns.max()) - low[0] + 1, int(rows.max()) - low[1] + 1)
                    expected.append((low[0] + 0.5 * (size[0] - 1), low[1] + 0.5 * (size[1] - 1), *size))
            present = videos.presence[sequence, time]
            boxes = torch.cat([videos.positions, videos.box_sizes], -1)[sequence, time]
            assert int(present.sum()) == len(expected)
            assert not present.diff().any() or present.int().diff().max() <= 0  # the first slots are filled
            assert sorted(map(tuple, boxes[present].tolist())) == sorted(expected)
            assert (boxes[present][:, 0].diff() >= 0).all()
            assert not boxes[~present].any()


def test_light_lies_in_the_boxes_where_everything_counts(source):
    videos = source.simulate(100, generator())
    pixel = torch.arange(40)
    low, high = (videos.positions + sign * 0.5 * (videos.box_sizes - 1) for sign in (-1, 1))

    def inside(grown):
        spans = [(pixel >= low[..., None, axis] - grown) & (pixel <= high[..., None, axis] + grown) for axis in (0, 1)]
        covered = spans[1][..., :, None] & spans[0][..., None, :] & videos.presence[..., None, None]
        return covered.any(2)

    light = videos.frames[:, :, 0]
    outside = torch.where(inside(1), 0.0, light).sum((2, 3)) / light.sum((2, 3)).clamp(min=1)
    full = videos.presence.any(-1)
    assert (outside[full] < 0.25).float().mean() > 0.95  # what is left are slivers at the edge
    assert (outside[full] == 0).float().mean() > 0.7
    tight = torch.where(inside(-1), 0.0, light).sum((2, 3))
    assert (tight[full] > 0).all()


def test_the_same_seed_gives_the_same_sequences(source, clip):
    before = torch.get_rng_state()
    first = source.simulate(20, generator())
    assert same(first, source.simulate(20, generator()))
    assert same(first, Surveillance(clip.clone(), SUBTRACTION, size=40).simulate(20, generator()))
    assert not same(first, source.simulate(20, generator(1)))
    assert torch.equal(before, torch.get_rng_state())
    state = generator()
    source.simulate(20, state)
    assert not same(first, source.simulate(20, state))


def test_it_is_a_source_of_training_videos(source):
    endless, again = (EndlessVideos(source, 4, seed=0, steps_at_once=2) for _ in range(2))
    third = endless.batch(3)
    assert third.frames.shape == (4, 5, 1, 40, 40)
    assert same(again.batch(3), third)
    assert not same(again.batch(2), third)


def test_splits_share_no_frame(source):
    numbers = {}
    for split in ("train", "validation", "test"):
        chosen = replace(source, split=split, shares=(0.6, 0.2, 0.2))
        numbers[split] = chosen.simulate(400, generator()).state[..., 1].unique()
    assert numbers["train"].max() < numbers["validation"].min()
    assert numbers["validation"].max() < numbers["test"].min()
    # All frames of a block are drawn, and there is nothing but the clip after the warm-up.
    assert torch.cat(list(numbers.values())).tolist() == list(range(40, 140))
    assert chosen.num_frames_used == len(numbers["test"]) == 20


def test_sequences_stay_in_one_clip(clip):
    other = synthetic_clip(generator(7), num_frames=60, height=45, width=90, num_objects=3)
    videos = Surveillance((clip, other), SUBTRACTION, size=40, shares=(1.0, 0.0, 0.0)).simulate(300, generator())
    which, number = videos.state[..., 0], videos.state[..., 1]
    assert which.unique().tolist() == [0, 1]
    assert (which == which[:, :1]).all()
    assert (number.diff(dim=1) == 1).all()
    assert number[which == 1].unique().tolist() == list(range(40, 60))


def random_labels():
    return torch.randint(0, 5, (6, 12, 14), generator=generator(), dtype=torch.int16)


def test_windows_are_counted_as_one_by_one():
    labels = random_labels()
    counts = Components(labels, least_area=6).count(5)
    assert counts.shape == (6, 8, 10)
    for time, top, left in ((0, 0, 0), (2, 3, 9), (5, 7, 4), (3, 7, 9), (1, 0, 9)):
        sizes = labels[time, top : top + 5, left : left + 5].flatten().bincount(minlength=5)[1:]
        assert counts[time, top, left] == (sizes >= 6).sum()
    starts = torch.tensor([0, 1, 3])
    choice = choose_from(Components(labels, least_area=6), starts, 3, 5, (1, 2))
    assert torch.equal(choice.largest, torch.stack([counts[start : start + 3].amax(0) for start in starts]))
    assert choice.histogram.sum() == 3 * 80
    assert choice.num_accepted == choice.histogram[1:3].sum()


def test_every_accepted_window_is_drawn_alike_and_no_other():
    largest = torch.randint(0, 5, (3, 4, 6), generator=generator(), dtype=torch.uint8)
    choice = Choice(largest, torch.tensor([0, 1, 7]), (1, 3))
    windows = choice.draw(60_000, 2, 5, generator())
    assert torch.equal(windows.frames[:, 1], windows.frames[:, 0] + 1)
    place = torch.searchsorted(choice.starts, windows.frames[:, 0].contiguous())
    drawn = ((place * 4 + windows.top) * 6 + windows.left).bincount(minlength=72)
    accepted = ((largest >= 1) & (largest <= 3)).flatten()
    assert not drawn[~accepted].any()
    expected = 60_000 / int(accepted.sum())
    chi_square = (drawn[accepted] - expected).square().sum() / expected
    freedom = int(accepted.sum()) - 1
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


def annotated():
    """A dark square that goes to the right over a static scene, and its boxes."""
    clip = synthetic_clip(generator(), num_frames=60, height=90, width=120, num_objects=0)
    rows = []
    for time in range(60):
        left = 10 + time
        clip[time, 30 : 30 + SQUARE, left : left + SQUARE] = 30
        rows.append([time, left, 30, SQUARE, SQUARE])
    return clip, torch.tensor(rows)


def test_annotated_boxes_count_from_half_their_area_on():
    clip, table = annotated()
    subtraction = BackgroundSubtraction(warm_up=40, width=60, height=45)  # half the clip's size
    source = Surveillance(clip, subtraction, size=30, min_objects=0, boxes=table, shares=(1.0, 0.0, 0.0))
    videos = source.simulate(300, generator())
    number, left, top = videos.state[..., 1:].unbind(-1)
    sides = torch.stack([5 + 0.5 * number - left, 15 - top], -1)  # of the square's corner, in the window
    seen_low, seen_high = sides.clamp(min=0), (sides + 10).clamp(max=30)
    area = (seen_high - seen_low).clamp(min=0).prod(-1)
    present = videos.presence[..., 0]
    assert 0.2 < present.float().mean() < 0.95
    assert torch.equal(present, area >= 50)
    assert not videos.presence[..., 1:].any()
    torch.testing.assert_close(videos.box_sizes[..., 0, :][present], (seen_high - seen_low)[present])
    torch.testing.assert_close(videos.positions[..., 0, :][present], (0.5 * (seen_low + seen_high) - 0.5)[present])
    # Annotations and components are of one thing. A whole square is lit where its box is.
    whole = present & (area == 100)
    x, y = videos.positions[..., 0, :][whole].round().long().unbind(-1)
    assert (videos.frames[:, :, 0][whole][torch.arange(len(x)), y, x] > 0.7).all()


def test_frames_without_annotation_have_no_objects():
    clip, table = annotated()
    videos = Surveillance(clip, SUBTRACTION, size=60, min_objects=1, boxes=table[::2], shares=(1.0, 0.0, 0.0)).simulate(
        50, generator()
    )
    odd = videos.state[..., 1] % 2 == 1
    assert not videos.presence[odd].any()
    assert videos.presence.any()


def test_counts_of_boxes_agree_with_the_boxes_seen():
    corner = 20 * torch.rand(4, 6, 2, generator=generator(), dtype=torch.float64) - 3
    edges = torch.cat([corner, corner + 8 * torch.rand(4, 6, 2, generator=generator(1), dtype=torch.float64)], -1)
    edges[:, 5] = 0  # no box
    boxes = Boxes(edges, 0.5, (16, 18))
    counts = boxes.count(7)
    assert counts.shape == (4, 10, 12)
    assert counts.unique().numel() > 2
    frames, top, left = torch.cartesian_prod(torch.arange(4), torch.arange(10), torch.arange(12)).unbind(-1)
    seen, counted = boxes.seen_through(Windows(frames[:, None], top, left, 7))
    assert torch.equal(counted[:, 0].sum(-1), counts[frames, top, left].long())
    assert not counted[..., 5].any()
    assert seen.min() >= 0
    assert seen[counted].max() <= 7


def test_slots_are_filled_from_left_to_right():
    edges = torch.tensor([[[[9.0, 0, 11, 2], [0, 0, 1, 1], [3, 1, 6, 5]]]], dtype=torch.float64)
    presence, positions, sizes = in_slots(edges, torch.tensor([[[True, False, True]]]), 4)
    assert presence.tolist() == [[[True, True, False, False]]]
    assert positions.tolist() == [[[[4.0, 2.5], [9.5, 0.5], [0.0, 0.0], [0.0, 0.0]]]]
    assert sizes.tolist() == [[[[3.0, 4.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]]]


def test_a_clip_with_too_few_windows_is_refused():
    empty = synthetic_clip(generator(), num_frames=60, height=90, width=120, num_objects=0)
    source = Surveillance(empty, SUBTRACTION, shares=(1.0, 0.0, 0.0))
    with pytest.raises(
        ValueError,
        match=r"clips: expected at least 100 windows with 1 to 3 objects .*, got 0 of 24624 \(24624 with 0, 0 with 1",
    ):
        source.simulate(2, generator())
    nothing = replace(source, min_objects=0).simulate(2, generator())
    assert not nothing.frames.any()
    assert not nothing.presence.any()


def test_a_block_that_is_too_short_is_refused(source):
    with pytest.raises(
        ValueError, match="at least num_frames = 11 frames for 'test', a share of 0.1, got 10 of the 100"
    ):
        replace(source, split="test", num_frames=11).simulate(2, generator())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_frames": 0}, "num_frames: expected a positive number, got 0"),
        ({"min_objects": 4}, "min_objects: expected 0 to max_objects = 3, got 4"),
        ({"size": 91}, "size: expected at most the resized frame's 120 x 90 pixels, got 91"),
        ({"split": "tests"}, "split: expected one of train, validation, test, got 'tests'"),
        ({"shares": (0.8, 0.3, 0.1)}, "shares: expected three shares with a sum of at most 1"),
        ({"least_inside": 0.0}, r"least_inside: expected a share in \(0, 1\], got 0.0"),
        ({"boxes": torch.zeros(3, 4)}, r"boxes: expected \(boxes, 5\) of frame, left, .*, got \(3, 4\)"),
        ({"boxes": (torch.zeros(3, 5),) * 2}, "boxes: expected one table for each of 1 clips, got 2"),
    ],
)
def test_settings_out_of_range_are_named(source, settings, words):
    with pytest.raises(ValueError, match=words):
        replace(source, **settings)


def test_no_sequences_are_refused_and_a_missing_clip_is_named(source, tmp_path):
    with pytest.raises(ValueError, match="num_sequences: expected a positive number, got 0"):
        source.simulate(0, generator())
    with pytest.raises(FileNotFoundError, match="none.avi, which is not a file"):
        Surveillance(tmp_path / "none.avi").simulate(1, generator())


def test_pedestrians_are_cut_out(data_folder):
    """A third of OpenCV's sample clip, with the settings as they are: five to seven people, grouped now and then."""
    first = frames_at(data_folder / "video" / "vtest.avi", range(280))
    source = Surveillance(first, BackgroundSubtraction(stride=2), shares=(1.0, 0.0, 0.0))
    (foreground,) = source.foregrounds
    assert foreground.numbers.tolist() == list(range(200, 280, 2))
    people = foreground.components.flatten(1).amax(1).float()
    assert 4 <= people.mean() <= 7
    # Upright, and a small part of the picture; light is clothes and hair.
    lit = foreground.components > 0
    assert 0.01 < lit.float().mean() < 0.04
    assert foreground.light[lit].float().mean() > 150
    videos = source.simulate(300, generator())
    whole = videos.presence & (videos.box_sizes > 4).all(-1)
    width, height = videos.box_sizes[whole].unbind(-1)
    assert (height / width).median() > 1.5
    assert 0.5 < source.acceptance < 0.9
