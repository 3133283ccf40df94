"""The README's commands have the promised form, and work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def command(name: str) -> str:
    """The one command in the block marked by a comment."""
    (block,) = re.findall(rf"<!-- {name} -->\n```bash\n(.*?)\n```", README, re.DOTALL)
    assert "\n" not in block
    return block


def test_two_commands_do_all_the_set_up():
    for name, last in (("demo", ".venv/bin/kinema demo"), ("test", ".venv/bin/pytest")):
        assert command(name).startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e ")
        assert command(name).endswith(f"&& {last}")


def test_ci_runs_the_test_command_of_the_readme():
    assert "<!-- test -->" in (ROOT / ".ci" / "run").read_text()


def test_files_and_pictures_named_exist():
    places = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []


@pytest.mark.slow
@pytest.mark.ci
def test_python_of_the_readme_runs():
    (program,) = re.findall(r"```python\n(.*?)\n```", README, re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})


@pytest.mark.slow
@pytest.mark.ci
def test_demo_of_the_readme(tmp_path):
    """The demo command as printed, shortened, in a temporary folder of this environment, without the installation."""
    script = command("demo").rsplit("&&", 1)[1].replace(".venv/bin/kinema", "kinema").split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    words = [sys.executable, "-m", "kinema", *script[1:], "--num-train", "256"]
    result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert re.search("log evidence.*\n    (converged|lower bound): ", result.stdout)
    assert list((tmp_path / "runs" / "demo" / "pictures").glob("*.gif"))
