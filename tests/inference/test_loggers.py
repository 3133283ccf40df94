"""Loggers: what they receive, that they are closed whatever happens, and that the documented example works."""

import importlib.util
import re
import textwrap

import jaxtyping
import pytest

from inference import NonFiniteError, Stage, TrainingOptions, train
from inference.runs.folder import RunFolder
from inference.training.loggers import Logger, TensorBoard
from tests.inference.toy_training import VIDEOS, Sabotage, go, toys
from videos import VideoBatch


class Memory:
    """Keeps everything."""

    def __init__(self):
        self.started, self.records, self.closed = [], [], 0

    def start(self, run, step):
        self.started.append((run.path.name, step))

    def write(self, record):
        self.records.append(dict(record))

    def close(self):
        self.closed += 1


def test_logger_receives_the_metrics_of_the_folder(tmp_path):
    first, second = Memory(), Memory()
    _, run, *_ = go(tmp_path / "run", loggers=[first, second], validation=VideoBatch(VIDEOS[:4]))
    assert first.records == second.records == run.metrics()
    assert first.started == [("run", 0)]
    assert first.closed == second.closed == 1


def test_resumed_run_tells_a_logger_where_it_goes_on(tmp_path):
    memory = Memory()
    go(tmp_path / "run", stages=[Stage(6)])
    go(tmp_path / "run", stages=[Stage(10)], loggers=[memory])
    assert memory.started == [("run", 6)]
    assert [record["step"] for record in memory.records] == [8, 10]


def test_loggers_are_closed_when_training_fails(tmp_path):
    memory = Memory()

    def fail(*_):
        raise RuntimeError("the disk is gone")

    with pytest.raises((RuntimeError, NonFiniteError)):
        go(tmp_path / "run", source=Sabotage(fail, 3), loggers=[memory])
    assert memory.closed == 1


def test_example_of_the_documentation(tmp_path):
    example = re.search(r"::\n\n(.*?)\n\n    For Weights", Logger.__doc__, re.DOTALL)[1]
    model, guide = toys()
    run = RunFolder.start(tmp_path / "run", {})
    names = {"model": model, "guide": guide, "videos": VideoBatch(VIDEOS), "TrainingOptions": TrainingOptions}
    exec(textwrap.dedent(example), names | {"train": lambda *args, **more: train(*args, run=run, **more)})
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows] == list(range(50, 1001, 50))
    assert float(rows[-1].split(",")[1]) == run.metrics()[-1]["loss"]


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        (Memory, "got the class Memory; create an instance: Memory()"),
        ([], "got list, which has no start, write, close; see Logger"),
    ],
)
def test_what_is_no_logger_is_refused(logger, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # checks of annotations, which only tests have
    with pytest.raises(TypeError, match=re.escape(message)):
        TrainingOptions(loggers=[logger])


def test_tensorboard_is_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match="tensorboard: expected the package tensorboard, it is not installed; pip install"
    ):
        TensorBoard().start(RunFolder.start(tmp_path / "run", {}), 0)


def test_tensorboard_has_the_numbers_at_their_steps(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = TensorBoard()
    board.start(RunFolder.start(tmp_path / "run", {}), 0)
    board.write({"step": 3, "loss": 1.5, "validation_bound": None})
    board.write({"step": 5, "loss": 1.25})
    board.close()
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 1.5), (5, 1.25)]
