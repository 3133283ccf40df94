"""VTSSI's guide (Akhundov et al. 2019): sizes, variants, what a step sees, and what is drawn aside."""

import pyro
import pytest
import torch
from pyro import poutine
from torch.distributions import kl_divergence

from guides import AIREncoder, FindAndFuseGuide, Finder, MotionFuser, Rectifier
from guides.find_and_fuse.first_frames import first_seen
from inference.programs.traces import importance_traces, sample_sites
from pyro_models import DisentangledStateSpaceModel, ObjectScenes
from tests.guides.vtssi_pairs import pair, video

VARIANTS = ("FIND", "RECT/FIND", "FIND/MOT", "VTSSI")
each = pytest.mark.parametrize("variant", VARIANTS)


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def traced(guide, *arguments):
    trace = poutine.trace(guide).get_trace(*arguments)
    return {name: node for name, node in sample_sites(trace).items() if not node["is_observed"]}


def test_parameter_counts():
    """Those of the paper's layers at 50 x 50, part by part."""
    model = DisentangledStateSpaceModel()
    scenes = model.scenes
    read, find, fuse, vote = AIREncoder(scenes), Finder(model), MotionFuser(model), Rectifier(scenes)
    assert count(read.count_maps, read.count) == 372_034
    assert count(read.places.maps) == 2_480
    assert count(read.places.recurrence) == 2_246_656
    assert count(read.places.scale, read.places.position) == 66_312
    assert count(read.what) == 198_312
    assert count(read, scenes.decoder) == 3_082_131
    assert count(find.kernel) == 241_312
    assert count(find.maps, find.feature) == 166_946
    assert count(find.position) == 11_844
    assert count(find) == 420_102
    assert count(fuse.recurrence) == 23_040
    assert count(fuse.heads) == 4_820
    assert count(fuse, model.transition) == 46_956
    assert count(vote.recurrence) == 225_280
    assert count(vote.logit) == 20_673
    assert count(vote) == 245_953
    guide = FindAndFuseGuide(model, read, find, rectifier=vote, fuser=fuse)
    assert count(model, guide) == 3_795_142


def test_parameter_counts_of_larger_frames():
    model = DisentangledStateSpaceModel(ObjectScenes((1, 64, 64), glimpse_size=32))
    read = AIREncoder(model.scenes)
    find = Finder(model, kernels=Finder(DisentangledStateSpaceModel()).kernels._replace(kernel=12))
    assert count(read, model.scenes.decoder) == 4_876_066
    assert count(find) == 694_886
    assert count(read, find, MotionFuser(model), Rectifier(model.scenes), model) == 5_863_861


@each
def test_a_variant_is_made_of_its_parts(variant):
    """Which parts a draw depends on: gradients of a site's mean."""
    _, guide = pair(variant)
    guide.eval()
    nodes = traced(guide, video())
    reached = {}
    for name in ("count_1", "z_scale_1", "z_what_1", "z_where_1", "z_where_2", "z_where_5"):
        law = nodes[name]["fn"]
        guide.zero_grad()
        law.mean.sum().backward(retain_graph=True)
        parts = {key.split(".")[0] for key, one in guide.named_parameters() if one.grad is not None and one.grad.any()}
        reached[name] = parts
    vote = {"rectifier"} if "RECT" in variant or variant == "VTSSI" else set()
    assert reached["count_1"] == reached["z_scale_1"] == reached["z_what_1"] == {"encoder"} | vote
    assert reached["z_where_1"] == ({"encoder", "finder"} | vote if vote else {"encoder"})
    assert reached["z_where_2"] == {"encoder", "finder"} | vote
    moves = {"fuser"} if variant in ("FIND/MOT", "VTSSI") else set()
    assert reached["z_where_5"] == {"encoder", "finder"} | vote | moves
    assert [name for name in nodes if "motion" in name] == ([f"z_motion_{t}" for t in (3, 4, 5, 6)] if moves else [])


@each
def test_a_step_sees_its_own_frame_and_those_of_the_rectifier(variant):
    """Changing frame 5 changes the distributions of step 5 and no earlier one."""
    _, guide = pair(variant)
    guide.eval()
    x = video()
    y = x.clone()
    y[:, 4] = 1 - y[:, 4]
    pyro.set_rng_seed(0)
    before = traced(guide, x)
    values = {name: node["value"] for name, node in before.items()}
    after = sample_sites(poutine.trace(poutine.condition(guide, values)).get_trace(y))
    for name, node in before.items():
        same = torch.equal(node["fn"].mean, after[name]["fn"].mean)
        step = int(name.rsplit("_", 1)[1])
        assert step > 5 or same == (step < 5), name


def test_single_frames_are_videos_of_one_frame():
    """Without a rectifier the first step is the variant AIR."""
    model, guide = pair("FIND")
    images, frame_guide = pair("AIR")
    images.scenes, frame_guide.encoder = model.scenes, guide.encoder
    weights = []
    for pair_of_one in ((model, guide), (images, frame_guide)):
        pair_of_one[1].eval()
        pyro.set_rng_seed(4)
        weights.append(importance_traces(*pair_of_one, (video(5, 1),), 4, particle_dim=-4).log_weights())
    torch.testing.assert_close(*weights)


def test_with_all_weight_on_the_prediction_it_is_drawn_from():
    model, guide = pair("VTSSI")
    guide.fuser.weights = (1.0, 1.0)
    traces = importance_traces(model, guide, (video(),), 1)
    for name in ("z_where_4", "z_where_6", "z_motion_4", "z_motion_6"):
        drawn, scored = (one.nodes[name]["fn"] for one in (traces.guide, traces.model))
        torch.testing.assert_close(kl_divergence(drawn, scored), torch.zeros(2, 3, dtype=torch.float64))
        assert drawn.base_dist.loc.requires_grad  # the dynamics learn from the frames that follow


def test_with_no_weight_on_the_prediction_frames_alone_count():
    model, guide = pair("VTSSI")
    guide.eval()
    guide.fuser.draw_weight = lambda like: torch.zeros_like(like[..., :1])
    x, laws = video(), []
    for shift in (0.0, 1.0):
        with torch.no_grad():
            for parameter in model.transition.parameters():
                parameter.add_(shift)
        pyro.set_rng_seed(7)
        laws.append(traced(guide, x))
    for name in ("z_where_5", "z_motion_5"):
        torch.testing.assert_close(laws[0][name]["fn"].mean, laws[1][name]["fn"].mean)
        torch.testing.assert_close(laws[0][name]["fn"].stddev, laws[1][name]["fn"].stddev)


def test_one_weight_for_position_and_motion_of_each_object_sequence_and_particle(monkeypatch):
    _, guide = pair("VTSSI")
    weights = []
    fuse = guide.fuser.fuse
    monkeypatch.setattr(guide.fuser, "fuse", lambda w, *others: weights.append(w) or fuse(w, *others))
    with pyro.plate("particles", 7, dim=-4):
        guide(video())
    assert len(weights) == 2 * 3
    assert all(one is other for one, other in zip(weights[::2], weights[1::2], strict=True))
    drawn = torch.stack(weights[::2])
    assert drawn.shape == (3, 7, 1, 2, 3, 1)
    assert len(drawn.unique()) == drawn.numel()
    assert 0.01 <= drawn.min() < 0.2
    assert 0.8 < drawn.max() <= 0.99
    guide.eval()
    weights.clear()
    guide(video())
    assert all(bool((weight == 0.5).all()) for weight in weights)


@pytest.mark.parametrize("way", ["found", "fused", "predicted"])
def test_what_the_finder_goes_on_from(way):
    """After frame M = 3: the position that it found, whatever was drawn, or the one that was drawn or predicted."""
    model, guide = pair("VTSSI")
    guide.finder_input = way
    guide.eval()
    previous = []
    forward = guide.finder.forward
    guide.finder.forward = lambda features, before: previous.append(before) or forward(features, before)
    values = {name: node["value"] for name, node in traced(guide, video()).items()}
    assert previous[0] is None
    wheres = [values[f"z_where_{t}"] for t in range(1, 5)]  # the first three are what was found
    predicted = [model.transition(wheres[t], values[f"z_motion_{t + 1}"]).position.loc for t in (2, 3)]
    assert torch.equal(previous[1], wheres[0])
    assert torch.equal(previous[2], 2 * wheres[1] - wheres[0] if way == "predicted" else wheres[1])
    assert torch.equal(previous[3], predicted[0] if way == "predicted" else wheres[2])
    assert torch.equal(previous[4], wheres[3]) == (way == "fused")
    assert torch.equal(previous[4], predicted[1]) == (way == "predicted")


def test_kernels_are_made_once_and_features_of_all_frames():
    _, guide = pair("VTSSI")
    calls = []
    guide.finder.kernel.register_forward_hook(lambda *_: calls.append(1))
    guide(video())
    assert calls == [1]


@each
def test_without_gradients_only_the_features_of_a_frame_are_kept_and_draws_are_the_same(variant):
    _, guide = pair(variant)
    frames, draws = video(), []
    for gradients in (True, False):
        torch.manual_seed(0)
        with torch.set_grad_enabled(gradients):
            context, state = guide.prepare(frames), None
            with poutine.trace() as trace, pyro.plate("sequences", len(frames), dim=-1):
                for index in range(frames.shape[1]):
                    state = guide.step(index, state, context)
                    ahead = frames.shape[1] - index - 1 if gradients else 0
                    assert state.features.shape[-2] == ahead
        draws.append({name: trace.trace.nodes[name]["value"].detach() for name in trace.trace.stochastic_nodes})
    torch.testing.assert_close(*draws)


@each
def test_a_forecast_rolls_the_dynamics_means(variant):
    """After the last frame that is seen: the transition on means, or the last position."""
    model, guide = pair(variant)
    x = video(frames=9)
    seen = torch.ones(3, 9, dtype=torch.bool)
    seen[:, 4:] = False
    values = guide.complete(x, seen)
    state = (values["z_where_4"], values.get("z_motion_4"))
    for t in range(5, 10):
        state = tuple(None if law is None else law.mean for law in model.next_laws(t - 1, state))
        torch.testing.assert_close(values[f"z_where_{t}"], state[0])
        assert torch.equal(values[f"z_where_{t}"], values["z_where_4"]) == (variant in ("FIND", "RECT/FIND"))
    shorter = guide.complete(x[:, :6], seen[:, :6])
    assert all(torch.equal(values[name], value) for name, value in shorter.items())


def test_a_completion_by_the_finder_alone_is_unaffected_by_the_dynamics():
    model, guide = pair("VTSSI")
    x, found, fused = video(), [], []
    for shift in (0.0, 1.0):
        with torch.no_grad():
            for parameter in model.transition.parameters():
                parameter.add_(shift)
        found.append(guide.complete(x, method="finder"))
        fused.append(guide.complete(x))
    for t in range(1, 7):
        name = f"z_where_{t}"
        assert torch.equal(found[0][name], found[1][name])
        assert torch.equal(found[0][name], fused[0][name]) == (t <= 3)
        assert torch.equal(fused[0][name], fused[1][name]) == (t <= 3)
    assert found[0]["z_where_6"].shape == (2, 3, 2)


def test_a_completion_counts_whole_objects():
    model, guide = pair("VTSSI", num_objects=3)
    counts = guide.complete(video(40))["count_1"]
    opacity = model.scenes.opacities(counts)
    torch.testing.assert_close(opacity, opacity.round(), rtol=0, atol=1e-6)
    assert torch.equal(model.scenes.presences(counts), opacity.round())
    drawn = traced(guide.eval(), video(40))["count_1"]["fn"].mean
    assert not torch.allclose(model.scenes.opacities(drawn), model.scenes.opacities(drawn).round(), atol=1e-3)


def test_a_completion_is_the_same_in_training():
    _, guide = pair("VTSSI")
    x = video()
    one, other = guide.complete(x), guide.eval().complete(x)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert guide.train().training
    guide.complete(x)
    assert all(module.training for module in guide.modules())


def test_the_first_frames_that_are_seen():
    images = torch.arange(8.0).reshape(2, 4, 1, 1).expand(2, 4, 3, 3)
    seen = torch.tensor([[False, True, False, True], [False, False, False, False]])
    firsts, valid = first_seen(images, seen, 3)
    assert firsts[:, 0, 0, 0].tolist() == [1.0, 3.0, 0.0]
    assert valid.T.tolist() == [[True, True, False], [False, False, False]]
    firsts, valid = first_seen(images, None, 9)
    assert firsts.shape == (4, 2, 3, 3)
    assert valid.all()


@pytest.mark.parametrize("variant", ["FIND", "VTSSI"])
def test_objects_are_read_from_the_first_frames_that_are_seen(variant):
    """A video whose first frame is missing looks like the video from its second frame on."""
    _, guide = pair(variant)
    guide.eval()
    x = video(frames=5)
    seen = torch.ones(3, 5, dtype=torch.bool)
    seen[:, 0] = False
    gap, whole = traced(guide, x, seen), traced(guide, x[:, 1:])
    for name in ("count_1", "z_scale_1"):
        torch.testing.assert_close(gap[name]["fn"].mean, whole[name]["fn"].mean)
    torch.testing.assert_close(gap["z_where_1"]["fn"].mean, torch.zeros(2, 3, 2, dtype=torch.float64))
