"""What an adjusted Rand index means: that of masks with known faults, on the balls of Zablotskaia et al. (2020).

    python benchmarks/index_calibration.py --output results/index_calibration.json

Each fault is made to the true masks of frames with four balls. Writes the mean index with background and of the
foreground, and the squared error of black pictures.
"""

import argparse
import json
from pathlib import Path

import torch
from slot_scores import mean_of
from torch import Tensor
from torch.nn.functional import one_hot

from inference.metrics.partitions import shared_pixels
from inference.metrics.segmentation import index_of_counts
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from videos import MassiveBalls, VideoBatch
from videos.drawing import disc_insides

SEED = 70


def faulty(videos: VideoBatch) -> dict[str, Tensor]:
    """Masks with faults, by name; where none is set there is background.

    Args:
        videos: with masks (sequences, time, balls, height, width), in frames in which no two balls overlap.
    """
    masks, positions, sizes = videos.masks, videos.positions, videos.box_sizes
    assert masks is not None
    assert positions is not None
    assert sizes is not None
    side, balls = masks.shape[-1], torch.arange(masks.shape[2])[:, None, None]

    def discs(wider: float) -> Tensor:
        """Balls whose radius is larger by so many pixels."""
        return disc_insides(positions, 0.5 * sizes[..., 0] + wider, side, side)

    background = ~masks.any(2, keepdim=True)
    places = torch.arange(side)
    y, x = torch.meshgrid(places, places, indexing="ij")
    distances = (torch.stack([x, y], -1) - positions[..., None, None, :]).square().sum(-1)
    labels = torch.randint(
        masks.shape[2] + 1, (*masks.shape[:2], side, side), generator=torch.Generator().manual_seed(SEED)
    )
    return {
        "perfect": masks,
        "a pixel too wide": discs(1.0),
        "two pixels too wide": discs(2.0),
        "a pixel too narrow": discs(-1.0),
        "background in the slot of a ball": torch.cat([masks[:, :, :1] | background, masks[:, :, 1:]], 2),
        "background in two halves": torch.cat([masks, background & (x < side // 2)], 2),
        "background to the nearest ball": masks | (background & (distances.argmin(2, keepdim=True) == balls)),
        "one cluster": torch.ones_like(background),
        "random labels": one_hot(labels).bool().movedim(-1, 2),
    }


def indices(frames: int) -> dict[str, dict[str, dict[str, float]]]:
    """Mean scores by fault: the indices with background and of the foreground; for black pictures the squared error."""
    videos = MassiveBalls(1, masks=True).simulate(frames, torch.Generator().manual_seed(SEED))
    assert videos.masks is not None
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, masks in faulty(videos).items():
        shared = shared_pixels(masks, videos.masks, over="frame")[:, 0]
        found[name] = {
            "ari": mean_of(index_of_counts(shared, foreground_only=False)),
            "foreground_ari": mean_of(index_of_counts(shared)),
        }
    return found | {"black pictures": {"squared_error": mean_of(videos.frames.double().square().mean((1, 2, 3, 4)))}}


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path("results/index_calibration.json"))
    options = parser.parse_args()
    try:
        found = indices(options.frames)
    except ValueError as error:
        raise SystemExit(f"--frames: {error}") from error
    record = {"provenance": provenance(SEED), "frames": options.frames, "indices": found}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())
    print(options.output)


if __name__ == "__main__":
    main()
