"""RMSProp as in TensorFlow, whose mean square starts at 1 and whose epsilon is under the root."""

import pytest
import torch

from inference.training.rmsprop import TensorFlowRMSprop


def test_first_steps_of_torch_and_of_tensorflow():
    moved = {}
    for kind in (TensorFlowRMSprop, lambda params, lr: torch.optim.RMSprop(params, lr, alpha=0.9, momentum=0.9)):
        parameter = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = kind([parameter], lr=0.1)
        parameter.grad = torch.tensor([1.0, 0.01], dtype=torch.float64)
        optimizer.step()
        moved[type(optimizer).__name__] = (-parameter.detach() / 0.1).tolist()
    assert moved["TensorFlowRMSprop"] == pytest.approx([1.0, 0.010541], rel=1e-4)
    assert moved["RMSprop"] == pytest.approx([3.162, 3.162], rel=1e-3)


def test_steps_by_hand():
    torch.manual_seed(0)
    parameters = [torch.randn(3, requires_grad=True), torch.randn(2, 2, requires_grad=True), torch.randn(1)]
    expected = [parameter.detach().double() for parameter in parameters[:2]]
    squares = [torch.ones_like(value) for value in expected]
    momenta = [torch.zeros_like(value) for value in expected]
    optimizer = TensorFlowRMSprop(parameters[:2], lr=0.01, decay=0.8, momentum=0.7, eps=1e-3)
    for _ in range(5):
        for index, parameter in enumerate(parameters[:2]):
            parameter.grad = torch.randn_like(parameter)
            gradient = parameter.grad.double()
            squares[index] = 0.8 * squares[index] + 0.2 * gradient**2
            momenta[index] = 0.7 * momenta[index] + 0.01 * gradient / (squares[index] + 1e-3).sqrt()
            expected[index] = expected[index] - momenta[index]
        optimizer.step()
    for parameter, value in zip(parameters[:2], expected, strict=True):
        torch.testing.assert_close(parameter.detach().double(), value, rtol=1e-5, atol=1e-6)


def test_state_is_saved_and_numbers_are_checked():
    parameter = torch.ones(2, requires_grad=True)
    optimizer = TensorFlowRMSprop([parameter], lr=0.1)
    (parameter**2).sum().backward()
    optimizer.step()
    other = TensorFlowRMSprop([parameter], lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    for name in ("mean_square", "momentum"):
        torch.testing.assert_close(other.state[parameter][name], optimizer.state[parameter][name])
    with pytest.raises(ValueError, match="got lr=-1"):
        TensorFlowRMSprop([parameter], lr=-1.0)
