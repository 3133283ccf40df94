"""These tests pin: which parameters learn, and what a stage is written down as. The rest is in test_training.py."""

import pytest
from pyro.nn import PyroModule
from torch import nn

from inference import Stage
from inference.svi.schedules import LinearRamp
from inference.training.stages import learnable_parameters, scheduled_buffers, split_frozen


class Guide(PyroModule):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.own = nn.Linear(1, 1)


def test_parameters_are_listed_once_under_the_model_first():
    model = nn.Linear(2, 3)
    model.bias.requires_grad_(False)
    assert list(learnable_parameters(model, Guide(model))) == ["model.weight", "guide.own.weight", "guide.own.bias"]


def test_patterns_split_parameters():
    model = nn.Linear(2, 3)
    parameters = learnable_parameters(model, Guide(model))
    learning, still = split_frozen(parameters, ("guide.own.*", "model.w*"))
    assert [id(value) for value in learning] == [id(model.bias)]
    assert len(still) == 3
    assert split_frozen(parameters, ())[1] == []


def test_settings_are_plain_and_the_same_in_every_process():
    def prepare(model, guide):
        pass

    settings = Stage(3, ("model.a",), {"z": LinearRamp(0.0, 1.0, 4)}, prepare).settings()
    assert settings["site_weights"] == {"z": "LinearRamp(start=0.0, end=1.0, steps=4, begin=0)"}
    assert "0x" not in settings["prepare"]
    assert settings["frozen"] == ["model.a"]


def test_buffers_are_found_by_name():
    model = nn.BatchNorm1d(2)
    found = scheduled_buffers(model, Guide(model), ["model.running_mean", "guide.model.running_var"])
    assert found["model.running_mean"] is model.running_mean
    assert found["guide.model.running_var"] is model.running_var
    with pytest.raises(ValueError, match="there is no buffer 'model.runing_mean'; the nearest is 'model.running_mean'"):
        scheduled_buffers(model, Guide(model), ["model.runing_mean"])


def test_a_stage_has_steps():
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        Stage(0)
