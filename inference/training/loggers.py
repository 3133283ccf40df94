"""Where the metrics of a training run also go, besides its folder: TensorBoard, or a logger of your own."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

from inference.runs.folder import RunFolder


@runtime_checkable
class Logger(Protocol):
    """Receives every record of metrics of a training run: any object with these three methods.

    A record has the `step`, the `stage` and, where they were computed, `loss`, `gradient_norm`, `learning_rate`,
    `validation_bound` (None if it was not finite) and what schedules gave. Metrics are written to the run's folder in
    any case, and a logger has no part in resuming. Only the first of several processes calls it; an exception of its
    own ends the training, which can be resumed::

        class Table:
            def start(self, run, step):
                self.file = open(run.path / "metrics.csv", "a")

            def write(self, record):
                print(record["step"], record.get("loss"), record.get("validation_bound"), sep=",", file=self.file)

            def close(self):
                self.file.close()

        train(model, guide, videos, 1000, options=TrainingOptions(loggers=[Table()]))

    For Weights & Biases the three are `self.to = wandb.init(id=run.path.name, config=run.config, resume="allow")`,
    `self.to.log(dict(record), step=record["step"])` and `self.to.finish()`; for MLflow `mlflow.start_run`,
    `mlflow.log_metrics` (of the numbers alone) and `mlflow.end_run`.
    """

    def start(self, run: RunFolder, step: int) -> None:
        """Called once, before the first step of this process.

        Args:
            run: the run's folder, with its configuration.
            step: the step from which training goes on, 0 for a new run: what was logged of later ones is void.
        """
        ...

    def write(self, record: Mapping[str, Any]) -> None:
        """Take one record; called when it has been written to the folder."""
        ...

    def close(self) -> None:
        """Called once at the end, however it came."""
        ...


class TensorBoard:
    """Every number of the metrics as TensorBoard event files, in the folder `tensorboard` of the run."""

    def start(self, run: RunFolder, step: int) -> None:
        """Open the files.

        Raises:
            ValueError: if the package tensorboard is not installed.
        """
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                "tensorboard: expected the package tensorboard, it is not installed; pip install tensorboard"
            )
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write every number at its step."""
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Write what is left and close the files."""
        self._writer.close()


def check_loggers(loggers: Sequence[object]) -> None:
    """Refuse what is no logger.

    Args:
        loggers: any objects.

    Raises:
        TypeError: names what came, and the methods that it lacks.
    """
    for logger in loggers:
        expected = "loggers: expected objects with start(run, step), write(record) and close(), got"
        if isinstance(logger, type):
            raise TypeError(f"{expected} the class {logger.__name__}; create an instance: {logger.__name__}()")
        if missing := [name for name in ("start", "write", "close") if not callable(getattr(logger, name, None))]:
            raise TypeError(f"{expected} {type(logger).__name__}, which has no {', '.join(missing)}; see Logger")


@contextmanager
def started(loggers: Sequence[Logger], run: RunFolder, step: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Start loggers; inside, a function that gives each of them a record; then close those that were started."""
    with ExitStack() as stack:
        for logger in loggers:
            logger.start(run, step)
            stack.callback(logger.close)

        def write(record: Mapping[str, Any]) -> None:
            for logger in loggers:
                logger.write(record)

        yield write
