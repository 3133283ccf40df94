"""Models whose latents are whole paths, or scenes in a plate of time, are the same joint when run step by step.

What models and guides with one site per step promise is in `test_stepwise.py`.
"""

import pyro
import pytest
import torch
from pyro import poutine

from inference import FIVO, IWAE, VIMCO, Pilot, log_evidence
from inference.estimators.particle_filter import ParticleFilter, Resampling
from inference.programs.traces import sample_sites
from tests.contracts.registry import GUIDES, MODELS, build_guide, make_video, unsettle

PATHS = ["KalmanGuide, collapsed", *(name for name in GUIDES if name.startswith("Object") and "States" not in name)]
SCENES = [name for name in GUIDES if name.startswith("GlimpseAttentionGuide") and "enumerat" not in name]


def pair_and_video(name, missing):
    model, guide = (module.double() for module in build_guide(name))
    unsettle(guide)
    frames, observed, controls = make_video(MODELS[GUIDES[name].model].control_dim, torch.float64)
    frames = torch.where(observed[:, :, None, None, None], frames, torch.nan) if missing else frames
    return model, guide, (frames, observed if missing else None, controls)


def test_there_are_such_models():
    assert len(PATHS) >= 3
    assert SCENES


@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
@pytest.mark.parametrize("num_particles", [1, 3])
@pytest.mark.parametrize("name", PATHS + SCENES)
def test_the_joint_of_the_steps_is_that_of_the_whole(name, num_particles, missing):
    model, guide, args = pair_and_video(name, missing)
    joint, values = 0, []

    def watch(step):
        nonlocal joint
        joint = joint + step.traces.log_joint()
        values.append({site["name"]: site["value"].detach() for site in sample_sites(step.traces.guide).values()})

    ParticleFilter(num_particles, Resampling(threshold=0.0)).run(model, guide, args, watch=watch)
    if name in PATHS:
        whole = {"a": torch.stack([next(iter(step.values())) for step in values], -2)}
    else:
        whole = {key: join([step[key] for step in values]) for key in values[0]}
    particles = pyro.plate("particles", num_particles, dim=-3) if num_particles > 1 else poutine.block()
    with particles:
        trace = poutine.trace(poutine.condition(model, whole)).get_trace(*args)
    trace.compute_log_prob()
    total = 0
    for site in sample_sites(trace).values():
        if site["name"] not in ("sequences", "time", "objects"):
            log_prob = site["log_prob"].reshape(num_particles, -1, site["log_prob"].shape[-1])
            total = total + log_prob.sum(1)
    torch.testing.assert_close(joint.detach(), total.detach(), rtol=1e-7, atol=1e-6)
    assert bool(torch.isfinite(total).all())


def join(steps):
    """Values (*particles, 1, sequences, *event) of each step, along the plate of time."""
    dim = next(d for d in range(-steps[0].dim(), 0) if steps[0].shape[d] == 1 and steps[0].shape[d + 1] == 5)
    return torch.cat(steps, dim)


@pytest.mark.parametrize("name", PATHS + SCENES)
def test_filters_with_pilots_take_them_and_their_gradients_reach_the_guide(name):
    model, guide, args = pair_and_video(name, True)
    result = log_evidence(model, guide, *args, num_particles=2, method=FIVO(6), pilot=Pilot(8, 1))
    assert bool(torch.isfinite(result.log_evidence).all())
    FIVO(3).differentiable_loss(model, guide, *args).backward()
    assert any(parameter.grad is not None and bool((parameter.grad != 0).any()) for parameter in guide.parameters())


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", SCENES)
def test_independent_frames_without_resampling_are_the_whole(name):
    """The same draws in another order: equal in distribution, so compared as bounds by their means."""
    model, guide, args = pair_and_video(name, False)
    values = []
    for loss in (FIVO(2, threshold=0.0), VIMCO(2) if "z_pres" in str(guide) or True else IWAE(2)):
        pyro.set_rng_seed(3)
        values.append(torch.tensor([loss.loss(model, guide, *args) for _ in range(40)], dtype=torch.float64))
    difference = values[0].mean() - values[1].mean()
    error = (values[0].var() / 40 + values[1].var() / 40).sqrt()
    assert difference.abs() < 5 * error
