"""Controls: the first is never used, all particles get the same."""

import torch

from pyro_models.components.controls import with_control, without_first


def test_the_control_is_the_same_for_all_particles():
    state, control = torch.randn(3, 1, 5, 4), torch.randn(5, 2)
    joined = with_control(state, control)
    assert joined.shape == (3, 1, 5, 6)
    assert torch.equal(joined[2, 0, :, 4:], control)
    assert torch.equal(joined[..., :4], state)
    assert with_control(state, None) is state


def test_the_first_control_is_zeroed_even_if_it_is_no_number():
    controls = torch.randn(5, 7, 2)
    controls[:, 0] = float("nan")
    used = without_first(controls)
    assert torch.equal(used[:, 0], torch.zeros(5, 2))
    assert torch.equal(used[:, 1:], controls[:, 1:])
