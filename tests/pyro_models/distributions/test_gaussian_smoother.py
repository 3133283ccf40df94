"""The operator `gaussian_smoothed_mean`: the kernel and its adjoint system against the torch reference.

These tests pin: values and gradients for every way in which parameters can be shared, also without process noise; the
fall-back for second derivatives; one node in a traced graph.
"""

from dataclasses import replace

import pytest
import torch

from tests.oracles.random_state_space import SHARING, random_shared_parameters

F64 = torch.float64


def model_and_values(sharing, per_step=True, optional="bdo", time=6, state=4, obs=2, dtype=F64):
    from pyro_models.distributions import LinearGaussianSSM

    values, given = random_shared_parameters(sharing, per_step, optional, time, state, obs, dtype)
    return LinearGaussianSSM(**given, num_steps=time, validate_args=False)._model, values


def leaves(model, values):
    return [values, *(tensor for tensor in model.tensors[:-1] if tensor is not None)]


def operator(model, values):
    return torch.ops.kinema.gaussian_smoothed_mean(values, *model.tensors, None)[0]


def untraced(model, values):
    from pyro_models.distributions.gaussian_smoother import gaussian_smoothed_mean

    return gaussian_smoothed_mean(model, values)


def reference(model, values):
    from pyro_models.distributions.gaussian_steps import smoothed_mean

    return smoothed_mean(model.double(), values.double()).to(values.dtype)


def assert_agrees(function, model, values, **tolerance):
    found, expected = function(model, values), reference(model, values)
    expected = expected.expand(found.shape)
    torch.testing.assert_close(found, expected, **tolerance)
    adjoint = torch.randn_like(found)
    inputs = leaves(model, values)
    found = torch.autograd.grad(found, inputs, adjoint, allow_unused=True)
    expected = torch.autograd.grad(expected, inputs, adjoint, allow_unused=True)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, **tolerance)


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("optional", ["bdo", ""])
@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("function", [operator, untraced])
def test_kernel_agrees_with_the_reference(function, sharing, optional, per_step):
    model, values = model_and_values(SHARING[sharing], per_step, optional)
    assert_agrees(function, model, values)


def test_zero_process_noise():
    model, values = model_and_values(SHARING["nothing shared"])
    zero = torch.zeros_like(model.transition_covariance).requires_grad_()
    assert_agrees(untraced, replace(model, transition_covariance=zero), values)


def test_float32_is_near_float64():
    model, values = model_and_values(SHARING["nothing shared"], dtype=torch.float32)
    assert untraced(model, values).dtype == torch.float32
    assert_agrees(untraced, model, values, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("state", "obs"), [(1, 1), (2, 5), (7, 3), (16, 8)])
def test_other_sizes_agree_with_the_reference(state, obs):
    for sharing in SHARING.values():
        model, values = model_and_values(sharing, state=state, obs=obs)
        assert_agrees(untraced, model, values, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("function", [operator, untraced])
def test_second_derivatives(function):
    model, values = model_and_values(SHARING["all shared"], optional="bd", time=3)

    def second(mean):
        total = mean(model, values).square().sum()
        (grad,) = torch.autograd.grad(total, model.emission_matrix, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), leaves(model, values))

    for x, y in zip(second(function), second(reference), strict=True):
        torch.testing.assert_close(x, y)


def test_operator_keeps_torchs_contract():
    model, values = model_and_values(SHARING["nothing shared"])
    arguments = [tensor.detach() for tensor in (values, *model.tensors)]
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.kinema.gaussian_smoothed_mean.default, (*arguments, None), test_utils=tests)
    tilt = torch.randn(5, 6, 4, dtype=F64)
    torch.library.opcheck(torch.ops.kinema.gaussian_smoothed_mean.default, (*arguments, tilt), test_utils=tests)


def test_a_tilt_adds_the_posterior_covariance_times_itself():
    """E[z | a, tilt] = E[z | a] + Cov[z | a] tilt, with the covariance from the Jacobian in the tilt."""
    from pyro_models.distributions import LinearGaussianSSM

    model, values = model_and_values(SHARING["all shared"], optional="bd")
    arguments = [None if tensor is None else tensor.detach() for tensor in (values, *model.tensors)]
    plain = torch.ops.kinema.gaussian_smoothed_mean(*arguments, None)[0]
    basis = torch.eye(6 * 4, dtype=F64).reshape(24, 6, 4)
    arguments[0] = arguments[0].expand(24, 6, 2)
    tilted = torch.ops.kinema.gaussian_smoothed_mean(*arguments, basis)[0]
    covariance = (tilted - plain).reshape(24, 6, 4)
    path = LinearGaussianSSM(*arguments[1:9], num_steps=6).smooth(values.detach())
    for t in range(6):
        torch.testing.assert_close(covariance.reshape(6, 4, 6, 4)[t, :, t], path.covariance[t])
    for t in range(5):
        torch.testing.assert_close(covariance.reshape(6, 4, 6, 4)[t, :, t + 1], path.lag_one_covariance[t])


def test_a_traced_step_holds_one_node_each_way():
    from torch.fx.experimental.proxy_tensor import make_fx

    model, values = model_and_values(SHARING["nothing shared"])

    def step(values, matrix):
        mean = untraced(replace(model, transition_matrix=matrix), values)
        return torch.autograd.grad(mean.sum(), [values, matrix])

    arguments = values, model.transition_matrix
    graph = make_fx(step)(*arguments)
    names = [str(node.target) for node in graph.graph.nodes if "kinema" in str(node.target)]
    assert names == ["kinema.gaussian_smoothed_mean.default"] * 2
    for x, y in zip(graph(*arguments), step(*arguments), strict=True):
        torch.testing.assert_close(x, y)
