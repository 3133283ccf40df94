"""Memory stays flat over 20,000 steps, and over 10,000 test videos it grows by what is returned alone.

Each run is a process of its own, whose memory is read from Linux's /proc.
"""

import json
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
from guides import PosePredictionGuide, PriorCorrectionGuide, KalmanGuide
from inference.scores import score
from pyro_models import KalmanVAE
from videos import VideoBatch

model = KalmanVAE((1, 8, 8), decoder="mlp")
guide = KalmanGuide(model)
"""
)


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
