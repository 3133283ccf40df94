"""These tests pin: the loss that a model computes itself, what is reported beside it, and what it refuses."""

import jaxtyping
import pytest
import torch
from pyro.infer import Trace_ELBO

from guides import NoLatentsGuide
from inference import SVI, FirstFrames, Objective, OwnLoss, Stage, Term, TrainingOptions, WeightedSum, train
from inference.svi.compiled import CompileWarning
from inference.training.loss_settings import loss_settings
from pyro_models import EncoderDecoderLSTM, RelationalNeuralEM
from videos import VideoBatch

FRAMES = (torch.arange(5 * 4 * 64).reshape(5, 4, 1, 8, 8) % 7 < 3).float()
OBSERVED = torch.arange(20).reshape(5, 4) % 6 != 4


class Squares(EncoderDecoderLSTM):
    """Has a loss of its own: squared errors of the predicted frames."""

    def squares(self, frames, observed=None, controls=None):
        errors = (torch.sigmoid(self(frames, observed, controls)) - frames).square().flatten(2).sum(2)
        return (errors if observed is None else errors * observed).sum(1)

    def number(self, frames, observed=None, controls=None):
        return self.squares(frames, observed, controls).sum()

    def plain(self, frames, observed=None, controls=None):
        return self.number(frames, observed, controls).item()


def pair(kind=Squares):
    torch.manual_seed(0)
    if kind is RelationalNeuralEM:
        model = kind((1, 8, 8), num_slots=3, state_dim=7, hidden=9, channels=(4, 5), attention_dim=6)
    else:
        model = kind((1, 8, 8), state_dim=7, code_dim=5, hidden=(6,))
    return model, NoLatentsGuide(model)


def walk(loss, kind=Squares, steps=3, **options):
    model, guide = pair(kind)
    svi = SVI(model, guide, torch.optim.Adam(model.parameters(), 0.01), loss, **options)
    torch.manual_seed(1)
    losses = [svi.step(FRAMES, OBSERVED).item() for _ in range(steps)]
    return losses, {name: one.detach() for name, one in model.named_parameters()}


def test_it_is_an_objective_that_records_its_method():
    assert isinstance(OwnLoss("squares"), Objective)
    assert loss_settings(OwnLoss("squares")) == {"name": "OwnLoss", "method": "'squares'"}


def test_a_step_follows_the_gradient_of_the_method():
    model, guide = pair()
    expected = model.squares(FRAMES, OBSERVED).sum()
    gradients = torch.autograd.grad(expected / 5, list(model.parameters()))
    svi = SVI(model, guide, torch.optim.SGD(model.parameters(), 0.1), OwnLoss("squares"))
    before = [one.detach().clone() for one in model.parameters()]
    assert svi.step(FRAMES, OBSERVED).item() == pytest.approx(expected.item() / 5)
    for parameter, start, gradient in zip(model.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(parameter.detach(), start - 0.1 * gradient)
    keywords = OwnLoss("squares").differentiable_loss(model, guide, frames=FRAMES, observed=OBSERVED)
    torch.testing.assert_close(keywords, model.squares(FRAMES, OBSERVED).sum())


@pytest.mark.parametrize(
    ("kind", "method"), [(Squares, "squares"), (RelationalNeuralEM, "expectation_loss")], ids=["squares", "slots"]
)
def test_a_traced_step_is_the_eager_one(kind, method, recwarn):
    (losses, parameters), (eager, expected) = (walk(OwnLoss(method), kind, compile=way) for way in ("trace", "off"))
    assert not [warning for warning in recwarn if warning.category is CompileWarning]
    assert losses == pytest.approx(eager, rel=1e-5)
    torch.testing.assert_close(parameters, expected, rtol=1e-3, atol=1e-5)


def test_it_is_a_term_among_others():
    model, guide = pair()
    both = WeightedSum({"own": Term(OwnLoss("squares"), 3.0), "bound": Term(Trace_ELBO(), 0.5)})
    first = FirstFrames(OwnLoss("squares"), 2)
    bound = Trace_ELBO().differentiable_loss(model, guide, FRAMES, OBSERVED)
    expected = 3 * model.squares(FRAMES, OBSERVED).sum() + 0.5 * bound
    torch.testing.assert_close(both.differentiable_loss(model, guide, FRAMES, OBSERVED), expected)
    beginnings = model.squares(FRAMES[:, :2], OBSERVED[:, :2]).sum()
    torch.testing.assert_close(first.differentiable_loss(model, guide, FRAMES, OBSERVED), beginnings)


def test_training_minimises_it_and_reports_the_bound():
    model, guide = pair(RelationalNeuralEM)
    videos = VideoBatch(FRAMES)
    options = TrainingOptions(learning_rate=0.01, batch_size=5, validate_every=30, progress=False)
    before = model.eval().expectation_loss(FRAMES).mean().item()
    stages = [Stage(30, loss=OwnLoss("expectation_loss"))]
    result = train(model.train(), guide, videos, stages, validation=videos, options=options)
    model.eval()
    assert model.expectation_loss(FRAMES).mean().item() < 0.8 * before
    bound = -Trace_ELBO().loss(model, guide, FRAMES) / 5
    assert result.best_bound == pytest.approx(bound, rel=1e-5)


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        (
            "square",
            TypeError,
            "model: expected one with a method 'square', got Squares; train it with pyro.infer.Trace_ELBO",
        ),
        ("frame_shape", TypeError, "model: expected one with a method 'frame_shape', got Squares"),
        (
            "number",
            ValueError,
            r"model: expected 'number' to return the loss of each sequence, \(5,\), got shape \(\); sum over frames "
            "and pixels, not over sequences",
        ),
        (
            "plain",
            TypeError,
            "model: expected 'plain' to return the loss of each sequence, a tensor, got float; compute with tensors",
        ),
    ],
)
def test_methods_that_are_no_loss_are_refused(method, error, message):
    with pytest.raises(error, match=message):
        walk(OwnLoss(method), steps=1)


def test_a_method_in_place_of_its_name_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # annotations are checked in the tests alone
    with pytest.raises(TypeError, match=r"method: expected the name of a method of the model, got method; write"):
        OwnLoss(pair()[0].squares)
