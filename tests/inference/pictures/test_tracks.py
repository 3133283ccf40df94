"""Boxes where objects are, in the colour of their names; what is missing and what is true."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image

from inference.pictures import animate_tracks, draw_tracks
from inference.pictures.films import BORDER, HEADER, SPACE
from inference.pictures.theme import MISSING
from inference.pictures.tracks import IDENTITIES, TRUE_BOX
from pyro_models.components.scene import Scene

WIDTH, HEIGHT = 20, 10


def tracks(identities):
    """Objects side by side, 4 by 2 pixels, five pixels apart, whatever their names; (sequences, time, slots)."""
    identities = torch.tensor(identities)
    positions = torch.stack(
        [2.0 + 5 * torch.arange(identities.shape[-1]), torch.tensor(4.0).expand(identities.shape[-1])], -1
    )
    positions = positions.expand(*identities.shape, 2)
    sizes = torch.tensor([4.0, 2.0]).expand(*identities.shape, 2)
    return Scene((identities >= 0).float(), positions, sizes, identities=identities)


def boxes_of(figure):
    """For each frame, row by row: colour, dashed or not, and left, top, width and height within the frame."""
    axes = figure.axes[0]
    patches = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    found = []
    for patch in patches:
        if (patch.get_width(), patch.get_height()) == (WIDTH, HEIGHT):
            found.append([])
            left, top = patch.get_x() + 0.5, patch.get_y() + 0.5
            continue
        place = (patch.get_x() - left, patch.get_y() - top, patch.get_width(), patch.get_height())
        found[-1].append((to_hex(patch.get_edgecolor()).upper(), patch.get_linestyle() not in ("-", "solid"), place))
    return found


def edges_of(figure):
    patches = [patch for patch in figure.axes[0].patches if patch.get_width() == WIDTH]
    return [to_hex(patch.get_edgecolor()).upper() for patch in patches]


def test_boxes_have_the_colour_of_their_identity_and_lie_where_objects_are():
    frames = torch.rand(2, 3, 1, HEIGHT, WIDTH)
    scene = tracks([[[0, 1], [1, 0], [-1, 2]], [[12, -1], [-1, -1], [2, 0]]])
    found = boxes_of(draw_tracks(frames, scene))
    first, second = (0.0, 3.0, 4.0, 2.0), (5.0, 3.0, 4.0, 2.0)
    colours = [*IDENTITIES, *IDENTITIES]
    expected = [
        [(colours[0], False, first), (colours[1], False, second)],
        [(colours[1], False, first), (colours[0], False, second)],
        [(colours[2], False, second)],
        [(colours[12], False, first)],
        [],
        [(colours[2], False, first), (colours[0], False, second)],
    ]
    assert [[(colour, dashed, pytest.approx(place)) for colour, dashed, place in frame] for frame in expected] == found
    assert len(set(IDENTITIES)) == len(IDENTITIES) == 10
    assert MISSING not in IDENTITIES


def test_boxes_stay_inside_their_frame():
    scene = tracks([[[0]]])
    figure = draw_tracks(torch.zeros(1, 1, 1, HEIGHT, WIDTH), scene)
    edge, box = figure.axes[0].patches
    figure.draw_without_rendering()
    assert box.get_clip_box().bounds == pytest.approx(edge.get_path().get_extents(edge.get_transform()).bounds)


def test_a_slot_without_presence_or_without_a_name_draws_nothing():
    scene = tracks([[[0, 1, 2]]])
    faint = Scene(
        torch.tensor([[[1.0, 0.4, 1.0]]]), scene.positions, scene.box_sizes, identities=torch.tensor([[[0, 1, -1]]])
    )
    figure = draw_tracks(torch.zeros(1, 1, 1, HEIGHT, WIDTH), faint)
    assert [colour for colour, *_ in boxes_of(figure)[0]] == [IDENTITIES[0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["identity 0"]
    nothing = draw_tracks(torch.zeros(1, 1, 1, HEIGHT, WIDTH), tracks([[[-1, -1]]]))
    nothing.draw_without_rendering()
    assert boxes_of(nothing) == [[]]


def test_without_objects_there_are_frames_alone(tmp_path):
    frames = torch.rand(2, 3, 1, HEIGHT, WIDTH)
    observed = torch.tensor([[True, False, True]] * 2)
    figure = draw_tracks(frames, observed=observed, reconstructions=1 - frames)
    figure.draw_without_rendering()
    assert boxes_of(figure) == [[]] * 12
    assert [colour == MISSING for colour in edges_of(figure)] == [False, True, False] * 4
    with Image.open(animate_tracks(tmp_path / "film.gif", frames[0], reconstructions=1 - frames[0])) as film:
        assert film.n_frames == 3


def test_a_small_picture_has_room_for_a_long_legend():
    figure = draw_tracks(torch.zeros(1, 1, 1, HEIGHT, WIDTH), tracks([[list(range(30))]]))
    figure.draw_without_rendering()
    assert len(figure.legends[0].get_texts()) == 30
    assert figure.axes[0].get_window_extent().height > 0.3 * figure.dpi


def test_true_boxes_are_dashed_and_reconstructions_lie_below():
    frames = torch.rand(2, 4, 3, HEIGHT, WIDTH)
    scene = tracks([[[0, -1]] * 4, [[3, 7]] * 4])
    truth = tracks([[[0, 0]] * 4] * 2)
    truth = Scene(truth.presence.bool(), truth.positions + 0.5, truth.box_sizes)
    figure = draw_tracks(frames, scene, truth, reconstructions=1 - frames, every=2, title="two videos")
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "two videos"
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "video 1",
        "expected",
        "video 2",
        "expected",
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "identity 0",
        "identity 3",
        "identity 7",
        "true box",
    ]
    found = boxes_of(figure)
    assert [len(frame) for frame in found] == [3] * 4 + [4] * 4
    assert found[0] == found[1] == found[2] == found[3]
    assert [(colour, dashed) for colour, dashed, _ in found[0]] == [
        (IDENTITIES[0], False),
        (TRUE_BOX, True),
        (TRUE_BOX, True),
    ]
    assert found[0][1][2] == pytest.approx((0.5, 3.5, 4.0, 2.0))
    shown = [np.asarray(image.get_array()) for image in axes.images]
    expected = [video[time] for video in (frames[0], 1 - frames[0], frames[1], 1 - frames[1]) for time in (0, 2)]
    for picture, frame in zip(shown, expected, strict=True):
        np.testing.assert_allclose(picture, frame.permute(1, 2, 0).numpy())


def test_missing_frames_are_outlined():
    frames = torch.zeros(2, 3, 1, HEIGHT, WIDTH)
    observed = torch.tensor([[True, True, True], [True, False, True]])
    figure = draw_tracks(frames, tracks([[[0]] * 3] * 2), observed=observed)
    assert [colour == MISSING for colour in edges_of(figure)] == [False, False, False, False, True, False]
    assert "missing" in figure.axes[0].get_xlabel()
    assert "missing" not in draw_tracks(frames, tracks([[[0]] * 3] * 2)).axes[0].get_xlabel()


def pages_of(path):
    pages = []
    with Image.open(path) as film:
        for time in range(film.n_frames):
            film.seek(time)
            pages.append(np.asarray(film.convert("RGB")).astype(int))
        return pages, film.info


def hexes(colour):
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])


def test_a_film_has_the_same_boxes(tmp_path):
    frames = torch.zeros(3, 1, HEIGHT, WIDTH)
    frames[:, 0, 0, 0] = torch.tensor([0.2, 0.5, 0.8])  # GIFs merge equal frames
    positions = torch.tensor([[[5.0, 4.0]], [[8.0, 4.0]], [[11.0, 4.0]]])
    scene = Scene(torch.ones(3, 1), positions, torch.full((3, 1, 2), 4.0), identities=torch.tensor([[1], [1], [-1]]))
    observed = torch.tensor([True, False, True])
    path = animate_tracks(
        tmp_path / "deep" / "tracks.gif", frames, scene, None, observed, frames, scale=10, frames_per_second=5.0
    )
    pages, info = pages_of(path)
    assert (len(pages), info["duration"]) == (3, 200)
    corner = (HEADER + BORDER, SPACE + BORDER)
    second = corner[1] + WIDTH * 10 + 2 * BORDER + SPACE
    for left_of_panel in (corner[1], second):
        for page, x in zip(pages[:2], (3.0, 6.0), strict=True):
            panel = page[corner[0] : corner[0] + HEIGHT * 10, left_of_panel : left_of_panel + WIDTH * 10]
            rows, columns = (np.abs(panel - hexes(IDENTITIES[1])).max(-1) < 8).nonzero()
            # the left edge of the box is at x in pixels whose middles are whole numbers
            assert (columns.min(), columns.max()) == ((x + 0.5) * 10, (x + 4.5) * 10 - 1)
            assert (rows.min(), rows.max()) == (25, 64)
            assert panel[45, int((x + 2.5) * 10)].max() == 0  # nothing inside
    assert not (np.abs(pages[2] - hexes(IDENTITIES[1])).max(-1) < 8).any()
    borders = np.array([(np.abs(page - hexes(MISSING)).max(-1) < 8)[HEADER] for page in pages])
    assert [row.any() for row in borders] == [False, True, False]
    assert borders[1].sum() == 2 * (WIDTH * 10 + 2 * BORDER)  # of both panels


def test_true_boxes_of_a_film_are_dashed(tmp_path):
    frames = torch.zeros(1, 1, HEIGHT, WIDTH)
    nothing = Scene(torch.zeros(1, 1), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), identities=torch.full((1, 1), -1))
    truth = Scene(torch.ones(1, 1, dtype=torch.bool), torch.tensor([[[9.5, 4.5]]]), torch.tensor([[[8.0, 6.0]]]))
    pages, _ = pages_of(animate_tracks(tmp_path / "tracks.gif", frames, nothing, truth, scale=10))
    panel = pages[0][HEADER + BORDER : HEADER + BORDER + HEIGHT * 10, SPACE + BORDER : SPACE + BORDER + WIDTH * 10]
    lit = np.abs(panel - hexes(TRUE_BOX)).max(-1) < 8
    rows, columns = lit.nonzero()
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (60, 139, 20, 79)
    for side in (lit[20, 60:140], lit[79, 60:140], lit[20:80, 60], lit[20:80, 139]):
        assert 0.4 < side.mean() < 0.7
    assert not lit[21:79, 61:139].any()


def test_a_box_of_no_size_is_a_dot(tmp_path):
    scene = Scene(torch.ones(1, 1), torch.full((1, 1, 2), 5.0), torch.zeros(1, 1, 2), identities=torch.tensor([[0]]))
    frames = torch.zeros(1, 1, HEIGHT, WIDTH)
    pages, _ = pages_of(animate_tracks(tmp_path / "tracks.gif", frames, scene, scene, scale=1))
    assert pages[0][HEADER + BORDER :, SPACE + BORDER :][6, 6].max() > 200


def test_rows_may_have_names():
    figure = draw_tracks(torch.zeros(2, 3, 1, HEIGHT, WIDTH), tracks([[[0]] * 3] * 2), names=["AIR", "VTSSI"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["AIR", "VTSSI"]


def test_wrong_arguments_are_named(tmp_path):
    frames, scene = torch.zeros(2, 3, 1, HEIGHT, WIDTH), tracks([[[0]] * 3] * 2)
    unnamed = Scene(scene.presence, scene.positions, scene.box_sizes)
    with pytest.raises(
        ValueError, match=r"frames: expected \(sequences, time, channels, height, width\), got \(3, 1, "
    ):
        draw_tracks(frames[0], scene)
    with pytest.raises(ValueError, match=r"reconstructions: expected the shape of frames, \(2, 3, .* got \(2, 2, "):
        draw_tracks(frames, scene, reconstructions=frames[:, :2])
    with pytest.raises(ValueError, match="every: expected at least 1, got 0"):
        draw_tracks(frames, scene, every=0)
    with pytest.raises(ValueError, match="names: expected one for each of 2 videos, got 1: AIR"):
        draw_tracks(frames, scene, names=["AIR"])
    with pytest.raises(ValueError, match=r"observed: expected .* = \(2, 3\), got \(3,\)"):
        draw_tracks(frames, scene, observed=torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"observed: expected bool .*, got torch.float32"):
        draw_tracks(frames, scene, observed=torch.ones(2, 3))
    with pytest.raises(
        ValueError, match="scene: expected a scene with presence, positions, box_sizes, identities, one"
    ):
        draw_tracks(frames, unnamed)
    with pytest.raises(ValueError, match="truth: expected a scene with presence, positions, box_sizes, one of them is"):
        draw_tracks(frames, scene, Scene(scene.presence))
    with pytest.raises(ValueError, match=r"scene.presence: expected \(2, 2, 1\), one for .*, got \(2, 3, 1\)"):
        draw_tracks(frames[:, :2], scene)
    with pytest.raises(ValueError, match=r"truth.box_sizes: expected \(2, 3, 1, 2\), .*, got \(2, 3, 1, 1\)"):
        draw_tracks(frames, scene, Scene(scene.presence, scene.positions, scene.box_sizes[..., :1]))
    path = tmp_path / "tracks.gif"
    with pytest.raises(ValueError, match="scale: expected at least 1, got 0"):
        animate_tracks(path, frames[0], scene, scale=0)
    with pytest.raises(ValueError, match=r"scene.presence: expected \(3, 1\), one for each .* got \(2, 3, 1\)"):
        animate_tracks(path, frames[0], scene)
    with pytest.raises(ValueError, match=r"frames, reconstructions: expected one shape .* got \(2, 1, 10, 20\) for"):
        animate_tracks(path, frames[0], scene, reconstructions=frames[0, :2])
    assert not path.exists()
