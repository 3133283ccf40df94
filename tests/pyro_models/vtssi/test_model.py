"""VTSSI's model (Akhundov et al. 2019): its joint by hand, what its gradients reach, and its rollout."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from guides import log_joint
from inference.programs.traces import sample_sites
from pyro_models import ContinuousAttendInferRepeat, DisentangledStateSpaceModel, MotionTransition, ObjectScenes
from pyro_models.vtssi.model import check_scenes

SHAPE = (1, 12, 10)


def scenes(**options):
    return ObjectScenes(SHAPE, **({"what_dim": 3, "glimpse_size": 5, "hidden": (7,)} | options))


def small(first_motion=3, motion_dim=4, residual=False, options=None, **settings):
    """A model off its initial values."""
    transition = None if first_motion is None else MotionTransition(motion_dim, (6, 6), 5, residual=residual)
    model = DisentangledStateSpaceModel(
        scenes(**(options or {})), first_motion=first_motion, transition=transition, **settings
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double().eval()


def drawn(model, frames, particles=None):
    program = model if particles is None else pyro.plate("particles", particles, dim=-4)(model)
    return values_of(poutine.trace(program).get_trace(frames))


def values_of(trace):
    return {name: site["value"] for name, site in sample_sites(trace).items() if not site["is_observed"]}


def video(sequences=5, frames=6):
    return torch.rand(sequences, frames, *SHAPE, dtype=torch.float64)


@pytest.mark.parametrize("counting", ["masked", "always_on"])
def test_the_joint_by_hand(counting):
    """Every factor of appendix A, object by object; latents of objects that are not in play count for nothing."""
    model, x = small(options={"counting": counting, "count_mean": 0.3}), video(12)
    values = drawn(model, x)
    count, scale, what = values["count_1"], values["z_scale_1"], values["z_what_1"]
    where = [values[f"z_where_{t}"] for t in range(1, 7)]
    motion = {t: values[f"z_motion_{t}"] for t in range(3, 7)}
    assert set(values) == {"count_1", "z_scale_1", "z_what_1"} | {f"z_where_{t}" for t in range(1, 7)} | {
        f"z_motion_{t}" for t in range(3, 7)
    }
    number = 2 * count.sigmoid()
    opacity = torch.stack([number.clamp(max=1), (number - 1).clamp(min=0)])
    assert 0 < (opacity[1] == 0).sum() < 12
    total = dist.Normal(0.3, 1.0).log_prob(count)
    for i in range(2):
        own = dist.Normal(torch.tensor([0.3, 0.4]).double(), 0.1).log_prob(scale[i]).sum(-1)
        own = (
            own + dist.Normal(0.0, 1.0).log_prob(what[i]).sum(-1) + dist.Normal(0.0, 1.0).log_prob(where[0][i]).sum(-1)
        )
        for t in (1, 2):
            own = own + dist.Normal(where[t - 1][i], 0.1).log_prob(where[t][i]).sum(-1)
        own = own + dist.Normal(0.0, 1.0).log_prob(motion[3][i]).sum(-1)
        for t in (3, 4, 5):
            state = torch.cat([where[t - 1][i], motion[t][i]], -1)
            place, move = model.transition.position(state), model.transition.motion(state)
            own = own + dist.Normal(place.loc.tanh(), place.scale).log_prob(where[t][i]).sum(-1)
            own = own + dist.Normal(move.loc, move.scale).log_prob(motion[t + 1][i]).sum(-1)
        total = total + (own * (opacity[i] > 0) if counting == "masked" else own)
    for t in range(6):
        mean = sum(
            model.scenes.canvas(
                (opacity[i, :, None, None] * model.scenes.decoder(what[i]).sigmoid().unflatten(-1, (5, 5)))[None],
                scale[i][None],
                where[t][i][None],
            )
            for i in range(2)
        )
        total = total + dist.Normal(mean, 0.3).log_prob(x[:, t, 0]).sum((-1, -2))
    torch.testing.assert_close(log_joint(model, values, x), total)


def test_frames_without_objects_in_the_plain():
    """0.285034 nats a pixel for a frame without an error."""
    model = DisentangledStateSpaceModel()
    likelihood = model.scenes.likelihood(torch.zeros(3, 50, 50))
    assert likelihood.log_prob(torch.zeros(3, 1, 50, 50)).tolist() == pytest.approx([712.5857] * 3, rel=1e-6)
    assert likelihood.log_prob(torch.zeros(1, 50, 50))[0] / 2500 == pytest.approx(0.285034, abs=1e-6)


def test_the_random_walk_passes_no_gradient_on():
    """log N(b; a, 0.1) has the slope -20 in b at a = 0.3, b = 0.5, and 20 in a, or none if a is detached."""
    a, b = (torch.full((2, 1, 2), value, dtype=torch.float64, requires_grad=True) for value in (0.3, 0.5))
    results = []
    for detach in (True, False):
        law, _ = small(detach_previous=detach).next_laws(1, (a, None))
        value = law.log_prob(b).sum()
        results.append(value.item())
        slopes = torch.autograd.grad(value, (a, b), allow_unused=True)
        assert slopes[0] is None if detach else torch.allclose(slopes[0], torch.tensor(20.0).double())
        torch.testing.assert_close(slopes[1], torch.full_like(b, -20))
    assert results[0] == results[1]


def test_the_detachment_changes_no_bit_of_the_joint():
    x, values = video(), drawn(small(), video())
    models = [small(detach_previous=detach) for detach in (True, False)]
    models[1].load_state_dict(models[0].state_dict())
    assert torch.equal(log_joint(models[0], values, x), log_joint(models[1], values, x))


def test_the_dynamics_pass_gradients_on():
    """The detachment is that of the random walk alone: motion could not learn otherwise."""
    model = small(first_motion=1)
    before = tuple(torch.randn(2, 3, size, dtype=torch.float64, requires_grad=True) for size in (2, 4))
    for law in model.next_laws(1, before):
        slopes = torch.autograd.grad(law.mean.sum(), before)
        assert all(bool((slope != 0).all()) for slope in slopes)


def test_objects_of_equal_opacity_are_interchangeable():
    model, x = small(), video()
    values = drawn(model, x)
    values["count_1"] = torch.full_like(values["count_1"], 30.0)  # both fully there
    swapped = {name: value if name == "count_1" else value.flip(0) for name, value in values.items()}
    torch.testing.assert_close(log_joint(model, swapped, x), log_joint(model, values, x))


def test_an_object_out_of_play_changes_neither_value_nor_gradient():
    model, x = small(), video()
    values = drawn(model, x)
    values["count_1"] = torch.full_like(values["count_1"], -0.1)  # n = 0.95
    for name in values:
        values[name] = values[name].requires_grad_()
    total = log_joint(model, values, x).sum()
    slopes = dict(zip(values, torch.autograd.grad(total, list(values.values())), strict=True))
    for name, slope in slopes.items():
        if name != "count_1":
            assert not slope[1].any(), name
            assert slope[0].any(), name
    other = {
        name: value if name == "count_1" else value + torch.tensor([0.0, 1.7])[:, None, None]
        for name, value in values.items()
    }
    torch.testing.assert_close(log_joint(model, other, x).sum(), total)


@pytest.mark.parametrize("residual", [False, True])
def test_a_rollout_goes_on_from_its_last_state(residual):
    """Ten steps are four steps and then six from the position and motion that these return."""
    model = small(residual=residual)

    def roll(state, steps):
        path = []
        for _ in range(steps):
            state = tuple(law.mean for law in model.next_laws(7, state))
            path.append(state)
        return path

    start = (torch.randn(2, 3, 2, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64))
    whole = roll(start, 10)
    parts = roll(start, 4)
    parts += roll(parts[-1], 6)
    torch.testing.assert_close(whole, parts, rtol=0, atol=0)
    assert not torch.allclose(whole[0][0], whole[9][0])


def test_dynamics_that_keep_the_position_keep_it():
    model = small(residual=True)
    with torch.no_grad():
        for parameter in model.transition.position.heads.loc.parameters():
            parameter.zero_()
    state = (torch.randn(2, 3, 2, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64))
    for index in range(5, 15):
        after = tuple(law.mean for law in model.next_laws(index, state))
        torch.testing.assert_close(after[0], state[0], rtol=0, atol=0)
        assert not torch.equal(after[1], state[1])
        state = after


def test_positions_may_leave_the_frame_by_the_gain():
    steps = MotionTransition(4, (6, 6), 5, gain=1.5)
    with torch.no_grad():
        steps.position.heads.loc[-1].bias.fill_(40.0)
    torch.testing.assert_close(steps(torch.zeros(3, 2), torch.zeros(3, 4)).position.loc, torch.full((3, 2), 1.5))


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_short_videos_have_the_variables_of_their_frames(frames):
    values = drawn(small(first_motion=3), video(frames=frames))
    assert sum(name.startswith("z_motion") for name in values) == max(frames - 2, 0)
    assert sum(name.startswith("z_where") for name in values) == frames
    values = drawn(small(first_motion=None), video(frames=frames))
    assert not any(name.startswith("z_motion") for name in values)


def test_particles_stay_apart_when_frames_are_joined():
    """(particles, time, ...), never particles times particles."""
    model, x = small(), video()
    with pyro.plate("particles", 7, dim=-4):
        trace = poutine.trace(model).get_trace(x)
    trace.compute_log_prob()
    assert trace.nodes["frames"]["log_prob"].shape == (7, 6, 1, 5)


def test_a_scene_in_pixels():
    model, x = small(), video()
    values = drawn(model, x)
    values["count_1"] = torch.tensor([-5.0, -1.0, 0.0, 1.0, 5.0], dtype=torch.float64)
    scene = model.scene(values)
    assert scene.presence[:, 0].tolist() == [[0, 0], [1, 0], [1, 0], [1, 0], [1, 1]]
    assert torch.equal(scene.presence, scene.presence[:, :1].expand(5, 6, 2))
    for t in range(6):
        expected = (values[f"z_where_{t + 1}"].transpose(0, 1) + 1) * torch.tensor([5.0, 6.0]) - 0.5
        torch.testing.assert_close(scene.positions[:, t], expected.double())
    torch.testing.assert_close(scene.box_sizes[:, 3], values["z_scale_1"].transpose(0, 1) * torch.tensor([10.0, 12.0]))
    assert scene.identities[4, :, 1].tolist() == [1] * 6
    assert scene.identities[1, :, 1].tolist() == [-1] * 6
    with_draws = {name: value.expand(3, 1, *(1,) * (name == "count_1"), *value.shape) for name, value in values.items()}
    torch.testing.assert_close(model.scene(with_draws).positions, scene.positions.expand(3, 5, 6, 2, 2))


def test_single_frames_share_the_scenes():
    """The bound of single frames trains the same networks: a frame is scored as a video of one frame is."""
    model, x = small(first_motion=None), video(frames=1)
    images = ContinuousAttendInferRepeat(model.scenes)
    values = drawn(model, x)
    renamed = {name.removesuffix("_1"): value for name, value in values.items()}
    renamed = {name: value[None, None] if name == "count" else value[None] for name, value in renamed.items()}
    torch.testing.assert_close(log_joint(images, renamed, x), log_joint(model, values, x))
    assert {id(one) for one in images.parameters()} == {id(one) for one in model.parameters()}
    torch.testing.assert_close(images.scene(renamed).positions, model.scene(values).positions)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: DisentangledStateSpaceModel(first_motion=0),
            ValueError,
            "^first_motion: expected a whole number of at least 1 or None, got 0$",
        ),
        (
            lambda: DisentangledStateSpaceModel(first_motion=None, transition=MotionTransition()),
            ValueError,
            "transition: expected None for a model without motion, got one; give first_motion",
        ),
        (lambda: check_scenes((1, 50, 50)), TypeError, "scenes: expected an ObjectScenes, got tuple; write Object"),
    ],
)
def test_models_that_cannot_be_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()
