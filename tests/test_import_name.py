"""`import kinema`: the same objects under one name, whatever else is called `videos` or `inference`."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FACES = {
    "kinema.estimators": "inference.estimators",
    "kinema.guides": "guides",
    "kinema.metrics": "inference.metrics",
    "kinema.pictures": "inference.pictures",
    "kinema.pyro_models": "pyro_models",
    "kinema.pyro_models.distributions": "pyro_models.distributions",
    "kinema.queries": "inference.queries",
    "kinema.recipes": "inference.recipes",
    "kinema.trackers": "inference.trackers",
    "kinema.videos": "videos",
}
FIND = """
import importlib.util, sys
sys.path.append({root!r})
spec = importlib.util.spec_from_file_location("kinema.own_packages", {file!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(importlib.util.find_spec({name!r}).origin)
"""


@pytest.mark.parametrize("face", sorted(FACES))
def test_public_names_are_the_same_objects(face):
    shown, own = importlib.import_module(face), importlib.import_module(FACES[face])
    assert shown.__all__ == own.__all__
    assert all(getattr(shown, name) is getattr(own, name) for name in own.__all__)


def test_the_package_has_the_names_of_inference_and_its_modules():
    import inference
    import kinema

    modules = {face.split(".")[1] for face in FACES}
    assert set(kinema.__all__) == set(inference.__all__) | modules
    assert all(hasattr(kinema, name) for name in kinema.__all__)
    assert kinema.SVI is inference.SVI


def found(folder, name):
    """Where Python finds a package after Kinema has looked for its own, in a program in this folder."""
    program = folder / "program.py"
    program.write_text(FIND.format(root=str(ROOT), file=str(ROOT / "kinema" / "own_packages.py"), name=name))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, program], cwd=folder, env=environment, capture_output=True, text=True)


def test_a_folder_of_clips_hides_nothing(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "one.mp4").touch()
    assert found(tmp_path, "videos").stdout.strip() == str(ROOT / "videos" / "__init__.py")


def test_without_such_folders_nothing_is_changed(tmp_path):
    assert found(tmp_path, "inference").stdout.strip() == str(ROOT / "inference" / "__init__.py")


@pytest.mark.parametrize("path", ["inference.py", "guides/__init__.py"])
def test_a_module_of_the_user_is_named(tmp_path, path):
    own = tmp_path / path
    own.parent.mkdir(exist_ok=True)
    own.touch()
    done = found(tmp_path, "videos")
    assert done.returncode == 1
    name = path.split("/")[0].removesuffix(".py")
    assert f"ImportError: {name}: expected Kinema's package in {ROOT}, but Python finds {own} first; rename that" in (
        done.stderr
    )


@pytest.mark.slow
@pytest.mark.ci
def test_the_command_runs_beside_a_folder_of_clips(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "one.mp4").touch()
    done = subprocess.run(
        [sys.executable, "-m", "kinema", "train", "kvae-demo", "--videos", "videos"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "one.mp4" in done.stderr  # it is empty, which the reader of videos says
