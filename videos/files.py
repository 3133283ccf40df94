"""Files of arrays: the KVAE authors', our own with all fields of a `VideoBatch`, and any with frames in them."""

import logging
import os
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from videos.arrays import CHANNELS, as_light, white_of
from videos.batch import VideoBatch
from videos.drawing import from_y_up

_log = logging.getLogger(__name__)

_TIME_STEP = 0.2  # time units from frame to frame in the authors' worlds
_EXPANDS, _EXPLODES = 10, 500  # times the size of the file: packed arrays; and more than videos of any size are packed
_FIELDS = tuple(field.name for field in fields(VideoBatch))


def read_arrays(path: Path, max_gigabytes: float = 4.0) -> VideoBatch | dict[str, np.ndarray]:
    """Videos of an .npz file whose fields are known, or the arrays of another .npz or .npy file that can be frames.

    In the KVAE authors' files (`images`, with `state` in the ball worlds, and an entry `controls` in pong) every pixel
    that is not black becomes 1, as in their code. Their `state[:, t]` (x, y, vx, vy; pixels and pixels per time unit, y
    up) was recorded after the step that follows the drawing of frame t, so it belongs to frame t + 1 and is moved
    there; the last one has no frame and is dropped. The state of frame 0 is not in the file and is recovered from that
    of frame 1, by free flight backwards or a reflection off a vertical or horizontal wall, whichever agrees with the
    drawn ball; where neither does (oblique walls, 3 sequences in 1000 of the polygon) the position is that of the drawn
    ball, within 1.3 pixels.

    Sequences in which the ball's centre leaves the rectangle spanned by the walls (the pixels that are lit in every
    frame of the file; [2, 30] in the boxes) are dropped: about 1 in 90 with gravity.

    Args:
        path: an .npz file, or an .npy file. Pickled objects in it are never loaded.
        max_gigabytes: largest size of packed arrays, as the file declares it before anything is unpacked, GB of 10^9
            bytes.

    Returns:
        Of the authors' files and ours, the videos; ground truth in the conventions of `VideoBatch`, `state` and its
        units as in the file. Of others, arrays of numbers by name, all of 3 to 5 dims.

    Raises:
        ValueError: if the file is truncated, holds something else, or its arrays do not fit together, or if it would
            expand beyond `max_gigabytes` or as no videos do.
    """
    _check_expansion(path, max_gigabytes)
    try:
        arrays, ours = _read(path)
    except Exception as error:  # numpy's parser fails in many ways on damaged bytes, SyntaxError among them
        raise ValueError(
            f"path: expected an .npz file of videos, got {path}, which cannot be read ({error}); "
            "it is truncated or of another kind: copy or download it again"
        ) from error
    if not ours:
        return arrays
    if "images" in arrays:
        return _from_authors(path, arrays["images"], arrays.get("state"))
    frames = torch.from_numpy(arrays.pop("frames"))
    others = {name: torch.from_numpy(value) for name, value in arrays.items()}
    observed = others.get("observed")
    white = white_of(frames if observed is None else frames[observed], f"frames of {path}")
    return VideoBatch(as_light(frames, white), **others)


def save_videos(path: str | os.PathLike[str], videos: VideoBatch) -> None:
    """Write videos with all their fields to an .npz file that `load_videos` reads back unchanged.

    Frames of only 0 and 1 are stored as bits. The file is written atomically.

    Args:
        path: path of the file; an existing file is replaced.
        videos: the videos, on any device.
    """
    path = Path(path)
    arrays = {name: getattr(videos, name) for name in _FIELDS}
    arrays = {name: value.detach().cpu().numpy() for name, value in arrays.items() if value is not None}
    binary = arrays["frames"] > 0
    if np.array_equal(arrays["frames"], binary):
        arrays["frames"] = binary
    beside = path.with_name(path.name + ".part")
    with open(beside, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)


def _check_expansion(path: Path, max_gigabytes: float) -> None:
    """Refuse an archive that is small on the disk and too large in memory; nothing of it is unpacked for this."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return  # damaged: the reader names it
    packed = path.stat().st_size
    if (size > max_gigabytes * 10**9 and size > _EXPANDS * packed) or (size > 10**9 and size > _EXPLODES * packed):
        raise ValueError(
            f"path: expected packed arrays of at most {max_gigabytes:g} GB (max_gigabytes) and, over 1 GB, of at most "
            f"{_EXPLODES} times the size of their file, got {path}, whose {packed} bytes expand to "
            f"{size / 10**9:.1f} GB; if you trust it, save it again uncompressed, with np.savez"
        )


def _read(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a file that are videos, and whether it is the authors' or ours: fields have their meaning."""
    with path.open("rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            return ({path.stem: archive} if _may_be_frames(archive) else {}), False
        # The authors' pong files have an entry `controls` that holds only a pickled None.
        if "images" in archive.files and ("state" in archive.files or "controls" in archive.files):
            return {name: archive[name] for name in ("images", "state") if name in archive.files}, True
        frames = archive["frames"] if "frames" in archive.files else None
        if frames is not None and frames.ndim == 5:
            arrays = {"frames": frames} | {name: archive[name] for name in _FIELDS[1:] if name in archive.files}
            if len(arrays) > 1 or frames.shape[2] in CHANNELS:
                return arrays, True
        if frames is not None and _may_be_frames(frames):
            return {"frames": frames}, False
        others = {}
        for name in archive.files:
            try:
                array = archive[name]
            except ValueError:  # pickled objects
                continue
            if _may_be_frames(array):
                others[name] = array
        return others, False


def _may_be_frames(array: np.ndarray) -> bool:
    return 3 <= array.ndim <= 5 and array.dtype.kind in "biuf" and array.size > 0


def _from_authors(path: Path, images: np.ndarray, state: np.ndarray | None) -> VideoBatch:
    if images.ndim != 4:
        raise ValueError(
            f"images: expected (sequences, time, height, width), got {images.shape} in {path}; is it another data set?"
        )
    lit = images > 0
    if state is None:
        return VideoBatch(torch.from_numpy(lit[:, :, None].astype(np.float32)))
    expected = (*images.shape[:2], 4)
    if state.shape != expected:
        raise ValueError(
            f"state: expected (sequences, time, 4) = {expected}, got {state.shape} in {path}; is it another data set?"
        )
    height = images.shape[2]
    walls = np.asarray(lit.all((0, 1)))
    stays = _stays_inside(state[..., :2], walls)
    if not stays.all():
        _log.info("%s: %d of %d sequences dropped, their ball leaves the box", path, (~stays).sum(), len(stays))
    lit, state = lit[stays], state[stays].astype(np.float64)
    free_change = np.median(np.diff(state[..., 2:], axis=1), (0, 1))  # change of velocity from frame to frame: gravity
    first = _first_state(lit[:, 0] & ~walls, state[:, 0], free_change)
    aligned = np.concatenate([first[:, None], state[:, :-1]], 1)
    change = np.diff(aligned[..., 2:], axis=1, prepend=aligned[:, :1, 2:] - free_change) - free_change
    bounced = np.abs(change).max(-1) > 1e-3
    tensor = torch.from_numpy(aligned)
    return VideoBatch(
        frames=torch.from_numpy(lit[:, :, None].astype(np.float32)),
        positions=from_y_up(tensor[..., :2], height).unsqueeze(2).float(),
        velocities=(tensor[..., 2:] * tensor.new_tensor((_TIME_STEP, -_TIME_STEP))).unsqueeze(2).float(),
        state=tensor.float(),
        hits=torch.from_numpy(bounced),
    )


def _stays_inside(positions: np.ndarray, walls: np.ndarray) -> np.ndarray:
    """Which paths (n, time, 2) stay in the rectangle of the walls (height, width), if there are walls."""
    if not walls.any():
        return np.ones(len(positions), dtype=bool)
    rows, columns = np.flatnonzero(walls.any(1)), np.flatnonzero(walls.any(0))
    low = np.array([columns[0], walls.shape[0] - rows[-1]])
    high = np.array([columns[-1], walls.shape[0] - rows[0]])
    return np.asarray(((positions >= low) & (positions <= high)).all((1, 2)))


def _first_state(ball: np.ndarray, second: np.ndarray, free_change: np.ndarray) -> np.ndarray:
    """The state of frame 0 (n, 4) from the ball drawn in it (n, height, width) and the state of frame 1 (n, 4)."""
    height, width = ball.shape[1:]
    lit = np.maximum(ball.sum((1, 2)), 1)
    drawn = np.stack([ball.sum(1) @ np.arange(width) / lit, height - ball.sum(2) @ np.arange(height) / lit], -1)
    position, velocity = second[:, :2], second[:, 2:]
    free = position - _TIME_STEP * (velocity - free_change)
    reflected = position + _TIME_STEP * velocity
    # The drawn ball is rounded to whole pixels, and its middle lies half a pixel from its centre.
    first = np.where(np.abs(free - drawn) < 1, free, reflected)
    first = np.where((np.abs(first - drawn) < 1).all(-1, keepdims=True), first, drawn)
    return np.concatenate([first, (position - first) / _TIME_STEP], -1)
