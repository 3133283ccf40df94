"""Videos cut out of a static-camera clip: their number, their object counts, and a picture of one."""

from pathlib import Path

import torch

from inference.pictures import draw_clip
from inference.recipes import OptionError, Recipe
from inference.recipes.pedestrians import ClipVideos
from inference.scores.clips import clip_table, fullest, summarize_clip
from videos.digits import SPLITS


def show_clip(recipe: Recipe, clip: Path, num_sequences: int, picture: Path) -> str:
    """Cut videos out of a clip, count them and draw one.

    Args:
        recipe: a recipe that learns from clips.
        clip: a video file.
        num_sequences: videos to cut per split.
        picture: picture file to write.

    Returns:
        A table with one line per split.

    Raises:
        OptionError: if the recipe does not learn from clips.
    """
    videos = clip_videos(recipe)
    sources = {split: videos.simulator(split) for split in SPLITS}
    drawn = {
        split: source.simulate(num_sequences, torch.Generator().manual_seed(recipe.seed))
        for split, source in sources.items()
    }
    draw_clip(sources["train"], drawn["train"], fullest(drawn["train"]), title=clip.name).savefig(picture)
    return clip_table({split: summarize_clip(sources[split], drawn[split]) for split in SPLITS})


def clip_videos(recipe: Recipe) -> ClipVideos:
    """The videos of a recipe that learns from clips.

    Raises:
        OptionError: if it does not.
    """
    if not isinstance(recipe.videos, ClipVideos):
        raise OptionError(f"--recipe: expected one that learns from clips, got {recipe.name!r}")
    return recipe.videos
