"""These tests pin: what the recurrent guide of states completes; codes of missing frames are what its states emit."""

import pyro
import torch

from guides import RecurrentStateGuide
from pyro_models import KalmanVAE

SEQUENCES, TIME = 3, 6
FRAMES = torch.rand(SEQUENCES, TIME, 1, 8, 8).round().double()
OBSERVED = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
OBSERVED[1, 2:4] = False
OBSERVED[2, 0] = False


def pair():
    pyro.set_rng_seed(0)
    model = KalmanVAE((1, 8, 8), num_components=1, decoder="mlp", marginalize_state=False).double()
    with torch.no_grad():
        model.dynamics.emission_matrices.normal_()
    return model, RecurrentStateGuide(model, hidden_dim=5).double()


def emitted(model, states):
    """With one component the emission matrix is the same at every step."""
    return states @ model.dynamics.emission_matrices[0].T


def test_codes_of_missing_frames_are_emitted_by_the_states():
    model, guide = pair()
    values = guide.complete(FRAMES, OBSERVED)
    means = guide.encoder(FRAMES)[0]
    torch.testing.assert_close(values["a"][OBSERVED], means[OBSERVED])
    torch.testing.assert_close(values["a"][~OBSERVED], emitted(model, values["z"])[~OBSERVED])
    assert torch.equal(guide.complete(FRAMES)["a"], means)


def test_each_state_of_the_point_estimate_has_its_mean_given_the_one_before():
    _, guide = pair()
    states = guide.complete(FRAMES, OBSERVED)["z"]
    context = guide._context(guide.encoder(FRAMES)[0], OBSERVED, None)
    before = torch.cat([guide.initial_state.expand(SEQUENCES, 1, 4), states[:, :-1]], 1)
    torch.testing.assert_close(states, guide.combiner(before, context)[0])


def test_draws_of_missing_codes_have_the_emission_noise():
    model, guide = pair()
    values = guide.complete(FRAMES, OBSERVED, num_samples=4000)
    residual = (values["a"] - emitted(model, values["z"]))[:, 0][:, ~OBSERVED]
    variance = model.dynamics.log_emission_variance.exp()
    error = (variance / 4000).sqrt()
    assert (residual.mean(0).abs() < 5 * error).all()
    torch.testing.assert_close(residual.var(0), variance.expand(3, 2), rtol=0.12, atol=0)  # 5 standard errors
    seen = values["a"][:, 0][:, OBSERVED]
    mean, spread = (moment[OBSERVED] for moment in guide.encoder(FRAMES))
    assert ((seen.mean(0) - mean).abs() < 5 * (spread / 4000).sqrt()).all()
