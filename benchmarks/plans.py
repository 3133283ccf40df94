"""Plans: settings that are trained one after the other, seed by seed, and the rows that are kept of them.

A row is found in the record of its plan, or in the folder of its run; what has a row is not trained again. Commands
with different settings or seeds may share a folder.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.experiments.runs import plain_config
from inference.recipes import RECIPES, Recipe
from inference.runs.checkpoints import write_bytes
from inference.runs.folder import CONFIG, RunFolder, changed_fields
from inference.runs.records import with_tuples

EXAMPLE = '{"epochs": 20}'
KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text", tuple: "a list"}


@dataclass(frozen=True)
class Setting:
    """A recipe with options, and where its row is written: into `folder`-SEED/`file`.

    Attributes:
        recipe: its name.
        folder: without the seed; settings that share it are trained once.
        file: JSON, the row.
        options: of the recipe.
    """

    recipe: str
    folder: str
    file: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Settings and their rows.

    Attributes:
        name: name of the plan.
        record: file with all rows that are finished; runs are beside it.
        settings: by name, in order.
    """

    name: str
    record: Path
    settings: Mapping[str, Setting]

    def known(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Rows that were finished before, by name of the setting and seed, in order."""
        rows = json.loads(self.record.read_text())["rows"] if self.record.is_file() else []
        rows += [
            {"setting": name} | json.loads((folder / setting.file).read_text())
            for name, setting in self.settings.items()
            for folder in self.record.parent.glob(f"{setting.folder}-[0-9]*")
            if folder.name.removeprefix(f"{setting.folder}-").isdigit() and (folder / setting.file).is_file()
        ]
        rows = sorted((row for row in rows if row["setting"] in self.settings), key=lambda row: row["seed"])
        return {(row["setting"], row["seed"]): row for name in self.settings for row in rows if row["setting"] == name}

    def complete(
        self,
        options: argparse.Namespace,
        score: Callable[[str, Recipe, Path], dict[str, Any]],
        describe: Callable[[dict[str, Any]], str],
        **fixed: Any,
    ) -> None:
        """Train and score what has no row yet, print all rows that are asked for, and write the record.

        Args:
            options: what `parser_of` parses.
            score: called with the name of a setting, a recipe and the run's folder; trains and returns the row.
            describe: a row in words.
            fixed: options of all recipes.

        Raises:
            SystemExit: if nothing is asked for, or a recipe refuses its options; before anything is trained.
        """
        names, further, known = chosen(self.settings, options.only), further_options(options.options), self.known()
        wanted = [(name, seed) for seed in options.seeds for name in names]
        recipes = {}
        for name, seed in wanted:
            if (name, seed) not in known:
                setting = self.settings[name]
                recipe = recipe_of(setting.recipe, {**fixed, "seed": seed, **further, **setting.options})
                check_folder(self._folder(name, seed), recipe)
                recipes[name, seed] = recipe
        for name, seed in wanted:
            row = self.known().get((name, seed))
            if row is None:
                path = self._folder(name, seed)
                row = score(name, recipes[name, seed], path)
                write_bytes(path / self.settings[name].file, json.dumps(row).encode())
            print(f"{name}, seed {seed}: {describe(row)}", flush=True)
            record = {"plan": self.name, "rows": list(self.known().values())}
            write_bytes(self.record, json.dumps(record, indent=1).encode())

    def _folder(self, name: str, seed: int) -> Path:
        return self.record.parent / f"{self.settings[name].folder}-{seed}"


def parser_of(text: str | None, plans: Sequence[str], output: Path) -> argparse.ArgumentParser:
    """A parser with the arguments that all plans have.

    Args:
        text: what the program does.
        plans: their names.
        output: folder of runs and records, by default.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", choices=plans)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[""], help="settings whose names contain one of these")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", default="off")
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--options", default="{}", help=f"further options of all recipes, JSON, such as {EXAMPLE}")
    return parser


def chosen(names: Iterable[str], words: Sequence[str]) -> list[str]:
    """The names that contain one of the words.

    Raises:
        SystemExit: if there are none; lists all names.
    """
    names = list(names)
    found = [name for name in names if any(word in name for word in words)]
    if not found:
        raise SystemExit(f"--only: expected part of a name, got {', '.join(words)}; names: {'; '.join(names)}")
    return found


def further_options(text: str) -> dict[str, Any]:
    """The options in `--options`.

    Raises:
        SystemExit: if they are no JSON object.
    """
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise SystemExit(f"--options: expected JSON such as {EXAMPLE}, got {text!r} ({error})") from error
    if not isinstance(options, dict):
        raise SystemExit(f"--options: expected a JSON object such as {EXAMPLE}, got {text!r}")
    return with_tuples(options)


def recipe_of(name: str, options: Mapping[str, Any]) -> Recipe:
    """A recipe with options; it is built once, to try them out.

    Raises:
        SystemExit: if the recipe refuses one.
    """
    recipe = RECIPES[name]
    for option, value in options.items():
        kind, usual = (KINDS.get(type(one)) for one in (value, recipe.options.get(option)))
        if kind and usual and kind != usual:
            raise SystemExit(f"--options: {option}: expected {usual} for {name}, got {value!r}")
    try:
        recipe = recipe.with_options(**options)
        recipe.build()
    except ValueError as error:  # an OptionError, or one of the model or the guide
        raise SystemExit(f"{name}: {error}") from error
    return recipe


def check_folder(path: Path, recipe: Recipe) -> None:
    """Refuse the folder of a run with other options.

    Raises:
        SystemExit: names the options.
    """
    if (path / CONFIG).is_file():
        plain, known = json.loads(json.dumps(plain_config(recipe))), RunFolder.open(path).config
        changes = changed_fields({name: known.get(name) for name in plain}, plain)
        if changes:
            raise SystemExit(
                f"--output: {path} was started with other options: {'; '.join(changes)}; give the old ones, or another "
                "folder"
            )


def slug(name: str) -> str:
    """The name of a setting as that of a folder."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.replace("'", "").replace(": ", "-")).lower()
