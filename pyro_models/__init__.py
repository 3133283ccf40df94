"""Generative models p(frames, latents), one per file, as PyroModules that run under plain `pyro.infer.SVI`."""

from pyro_models.air import AttendInferRepeat
from pyro_models.ddpae.model import DDPAE
from pyro_models.deep_markov import DeepMarkovModel
from pyro_models.deep_variational_bayes_filter import DeepVariationalBayesFilter
from pyro_models.dynamics_from_pixels.model import DynamicsFromPixels
from pyro_models.encoder_decoder_lstm import EncoderDecoderLSTM
from pyro_models.kalman_vae.model import KalmanVAE
from pyro_models.recurrent_codes.model import RecurrentCodes
from pyro_models.relational_nem.model import RelationalNeuralEM
from pyro_models.spatio_temporal_mixture.broadcast_decoder import BroadcastDecoder
from pyro_models.spatio_temporal_mixture.model import SpatioTemporalMixture
from pyro_models.spatio_temporal_mixture.slot_memory import SlotMemory
from pyro_models.sqair.model import SequentialAttendInferRepeat
from pyro_models.vrnn.model import VariationalRecurrentNetwork
from pyro_models.vtssi.model import DisentangledStateSpaceModel
from pyro_models.vtssi.object_scenes import ObjectScenes
from pyro_models.vtssi.per_frame import ContinuousAttendInferRepeat
from pyro_models.vtssi.transition import MotionTransition
from pyro_models.walking_people.model import WalkingPeople

__all__ = [
    "DDPAE",
    "AttendInferRepeat",
    "BroadcastDecoder",
    "ContinuousAttendInferRepeat",
    "DeepMarkovModel",
    "DeepVariationalBayesFilter",
    "DisentangledStateSpaceModel",
    "DynamicsFromPixels",
    "EncoderDecoderLSTM",
    "KalmanVAE",
    "MotionTransition",
    "ObjectScenes",
    "RecurrentCodes",
    "RelationalNeuralEM",
    "SequentialAttendInferRepeat",
    "SlotMemory",
    "SpatioTemporalMixture",
    "VariationalRecurrentNetwork",
    "WalkingPeople",
]
