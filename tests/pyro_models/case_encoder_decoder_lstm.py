"""Contract cases of the LSTM between encoder and decoder."""

from functools import partial

from pyro_models import EncoderDecoderLSTM
from tests.contracts.cases import CONTROL, FRAME_SHAPE, ModelCase

_PIXELS = partial(EncoderDecoderLSTM, FRAME_SHAPE, state_dim=11, code_dim=6, hidden=(9,))

MODELS = {
    "EncoderDecoderLSTM": ModelCase(_PIXELS, has_latents=False),
    "EncoderDecoderLSTM, controls": ModelCase(partial(_PIXELS, control_dim=CONTROL), CONTROL, has_latents=False),
}
