"""Segmentation scored for a toy mixture of coloured layers, and for scenes that are told."""

import json
import math
from dataclasses import asdict, fields, replace
from statistics import mean, stdev

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from sklearn.metrics import adjusted_rand_score
from torch import nn

from inference.queries.imputation import Imputation
from inference.scores.score import Evaluated
from inference.scores.segmentation import Segmentation, SegmentationScores, VideoMean, components_of
from pyro_models.components.arguments import check_video
from pyro_models.components.scene import Scene
from videos import MassiveBalls, VideoBatch
from videos.massive_balls import PALETTE

SIZE = 16
NAMES = [field.name for field in fields(SegmentationScores)]


class Layers(PyroModule):
    """Pixels are a mixture of flat colours: logits ~ N(0, I), frames ~ N(sum_k softmax(logits)_k colour_k, 0.01)."""

    frame_shape, control_dim = (3, SIZE, SIZE), 0

    def __init__(self, colours):
        super().__init__()
        self.register_buffer("colours", colours)

    def forward(self, frames, observed=None, controls=None):
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            logits = frames.new_zeros(len(self.colours), SIZE, SIZE)
            logits = pyro.sample("logits", dist.Normal(logits, 1.0).to_event(3))
            expected = torch.einsum("...khw,kc->...chw", logits.softmax(-3), self.colours)
            pixels = dist.Normal(expected, 0.1).to_event(3).mask(seen.mT)
            pyro.sample("frames", pixels, obs=frames.transpose(0, 1))

    def scene(self, latents):
        return Scene(masks=latents["logits"].softmax(-3).transpose(-4, -5))


class NearestColours(PyroModule):
    """Gives every pixel to the layer of its colour, some pixels too far to the right."""

    def __init__(self, model, shift):
        super().__init__()
        self.colours = model.colours
        self.shift = shift

    def forward(self, frames, observed=None, controls=None):
        away = (frames.unsqueeze(2) - self.colours[:, :, None, None]).square().sum(3)  # (..., layers, height, width)
        logits = (-1000 * away).roll(self.shift, -1).transpose(0, 1)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            pyro.sample("logits", dist.Delta(logits, event_dim=3))


def simulated(num_videos=6, num_frames=3, **settings):
    simulator = MassiveBalls(
        num_frames=num_frames, size=SIZE, max_balls=3, min_balls=2, colour=True, masks=True, **settings
    )
    return simulator.simulate(num_videos, torch.Generator().manual_seed(0))


def toy(videos, shift=0):
    model = Layers(torch.tensor([(0, 0, 0), *PALETTE[:3]]) / 255)
    return Evaluated(model, NearestColours(model, shift), videos)


def over_videos(values):
    return VideoMean(mean(values), stdev(values) / math.sqrt(len(values)), len(values))


def close(found, expected):
    assert found.num_videos == expected.num_videos
    assert (found.mean, found.standard_error) == pytest.approx(
        (expected.mean, expected.standard_error), abs=1e-6, nan_ok=True
    )


def test_a_perfect_model_scores_one():
    summary = Segmentation().compute(toy(simulated()))
    for name in NAMES:
        value = getattr(summary, name)
        close(value, VideoMean(0.0 if name == "squared_error" else 1.0, 0.0, 6))


def numbers(masks):
    """Part of each pixel, the last one for pixels in no mask."""
    return torch.where(masks.any(2), masks.int().argmax(2), masks.shape[2])


def test_masks_that_lie_beside_objects():
    """Against scikit-learn and loops over objects, video by video and frame by frame."""
    videos = simulated()
    summary = Segmentation().compute(toy(videos, shift=1))
    truth = numbers(videos.masks)
    found = truth.roll(1, -1)

    def index(true, part, foreground):
        counted = (true < 3) if foreground else torch.ones_like(true, dtype=torch.bool)
        return adjusted_rand_score(true[counted].numpy(), part[counted].numpy())

    def overlap(true, part):
        def ratio(one, other):
            return (((true == one) & (part == other)).sum() / ((true == one) | (part == other)).sum()).item()

        return mean(max(ratio(one, other) for other in part.unique()) for one in true.unique() if one < 3)

    pairs = list(zip(truth, found, strict=True))
    for foreground, name in ((False, "index"), (True, "foreground_index")):
        close(getattr(summary, f"video_{name}"), over_videos([index(*pair, foreground) for pair in pairs]))
        frames = [mean(index(*frame, foreground) for frame in zip(*pair, strict=True)) for pair in pairs]
        close(getattr(summary, f"frame_{name}"), over_videos(frames))
    close(summary.video_overlap, over_videos([overlap(*pair) for pair in pairs]))
    close(
        summary.frame_overlap, over_videos([mean(overlap(*one) for one in zip(*pair, strict=True)) for pair in pairs])
    )
    errors = (videos.frames.roll(1, -1) - videos.frames).square().mean((1, 2, 3, 4)).tolist()
    close(summary.squared_error, over_videos(errors))
    assert min(errors) > 0.01
    assert 0.3 < summary.frame_index.mean < 0.95


def test_missing_frames_do_not_count_for_the_squared_error():
    videos = simulated()
    observed = torch.ones(6, 3, dtype=torch.bool)
    observed[:, 1] = False
    observed[5] = False
    summary = Segmentation().compute(toy(videos.with_observed(observed), shift=1))
    errors = (videos.frames.roll(1, -1) - videos.frames).square().mean((2, 3, 4))
    close(summary.squared_error, over_videos(errors[:5, [0, 2]].mean(1).tolist()))


class Telling(nn.Module):
    """A model that returns the given scene."""

    def __init__(self, scene):
        super().__init__()
        self.answer = scene

    def scene(self, latents):
        return self.answer


@pytest.fixture
def told(monkeypatch):
    """Scenes are given to the model, and frames reconstructed without error."""

    def build(videos, scene):
        answer = Imputation(videos.frames, torch.ones(videos.frames.shape[:2], dtype=torch.bool), {})
        monkeypatch.setattr("inference.scores.score.reconstruct", lambda *args, **kwargs: answer)
        model = Telling(scene)
        return Segmentation().compute(Evaluated(model, model, videos))

    return build


def test_a_component_that_changes_its_object_fails_videos_alone(told):
    videos = simulated(40)  # more than are scored at once
    swapped = videos.masks.clone()
    swapped[:, 1] = swapped[:, 1].roll(1, 1)
    summary = told(videos, Scene(masks=swapped.float()))
    for name in ("frame_index", "frame_foreground_index", "frame_overlap"):
        close(getattr(summary, name), VideoMean(1.0, 0.0, 40))
    assert summary.video_index.mean < 0.999  # most pixels are background, which stays in its component
    assert summary.video_foreground_index.mean < 0.5
    assert summary.video_overlap.mean < 0.7
    # identities follow the objects
    identities = torch.arange(3).expand(40, 3, 3).clone()
    identities[:, 1] = identities[:, 1].roll(1, 1)
    named = told(videos, Scene(masks=swapped, identities=7 + identities))
    for name in ("frame_index", "video_index", "video_foreground_index", "video_overlap"):
        close(getattr(named, name), VideoMean(1.0, 0.0, 40))


def test_absent_slots_have_no_pixels(told):
    videos = simulated(4)
    cover = torch.ones(4, 3, 1, SIZE, SIZE)
    masks = torch.cat([cover, 0.9 * videos.masks.float()], 2)
    presence = torch.ones(4, 3, 4)
    assert told(videos, Scene(presence, masks=masks)).frame_index.mean == 0
    presence[:, :, 0] = 0.5
    close(told(videos, Scene(presence, masks=masks)).frame_index, VideoMean(1.0, 0.0, 4))
    identities = torch.tensor([-1, 0, 1, 2]).expand(4, 3, 4)
    close(told(videos, Scene(masks=masks, identities=identities)).video_index, VideoMean(1.0, 0.0, 4))
    nobody = components_of(Scene(masks=masks, identities=torch.full((4, 3, 4), -1)))
    assert nobody.shape == (4, 3, 2, SIZE, SIZE)
    assert (nobody[:, :, 1] == 1).all()


def test_what_masks_leave_over_is_background(told):
    videos = simulated(4)
    faint = torch.where(videos.masks, 0.6, 0.3 * videos.masks.any(2, keepdim=True)) + 0.1
    faint = torch.where(videos.masks.any(2, keepdim=True), faint, 0.1)  # their sum is 0.3 where there is no object
    assert 0.9 < told(videos, Scene(masks=faint.clamp(max=0.7))).frame_index.mean
    mixture = torch.cat([videos.masks, ~videos.masks.any(2, keepdim=True)], 2)
    close(told(videos, Scene(masks=mixture)).frame_index, VideoMean(1.0, 0.0, 4))


def test_videos_without_objects_do_not_count_for_the_foreground(told):
    videos = simulated(5)
    masks = videos.masks.clone()
    masks[0] = False
    masks[1, 0] = False
    summary = told(replace(videos, masks=masks), Scene(masks=videos.masks))
    close(summary.frame_foreground_index, VideoMean(1.0, 0.0, 4))
    close(summary.video_overlap, over_videos([_overlap_without_first(videos.masks[1]), 1.0, 1.0, 1.0]))
    assert summary.frame_index.num_videos == 5
    assert summary.frame_index.mean < 1
    alone = told(replace(videos, masks=masks).select([0]), Scene(masks=videos.masks[:1]))
    close(alone.frame_foreground_index, VideoMean(math.nan, math.nan, 0))
    assert math.isnan(alone.frame_index.standard_error)


def _overlap_without_first(masks):
    """Overlaps of objects that are not true in the first frame."""
    there = masks.any((0, 2, 3))
    return (masks[1:].sum((0, 2, 3)) / masks.sum((0, 2, 3)))[there].mean().item()


def test_there_is_nothing_to_score_without_masks(told):
    videos = simulated(2)
    assert told(videos, Scene(videos.presence.float(), videos.positions)) is None
    assert told(replace(videos, masks=None), Scene(masks=videos.masks)) is None
    frames = VideoBatch(videos.frames, masks=videos.masks)
    assert Segmentation().compute(Evaluated(nn.Module(), nn.Module(), frames)) is None
    with pytest.raises(ValueError, match=r"scene.masks: expected \(sequences, .*, got None; let the model's scene"):
        components_of(Scene())


def test_masks_of_wrong_shapes_and_values_are_refused(told):
    videos = simulated(2)
    masks = videos.masks.float()
    for wrong, message in (
        (masks[:, :2], r"predicted: expected sequences, time, height, width of truth = \(2, 3, 16, 16\), got \(2, 2, "),
        (
            masks.unsqueeze(3),
            r"scene.masks: expected \(sequences, .* got \(2, 3, 3, 1, 16, 16\); let the model's scene",
        ),
        (masks * 3 - 1, r"predicted: expected finite masks in \[0, 1\], got values from -1 to 2; take the softmax"),
    ):
        with pytest.raises(ValueError, match=message):
            told(videos, Scene(masks=wrong))
    for wrong in ({"presence": torch.ones(2, 3, 4)}, {"identities": torch.zeros(2, 3, 4)}):
        with pytest.raises(
            ValueError, match=r"scene.*: expected .* of the masks = \(2, 3, 3\), got \(2, 3, 4\); give all"
        ):
            told(videos, Scene(masks=masks, **wrong))


def test_the_summary_is_printed_and_read_back(told):
    videos = simulated(4)
    summary = told(videos, Scene(masks=videos.masks.roll(1, -1)))
    score = Segmentation()
    assert score.name == "segmentation"
    assert score.read(json.loads(json.dumps(asdict(summary)))) == summary
    old = {name: value for name, value in asdict(summary).items() if name != "first_frames"}
    assert score.read(json.loads(json.dumps(old))) == replace(summary, first_frames=())
    lines = score.table(summary).splitlines()
    assert len(lines) == len(NAMES)
    found = summary.frame_index
    assert lines[0] == f"ARI, frames              {found.mean:10.4f} +- {found.standard_error:.4f}"
    assert lines[-1] == "squared error of pixels    0.000000 +- 0.000000"


def test_first_frames_are_scored_as_if_videos_ended_there():
    """The toy reads frames one by one, so that it finds the same in shorter videos."""
    videos = simulated(40, num_frames=5)  # more than are scored at once
    observed = torch.ones(40, 5, dtype=torch.bool)
    observed[3, 1] = False
    videos = videos.with_observed(observed)
    score = Segmentation(lengths=(4, 2))
    summary = score.compute(toy(videos, shift=1))
    assert [first.num_frames for first in summary.first_frames] == [2, 4]
    for first in summary.first_frames:
        alone = Segmentation().compute(toy(videos.first_frames(first.num_frames), shift=1))
        assert alone.first_frames == ()  # none of those of the paper
        for name in NAMES:
            close(getattr(first.scores, name), getattr(alone, name))
    assert summary.first_frames[0].scores.squared_error != summary.squared_error
    assert score.read(json.loads(json.dumps(asdict(summary)))) == summary
    lines, found = score.table(summary).splitlines(), summary.first_frames[1].scores
    assert len(lines) == len(NAMES) + 3
    assert lines[-1].split() == [
        *("first", "4", "frames"),
        *(f"{found.frame_index.mean:.4f}", "+-", f"{found.frame_index.standard_error:.4f}"),
        *(f"{found.frame_foreground_index.mean:.4f}", "+-", f"{found.frame_foreground_index.standard_error:.4f}"),
        *(f"{found.squared_error.mean:.6f}", "+-", f"{found.squared_error.standard_error:.6f}"),
    ]


def test_lengths_are_those_of_the_paper_that_videos_have(told):
    videos = simulated(2, num_frames=21)
    summary = told(videos, Scene(masks=videos.masks))
    assert [first.num_frames for first in summary.first_frames] == [10, 20]


def test_lengths_that_cannot_be_are_refused():
    for wrong in ((0, 2), (2, 2)):
        with pytest.raises(ValueError, match=r"lengths: expected different numbers of frames from 1 on, got \("):
            Segmentation(lengths=wrong)
    with pytest.raises(ValueError, match="lengths: expected at most 3, the frames of the test videos, got 4; leave it"):
        Segmentation(lengths=(2, 4)).compute(toy(simulated()))
