"""Contract cases of the deep variational Bayes filter."""

from functools import partial

from pyro_models import DeepVariationalBayesFilter
from tests.contracts.cases import CONTROL, FRAME_SHAPE, ModelCase

MODELS = {
    "DeepVariationalBayesFilter": ModelCase(
        partial(DeepVariationalBayesFilter, FRAME_SHAPE, hidden_dim=11, num_matrices=6)
    ),
    "DeepVariationalBayesFilter, controls": ModelCase(
        partial(DeepVariationalBayesFilter, FRAME_SHAPE, hidden_dim=11, noise_dim=2, control_dim=CONTROL), CONTROL
    ),
}
