"""Memory stays flat over 20,000 steps, and with the number of test videos it grows by what is computed of all of them.

Each run is a process of its own, whose memory is read from Linux's /proc.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc"),
]
ROOT = Path(__file__).parents[2]
STEPS, WARM = 20_000, 5_000
BYTES_A_STEP = 200  # less than a kept float tensor, whose Python object and storage take more

READ = """
import json, sys
from pathlib import Path
import torch

def megabytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

torch.set_num_threads(1)
torch.manual_seed(0)
"""

TRAIN = (
    READ
    + """
from guides import RecurrentGuide
from inference import TrainingOptions, train
from pyro_models import DeepMarkovModel
from videos import VideoBatch

class Memory:
    def start(self, run, step):
        self.read = {}

    def write(self, record):
        self.read[record["step"]] = megabytes("VmRSS")

    def close(self):
        print(json.dumps(self.read))

model = DeepMarkovModel((1, 8, 8), hidden_dim=5, likelihood="bernoulli")
guide = RecurrentGuide(model, hidden_dim=5)
videos = VideoBatch((torch.rand(16, 3, 1, 8, 8) > 0.5).float())
options = TrainingOptions(
    batch_size=4, log_every=2500, validate_every=2500, compile=sys.argv[1], progress=False, loggers=[Memory()]
)
run = None
if len(sys.argv) > 3:
    from inference import RunFolder
    run = RunFolder.start(Path(sys.argv[3]), {"seed": 0})
train(model, guide, videos, int(sys.argv[2]), validation=videos, options=options, run=run)
"""
)

EVALUATE = (
    READ
    + """
from inference.experiments.evaluate import evaluate
from inference.experiments.runs import load_run, train_recipe
from inference.recipes import RECIPES

name, number, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
recipe = RECIPES[name].with_options(num_test=number, **json.loads(sys.argv[4]))
train_recipe(recipe, path, progress=False)
trained = load_run(path)
Path("/proc/self/clear_refs").write_text("5")
before = megabytes("VmRSS")
evaluation = evaluate(trained, num_evidence_sequences=4, num_particles=4, **json.loads(sys.argv[5]))
assert evaluation.scores
print(json.dumps({"videos": before, "grown": megabytes("VmHWM") - before, "bytes": trained.test.frames.nbytes}))
"""
)
DIGITS = os.environ.get("KINEMA_DATA") and str(Path(os.environ["KINEMA_DATA"]) / "mnist")
TINY = {"num_train": 4, "num_validation": 2, "batch_size": 4, "epochs": 1}
EPOCHS = {"frame_epochs": 0, "count_epochs": [1, 2], "epochs": 4}
EVALUATED = {  # options, settings of the evaluation, numbers of test videos, growth in units of their size
    "kvae-demo": (TINY | {"channels": 2, "frozen_epochs": 0}, {"num_masks": 1}, 200, 800, 8),
    "vtssi-find-small": (TINY | EPOCHS | {"num_frames": 6, "first_frames": 6, "data": DIGITS}, {}, 1000, 10_000, 3),
}


def run(source, *words):
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, words)], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("compile", ["off", "trace", "inductor"])
def test_memory_is_flat_over_twenty_thousand_steps(compile, tmp_path):
    read = {int(step): megabytes for step, megabytes in run(TRAIN, compile, STEPS, tmp_path / "run").items()}
    grown = (read[STEPS] - read[WARM]) * 2**20
    assert grown < BYTES_A_STEP * (STEPS - WARM), read


@pytest.mark.parametrize("name", sorted(EVALUATED))
def test_memory_of_an_evaluation_grows_by_what_is_computed_of_all_videos(name, tmp_path):
    """What models expect of all test videos is kept for scores and pictures, a few times their size in all."""
    *settings, less, more, times = EVALUATED[name]
    if "data" in settings[0] and DIGITS is None:
        pytest.skip("KINEMA_DATA names no folder with the real data")
    words = [json.dumps(setting) for setting in settings]
    few, many = (run(EVALUATE, name, number, tmp_path / str(number), *words) for number in (less, more))
    grown = (many["grown"] - few["grown"]) * 2**20
    assert grown < times * (many["bytes"] - few["bytes"]), (few, many)
