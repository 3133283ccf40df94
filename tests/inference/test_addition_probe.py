"""Digit addition: a probe of codes that tell everything, nothing, or what a draw of a guide tells."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch.nn.functional import one_hot

from inference.queries.frame_codes import frame_codes
from inference.scores import addition as addition_probe
from inference.scores.addition import AdditionScores, CodedFrames, score_addition, train_probe
from inference.scores.score import FreshVideos
from pyro_models.components.scene import Scene
from tests.contracts.registry import build_guide, make_video
from videos import FixedVideos, VideoBatch


def labelled_videos(count, seed, time=2, size=4):
    """Zero to two digits; frames are black, but for a pixel of the first row as bright as each digit's label."""
    generator = torch.Generator().manual_seed(seed)
    number = torch.randint(0, 3, (count, 1, 1), generator=generator)
    presence = (torch.arange(2) < number).expand(count, time, 2)
    labels = torch.randint(0, 10, (count, 1, 2), generator=generator).expand(count, time, 2)
    frames = torch.zeros(count, time, 1, size, size)
    frames[:, :, 0, 0, :2] = torch.where(presence, (labels + 1) / 10, 0.0)
    return VideoBatch(frames, presence=presence.contiguous(), labels=torch.where(presence, labels, 0))


class Knowing(PyroModule):
    """Model and guide in one: slots in random order, with a class for what they look like; absent ones are NaN."""

    def forward(self, frames, observed=None, controls=None):
        bright = frames[:, :, 0, 0, :2]
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            swapped = pyro.sample("swapped", dist.Bernoulli(torch.tensor(0.5)).expand(frames.shape[1::-1]))
            bright = torch.where(swapped.T[..., None] > 0, bright.flip(-1), bright)
            pyro.sample("bright", dist.Delta(bright.transpose(0, 1), event_dim=1))

    def scene(self, latents):
        bright = latents["bright"].transpose(0, 1)
        presence = (bright > 0).float()
        appearance = one_hot((10 * bright - 1).round().long().clamp(0), 10).float()
        return Scene(presence, appearance=torch.where(presence[..., None] > 0, appearance, math.nan))


class Blind(PyroModule):
    """Noise as a latent of each frame."""

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            for step in range(frames.shape[1]):
                pyro.sample(f"z_{step}", dist.Normal(torch.zeros(3), 1.0).to_event(1))


def score(program, first_step=0, **options):
    fresh = FreshVideos(FixedVideos(labelled_videos(1500, 1), 100, seed=0), first_step, labelled_videos(300, 2))
    options = {"num_frames": 6000, "seed": 3} | options
    return score_addition(program, program, fresh, labelled_videos(500, 4), **options)


def test_codes_that_hold_the_labels_are_added():
    scores = score(Knowing())
    assert scores.accuracy > 0.99
    assert scores.nonempty_accuracy > 0.99
    assert (scores.num_frames, scores.epochs < 100) == (6000, True)


def test_codes_without_information_stay_at_the_base_rate():
    """Zero is the likeliest sum: of a third of frames without digits, and of a tenth of a third with one, and so on."""
    scores, test = score(Blind()), labelled_videos(500, 4)
    zero = test.labels.sum(-1) == 0
    assert scores.accuracy == pytest.approx(zero.double().mean().item(), abs=0.05)
    chance = zero[test.presence.any(-1)].double().mean().item()
    assert scores.nonempty_accuracy == pytest.approx(chance, abs=0.05)
    assert scores.accuracy > 0.3 > 3 * chance


def test_frames_without_digits_have_the_sum_zero_and_count_once():
    """A probe that is right on empty frames alone: codes say whether there is a digit, and nothing else."""

    class Counting(Knowing):
        def scene(self, latents):
            scene = super().scene(latents)
            return replace(scene, appearance=torch.ones(*scene.presence.shape, 1))

    scores, test = score(Counting()), labelled_videos(500, 4)
    empty = (~test.presence.any(-1)).double().mean().item()
    assert empty <= scores.accuracy < empty + 0.15
    combined = empty + (1 - empty) * scores.nonempty_accuracy
    assert scores.accuracy == pytest.approx(combined)


def test_one_seed_gives_one_score_and_leaves_other_draws_alone():
    state = torch.get_rng_state()
    first = score(Knowing(), num_frames=400)
    assert torch.equal(torch.get_rng_state(), state)
    assert score(Knowing(), num_frames=400) == first
    assert score(Knowing(), num_frames=400, seed=4) != first
    assert score(Knowing(), num_frames=400, first_step=5) != first


def test_training_stops_at_a_plateau_and_keeps_the_best_weights(monkeypatch):
    seen, judge = [], addition_probe._right

    def noting(probe, frames):
        right = judge(probe, frames)
        seen.append(right.double().mean().item())
        return right

    monkeypatch.setattr(addition_probe, "_right", noting)
    generator = torch.Generator().manual_seed(0)
    codes, sums = torch.randn(300, 4, generator=generator), torch.randint(0, 19, (300,), generator=generator)
    noise = CodedFrames(codes, sums, torch.zeros(300, dtype=torch.bool))
    others = CodedFrames(codes.flip(0), sums, noise.empty)
    probe, epochs = train_probe(noise, others, 19)
    assert len(seen) == epochs
    assert seen.index(max(seen)) == epochs - 11
    assert judge(probe, others).double().mean().item() == max(seen) < 0.3


def test_codes_of_objects_are_presence_times_appearance():
    videos = labelled_videos(20, 5)
    codes = frame_codes(Knowing(), Knowing(), *videos.arguments)
    assert codes.shape == (20, 2, 20)
    known = one_hot(videos.labels, 10) * videos.presence[..., None]
    torch.testing.assert_close(codes.unflatten(-1, (2, 10)).sum(2), known.sum(2).float())


def test_codes_of_others_are_the_latents_of_a_frame():
    class Mixed(PyroModule):
        def forward(self, frames, observed=None, controls=None):
            sequences, time = frames.shape[:2]
            with pyro.plate("sequences", sequences, dim=-1):
                for step in range(time):
                    place = pyro.sample(f"place_{step + 1}", dist.Delta(torch.full((sequences,), 10.0 + step)))
                    law = dist.Delta(place[:, None] + torch.tensor([0.25, 0.5]), event_dim=1)
                    pyro.sample(f"look_{step + 1}_1", law)
                with pyro.plate("time", time, dim=-2):
                    steps = torch.arange(time)[:, None].expand(time, sequences)
                    pyro.sample("plated", dist.Delta(steps.double()))
                pyro.factor("what is seen", torch.zeros(sequences))

    codes = frame_codes(Mixed(), Mixed(), torch.zeros(3, 4, 1, 2, 2))
    assert codes.dtype == torch.float32
    steps = torch.arange(4.0)
    expected = torch.stack([steps, 10 + steps, 10.25 + steps, 10.5 + steps], -1)
    torch.testing.assert_close(codes, expected.expand(3, 4, 4))


@pytest.mark.parametrize(
    ("guide", "size"),
    [("GlimpseAttentionGuide", 3 * 3), ("DiscoveryPropagationGuide", 2 * 3), ("PriorCorrectionGuide", 3)],
)
def test_codes_of_models_of_digits(guide, size):
    """Slots times appearance, or the latent."""
    model, guide = build_guide(guide)
    frames, observed, _ = make_video(0)
    codes = frame_codes(model, guide, frames, observed)
    assert codes.shape == (*frames.shape[:2], size)
    assert not codes.requires_grad
    assert (codes[:, 0] != codes[:, 1]).any()


def of_sites(names, size=lambda index: 1):
    def guide(frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            for index, name in enumerate(names):
                pyro.sample(name, dist.Normal(torch.zeros(size(index)), 1.0).to_event(1))

    return guide


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        (of_sites(()), "guide: expected latents to build codes from, got none"),
        (of_sites(("z_1", "z_2", "path")), "site 'path': expected inside a plate called 'time', or a name that ends"),
        (of_sites(("z_1", "z_2"), lambda index: 1 + index), "latents of one size in each of 2 steps, got 1, 2"),
        (of_sites(("z_1",)), "latents of one size in each of 2 steps, got 1$"),
    ],
)
def test_latents_that_are_of_no_single_frame_are_refused(guide, message):
    with pytest.raises(ValueError, match=message):
        frame_codes(guide, guide, torch.zeros(3, 2, 1, 2, 2))


def test_videos_without_labels_and_too_few_frames_are_refused():
    videos = labelled_videos(10, 0)
    fresh, bare = FreshVideos(FixedVideos(videos, 5, seed=0), 0, videos), VideoBatch(videos.frames)
    with pytest.raises(ValueError, match="videos: expected labels and presence, from which digit sums"):
        score_addition(Knowing(), Knowing(), fresh, bare, num_frames=5)
    with pytest.raises(ValueError, match="num_frames: expected at least 1, got 0"):
        score_addition(Knowing(), Knowing(), fresh, videos, num_frames=0)


def test_scores_are_printed_with_their_names():
    printed = str(AdditionScores(0.9, 0.85, 0.99, 600, 12))
    assert "digit addition               0.9000    learned from 600 frames, 0.9900 on those" in printed
    assert "frames with digits           0.8500" in printed
