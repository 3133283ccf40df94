"""`kinema recipes`, and recipes by name."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from inference.cli.words import choose, parse
from inference.experiments.measured_minutes import MINUTES
from inference.recipes import RECIPES, Recipe
from inference.recipes.recipe import PARTS

COLUMNS = ("recipe", "model", "videos", "steps", "batch", "minutes", "reproduces")
NUMBERS = (3, 4, 5)  # columns aligned to the right
ABSENT = "–"
SHOWS = {
    "Eslami et al. 2016": "objects of still scenes found and counted, without labels",
    "Kosiorek et al. 2018": "digits or people that appear, move and leave are tracked, without labels",
    "Fraccaro et al. 2017": "missing frames of a video filled in from past and future, by exact Kalman smoothing",
    "Chiappa and Paquet 2019": "paths of several balls inferred and forecast from pixels, with learned dynamics",
    "Hsieh et al. 2018": "a video taken apart into objects and poses, and predicted",
    "Zablotskaia et al. 2020": "every pixel assigned to an object, unsupervised, through time",
    "Weis et al. 2021": "the benchmark Sprites-MOT of unsupervised trackers",
    "Akhundov et al. 2019": "digits tracked beyond the length of training videos, and predicted",
}
"""Paper -> what its recipes show, for the list."""


def recipes(words: Sequence[str]) -> int:
    """List the recipes by paper, with the minutes that training took on one core where that was recorded."""
    parse(words, prog="kinema recipes", description=str(recipes.__doc__))
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name, recipe in RECIPES.items():
        paper, row = _split(recipe.paper)
        minutes = f"{MINUTES[name]:.0f}" if name in MINUTES else ABSENT
        size = (f"{recipe.num_steps}", f"{recipe.training.batch_size}", minutes)
        groups.setdefault(paper, []).append((name, recipe.label, recipe.videos.world, *size, row))
    rows = [COLUMNS, *(row for group in groups.values() for row in group)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    print(_line(COLUMNS, widths))
    for paper, group in groups.items():
        print(f"\n{paper}: {SHOWS[paper]}" if paper in SHOWS else f"\n{paper}")
        for row in group:
            print(_line(row, widths))
    print(f"\nminutes: on one CPU core, of the runs recorded in results/; {ABSENT} = not recorded")
    print("kinema train RECIPE --help explains a recipe's options with their default values")
    return 0


def _split(paper: str) -> tuple[str, str]:
    """Authors and year; and what of their paper is reproduced."""
    found = re.match(r"(.+? \d{4})(?:, )?(.*)", paper)
    return (found[1], found[2] or "") if found else (paper, "")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        f"{cell:>{width}}" if column in NUMBERS else f"{cell:{width}}"
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"  {'  '.join(aligned)}".rstrip()


def recipe_named(words: Sequence[str], *, prog: str, description: str) -> Recipe:
    """The recipe that the first word names.

    Args:
        words: words of the command line after the command.
        prog: the command.
        description: one sentence for its help.

    Raises:
        OptionError: if there is no such recipe; suggests the nearest.
        SystemExit: after the help with all recipes was shown, or what is missing.
    """
    papers = {name: recipe.paper for name, recipe in RECIPES.items()}
    return RECIPES[choose("recipe", papers, words[:1], prog=prog, description=description)]


def with_words(
    recipe: Recipe, words: Sequence[str], *, prog: str, description: str = "", **groups: Any
) -> tuple[Recipe, Any]:
    """The recipe with some options replaced, and the options of other groups.

    Args:
        recipe: a recipe.
        words: words of the command line after its name.
        prog: the command before them.
        description: one sentence for its help.
        groups: see `inference.cli.words.parse`.

    Raises:
        OptionError: if an option has an invalid value.
        SystemExit: after the help was shown, or an error that names the option and suggests similar ones.
    """
    parts = {part: getattr(recipe, part) for part in PARTS}
    options = parse(words, prog=prog, description=description, **groups, **parts)
    return replace(recipe, **{part: getattr(options, part) for part in PARTS}), options
