"""A new model, its guide, a score, a picture and a recipe take new files only, and no edit elsewhere.

`tests/sixth_model/` has them in their places; a copy of the repository with these files must train, evaluate and draw
the model, and run all contract tests on it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEW = ROOT / "tests" / "sixth_model"
NEEDED = ("kinema", "videos", "pyro_models", "guides", "inference", "tests", "pyproject.toml")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the repository with the new files."""
    copy = tmp_path_factory.mktemp("copy")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "sixth_model"))
        else:
            shutil.copy(ROOT / name, copy / name)
    for path in NEW.rglob("*.py"):
        target = copy / path.relative_to(NEW)
        assert not target.exists(), f"{target} is no new file"
        shutil.copy(path, target)
    return copy


def run(repository, *words):
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-P", *words], cwd=repository, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.ci
def test_it_trains_and_is_judged_and_drawn(repository):
    assert "flicker" in run(repository, "-m", "kinema", "recipes")
    run(repository, "-m", "kinema", "train", "flicker", "--quiet")
    printed = run(repository, "-m", "kinema", "evaluate", "runs/flicker-0", "--evidence-particles", "32")
    assert "\npixels of flicker " in printed
    assert "--threshold {None}|FLOAT" in run(repository, "-m", "kinema", "evaluate", "--help")
    drawn = run(repository, "-m", "kinema", "render", "runs/flicker-0").split()
    assert [Path(path).name for path in drawn] == ["training.png", "flicker.png"]


@pytest.mark.slow
@pytest.mark.ci
def test_it_keeps_the_contracts(repository):
    contracts = [f"tests/contracts/test_{name}.py" for name in ("models", "guides", "recipes", "estimators", "devices")]
    words = [
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-k",
        "flicker or import_directions",
        *contracts,
        "tests/test_import_directions.py",
    ]
    printed = run(repository, *words)
    passed = int(printed.rsplit(" passed", 1)[0].rsplit(maxsplit=1)[-1])
    assert passed > 60
