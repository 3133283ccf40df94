"""`PeopleTracker`: from a clip to tracks; what it refuses; as an option of `kinema track`."""

from types import SimpleNamespace

import pytest
import torch

from guides import SilhouetteTrackingGuide
from inference import cli
from inference.experiments.people_tracker import PeopleTracker
from inference.scores.clip_tracking import summarize_clip_tracks
from pyro_models import WalkingPeople
from videos import read_tracks
from videos.tracks import Tracks

FRAMES, HEIGHT, WIDTH = 70, 96, 160
SMALL = {"width": 80, "slots": 4, "least_height": 10.0}


def clip_of_two() -> tuple[torch.Tensor, Tracks]:
    """Two dark upright ellipses that cross in front of a bright textured background, and their boxes."""
    generator = torch.Generator().manual_seed(0)
    background = 150 + 60 * torch.rand(HEIGHT, WIDTH, 1, generator=generator)
    columns, rows = torch.arange(WIDTH), torch.arange(HEIGHT)[:, None]
    frames, boxes = [], []
    for time in range(FRAMES):
        frame = background + 3 * torch.randn(HEIGHT, WIDTH, 1, generator=generator)
        for x, feet, tall in ((10 + 2.0 * time, 56.0, 30.0), (150 - 2.0 * time, 80.0, 36.0)):
            inside = ((columns - x) / (0.18 * tall)) ** 2 + ((rows - feet + 0.5 * tall) / (0.5 * tall)) ** 2 <= 1
            frame = torch.where(inside[..., None], 40.0, frame)
            boxes.append([x - 0.18 * tall, feet - tall, 0.36 * tall, tall])
        frames.append(frame.expand(-1, -1, 3).round().clamp(0, 255).to(torch.uint8))
    numbers = torch.arange(FRAMES).repeat_interleave(2)
    return torch.stack(frames), Tracks(numbers, torch.tensor([1, 2]).repeat(FRAMES), torch.tensor(boxes).double())


@pytest.fixture(scope="module")
def two():
    return clip_of_two()


def test_people_who_cross_are_two_tracks(two):
    clip, truth = two
    tracks = PeopleTracker(**SMALL, rounds=0).track(clip)
    summary = summarize_clip_tracks(tracks, truth)
    assert summary.mota > 0.8
    assert summary.switches == 0
    assert summary.idf1 > 0.85
    assert tracks.confidences is not None
    assert bool(((tracks.confidences > 0.5) & (tracks.confidences <= 1)).all())
    corners = tracks.boxes[:, :2] + tracks.boxes[:, 2:]
    assert bool((tracks.boxes[:, :2] >= 0).all() and (corners <= torch.tensor([WIDTH, HEIGHT])).all())


def test_people_too_small_are_left_out(two):
    tracker = PeopleTracker(**{**SMALL, "least_height": 60.0}, rounds=0)
    assert len(tracker.track(two[0][:30])) == 0


@pytest.mark.parametrize(("least", "frames"), [(0.5, [0, 1, 3]), (0.25, [0, 1, 2, 3]), (0.8, [0])])
def test_boxes_are_those_of_people_who_are_likely_enough_there(least, frames, monkeypatch):
    chances = torch.tensor([0.9, 0.7, 0.3, 0.6])

    def believed(self, masks, **settings):
        for time, chance in enumerate(chances):
            mean = torch.tensor([[[40.0, 40.0, 0.0, 0.0, 0.0, 0.0]]])
            shares = torch.stack([1 - chance, chance, torch.zeros(())])[None, None]
            gain = torch.tensor([[30.0 * time]])
            yield SimpleNamespace(mean=mean, chances=shares, entered=torch.tensor([[time == 0]]), gain=gain)

    monkeypatch.setattr(SilhouetteTrackingGuide, "track", believed)
    for by_evidence, expected in ((False, chances[frames]), (True, 30 * torch.tensor(frames))):
        settings = {"least_height": 5.0, "min_frames": 1, "least_confidence": least, "by_evidence": by_evidence}
        tracker = PeopleTracker(width=80, slots=1, **settings)
        model = WalkingPeople((1, 48, 80), num_slots=1)
        tracks = tracker.follow(model, SilhouetteTrackingGuide(model), torch.zeros(1, 4, 1, 48, 80), (WIDTH, HEIGHT))
        assert tracks.frames.tolist() == frames
        assert tracks.confidences.tolist() == pytest.approx(expected.tolist())


def test_wrong_settings_are_refused():
    for setting, value, message in (
        ("width", 8, "width: expected at least 16, got 8"),
        ("slots", 0, "slots: expected at least 1, got 0"),
        ("rounds", -1, "rounds: expected at least 0, got -1"),
        ("coverage", 1.5, r"coverage: expected a share in \(0, 1\], got 1.5"),
        ("least_confidence", 0.0, r"least_confidence: expected a share in \(0, 1\], got 0.0"),
        ("passes", 0, "passes: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            PeopleTracker(**{setting: value})


def test_a_clip_without_people_is_refused(two):
    still = two[0][:1].expand(20, -1, -1, -1)
    with pytest.raises(ValueError, match="frames: expected at least 10 blobs of the shape of a person, found 0"):
        PeopleTracker(**SMALL).track(still)


def test_the_command_tracks_people(two, tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for frame in two[0][:40].numpy():
        writer.write(frame[:, :, ::-1].copy())
    writer.release()
    output = tmp_path / "tracks.txt"
    words = ["track", str(path), "--tracker", "people", "--output", str(output)]
    sizes = ["--width", "80", "--slots", "4", "--least-height", "10", "--rounds", "0"]
    assert cli.main([*words, *sizes]) == 0
    assert read_tracks(output).num_identities == 2
    assert cli.main([*words, *sizes, "--least-area", "20"]) != 0
    assert "--least-area: expected with --tracker blobs or kalman, got 20 with people" in capsys.readouterr().err
