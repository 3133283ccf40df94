"""Steps that wait in processes of their own until they are told to run, so that several can be measured in turn.

A process prints a line of JSON after its first step; then, for each line with a number that it reads, it takes that
many steps and prints their milliseconds; at the end of its input it prints what else it knows. Needs the standard
library alone, since steps run in other environments.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# ends with its parent, even if that is killed
BUSY = """
import numpy, os
parent = os.getppid()
while os.getppid() == parent:
    numpy.ones((256, 256)) @ numpy.ones((256, 256))
"""


def milliseconds(step: Callable[[], Any]) -> float:
    """Time of one step."""
    began = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - began)


def serve(step: Callable[[], Any], describe: Callable[[], dict[str, float]] = dict) -> None:
    """Take steps as told by the standard input; see above.

    Args:
        step: returns when its results are there.
        describe: what else is known of the step, at the end.
    """
    print(json.dumps({"first": milliseconds(step) / 1000}), flush=True)
    for line in sys.stdin:
        print(json.dumps([milliseconds(step) for _ in range(int(line))]), flush=True)
    print(json.dumps({"megabytes": peak_megabytes()} | describe()), flush=True)


def peak_megabytes() -> float:
    """Largest resident memory of this process; the system's own count begins with that of the process it came from."""
    with suppress(OSError):  # not on Linux
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def thread_environment(threads: int | None) -> dict[str, str]:
    """Environment variables for a number of threads; None = all. Affinity is inherited, see `keep_to_cores`."""
    if threads is None:
        return {}
    many = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={many} intra_op_parallelism_threads={threads}"
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, str(threads)) | {"XLA_FLAGS": flags}


def keep_to_cores(number: int) -> None:
    """Keep this process and those that it starts to the last cores that it may use.

    Raises:
        ValueError: if there are fewer.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= number <= len(cores):
        raise ValueError(f"--threads: expected 1 to {len(cores)}, the number of cores, got {number}")
    os.sched_setaffinity(0, cores[-number:])


class MeasuredProcess:
    """A process that calls `serve`, with empty compilation caches.

    Args:
        words: its command.
        environment: variables to add.
    """

    def __init__(self, words: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self._cache = tempfile.TemporaryDirectory()
        caches = {"TORCHINDUCTOR_CACHE_DIR": self._cache.name, "JAX_ENABLE_COMPILATION_CACHE": "false"}
        self._process = subprocess.Popen(
            [str(word) for word in words],
            env={**os.environ, **environment, **caches},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.first: float = self._answer()["first"]
        except BaseException:
            self.kill()
            raise

    def milliseconds(self, repetitions: int) -> list[float]:
        """Time of each of a number of steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{repetitions}\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> dict[str, float]:
        """End the process; what it knows of its step."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        described = self._answer()
        self._process.wait()
        self.kill()
        return described

    def kill(self) -> None:
        """End the process at once, if it still runs, and free what it used."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # what the process did not read any more
                stream.close()
        self._cache.cleanup()

    def _answer(self) -> Any:
        """The next line of JSON; other lines are passed on."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("{", "[")):
                return json.loads(line)
            print(line, end="", file=sys.stderr)
        raise RuntimeError(f"{self._process.args} ended with status {self._process.wait()}")


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Inside, a process that never waits shares the cores; it has one thread, and this process's niceness."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process = subprocess.Popen([sys.executable, "-c", BUSY], env=os.environ | single)
    try:
        yield
    finally:
        process.kill()
        process.wait()
