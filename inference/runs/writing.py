"""Files that cannot be written: a full disk, a quota, a read-only folder; named, with nothing half written left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunWriteError(OSError):
    """A file of a run that cannot be written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside, a file is written.

    Raises:
        RunWriteError: in place of any OSError; names the file and says why.
    """
    try:
        yield
    except OSError as error:
        raise RunWriteError(f"{path}: cannot be written ({error.strerror or error})") from error
