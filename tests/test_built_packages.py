"""What `python -m build` makes: a wheel with every module and nothing else, which runs without the repository."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("kinema", "videos", "pyro_models", "guides", "inference")
DATA = (
    r"inference/reports/templates/page\.(css|html\.jinja)"
    r"|inference/experiments/trained/[\w-]+/(CARD\.md|config\.json|provenance\.json|checkpoints/best\.safetensors)"
)
PROGRAM = """
import kinema
from kinema.guides import KalmanGuide
assert kinema.__file__.startswith({place!r}), kinema.__file__
assert kinema.guides.KalmanGuide.__module__ == "guides.kalman"
import guides
assert guides.__file__.startswith({place!r}), guides.__file__
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution and the wheel made from it."""
    place = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--outdir", str(place), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (wheel,), (source,) = place.glob("*.whl"), place.glob("*.tar.gz")
    return wheel, source


@pytest.mark.slow
@pytest.mark.ci
def test_a_wheel_has_every_module_and_nothing_else(built):
    names = set(zipfile.ZipFile(built[0]).namelist())
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    others = {name for name in names if not re.match(r"(.*\.py|.*/py\.typed|kinema-.*\.dist-info/.*)$", name)}
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    code = {path for path in files if path.suffix == ".py" or path.name == "py.typed" or "__pycache__" in path.parts}
    assert others == {str(path.relative_to(ROOT)) for path in files - code}
    assert {name for name in others if not re.fullmatch(DATA, name)} == set()
    (metadata,) = [name for name in names if name.endswith("/entry_points.txt")]
    assert "kinema = kinema.__main__:main" in zipfile.ZipFile(built[0]).read(metadata).decode()


@pytest.mark.slow
@pytest.mark.ci
def test_a_source_distribution_has_the_licence_and_the_readme(built):
    names = {name.split("/", 1)[-1] for name in tarfile.open(built[1]).getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "kinema/own_packages.py"} <= names
    assert not [name for name in names if name.startswith(("runs/", "results/"))]


@pytest.mark.slow
@pytest.mark.ci
def test_the_wheel_runs_without_the_repository(built, tmp_path):
    place = tmp_path / "site"
    zipfile.ZipFile(built[0]).extractall(place)
    environment = os.environ | {"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", PROGRAM.format(place=str(place))]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
