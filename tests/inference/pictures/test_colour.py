"""Frames in colour in every picture; grey pictures are what they always were, byte for byte."""

import hashlib

import matplotlib
import numpy as np
import PIL
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from inference.pictures import (
    animate_tracks,
    draw_clip,
    draw_overlays,
    draw_scenes,
    draw_shaded_videos,
    draw_strips,
    draw_tracks,
    draw_trajectories,
    write_film,
)
from inference.pictures.films import BORDER, HEADER, SPACE
from inference.pictures.strips import shade
from pyro_models.components.scene import Scene
from videos import BackgroundSubtraction, Surveillance, synthetic_clip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


FRAMES, EXPECTED = (torch.rand(2, 6, 1, 9, 11, generator=generator(seed)) for seed in (0, 1))
OBSERVED = torch.arange(6) % 3 != 2
IDENTITIES = torch.tensor([[0, 1], [1, 0], [-1, 2], [0, 1], [0, 1], [3, 4]]).expand(2, 6, 2)
POSITIONS = 9 * torch.rand(2, 6, 2, 2, generator=generator(2))
SIZES = 2 + 2 * torch.rand(2, 6, 2, 2, generator=generator(3))
FOUND = Scene((IDENTITIES >= 0).float(), POSITIONS, SIZES, identities=IDENTITIES)
TRUE = Scene(torch.ones(2, 6, 2), POSITIONS + 0.5, SIZES)
PRESENT = torch.tensor([[True, True], [True, False]])


def first(scene):
    return Scene(**{name: value[0] for name, value in vars(scene).items() if value is not None})


def scenes(frames, expected):
    found = Scene(FOUND.presence[0], POSITIONS[0], SIZES[0])
    return draw_scenes(frames[0], expected[0], found, torch.tensor([2, 1, 1, 2, 2, 2]), columns=4)


def tracks(frames, expected):
    return draw_tracks(frames, FOUND, TRUE, OBSERVED.expand(2, 6), expected, every=2, title="a")


def trajectories(frames, expected):
    paths = {"truth": POSITIONS, "forecast": POSITIONS + 1}
    return draw_trajectories(frames, paths, PRESENT, OBSERVED.expand(2, 6))


FIGURES = {
    "strips": lambda frames, expected: draw_strips({"truth": frames[0], "smoothing": expected[0]}, OBSERVED, title="t"),
    "shaded": lambda frames, expected: draw_shaded_videos({"truth": frames[0], "draw": expected[0]}),
    "tracks": tracks,
    "tracks without objects": lambda frames, expected: draw_tracks(frames),
    "scenes": scenes,
    "trajectories": trajectories,
    "overlays": lambda frames, expected: draw_overlays(
        frames[0], {"forecast": expected[0], "interpolated": frames[0]}, OBSERVED
    ),
}
FILMS = {
    "film": lambda path, frames, expected: write_film(path, {"truth": frames[0], "smoothing": expected[0]}, OBSERVED),
    "tracks": lambda path, frames, expected: animate_tracks(
        path, frames[0], first(FOUND), first(TRUE), OBSERVED, expected[0]
    ),
}
# Recorded before frames could have colours.
PIXELS = {
    "strips": "3343cba9cd36f0c8",
    "shaded": "ad60e7b5d53dfac0",
    "tracks": "6974247d4dad953f",
    "tracks without objects": "1696d1f4fe430a61",
    "scenes": "97d638fa37af9790",
    "trajectories": "a13fc22e2884ba2f",
    "overlays": "666f72d4d668d44c",
}
BYTES = {"film": "7d76627141c13891", "tracks": "ceb7b3d7e2951c5d"}


def pixels_of(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def digest(content):
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.mark.skipif(matplotlib.__version__ != "3.11.2", reason="recorded with matplotlib 3.11.2")
@pytest.mark.parametrize("name", FIGURES)
def test_grey_figures_are_what_they_always_were(name):
    assert digest(pixels_of(FIGURES[name](FRAMES, EXPECTED)).tobytes()) == PIXELS[name]


@pytest.mark.skipif(PIL.__version__ != "13.0.0", reason="recorded with Pillow 13.0.0")
@pytest.mark.parametrize("name", FILMS)
def test_grey_films_are_what_they_always_were(name, tmp_path):
    assert digest(FILMS[name](tmp_path / "film.gif", FRAMES, EXPECTED).read_bytes()) == BYTES[name]


def in_three(frames):
    """The same grey frames as red, green and blue."""
    return frames.expand(*frames.shape[:-3], 3, -1, -1)


# Colours of time are another matter: see below.
@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"shaded"}))
def test_grey_in_three_channels_is_grey(name):
    grey = pixels_of(FIGURES[name](FRAMES, EXPECTED)).astype(int)
    three = pixels_of(FIGURES[name](in_three(FRAMES), in_three(EXPECTED)))
    assert np.ptp(grey) > 200
    # matplotlib's map of greys rounds 256 x down, and colours are 255 x to the nearest
    assert np.abs(three - grey).max() <= (1 if name == "scenes" else 0)


@pytest.mark.parametrize("name", FILMS)
def test_a_film_in_three_grey_channels_is_grey(name, tmp_path):
    grey = FILMS[name](tmp_path / "grey.gif", FRAMES, EXPECTED).read_bytes()
    assert FILMS[name](tmp_path / "three.gif", in_three(FRAMES), in_three(EXPECTED)).read_bytes() == grey


COLOURED = torch.rand(2, 6, 3, 9, 11, generator=generator(4))


def images_of(figure):
    return [torch.as_tensor(np.asarray(image.get_array())) for axes in figure.axes for image in axes.images]


def test_figures_of_frames_show_their_colours():
    expected = COLOURED.flip(0)
    as_shown = COLOURED.movedim(2, -1)
    strips = images_of(FIGURES["strips"](COLOURED, expected))
    torch.testing.assert_close(torch.stack(strips), torch.cat([as_shown[0], as_shown[1]]))
    found = images_of(FIGURES["scenes"](COLOURED, expected))
    # four columns: frames 1 to 4, what is expected of them, then the other two
    order = torch.stack([*as_shown[0, :4], *as_shown[1, :4], *as_shown[0, 4:], *as_shown[1, 4:]])
    torch.testing.assert_close(torch.stack(found), order)
    torch.testing.assert_close(torch.stack(images_of(draw_tracks(COLOURED))), as_shown.flatten(0, 1))


def test_films_show_colours(tmp_path):
    video = torch.zeros(2, 3, 9, 11)
    video[:, 0, :, :4], video[:, 1, :, 4:8], video[1, 2, :, 8:] = 1, 1, 1
    path = write_film(tmp_path / "film.gif", {"truth": video, "grey": torch.ones(2, 1, 9, 11)}, scale=5)
    with Image.open(path) as film:
        film.seek(1)
        page = np.asarray(film.convert("RGB")).astype(int)
    row = page[HEADER + BORDER + 20, SPACE + BORDER :]
    colours = [row[5 * column + 2].tolist() for column in (1, 6, 9)]
    assert colours == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert row[11 * 5 + 2 * BORDER + SPACE + 20].tolist() == [255, 255, 255]


def test_paths_and_overlays_show_the_largest_channel():
    bright = COLOURED.amax(2, keepdim=True)
    assert (bright - COLOURED[:, :, :1]).max() > 0.5
    for name in ("trajectories", "overlays"):
        grey = pixels_of(FIGURES[name](bright, bright.flip(0)))
        assert np.array_equal(pixels_of(FIGURES[name](COLOURED, COLOURED.flip(0))), grey), name


def test_shades_of_a_coloured_video_lie_over_its_background():
    video = torch.zeros(5, 3, 4, 6)
    video[:, 2] = 0.8  # a blue ground, as bright as what moves over it
    for time in range(5):
        video[time, :, 1, time] = torch.tensor([0.8, 0.0, 0.0])
    image = shade(video)
    ground = image[3, 5]
    assert torch.equal(ground, ground[0].expand(3))
    for time in range(5):
        assert (image[1, time] - ground).abs().max() > 0.2
    brightness = image[1, :5].sum(-1)
    assert (brightness.diff() < 0).all()  # later is darker
    assert torch.equal(image[2], ground.expand(6, 3))


def test_the_window_of_a_clip_may_have_colours():
    clip = synthetic_clip(generator(), num_frames=70, height=90, width=120)
    source = Surveillance(
        clip, BackgroundSubtraction(warm_up=40, width=120, height=90, stride=2), size=40, num_frames=3
    )
    videos = source.simulate(2, generator())
    coloured = type(videos)(**(vars(videos) | {"frames": torch.rand(2, 3, 3, 40, 40)}))
    panels = draw_clip(source, coloured, 1).axes[9:12]
    shown = torch.stack([torch.as_tensor(np.asarray(axes.images[0].get_array())) for axes in panels])
    torch.testing.assert_close(shown, coloured.frames[1].movedim(1, -1))


def test_scenes_may_lack_the_channel():
    """As they are called for grey frames."""
    flat = pixels_of(scenes(FRAMES[:, :, 0], EXPECTED[:, :, 0]))
    assert np.array_equal(flat, pixels_of(scenes(FRAMES, EXPECTED)))


def test_other_channels_are_refused_by_name():
    two, last = COLOURED[:, :, :2], COLOURED.movedim(2, -1)
    for frames in (two, last):
        words = (
            rf"expected 1 channel \(grey\) or 3 .*, got {frames.shape[2]} in .*; channels come before height and width"
        )
        with pytest.raises(ValueError, match="frames: " + words):
            draw_tracks(frames)
        with pytest.raises(ValueError, match="frames: " + words):
            trajectories(frames, frames)
        with pytest.raises(ValueError, match="truth: " + words):
            draw_overlays(frames[0], {"forecast": frames[0]}, OBSERVED)
        with pytest.raises(ValueError, match="frames: " + words):
            scenes(frames, frames)
        with pytest.raises(ValueError, match=r"videos: expected one shape .* with 1 or 3 channels, got \(6, "):
            draw_strips({"truth": frames[0]})
    with pytest.raises(
        ValueError, match=r"frames: expected \(sequences, time, channels, height, width\), got \(6, 3, 9"
    ):
        trajectories(COLOURED[0], None)
    with pytest.raises(ValueError, match=r"truth: expected \(time, channels, height, width\), got \(2, 6, 3, 9, 11\)"):
        draw_overlays(COLOURED, {"forecast": COLOURED}, OBSERVED)
    with pytest.raises(
        ValueError, match=r"reconstructions: expected the shape of frames, \(6, 3, 9, 11\), got \(6, 1, 9"
    ):
        scenes(COLOURED, EXPECTED)
    with pytest.raises(
        ValueError, match=r"videos: expected one shape .* got \(6, 1, 9, 10\) for 'b' beside \(6, 3, 9, 11\)"
    ):
        draw_strips({"a": COLOURED[0], "b": FRAMES[0, ..., 1:]})
