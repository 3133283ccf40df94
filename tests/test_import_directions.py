"""Imports run one way: between packages, between the floors of `inference`, and never in a circle."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "videos": set(),
    "pyro_models": set(),
    "guides": {"pyro_models"},
    "inference": {"videos", "pyro_models", "guides"},
}
ARGUMENTS = "videos.typed"  # how annotations are checked; models and guides use it too
# A package of inference imports those on floors below its own; see docs/architecture.md
FLOORS = [
    {"runtime"},
    {"programs"},
    {"estimators"},
    {"annealing", "metrics", "queries", "runs", "svi"},
    {"evidence", "scores", "trackers", "training"},
    {"pictures", "predictive"},
    {"gallery"},
    {"recipes"},
    {"experiments"},
    {"reports"},
    {"cli"},
]
MODEL_FREE = [
    *("inference/runtime", "inference/programs", "inference/estimators", "inference/annealing", "inference/evidence"),
    *("inference/metrics", "inference/predictive", "inference/queries", "inference/runs", "inference/svi"),
    *("inference/training", "inference/pictures"),
]
# shapes, checks and results that models share
SHARED = {f"pyro_models.components.{name}" for name in ("arguments", "layout", "scene")}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top, inside a function, or for types alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if is_module(name) else node.module for name in whole}
    return names


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.suffix else sorted(path.rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_what_lies_below_it(package):
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package} | {"tests", "benchmarks"}
    found = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files(package)
        for module in imported(path)
        if module.split(".")[0] in forbidden and module != ARGUMENTS
    }
    assert files(package)
    assert not found


def test_every_package_of_inference_has_a_floor():
    places = {path.stem for path in (ROOT / "inference").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert places - {"__init__", "__pycache__"} == set().union(*FLOORS)
    assert len(set().union(*FLOORS)) == sum(map(len, FLOORS))


@pytest.mark.parametrize("floor", range(len(FLOORS)), ids=lambda floor: "-".join(sorted(FLOORS[floor])))
def test_packages_of_inference_import_lower_floors_alone(floor):
    below = set().union(*FLOORS[:floor])
    found = {
        f"{path.relative_to(ROOT)} imports {module}"
        for package in FLOORS[floor]
        for path in (files(f"inference/{package}") or files(f"inference/{package}.py"))
        for module in imported(path)
        if module.startswith("inference.") and module.split(".")[1] not in below | {package}
    }
    assert not found


def test_no_module_imports_itself_by_way_of_others():
    graph = {module_of(path): imported(path) for package in MAY_IMPORT for path in files(package)}
    assert "inference.svi.step" in graph["inference.svi"]
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("place", MODEL_FREE)
def test_generic_packages_know_no_model(place):
    found = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files(place)
        for module in imported(path)
        if module.startswith("pyro_models") and module not in SHARED
    }
    assert files(place)
    assert not found


def test_no_drawer_is_called_utils():
    banned = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert not [path for package in MAY_IMPORT for path in files(package) if path.stem in banned]
