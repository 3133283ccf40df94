"""Make sure that `videos`, `pyro_models`, `guides` and `inference` are those of Kinema.

These names are common. A script's folder comes first on Python's path, so a folder called `videos` beside it can hide
the package.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

OWN = ("videos", "pyro_models", "guides", "inference")


class OwnPackages(MetaPathFinder):
    """Finds packages in Kinema's folder, whatever else has their names.

    Args:
        home: the folder that holds the packages.
        names: the packages to find there.
    """

    def __init__(self, home: Path, names: set[str]) -> None:
        self.home = home
        self.names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Where the package is, if it is one of ours."""
        if fullname not in self.names:
            return None
        folder = self.home / fullname
        return importlib.util.spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def find_own_packages(home: Path = Path(__file__).parents[1]) -> None:
    """Find Kinema's packages in spite of plain folders with their names, and refuse modules with their names.

    A folder without Python in it, such as one of clips, is nothing that a program imports. A module is, so it stays.

    Args:
        home: the folder that holds Kinema's packages.

    Raises:
        ImportError: if a module of the user has the name of a package.
    """
    hidden = set()
    for name in OWN:
        spec = sys.modules[name].__spec__ if name in sys.modules else importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            hidden.add(name)
            sys.modules.pop(name, None)
        elif Path(spec.origin).resolve() != (home / name / "__init__.py").resolve():
            raise ImportError(
                f"{name}: expected Kinema's package in {home}, but Python finds {spec.origin} first; rename that "
                "module or folder, or start Python in another folder"
            )
    if hidden:
        sys.meta_path.insert(0, OwnPackages(home, hidden))


find_own_packages()
