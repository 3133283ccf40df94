"""Tiny gradients become zero; everything else is as it was."""

import torch
import torch.nn.functional as F

from pyro_models.components.likelihoods import BernoulliFrames
from pyro_models.components.tiny_gradients import drop_tiny_gradients


def test_decided_pixels_give_no_subnormal_gradients():
    logits = torch.tensor([-95.0, -60.0, -3.0, 0.0, 40.0, -95.0]).reshape(1, 1, 6).requires_grad_()
    frame = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).reshape(1, 1, 6)
    density = BernoulliFrames()(logits).log_prob(frame)
    (gradient,) = torch.autograd.grad(density, logits)
    plain = -F.binary_cross_entropy_with_logits(logits, frame, reduction="sum")
    (exact,) = torch.autograd.grad(plain, logits)
    assert density.item() == plain.item()
    assert 0 < exact[0, 0, 1].abs() < 1e-20
    assert torch.equal(gradient[exact.abs() >= 1e-20], exact[exact.abs() >= 1e-20])
    assert (gradient[exact.abs() < 1e-20] == 0).all()
    assert gradient[0, 0, 5] == 1.0  # a confident wrong pixel still learns


def test_it_is_differentiated_twice_and_mapped():
    values = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: drop_tiny_gradients(x).exp(), values)
    assert torch.autograd.gradgradcheck(lambda x: drop_tiny_gradients(x).exp(), values)
    mapped = torch.vmap(torch.func.grad(lambda x: drop_tiny_gradients(x).exp().sum()))(values.reshape(2, 2))
    torch.testing.assert_close(mapped, values.reshape(2, 2).exp())
