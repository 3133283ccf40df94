"""These tests pin: wrong videos and numbers are refused by name wherever they come in; compiled steps name them too."""

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

from guides import check_guide, describe_sites
from inference import (
    FIVO,
    SVI,
    Annealing,
    NonFiniteError,
    TrainingOptions,
    calibrate,
    log_evidence,
    queries,
    simulate,
    train,
)
from tests.contracts.cases import FRAME_SHAPE
from tests.contracts.registry import build_guide
from videos import VideoBatch, load_videos, save_videos

FRAMES = (torch.rand(2, 3, *FRAME_SHAPE, generator=torch.Generator().manual_seed(0)) > 0.5).float()
SEEN = torch.tensor([[True, True, False], [True, True, True]])
PAIRS = "KalmanGuide, collapsed", "DiscoveryPropagationGuide"
LOOK = {
    "impute": lambda model, guide, frames: queries.impute(model, guide, frames, SEEN),
    "forecast": lambda model, guide, frames: queries.forecast(model, guide, frames, SEEN, num_frames=1),
    "log_evidence": lambda model, guide, frames: log_evidence(model, guide, frames, SEEN, num_particles=1),
    "train": lambda model, guide, frames: train(model, guide, VideoBatch(frames, SEEN), 1),
    "step": lambda model, guide, frames: svi_of(model, guide).step(frames, SEEN),
}
DO_NOT_LOOK = {
    "model": lambda model, guide, frames: model(frames),
    "guide": lambda model, guide, frames: guide(frames),
    "simulate": lambda model, guide, frames: simulate(model, frames),
    "describe_sites": lambda model, guide, frames: describe_sites(model, frames),
    "check_guide": check_guide,
    "calibrate": calibrate,
}


def svi_of(model, guide, **options):
    return SVI(model, guide, torch.optim.SGD([*model.parameters(), *guide.parameters()], 1e-4), Trace_ELBO(), **options)


def holding(value, place):
    frames = FRAMES.clone()
    frames[place] = value
    return frames


WRONG_VALUES = {
    "bytes": (
        FRAMES * 255,
        r"frames: expected values from 0 \(black\) to 1 \(white\).*, got 0 to 255; these look",
    ),
    "NaN": (holding(torch.nan, (1, 2, 0, 3, 3)), "frames: expected finite values in observed frames, got NaN; replace"),
    "infinite": (holding(torch.inf, (0, 0, 0, 0, 0)), "frames: expected finite values .*, got values from 0 to inf"),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", LOOK)
@pytest.mark.parametrize("wrong", WRONG_VALUES)
def test_wrong_values_are_refused_by_what_reads_them(pair, name, wrong):
    frames, message = WRONG_VALUES[wrong]
    with pytest.raises(ValueError, match=message):
        LOOK[name](*build_guide(pair), frames)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", [*LOOK, *DO_NOT_LOOK])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: frames[:0], "at least one sequence, got none"),
        (lambda frames: frames[:, :0], "at least one frame in each sequence, got none"),
        (lambda frames: frames.double(), "frames: expected torch.float32, the dtype of the parameters"),
    ],
    ids=["no sequence", "no frame", "float64"],
)
def test_wrong_shapes_and_dtypes_are_refused_by_all(pair, name, change, message):
    ask = (LOOK | DO_NOT_LOOK)[name]
    if name in LOOK and change(FRAMES).shape[:2] != FRAMES.shape[:2]:
        message = f"{message}|observed: expected"  # the mask no longer fits either
    with pytest.raises((ValueError, TypeError), match=message):
        ask(*build_guide(pair), change(FRAMES))


@pytest.mark.parametrize("pair", PAIRS)
def test_missing_frames_may_hold_anything(pair):
    model, guide = build_guide(pair)
    frames = holding(torch.nan, (0, 2))
    queries.impute(model, guide, frames, SEEN)
    assert svi_of(model, guide).step(frames, SEEN).isfinite()


def test_the_noise_of_simulated_frames_is_no_fault():
    model, guide = build_guide("DiscoveryPropagationGuide")
    frames, _ = simulate(model, FRAMES)
    assert frames.min() < 0
    assert log_evidence(model, guide, frames, num_particles=1).log_evidence.isfinite().all()


def test_frames_on_another_device_are_refused():
    model, _ = build_guide(PAIRS[0])
    with pytest.raises(ValueError, match="frames: expected a tensor on cpu, where the parameters .*, got one on meta"):
        model(FRAMES.to("meta"))
    with pytest.raises(ValueError, match="observed: expected a tensor on cpu, where the frames are, got one on meta"):
        model(FRAMES, SEEN.to("meta"))


@pytest.mark.parametrize("compile", ["off", "trace"])
def test_a_step_that_nobody_waits_for_names_the_frames_afterwards(compile):
    model, guide = build_guide(PAIRS[0])
    svi = svi_of(model, guide, compile=compile)
    with pyro.validation_enabled(False):
        svi.step(FRAMES, SEEN)
        svi.check_finite()
        svi.step(holding(torch.nan, (1, 1)), SEEN)
        with pytest.raises(
            NonFiniteError, match=r"step 1: loss .*; frames: expected finite values .* got NaN.*\(first at step 1\)"
        ):
            svi.check_finite()


def test_one_frame_for_parts_between_frames_is_one_mismatch():
    with pytest.raises(ValueError, match=r"1 mismatch:\n  - frames: expected at least two frames, to reach \d+ param"):
        check_guide(*build_guide("DiscoveryPropagationGuide"), FRAMES[:, :1])


@pytest.mark.parametrize(
    ("frames", "message"),
    [(FRAMES * 255, "got 0 to 255; these look like bytes"), (holding(torch.nan, (0, 0)), "expected finite values")],
    ids=["bytes", "NaN"],
)
def test_a_file_of_videos_is_looked_at_when_it_is_loaded(tmp_path, frames, message):
    save_videos(tmp_path / "videos.npz", VideoBatch(frames))
    with pytest.raises(ValueError, match=message):
        load_videos(tmp_path / "videos.npz")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda pair: log_evidence(*pair, FRAMES, num_particles=10**13), r"num_particles: .* take [\d,.]+ GB; give"),
        (lambda pair: log_evidence(*pair, FRAMES, num_particles=2, method=FIVO(10**12)), "num_particles: .* GB; give"),
        (lambda pair: queries.reconstruct(*pair, FRAMES, num_samples=10**12), "num_samples: .* GB; give fewer"),
        (lambda pair: queries.forecast(*pair, FRAMES, num_frames=10**12), "num_frames: .* GB; give fewer"),
        (lambda pair: queries.generate(pair[0], 10**12, 3), "num_sequences: .* GB; give fewer"),
        (lambda pair: calibrate(*pair, FRAMES, num_draws=10**13), "num_draws: .* GB; give fewer"),
        (lambda pair: Annealing(10**13), "num_temperatures: .* GB; give fewer"),
        (
            lambda pair: TrainingOptions(learning_rate=float("inf")),
            "learning_rate: expected a finite number of at least 0, got inf",
        ),
    ],
)
def test_numbers_beyond_memory_or_finite_numbers_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(build_guide("DiscoveryPropagationGuide"))
