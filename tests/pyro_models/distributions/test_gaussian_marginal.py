"""The operator `gaussian_log_prob`: the fused kernel against the torch reference, and what tracing sees of it.

These tests pin: values and gradients of the kernel for every way in which parameters can be shared; float32 accuracy on
a grid of noises and lengths; the fall-back on the reference for second derivatives, forward mode, other sizes and
without numba; one node in a traced graph.
"""

import math
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.oracles.random_state_space import SHARING, constant_velocity, random_shared_parameters

F64 = torch.float64


def model_and_values(sharing, per_step=True, optional="bdo", time=6, state=4, obs=2, dtype=F64):
    """A StateSpace and observations."""
    from pyro_models.distributions import LinearGaussianSSM

    values, given = random_shared_parameters(sharing, per_step, optional, time, state, obs, dtype)
    return LinearGaussianSSM(**given, num_steps=time, validate_args=False)._model, values


def leaves(model, values):
    return [values, *(tensor for tensor in model.tensors[:-1] if tensor is not None)]


def operator(model, values):
    return torch.ops.kinema.gaussian_log_prob(values, *model.tensors)


def reference(model, values):
    from pyro_models.distributions.gaussian_steps import marginal_log_prob

    return marginal_log_prob(model.double(), values.double()).to(values.dtype)


def untraced(model, values):
    from pyro_models.distributions.gaussian_marginal import gaussian_log_prob

    return gaussian_log_prob(model, values)


def assert_agrees(function, model, values, **tolerance):
    found, expected = function(model, values), reference(model, values)
    torch.testing.assert_close(found, expected, **tolerance)
    adjoint = torch.randn_like(expected)
    found = torch.autograd.grad(found, leaves(model, values), adjoint)
    expected = torch.autograd.grad(expected, leaves(model, values), adjoint)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, **tolerance)


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("optional", ["bdo", ""])
@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("function", [operator, untraced])
def test_kernel_agrees_with_the_reference(function, sharing, optional, per_step):
    from pyro_models.distributions import gaussian_marginal

    model, values = model_and_values(SHARING[sharing], per_step, optional)
    assert gaussian_marginal.kernel_serves(model, values, F64)
    assert_agrees(function, model, values)


@pytest.mark.slow
@pytest.mark.parametrize("optional", ["bdo", ""])
@pytest.mark.parametrize(("state", "obs"), [(1, 1), (2, 5), (7, 3), (16, 8)])
def test_other_sizes_agree_with_the_reference(state, obs, optional):
    for sharing in SHARING.values():
        model, values = model_and_values(sharing, True, optional, state=state, obs=obs)
        assert_agrees(operator, model, values, rtol=1e-6, atol=1e-8)


def test_gradients_only_where_wanted():
    model, values = model_and_values(SHARING["nothing shared"])
    expected = torch.autograd.grad(reference(model, values).sum(), model.transition_matrix)
    alone = [tensor if tensor is model.transition_matrix else tensor.detach() for tensor in (values, *model.tensors)]
    log_prob = torch.ops.kinema.gaussian_log_prob(*alone)
    torch.testing.assert_close(torch.autograd.grad(log_prob.sum(), alone[3]), expected)


def test_strided_arguments():
    model, values = model_and_values(SHARING["nothing shared"], optional="o")
    expected = reference(model, values)
    turned = values.mT.contiguous().mT
    inputs = [turned, *model.tensors]
    inputs[3] = inputs[3].mT.contiguous().mT
    torch.testing.assert_close(torch.ops.kinema.gaussian_log_prob(*inputs), expected)


def test_empty_batch():
    model, values = model_and_values({"a": (0,)}, optional="")
    log_prob = operator(model, values)
    assert log_prob.shape == (0,)
    assert torch.autograd.grad(log_prob.sum(), model.transition_matrix)[0].abs().sum() == 0


def test_indefinite_innovations_give_nan_for_their_sequence_only():
    model, values = model_and_values({"a": (5,), "R": (5,)}, optional="")
    covariance = model.emission_covariance.detach().clone()
    covariance[2] *= -100
    inputs = [values, *model.tensors]
    inputs[6] = covariance
    assert torch.ops.kinema.gaussian_log_prob(*inputs).isnan().tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-80, 1e-40, 1e40, 1e80, 1e160, 1e300])
@pytest.mark.parametrize("size", [2, 4])
def test_determinants_outside_the_range_of_doubles(size, scale):
    """Their factors are inside it: log p with variances in another unit, by a change of variables."""
    from pyro_models.distributions import LinearGaussianSSM

    def log_prob(scale):
        eye = torch.eye(size, dtype=F64)
        noise = scale * eye
        mean, zero, a = torch.zeros(size, dtype=F64), torch.zeros_like(eye), torch.ones(3, size, dtype=F64)
        ssm = LinearGaussianSSM(mean, noise, eye[None], zero[None], eye[None], noise[None], num_steps=3)
        return ssm.log_prob(scale**0.5 * a)

    torch.testing.assert_close(log_prob(scale), log_prob(1.0) - 1.5 * size * math.log(scale), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [50, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("initial", [1.0, 1e3])
def test_float32_accuracy(initial, steps):
    """log p within 5e-3 nats + 1e-5 |log p| of float64, gradients within 1e-3 of their norm, over the whole grid."""
    from pyro_models.distributions import LinearGaussianSSM

    for q, r in [(q, r) for q in (1e-2, 1e-4, 1e-6, 1e-8, 0.0) for r in (1e-1, 1e-3)]:
        given = constant_velocity(0.1, q, r, initial)
        a = LinearGaussianSSM(**given, num_steps=steps).sample((3,)).float()
        rounded = [value.float() for value in (a, *given.values())]
        results = {}
        for dtype in (torch.float32, F64):
            inputs = [value.to(dtype).requires_grad_() for value in rounded]
            ssm = LinearGaussianSSM(*inputs[1:], num_steps=steps)
            # the float64 result is the reference's: no code in common with the kernel
            log_prob = ssm.log_prob(inputs[0]) if dtype == torch.float32 else reference(ssm._model, inputs[0])
            results[dtype] = log_prob, torch.autograd.grad(log_prob.sum(), inputs)
        (found, grads), (expected, exact) = results[torch.float32], results[F64]
        assert found.dtype == torch.float32
        error = (found - expected).abs()
        assert (error <= 5e-3 + 1e-5 * expected.abs()).all(), (q, r, steps, error.max())
        for x, y in zip(grads, exact, strict=True):
            assert (x - y).norm() <= 1e-3 * y.norm(), (q, r, steps)


@pytest.mark.parametrize("function", [operator, untraced])
def test_second_derivatives(function):
    model, values = model_and_values(SHARING["all shared"], optional="bd", time=3)
    inputs = leaves(model, values)

    def second(log_prob):
        (grad,) = torch.autograd.grad(log_prob(model, values), values, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), inputs)

    for x, y in zip(second(function), second(reference), strict=True):
        torch.testing.assert_close(x, y)


def test_forward_mode_and_function_transforms():
    from pyro_models.distributions.gaussian_marginal import gaussian_log_prob

    model, values = model_and_values(SHARING["all shared"], optional="", time=3)
    values = values.detach()
    log_prob = lambda a: gaussian_log_prob(model, a)  # noqa: E731
    direction = torch.randn_like(values)
    expected = torch.func.grad(log_prob)(values)
    torch.testing.assert_close(torch.func.jvp(log_prob, (values,), (direction,))[1], (expected * direction).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(values, direction)
        tangent = torch.autograd.forward_ad.unpack_dual(log_prob(dual)).tangent
    torch.testing.assert_close(tangent, (expected * direction).sum())
    several = torch.stack([values, 2 * values])
    torch.testing.assert_close(torch.func.vmap(log_prob)(several), log_prob(several))


@pytest.mark.slow
def test_distribution_compiles_whole():
    """In a separate process: the shape checks that the tests install cannot be traced."""
    program = """
import torch
from pyro_models.distributions import LinearGaussianSSM
def log_prob(a, matrix, noise):
    eye = torch.eye(4)
    ssm = LinearGaussianSSM(
        torch.zeros(4), eye, matrix, noise * eye[None], eye[None, :2], torch.eye(2)[None], validate_args=False
    )
    return ssm.log_prob(a).sum()
arguments = torch.randn(5, 6, 2), torch.eye(4).repeat(5, 5, 1, 1), torch.tensor(0.1)
arguments = [argument.requires_grad_() for argument in arguments]
compiled = torch.compile(log_prob, backend="aot_eager", fullgraph=True)
found, expected = compiled(*arguments), log_prob(*arguments)
torch.testing.assert_close(found, expected)
pairs = zip(torch.autograd.grad(found, arguments), torch.autograd.grad(expected, arguments))
for x, y in pairs:
    torch.testing.assert_close(x, y)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("state", "obs", "dtype", "time"), [(17, 2, F64, 3), (4, 9, F64, 3), (4, 2, torch.float16, 3), (4, 2, F64, 1)]
)
def test_everything_else_is_served_by_the_reference(state, obs, dtype, time):
    from pyro_models.distributions import gaussian_marginal

    model, values = model_and_values({"a": (5,)}, False, "", time, state, obs, dtype)
    assert not gaussian_marginal.kernel_serves(model, values, dtype)
    log_prob = gaussian_marginal.gaussian_log_prob(model, values)
    assert log_prob.dtype == dtype
    assert torch.equal(log_prob, reference(model, values))


@pytest.mark.parametrize("sharing", ["nothing shared", "all shared"])
def test_operator_keeps_torchs_contract(sharing):
    model, values = model_and_values(SHARING[sharing])
    arguments = (values, *model.tensors)
    torch.library.opcheck(torch.ops.kinema.gaussian_log_prob.default, arguments)
    detached = [tensor.detach() for tensor in arguments]
    adjoint = torch.ones_like(operator(model, values)).detach()
    wanted = [True, False] * 4 + [True]
    torch.library.opcheck(
        torch.ops.kinema.gaussian_log_prob_backward.default,
        (adjoint, *detached, wanted),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_a_traced_step_holds_one_node_each_way():
    from torch.fx.experimental.proxy_tensor import make_fx

    model, values = model_and_values(SHARING["nothing shared"])

    def step(values, matrix):
        changed = replace(model, transition_matrix=matrix)
        return torch.autograd.grad(untraced(changed, values).sum(), [values, matrix])

    arguments = values, model.transition_matrix
    graph = make_fx(step)(*arguments)
    names = [str(node.target) for node in graph.graph.nodes if "kinema" in str(node.target)]
    assert names == ["kinema.gaussian_log_prob.default", "kinema.gaussian_log_prob_backward.default"]
    for x, y in zip(graph(*arguments), step(*arguments), strict=True):
        torch.testing.assert_close(x, y)


def test_compiled_whole():
    """With the "aot_eager" backend: the graph is captured whole and differentiated, but no C++ is compiled."""
    model, values = model_and_values(SHARING["nothing shared"])
    tensors = model.tensors

    def negative(values, matrix):
        inputs = [values, *tensors]
        inputs[3] = matrix
        return -torch.ops.kinema.gaussian_log_prob(*inputs).sum()

    arguments = values, model.transition_matrix
    compiled = torch.compile(negative, backend="aot_eager", fullgraph=True)
    found, expected = compiled(*arguments), negative(*arguments)
    torch.testing.assert_close(found, expected)
    for x, y in zip(torch.autograd.grad(found, arguments), torch.autograd.grad(expected, arguments), strict=True):
        torch.testing.assert_close(x, y)


def test_numba_is_needed_only_by_the_kernel(monkeypatch):
    from pyro_models.distributions import gaussian_marginal

    program = "import sys, pyro_models.distributions; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    monkeypatch.setattr(gaussian_marginal, "_numba_is_installed", lambda: False)
    model, values = model_and_values(SHARING["nothing shared"])
    assert torch.equal(gaussian_marginal.gaussian_log_prob(model, values), reference(model, values))


def test_it_can_be_switched_off(monkeypatch):
    from pyro_models.distributions import gaussian_marginal, gaussian_smoother, gaussian_steps

    def refuse(*inputs):
        raise AssertionError("the kernel was called")

    model, values = model_and_values(SHARING["nothing shared"])
    monkeypatch.setattr(gaussian_marginal, "_forward", refuse)
    monkeypatch.setattr(gaussian_smoother, "_forward", refuse)
    with pytest.raises(AssertionError, match="the kernel was called"):
        gaussian_marginal.gaussian_log_prob(model, values)
    monkeypatch.setattr(gaussian_marginal, "MAX_STATE", 0)
    assert torch.equal(gaussian_marginal.gaussian_log_prob(model, values), reference(model, values))
    assert torch.equal(
        gaussian_smoother.gaussian_smoothed_mean(model, values), gaussian_steps.smoothed_mean(model, values)
    )


@pytest.mark.parametrize("changed", ["fused", "lanes", "memory", "steps", "vectors"])
def test_a_change_of_its_code_outdates_the_kernel_on_disk(tmp_path, changed):
    """The digest that numba's cache is keyed by, of a copy of the folder before and after the change."""
    from pyro_models.distributions import gaussian_kernel

    folder = tmp_path / "gaussian_kernel"
    shutil.copytree(Path(gaussian_kernel.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def revision():
        return runpy.run_path(str(folder / "fused.py"))["_REVISION"]

    before = revision()
    assert revision() == before
    with open(folder / f"{changed}.py", "a") as file:
        file.write("# changed\n")
    assert revision() != before


@pytest.mark.slow
def test_a_compilation_is_announced_once(tmp_path, monkeypatch):
    """In a separate process with an empty cache."""
    program = """
import torch
from pyro_models.distributions import LinearGaussianSSM
one = torch.ones(1, 1, 1)
ssm = LinearGaussianSSM(one[0, 0], one[0], one, one, one, one, num_steps=3)
ssm.log_prob(torch.zeros(3, 1)), ssm.log_prob(torch.zeros(3, 1))
"""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    run = lambda: subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr  # noqa: E731
    assert run().count("compiling the Gaussian kernel for state 1, obs 1, torch.float32") == 1
    assert run() == ""
