"""`kinema clip FILE`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from inference.cli.recipes import recipe_named
from inference.cli.words import last_value, parse
from inference.experiments.clip import clip_videos, show_clip

RECIPE = "sqair-pedestrians"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The clip, and what is made of it.

    Attributes:
        clip: a video file of a static camera, or a folder of images.
        recipe: recipe to cut videos for.
        num_sequences: videos to cut per split.
        picture: picture to write; None = the clip's name with .png, in this folder.
    """

    clip: tyro.conf.Positional[Path]
    recipe: str = RECIPE
    num_sequences: int = 200
    picture: Path | None = None


def clip(words: Sequence[str]) -> int:
    """Cut videos out of a static-camera clip, count them and draw one."""
    recipe = recipe_named(
        [last_value(words, "recipe") or RECIPE], prog="kinema clip FILE --recipe", description=str(clip.__doc__)
    )
    videos = clip_videos(recipe)  # refuse a wrong kind of recipe before complaining about its options
    options = parse(words, prog="kinema clip", description=str(clip.__doc__), clip=Clip, videos=videos)
    given: Clip = options.clip
    picture = given.picture or Path(given.clip.with_suffix(".png").name)
    recipe = replace(recipe, videos=replace(options.videos, data=given.clip))
    print(show_clip(recipe, given.clip, given.num_sequences, picture))
    print(picture)
    return 0
