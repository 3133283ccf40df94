"""What a run infers, in files that other programs read: tracks, codes, samples, evidence, a film."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from guides.incomplete_models import need_of_guide
from inference.experiments.evaluation import read_evaluation
from inference.experiments.runs import TrainedRun
from inference.pictures import film_tracks
from inference.programs.traces import evaluation_mode
from inference.queries.ask import generate, reconstruct
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from pyro_models.components.scene import PlacesObjects, Scene
from videos import VideoBatch
from videos.tracks import Tracks, write_tracks

HEADINGS = ("sequence", "frame", "identity", "x", "y", "width", "height", "presence")
SMALLEST = 192  # height of a film, pixels


def export_run(
    run: TrainedRun, folder: str | Path, *, num_sequences: int = 16, seed: int = 0, overwrite: bool = False
) -> list[Path]:
    """Write what a run infers about its first test videos.

        tracks.csv       a row for each object found and frame: middle and size of its box, pixels (x to the right, y
                         down, from the middle of the top left pixel), frames and sequences from 0
        tracks/NNNN.txt  the same in rows of the MOTChallenge, a file for each sequence
        codes.npz        each latent of the reconstruction, as the model lays it out; frames, and expected frames
        samples.npz      videos from the model's prior: expected frames and each latent
        evidence.json    bounds and evidence of the run's evaluation, if there is one, with provenance
        film.mp4         the videos, with boxes, beside the reconstruction; film.gif without OpenCV or its encoder

    A model without boxes has no tracks; one that takes values from its guide has no samples.

    Args:
        run: from `load`.
        folder: an empty folder, or one that is not there.
        num_sequences: number of test videos, and of samples.
        seed: seed of all draws.
        overwrite: also take a folder with files in it; those of the same names are replaced.

    Returns:
        The files written.

    Raises:
        ValueError: if the folder has files in it, or `num_sequences` is below 1.
    """
    folder = Path(folder)
    if num_sequences < 1:
        raise ValueError(f"num_sequences: expected at least 1, got {num_sequences}")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output: expected a folder, got the file {folder}")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise ValueError(
            f"output: expected an empty folder, got {folder}, which has files in it; --overwrite adds to it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    videos = run.test.select(slice(0, num_sequences))
    with evaluation_mode(run.model, run.guide), torch.no_grad():
        answer = reconstruct(run.model, run.guide, *videos.arguments, seed=seed)
        scene = run.model.scene(answer.values) if isinstance(run.model, PlacesObjects) else None
    tracks = [] if scene is None else _tracks(scene)
    written = _write_tracks(folder, tracks) if tracks else []
    arrays = {"frames": videos.frames, "expected_frames": answer.frames} | dict(answer.values)
    written.append(_write_arrays(folder / "codes.npz", arrays))
    if need_of_guide(run.model) is None:
        controls = videos.controls
        drawn = generate(run.model, videos.num_sequences, videos.num_frames, controls=controls, seed=seed)
        written.append(_write_arrays(folder / "samples.npz", {"expected_frames": drawn.frames} | dict(drawn.values)))
    evaluation = read_evaluation(run.folder)
    if evaluation is not None and evaluation.bounds is not None:
        record = {"recipe": evaluation.recipe, "step": evaluation.step, "frames": evaluation.frames}
        record |= {"bounds": asdict(evaluation.bounds), "provenance": provenance(run.recipe.seed)}
        write_bytes(folder / "evidence.json", json.dumps(record, indent=1).encode())
        written.append(folder / "evidence.json")
    return [*written, _write_film(folder, videos, answer.frames, tracks)]


def _tracks(scene: Scene) -> list[Tracks]:
    """The objects found, a record for each sequence; empty for a model without boxes."""
    if scene.presence is None or scene.positions is None or scene.box_sizes is None:
        return []
    found = []
    for index, presence in enumerate(scene.presence.cpu()):
        times, slots = (presence > 0.5).nonzero(as_tuple=True)
        identities = slots if scene.identities is None else scene.identities[index].cpu()[times, slots].long()
        middles = scene.positions[index].detach().cpu()[times, slots].double()
        sizes = scene.box_sizes[index].detach().cpu()[times, slots].double()
        whole = (identities >= 0) & (sizes > 0).all(-1)
        boxes = torch.cat([middles + 0.5 - 0.5 * sizes, sizes], -1)
        kept = (times, identities, boxes, presence[times, slots].detach().double())
        found.append(Tracks(*(values[whole] for values in kept)))
    return found


def _write_tracks(folder: Path, tracks: list[Tracks]) -> list[Path]:
    path = folder / "tracks.csv"
    written = [path]
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEADINGS)
        for sequence, one in enumerate(tracks):
            assert one.confidences is not None
            columns = (one.frames, one.identities, *one.positions.T, *one.box_sizes.T, one.confidences)
            for row in zip(*(column.tolist() for column in columns), strict=True):
                table.writerow([sequence, *row[:2], *(f"{value:.4f}" for value in row[2:])])
            if len(one) > 0:  # readers of such files accept no empty one
                write_tracks(folder / "tracks" / f"{sequence:04d}.txt", one)
                written.append(folder / "tracks" / f"{sequence:04d}.txt")
    return written


def _write_arrays(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def _write_film(folder: Path, videos: VideoBatch, expected: Tensor, tracks: list[Tracks]) -> Path:
    """All videos one after the other, each beside its reconstruction."""
    height = videos.frames.shape[-2]
    scale = max(1, SMALLEST // height)
    pair = torch.cat([videos.frames.cpu(), expected.detach().cpu()], -1).clamp(0, 1).flatten(0, 1)
    pages = functional.interpolate(pair.expand(-1, 3, -1, -1), scale_factor=scale, mode="nearest")
    clip = (pages * 255).round().byte().movedim(1, -1).contiguous()
    boxes = _joined(tracks, videos.num_frames, scale)
    try:
        return film_tracks(folder / "film.mp4", clip, boxes)
    except (ImportError, ValueError):  # without OpenCV, or with one that cannot encode it
        (folder / "film.mp4").unlink(missing_ok=True)
        return film_tracks(folder / "film.gif", clip, boxes)


def _joined(tracks: list[Tracks], num_frames: int, scale: int) -> Tracks:
    """Tracks of videos that follow one another, enlarged; identities count anew in each video."""
    frames = [one.frames + index * num_frames for index, one in enumerate(tracks)]
    none = torch.zeros(0)
    return Tracks(
        torch.cat([none.long(), *frames]),
        torch.cat([none.long(), *(one.identities for one in tracks)]),
        torch.cat([none.double().reshape(0, 4), *(one.boxes * scale for one in tracks)]),
    )
