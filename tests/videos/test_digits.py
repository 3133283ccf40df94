"""Digits from files, and scenes made of them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from videos import MovingDigits, StillDigits, load_digits, load_videos, save_videos
from videos.digits import (
    _CHECKSUMS,
    SPLITS,
    _downloaded,
    _from_mnist,
    _from_scikit_learn,
    cropped_to_ink,
    name_of_digits,
)
from videos.moving_digits import _without_replacement


@pytest.fixture(autouse=True)
def small_digits(monkeypatch):
    """Scenes of scikit-learn's digits, whatever is installed."""
    monkeypatch.setattr("videos.moving_digits.load_digits", lambda split, folder: _from_scikit_learn(split))


@pytest.fixture
def nothing_loaded(monkeypatch):
    """No digits in memory, none in the environment's folder; nothing stays behind."""
    monkeypatch.delenv("KINEMA_DATA", raising=False)
    for cached in (load_digits, _downloaded):
        cached.cache_clear()
    yield
    for cached in (load_digits, _downloaded):
        cached.cache_clear()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_cropping_moves_the_ink_to_the_corner_and_stretches_it():
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    images[0, 5:9, 20:28] = torch.arange(10, 42, dtype=torch.uint8).reshape(4, 8)
    images[1, 27, 0] = 3
    images[2] = 7  # flat: no ink that stands out
    digits = cropped_to_ink(images, torch.tensor([4, 2, 0]), "here")
    assert digits.sizes[:2].tolist() == [[4, 8], [1, 1]]
    assert digits.tiles[0, :4, :8].flatten()[-1] == 255
    assert digits.tiles[0, :4, :8].float().diff(dim=1).min() > 0
    assert digits.tiles[0].sum() == digits.tiles[0, :4, :8].sum()
    assert digits.tiles[1, 0, 0] == 255
    assert digits.tiles[1].sum() == 255


def test_splits_of_the_small_digits_share_nothing():
    parts = [_from_scikit_learn(split) for split in ("train", "validation", "test")]
    assert sum(len(part.labels) for part in parts) == 1797
    assert all(part.sizes.max() == 20 for part in parts)
    assert all(len(part.labels.unique()) == 10 for part in parts)


def test_mnist_is_read_and_split(data_folder):
    train, validation, test = (load_digits(split, data_folder / "mnist") for split in ("train", "validation", "test"))
    assert [len(part.labels) for part in (train, validation, test)] == [55_000, 5_000, 10_000]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert train.sizes.max() == 20
    raw = gzip.decompress((data_folder / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    first = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)[0]
    rows, columns = np.nonzero(first.any(1))[0], np.nonzero(first.any(0))[0]
    ink = first[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert test.sizes[0].tolist() == list(ink.shape)
    assert np.array_equal(test.tiles[0, : ink.shape[0], : ink.shape[1]].numpy() > 0, ink > 0)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected t10k-images-idx3-ubyte.gz in .*no such file"):
        _from_mnist("test", tmp_path)
    for content, words in ((gzip.compress(b"abc"), "another checksum"), (b"abc", "damaged")):
        (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(ValueError, match=words):
            _from_mnist("test", tmp_path)
    with pytest.raises(ValueError, match="split: expected one of train, validation, test, got 'tests'"):
        load_digits("tests")


def test_without_network_the_small_digits_are_used(nothing_loaded, caplog):
    sources = {load_digits(split).source for split in SPLITS}
    assert sources == {"scikit-learn's digits, enlarged"}
    assert name_of_digits() == "scikit-learn's digits"
    assert name_of_digits(Path("anywhere")) == "MNIST"  # or nothing: a given folder has no stand-in
    assert caplog.text.count("MNIST cannot be downloaded (tests do not download)") == 1


def test_a_download_is_checked(nothing_loaded, monkeypatch, tmp_path):
    import pooch

    def retrieve(url, known_hash, fname, path):
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(gzip.compress(b"not MNIST"))

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(ValueError, match="with another checksum; copy it again"):
        load_digits("train")
    assert len(list((tmp_path / "kinema" / "mnist").iterdir())) == len(_CHECKSUMS)


def test_choices_are_all_alike_and_without_repetition():
    chosen = _without_replacement(60_000, 3, 4, generator())
    assert bool((chosen.sort(1).values.diff(dim=1) > 0).all())
    counts = (chosen @ torch.tensor([16, 4, 1])).bincount(minlength=64)
    assert (counts > 0).sum() == 24
    assert (counts[counts > 0] / 60_000 - 1 / 24).abs().max() < 0.005


def boxes(videos):
    """Corner and size of each box, as drawn."""
    corner = (videos.positions - 0.5 * (videos.box_sizes - 1)).round()
    return corner, videos.box_sizes


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_scenes(scale):
    """Counts are uniform; digits lie inside, apart, and all ink is theirs."""
    simulator = StillDigits(digit_scale=scale)
    videos = simulator.simulate(3000, generator())
    counts = videos.presence.sum((1, 2))
    torch.testing.assert_close(counts.bincount() / 3000, torch.full((3,), 1 / 3), rtol=0, atol=0.03)
    corner, size = boxes(videos)
    present = videos.presence[..., None].expand_as(corner)
    assert bool((corner >= 0)[present].all())
    assert bool((corner + size <= 50)[present].all())
    both = counts == 2
    gap = torch.maximum(
        corner[both, 0, 0] - (corner + size)[both, 0, 1], corner[both, 0, 1] - (corner + size)[both, 0, 0]
    )
    assert bool((gap.amax(-1) >= 0).all())
    pixel = torch.arange(50)
    inside = (pixel >= corner[..., None]) & (pixel < (corner + size)[..., None])  # (n, 1, objects, xy, 50)
    covered = (inside[..., 1, :, None] & inside[..., 0, None, :] & videos.presence[..., None, None]).any(2)
    assert bool((videos.frames[:, :, 0][~covered] == 0).all())
    assert bool((videos.frames[counts > 0].amax((1, 2, 3, 4)) > 0.9).all())
    empty = counts == 0
    assert videos.frames[empty].abs().max() == 0
    assert videos.positions[empty].abs().max() == 0


def test_digits_move_as_written_and_the_brighter_is_on_top():
    simulator = MovingDigits(num_frames=6)
    videos = simulator.simulate(150, generator())
    place, velocity, acceleration = videos.state.reshape(150, 6, 2, 3, 2).unbind(-2)
    free = ((place[:, :-1] + velocity[:, :-1] > 0) & (place[:, :-1] + velocity[:, :-1] < 50)).all(-1)
    free &= videos.presence[:, 1:]
    torch.testing.assert_close(place[:, 1:][free], (place + velocity)[:, :-1][free])
    steady = (velocity[:, :-1] + acceleration[:, :-1]).clamp(-10, 10)
    torch.testing.assert_close(velocity[:, 1:][free], steady[free])
    assert (acceleration[:, 1:] - acceleration[:, :-1])[free].std() == pytest.approx(0.01, rel=0.1)
    assert velocity.abs().max() <= 10
    assert bool((place[videos.presence] >= 0).all() and (place[videos.presence] <= 50).all())
    # Each frame is the maximum of the frames of its digits alone.
    two = videos.presence.all((1, 2)).nonzero()[:3, 0]
    alone = [drawn_alone(simulator, index, digit) for index in two.tolist() for digit in (0, 1)]
    for row, index in enumerate(two.tolist()):
        assert torch.equal(torch.maximum(alone[2 * row], alone[2 * row + 1]), videos.frames[index])


def drawn_alone(simulator, index, digit):
    from videos import moving_digits

    original, kept = moving_digits._draw, []

    def draw(tiles, corner, presence, size):
        only = torch.zeros_like(presence)
        only[:, digit] = presence[:, digit]
        kept.append(original(tiles, corner, only, size)[index])
        return original(tiles, corner, presence, size)

    moving_digits._draw = draw
    try:
        simulator.simulate(150, generator())
    finally:
        moving_digits._draw = original
    return kept[0]


def test_digits_vanish_and_move_as_in_the_published_data():
    """Shares and steps measured on the generator of Kosiorek et al. 2018."""
    videos = MovingDigits().simulate(4000, generator())
    corner, size = boxes(videos)
    there = videos.presence
    seen = (50 - corner).clamp(min=0).minimum(size).prod(-1) / size.prod(-1).clamp(min=1)
    hidden = (seen == 0) & there
    assert hidden.sum() / there.sum() == pytest.approx(0.015, abs=0.003)
    assert ((seen < 0.5) & there).sum() / there.sum() == pytest.approx(0.23, abs=0.02)
    tracks = there.all(1)
    assert (hidden.any(1) & tracks).sum() / tracks.sum() == pytest.approx(0.14, abs=0.02)
    steps = (videos.positions[:, 1:] - videos.positions[:, :-1]).norm(dim=-1)[there[:, 1:]]
    assert steps.median() == pytest.approx(10, abs=0.15)
    assert steps.max() == pytest.approx(10 * 2**0.5, abs=0.05)


def test_a_file_keeps_everything(tmp_path):
    videos = MovingDigits(num_frames=3).simulate(5, generator())
    save_videos(tmp_path / "digits.npz", videos)
    again = load_videos(tmp_path / "digits.npz")
    for name in ("frames", "positions", "presence", "box_sizes", "labels", "state"):
        assert torch.equal(getattr(again, name), getattr(videos, name)), name


def test_wrong_settings_are_refused():
    for settings, words in (
        ({"size": 20}, "size: expected at least a digit's tile, 28 pixels, got 20"),
        ({"max_digits": 0}, "max_digits: expected a positive number, got 0"),
        ({"split": "all"}, "split: expected one of train, validation, test, got 'all'"),
    ):
        with pytest.raises(ValueError, match=words):
            StillDigits(**settings)
