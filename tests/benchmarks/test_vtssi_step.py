"""What is timed of VTSSI can be built: each number of frames and of objects, each exchanged part."""

import subprocess
import sys

from tests.benchmarks.programs import PROGRAMS

BUILD = """
from pathlib import Path
from trackers import plan_of
from vtssi_step import cases
from inference.recipes import RECIPES

rows = [(recipe, frames, changes) for recipe, frames, _, changes in cases().values()]
rows += [(setting.recipe, 10, setting.options) for setting in plan_of("parts", Path()).settings.values()]
for recipe, frames, changes in rows:
    model, guide = RECIPES[recipe].with_options(num_frames=frames, **changes).build()
    assert guide.model is model
    print(model.num_objects, frames)
"""


def test_what_is_timed_can_be_built():
    done = subprocess.run([sys.executable, "-c", BUILD], check=False, capture_output=True, text=True, cwd=PROGRAMS)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.split("\n")
    assert {"1 10", "2 10", "4 10", "8 10", "2 5", "2 40", "2 6", "2 20"} <= set(rows)
