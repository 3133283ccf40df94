"""Frames in, frames out: simulators, loaders and patterns of missing frames."""

from videos.background_subtraction import BackgroundSubtraction, Foreground
from videos.batch import VideoBatch
from videos.box_world import BoxWorld, GravityWorld, PolygonWorld, PongWorld
from videos.cannonballs import Cannonballs
from videos.clevrer import ClevrerClips, load_clevrer
from videos.clips import synthetic_clip
from videos.digit_motions import DDPAEDigits, EllipticDigits, LinearDigits
from videos.digits import Digits, load_digits
from videos.files import save_videos
from videos.formats import VideoFormat
from videos.loaders import (
    EndlessVideos,
    FixedVideos,
    GrowingVideos,
    Simulator,
    SingleFrames,
    VideoSource,
    split_videos,
)
from videos.massive_balls import MassiveBalls
from videos.missing import MissingPattern, gap, random_drop, tail
from videos.moving_blobs import MovingBlobs
from videos.moving_digits import MovingDigits, StillDigits
from videos.moving_sprites import MovingSprites
from videos.pendulum import Pendulum
from videos.reading import load_frames, load_video, load_videos
from videos.surveillance import Surveillance
from videos.tabletop import TabletopScenes
from videos.tracks import Tracks, read_tracks, write_tracks
from videos.visible import visible_masks

#: Every simulator by name; each is a frozen dataclass with `simulate(num_sequences, generator, device)`.
SIMULATORS: dict[str, type[Simulator]] = {
    "box": BoxWorld,
    "box-gravity": GravityWorld,
    "cannonballs": Cannonballs,
    "ddpae-mnist": DDPAEDigits,
    "elliptic-mnist": EllipticDigits,
    "linear-mnist": LinearDigits,
    "massive-balls": MassiveBalls,
    "moving-mnist": MovingDigits,
    "multi-mnist": StillDigits,
    "pendulum": Pendulum,
    "polygon": PolygonWorld,
    "pong": PongWorld,
    "sprites": MovingSprites,
    "tabletop": TabletopScenes,
}

__all__ = [
    "SIMULATORS",
    "BackgroundSubtraction",
    "BoxWorld",
    "Cannonballs",
    "ClevrerClips",
    "DDPAEDigits",
    "Digits",
    "EllipticDigits",
    "EndlessVideos",
    "FixedVideos",
    "Foreground",
    "GravityWorld",
    "GrowingVideos",
    "LinearDigits",
    "MassiveBalls",
    "MissingPattern",
    "MovingBlobs",
    "MovingDigits",
    "MovingSprites",
    "Pendulum",
    "PolygonWorld",
    "PongWorld",
    "Simulator",
    "SingleFrames",
    "StillDigits",
    "Surveillance",
    "TabletopScenes",
    "Tracks",
    "VideoBatch",
    "VideoFormat",
    "VideoSource",
    "gap",
    "load_clevrer",
    "load_digits",
    "load_frames",
    "load_video",
    "load_videos",
    "random_drop",
    "read_tracks",
    "save_videos",
    "split_videos",
    "synthetic_clip",
    "tail",
    "visible_masks",
    "write_tracks",
]
