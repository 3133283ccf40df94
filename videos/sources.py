"""What a path to videos is: a file of arrays, a video file, or a folder; its files, and their fingerprint."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ARRAYS = (".npy", ".npz")
IMAGES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")
Kind = Literal["arrays", "video", "images", "clips"]
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """Where videos come from.

    Attributes:
        path: a file or a folder.
        kind: "arrays" (an .npz or .npy file), "video" (one file), "images" (a folder with the frames of one clip), or
            "clips" (a folder of video files, or of folders of images).
        files: the files in it, or for folders of images these folders, in the order of the numbers in their names.
    """

    path: Path
    kind: Kind
    files: tuple[Path, ...]

    @classmethod
    def of(cls, path: str | os.PathLike[str], name: str = "path") -> Source:
        """Look at a path.

        Args:
            path: a file or a folder.
            name: of the argument, for messages.

        Raises:
            FileNotFoundError: if there is nothing.
            ValueError: if it is a single image, an empty folder, or a folder of several kinds of files.
        """
        path = Path(path)
        if path.is_file():
            if path.suffix.lower() in IMAGES:
                raise ValueError(f"{name}: expected videos, got one image, {path}; give the folder of the images")
            return cls(path, "arrays" if path.suffix.lower() in ARRAYS else "video", (path,))
        if not path.is_dir():
            raise FileNotFoundError(
                f"{name}: expected an .npz file of videos, a video file, or a folder of images or of video files, got "
                f"{path}, which is not there; check the folder"
            )
        inside = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        files = [entry for entry in inside if entry.is_file()]
        kinds = {
            "images": [entry for entry in files if entry.suffix.lower() in IMAGES],
            "clips": [entry for entry in files if entry.suffix.lower() in VIDEOS],
            "folders": [entry for entry in inside if entry.is_dir()],
        }
        found = {kind: entries for kind, entries in kinds.items() if entries}
        if len(found) != 1:
            what = "it is empty" if not inside else f"it holds {', '.join(sorted(one.name for one in inside)[:5])}"
            what += ", ..." if len(inside) > 5 else ""
            raise ValueError(
                f"{name}: expected a folder of images ({', '.join(IMAGES)}), of video files ({', '.join(VIDEOS)}), or "
                f"of folders of images, and of one kind only, got {path}: {what}"
            )
        ((kind, entries),) = found.items()
        entries = tuple(sorted(entries, key=lambda entry: natural(entry.name)))
        return cls(path, "images" if kind == "images" else "clips", entries)

    def parts(self) -> tuple[Source, ...]:
        """The clips, each with its own source."""
        if self.kind != "clips":
            return (self,)
        return tuple(part for file in self.files for part in Source.of(file).parts())

    def fingerprint(self) -> dict[str, Any]:
        """Absolute path, size in bytes and SHA-256 of everything that is read, ready for JSON."""
        digest, size = hashlib.sha256(), 0
        for part in self.parts():
            for file in part.files:
                digest.update(f"{file.relative_to(self.path)}\n{file.stat().st_size}\n".encode())
                size += file.stat().st_size
                with file.open("rb") as stream:
                    while chunk := stream.read(_CHUNK):
                        digest.update(chunk)
        return {"path": str(self.path.resolve()), "bytes": size, "sha256": digest.hexdigest()}


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which the numbers in names count: frame-2 comes before frame-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name.lower()) if part]
