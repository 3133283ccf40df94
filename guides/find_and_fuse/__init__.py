"""Objects proposed once, found in every frame, and fused with predictions of their motion (Akhundov et al. 2019).

The five variants of the paper, from the same parts::

    scenes = ObjectScenes((1, 50, 50))
    images = ContinuousAttendInferRepeat(scenes)
    walk, moving = DisentangledStateSpaceModel(scenes, first_motion=None), DisentangledStateSpaceModel(scenes)

    air = FrameProposalGuide(images, AIREncoder(scenes))
    find = FindAndFuseGuide(walk, AIREncoder(scenes), Finder(walk))
    rect_find = FindAndFuseGuide(walk, AIREncoder(scenes), Finder(walk), rectifier=Rectifier(scenes))
    find_mot = FindAndFuseGuide(moving, AIREncoder(scenes), Finder(moving), fuser=MotionFuser(moving))
    vtssi = FindAndFuseGuide(
        moving, AIREncoder(scenes), Finder(moving), rectifier=Rectifier(scenes), fuser=MotionFuser(moving)
    )
"""

from guides.find_and_fuse.convolutions import Convolution
from guides.find_and_fuse.correlation_finder import CorrelationFinder
from guides.find_and_fuse.encoder import AIREncoder
from guides.find_and_fuse.finder import Finder
from guides.find_and_fuse.frame_proposal import FrameProposalGuide
from guides.find_and_fuse.guide import FindAndFuseGuide
from guides.find_and_fuse.map_places import MapPlaces
from guides.find_and_fuse.motion import MotionFuser
from guides.find_and_fuse.places import RecurrentPlaces
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
    "MapPlaces",
    "MotionFuser",
    "ProductFuser",
    "RecurrentPlaces",
    "Rectifier",
    "TwoWayMotionFuser",
]
