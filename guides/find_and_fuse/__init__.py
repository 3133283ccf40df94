"""Objects proposed once, found in every frame, and fused with predictions of their motion (Akhundov et al. 2019)."""

from guides.find_and_fuse.convolutions import Convolution
from guides.find_and_fuse.correlation_finder import CorrelationFinder
from guides.find_and_fuse.encoder import AIREncoder
from guides.find_and_fuse.finder import Finder
from guides.find_and_fuse.frame_proposal import FrameProposalGuide
from guides.find_and_fuse.guide import FindAndFuseGuide
from guides.find_and_fuse.motion import MotionFuser
from guides.find_and_fuse.product_fuser import ProductFuser
from guides.find_and_fuse.rectifier import Rectifier
from guides.find_and_fuse.two_way import TwoWayMotionFuser

__all__ = [
    "AIREncoder",
    "Convolution",
    "CorrelationFinder",
    "FindAndFuseGuide",
    "Finder",
    "FrameProposalGuide",
    "MotionFuser",
    "ProductFuser",
    "Rectifier",
    "TwoWayMotionFuser",
]
