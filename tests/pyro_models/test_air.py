"""Attend, infer, repeat: its density by hand, slots that do not exist, scenes in pixels."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from torch.nn.functional import affine_grid, grid_sample

from pyro_models import AttendInferRepeat
from tests.contracts.scores import draw, score

FRAMES, SEQUENCES, SIDE = 2, 3, 9


def make(**options):
    pyro.set_rng_seed(1)
    settings = {"what_dim": 2, "glimpse_size": 4, "hidden": (5,), "another": 0.6, "num_slots": 3}
    model = AttendInferRepeat((1, SIDE, SIDE), **(settings | options)).double()
    frames = torch.rand(SEQUENCES, FRAMES, 1, SIDE, SIDE, dtype=torch.float64)
    return model, frames


def log_normal(x, mean, scale):
    return -0.5 * ((x - mean) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)


def by_hand(model, frames, latents, sequence, frame):
    """Log density of one frame, in scalars and loops, with torch's spatial transformer."""
    total, alive, canvas = 0.0, True, torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for index in range(1, model.num_slots + 1):
        presence = latents[f"z_pres_{index}"][frame, sequence].item()
        if not alive:
            continue
        chance = model.another.item()
        total += math.log(chance if presence else 1 - chance)
        alive = bool(presence)
        if not alive:
            continue
        where, what = (latents[f"{name}_{index}"][frame, sequence] for name in ("z_where", "z_what"))
        for value, mean, scale in zip(
            where.tolist(), model.where_mean.tolist(), model.where_scale.tolist(), strict=True
        ):
            total += log_normal(value, mean, scale)
        total += sum(log_normal(value, 0.0, 1.0) for value in what.tolist())
        patch = torch.sigmoid(model.decoder(what) - 2.0).reshape(1, 1, 4, 4)
        scale, shift = torch.sigmoid(where[0]), torch.tanh(where[1:])
        theta = torch.zeros(1, 2, 3, dtype=torch.float64)
        theta[0, 0, 0] = theta[0, 1, 1] = 1 / scale
        theta[0, :, 2] = -shift / scale
        grid = affine_grid(theta, [1, 1, SIDE, SIDE], align_corners=True)
        canvas = canvas + grid_sample(patch, grid, align_corners=True)[0, 0]
    pixels = log_normal(frames[sequence, frame, 0], canvas, model.frame_scale)
    return total + pixels.sum().item()


def test_density_by_hand():
    model, frames = make()
    latents = draw(model, (frames, None, None))
    counts = sum(torch.cumprod(torch.stack([latents[f"z_pres_{i}"] for i in (1, 2, 3)]), 0))
    assert len(counts.unique()) > 1  # several counts were drawn
    found = score(model, (frames, None, None), latents)
    expected = [sum(by_hand(model, frames, latents, n, t) for t in range(FRAMES)) for n in range(SEQUENCES)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-5)


def test_an_empty_scene_has_the_density_of_noise():
    """Published oracle: 2500 black pixels at 0.3 and nothing in sight, 712.585678 nats."""
    model = AttendInferRepeat(another=0.0).double()
    frames = torch.zeros(1, 1, 1, 50, 50, dtype=torch.float64)
    trace = poutine.trace(model).get_trace(frames)
    trace.compute_log_prob()
    assert trace.nodes["frames"]["log_prob"].item() == pytest.approx(712.585678, abs=1e-5)
    assert trace.log_prob_sum().item() == pytest.approx(712.585678, abs=1e-4)


def test_counts_are_geometric_up_to_the_last_slot():
    model, _ = make()
    frames = torch.zeros(20_000, 1, 1, SIDE, SIDE, dtype=torch.float64)
    latents = draw(model, (frames, None, None))
    counts = model.scene(latents).presence.sum(-1).flatten().long().bincount(minlength=4) / 20_000
    expected = torch.tensor([0.4, 0.4 * 0.6, 0.4 * 0.36, 0.216])
    torch.testing.assert_close(counts, expected, rtol=0, atol=0.015)


def test_what_is_said_of_absent_objects_means_nothing():
    model, frames = make()
    latents = draw(model, (frames, None, None))
    presence = model.scene(latents).presence.transpose(0, 1)
    assert 0 < presence.mean() < 1
    changed = dict(latents)
    for index in (1, 2, 3):
        absent = presence[..., index - 1] == 0
        for name in (f"z_where_{index}", f"z_what_{index}"):
            changed[name] = torch.where(absent[..., None], torch.randn_like(latents[name]), latents[name])
    before, after = (score(model, (frames, None, None), values) for values in (latents, changed))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
    canvases = [model.canvas(model.slots_of(values)) for values in (latents, changed)]
    torch.testing.assert_close(canvases[0], canvases[1], rtol=0, atol=1e-12)


def test_the_scene_is_where_patches_are_drawn():
    model, frames = make(glimpse_size=8)
    latents = draw(model, (frames, None, None))
    for index in (1, 2, 3):
        latents[f"z_where_{index}"] = torch.zeros_like(latents[f"z_where_{index}"]) + torch.tensor([0.0, 0.3, -0.2])
    scene = model.scene(latents)
    assert scene.presence.shape == (SEQUENCES, FRAMES, 3)
    assert scene.positions.shape == scene.box_sizes.shape == (SEQUENCES, FRAMES, 3, 2)
    assert scene.appearance.shape == (SEQUENCES, FRAMES, 3, 2)
    torch.testing.assert_close(scene.positions[0, 0, 0], 4 * (1 + torch.tensor([0.3, -0.2]).tanh()).double())
    torch.testing.assert_close(scene.box_sizes[0, 0, 0], torch.tensor([5.0, 5.0]).double())
    with torch.no_grad():
        model.decoder[-1].weight.zero_()
        model.decoder[-1].bias.fill_(40.0)  # white patches
    first, *others = model.slots_of(latents)
    alone = [first._replace(presence=torch.ones_like(first.presence))]
    alone += [other._replace(presence=torch.zeros_like(other.presence)) for other in others]
    patch = model.canvas(alone)[0, 0]
    columns = torch.arange(SIDE, dtype=torch.float64)
    x, y = (patch.sum(0) * columns).sum() / patch.sum(), (patch.sum(1) * columns).sum() / patch.sum()
    torch.testing.assert_close(torch.stack([x, y]), scene.positions[0, 0, 0], rtol=0, atol=0.15)


def test_colour_is_refused():
    with pytest.raises(ValueError, match="frame_shape: expected 1 channel, got 3"):
        AttendInferRepeat((3, 9, 9))
