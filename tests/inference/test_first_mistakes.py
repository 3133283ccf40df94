"""First mistakes of somebody who comes from Pyro: each is refused by name, with what to write instead."""

import re

import jaxtyping
import pyro.optim
import pytest
import torch
from pyro.infer import Trace_ELBO

from guides import KalmanGuide
from inference import SVI, TrainingOptions, log_evidence, train
from inference.cli.devices import device_named
from inference.recipes import OptionError
from pyro_models import KalmanVAE
from videos import VideoBatch

FRAMES = torch.zeros(2, 3, 1, 32, 32)


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """Without the checks of annotations, which only the tests have."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="module")
def model():
    return KalmanVAE()


@pytest.fixture(scope="module")
def guide(model):
    return KalmanGuide(model)


def adam(*modules):
    return torch.optim.Adam([parameter for module in modules for parameter in module.parameters()], 1e-3)


USES = {
    "SVI": lambda model, guide: SVI(model, guide, torch.optim.SGD([torch.zeros(1, requires_grad=True)]), Trace_ELBO()),
    "train": lambda model, guide: train(model, guide, VideoBatch(FRAMES), 1),
    "log_evidence": lambda model, guide: log_evidence(model, guide, FRAMES, num_particles=1),
}


@pytest.fixture(params=USES)
def use(request):
    return USES[request.param]


def refused(kind, message):
    return pytest.raises(kind, match=re.escape(message))


def test_results_of_calls_are_refused(use, model, guide):
    with refused(TypeError, "model: expected a module that is called with (frames, observed, controls), got Tensor"):
        use(FRAMES, guide)
    with refused(TypeError, "guide: expected a module that is called with (frames, observed, controls), got NoneType"):
        use(model, None)


def test_methods_are_refused(use, model, guide):
    with refused(TypeError, "got the method forward of KalmanVAE; pass the KalmanVAE itself"):
        use(model.forward, guide)
    with refused(TypeError, "got the method forward of KalmanGuide; pass the KalmanGuide itself"):
        use(model, guide.forward)


def test_classes_are_refused(use, model):
    with refused(TypeError, "guide: expected a module that is called with (frames, observed, controls), got the class"):
        use(model, KalmanGuide)


def test_guide_of_another_model_is_refused(use, guide):
    with refused(
        ValueError, "got KalmanGuide of another KalmanVAE, whose parameters are not this model's; write guide ="
    ):
        use(KalmanVAE(), guide)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            pyro.optim.Adam({"lr": 0.1}),
            "got pyro.optim.Adam, which keeps parameters in Pyro's global store; write torch.op",
        ),
        (pyro.optim.SGD({"lr": 0.1}), "write torch.optim.SGD([*model.parameters(), *guide.parameters()], lr=0.001)"),
        (pyro.optim.ClippedAdam({"lr": 0.1}), "write torch.optim.Adam([*model"),
        (torch.optim.Adam, "got the class Adam; write torch.optim.Adam([*model"),
        (0.001, "got float; write torch.optim.Adam([*model"),
    ],
)
def test_other_optimizers_are_refused_by_svi(model, guide, optimizer, message):
    with refused(TypeError, message):
        SVI(model, guide, optimizer, Trace_ELBO())


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            pyro.optim.Adam({"lr": 0.1}),
            "got pyro.optim.Adam, which keeps parameters in Pyro's global store; write Trai",
        ),
        (pyro.optim.Adam, "write TrainingOptions(optimizer=torch.optim.Adam, learning_rate=0.001)"),
        (pyro.optim.RMSprop, "write TrainingOptions(optimizer=torch.optim.RMSprop, learning_rate=0.001)"),
        (torch.optim.SGD([torch.zeros(1, requires_grad=True)]), "got an instance of SGD, which has parameters already"),
        ("adam", "got str; write TrainingOptions(optimizer=torch.optim.Adam"),
    ],
)
def test_other_optimizers_are_refused_by_training(optimizer, message):
    with refused(TypeError, message):
        TrainingOptions(optimizer=optimizer)


def test_losses_without_parentheses_are_refused(model, guide):
    message = "got the class Trace_ELBO; call it: Trace_ELBO(...)"
    with refused(TypeError, message):
        SVI(model, guide, adam(model, guide), Trace_ELBO)
    with refused(TypeError, message):
        train(model, guide, VideoBatch(FRAMES), 1, loss=Trace_ELBO)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gpu", "expected cpu or cuda, got 'gpu'; write --device cuda"),
        ("none", "expected cpu or cuda, got 'none'; write --device cpu, or leave it out"),
        ("meta", "expected cpu or cuda, on which runs are tested, got 'meta'; write --device cpu"),
    ],
)
def test_unknown_devices_are_refused(word, message):
    with refused(OptionError, f"--device: {message}"):
        device_named(word)


def test_devices_beyond_the_last_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_named("cuda:1") == torch.device("cuda:1")
    with refused(OptionError, "--device: this machine has cuda:0, cuda:1, got cuda:2; write one of these"):
        device_named("cuda:2")
