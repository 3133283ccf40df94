"""Masks in pictures: one colour for an object, the same in all frames; a true object in that of its mask."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from inference.pictures import animate_tracks, draw_scenes, draw_strips, draw_tracks, paint_masks
from inference.pictures.films import BORDER, HEADER, SPACE
from inference.pictures.masks import UNMATCHED, mask_videos
from inference.pictures.scenes import _SLOTS
from inference.pictures.theme import IDENTITIES
from pyro_models.components.scene import Scene
from videos import Cannonballs

HEIGHT, WIDTH = 6, 8


def colour(name):
    return torch.tensor(to_rgb(name))


def blocks(*places, time=2):
    """Masks (1, time, objects, HEIGHT, WIDTH) of one block of 2 x 2 pixels for each (row, column), still."""
    masks = torch.zeros(1, time, len(places), HEIGHT, WIDTH)
    for slot, (row, column) in enumerate(places):
        masks[:, :, slot, row : row + 2, column : column + 2] = 1
    return masks


def test_masks_blend_their_colours_and_are_black_where_there_is_no_object():
    masks = torch.zeros(3, 1, 5)
    masks[0, 0, 1], masks[1, 0, 2] = 1.0, 0.5
    masks[:2, 0, 3] = torch.tensor([0.3, 0.7])
    masks[:, 0, 4] = 1.0  # more than one object in full: their mean
    first, second, third = (colour(IDENTITIES[number]) for number in range(3))
    expected = [torch.zeros(3), first, 0.5 * second, 0.3 * first + 0.7 * second, (first + second + third) / 3]
    painted = paint_masks(masks)
    assert painted.shape == (3, 1, 5)
    torch.testing.assert_close(painted[:, 0].T, torch.stack(expected))
    assert torch.equal(paint_masks(masks > 0.9), paint_masks((masks > 0.9).float()))


def test_colours_go_by_numbers_and_repeat():
    masks = blocks((0, 0), (0, 2), (0, 4), (0, 6))[0, :1]
    painted = paint_masks(masks, torch.tensor([[1, 10, -1, 13]]))[0]
    for column, name in ((0, IDENTITIES[1]), (2, IDENTITIES[0]), (4, "black"), (6, IDENTITIES[3])):
        torch.testing.assert_close(painted[:, 0, column], colour(name))
    torch.testing.assert_close(paint_masks(masks[0], palette=("white", "red"))[:, 0, 6], colour("red"))


@pytest.mark.parametrize("values", [(-1.0, 0.5), (0.0, 3.0), (0.0, float("nan"))])
def test_logits_are_refused(values):
    with pytest.raises(
        ValueError, match=r"masks: expected finite values in \[0, 1\], got .*; take the softmax of logits"
    ):
        paint_masks(torch.tensor(values)[:, None, None])


def test_an_identity_keeps_its_colour_when_it_moves_to_another_slot():
    masks = blocks((0, 0), (0, 4))
    masks[:, 1] = masks[:, 1].flip(1)  # the objects stay where they are
    identities = torch.tensor([[[3, 5], [5, 3]]])
    (video,) = mask_videos(Scene(masks=masks, identities=identities), None, (1, 2), (HEIGHT, WIDTH))
    assert video.name == "masks"
    assert video.labels == {"identity 3": IDENTITIES[3], "identity 5": IDENTITIES[5]}
    assert torch.equal(video.video[0, 0], video.video[0, 1])
    torch.testing.assert_close(video.video[0, 0, :, 0, 0], colour(IDENTITIES[3]))
    torch.testing.assert_close(video.video[0, 0, :, 0, 4], colour(IDENTITIES[5]))


def test_what_is_not_present_or_has_no_identity_is_left_out():
    scene = Scene(
        masks=blocks((0, 0), (0, 2), (0, 4)),
        presence=torch.tensor([[[1.0, 0.4, 1.0]] * 2]),
        identities=torch.tensor([[[0, 1, -1]] * 2]),
    )
    (video,) = mask_videos(scene, None, (1, 2), (HEIGHT, WIDTH))
    assert video.labels == {"identity 0": IDENTITIES[0]}
    assert video.video[..., 0:2].sum() > 0
    assert video.video[..., 2:].sum() == 0


def test_a_true_object_has_the_colour_of_the_mask_that_stands_for_it_in_its_video():
    truth = blocks((0, 0), (0, 4), (4, 0)).repeat(2, 1, 1, 1, 1) > 0
    soft = torch.full((2, 2, 4, HEIGHT, WIDTH), 0.1)
    soft[:, :, 3] = 0.2  # background
    soft[0, :, 2, :2, :2] = 0.6  # in the first video: component 3 has object 1,
    soft[0, :, 0, :2, 4:6] = 0.6  # component 1 has object 2, and object 3 is in the background's
    soft[1, :, 1] = torch.where(truth[1, :, :2].any(1), 0.6, 0.1)  # in the second, component 2 has two objects at once
    scene, true = Scene(masks=soft), Scene(masks=truth)
    masks, painted = mask_videos(scene, true, (2, 2), (HEIGHT, WIDTH))
    assert list(masks.labels) == [f"slot {number}" for number in (1, 2, 3, 4)]
    assert painted.name == "true masks"
    shown = [painted.video[video, :, :, row, column] for video in (0, 1) for row, column in ((0, 0), (0, 4), (4, 0))]
    expected = [IDENTITIES[2], IDENTITIES[0], IDENTITIES[3], IDENTITIES[1], UNMATCHED, IDENTITIES[3]]
    for value, name in zip(shown, expected, strict=True):
        torch.testing.assert_close(value, colour(name).expand(2, 3))
    assert painted.labels == {"true object without a mask": UNMATCHED}
    assert UNMATCHED not in IDENTITIES
    # without masks of a model: the colours of slots
    (alone,) = mask_videos(None, true, (2, 2), (HEIGHT, WIDTH))
    assert list(alone.labels) == ["object 1", "object 2", "object 3"]
    torch.testing.assert_close(alone.video[0, 0, :, 4, 0], colour(IDENTITIES[2]))


def test_matching_ignores_masks_that_are_left_out_and_objects_that_do_not_exist():
    truth = Scene(masks=blocks((0, 0), (0, 4)) > 0, presence=torch.tensor([[[1.0, 0.0]] * 2]))
    scene = Scene(masks=blocks((0, 0), (0, 0)), presence=torch.tensor([[[0.0, 1.0]] * 2]))
    masks, painted = mask_videos(scene, truth, (1, 2), (HEIGHT, WIDTH))
    assert masks.labels == {"slot 2": IDENTITIES[1]}
    torch.testing.assert_close(painted.video[0, 0, :, 0, 0], colour(IDENTITIES[1]))
    assert painted.video[..., 4:].sum() == 0
    assert painted.labels == {}
    # a mask that has no pixel of an object does not stand for it
    beside = Scene(masks=blocks((4, 0), (0, 4)))
    _, painted = mask_videos(beside, Scene(masks=blocks((0, 0), (2, 4))), (1, 2), (HEIGHT, WIDTH))
    assert painted.labels == {"true object without a mask": UNMATCHED}
    assert len(painted.video[0, 0].flatten(1).unique(dim=1).T) == 2  # that colour, and black
    # nothing at all
    nobody = Scene(masks=torch.zeros(1, 2, 2, HEIGHT, WIDTH))
    masks, painted = mask_videos(nobody, Scene(masks=blocks((0, 0))), (1, 2), (HEIGHT, WIDTH))
    assert masks.labels == {}
    torch.testing.assert_close(painted.video[0, 0, :, 0, 0], colour(UNMATCHED))


def of_balls():
    videos = Cannonballs(num_frames=4, size=24, min_balls=2, masks=True).simulate(2, torch.Generator().manual_seed(0))
    truth = Scene(videos.presence.float(), videos.positions, videos.box_sizes, videos.masks)
    soft = torch.cat([videos.masks, ~videos.masks.any(2, keepdim=True)], 2).float() * 0.7 + 0.075
    return videos, truth, Scene(masks=soft[:, :, [3, 2, 1, 0]])


def test_tracks_have_rows_of_masks_without_boxes(tmp_path):
    videos, truth, scene = of_balls()
    figure = draw_tracks(videos.frames, scene, truth, None, videos.frames, every=2)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["video 1", "expected", "masks", "true masks", "video 2", "expected", "masks", "true masks"]
    pictures = [torch.as_tensor(np.asarray(image.get_array())) for image in axes.images]
    painted = {name: video for name, video, _ in mask_videos(scene, truth, (2, 4), (24, 24))}
    for row, name in ((2, "masks"), (3, "true masks"), (6, "masks"), (7, "true masks")):
        for column, moment in enumerate((0, 2)):
            shown = painted[name][row // 4, moment].movedim(0, -1)
            torch.testing.assert_close(pictures[2 * row + column], shown)
    assert painted["masks"].std() > 0.1
    # true boxes on frames and expectations alone: after the edge of each of their frames
    counts, present = [], videos.presence.sum(-1)
    for patch in axes.patches:
        counts.append(0) if patch.get_width() == 24 else counts.append(counts.pop() + 1)
    in_row = [present[row // 4, moment].item() if row % 4 < 2 else 0 for row in range(8) for moment in (0, 2)]
    assert counts == in_row
    assert sum(counts) > 8
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["true box", "slot 1", "slot 2", "slot 3", "slot 4"]
    figure.savefig(tmp_path / "tracks.png", dpi=40)
    # as many rows as before where there are no masks
    plain = draw_tracks(videos.frames, None, Scene(truth.presence, truth.positions, truth.box_sizes))
    assert [label.get_text() for label in plain.axes[0].get_yticklabels()] == ["video 1", "video 2"]


def test_boxes_and_masks_of_an_identity_share_their_colour_and_their_entry():
    videos, truth, _ = of_balls()
    identities = torch.where(videos.presence, torch.tensor([4, 2, 7]), -1)
    scene = Scene(truth.presence, truth.positions, truth.box_sizes, truth.masks.float(), identities=identities)
    figure = draw_tracks(videos.frames, scene)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["identity 2", "identity 4", "identity 7"]
    masks = np.asarray(figure.axes[0].images[4].get_array())
    first = videos.masks[0, 0, 0].numpy()
    np.testing.assert_allclose(masks[first], np.broadcast_to(to_rgb(IDENTITIES[4]), (first.sum(), 3)), atol=1e-6)


def test_a_film_has_panels_of_masks(tmp_path):
    videos, truth, scene = of_balls()
    one = Scene(masks=scene.masks[0])
    true = Scene(masks=truth.masks[0])
    path = animate_tracks(
        tmp_path / "tracks.gif", videos.frames[0], one, true, reconstructions=videos.frames[0], scale=4
    )
    painted = {name: video for name, video, _ in mask_videos(one, true, (4,), (24, 24))}
    with Image.open(path) as film:
        assert film.n_frames == 4
        for time in range(4):
            film.seek(time)
            page = np.asarray(film.convert("RGB")).astype(int)
            wide = (page.shape[1] - SPACE) // 4 - SPACE
            assert (page.shape[1] - SPACE) % 4 == 0  # frames, expected, masks, true masks
            for panel, name in ((2, "masks"), (3, "true masks")):
                left = SPACE + panel * (wide + SPACE) + wide // 2 - (24 * 4 + 2 * BORDER) // 2 + BORDER
                pixels = page[HEADER + BORDER : HEADER + BORDER + 96, left : left + 96][2::4, 2::4]
                expected = 255 * painted[name][time].movedim(0, -1).numpy()
                assert np.abs(pixels - expected).max() < 12  # a GIF has 256 colours


def scenes_of(videos, truth, scene):
    first = Scene(masks=scene.masks[:, 0])
    return videos.frames[:, 0], first, truth.masks[:, 0]


def test_scenes_have_rows_of_masks():
    videos, truth, scene = of_balls()
    frames, found, true = scenes_of(videos, truth, scene)
    figure = draw_scenes(frames, frames, found, None, true, columns=1)
    names = [axes.get_ylabel() for axes in figure.axes]
    assert names == ["frame", "model", "masks", "true masks"] * 2
    assert not any(axes.patches or axes.get_title() for axes in figure.axes)
    shown = [torch.as_tensor(np.asarray(axes.images[0].get_array())) for axes in figure.axes]
    for index in (0, 1):
        soft = paint_masks(found.masks[index], palette=_SLOTS).movedim(0, -1)
        torch.testing.assert_close(shown[4 * index + 2], soft)
        # component 4 is object 1, and so on
        expected = paint_masks(true[index], torch.tensor([3, 2, 1]), _SLOTS).movedim(0, -1)
        torch.testing.assert_close(shown[4 * index + 3], expected)
    with_boxes = Scene(truth.presence[:, 0], truth.positions[:, 0], truth.box_sizes[:, 0], truth.masks[:, 0])
    figure = draw_scenes(frames, frames, with_boxes, torch.tensor([2, 3]), columns=2)
    assert [len(axes.patches) for axes in figure.axes] == [2, 3, 2, 3, 0, 0]
    assert [axes.get_title() for axes in figure.axes][:2] == ["2", "3"]
    # after the last colour they repeat, also where there are no masks of a model
    many = torch.zeros(1, 8, HEIGHT, WIDTH)
    many[0, 6, 0, 0] = 1
    blank, nobody = torch.zeros(1, HEIGHT, WIDTH), torch.zeros(1, 1)
    boxes = Scene(nobody, nobody.unsqueeze(-1).expand(1, 1, 2), nobody.unsqueeze(-1).expand(1, 1, 2))
    for figure in (
        draw_scenes(blank, blank, Scene(masks=many), columns=1),
        draw_scenes(blank, blank, boxes, None, many > 0, columns=1),
    ):
        shown = torch.as_tensor(np.asarray(figure.axes[2].images[0].get_array()))
        torch.testing.assert_close(shown[0, 0], colour(_SLOTS[0]))


def test_strips_show_painted_masks_beside_grey_frames():
    videos, truth, _ = of_balls()
    figure = draw_strips({"truth": videos.frames[0], "masks": paint_masks(truth.masks[0])})
    shown = [torch.as_tensor(np.asarray(image.get_array())) for image in figure.axes[0].images]
    torch.testing.assert_close(shown[0], videos.frames[0, 0, 0, :, :, None].expand(-1, -1, 3))
    torch.testing.assert_close(shown[4], paint_masks(truth.masks[0, 0]).movedim(0, -1))


def test_wrong_masks_are_named(tmp_path):
    videos, truth, scene = of_balls()
    frames, masks = videos.frames, scene.masks
    with pytest.raises(ValueError, match=r"scene.masks: expected \(2, 4, 4, 24, 24\), one .* got \(2, 4, 4, 23, 24\)"):
        draw_tracks(frames, Scene(masks=masks[..., 1:, :]))
    with pytest.raises(
        ValueError, match=r"scene.masks: .*'slots', 24, 24\), .* got \(2, 4, 4, 1, 24, 24\); leave out chann"
    ):
        draw_tracks(frames, Scene(masks=masks.unsqueeze(3)))
    with pytest.raises(ValueError, match=r"truth.masks: expected \(2, 4, 3, 24, 24\), .* got \(1, 4, 3, 24, 24\)"):
        draw_tracks(frames, scene, Scene(masks=truth.masks[:1]))
    with pytest.raises(
        ValueError, match=r"scene.presence: expected \(2, 4, 4\), one for each frame and mask, got \(2, 4, 3"
    ):
        draw_tracks(frames, Scene(masks=masks, presence=truth.presence))
    with pytest.raises(
        ValueError, match="scene: expected a scene with presence, positions, box_sizes, identities, one of"
    ):
        draw_tracks(frames, Scene(masks=masks, positions=truth.positions))
    with pytest.raises(ValueError, match=r"masks: expected finite values in \[0, 1\], got -"):
        draw_tracks(frames, Scene(masks=masks.log()))
    with pytest.raises(ValueError, match=r"scene.masks: expected \(4, 'slots', 24, 24\), .* got \(2, 4, 4, 24, 24\)"):
        animate_tracks(tmp_path / "film.gif", frames[0], scene)
    assert not (tmp_path / "film.gif").exists()
    frames, found, true = scenes_of(videos, truth, scene)
    with pytest.raises(ValueError, match=r"true_masks: expected \(2, 'slots', 24, 24\), .* got \(2, 4, 3, 24, 24\)"):
        draw_scenes(frames, frames, found, None, truth.masks)
    with pytest.raises(
        ValueError, match=r"scene.presence: expected \(2, 4\), one for each frame and mask, got \(2, 3\)"
    ):
        draw_scenes(frames, frames, Scene(masks=found.masks, presence=truth.presence[:, 0]))
    with pytest.raises(ValueError, match="scene: expected presence, positions and box sizes, one of them is None"):
        draw_scenes(frames, frames, Scene(masks=found.masks, positions=truth.positions[:, 0]))
    with pytest.raises(
        ValueError, match="truth: expected no number of objects for a scene without presence, .*; leave it"
    ):
        draw_scenes(frames, frames, found, torch.tensor([2, 3]))
