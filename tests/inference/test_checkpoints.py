"""These tests pin: which tensors are weights, how they come back, and that a file is whole or not there."""

import errno
import os
import shutil
import subprocess
import zipfile

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
    read_weights,
    write_bytes,
    write_checkpoint,
    write_weights,
)
from inference.runs.writing import RunWriteError


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
    assign_weights(other, other_guide, read_weights(tmp_path / "w.safetensors")[0])
    assert other.network[0].weight is parameter
    torch.testing.assert_close(dict(other.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    assert torch.equal(other_guide.own.weight, guide.own.weight)
    assert other_guide.own.weight.is_contiguous(memory_format=torch.channels_last)
    assert read_weights(tmp_path / "w.safetensors")[1] == {"step": 3, "bound": -1.5}


def test_views_of_one_storage_are_weights_of_their_own(tmp_path):
    module = nn.Module()
    storage = torch.arange(6.0)
    module.register_buffer("left", storage[:3])
    module.register_buffer("right", storage[2:])
    write_weights(tmp_path / "w.safetensors", named_weights(module, None))
    assert read_weights(tmp_path / "w.safetensors")[0]["model.right"].tolist() == [2.0, 3.0, 4.0, 5.0]


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


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunWriteError, match=r"file: cannot be written \(No space left on device\)"):
        write_bytes(path, b"new")
    with pytest.raises(RunWriteError, match=r"step-00000001: cannot be written \(No space left on device\)"):
        write_checkpoint(tmp_path / "step-00000001", {}, {})
    assert path.read_bytes() == b"old"
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
    (path / "SHA256SUMS").unlink()
    with pytest.raises(DamagedCheckpointError, match="state.pt: not a whole training state"):
        read_checkpoint(path)


def test_weights_of_another_program_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(DamagedCheckpointError, match="w.safetensors: weights without the record of a run"):
        read_weights(path)


# checksums


def flipped(content, position, bit):
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "SHA256SUMS"])
def test_flipped_bits_of_a_checkpoint_are_found(tmp_path, name):
    path = tmp_path / "step-00000001"
    write_checkpoint(path, {"a": torch.arange(3.0)}, {"step": 1, "moments": [torch.ones(2)]})
    content = (path / name).read_bytes()
    for position in range(0, len(content), 7 if name == "state.pt" else 1):
        (path / name).write_bytes(flipped(content, position, position % 8))
        with pytest.raises(DamagedCheckpointError, match=r"step-00000001.*(weights|state|SHA256SUMS)"):
            read_checkpoint(path)
    (path / name).write_bytes(content)
    assert read_checkpoint(path).state["step"] == 1


def test_flipped_bits_of_a_file_of_weights_are_found(tmp_path):
    path = tmp_path / "best.safetensors"
    write_weights(path, {"a": torch.arange(3.0)}, {"step": 3, "validation_bound": -1.5})
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(flipped(content, position, position % 8))
        with pytest.raises(DamagedCheckpointError, match="best.safetensors: "):
            read_weights(path)


def test_checksums_are_those_of_sha256sum(tmp_path):
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum")
    write_checkpoint(tmp_path / "step-00000001", {"a": torch.ones(2)}, {"step": 1})
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path / "step-00000001", check=True)


def test_files_without_checksums_are_read(tmp_path):
    """Kinema 0.1.0 wrote none."""
    path = tmp_path / "step-00000001"
    write_checkpoint(path, {"a": torch.ones(2)}, {"step": 1})
    (path / "SHA256SUMS").unlink()
    assert read_checkpoint(path).state == {"step": 1}
    old = {"record": '{"step": 3, "validation_bound": -1.5}'}
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "best.safetensors", old)
    assert read_weights(tmp_path / "best.safetensors")[1] == {"step": 3, "validation_bound": -1.5}


def test_a_state_that_would_expand_is_refused(tmp_path):
    path = tmp_path / "step-00000001"
    write_checkpoint(path, {}, {"step": 1, "window": torch.zeros(1_000_000)})
    with zipfile.ZipFile(path / "state.pt") as whole, zipfile.ZipFile(tmp_path / "bomb.pt", "w") as bomb:
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry), zipfile.ZIP_DEFLATED)
    shutil.move(tmp_path / "bomb.pt", path / "state.pt")
    (path / "SHA256SUMS").unlink()
    assert (path / "state.pt").stat().st_size < 20_000
    with pytest.raises(DamagedCheckpointError, match="not a whole training state .it is compressed, and would expand"):
        read_checkpoint(path)
