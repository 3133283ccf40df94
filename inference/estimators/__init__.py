"""Rules that turn a trace of the guide and a trace of the model into a loss; they know no model."""

from inference.estimators.fivo import FIVO
from inference.estimators.iwae import IWAE
from inference.estimators.multi_sample import MultiSampleELBO
from inference.estimators.own_weight_vimco import OwnWeightVIMCO
from inference.estimators.vimco import VIMCO
from inference.estimators.wake_sleep import WakeSleep
from inference.programs.increments import increments

__all__ = ["FIVO", "IWAE", "VIMCO", "MultiSampleELBO", "OwnWeightVIMCO", "WakeSleep", "increments"]
