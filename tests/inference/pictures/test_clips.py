"""Each step has its row, each frame its column; squares and boxes lie where the videos say."""

import pytest
import torch
from matplotlib.patches import Rectangle

from inference.pictures import draw_clip
from videos import BackgroundSubtraction, Surveillance, VideoBatch, synthetic_clip


@pytest.fixture(scope="module")
def source():
    clip = synthetic_clip(torch.Generator().manual_seed(0), num_frames=70, height=90, width=120)
    return Surveillance(clip, BackgroundSubtraction(warm_up=40, width=120, height=90, stride=2), size=40, num_frames=3)


def rectangles(axes):
    """(left, top, width, height) of each."""
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in found]


def test_a_sequence_is_shown_step_by_step(source, tmp_path):
    videos = source.simulate(8, torch.Generator().manual_seed(0))
    figure = draw_clip(source, videos, 5, title="one of them")
    panels = [figure.axes[3 * row : 3 * row + 3] for row in range(4)]
    assert [row[0].get_ylabel() for row in panels] == ["frame", "foreground", "resized", "window"]
    numbers = videos.state[5, :, 1].int().tolist()
    assert [axes.get_title() for axes in panels[0]] == [str(number) for number in numbers]
    assert [axes.get_title() for axes in panels[3]] == [str(count) for count in videos.presence[5].sum(-1).tolist()]
    for time in range(3):
        shown = [torch.as_tensor(row[time].images[0].get_array().data) for row in panels]
        assert torch.equal(shown[0], source.clips[numbers[time]])
        labels = source.foregrounds[0].components[(numbers[time] - 40) // 2]
        assert torch.equal(shown[1], labels > 0)
        assert torch.equal(shown[3], videos.frames[5, time, 0])
        *boxes, window = rectangles(panels[2][time])
        left, top = videos.state[5, time, 2:].tolist()
        assert window == (left - 0.5, top - 0.5, 40, 40)
        assert len(boxes) == int(labels.max()) > 0
        for x, y, width, height in boxes:
            edges = [int(value + 0.5) for value in (x, x + width, y, y + height)]
            assert (labels[edges[2] : edges[3], edges[0] : edges[1]] > 0).any(0).all()
        present = videos.presence[5, time]
        sizes = videos.box_sizes[5, time][present]
        corners = videos.positions[5, time][present] - 0.5 * sizes
        assert rectangles(panels[3][time]) == [tuple(row) for row in torch.cat([corners, sizes], -1).tolist()]
    assert any(videos.presence[5].any(-1))
    assert figure.get_suptitle() == "one of them"
    figure.savefig(tmp_path / "clip.png", dpi=40)
    assert (tmp_path / "clip.png").stat().st_size > 1000


def test_wrong_arguments_are_named(source):
    videos = source.simulate(2, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="index: expected 0 to 1, got 2"):
        draw_clip(source, videos, 2)
    with pytest.raises(ValueError, match=r"videos: expected state \(clip, frame, left, top\), presence"):
        draw_clip(source, VideoBatch(videos.frames))
