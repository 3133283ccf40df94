"""The authors' files, with truth moved to its frames; our own files, unchanged; foreign and broken ones by name."""

import logging

import numpy as np
import pytest
import torch

from videos import BoxWorld, GravityWorld, Pendulum, PolygonWorld, VideoBatch, load_videos, save_videos

FIELDS = ("frames", "observed", "controls", "positions", "velocities", "state", "hits", "masks")


def write_as_the_authors_do(path, videos: VideoBatch) -> None:
    """One frame more than is kept, so that state[:, t] can belong to frame t + 1."""
    np.savez(path, images=videos.frames[:, :-1, 0].numpy(), state=videos.state[:, 1:].numpy())


@pytest.mark.parametrize("world", [BoxWorld, GravityWorld])
def test_the_authors_layout_comes_back_aligned(tmp_path, world):
    videos = world(num_frames=21).simulate(200, torch.Generator().manual_seed(0))
    write_as_the_authors_do(tmp_path / "videos.npz", videos)
    loaded = load_videos(tmp_path / "videos.npz")
    assert loaded.num_frames == 20
    # The truth of frame 0 is not in the file; it is recovered, also where the first step is a bounce.
    assert videos.hits[:, 1].any()
    for name in ("frames", "positions", "velocities", "state"):
        torch.testing.assert_close(getattr(loaded, name), getattr(videos, name)[:, :20], rtol=0, atol=2e-4)
    assert torch.equal(loaded.hits, videos.hits[:, :20])


def test_oblique_first_bounces_are_recovered_within_a_pixel(tmp_path):
    # Towards the upper left wall of the polygon, aslant, so that the first step ends in it.
    along = torch.linspace(0.3, 0.7, 8).double()[:, None]
    on_wall = torch.tensor([1.0, 15.0]).double() * (1 - along) + torch.tensor([8.0, 30.0]).double() * along
    inwards = torch.tensor([15.0, -7.0]).double() / 274**0.5
    velocity = torch.tensor([-14.0, 0.0]).double().expand(8, 2)
    initial = torch.cat([on_wall + 4.5 * inwards, velocity], -1)
    videos = PolygonWorld(num_frames=21).roll_out(initial)
    assert videos.hits[:, 1].all()
    write_as_the_authors_do(tmp_path / "videos.npz", videos)
    loaded = load_videos(tmp_path / "videos.npz")
    assert (loaded.positions[:, 0] - videos.positions[:, 0]).abs().max() < 1
    torch.testing.assert_close(loaded.positions[:, 1:], videos.positions[:, 1:20], rtol=0, atol=1e-5)


def test_sequences_that_leave_the_box_are_dropped(tmp_path, caplog):
    initial = GravityWorld()._draw_initial(1000, torch.Generator().manual_seed(0))
    videos = GravityWorld(num_frames=21).roll_out(initial)
    stays = ((videos.state[:, 1:, :2] >= 2) & (videos.state[:, 1:, :2] <= 30)).all(-1).all(-1)
    assert 0 < int((~stays).sum()) < 30
    write_as_the_authors_do(tmp_path / "videos.npz", videos)
    with caplog.at_level(logging.INFO, logger="videos.files"):
        loaded = load_videos(tmp_path / "videos.npz")
    assert torch.equal(loaded.frames, videos.frames[stays, :20])
    assert f"{int((~stays).sum())} of 1000 sequences dropped" in caplog.text


@pytest.mark.parametrize("name", ["box", "box_gravity", "polygon"])
def test_the_authors_files_are_read(data_folder, name):
    path = data_folder / "kvae" / f"{name}_test.npz"
    state = torch.from_numpy(np.load(path)["state"])
    if name == "box_gravity":
        state = state[((state[..., :2] >= 2) & (state[..., :2] <= 30)).all(-1).all(-1)]
        assert 980 < len(state) < 1000
    videos = load_videos(path)
    assert videos.frames.shape == (len(state), 20, 1, 32, 32)
    assert videos.frames.dtype == torch.float32
    assert torch.equal(videos.state[:, 1:], state[:, :-1])
    # Truth and pictures agree in every frame: the pixel of the ball's centre is lit.
    columns, rows = videos.positions[:, :, 0].round().long().clamp(0, 31).unbind(-1)
    lit = videos.frames[:, :, 0].flatten(2).gather(2, (32 * rows + columns)[..., None])
    assert lit.mean() > 0.999


def test_grey_values_are_read_as_the_authors_read_them(tmp_path):
    grey = np.array([0.0, 0.25, 1.0], dtype=np.float32).reshape(1, 1, 1, 3)
    np.savez(tmp_path / "pong.npz", images=grey, controls=np.array([None, None], dtype=object))
    videos = load_videos(tmp_path / "pong.npz")
    assert videos.frames.tolist() == [[[[[0.0, 1.0, 1.0]]]]]
    assert videos.controls is None
    assert videos.state is None


@pytest.mark.parametrize(
    "simulator",
    [BoxWorld(num_frames=7), Pendulum(num_frames=7), BoxWorld(num_frames=7, masks=True)],
    ids=["binary", "grey", "masks"],
)
def test_our_own_files_come_back_unchanged(tmp_path, simulator):
    videos = simulator.simulate(5, torch.Generator().manual_seed(0)).with_observed(torch.rand(5, 7) > 0.5)
    save_videos(tmp_path / "videos.npz", videos)
    loaded = load_videos(tmp_path / "videos.npz")
    assert (loaded.masks is not None) == simulator.masks
    for name in FIELDS:
        first, second = getattr(videos, name), getattr(loaded, name)
        assert (first is None) == (second is None)
        if first is not None:
            assert first.dtype == second.dtype
            assert torch.equal(first, second)
    assert [path.name for path in tmp_path.iterdir()] == ["videos.npz"]


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    videos = BoxWorld(num_frames=7).simulate(5, torch.Generator().manual_seed(0))
    save_videos(tmp_path / "videos.npz", videos)

    def full_disk(stream, **arrays):
        stream.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_videos(tmp_path / "videos.npz", videos)
    assert torch.equal(load_videos(tmp_path / "videos.npz").frames, videos.frames)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"path: expected an .npz file of videos, .*, got .*none.npz, which is not there"
    ):
        load_videos(tmp_path / "none.npz")


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_truncated_files_are_named(tmp_path, keep):
    videos = BoxWorld(num_frames=7).simulate(20, torch.Generator().manual_seed(0))
    save_videos(tmp_path / "whole.npz", videos)
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=r"path: .* got .*cut.npz, which cannot be read \(.*\); it is truncated"):
        load_videos(tmp_path / "cut.npz")


def test_damaged_files_are_named(tmp_path):
    videos = BoxWorld(num_frames=7).simulate(20, torch.Generator().manual_seed(0))
    save_videos(tmp_path / "whole.npz", videos)
    content = bytearray((tmp_path / "whole.npz").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "hurt.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"path: .* got .*hurt.npz, which cannot be read"):
        load_videos(tmp_path / "hurt.npz")


def test_foreign_files_are_named(tmp_path):
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(ValueError, match=r"path: .* got .*text.npz, which cannot be read"):
        load_videos(tmp_path / "text.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"path: expected one array .* got .*array.npy with none"):
        load_videos(tmp_path / "array.npy")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(
        ValueError,
        match=r"path: expected one array .* got .*other.npz with none; save one of them alone, or call it `frames`",
    ):
        load_videos(tmp_path / "other.npz")


def test_arrays_of_other_shapes_are_named(tmp_path):
    np.savez(tmp_path / "flat.npz", images=np.zeros((5, 7, 64)), state=np.zeros((5, 7, 4)))
    with pytest.raises(
        ValueError, match=r"images: expected \(sequences, time, height, width\), got \(5, 7, 64\) in .*flat.npz"
    ):
        load_videos(tmp_path / "flat.npz")
    np.savez(tmp_path / "state.npz", images=np.zeros((5, 7, 8, 8)), state=np.zeros((5, 6, 4)))
    with pytest.raises(
        ValueError, match=r"state: expected \(sequences, time, 4\) = \(5, 7, 4\), got \(5, 6, 4\) in .*state.npz"
    ):
        load_videos(tmp_path / "state.npz")
