"""Frames in, frames out: simulators, loaders and patterns of missing frames."""

from videos.batch import VideoBatch
from videos.box_world import BoxWorld, GravityWorld, PolygonWorld, PongWorld
from videos.files import load_videos, save_videos
from videos.loaders import EndlessVideos, FixedVideos, Simulator, VideoSource, split_videos
from videos.missing import MissingPattern, gap, random_drop, tail
from videos.pendulum import Pendulum

#: Every simulator by name; each is a frozen dataclass with `simulate(num_sequences, generator, device)`.
SIMULATORS: dict[str, type[Simulator]] = {
    "box": BoxWorld,
    "box-gravity": GravityWorld,
    "pendulum": Pendulum,
    "polygon": PolygonWorld,
    "pong": PongWorld,
}

__all__ = [
    "SIMULATORS",
    "BoxWorld",
    "EndlessVideos",
    "FixedVideos",
    "GravityWorld",
    "MissingPattern",
    "Pendulum",
    "PolygonWorld",
    "PongWorld",
    "Simulator",
    "VideoBatch",
    "VideoSource",
    "gap",
    "load_videos",
    "random_drop",
    "save_videos",
    "split_videos",
    "tail",
]
