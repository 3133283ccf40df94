"""Contract cases of the Kalman VAE."""

from functools import partial

from pyro_models import KalmanVAE
from tests.contracts.cases import CONTROL, FRAME_SHAPE, ModelCase

_KALMAN = partial(KalmanVAE, FRAME_SHAPE, code_dim=2, state_dim=4, num_components=3, decoder="mlp")

MODELS = {
    "KalmanVAE": ModelCase(_KALMAN),
    "KalmanVAE, states drawn": ModelCase(partial(_KALMAN, marginalize_state=False)),
    "KalmanVAE, controls": ModelCase(partial(_KALMAN, control_dim=CONTROL, likelihood="gaussian"), CONTROL),
    "KalmanVAE, MLP weights": ModelCase(partial(_KALMAN, mixture="mlp")),
    "KalmanVAE, convolutions": ModelCase(partial(_KALMAN, mixture="fifo", decoder="conv")),
}
