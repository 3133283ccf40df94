"""These tests pin: a graph repeats the run that it was made from, with new inputs, parameters and draws; what it leaves
out; that reading a value is refused; and that making it changes neither generators nor gradients."""

import pytest
import torch
from torch import nn

from inference.svi.graph import trace_step

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def traced(function, *parameters):
    """A graph of a loss, and the operations in it."""

    def step(x):
        loss = function(x)
        if parameters:
            loss.backward()
        return loss.detach()

    graph = trace_step(step, parameters, (X,))
    operations = [str(node.target) for node in graph.module.graph.nodes if node.op == "call_function"]
    return graph, lambda x: graph.module(*graph.captured, x), operations


def test_inputs_parameters_and_buffers_are_read_anew():
    weight, scale = nn.Parameter(torch.ones(3)), torch.tensor(2.0)
    _, run, _ = traced(lambda x: (scale * x * weight).sum(), weight)
    with torch.no_grad():
        weight.fill_(3.0)
        scale.fill_(0.5)
        loss, gradient = run(2 * X)
    torch.testing.assert_close(loss, 3 * X.sum())
    torch.testing.assert_close(gradient, X.sum(0))


def test_draws_are_new_and_those_of_the_eager_run():
    def function(x):
        return (x + torch.randn(4, 3) * torch.rand(3) + torch.bernoulli(torch.full((4, 3), 0.5))).sum()

    _, run, _ = traced(function)
    torch.manual_seed(3)
    expected = [function(X), function(X)]
    torch.manual_seed(3)
    assert [run(X)[0], run(X)[0]] == expected
    assert expected[0] != expected[1]


def test_constants_are_computed_once():
    def function(x):
        grid = torch.linspace(-1, 1, 3).expand(4, 3) * torch.tensor([0.5, 1.0, 2.0])
        return (grid * x).sum()

    _, run, operations = traced(function)
    assert operations == ["aten.mul.Tensor", "aten.sum.default"]
    torch.testing.assert_close(run(2 * X)[0], function(2 * X))


def test_constants_are_told_apart():
    """Names of what is computed once, and of what becomes an input, once clashed."""

    def function(x):
        total = torch.zeros(())
        for size in range(1, 12):
            once = torch.linspace(0, size, size)
            total = total + x.sum() * once.sum() + (once.cumsum(0) * x[0, 0]).sum()
        return total

    _, run, _ = traced(function)
    torch.testing.assert_close(run(2 * X)[0], function(2 * X))


def test_what_is_written_to_is_no_constant():
    def function(x):
        total = torch.zeros(2, 4)
        total[0].add_(x.sum(-1))
        return total.sum()

    _, run, _ = traced(function)
    for _ in range(3):
        torch.testing.assert_close(run(X)[0], X.sum())


def test_views_are_taken_once_and_detachments_not_at_all():
    _, run, operations = traced(lambda x: (x.T @ x + (x.T * x.detach().T).sum() + x.T.contiguous().sum()).sum())
    assert operations.count("aten.permute.default") == 1
    assert "aten.detach.default" not in operations
    torch.testing.assert_close(run(X)[0], (X.T @ X).sum() + 9 * (X.square().sum() + X.sum()))


def test_views_of_all_there_is_are_left_out():
    def function(x):
        double = 2 * x
        return (double.expand(4, 3).view(4, 3) + double.view(3, 4).view(4, 3).expand(2, 4, 3)).sum()

    _, run, operations = traced(function)
    assert [name.split(".")[1] for name in operations] == ["mul", "view", "view", "expand", "add", "sum"]
    torch.testing.assert_close(run(X)[0], function(X))


def test_gradients_are_nobody_elses():
    first, second = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    _, run, _ = traced(lambda x: (first + second + x).sum(), first, second)
    _, one, two = run(X)
    one.mul_(5.0)
    torch.testing.assert_close(two, torch.full((3,), 4.0))
    torch.testing.assert_close(run(X)[1], torch.full((3,), 4.0))


def test_a_parameter_that_does_not_reach_the_loss_has_no_gradient():
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    _, run, _ = traced(lambda x: (used * x).sum(), used, unused)
    assert run(X)[2] is None


def test_recurrent_layers_run():
    lstm = nn.LSTM(3, 5, batch_first=True)
    parameters = list(lstm.parameters())
    _, run, _ = traced(lambda x: lstm(x[None])[0].square().sum(), *parameters)
    loss = lstm((2 * X)[None])[0].square().sum()
    gradients = torch.autograd.grad(loss, parameters)
    torch.testing.assert_close(run(2 * X), [loss.detach(), *gradients])
    assert torch.backends.mkldnn.enabled


def test_a_value_that_is_asked_for_is_refused():
    with pytest.raises(RuntimeError, match="tracing tensor"):
        traced(lambda x: x.sum() if x.sum() > 0 else -x.sum())


def test_generators_and_gradients_stay_as_they_were():
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.full((3,), 7.0)
    torch.manual_seed(5)
    traced(lambda x: (torch.randn(3) * weight * x).sum(), weight)
    drawn = torch.rand(2)
    torch.manual_seed(5)
    assert torch.rand(2).equal(drawn)
    assert weight.grad.equal(torch.full((3,), 7.0))
