"""A small training run in processes that are killed with SIGKILL at chosen moments; run by test_killed_runs.py.

    python killable_training.py LOSSES FOLDER whole                   train without interruption; print the number of
                                                                      moments
    python killable_training.py LOSSES FOLDER killed MOMENT [MOMENT]  die at each moment in turn, then finish
    python killable_training.py LOSSES FOLDER chaos COUNT SEED [SEED] something befalls it at random moments of COUNT

LOSSES is "one" for a run with one loss, "two" for one whose second stage has its own.

One process imports everything and forks one child per attempt. A moment is a call of a function that asks for a batch
or touches the disk: the child dies before it, or halfway through what it writes.
"""

import errno
import os
import random
import signal
import sys
import traceback
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
from inference.runs.lock import RunInUseError
from inference.runs.writing import RunWriteError
from inference.svi.schedules import LinearRamp, StaircaseDecay
from inference.training.interrupts import Terminated
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


def train_once(path: Path, losses: str = "one", *, force: bool = False) -> None:
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
            force=force,
        ),
    )


LOCKED = 10  # moments; before it, a run is prepared: its lock is not taken yet, and SIGTERM ends it at once
SIGNALS = {"stopped": signal.SIGSTOP, "terminated": signal.SIGTERM}


class Moments:
    """Counts the moments of a process; at one of them something befalls it."""

    def __init__(self, last: int | None, how: str) -> None:
        self.count, self.last, self.how, self.full = 0, last, how, False
        self.waits = False  # for the next batch, to be stopped there

    def pass_by(self) -> bool:
        """Whether what is being written stops halfway: the process is killed, or the disk is full from now on."""
        self.count += 1
        if self.count - 1 == self.last:
            if self.how in SIGNALS:
                os.kill(os.getpid(), SIGNALS[self.how])
            self.waits, self.full = self.how == "stopped at a batch", self.how == "full"
            return self.how == "killed" or self.full
        return self.full

    def end(self) -> None:
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def watch(self, owner, name: str, *, writes: bool) -> None:
        original = getattr(owner, name)

        def watched(*args, **kwargs):
            if self.pass_by() and (writes or not self.full):
                self.end()
            if self.waits and name == "batch":
                self.waits = False
                os.kill(os.getpid(), signal.SIGSTOP)
            return original(*args, **kwargs)

        setattr(owner, name, watched)

    def watch_everything(self) -> None:
        for owner, name, writes in (
            (os, "fsync", True),
            (os, "replace", False),
            (os, "rename", False),
            (checkpoints.shutil, "rmtree", False),
            (FixedVideos, "batch", False),
            (torch, "save", False),  # into memory
        ):
            self.watch(owner, name, writes=writes)
        write_through, append_line = checkpoints._write_through, runs.append_line

        def half_written(path, content):
            if self.pass_by():
                path.write_bytes(content[: len(content) // 2])
                self.end()
            write_through(path, content)

        def half_appended(path, record):
            if self.pass_by():
                if self.full:  # lines are written whole or not at all (test_full_disks.py)
                    raise RunWriteError(f"{path}: cannot be written (No space left on device)")
                with open(path, "a") as file:
                    file.write('{"step": 1, "los')
                self.end()
            append_line(path, record)

        checkpoints._write_through, runs.append_line = half_written, half_appended


ENDS = {Terminated: 143, RunWriteError: 28, RunInUseError: 75}
KILLED = -signal.SIGKILL


def begin(losses: str, path: Path, last: int | None = None, how: str = "killed", *, force: bool = False) -> int:
    """Train in a forked child that something befalls at its moment `last`; returns its process."""
    child = os.fork()
    if child == 0:
        moments = Moments(last, how)
        moments.watch_everything()
        status = 0
        try:
            train_once(path, losses, force=force)
        except tuple(ENDS) as error:
            status = ENDS[type(error)]
        except BaseException:
            traceback.print_exc()
            status = 1
        (path.parent / f"{path.name} count").write_text(str(moments.count))
        sys.stderr.flush()
        os._exit(status)
    return child


def end(child: int) -> int:
    """Status with which a child ended, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def attempt(losses: str, path: Path, last: int | None, how: str = "killed") -> int:
    """Train in a child; see `begin` and `end`."""
    return end(begin(losses, path, last, how))


def stopped(losses: str, path: Path, moment: int, *, force: bool) -> str:
    """A training is stopped, a second one started; then the first goes on. Returns what became of both.

    By force a run is taken between two writes: a write that has begun would go on.
    """
    first = begin(losses, path, moment, "stopped at a batch" if force else "stopped")
    if not os.WIFSTOPPED(os.waitpid(first, os.WUNTRACED)[1]):
        return "ended before"
    second = end(begin(losses, path, force=force))
    os.kill(first, signal.SIGCONT)
    return f"second {second}, first {end(first)}"


def chaos(losses: str, path: Path, count: int, seed: int) -> str:
    """Up to four things befall a training, one after the other; then it finishes. Returns what became of each."""
    draw, words = random.Random(seed), []
    for _ in range(draw.randint(1, 4)):
        how, moment = draw.choice(("killed", "terminated", "full", "refused", "forced")), draw.randrange(count)
        if how in ("refused", "forced", "terminated"):
            moment = max(moment, LOCKED)
        if how in ("refused", "forced"):
            words.append(f"{how}: {stopped(losses, path, moment, force=how == 'forced')}")
        else:
            words.append(f"{how}: {attempt(losses, path, moment, how)}")
    words.append(f"last: {attempt(losses, path, None)}")
    return "; ".join(words)


def main() -> None:
    torch.optim.Adam([nn.Parameter(torch.zeros(()))])  # imports half of torch: once here instead of in each child
    losses, path, what, *numbers = sys.argv[1:]
    if what == "whole":
        assert attempt(losses, Path(path), None) == 0
        print(Path(f"{path} count").read_text())
        return
    if what == "chaos":
        count, *seeds = map(int, numbers)
        for seed in seeds:
            print(chaos(losses, Path(path) / str(seed), count, seed), flush=True)
        return
    for number, moment in enumerate(map(int, numbers)):
        folder = Path(path) / str(number)
        folder.parent.mkdir(parents=True, exist_ok=True)
        statuses = attempt(losses, folder, moment), attempt(losses, folder, moment % 5)  # again, while it resumes
        if statuses != (KILLED, KILLED) or attempt(losses, folder, None) != 0:
            print(f"not killed at {moment}")


if __name__ == "__main__":
    main()
