"""Tracks are read as they were written, in the files' own counting from 1; broken files are refused by line."""

import numpy as np
import pytest
import torch

from videos import Tracks, read_tracks, write_tracks

ROW = "1,3,11.5,21,30,80,0.9,-1,-1,-1"


def tracks_of(frames, identities, boxes=None, confidences=None):
    boxes = [[5.0, 6.0, 7.0, 8.0]] * len(frames) if boxes is None else boxes
    return Tracks(torch.tensor(frames), torch.tensor(identities), torch.tensor(boxes).double(), confidences)


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "tracks.txt").write_text(text)
        return tmp_path / "tracks.txt"

    return write


def test_files_count_frames_and_pixels_from_one(written):
    tracks = read_tracks(written(f"2,3,1,1,4,4,1\n\n{ROW[:-9]}\n2,1,9,9,2,3,0.5\n"))
    assert tracks.frames.tolist() == [0, 1, 1]
    assert tracks.identities.tolist() == [3, 1, 3]
    assert tracks.boxes.tolist() == [[10.5, 20.0, 30.0, 80.0], [8.0, 8.0, 2.0, 3.0], [0.0, 0.0, 4.0, 4.0]]
    assert tracks.confidences.tolist() == [0.9, 0.5, 1.0]
    assert tracks.positions[2].tolist() == [1.5, 1.5]  # between the second and the third pixel
    assert tracks.num_identities == 2
    assert len(tracks) == 3


def test_columns_after_the_sixth_may_be_missing(written):
    assert read_tracks(written("1,1,1,1,2,2\n")).confidences is None
    whole = read_tracks(written(ROW))
    assert torch.equal(read_tracks(written(ROW.rsplit(",", 3)[0])).boxes, whole.boxes)


def test_what_is_written_is_read_back(tmp_path):
    draws = np.random.RandomState(0)
    places = np.unique(draws.randint(0, 30, (60, 2)), axis=0)
    boxes = torch.tensor(draws.rand(len(places), 4)).mul(500).add(1).round(decimals=3)
    tracks = Tracks(torch.tensor(places[:, 0]), torch.tensor(places[:, 1]), boxes, torch.ones(len(places)).double())
    write_tracks(tmp_path / "deep" / "tracks.txt", tracks)
    back = read_tracks(tmp_path / "deep" / "tracks.txt")
    for name in ("frames", "identities", "confidences"):
        assert torch.equal(getattr(back, name), getattr(tracks, name))
    torch.testing.assert_close(back.boxes, tracks.boxes, atol=1e-9, rtol=0)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["tracks.txt"]
    (first, *_) = (tmp_path / "deep" / "tracks.txt").read_text().splitlines()
    assert first.startswith(f"{int(tracks.frames[0]) + 1},{int(tracks.identities[0])},{tracks.boxes[0, 0] + 1:.3f},")
    assert first.endswith(",1,-1,-1,-1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tracks.txt: expected at least one row, got an empty file; expected rows of frame,identity,left"),
        ("\n  \n", "expected at least one row"),
        (f"{ROW}\n1,4,5,5,3", "line 2: expected 6 to 10 columns separated by commas, got 5"),
        (f"{ROW},0", "line 1: expected 6 to 10 columns separated by commas, got 11"),
        ("1 3 11 21 30 80", "line 1: expected 6 to 10 columns separated by commas, got 1"),
        (f"{ROW}\n1,4,5,5,3,9,1", "line 2: expected 10 columns as in the first row, got 7; is the file cut off"),
        ("frame,id,left,top,width,height", "line 1: frame: expected a number, got 'frame'; .* without a header"),
        ("0" + ROW[1:], "line 1: frame: expected numbers from 1, got 0; MOTChallenge files count from 1"),
        ("1.5" + ROW[1:], "line 1: frame: expected a whole number, got 1.5"),
        ("1,-1,5,5,3,9", "line 1: identity: expected a number from 0, got -1; files of detections have -1"),
        ("1,2.5,5,5,3,9", "line 1: identity: expected a whole number, got 2.5"),
        ("1,1e300,5,5,3,9", "line 1: identity: expected a whole number, got 1e\\+300"),
        (f"{ROW}\n2,3,5,5,-3,9,1,1,1,1", "line 2: width: expected a positive number of pixels, got -3"),
        ("1,3,5,5,3,0", "line 1: height: expected a positive number of pixels, got 0"),
        ("1,3,nan,5,3,9", "line 1: left: expected a finite number, got nan"),
        ("1,3,5,inf,3,9", "line 1: top: expected a finite number, got inf"),
        (f"{ROW}\n\n{ROW}", "line 3: expected each identity once in a frame, got identity 3 in frame 1 .* in line 1"),
    ],
)
def test_broken_files_are_refused_by_line(written, text, message):
    with pytest.raises(ValueError, match=message):
        read_tracks(written(text))


def test_what_is_no_text_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(FileNotFoundError, match=r"tracks: expected a text file .*, which is not a file"):
            read_tracks(path)
    (tmp_path / "film.avi").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=r"film.avi: expected a text file .*, got a binary file"):
        read_tracks(tmp_path / "film.avi")


def test_nothing_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="tracks: expected at least one row, got none; nothing was written"):
        write_tracks(tmp_path / "tracks.txt", tracks_of([0], [1]).select(torch.tensor([False])))
    assert list(tmp_path.iterdir()) == []


def test_rows_are_put_in_order():
    tracks = tracks_of([4, 2, 4], [1, 9, 0], [[float(row)] * 4 for row in (1, 2, 3)])
    assert tracks.frames.tolist() == [2, 4, 4]
    assert tracks.identities.tolist() == [9, 0, 1]
    assert tracks.boxes[:, 0].tolist() == [2.0, 3.0, 1.0]
    assert tracks.select(tracks.frames == 4).identities.tolist() == [0, 1]


def test_wrong_rows_are_named():
    box = [5.0, 6.0, 7.0, 8.0]
    for wrong, message in (
        (([0, 1], [1], [box] * 2), r"identities: expected torch.int64 \(2,\), got torch.int64 \(1,\)"),
        (([[0, 1]], [0, 1], [box] * 2), r"frames: expected torch.int64 \(2,\), got torch.int64 \(1, 2\)"),
        (([0], [1.0], [box]), r"identities: expected torch.int64 \(1,\), got torch.float32 \(1,\)"),
        (([0], [1], [box[:3]]), r"boxes: expected torch.float64 \(1, 4\), got torch.float64 \(1, 3\)"),
        (([0, -1], [1, 1]), "frames: expected numbers from 0, got -1"),
        (([0], [-1]), "identities: expected numbers from 0, got -1"),
        (([7, 3, 7], [5, 5, 5]), "identities: expected different ones within a frame, got 5 twice in frame 7"),
        (([0], [1], [[5.0, torch.nan, 7.0, 8.0]]), "boxes, confidences: expected finite numbers"),
        (([0], [1], [box], torch.tensor([torch.inf]).double()), "boxes, confidences: expected finite numbers"),
        (([0], [1], [[5.0, 6.0, 7.0, -2.0]]), "boxes: expected positive widths and heights, got -2 pixels"),
    ):
        with pytest.raises(ValueError, match=message):
            tracks_of(*wrong)


def test_the_annotations_of_the_pedestrians_are_read(data_folder):
    truth = read_tracks(data_folder / "video" / "vtest-truth.txt")
    assert (len(truth), truth.num_identities) == (4650, 19)
    assert (int(truth.frames[0]), int(truth.frames[-1])) == (0, 794)
    assert truth.boxes[0].tolist() == pytest.approx([498, 157, 31.03, 75.17])
    assert int((truth.confidences == 0).sum()) == 174
