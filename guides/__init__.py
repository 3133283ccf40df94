"""Amortized guides q(latents | frames), one way of inferring per file, and tools to write one."""

from guides.check.guide import GuideCheck, GuideMismatchError, check_guide
from guides.describe import describe_sites
from guides.discovery_propagation.guide import DiscoveryPropagationGuide
from guides.encoders import FrameEncoder
from guides.find_and_fuse import (
    AIREncoder,
    FindAndFuseGuide,
    Finder,
    FrameProposalGuide,
    MotionFuser,
    Rectifier,
)
from guides.frame_gaussian import FrameGaussianGuide
from guides.glimpse_attention import GlimpseAttentionGuide
from guides.inner_gradients import inner_gradients
from guides.iterative_refinement import IterativeRefinementGuide
from guides.kalman import KalmanGuide
from guides.log_joint import log_joint
from guides.no_latents import NoLatentsGuide
from guides.objects.filter import ObjectFilterGuide
from guides.objects.potentials import ObjectPotentialsGuide
from guides.objects.states import ObjectStatesGuide
from guides.pose_prediction.guide import PosePredictionGuide
from guides.prior_correction import PriorCorrectionGuide
from guides.recurrent import RecurrentGuide
from guides.recurrent_states import RecurrentStateGuide
from guides.silhouette_tracking.guide import SilhouetteTrackingGuide
from guides.silhouette_tracking.learning import fit_silhouettes
from guides.site_table import SiteTable
from guides.spatio_temporal_refinement import RefinementNetwork, SpatioTemporalRefinementGuide

__all__ = [
    "AIREncoder",
    "DiscoveryPropagationGuide",
    "FindAndFuseGuide",
    "Finder",
    "FrameEncoder",
    "FrameGaussianGuide",
    "FrameProposalGuide",
    "GlimpseAttentionGuide",
    "GuideCheck",
    "GuideMismatchError",
    "IterativeRefinementGuide",
    "KalmanGuide",
    "MotionFuser",
    "NoLatentsGuide",
    "ObjectFilterGuide",
    "ObjectPotentialsGuide",
    "ObjectStatesGuide",
    "PosePredictionGuide",
    "PriorCorrectionGuide",
    "Rectifier",
    "RecurrentGuide",
    "RecurrentStateGuide",
    "RefinementNetwork",
    "SilhouetteTrackingGuide",
    "SiteTable",
    "SpatioTemporalRefinementGuide",
    "check_guide",
    "describe_sites",
    "fit_silhouettes",
    "inner_gradients",
    "log_joint",
]
