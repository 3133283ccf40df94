"""Digit addition: predict the sum of a frame's digits from a model's codes (Kosiorek et al. 2018, section 4.1)."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from inference.programs.traces import Program
from inference.queries.frame_codes import frame_codes
from inference.queries.imputation import chunks
from inference.runtime.generators import seeded
from inference.scores.score import Evaluated, FreshVideos, Score
from pyro_models.components.frame_networks import mlp
from videos import VideoBatch, VideoSource

UNITS = (256, 256)
BATCH_SIZE = 256
VIDEOS_AT_ONCE = 100  # per batch of codes for the probe
PATIENCE = 10  # epochs without a better validation accuracy before training of the probe stops
FRAMES_AT_ONCE = 10_000
TRAIN, VALIDATION, TEST = range(3)  # streams of one seed


class CodedFrames(NamedTuple):
    """Frames as the probe's inputs and targets.

    Attributes:
        codes: codes of each frame.
        sums: sum of the labels of its digits, visible or not; 0 without digits.
        empty: True if the frame has no digits.
    """

    codes: Float[Tensor, "frames feature"]
    sums: Int[Tensor, " frames"]
    empty: Bool[Tensor, " frames"]


@dataclass(frozen=True)
class AdditionScores:
    """Share of test frames whose digit sum a probe of the codes predicts correctly.

    Attributes:
        accuracy: on all frames; without digits the sum is 0.
        nonempty_accuracy: on frames with digits.
        train_accuracy: on the probe's training frames.
        num_frames: number of training frames.
        epochs: number of training epochs.
    """

    accuracy: float
    nonempty_accuracy: float
    train_accuracy: float
    num_frames: int
    epochs: int

    def __str__(self) -> str:
        return "\n".join(
            (
                f"{'digit addition':24} {self.accuracy:10.4f}    learned from {self.num_frames} frames, "
                f"{self.train_accuracy:.4f} on those",
                f"{'frames with digits':24} {self.nonempty_accuracy:10.4f}",
            )
        )


@dataclass(frozen=True, kw_only=True)
class Addition(Score):
    """Digit addition by a probe of the codes, trained on new full-length videos.

    Attributes:
        addition: training frames of the probe (600000 for SQAIR in the paper); 0 = no probe.
    """

    name: ClassVar[str] = "addition"
    needs: ClassVar[tuple[str, ...]] = ("labels", "presence")
    addition: int = 0

    def __post_init__(self) -> None:
        """Refuse a negative number of frames."""
        if self.addition < 0:
            raise ValueError(
                f"addition: expected 0 for no probe, or the frames that it learns from, got {self.addition}"
            )

    def compute(self, evaluated: Evaluated) -> AdditionScores | None:
        """The shares; None without a probe."""
        if self.addition == 0:
            return None
        if evaluated.fresh_videos is None:
            raise ValueError("addition: expected a source of videos to train the probe on, got none; leave it out")
        fresh = evaluated.fresh_videos(VIDEOS_AT_ONCE)
        how = {"num_frames": self.addition, "seed": evaluated.seed, "progress": evaluated.progress}
        return score_addition(evaluated.model, evaluated.guide, fresh, evaluated.test, **how)

    def read(self, written: Mapping[str, Any]) -> AdditionScores:
        """Rebuild the shares from parsed JSON."""
        return AdditionScores(**written)


def score_addition(
    model: Program,
    guide: Program,
    fresh: FreshVideos,
    test: VideoBatch,
    *,
    num_frames: int,
    seed: int = 0,
    progress: bool = False,
) -> AdditionScores:
    """Train a probe of `frame_codes` to add digits, and test it on other videos.

    The probe has two layers of 256 ELUs and a softmax over all possible sums (19 with two digits). It is trained by
    Adam with default settings until its accuracy on validation videos has not risen for ten epochs; the weights of its
    best epoch are used. In the paper: 600,000 frames, and ten million steps.

    Args:
        model: a trained model, which is not changed.
        guide: its guide.
        fresh: source of the probe's training videos, and validation videos for early stopping; both with labels and
            presence.
        test: videos to score on, with labels and presence; on the device of the model.
        num_frames: minimum number of training frames, rounded up to whole batches.
        seed: seed of draws and probe.
        progress: show bars.

    Raises:
        ValueError: if `num_frames` is not positive, or videos have no labels or presence; also what `frame_codes`
            raises.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames: expected at least 1, got {num_frames}")
    labels, _ = _digits(test)

    def coded(batches: Iterator[VideoBatch], stream: int) -> CodedFrames:
        bar = tqdm(desc="codes", unit="frame", disable=not progress, leave=False)
        with seeded("added digits", seed, stream), bar:
            parts = []
            for videos in batches:
                parts.append(_code(model, guide, videos.to(labels.device)))
                bar.update(len(parts[-1].sums))
        return CodedFrames(*(torch.cat(values) for values in zip(*parts, strict=True)))

    known = coded(_batches(fresh.source, fresh.first_step, num_frames), TRAIN)
    held_out, unknown = coded(_pieces(fresh.validation), VALIDATION), coded(_pieces(test), TEST)
    probe, epochs = train_probe(known, held_out, 9 * labels.shape[-1] + 1, seed=seed, progress=progress)
    right = _right(probe, unknown)
    return AdditionScores(
        accuracy=right.double().mean().item(),
        nonempty_accuracy=right[~unknown.empty].double().mean().item(),
        train_accuracy=_right(probe, known).double().mean().item(),
        num_frames=len(known.sums),
        epochs=epochs,
    )


def train_probe(
    known: CodedFrames, held_out: CodedFrames, classes: int, *, seed: int = 0, progress: bool = False
) -> tuple[nn.Sequential, int]:
    """Train the network of `score_addition`.

    Args:
        known: training frames.
        held_out: validation frames for early stopping.
        classes: number of classes; sums are below it.
        seed: seed of weights and batches.
        progress: show a bar.

    Returns:
        The network with the weights of its best epoch, and the number of epochs.
    """
    with seeded("addition probe", seed), torch.enable_grad():
        probe = mlp(known.codes.shape[-1], UNITS, classes, nn.ELU).to(known.codes.device)
        optimizer = torch.optim.Adam(probe.parameters())
        best, since, epochs, weights = -1.0, 0, 0, probe.state_dict()
        with tqdm(desc="probe", unit="epoch", disable=not progress, leave=False) as bar:
            while since < PATIENCE and best < 1:
                for batch in torch.randperm(len(known.sums), device=known.codes.device).split(BATCH_SIZE):
                    optimizer.zero_grad()
                    cross_entropy(probe(known.codes[batch]), known.sums[batch]).backward()
                    optimizer.step()
                epochs += 1
                since += 1
                accuracy = _right(probe, held_out).double().mean().item()
                if accuracy > best:
                    best, since, weights = accuracy, 0, deepcopy(probe.state_dict())
                bar.set_postfix(accuracy=f"{accuracy:.4f}")
                bar.update()
    probe.load_state_dict(weights)
    return probe, epochs


def _batches(source: VideoSource, step: int, num_frames: int) -> Iterator[VideoBatch]:
    while num_frames > 0:
        videos = source.batch(step)
        yield videos
        num_frames -= videos.num_sequences * videos.num_frames
        step += 1


def _pieces(videos: VideoBatch) -> Iterator[VideoBatch]:
    for part in chunks(videos.num_sequences, max(1, FRAMES_AT_ONCE // videos.num_frames)):
        yield videos.select(part)


def _code(model: Program, guide: Program, videos: VideoBatch) -> CodedFrames:
    labels, presence = _digits(videos)
    codes = frame_codes(model, guide, *videos.arguments)
    sums = torch.where(presence, labels, 0).sum(-1)
    return CodedFrames(codes.flatten(0, 1), sums.flatten(), ~presence.any(-1).flatten())


def _digits(videos: VideoBatch) -> tuple[Tensor, Tensor]:
    """Labels and presence."""
    if videos.labels is None or videos.presence is None:
        raise ValueError(
            "videos: expected labels and presence, from which digit sums are computed, got a batch without; take "
            "videos from a simulator of digits"
        )
    return videos.labels, videos.presence


@torch.no_grad()
def _right(probe: nn.Module, frames: CodedFrames) -> Bool[Tensor, " frames"]:
    guesses = [probe(codes).argmax(-1) for codes in frames.codes.split(FRAMES_AT_ONCE)]
    return torch.cat(guesses) == frames.sums
