"""Ctrl-C and SIGTERM: the step is finished and a checkpoint is written before a training ends."""

import signal
import threading
from types import FrameType, TracebackType

from inference.runtime.processes import Processes


class Terminated(SystemExit):
    """A training that SIGTERM ended; uncaught, it ends the process with the usual status, 143.

    Args:
        message: where the run stands.
    """

    def __init__(self, message: str) -> None:
        super().__init__(128 + signal.SIGTERM)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Interrupts:
    """Inside, a first Ctrl-C or SIGTERM only sets `requested`; a second one ends the training at once.

    Outside the main thread, where Python delivers no signals, it does nothing.

    Attributes:
        requested: whether a signal came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._terminates = False

    def __enter__(self) -> "Interrupts":
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not installed by Python

    def stop(self, processes: Processes, waits: bool) -> bool:
        """Whether to end now; several processes ask one another only when they wait for the device anyway."""
        if processes.size == 1:
            return self.requested
        return waits and processes.any(self.requested)

    def error(self, message: str) -> KeyboardInterrupt | Terminated:
        """What ends the training: KeyboardInterrupt after Ctrl-C, `Terminated` after SIGTERM."""
        return Terminated(message) if self._terminates else KeyboardInterrupt(message)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._terminates = number == signal.SIGTERM
        if self.requested:
            raise self.error("stopped at once; the run can go on from its last checkpoint")
        self.requested = True
