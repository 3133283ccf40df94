"""Which sections are in which file of the results: one for each paper, and for what is not of a paper."""

import json
from collections.abc import Sequence
from pathlib import Path

from air_sections import presence_section, scenes_section
from cannonball_sections import cannonballs_section, iterations_section, trajectory_claims
from decomposition_sections import all_claims
from evidence_section import evidence_section
from horizon_claims import horizon_claims
from judged import Chapter, Judged
from kalman_vae_sections import guides_section, kalman_claims, pendulum_section, world_sections
from pedestrians_section import pedestrian_parts_section, pedestrians_section
from records import Run, origin, table
from segmentation_sections import segmentation_sections
from slots_step_section import slots_step_section
from sprites_section import sprites_section
from step_sections import (
    compiled_section,
    compiled_training_section,
    growth_section,
    marginal_section,
    particles_section,
    sqair_section,
    steps_section,
)
from tracking_sections import clips_section, tracking_section
from vtssi_sections import (
    horizons_section,
    overlaps_section,
    parts_section,
    variant_claims,
    variants_evidence_section,
    variants_section,
    vtssi_step_section,
)


def chapters(runs: Sequence[Run], records: Path) -> list[Chapter]:
    """All files, those without a record included; links in them are relative to the folder of the records."""
    return [
        _kalman_vae(runs, records),
        _air(runs, records),
        Chapter(
            "dynamics_from_pixels",
            "Dynamics from pixels (Chiappa and Paquet 2019)",
            [
                ("Cannonballs", cannonballs_section(runs)),
                ("Time of an iteration", iterations_section(records / "object_guides.json")),
            ],
            trajectory_claims(runs),
        ),
        Chapter(
            "sqair",
            "SQAIR (Kosiorek et al. 2018)",
            [
                ("Moving digits", tracking_section(runs)),
                ("A clip of a static camera", clips_section(runs)),
                ("A step compared with a port", sqair_section(records / "sqair_step.json")),
            ],
        ),
        _vtssi(runs, records),
        Chapter(
            "iterative_inference",
            "Spatio-temporal iterative inference (Zablotskaia et al. 2020)",
            [
                *segmentation_sections(records),
                ("A step", slots_step_section(sorted(records.glob("slots_step-*.json")))),
            ],
            all_claims(records),
        ),
        Chapter(
            "people_and_sprites",
            "People in a clip, and sprites",
            [
                ("Pedestrians in a clip, tracked", pedestrians_section(records / "pedestrians.json")),
                (
                    "What parts of the people model are worth",
                    pedestrian_parts_section(records / "pedestrians-parts.json"),
                ),
                ("Sprites-MOT", sprites_section(records / "sprites-sqair.json", records / "sprites-blobs.json")),
            ],
        ),
        Chapter(
            "evidence",
            "Evidence",
            [("What evidence is worth", evidence_section(records / "evidence.json"))],
        ),
        _speed(records),
        Chapter("commands", "Commands", [("Runs", _provenance(runs))]),
    ]


def _kalman_vae(runs: Sequence[Run], records: Path) -> Chapter:
    name = "kalman_vae"
    pendulum = [run for run in runs if run.recipe.videos.world == "pendulum"]
    sections = [
        *world_sections(runs, records, records / f"{name}.md"),
        ("Pendulum (table 1, claim C9)", pendulum_section(pendulum) if pendulum else []),
        ("One model, its guides", guides_section(runs)),
    ]
    return Chapter(name, "Kalman VAE (Fraccaro et al. 2017)", sections, kalman_claims(runs))


def _air(runs: Sequence[Run], records: Path) -> Chapter:
    name = "air"
    scenes = [run for run in runs if run.recipe.videos.world == "multi-mnist"]
    estimators = presence_section(sorted(records.glob("presence-*.json")), records / f"{name}.md")
    sections = [
        ("Scenes of digits", scenes_section(scenes) if scenes else []),
        ("Estimators of presence, at equal time", estimators),
    ]
    return Chapter(name, "AIR (Eslami et al. 2016)", sections)


def _vtssi(runs: Sequence[Run], records: Path) -> Chapter:
    name, horizons = "vtssi", sorted(records.glob("horizons-*.json"))
    document, variants = records / f"{name}.md", records / "trackers-variants.json"
    parts = parts_section(records / "trackers-parts.json", records / "vtssi_step.json")
    sections = [
        ("Trackers of digits", variants_section(variants)),
        ("Evidence of trackers, with and without a motion", variants_evidence_section(runs)),
        ("Trackers beyond their training", horizons_section(horizons, document)),
        ("Digits that overlap at first", overlaps_section(records / "overlaps.json", document)),
        ("What a tracker's parts are worth", parts),
        ("A step", vtssi_step_section(records / "vtssi_step.json")),
    ]
    claims: list[tuple[str, list[Judged]]] = []
    if variants.is_file():
        claims.append(("small digits", variant_claims(json.loads(variants.read_text()))))
    for path in horizons:
        record = json.loads(path.read_text())
        claims.append((f"small digits, {record['world'].split('(')[0]}", horizon_claims(record)))
    return Chapter(name, "VTSSI (Akhundov et al. 2019)", sections, claims)


def _speed(records: Path) -> Chapter:
    sections = [
        ("Time of an SVI step, eager and compiled", compiled_section(records / "svi_step.json")),
        ("Time of an SVI step as things double", growth_section(records / "svi_growth.json")),
        ("Time of a training step of the Kalman VAE", steps_section(records / "training_step.json")),
        ("Training with eager and with compiled steps", compiled_training_section(records / "compiled_training.json")),
        ("What particles cost", particles_section(records / "particles.json")),
        ("The exact Gaussian marginal compared with its peers", marginal_section(records / "gaussian_marginal.md")),
    ]
    return Chapter("speed", "Speed", sections)


def _provenance(runs: Sequence[Run]) -> list[str]:
    """Command, commit, seed and machine of each run."""
    rows = []
    for run in runs:
        entry = run.folder.provenance[0]
        rows.append((run.folder.path.name, origin(entry), str(entry["seed"])))
    return table(["run", "", "seed"], rows)
