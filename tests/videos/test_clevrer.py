"""Files in CLEVRER's layout: crops, sizes, alignment with annotations, slices; damaged and missing files."""

import json

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from videos import ClevrerClips, FixedVideos, TabletopScenes, VideoSource, load_clevrer
from videos.tabletop import COLORS, MATERIALS, SHAPES, kind_label

NAMES = [(shape, material, color) for color in COLORS for material in MATERIALS for shape in SHAPES]


def write_film(path, frames):
    """An mp4 file of frames (time, 320, 320, 3) in [0, 1] between a red and a blue border of 80 pixels each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (480, 320))
    for frame in frames:
        wide = np.zeros((320, 480, 3), dtype=np.uint8)
        wide[:, 80:400] = np.round(255 * frame)
        wide[:, :80, 0] = wide[:, 400:, 2] = 255
        writer.write(cv2.cvtColor(wide, cv2.COLOR_RGB2BGR))
    writer.release()


def frame_objects(number, num_objects, in_view):
    return [
        {
            "object_id": index,
            "location": [float(number), float(index), 0.2],
            "orientation": [0.0, 0.0, 0.01 * number],
            "velocity": [0.5, -0.25, 0.0],
            "angular_velocity": [0.0, 0.0, 0.0],
            "inside_camera_view": bool(in_view[index]),
        }
        for index in range(num_objects)
    ]


def write_annotation(path, num_objects, in_view, collisions=()):
    """An annotation whose objects are seen where `in_view(frame)` says, one truth value for each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    properties = [
        {"object_id": index, "shape": shape, "material": material, "color": color}
        for index, (shape, material, color) in enumerate(NAMES[3 : 3 + num_objects])
    ]
    motion = [
        {"frame_id": number, "objects": frame_objects(number, num_objects, in_view(number))} for number in range(128)
    ]
    events = [{"frame_id": number, "object_ids": [0, 1], "location": [0.0, 0.0, 0.2]} for number in collisions]
    note = {"object_property": properties[::-1], "motion_trajectory": motion, "collision": events}
    path.write_text(json.dumps(note))


@pytest.fixture(scope="module")
def scenes():
    """Three videos of 128 frames, (3, 128, 3, 64, 64), with a white cell at a place that tells the frame's number."""
    world = TabletopScenes(num_frames=128, size=64, supersampled=False)
    frames = 0.7 * world.simulate(3, torch.Generator().manual_seed(0)).frames
    for number in range(128):
        row, column = 4 * (number // 16), 4 * (number % 16)
        frames[:, number, :, row : row + 4, column : column + 4] = 1.0
    return frames


def frame_numbers(frames):
    """Numbers of frames (*batch, 3, 64, 64), read off their white cells."""
    cells = avg_pool2d(frames.flatten(0, -4).amin(1), 4)[:, :8]
    return cells.flatten(1).argmax(1).unflatten(0, frames.shape[:-3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, scenes):
    """Two training videos and three annotated ones: with 3, 4 and 2 objects."""
    root = tmp_path_factory.mktemp("clevrer")
    large = [interpolate(video, 320).movedim(1, -1).numpy() for video in scenes]
    write_film(root / "video_train/video_00000-01000/video_00007.mp4", large[0])
    write_film(root / "video_train/video_01000-02000/video_01001.mp4", large[1])
    (root / "video_train/video_00000-01000/video_00007_copy.mp4").write_bytes(b"not a video of the set")
    for number, video in zip((10000, 10001, 11000), (2, 0, 1), strict=True):
        part = f"{number // 1000 * 1000}-{number // 1000 * 1000 + 1000}"
        write_film(root / f"video_validation/video_{part}/video_{number}.mp4", large[video])
    part = root / "annotation_validation/annotation_10000-11000"
    # all three are in view in frames 20 ... 69, and again at the end
    write_annotation(
        part / "annotation_10000.json",
        3,
        lambda frame: [True, frame >= 20, not 70 <= frame < 80],
        collisions=(19, 20, 25, 64),
    )
    write_annotation(part / "annotation_10001.json", 4, lambda frame: [True, True, True, frame >= 88])  # 40 frames
    write_annotation(
        root / "annotation_validation/annotation_11000-12000/annotation_11000.json", 2, lambda frame: [True, True]
    )
    return root


def test_training_videos_are_cut_into_successive_sequences(folder, scenes):
    videos = load_clevrer(folder, "train", 20)
    assert videos.frames.shape == (12, 20, 3, 64, 64)
    expected = scenes[:2, :120].reshape(12, 20, 3, 64, 64)
    error = (videos.frames - expected).abs()
    assert error.mean() < 0.02
    assert error[..., :2].mean() < 0.04  # the red and blue borders are cut off
    assert error[..., -2:].mean() < 0.04
    assert frame_numbers(videos.frames).tolist() == torch.arange(120).reshape(6, 20).repeat(2, 1).tolist()
    assert videos.state[:, :, 0].unique().tolist() == [7, 1001]
    assert videos.state[:6, :, 1].flatten().tolist() == list(range(120))
    assert videos.state[6:, 0].tolist() == [[1001, 20 * clip] for clip in range(6)]
    assert videos.masks is None
    assert videos.presence is None


def test_frames_are_cropped_to_the_middle_and_averaged(folder, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (128, 320, 480, 3), dtype=np.uint8)
    monkeypatch.setattr("videos.clevrer.files.read_frames", lambda path: iter(noise))
    square = torch.from_numpy(noise[:, :, 80:400]).movedim(-1, 1) / 255.0
    for size in (64, 32, 24, 320):
        frames = load_clevrer(folder, "train", 128, size=size, numbers=[7]).frames
        assert frames.shape == (1, 128, 3, size, size)
        # cv2 weighs the pixels that two new pixels share, where interpolate takes them whole
        expected = avg_pool2d(interpolate(square[:9], 3 * 320), 40) if size == 24 else avg_pool2d(square, 320 // size)
        assert (frames[0, : len(expected)] - expected).abs().max() < 0.51 / 255


def test_batches_from_disk_are_those_of_videos_in_memory(folder, tmp_path):
    clips = ClevrerClips(folder, 20, batch_size=5, seed=3, size=24)
    fixed = FixedVideos(load_clevrer(folder, "train", 20, size=24), 5, seed=3)
    assert isinstance(clips, VideoSource)
    assert clips.steps_per_epoch == fixed.steps_per_epoch == 2
    for step in (0, 3, 1):
        one, other = clips.batch(step), fixed.batch(step)
        assert torch.equal(one.frames, other.frames)
        assert torch.equal(one.state, other.state)
    assert not torch.equal(clips.batch(0).frames, ClevrerClips(folder, 20, 5, seed=4, size=24).batch(0).frames)
    part = ClevrerClips(folder, 64, 2, seed=0, size=24, numbers=[1001])
    assert part.batch(0).state[:, 0].tolist() in ([[1001, 0], [1001, 64]], [[1001, 64], [1001, 0]])
    with pytest.raises(ValueError, match="batch_size: expected 1 to the number of videos = 12, got 13"):
        ClevrerClips(folder, 20, 13, seed=0)
    with pytest.raises(ValueError, match="num_frames: expected 1 to 128, .* got 129"):
        ClevrerClips(folder, 129, 1, seed=0)
    with pytest.raises(FileNotFoundError, match="download video_train.zip"):
        ClevrerClips(tmp_path, 20, 1, seed=0)


def test_a_test_sequence_starts_when_all_objects_are_in_view(folder, scenes):
    videos = load_clevrer(folder, "test", 30)
    assert videos.frames.shape == (2, 30, 3, 64, 64)
    assert videos.state[:, 0, :2].tolist() == [[10000, 20], [10001, 88]]
    for sequence, video in enumerate((2, 0)):
        start = (20, 88)[sequence]
        assert frame_numbers(videos.frames[sequence]).tolist() == list(range(start, start + 30))
        assert (videos.frames[sequence] - scenes[video, start : start + 30]).abs().mean() < 0.02
    # frame_id i of the annotation goes with frame i of the file
    objects = videos.state[..., 2:].unflatten(-1, (5, 9))
    assert objects[0, :, 0, 0].tolist() == list(range(20, 50))
    assert objects[1, 3, :4, :3].tolist() == [[91.0, float(index), pytest.approx(0.2)] for index in range(4)]
    assert objects[0, 5, 1, 3:].tolist() == pytest.approx([0.0, 0.0, 0.25, 0.5, -0.25, 0.0])
    assert videos.hits[0].nonzero().flatten().tolist() == [0, 5]
    assert not videos.hits[1].any()


def test_slots_hold_objects_by_their_number(folder):
    videos = load_clevrer(folder, "test", 10)
    assert videos.presence[:, 0].tolist() == [[True] * 3 + [False] * 2, [True] * 4 + [False]]
    assert videos.labels[1, 0].tolist() == [*(kind_label(*name) for name in NAMES[3:7]), 0]
    assert len(set(videos.labels[1, 0, :4].tolist())) == 4
    assert (videos.labels == videos.labels[:, :1]).all()
    assert not videos.state[..., 2:].unflatten(-1, (5, 9))[~videos.presence].any()


def test_buckets_by_number_of_objects(folder):
    two = load_clevrer(folder, "test", 40, num_objects=(2, 2), size=24)
    assert two.state[:, 0, :2].tolist() == [[11000, 0]]
    assert two.presence.shape == (1, 40, 2)
    assert load_clevrer(folder, "test", 40, num_objects=(4, 6), size=24).presence.shape == (1, 40, 6)
    assert load_clevrer(folder, "test", 41, least_frames=41, size=24).num_sequences == 1  # 40 frames are too few now
    assert load_clevrer(folder, "test", 8, numbers=[10001], size=24).state[0, 0, 0] == 10001
    with pytest.raises(
        ValueError,
        match=r"num_objects: expected videos with 6 to 6 objects .* least_frames = 40 frames, got none among 3 videos "
        r"\(1 with 2, 1 with 3, 1 with 4\); ask",
    ):
        load_clevrer(folder, "test", 40, num_objects=(6, 6))
    with pytest.raises(ValueError, match="least_frames = 51 frames, got none"):
        load_clevrer(folder, "test", 40, num_objects=(3, 4), least_frames=51)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "validation"}, "split: expected 'train' or 'test', .* got 'validation'; hold out videos"),
        ({"num_frames": 0}, "num_frames: expected 1 to 128, as in the published videos, got 0; take another"),
        ({"num_frames": 129}, "num_frames: expected 1 to 128, .* got 129"),
        ({"size": 321}, "size: expected 1 to 320, .* got 321"),
        ({"size": -1}, "size: expected 1 to 320, .* got -1"),
        ({"split": "test", "num_frames": 50}, "least_frames: expected num_frames = 50 to 128, got 40; ask for shorter"),
        (
            {"split": "test", "num_objects": (5, 3)},
            r"num_objects: expected \(smallest, .*, got \(5, 3\); for one number",
        ),
        ({"split": "test", "num_objects": (0, 3)}, r"num_objects: expected \(smallest, .*, got \(0, 3\)"),
    ],
)
def test_wrong_settings_are_refused(folder, settings, message):
    with pytest.raises(ValueError, match=message):
        load_clevrer(folder, **{"split": "train", "num_frames": 20, **settings})


def test_what_is_missing_is_named_and_where_it_goes(folder, tmp_path):
    download = "download {0}.zip from http://clevrer.csail.mit.edu, unpack it into a folder {0}, and give the folder"
    with pytest.raises(
        FileNotFoundError,
        match=r"expected files video_\*.mp4 in .*video_train, got 0 .* " + download.format("video_train"),
    ):
        load_clevrer(tmp_path, "train", 20)
    with pytest.raises(FileNotFoundError, match="video_train"):
        load_clevrer(folder / "video_train", "train", 20)  # the folder within
    with pytest.raises(FileNotFoundError, match=download.format("video_validation")):
        load_clevrer(tmp_path / "nowhere", "test", 20)
    with pytest.raises(FileNotFoundError, match=r"expected video_00008.mp4 \(and 2 more\) in .*, got 2 files"):
        load_clevrer(folder, "train", 20, numbers=range(7, 11))
    with pytest.raises(FileNotFoundError, match=r"expected files video_\*.mp4"):
        load_clevrer(folder, "train", 20, numbers=[])


def linked(folder, tmp_path, *names):
    """The folder with only some of its parts."""
    for name in names:
        (tmp_path / name).symlink_to(folder / name)
    return tmp_path


def test_missing_annotations_are_named(folder, tmp_path):
    root = linked(folder, tmp_path, "video_validation")
    with pytest.raises(
        FileNotFoundError,
        match=r"expected annotation_10000.json \(and 2 more\) in .*annotation_validation, got 0 .* "
        r"annotation_validation.zip",
    ):
        load_clevrer(root, "test", 20)


def test_damaged_videos_are_refused(folder, tmp_path):
    whole = (folder / "video_train/video_00000-01000/video_00007.mp4").read_bytes()
    path = tmp_path / "video_train/video_00003.mp4"
    path.parent.mkdir()
    for damaged in (b"", whole[: len(whole) // 2], b"not a video"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"clip: expected .*video_00003.mp4"):
            load_clevrer(tmp_path, "train", 20)
    write_film(path, np.zeros((125, 320, 320, 3)))
    with pytest.raises(ValueError, match=r"folder: expected 128 frames in .*video_00003.mp4, got 125; the file is"):
        load_clevrer(tmp_path, "train", 20)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (64, 64))
    for _ in range(128):
        writer.write(np.zeros((64, 64, 3), dtype=np.uint8))
    writer.release()
    with pytest.raises(
        ValueError, match=r"expected frames of 480 x 320 pixels, got 64 x 64 in .*video_00003.mp4; take"
    ):
        load_clevrer(tmp_path, "train", 20)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda note: note.pop("object_property"), "no 'object_property'"),
        (lambda note: note["motion_trajectory"].pop(), "3 objects and 127 frames"),
        (
            lambda note: note["motion_trajectory"][5]["objects"].pop(),
            r"objects \[0, 1\] in frame 5, expected \[0, 1, 2\]",
        ),
        (lambda note: note["motion_trajectory"][5]["objects"][0].pop("inside_camera_view"), "no 'inside_camera_view'"),
        (lambda note: note["object_property"][0].update(color="pink"), "color: expected one of .*, got 'pink'"),
        (lambda note: note["motion_trajectory"][9]["objects"][0]["velocity"].pop(), "expected sequence of length"),
        (lambda note: note["collision"].append({"object_ids": [0, 1]}), "no 'frame_id'"),
        (lambda note: note.update(collision=None), "not iterable"),
        (None, "Expecting|Unterminated"),
    ],
)
def test_damaged_annotations_are_refused(folder, tmp_path, damage, problem):
    root = linked(folder, tmp_path, "video_validation")
    text = (folder / "annotation_validation/annotation_10000-11000/annotation_10000.json").read_text()
    path = root / "annotation_validation/annotation_10000.json"
    path.parent.mkdir()
    if damage is None:
        path.write_text(text[: len(text) // 2])
    else:
        note = json.loads(text)
        damage(note)
        path.write_text(json.dumps(note))
    with pytest.raises(
        ValueError,
        match=rf"folder: expected an annotation of CLEVRER .*annotation_10000.json \(.*({problem}).*\); it is",
    ):
        load_clevrer(root, "test", 20, numbers=[10000])


def test_annotations_may_list_frames_in_any_order(folder, tmp_path):
    root = linked(folder, tmp_path, "video_validation")
    note = json.loads((folder / "annotation_validation/annotation_10000-11000/annotation_10000.json").read_text())
    note["motion_trajectory"].reverse()
    for frame in note["motion_trajectory"]:
        frame["objects"].reverse()
    (root / "annotation_validation").mkdir()
    (root / "annotation_validation/annotation_10000.json").write_text(json.dumps(note))
    one, other = (load_clevrer(where, "test", 20, numbers=[10000], size=16) for where in (root, folder))
    assert torch.equal(one.state, other.state)
    assert torch.equal(one.labels, other.labels)
