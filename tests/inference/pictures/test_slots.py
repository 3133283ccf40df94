"""Slots apart: black is told from nothing, a slot has the colour of its mask, and shapes are checked."""

import jaxtyping
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from inference.pictures import animate_slots, draw_latent_walk, draw_slots, paint_masks
from inference.pictures.slots import SHADES, show_slots, slot_panels
from inference.pictures.theme import IDENTITIES, MISSING
from inference.queries.latent_walks import LatentWalk
from pyro_models.components.scene import Decomposition

TIME, SLOTS, HEIGHT, WIDTH = 3, 2, 8, 16


def halves(channels=1):
    """A black slot on the left, a white one on the right, which share the middle."""
    masks = torch.zeros(TIME, SLOTS, HEIGHT, WIDTH)
    masks[:, 0, :, :7], masks[:, 1, :, 9:], masks[..., 7:9] = 1.0, 1.0, 0.5
    means = torch.tensor([-0.5, 1.0])[:, None, None, None].expand(TIME, SLOTS, channels, HEIGHT, WIDTH)
    return Decomposition(means, masks)


def test_a_slot_lies_on_a_chequerboard_where_its_mask_is_0():
    black, white = show_slots(halves())[0, :, 0]
    assert (black[:, :7] == 0).all()
    assert (white[:, 9:] == 1).all()
    board = torch.tensor(SHADES)
    for rest in (black[:, 9:], white[:, :7]):
        torch.testing.assert_close(rest.unique(), board)
    # squares of an eighth of the longer side alternate both ways
    assert white[0, 0] == white[1, 1] == white[2, 2] == white[0, 4] == SHADES[0]
    assert white[0, 2] == white[2, 0] == SHADES[1]
    torch.testing.assert_close(white[0, 7:9], 0.5 + 0.5 * torch.tensor([SHADES[1], SHADES[0]]))


def test_panels_are_the_video_its_reconstruction_masks_and_slots():
    frames, parts = torch.rand(TIME, 1, HEIGHT, WIDTH), halves()
    videos, outlines = slot_panels(frames, parts)
    assert list(videos) == ["frames", "expected", "masks", "slot 1", "slot 2"]
    assert outlines == {"slot 1": IDENTITIES[0], "slot 2": IDENTITIES[1]}
    torch.testing.assert_close(videos["expected"][0, 0, 0, [0, 7, 15]], torch.tensor([-0.5, 0.25, 1.0]))
    torch.testing.assert_close(videos["masks"], paint_masks(parts.masks))
    torch.testing.assert_close(videos["slot 2"], show_slots(parts)[:, 1])
    assert slot_panels(frames, parts, frames).videos["expected"] is frames


@pytest.mark.parametrize("channels", [1, 3])
def test_a_figure_has_a_row_for_each(channels):
    frames = torch.rand(TIME, channels, HEIGHT, WIDTH)
    figure = draw_slots(frames, halves(channels), torch.tensor([True, False, True]), every=2, title="one video")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["frames", "expected", "masks", "slot 1", "slot 2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3"]
    edges = [to_hex(patch.get_edgecolor()).upper() for patch in axes.patches]
    assert edges[6:] == [IDENTITIES[0]] * 2 + [IDENTITIES[1]] * 2
    assert MISSING not in edges
    edges = [to_hex(patch.get_edgecolor()).upper() for patch in draw_slots(*_one_missing()).axes[0].patches]
    assert [colour == MISSING for colour in edges] == 3 * [False, True, False] + 6 * [False]
    long = Decomposition(torch.rand(40, 2, 1, 4, 4), torch.full((40, 2, 4, 4), 0.5))
    columns = draw_slots(torch.rand(40, 1, 4, 4), long).axes[0].get_xticklabels()
    assert [label.get_text() for label in columns] == [str(number) for number in range(1, 41, 4)]


def _one_missing():
    return torch.rand(TIME, 1, HEIGHT, WIDTH), halves(), torch.tensor([True, False, True])


def test_a_film_has_all_panels_and_shrinks_where_there_are_many(tmp_path):
    frames = torch.linspace(0, 1, TIME)[:, None, None, None].expand(TIME, 1, HEIGHT, WIDTH)
    with Image.open(animate_slots(tmp_path / "deep" / "slots.gif", frames, halves(), scale=2)) as film:
        assert film.n_frames == TIME
        page = np.asarray(film.convert("RGB")).astype(int)
    for colour in IDENTITIES[:2]:
        wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
        assert (np.abs(page - wanted).max(-1) < 8).any()
    many = Decomposition(torch.rand(1, 20, 1, 8, 32), torch.full((1, 20, 8, 32), 0.05))
    with Image.open(animate_slots(tmp_path / "many.gif", torch.rand(1, 1, 8, 32), many)) as film:
        assert film.size[0] < 23 * (32 + 50)


def test_a_walk_has_a_row_for_each_entry_and_a_column_for_each_place():
    parts = Decomposition(torch.rand(2, 3, SLOTS, 1, 4, 4), torch.full((2, 3, SLOTS, 4, 4), 0.5))
    walk = LatentWalk("z_1", 1, (4, 0), torch.tensor([3.219, 0.5]), torch.tensor([-2.5, 0.0, 2.5]), parts)
    (axes,) = draw_latent_walk(walk, title="one slot").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["z_1[5], 3.22 nats", "z_1[1], 0.50 nats"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-2.5", "0", "+2.5"]
    assert "standard deviations of the prior" in axes.get_xlabel()
    shown = torch.as_tensor(np.stack([image.get_array() for image in axes.images]))[..., 0]
    torch.testing.assert_close(shown, parts.composite.flatten(0, 2))
    (axes,) = draw_latent_walk(walk, alone=True).axes
    assert [label.get_text() for label in axes.get_yticklabels()][1::2] == ["slot 2, z_1[5]", "slot 2, z_1[1]"]
    shown = torch.as_tensor(np.stack([image.get_array() for image in axes.images]))[3:6, ..., 0]
    torch.testing.assert_close(shown, show_slots(parts)[0, :, 1, 0])


def test_wrong_shapes_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # annotations are checked in the tests alone
    frames, parts = torch.rand(TIME, 1, HEIGHT, WIDTH), halves()
    with pytest.raises(ValueError, match=r"decomposition.means: expected \(3, 2, 1, 8, 16\), .* got \(2, 2, 1, 8"):
        draw_slots(frames, Decomposition(parts.means[:2], parts.masks[:2]))
    with pytest.raises(ValueError, match=r"decomposition.means: .* \(1, 3, 2, 1, 8, 16\); select one video"):
        animate_slots(tmp_path / "slots.gif", frames, Decomposition(parts.means[None], parts.masks[None]))
    with pytest.raises(ValueError, match=r"decomposition.masks: expected \(3, 2, 8, 16\), .* got \(3, 1, 8, 16\)"):
        draw_slots(frames, Decomposition(parts.means, parts.masks[:, :1]))
    with pytest.raises(ValueError, match=r"masks: expected finite values in \[0, 1\], got .* the softmax of logits"):
        draw_slots(frames, Decomposition(parts.means, 4 * parts.masks))
    with pytest.raises(ValueError, match="every: expected at least 1, got 0"):
        draw_slots(frames, parts, every=0)
    with pytest.raises(ValueError, match="scale: expected at least 1, got 0"):
        animate_slots(tmp_path / "slots.gif", frames, parts, scale=0)
    assert not list(tmp_path.iterdir())
