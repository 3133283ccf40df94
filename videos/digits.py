"""Images of handwritten digits: real MNIST from a folder or downloaded, or the small ones that scikit-learn ships."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

_log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
NUM_VALIDATION = 5000  # the last digits of MNIST's training file
TILE = 28  # pixels: side of a digit's tile
SMALL_DIGITS_SIDE = 20  # pixels to which the 8 x 8 digits are enlarged: what MNIST's digits fill of their tile

_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# SHA-256 of the uncompressed files: the gzipped bytes differ from copy to copy.
_CHECKSUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_MOST_BYTES = 16 + 60_000 * TILE**2  # of the largest of them: no more is unpacked before the checksum is compared
MNIST, STAND_IN = "MNIST", "scikit-learn's digits"


@dataclass(frozen=True, eq=False)
class Digits:
    """Digits, each in the top left corner of its tile.

    Attributes:
        tiles: uint8 (digits, 28, 28), contrast stretched to 0 ... 255, cropped to its ink and moved to the corner.
        sizes: (digits, 2), height and width of the ink, pixels.
        labels: (digits,), 0 to 9.
        source: their origin, in words.
    """

    tiles: Tensor
    sizes: Tensor
    labels: Tensor
    source: str

    def to(self, device: torch.device | str) -> Digits:
        """The same digits on a device."""
        return Digits(self.tiles.to(device), self.sizes.to(device), self.labels.to(device), self.source)


@cache
def load_digits(split: str = "train", folder: Path | None = None) -> Digits:
    """Digits of a split, from the first available of these sources.

    1. MNIST's four files, gzipped or not, in `folder`; or, if that is None, in `$KINEMA_DATA/mnist`.
    2. MNIST, downloaded once into the user's cache.
    3. Without a network, and with a warning, the 1,797 digits of 8 x 8 pixels that scikit-learn ships, enlarged.

    Args:
        split: "train" (MNIST's first 55,000), "validation" (its last 5,000) or "test" (its test file). Of
            scikit-learn's digits 70 %, 15 % and 15 %.
        folder: folder of the files. If given, nothing else is tried.

    Raises:
        ValueError: if the split is unknown, or if a file is not MNIST's by its checksum.
        FileNotFoundError: if `folder` lacks a file, which is named.
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
    found = _folder_of_mnist(folder)
    return _from_scikit_learn(split) if found is None else _from_mnist(split, found)


def name_of_digits(folder: Path | None = None) -> str:
    """The data set that `load_digits` reads: "MNIST", or without a network "scikit-learn's digits".

    Args:
        folder: as given to `load_digits`.
    """
    return STAND_IN if _folder_of_mnist(folder) is None else MNIST


def _folder_of_mnist(folder: Path | None) -> Path | None:
    if folder is not None:
        return Path(folder)
    shared = Path(os.environ["KINEMA_DATA"]) / "mnist" if "KINEMA_DATA" in os.environ else None
    return shared if shared is not None and shared.is_dir() else _downloaded()


def _from_mnist(split: str, folder: Path) -> Digits:
    stem = "t10k" if split == "test" else "train"
    images = _read_idx(folder, f"{stem}-images-idx3-ubyte", 16).reshape(-1, TILE, TILE)
    labels = _read_idx(folder, f"{stem}-labels-idx1-ubyte", 8)
    part = {"train": slice(0, -NUM_VALIDATION), "validation": slice(-NUM_VALIDATION, None), "test": slice(None)}[split]
    return cropped_to_ink(
        torch.from_numpy(images[part].copy()), torch.from_numpy(labels[part].copy()), f"MNIST in {folder}"
    )


def _read_idx(folder: Path, name: str, header: int) -> np.ndarray:
    """Bytes of an idx file after its header."""
    packed, plain = folder / f"{name}.gz", folder / name
    path = plain if plain.is_file() else packed
    if not path.is_file():
        raise FileNotFoundError(f"folder: expected {packed.name} in {folder}, which has no such file")
    try:
        with gzip.open(path) if path == packed else open(path, "rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"folder: expected MNIST's {name}, got {path}, which is damaged ({error}); copy it again"
        ) from error
    if hashlib.sha256(content).hexdigest() != _CHECKSUMS[name]:
        raise ValueError(f"folder: expected MNIST's {name}, got {path} with another checksum; copy it again")
    return np.frombuffer(content, dtype=np.uint8, offset=header)


@cache
def _downloaded() -> Path | None:
    """The folder of MNIST in the user's cache, downloaded if necessary; None without a network.

    Evaluated once, so that all splits come from one source, with one warning.
    """
    import pooch

    folder = Path(pooch.os_cache("kinema")) / "mnist"
    try:
        for name in _CHECKSUMS:
            pooch.retrieve(f"{_MIRROR}{name}.gz", known_hash=None, fname=f"{name}.gz", path=folder)
    except OSError as error:  # the base class of what requests raises without a network
        _log.warning("MNIST cannot be downloaded (%s): scikit-learn's digits of 8 x 8 pixels are used instead", error)
        return None
    return folder


def _from_scikit_learn(split: str) -> Digits:
    from sklearn.datasets import load_digits as load_small_digits

    pixels, classes = load_small_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(classes))
    first, second = int(0.7 * len(order)), int(0.85 * len(order))
    chosen = order[{"train": slice(0, first), "validation": slice(first, second), "test": slice(second, None)}[split]]
    images = torch.from_numpy(pixels[chosen]).float().reshape(-1, 1, 8, 8) / 16
    large = interpolate(images, SMALL_DIGITS_SIDE, mode="bilinear", align_corners=False)[:, 0]
    tiles = torch.zeros(len(large), TILE, TILE)
    tiles[:, :SMALL_DIGITS_SIDE, :SMALL_DIGITS_SIDE] = large
    labels = torch.from_numpy(classes[chosen])
    return cropped_to_ink((255 * tiles).round().to(torch.uint8), labels, f"{STAND_IN}, enlarged")


def cropped_to_ink(images: Tensor, labels: Tensor, source: str) -> Digits:
    """Stretch the contrast of each image, uint8 (digits, side, side), and move its ink to the top left corner."""
    side = images.shape[-1]
    values = images.float()
    low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    stretched = (255 * (values - low) / (high - low).clamp(min=1)).round().to(torch.uint8)
    rows, columns = (stretched > 0).any(2), (stretched > 0).any(1)
    top, left = rows.int().argmax(1), columns.int().argmax(1)
    height = side - rows.flip(1).int().argmax(1) - top
    width = side - columns.flip(1).int().argmax(1) - left
    place = torch.arange(side)
    # Only background wraps around the tile: the ink ends before the opposite side.
    index = ((place + top[:, None]) % side)[:, :, None] * side + ((place + left[:, None]) % side)[:, None, :]
    tiles = stretched.flatten(1).gather(1, index.flatten(1)).reshape(-1, side, side)
    return Digits(tiles, torch.stack([height, width], 1), labels.long(), source)
