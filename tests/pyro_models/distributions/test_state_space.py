"""Every message about a wrong type or shape, and where the number of steps comes from."""

import pytest
import torch

from tests.oracles.random_state_space import OBS, SEQUENCES, STATE, TIME, random_parameters

WRONG = [
    ({"emission_matrix": torch.zeros(6, OBS, STATE)}, r"emission_matrix: .* = \(..., 7, 3, 4\), got \(..., 6, 3, 4\)"),
    ({"initial_covariance": torch.zeros(STATE, 3)}, r"initial_covariance: .* = \(..., 4, 4\), got \(..., 4, 3\)"),
    (
        {"transition_matrix": torch.zeros(TIME, STATE, STATE)},
        r"transition_matrix: expected \(\*batch, time - 1 or 1, state, state\) = \(..., 6, 4, 4\), got \(..., 7, 4",
    ),
    ({"transition_covariance": torch.zeros(1, STATE, 2)}, r"transition_covariance: .* = \(..., 6, 4, 4\), got"),
    ({"emission_covariance": torch.zeros(1, STATE, STATE)}, r"emission_covariance: .* = \(..., 7, 3, 3\), got"),
    ({"transition_offset": torch.zeros(1, OBS)}, r"transition_offset: .* = \(..., 6, 4\), got \(..., 1, 3\)"),
    ({"emission_offset": torch.zeros(2, OBS)}, r"emission_offset: .* = \(..., 7, 3\), got \(..., 2, 3\)"),
    ({"observed": torch.ones(1, dtype=torch.bool)}, r"observed: .* = \(..., 7\), got \(..., 1\)"),
    (
        {"emission_matrix": torch.zeros(OBS, STATE)},
        r"emission_matrix: expected \(\*batch, time or 1, obs, state\), got \(3, 4\)",
    ),
    ({"num_steps": 0}, "num_steps: expected a positive int, got 0"),
]


def build(**parameters):
    from pyro_models.distributions import LinearGaussianSSM

    return LinearGaussianSSM(**parameters)


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_shapes_are_named(wrong, message):
    given = random_parameters(batch=(), offsets=False) | {"num_steps": TIME}
    with pytest.raises(ValueError, match=message):
        build(**(given | wrong))


def test_batches_must_broadcast():
    given = random_parameters(batch=(SEQUENCES,))
    given["initial_mean"] = torch.zeros(3, STATE)
    with pytest.raises(
        ValueError, match=r"batch dims of the parameters: .* initial_mean \(3,\), initial_covariance \(5,\)"
    ):
        build(**given, num_steps=TIME)


def test_wrong_types_are_named():
    given = random_parameters()
    with pytest.raises(TypeError, match="initial_mean: expected a floating-point tensor, got torch.int64"):
        build(**(given | {"initial_mean": torch.zeros(STATE, dtype=torch.int64)}), num_steps=TIME)
    with pytest.raises(TypeError, match="observed: expected a bool tensor, got torch.float32"):
        build(**given, observed=torch.ones(TIME))


def test_devices_must_agree():
    given = random_parameters()
    given["initial_mean"] = given["initial_mean"].to("meta")
    with pytest.raises(ValueError, match="devices of the parameters: expected one device, got initial_mean on meta"):
        build(**given, num_steps=TIME)


@pytest.mark.parametrize("source", [0, 1, 2, 3, "offset", "observed", "num_steps"])
def test_number_of_steps_is_found(source):
    per_step = tuple(source == i for i in range(4))
    given = random_parameters(per_step=per_step)
    extra = {"observed": torch.ones(TIME, dtype=torch.bool)} if source == "observed" else {}
    extra |= {"num_steps": TIME} if source == "num_steps" else {}
    if source == "offset":
        given["transition_offset"] = torch.zeros(TIME - 1, STATE)
    assert build(**given, **extra).num_steps == TIME


def test_number_of_steps_must_be_known():
    with pytest.raises(ValueError, match="num_steps: expected the number of time steps, as every time dim is 1"):
        build(**random_parameters())
