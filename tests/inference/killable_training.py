"""A small training run in processes that are killed with SIGKILL at chosen moments; run by test_killed_runs.py.

    python killable_training.py LOSSES FOLDER whole                   train without interruption; print the number of
                                                                      moments
    python killable_training.py LOSSES FOLDER killed MOMENT [MOMENT]  die at each moment in turn, then finish

LOSSES is "one" for a run with one loss, "two" for one whose second stage has its own.

One process imports everything and forks one child per attempt. A moment is a call of a function that asks for a batch
or touches the disk: the child dies before it, or halfway through what it writes.
"""

import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import nn

from inference import IWAE, RunFolder, Stage, Term, TrainingOptions, WeightedSum, train
from inference.runs import checkpoints
from inference.runs import folder as runs
from inference.svi.schedules import LinearRamp, StaircaseDecay
from videos import FixedVideos, VideoBatch


class Model(PyroModule):
    def __init__(self):
        super().__init__()
        self.decoder = nn.Linear(2, 4)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            law = dist.Normal(self.decoder(z), self.log_scale.exp()).to_event(1)
            pyro.sample("frames", law, obs=frames.flatten(1))


class Guide(PyroModule):
    """Draws from all random streams that a run must restore."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 4))

    def forward(self, frames, observed=None, controls=None):
        jitter = 0.01 * (random.random() + np.random.rand() + np.random.randn())
        location, scale = self.encoder(frames.flatten(1) + jitter).chunk(2, -1)
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(location, scale.exp()).to_event(1))


class WiderGuide(PyroModule):
    """The guide in another arrangement, which draws from all random streams as well."""

    def __init__(self, guide):
        super().__init__()
        self.guide = guide

    def forward(self, frames, observed=None, controls=None):
        with pyro.poutine.block():
            self.guide(frames)
        location, scale = self.guide.encoder(frames.flatten(1)).chunk(2, -1)
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(location, 2 * scale.exp()).to_event(1))


def second_loss(guide):
    """A sum whose weights change within the stage, and a guide of its own."""
    return WeightedSum(
        {"bound": Term(IWAE(2)), "wide": Term(IWAE(3), LinearRamp(1.0, 0.0, 11), guide=WiderGuide(guide))}
    )


def train_once(path: Path, losses: str = "one") -> None:
    torch.manual_seed(0)
    model, guide = Model(), Guide()
    second = second_loss(guide) if losses == "two" else None
    videos = VideoBatch(torch.rand(9, 1, 1, 2, 2))
    train(
        model,
        guide,
        FixedVideos(videos, batch_size=3, seed=5),
        [
            Stage(5, frozen=("model.log_scale",), site_weights={"frames": 0.3}),
            Stage(7, site_weights={"z": LinearRamp(0.0, 1.0, 10)}, fresh_optimizer=False, loss=second),
        ],
        loss=IWAE(3),
        validation=VideoBatch(torch.rand(4, 1, 1, 2, 2)),
        run=RunFolder.start(path, {"name": "killable"}),
        options=TrainingOptions(
            learning_rate=StaircaseDecay(0.01, 0.5, 4),
            clip_norm=5.0,
            log_every=2,
            validate_every=4,
            checkpoint_every=3,
            seed=2,
        ),
    )


class Moments:
    """Counts the moments of a process; dies at one of them."""

    def __init__(self, last: int | None) -> None:
        self.count, self.last = 0, last

    def pass_by(self) -> bool:
        self.count += 1
        return self.count - 1 == self.last

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args, **kwargs):
            if self.pass_by():
                self.die()
            return original(*args, **kwargs)

        setattr(owner, name, watched)

    def watch_everything(self) -> None:
        for owner, name in (
            (os, "fsync"),
            (os, "replace"),
            (os, "rename"),
            (checkpoints.shutil, "rmtree"),
            (FixedVideos, "batch"),
            (torch, "save"),
        ):
            self.watch(owner, name)
        write_through, append_line = checkpoints._write_through, runs.append_line

        def half_written(path, content):
            if self.pass_by():
                path.write_bytes(content[: len(content) // 2])
                self.die()
            write_through(path, content)

        def half_appended(path, record):
            if self.pass_by():
                with open(path, "a") as file:
                    file.write('{"step": 1, "los')
                self.die()
            append_line(path, record)

        checkpoints._write_through, runs.append_line = half_written, half_appended


def attempt(losses: str, path: Path, last: int | None) -> int:
    """Train in a forked child that dies at its moment `last`; returns how many moments it had, -1 if it was killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        moments = Moments(last)
        moments.watch_everything()
        train_once(path, losses)
        os.write(write, str(moments.count).encode())
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    count = os.read(read, 20)
    os.close(read)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return -1
    assert os.WEXITSTATUS(status) == 0
    return int(count)


def main() -> None:
    torch.optim.Adam([nn.Parameter(torch.zeros(()))])  # imports half of torch: once here instead of in each child
    losses, path, what, *moments = sys.argv[1:]
    if what == "whole":
        print(attempt(losses, Path(path), None))
        return
    for number, moment in enumerate(map(int, moments)):
        folder = Path(path) / str(number)
        survived = attempt(losses, folder, moment)
        again = attempt(losses, folder, moment % 5)  # and once more, while it resumes
        if survived >= 0 or again >= 0:
            print(f"not killed at {moment}")
        attempt(losses, folder, None)


if __name__ == "__main__":
    main()
