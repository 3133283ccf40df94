"""DDPAE: its density by hand, poses as sums, the geometry of torch's spatial transformer, and what it refuses.

These tests pin: the log joint against torch written out; poses are cumulative sums within their bounds; rendering,
cropping and positions in pixels; the authors' number of parameters; particles with their own batch statistics; frames
that are not scored; wrong sizes, refused by name.
"""

import math

import pyro
import pytest
import torch
from pyro import poutine
from torch.nn.functional import affine_grid, grid_sample

from guides import PosePredictionGuide
from pyro_models import DDPAE
from pyro_models.components.glimpses import paste_glimpses, read_glimpses
from pyro_models.ddpae.networks import StridedDecoder, StridedEncoder
from pyro_models.ddpae.particle_batch_norm import ParticleBatchNorm
from pyro_models.ddpae.poses import bound_poses, middles, sum_changes, windows_of
from tests.contracts.scores import draw, score

INPUT, TIME, OBJECTS, SEQUENCES, SIDE = 2, 5, 3, 4, 8


def small(**options):
    settings = {"num_objects": OBJECTS, "num_input": INPUT, "what_dim": 3, "channels": 2, "glimpse_size": 8}
    return DDPAE((1, SIDE, SIDE), **(settings | options)).double().eval()


def video():
    return torch.rand(SEQUENCES, TIME, 1, SIDE, SIDE, dtype=torch.float64)


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def transformed(images, poses, side, *, inverse=False):
    """Torch's own spatial transformer, with coordinates from edge to edge and zeros outside.

    Args:
        images: (batch, height, width).
        poses: (batch, 3).
        side: height and width of the result.
        inverse: sample at (u - position) / scale instead of scale * u + position.
    """
    theta = torch.zeros(len(poses), 2, 3, dtype=poses.dtype)
    scale, position = poses[:, :1], poses[:, 1:]
    theta[:, 0, 0] = theta[:, 1, 1] = (1 / scale if inverse else scale)[:, 0]
    theta[:, :, 2] = -position / scale if inverse else position
    grid = affine_grid(theta, [len(poses), 1, side, side], align_corners=False)
    return grid_sample(images[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]


def random_poses(*batch):
    return bound_poses(torch.randn(*batch, 3, dtype=torch.float64) + torch.tensor([2.0, 0, 0]), 2.0)


# density


def by_hand(model, frames, latents, sequence):
    """Log joint of one sequence, in loops, with torch's spatial transformer."""
    total = torch.zeros((), dtype=torch.float64)
    canvas = torch.zeros(TIME, SIDE, SIDE, dtype=torch.float64)

    def add(value, mean, scale):
        nonlocal total
        total = total + torch.distributions.Normal(mean, scale).log_prob(value).sum()

    for index in range(OBJECTS):
        pose, content = (latents[name][index, sequence] for name in ("initial_pose", "content"))
        add(pose[0], 2.0, 0.2), add(pose[1:], 0.0, 1.0), add(content, 0.0, 1.0)
        image = model.decoder(content[None])
        for time in range(TIME):
            name, place = ("input_beta", time) if time < INPUT else ("pred_beta", time - INPUT)
            beta = latents[name][place, index, sequence]
            add(beta, 0.0, 0.1)
            pose = pose + beta
            scale = min(max(pose[0].item(), 1.0), 3.0)
            x, y = (math.tanh(pose[axis].item()) * (scale - 0.5) for axis in (1, 2))
            shown = torch.tensor([[scale, x, y]], dtype=torch.float64)
            canvas[time] += transformed(image, shown, SIDE)[0]
    add(frames[sequence, :, 0], canvas.clamp(max=1.0), 0.3)
    return total


def test_log_joint_by_hand():
    model, frames = small(), video()
    latents = draw(model, (frames, None, None))
    assert {name: tuple(value.shape) for name, value in latents.items()} == {
        "input_beta": (INPUT, OBJECTS, SEQUENCES, 3),
        "pred_beta": (TIME - INPUT, OBJECTS, SEQUENCES, 3),
        "initial_pose": (OBJECTS, SEQUENCES, 3),
        "content": (OBJECTS, SEQUENCES, 3),
    }
    latents["input_beta"][0, 0, 0, 0] += 2.0  # a clamped scale, and sums of pixels above 1
    scores = score(model, (frames, None, None), latents)
    torch.testing.assert_close(scores, torch.stack([by_hand(model, frames, latents, one) for one in range(SEQUENCES)]))


def test_a_perfect_frame_has_the_density_on_paper():
    """0.285034 nats a pixel: 1167.5004 for 64 x 64."""
    model = DDPAE(num_input=1, what_dim=4).eval()
    frames = torch.zeros(2, 3, 1, 64, 64)
    latents = draw(model, (frames, None, None))
    with torch.no_grad():
        means = poutine.condition(model, latents)(frames)
    frames = means.transpose(0, 1)[:, :, None]
    trace = poutine.trace(poutine.condition(model, latents)).get_trace(frames)
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["frames"]["log_prob"].squeeze(), torch.full((3, 2), 1167.5004))


@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
def test_the_input_may_be_left_out_of_the_likelihood(missing):
    frames, observed = video(), torch.rand(SEQUENCES, TIME) < 0.5
    observed[0] = True
    scores = []
    for score_input in (True, False):
        pyro.set_rng_seed(1)
        model = small(score_input=score_input)
        latents = draw(model, (frames, None, None))
        trace = poutine.trace(poutine.condition(model, latents)).get_trace(frames, observed if missing else None)
        trace.compute_log_prob()
        scores.append(trace.nodes["frames"]["log_prob"].squeeze())
        assert trace.nodes["input_beta"]["log_prob"].all()
    whole, head_left_out = scores
    torch.testing.assert_close(head_left_out[INPUT:], whole[INPUT:])
    assert not head_left_out[:INPUT].any()
    assert whole[:INPUT, 0].all()


# poses


def test_poses_are_cumulative_sums():
    initial = torch.randn(OBJECTS, SEQUENCES, 3, dtype=torch.float64)
    changes = torch.randn(TIME, OBJECTS, SEQUENCES, 3, dtype=torch.float64)
    poses = sum_changes(initial, changes)
    torch.testing.assert_close(poses[0], initial + changes[0])
    torch.testing.assert_close(poses[1:] - poses[:-1], changes[1:])
    assert torch.equal(sum_changes(initial, torch.zeros_like(changes)), initial.expand_as(changes))
    particles = sum_changes(torch.stack([initial, 2 * initial])[:, None], torch.stack([changes, changes]))
    torch.testing.assert_close(particles[1], sum_changes(2 * initial, changes))


def test_bounds_of_poses():
    poses = bound_poses(torch.randn(10_000, 3) * 5, 3.0)
    scale, position = poses[:, :1], poses[:, 1:]
    assert (scale.min(), scale.max()) == (2.0, 4.0)
    assert (position.abs() <= scale - 0.5).all()
    torch.testing.assert_close(bound_poses(torch.tensor([2.3, 0.0, 0.5]), 2.0)[2].item(), math.tanh(0.5) * 1.8)


def test_middles_in_pixels():
    """(1 - x / scale) / 2 of the frame, from edge to edge: 0.35 and 0.6 of 64 pixels."""
    found = middles(torch.tensor([2.0, 0.6, -0.4]), 64)
    torch.testing.assert_close(found, torch.tensor([21.9, 37.9]))
    windows = windows_of(torch.tensor([2.0, 0.6, -0.4]), 64, 32)
    torch.testing.assert_close(windows.middles(64, 64), found)


@pytest.mark.parametrize(("frame", "glimpse"), [(16, 8), (12, 12), (9, 20)])
def test_rendering_is_torchs_spatial_transformer(frame, glimpse):
    poses, images = random_poses(50), torch.rand(50, glimpse, glimpse, dtype=torch.float64)
    rendered = paste_glimpses(images, windows_of(poses, frame, glimpse), (frame, frame))
    torch.testing.assert_close(rendered, transformed(images, poses, frame), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("frame", "glimpse"), [(16, 8), (12, 12), (9, 20)])
def test_cropping_is_torchs_spatial_transformer(frame, glimpse):
    poses, frames = random_poses(50), torch.rand(50, frame, frame, dtype=torch.float64)
    crops = read_glimpses(frames, windows_of(poses, frame, glimpse), (glimpse, glimpse))
    torch.testing.assert_close(crops, transformed(frames, poses, glimpse, inverse=True), rtol=0, atol=1e-9)


def test_a_crop_inverts_a_rendering():
    """Exactly, off the object's edges and inside the frame, for an image that bilinear interpolation keeps: a plane."""
    pixel = torch.linspace(0, 1, 16, dtype=torch.float64)
    plane = 0.2 + 0.5 * pixel[:, None] + 0.3 * pixel
    poses = torch.tensor([[2.0, 0.6, -0.4], [1.5, 0.4, 0.3], [2.9, -1.5, 1.1]], dtype=torch.float64)
    windows = windows_of(poses, 64, 16)
    rendered = paste_glimpses(plane.expand(3, 16, 16), windows, (64, 64))
    assert (rendered == 0).any((1, 2)).all()
    crops = read_glimpses(rendered, windows, (16, 16))
    torch.testing.assert_close(crops[:, 1:-1, 1:-1], plane[1:-1, 1:-1].expand(3, 14, 14))


def test_scene():
    model, frames = small(), video()
    for particles in (0, 2):
        latents = draw(model, (frames, None, None), particles, 3)
        scene = model.scene(latents)
        lead = (*[particles] * bool(particles), SEQUENCES, TIME, OBJECTS)
        assert scene.positions.shape == scene.box_sizes.shape == (*lead, 2)
        assert scene.presence.shape == scene.identities.shape == lead
        assert scene.appearance.shape == (*lead, 3)
        assert scene.presence.all()
        assert torch.equal(scene.identities.reshape(-1, OBJECTS)[7], torch.arange(OBJECTS))
    particle, sequence, time, index = 1, 3, 2, 1
    pose = latents["initial_pose"][particle, 0, index, sequence] + latents["input_beta"][
        particle, :, index, sequence
    ].sum(0)
    pose = bound_poses(pose + latents["pred_beta"][particle, 0, index, sequence], 2.0)
    torch.testing.assert_close(scene.positions[particle, sequence, time, index], middles(pose, SIDE))
    torch.testing.assert_close(scene.box_sizes[particle, sequence, time, index, 0], SIDE / pose[0])
    assert torch.equal(
        scene.appearance[particle, sequence, time, index], latents["content"][particle, 0, index, sequence]
    )


def test_a_rendered_object_is_where_the_scene_says():
    model, frames = small(num_objects=1, glimpse_size=None), torch.zeros(1, 3, 1, SIDE, SIDE, dtype=torch.float64)
    model.decoder.forward = lambda codes, num_particles: torch.ones(len(codes), 4, 4, dtype=torch.float64)
    latents = {name: torch.zeros_like(value) for name, value in draw(model, (frames, None, None)).items()}
    latents["initial_pose"] += torch.tensor([2.0, math.atanh(0.5 / 1.5), -math.atanh(0.25 / 1.5)])
    canvas = poutine.condition(model, latents)(frames)[0, 0]
    pixel = torch.arange(SIDE, dtype=torch.float64)
    found = torch.stack([(canvas.sum(-2) * pixel).sum(), (canvas.sum(-1) * pixel).sum()]) / canvas.sum()
    torch.testing.assert_close(found, model.scene(latents).positions[0, 0, 0])
    torch.testing.assert_close(found, torch.tensor([2.5, 4.0], dtype=torch.float64))
    assert canvas.sum().item() == pytest.approx(16)  # 4 x 4 pixels


# networks


@pytest.mark.parametrize(("side", "units", "total"), [(64, 64, 706_364), (128, 128, 1_807_420)])
def test_parameters_of_the_authors_code(side, units, total):
    model = DDPAE((1, side, side), num_objects=4 if side == 128 else 2, object_scale=4.0)
    guide = PosePredictionGuide(model, units=units)
    assert count(model, guide) == total
    if side == 64:
        parts = (guide.poses, guide.contents.encoder, model.decoder)
        assert [count(part) for part in parts] == [488_044, 76_000, 76_016]
        assert count(guide.contents) - count(guide.contents.encoder) == 66_304


def test_networks_are_mirror_images():
    for side in (4, 8, 32):
        encoder, decoder = StridedEncoder(side, 5, 2), StridedDecoder(side, 5, 2)
        images = decoder(torch.randn(6, 5))
        assert images.shape == (6, side, side)
        assert encoder(images).shape == (6, 5)
        assert (images > 0).all()
        assert (images < 1).all()


def test_weights_start_as_in_the_authors_code():
    """N(0, 0.02^2) in convolutions and linear layers, N(1, 0.02^2) in batch normalisation, biases of zero."""
    model = DDPAE(released_weights=True)
    guide = PosePredictionGuide(model, released_weights=True)
    weights, gains, biases = [], [], []
    for module in (*model.modules(), *guide.modules()):
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)):
            weights.append(module.weight.flatten())
        elif isinstance(module, ParticleBatchNorm):
            gains.append(module.weight)
        else:
            continue
        biases += [] if module.bias is None else [module.bias]
    assert sum(map(len, weights)) > 450_000
    for values, mean in ((torch.cat(weights), 0.0), (torch.cat(gains), 1.0)):
        assert values.mean().item() == pytest.approx(mean, abs=0.1 * 0.02)
        assert values.std().item() == pytest.approx(0.02, rel=0.1)
    assert biases
    assert not torch.cat(biases).any()


def test_by_default_half_of_the_last_filters_light_pixels_up():
    """Objects are grey on the whole, with the authors' weights everywhere, but not in every pixel."""
    codes = torch.randn(50, 128)
    signed, released = (DDPAE(released_weights=flag).decoder for flag in (False, True))
    weight = signed.layers[-2].weight
    assert (weight[::2] > 0.1).all()
    assert (weight[1::2] < -0.1).all()
    assert signed(codes).mean().item() == pytest.approx(0.5, abs=0.02)
    assert signed(codes).std() > 0.1
    assert released(codes).std() < 0.05


def test_each_particle_has_its_own_batch_statistics():
    pyro.set_rng_seed(3)
    images = torch.randn(3, 6, 2, 4, 4) * torch.tensor([1.0, 2.0, 5.0])[:, None, None, None, None]
    together, alone = ParticleBatchNorm(2), [ParticleBatchNorm(2) for _ in range(3)]
    found = together(images.flatten(0, 1), 3).unflatten(0, (3, 6))
    torch.testing.assert_close(found, torch.stack([norm(one) for norm, one in zip(alone, images, strict=True)]))
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(norm, name) for norm in alone]).mean(0)
        torch.testing.assert_close(getattr(together, name), mean)
    assert together.num_batches_tracked == 1
    assert not torch.allclose(found, ParticleBatchNorm(2)(images.flatten(0, 1)).unflatten(0, (3, 6)), atol=0.1)
    fixed = together.eval()(images.flatten(0, 1), 3)
    torch.testing.assert_close(fixed, together(images.flatten(0, 1)))
    assert together.num_batches_tracked == 1


# refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_shape": (3, 64, 64)}, r"frame_shape: expected square grey frames, .*got \(3, 64, 64\)"),
        ({"frame_shape": (1, 64, 32)}, r"frame_shape: expected square grey frames, .*got \(1, 64, 32\)"),
        ({"frame_shape": (1, 48, 48)}, r"frame_shape: expected a side of 4 \* 2\^n pixels .*got 48; pad, crop"),
        ({"frame_shape": (1, 4, 4)}, "frame_shape: expected a side of at least 8 pixels, got 4"),
        ({"glimpse_size": 20}, r"glimpse_size: expected a side of 4 \* 2\^n pixels .*got 20"),
        ({"num_input": 0}, "num_input: expected a whole number of at least 1, got 0$"),
        ({"num_objects": 0}, "num_objects: expected a whole number of at least 1, got 0$"),
        ({"object_scale": 1.0}, "object_scale: expected at least 1.5, .*got 1.0; 2 is half the frame"),
    ],
)
def test_sizes_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        DDPAE(**({"frame_shape": (1, 16, 16)} | options))


def test_clips_that_leave_no_frame_to_predict_are_refused():
    message = "frames: expected clips of at least num_input [+] 1 = 3 frames, got 2; give longer clips, or a model with"
    with pytest.raises(ValueError, match=message):
        small()(video()[:, :2])
    small()(video()[:, :3])
