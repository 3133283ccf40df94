"""The end of a step, eager and recorded. The recorder is a stand-in, so that this runs without a GPU: it writes the
operations down with every number as it was, as a CUDA graph does, and takes back what running them for that did."""

import itertools

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from inference.svi import captured as captured_step
from inference.svi.compiled import CompileWarning
from inference.svi.update import ParameterUpdate


class Recorder:
    """Counts recordings; `tensors` gives all that an update may change."""

    def __init__(self, tensors):
        self.tensors, self.recordings = tensors, 0

    def __call__(self, update):
        self.recordings += 1
        kept = [(tensor, tensor.detach().clone()) for tensor in self.tensors()]
        with torch.no_grad():
            graph = make_fx(lambda _: update())(torch.zeros(()))
            for tensor, before in kept:
                tensor.copy_(before)

        def replay():
            with torch.no_grad():
                graph(torch.zeros(()))

        return replay


class Case:
    """Two parameters, the fixed places of their gradients for two kinds of batch, and an update."""

    def __init__(self, optimizer, clip_norm=None):
        torch.manual_seed(0)
        self.parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))]
        self.places = [[torch.zeros(3, 2), torch.zeros(4)] for _ in range(2)]
        self.optimizer = optimizer(self.parameters)
        self.update = ParameterUpdate(self.optimizer, clip_norm)

    def tensors(self):
        places = itertools.chain.from_iterable(self.places)
        state = [one for values in self.optimizer.state.values() for one in values.values()]
        own = [self.update._norm, self.update._first_nonfinite]
        return [*self.parameters, *places, *state, *own]

    def walk(self, steps, fixed, bad=None, between=lambda case, step: None):
        """Losses are watched, learning rates change, each third batch is of the other kind."""
        generator = torch.Generator().manual_seed(1)
        norms = []
        for step in range(steps):
            between(self, step)
            self.optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            for parameter, place in zip(self.parameters, self.places[step % 3 == 2], strict=True):
                place.copy_(torch.randn(place.shape, generator=generator) * 3)
                parameter.grad = place
            loss = torch.tensor(float("nan") if step == bad else 1.0)
            self.update.take(loss, 10 + step, fixed_gradients=fixed)
            norms.append(self.update.gradient_norm)
        return [*(parameter.detach().clone() for parameter in self.parameters), torch.stack(norms)]


def fused_adam(parameters):
    return torch.optim.Adam(parameters, lr=0.1, fused=True)


@pytest.fixture
def recorded(monkeypatch):
    """A case whose updates are recorded."""

    def build(optimizer=fused_adam, clip_norm=None):
        case = Case(optimizer, clip_norm)
        case.recorder = Recorder(case.tensors)
        monkeypatch.setattr(captured_step, "record_update", case.recorder)
        return case

    return build


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_recorded_update_is_the_eager_one(recorded, clip_norm):
    """Learning rates that change are seen; each place of gradients has a recording; norms may be kept."""
    case = recorded(clip_norm=clip_norm)
    found = case.walk(9, fixed=True)
    torch.testing.assert_close(found, Case(fused_adam, clip_norm).walk(9, fixed=False), rtol=1e-6, atol=1e-7)
    assert case.recorder.recordings == 2
    assert case.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 9)
    assert not case.optimizer.param_groups[0]["capturable"]


@pytest.mark.parametrize("fixed", [True, False])
def test_the_first_step_that_is_not_finite_is_known(recorded, fixed):
    case = recorded()
    case.walk(4, fixed)
    assert case.update.first_nonfinite() is None
    case.walk(6, fixed, bad=3)
    assert case.update.first_nonfinite() == 13
    case.update.forget_nonfinite()
    assert case.update.first_nonfinite() is None


def test_a_state_that_is_loaded_is_the_one_that_goes_on(recorded):
    """An optimizer that loads its state has other tensors than the recording knows."""

    def reload(case, step):
        if step == 4:
            case.optimizer.load_state_dict(case.optimizer.state_dict())

    case = recorded()
    found = case.walk(8, True, between=reload)
    torch.testing.assert_close(found, Case(fused_adam).walk(8, False), rtol=1e-6, atol=1e-7)
    assert case.recorder.recordings == 4


@pytest.mark.parametrize("optimizer", [lambda p: torch.optim.SGD(p, lr=0.1), torch.optim.Adagrad])
def test_an_optimizer_that_cannot_be_recorded_runs_eagerly(recorded, optimizer):
    case = recorded(optimizer)
    found = case.walk(5, True)
    torch.testing.assert_close(found, Case(optimizer).walk(5, False), rtol=0, atol=0)
    assert case.recorder.recordings == 0


def test_a_recording_that_fails_is_announced_and_the_update_runs_eagerly(monkeypatch):
    def fail(update):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(captured_step, "record_update", fail)
    case = Case(fused_adam)
    with pytest.warns(CompileWarning, match="runs eagerly: operation not permitted") as warned:
        found = case.walk(5, True)
    assert len(warned) == 1
    torch.testing.assert_close(found, Case(fused_adam).walk(5, False), rtol=0, atol=0)
