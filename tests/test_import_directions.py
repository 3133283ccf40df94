"""Imports run one way: videos and pyro_models stand alone, guides build on pyro_models, inference on all."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "videos": set(),
    "pyro_models": set(),
    "guides": {"pyro_models"},
    "inference": {"videos", "pyro_models", "guides"},
}
MODEL_FREE = ["inference/estimators", "inference/evidence", "inference/svi.py", "inference/training.py"]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, whether at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.suffix else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_what_lies_below_it(package):
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package} | {"tests", "benchmarks"}
    found = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files(package)
        for module in imported(path)
        if module.split(".")[0] in forbidden
    }
    assert files(package)
    assert not found


@pytest.mark.parametrize("place", MODEL_FREE)
def test_estimators_and_evidence_know_no_model(place):
    found = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files(place)
        for module in imported(path)
        if module.startswith("pyro_models") and not module.startswith("pyro_models.components.layout")
    }
    assert files(place)
    assert not found


def test_no_drawer_is_called_utils():
    banned = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert not [path for package in MAY_IMPORT for path in files(package) if path.stem in banned]
