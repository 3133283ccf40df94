"""The command line: `kinema COMMAND`; `COMMANDS` lists them."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

from inference.cli import (
    clip,
    compare,
    demo,
    doctor,
    evaluate,
    export,
    recipes,
    render,
    report,
    score,
    sweep,
    track,
    train,
)
from inference.cli.exit_status import FAILED, INTERRUPTED, TERMINATED, USAGE_ERROR
from inference.cli.words import choose
from inference.svi.step import NonFiniteError
from inference.training.interrupts import Terminated

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo.demo,
    "recipes": recipes.recipes,
    "clip": clip.clip,
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "render": render.render,
    "doctor": doctor.doctor,
    "export": export.export,
    "report": report.report,
    "sweep": sweep.sweep,
    "track": track.track,
    "score": score.score,
}


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: words of the command line; None = `sys.argv[1:]`.

    Returns:
        Exit status: 0 = success, 1 = the work failed, 2 = wrong usage, or a file that cannot be read or written,
        130 = interrupted, 143 = terminated.
    """
    _show_information()
    try:
        status = _run(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads the output, such as `head`, has seen enough; nor shall Python flush it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _run(words: Sequence[str]) -> int:
    try:
        command = choose(
            "command",
            {name: function.__doc__ or "" for name, function in COMMANDS.items()},
            words[:1],
            prog="kinema",
            description="Generative models of objects moving in video, in Pyro.",
        )
        return COMMANDS[command](words[1:])
    except Terminated as stop:
        print(f"\nkinema: {stop}", file=sys.stderr)
        return TERMINATED
    except SystemExit as stop:  # tyro has shown the help, or what is wrong
        return stop.code if isinstance(stop.code, int) else USAGE_ERROR
    except NonFiniteError as error:
        print(f"kinema: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ImportError) as error:
        print(f"kinema: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("\nkinema: interrupted", file=sys.stderr)
        return INTERRUPTED


def _show_information() -> None:
    """Show what the library logs as information, such as how long a compilation took, on standard error."""
    logging.basicConfig(format="%(message)s")
    for package in ("inference", "pyro_models", "videos"):
        logging.getLogger(package).setLevel(logging.INFO)
