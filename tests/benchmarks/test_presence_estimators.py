"""Two estimators of presence, compared briefly: what is written, and that the comparison resumes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "presence_estimators.py"


@pytest.mark.slow
def test_two_estimators_side_by_side(tmp_path):
    command = [sys.executable, PROGRAM, "--estimators", "vimco", "renyi", "--minutes", "0.15", "--num-particles", "20"]
    command += ["--evidence-particles", "32", "--compile", "off"]  # tracing takes longer than this
    command = [str(word) for word in [*command, "--output", tmp_path / "out"]]
    subprocess.run(command, check=True, capture_output=True)
    record = json.loads((tmp_path / "out" / "presence-air-small.json").read_text())
    assert set(record["estimators"]) == {"vimco", "renyi"}
    for name, found in record["estimators"].items():
        plan = json.loads((tmp_path / "out" / "plans" / name / "plan.json").read_text())
        steps, minutes = ([point[key] for point in found["curve"]] for key in ("step", "minutes"))
        assert steps[0] == 0
        assert steps[-1] == found["steps"]
        assert minutes == sorted(minutes)
        assert 0.3 < minutes[-1] / (found["steps"] * plan["milliseconds"] / 60_000) < 3
        assert all(0 <= point["counting"] <= 1 for point in found["curve"])
    assert (tmp_path / "out" / "presence-air-small.png").stat().st_size > 10_000
    subprocess.run(command, check=True, capture_output=True)
    again = json.loads((tmp_path / "out" / "presence-air-small.json").read_text())
    assert again["estimators"] == record["estimators"]
