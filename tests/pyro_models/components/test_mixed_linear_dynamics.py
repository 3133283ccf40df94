"""Mixed linear dynamics: a proper density over codes, invariances of the mixture, missing steps, simulation."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from pyro_models.kalman_vae.dynamics_mixture import DynamicsMixture, LSTMDynamicsMixture
from pyro_models.kalman_vae.mixed_linear_dynamics import MixedLinearDynamics


class SigmoidMixture(DynamicsMixture):
    """alpha = (sigmoid(a), 1 - sigmoid(a)) of the last code."""

    def __init__(self):
        super().__init__(1, 2)

    def initial_state(self, inputs):
        return ()

    def step(self, inputs, state):
        return self(inputs), state

    def forward(self, inputs):
        return torch.cat([inputs.sigmoid(), 1 - inputs.sigmoid()], -1)


@pytest.fixture
def flipping():
    """Scalar, two steps: the second state keeps or flips the sign of the first, as the first code says."""
    dynamics = MixedLinearDynamics(1, 1, 2, mixture=SigmoidMixture()).double()
    with torch.no_grad():
        dynamics.transition_matrices.copy_(torch.tensor([[[1.0]], [[-1.0]]]))
        dynamics.emission_matrices.fill_(1.0)
        dynamics.log_transition_variance.fill_(math.log(0.08))  # the default, in double precision
        dynamics.log_emission_variance.fill_(math.log(0.03))
    return dynamics


def random_dynamics(control_dim=0, **options):
    dynamics = MixedLinearDynamics(2, 3, 4, control_dim, **options).double()
    with torch.no_grad():
        for parameter in (dynamics.transition_matrices, dynamics.emission_matrices, dynamics.initial_code):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return dynamics


def log_prob(dynamics, codes, observed=None, controls=None):
    return dynamics.condition(codes, observed, controls).log_prob(codes)


def test_density_of_codes_is_normalised(flipping):
    grid = torch.linspace(-25, 25, 1001, dtype=torch.float64)
    codes = torch.cartesian_prod(grid, grid).unsqueeze(-1)
    with torch.no_grad():
        density = log_prob(flipping, codes).exp()
    assert density.sum().item() * (grid[1] - grid[0]).item() ** 2 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("codes", "expected"), [((1.0, 2.0), -12.4547858912), ((1.0, 0.5), -2.2924728647)])
def test_density_of_codes_on_paper(flipping, codes, expected):
    value = log_prob(flipping, torch.tensor(codes, dtype=torch.float64).unsqueeze(-1))
    assert value.item() == pytest.approx(expected, abs=1e-9)


def test_density_is_causal():
    dynamics = random_dynamics()
    codes = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    for seen in range(1, 7):
        (gradient,) = torch.autograd.grad(log_prob(dynamics, codes[:seen]), codes)
        assert (gradient[seen:] == 0).all()
    weights = dynamics.weights(codes)
    for step in range(7):
        (gradient,) = torch.autograd.grad(weights[step, 0], codes, retain_graph=True)
        assert (gradient[step:] == 0).all()


def test_equal_components_need_no_mixture():
    dynamics = random_dynamics()
    with torch.no_grad():
        dynamics.transition_matrices.copy_(dynamics.transition_matrices[:1].expand_as(dynamics.transition_matrices))
        dynamics.emission_matrices.copy_(dynamics.emission_matrices[:1].expand_as(dynamics.emission_matrices))
    single = MixedLinearDynamics(2, 3, 1).double()
    with torch.no_grad():
        single.transition_matrices.copy_(dynamics.transition_matrices[:1])
        single.emission_matrices.copy_(dynamics.emission_matrices[:1])
    codes = torch.randn(5, 7, 2, dtype=torch.float64)
    torch.testing.assert_close(log_prob(dynamics, codes), log_prob(single, codes))


def test_order_of_components_does_not_matter():
    dynamics, codes = random_dynamics(control_dim=2), torch.randn(5, 7, 2, dtype=torch.float64)
    controls = torch.randn(5, 7, 2, dtype=torch.float64)
    before = log_prob(dynamics, codes, None, controls)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        for parameter in (dynamics.transition_matrices, dynamics.emission_matrices, dynamics.control_matrices):
            parameter.copy_(parameter[order].clone())
        for parameter in (dynamics.mixture.head.weight, dynamics.mixture.head.bias):
            parameter.copy_(parameter[order].clone())
    torch.testing.assert_close(log_prob(dynamics, codes, None, controls), before)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_basis_of_the_state_matters_only_if_it_is_not_orthogonal(orthogonal):
    dynamics, codes = random_dynamics(), torch.randn(5, 7, 2, dtype=torch.float64)
    before = log_prob(dynamics, codes)
    basis = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    if not orthogonal:
        basis = basis @ torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    with torch.no_grad():
        dynamics.transition_matrices.copy_(basis @ dynamics.transition_matrices @ torch.linalg.inv(basis))
        dynamics.emission_matrices.copy_(dynamics.emission_matrices @ torch.linalg.inv(basis))
    assert torch.allclose(log_prob(dynamics, codes), before, rtol=1e-9) == orthogonal


def test_all_seen_equals_no_mask():
    dynamics, codes = random_dynamics(control_dim=2), torch.randn(6, 5, 7, 2, dtype=torch.float64)
    controls = torch.randn(5, 7, 2, dtype=torch.float64)
    seen = torch.ones(5, 7, dtype=torch.bool)
    torch.testing.assert_close(log_prob(dynamics, codes, seen, controls), log_prob(dynamics, codes, None, controls))


def test_missing_codes_are_never_read():
    dynamics = random_dynamics()
    observed = torch.rand(5, 7) > 0.4
    codes = torch.randn(5, 7, 2, dtype=torch.float64)
    codes[~observed] = 1.0
    value = log_prob(dynamics, codes, observed).sum()
    gradients = torch.autograd.grad(value, dynamics.emission_matrices)
    codes[~observed] = math.nan
    with_nan = log_prob(dynamics, codes, observed).sum()
    assert torch.equal(value, with_nan)
    assert torch.equal(gradients[0], torch.autograd.grad(with_nan, dynamics.emission_matrices)[0])


def test_missing_tail_is_truncation():
    dynamics, codes = random_dynamics(), torch.randn(5, 7, 2, dtype=torch.float64)
    observed = torch.arange(7).expand(5, 7) < 4
    torch.testing.assert_close(log_prob(dynamics, codes, observed), log_prob(dynamics, codes[:, :4]))


def test_missing_tail_filter_is_smoother_is_rollout():
    """With nothing seen after step 3, filtered and smoothed codes are the noise-free rollout that feeds itself."""
    dynamics, codes = random_dynamics(), torch.randn(5, 7, 2, dtype=torch.float64)
    observed = torch.arange(7).expand(5, 7) < 4
    with torch.no_grad():
        chain = dynamics.condition(codes, observed)
        filtered, smoothed = chain.filter(codes).mean, chain.smooth(codes).mean
        torch.testing.assert_close(filtered[:, 3:], smoothed[:, 3:])
        state, seen = filtered[:, 3], list(codes[:, :4].unbind(1))
        for step in range(4, 7):
            weights = dynamics.weights(torch.stack([*seen, torch.zeros_like(seen[0])], 1))[:, -1]
            state = torch.einsum("bk,kij,bj->bi", weights, dynamics.transition_matrices, state)
            seen.append(torch.einsum("bk,kij,bj->bi", weights, dynamics.emission_matrices, state))
            torch.testing.assert_close(filtered[:, step], state)


def test_controls_act_on_the_step_that_they_lead_to():
    dynamics = random_dynamics(control_dim=1, mixture=LSTMDynamicsMixture(2, 4))
    controls = torch.zeros(5, 7, 1, dtype=torch.float64, requires_grad=True)
    chain = dynamics.condition(torch.zeros(5, 7, 2, dtype=torch.float64), None, controls)
    for step in range(7):
        (gradient,) = torch.autograd.grad(chain.state_marginals().mean[0, step].sum(), controls, retain_graph=True)
        assert gradient[0, 1 : step + 1].abs().gt(0).all()
        assert (gradient[0, step + 1 :] == 0).all()
        assert (gradient[0, 0] == 0).all()


def test_simulated_codes_follow_the_density():
    """Without mixing the codes are one Gaussian: simulated variances are its own within 5 standard errors."""
    dynamics = MixedLinearDynamics(1, 2, 1).double()
    with torch.no_grad():
        dynamics.emission_matrices.copy_(torch.tensor([[[1.0, 0.5]]]))
        dynamics.transition_matrices.copy_(torch.tensor([[[0.9, 0.3], [0.0, 0.8]]]))
        draws = dynamics.simulate(torch.Size([20_000]), 3).squeeze(-1)
        chain = dynamics.condition(draws[:1, :, None])
        marginal = chain.variance[0].squeeze(-1)
    standard_error = marginal * math.sqrt(2 / 20_000)
    assert ((draws.var(0) - marginal).abs() < 5 * standard_error).all()
    assert (draws.mean(0).abs() < 5 * (marginal / 20_000).sqrt()).all()


def test_simulated_codes_flip_as_the_density_says(flipping):
    """Given the first code, the second is a mixture-free Gaussian whose mean is (2 sigmoid(a_1) - 1) m_1."""
    with torch.no_grad():
        draws = flipping.simulate(torch.Size([50_000]), 2)
        gain = 20 / 20.03
        slope = 2 * draws[:, 0].sigmoid() - 1
        residual = draws[:, 1] - slope * gain * draws[:, 0]
        variance = slope**2 * 20 * (1 - gain) + 0.08 + 0.03
        standardised = residual / variance.sqrt()
    assert abs(standardised.mean().item()) < 5 / math.sqrt(50_000)
    assert abs(standardised.var().item() - 1) < 5 * math.sqrt(2 / 50_000)


def test_first_code_alone():
    dynamics = random_dynamics()
    codes = torch.randn(5, 1, 2, dtype=torch.float64)
    emission = torch.einsum("k,kij->ij", dynamics.weights(codes)[0, 0], dynamics.emission_matrices)
    covariance = 20 * emission @ emission.T + 0.03 * torch.eye(2, dtype=torch.float64)
    law = MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    torch.testing.assert_close(log_prob(dynamics, codes), law.log_prob(codes[:, 0]))


def test_noise_is_fixed_unless_asked_for():
    names = {name for name, parameter in MixedLinearDynamics(2, 4, 3).named_parameters() if parameter.requires_grad}
    assert not any("variance" in name for name in names)
    learned = MixedLinearDynamics(2, 4, 3, learn_noise=True)
    assert learned.log_transition_variance.requires_grad
    with torch.no_grad():
        learned.log_transition_variance.fill_(-100.0)
    assert learned.transition_covariance.diagonal().tolist() == pytest.approx([1e-4] * 4)


def test_parameter_count_of_the_reference():
    dynamics = MixedLinearDynamics(2, 4, 3, 1)
    matrices = (dynamics.transition_matrices, dynamics.control_matrices, dynamics.emission_matrices)
    assert [parameter.numel() for parameter in matrices] == [48, 12, 24]
    assert dynamics.initial_code.numel() == 2


def test_unknown_mixture():
    with pytest.raises(ValueError, match=r"mixture: expected one of \['fifo', 'lstm', 'mlp'\], got 'gru'"):
        MixedLinearDynamics(2, 4, 3, mixture="gru")
    with pytest.raises(ValueError, match="mixture: expected code_dim, num_components = 2, 3, got 3, 3"):
        MixedLinearDynamics(2, 4, 3, mixture=LSTMDynamicsMixture(3, 3))
