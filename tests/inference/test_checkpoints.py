"""These tests pin: which tensors are weights, how they come back, and that a file is whole or not there."""

import os

import pyro
import pytest
import safetensors.torch
import torch
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from inference.runs.checkpoints import (
    DamagedCheckpointError,
    assign_weights,
    named_weights,
    read_checkpoint,
    read_record,
    read_weights,
    remove_partial,
    write_bytes,
    write_checkpoint,
    write_weights,
)


class Model(PyroModule):
    def __init__(self, size=3):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, size), nn.BatchNorm1d(size))
        self.scale = PyroParam(torch.ones(size), constraint=constraints.positive)
        self.tied = nn.Linear(2, size, bias=False)
        self.tied.weight = self.network[0].weight


class Guide(PyroModule):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.own = nn.Conv2d(2, 3, 2).to(memory_format=torch.channels_last)


def test_every_tensor_is_a_weight_once():
    model = Model()
    names = list(named_weights(model, Guide(model)))
    assert names == [
        "model.scale_unconstrained",
        "model.network.0.weight",
        "model.network.0.bias",
        "model.network.1.weight",
        "model.network.1.bias",
        "model.network.1.running_mean",
        "model.network.1.running_var",
        "model.network.1.num_batches_tracked",
        "guide.own.weight",
        "guide.own.bias",
    ]
    assert named_weights(lambda: None, pyro.poutine.scale(model, scale=1.0)).keys() == {
        name.replace("model.", "guide.", 1) for name in names[:8]
    }


def test_weights_come_back_in_place(tmp_path):
    model = Model()
    guide = Guide(model)
    write_weights(tmp_path / "w.safetensors", named_weights(model, guide), {"step": 3, "bound": -1.5})
    other = Model()
    other_guide = Guide(other)
    parameter = other.network[0].weight
    assign_weights(other, other_guide, read_weights(tmp_path / "w.safetensors"))
    assert other.network[0].weight is parameter
    torch.testing.assert_close(dict(other.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    assert torch.equal(other_guide.own.weight, guide.own.weight)
    assert other_guide.own.weight.is_contiguous(memory_format=torch.channels_last)
    assert read_record(tmp_path / "w.safetensors") == {"step": 3, "bound": -1.5}


def test_views_of_one_storage_are_weights_of_their_own(tmp_path):
    module = nn.Module()
    storage = torch.arange(6.0)
    module.register_buffer("left", storage[:3])
    module.register_buffer("right", storage[2:])
    write_weights(tmp_path / "w.safetensors", named_weights(module, None))
    assert read_weights(tmp_path / "w.safetensors")["model.right"].tolist() == [2.0, 3.0, 4.0, 5.0]


def test_weights_of_another_architecture_are_refused_with_all_names():
    weights = {name: value.detach() for name, value in named_weights(Model(4), None).items()}
    del weights["model.network.1.bias"]
    weights["model.extra"] = torch.zeros(1)
    message = (
        "weights: expected those of this model and guide; model.network.1.bias is missing; model.extra is not known; "
        r"model.scale_unconstrained: expected \(3,\), got \(4,\); "
        r"model.network.0.weight: expected \(3, 2\), got \(4, 2\)"
    )
    with pytest.raises(ValueError, match=message):
        assign_weights(Model(), None, weights)


def test_a_checkpoint_replaces_one_of_the_same_name(tmp_path):
    path = tmp_path / "step-00000001"
    for step in (1, 2):
        write_checkpoint(
            path, {"a": torch.full((2,), float(step))}, {"step": step, "nested": [torch.ones(1), (2, None)]}
        )
    checkpoint = read_checkpoint(path)
    assert checkpoint.state["step"] == 2
    assert checkpoint.state["nested"][1] == (2, None)
    assert checkpoint.weights["a"].tolist() == [2.0, 2.0]
    assert [item.name for item in tmp_path.iterdir()] == ["step-00000001"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    remove_partial(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_file_is_replaced_and_not_overwritten(tmp_path):
    """A reader of the old file keeps reading the old file, which is never half new."""
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with open(path, "rb") as reader:
        write_bytes(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_code_in_a_state_is_not_run(tmp_path):
    """`weights_only`: a state file is data, whoever wrote it."""
    path = tmp_path / "step-00000001"
    write_checkpoint(path, {}, {})
    torch.save({"step": test_code_in_a_state_is_not_run}, path / "state.pt")
    with pytest.raises(DamagedCheckpointError, match="state.pt: not a whole training state"):
        read_checkpoint(path)


def test_weights_of_another_program_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(DamagedCheckpointError, match="w.safetensors: weights without the record of a run"):
        read_record(path)
