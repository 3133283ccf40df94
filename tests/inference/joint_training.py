"""What several processes do together; run by test_processes.py, by torchrun or alone.

joint_training.py FOLDER steps             three steps of SVI on five videos, whose guide draws nothing
joint_training.py FOLDER train STEPS       a training run
joint_training.py FOLDER die STEPS         the same, but the last process dies before its eighth batch
"""

import os
import sys
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from torch import nn

from inference import SVI, RunFolder, TrainingOptions, log_evidence, train
from inference.runtime.processes import joined_processes
from inference.scores.imputation_curves import imputation_curve
from inference.scores.score import Evaluated
from tests.contracts.registry import build_guide, make_video
from tests.inference.toy_training import VIDEOS, toys
from videos import FixedVideos, VideoBatch


class PointGuide(pyro.nn.PyroModule):
    """Nothing random: the centre of each sequence is a line through its mean."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("z", dist.Delta(self.slope * frames.flatten(1).mean(1)))


class MortalVideos(FixedVideos):
    """Its process ends without a word when it asks for the eighth batch."""

    def batch(self, step):
        if step == 7:
            os._exit(3)
        return super().batch(step)


def steps(path, processes):
    model, guide = toys()[0], PointGuide()
    optimizer = torch.optim.SGD([*model.parameters(), *guide.parameters()], 0.05)
    svi = SVI(model, guide, optimizer, Trace_ELBO(), clip_norm=0.2, processes=processes)
    batch = processes.share(VideoBatch(VIDEOS[:5]))
    numbers = [torch.stack([svi.step(*batch.arguments), svi.gradient_norm]).double() for _ in range(3)]
    if processes.leads:
        weights = {**model.state_dict(), **guide.state_dict()}
        torch.save({"numbers": torch.stack(numbers), **weights}, path)


def scores(path, processes):
    pyro.set_rng_seed(0)
    model, guide = build_guide("KalmanGuide, collapsed")
    frames, observed, _ = make_video(0)
    chunks = {"num_particles": 7, "particles_per_chunk": 3, "sequences_per_chunk": 2}
    evidence = log_evidence(model, guide, frames, observed, **chunks, processes=processes)
    curve = imputation_curve(Evaluated(model, guide, VideoBatch(frames), processes=processes), "random", "smoothing")
    if processes.leads:
        torch.save(
            {"weights": evidence.log_weights, "errors": torch.tensor([curve.errors, curve.standard_errors])}, path
        )


def training(path, processes, length, source_type):
    model, guide = toys()
    if not processes.leads:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)  # the leader's weights are what all begin with
    train(
        model,
        guide,
        source_type(VideoBatch(VIDEOS), batch_size=3, seed=5),
        length,
        run=processes.of_the_leader(lambda: RunFolder.start(path, {"name": "toy"})),
        validation=VideoBatch(VIDEOS),
        options=TrainingOptions(
            learning_rate=0.01, log_every=2, validate_every=4, checkpoint_every=3, processes=processes
        ),
    )
    mine = torch.cat([parameter.detach().reshape(-1) for parameter in (*model.parameters(), *guide.parameters())])
    assert processes.of_the_leader(lambda: mine).equal(mine), "the processes have different weights"


def threads_of_the_group():
    """By name, where the system tells (Linux). One that outlives the group may abort the process at its very end."""
    names = [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def main():
    path, what, *length = sys.argv[1:]
    with joined_processes(torch.device("cpu")) as (processes, _):
        if what in ("steps", "scores"):
            {"steps": steps, "scores": scores}[what](Path(path), processes)
        else:
            last = processes.rank == processes.size - 1
            training(Path(path), processes, int(length[0]), MortalVideos if what == "die" and last else FixedVideos)
    assert not threads_of_the_group(), threads_of_the_group()


if __name__ == "__main__":
    main()
