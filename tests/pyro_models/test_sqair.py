"""SQAIR's model (Kosiorek et al. 2018): sizes of the authors' networks, counts, slots and names by hand."""

import math

import pyro
import pytest
import torch
from pyro import poutine

from pyro_models import SequentialAttendInferRepeat
from pyro_models.components.glimpse_networks import GlimpseNetworks
from pyro_models.sqair.model import TrackedObjects
from pyro_models.sqair.object_slots import ObjectSlots

SMALL = {
    "num_slots": 3,
    "what_dim": 3,
    "glimpse_size": (4, 4),
    "networks": GlimpseNetworks(units=7),
    "units": 8,
    "context_units": 5,
    "where_mean": (-0.5, -0.5, 0.0, 0.0),
    "propagation_offset": 1.0,
    "later_offset": 0.0,
}


def small(**options):
    model = SequentialAttendInferRepeat((1, 12, 12), **(SMALL | options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def drawn(model, sequences=200, frames=6, particles=None):
    """A trace of the prior."""
    program = model if particles is None else pyro.plate("particles", particles, dim=-3)(model)
    trace = poutine.trace(poutine.uncondition(program)).get_trace(torch.zeros(sequences, frames, *model.frame_shape))
    trace.compute_log_prob()
    return trace


def latents_of(trace):
    names = (name for name, site in trace.nodes.items() if site["type"] == "sample" and "_" in name)
    return {name: trace.nodes[name]["value"] for name in names}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts():
    """Those of the authors' code, block by block; torch's GRU has a second bias vector (768 more)."""
    model = SequentialAttendInferRepeat()
    assert count(model.decoder) == 181_648
    assert count(model.set_code) == 79_872
    assert count(model.propagation) == 239_104 + 768 + 28_013
    assert count(model.discovery) == 34_120 + 72
    assert model.mean_image.numel() == 2500
    assert model.patch_gain.numel() == 1


def test_an_empty_scene():
    """x = 0, no objects: only the likelihood of black pixels."""
    model = SequentialAttendInferRepeat()
    with torch.no_grad():
        model.discovery.count.copy_(torch.tensor([400.0, -400, -400, -400]))
    frames = torch.zeros(2, 10, 1, 50, 50)
    trace = poutine.trace(model).get_trace(frames)
    trace.compute_log_prob()
    scene = model.scene(latents_of(trace))
    assert scene.presence.sum() == 0
    assert (scene.identities == -1).all()
    expected = 2500 * (-math.log(0.3) - 0.5 * math.log(2 * math.pi))
    assert expected == pytest.approx(712.585678, rel=1e-8)
    torch.testing.assert_close(trace.nodes["frames"]["log_prob"], torch.full((10, 2), expected))
    assert trace.log_prob_sum().item() == pytest.approx(20 * expected, rel=1e-6)


def test_counts_at_the_start():
    """With initial weights all counts are equally likely in the first frame, and discoveries are rare later."""
    model = SequentialAttendInferRepeat()
    discovery = model.discovery
    with torch.no_grad():
        for parameter in discovery.from_survivors.parameters():
            parameter.zero_()
    for first, expected in ((True, 0.25), (False, 0.9998638)):
        logits = discovery.presence_logits(first, torch.tensor(-0.5), torch.tensor(3.0))
        assert 1 - logits[0].sigmoid().item() == pytest.approx(expected, abs=2e-7)


def test_there_are_never_more_objects_than_slots():
    """Discoveries beyond the free slots are masked, and have no density."""
    model = small()
    with torch.no_grad():
        model.discovery.count.copy_(torch.tensor([-2.0, 0, 0, 4]))
    trace = drawn(model)
    scene = model.scene(latents_of(trace))
    assert scene.presence.sum(-1).max() == 3
    kept, found = [], []
    for step in range(2, 7):
        before = scene.presence[:, step - 2]
        kept.append(sum(before[:, i] * trace.nodes[f"prop_pres_{step}_{i + 1}"]["value"] for i in range(3)))
        allowed = torch.ones(200)
        for i in range(3):
            site = trace.nodes[f"disc_pres_{step}_{i + 1}"]
            allowed = allowed * (kept[-1] + i < 3)
            assert (site["log_prob"][allowed == 0] == 0).all()
            allowed = allowed * site["value"]
            found.append(allowed)
    assert torch.stack(found).sum() > 100


def test_identities_go_with_objects():
    """Names are unique and never reused; an appearance stays with its name."""
    model = small(residual=True)
    with torch.no_grad():  # what an object looks like hardly changes
        model.propagation.laws.weight.zero_()
        model.propagation.laws.bias.zero_()
        model.propagation.laws.bias[-3:] = -9.0
    scene = model.scene(latents_of(drawn(model)))
    gone = 0
    for names, presence, what in zip(scene.identities, scene.presence, scene.appearance, strict=True):
        assert ((names >= 0) == (presence > 0)).all()
        for frame in names:
            here = frame[frame >= 0].tolist()
            assert len(set(here)) == len(here)
            assert (frame[: len(here)] >= 0).all()
        for name in range(int(names.max()) + 1):
            seen = (names == name).any(-1)
            assert seen.int().diff().abs().sum() <= 2
            gone += int(not seen[-1])
            looks = what[names == name]
            assert (looks.diff(dim=0).norm(dim=-1) < 0.3).all()
    assert gone > 50


def test_absent_objects_may_be_anything():
    """Their values change neither canvas and code nor the prior of what is present, nor any later frame."""
    model = small()
    with torch.no_grad():
        trace = drawn(model, particles=2)
        latents = latents_of(trace)
        presence = torch.rand(5, 3).round()
        slots = ObjectSlots(presence, torch.randn(5, 3, 4), torch.randn(5, 3, 3))
        absent = presence.unsqueeze(-1) == 0
        for filling in (torch.randn(()), torch.tensor(torch.nan)):
            other = ObjectSlots(presence, *(torch.where(absent, filling, value) for value in slots[1:]))
            torch.testing.assert_close(model.canvas(other), model.canvas(slots), rtol=0, atol=0)
            torch.testing.assert_close(model.code_of(other), model.code_of(slots), rtol=0, atol=0)
        changed = dict(latents)
        for name in latents:
            kind, what, *place = name.split("_", 2)
            if what in ("where", "what"):
                there = there_of(model, latents)[f"{kind}_{place[0]}"].unsqueeze(-1)
                changed[name] = torch.where(there > 0, latents[name], torch.randn_like(latents[name]))
        program = pyro.plate("particles", 2, dim=-3)(model)
        again = poutine.trace(poutine.condition(program, changed)).get_trace(
            trace.nodes["frames"]["value"].new_zeros(200, 6, 1, 12, 12)
        )
        again.compute_log_prob()
    for name in latents:
        torch.testing.assert_close(again.nodes[name]["log_prob"], trace.nodes[name]["log_prob"])
    moved = sum(float((changed[name] != latents[name]).any()) for name in latents)
    assert moved > 10


def there_of(model, latents):
    """Presence of every site's object, recomputed from the draws by an independent loop."""
    slots = model.num_slots
    there, alive = {}, None
    frames = sum(name.startswith("disc_pres_") for name in latents) // slots
    for step in range(1, frames + 1):
        kept = []
        if alive is not None:
            for i in range(slots):
                there[f"prop_{step}_{i + 1}"] = alive[i] * latents[f"prop_pres_{step}_{i + 1}"]
                kept.append(there[f"prop_{step}_{i + 1}"])
        total = sum(kept) if kept else torch.zeros_like(latents["disc_pres_1_1"])
        new, allowed = [], torch.ones_like(total)
        for i in range(slots):
            allowed = allowed * (total + i < slots) * latents[f"disc_pres_{step}_{i + 1}"]
            there[f"disc_{step}_{i + 1}"] = allowed
            new.append(allowed)
        number = (total + sum(new)).long()
        alive = [(i < number).float() for i in range(slots)]
    return there


def test_order_of_slots_does_not_matter():
    """Canvas and code are unchanged, and the prior of propagation is permuted with the slots."""
    model = small()
    slots = ObjectSlots(torch.tensor([[1.0, 0, 1]]), torch.randn(1, 3, 4), torch.randn(1, 3, 3))
    order = torch.tensor([2, 0, 1])
    other = ObjectSlots(*(value[:, order] for value in slots))
    torch.testing.assert_close(model.canvas(other), model.canvas(slots))
    torch.testing.assert_close(model.code_of(other), model.code_of(slots))
    memory = torch.randn(1, 3, 8)
    (laws, after), (moved, then) = (
        model.propagation(*one[1:], m) for one, m in ((slots, memory), (other, memory[:, order]))
    )
    torch.testing.assert_close(moved.presence, laws.presence[:, order])
    torch.testing.assert_close(moved.where[0], laws.where[0][:, order])
    torch.testing.assert_close(then, after[:, order])


def test_the_canvas_by_hand():
    """Each object alone, added; the mean image shows where an object covers it."""
    model = small()
    with torch.no_grad():
        model.mean_image.copy_(torch.rand(12, 12))
    slots = ObjectSlots(torch.tensor([1.0, 0, 1]), torch.randn(3, 4), torch.randn(3, 3))
    from pyro_models.components.glimpses import Windows, paste_glimpses

    with torch.no_grad():
        drawn, covered = torch.zeros(12, 12), torch.zeros(12, 12)
        for index in (0, 2):
            window = Windows.from_logits(slots.where[index])
            drawn += paste_glimpses(model.patch_gain * model.decoder(slots.what[index]), window, (12, 12))
            covered += paste_glimpses(torch.ones(4, 4), window, (12, 12))
        expected = drawn + (20 * covered - 10).sigmoid() * model.mean_image
        torch.testing.assert_close(model.canvas(slots), expected)


def test_a_mean_image_to_start_from():
    model = small()
    frames = torch.rand(4, 5, 1, 12, 12)
    model.start_from(frames)
    torch.testing.assert_close(model.mean_image.detach(), frames.mean((0, 1, 2)))
    small(mean_image=False).start_from(frames)


def test_dynamics_carry_their_memory_with_the_object():
    """The memory of an object that was packed to another slot is its own, that of a new one is fresh."""
    model = small()
    state = model.nothing(torch.zeros(1))
    memory = torch.randn(1, 3, 8)
    state = TrackedObjects(ObjectSlots(torch.tensor([[1.0, 1, 0]]), *state.slots[1:]), memory, state.identities)
    tracked = ObjectSlots(torch.tensor([[0.0, 1, 0]]), *state.slots[1:])
    found = ObjectSlots(torch.tensor([[1.0, 0, 0]]), *state.slots[1:])
    joined, order = model.join(state, tracked, memory, found)
    assert order.tolist() == [[1, 3, 0]]
    torch.testing.assert_close(joined.memory[0, 0], memory[0, 1])
    torch.testing.assert_close(joined.memory[0, 1], model.propagation.start)


def test_other_numbers_of_channels_and_kinds_of_networks_are_refused():
    with pytest.raises(ValueError, match="^frame_shape: expected a whole number of at least 1, got 0$"):
        SequentialAttendInferRepeat((0, 12, 12))
    for shape in ((2, 12, 12), (12, 12, 3)):
        with pytest.raises(ValueError, match=r"frame_shape: expected 1 channel \(grey\) or 3 \(colour\) before"):
            SequentialAttendInferRepeat(shape)
    with pytest.raises(ValueError, match="kind: expected one of mlp, conv, got 'cnn'"):
        GlimpseNetworks("cnn")
