"""Two trainings in one folder: the second is refused by name, a dead one's place is taken, force takes a live one's."""

import errno
import fcntl
import json
import logging
import os
import signal
import socket
import threading
import warnings
from contextlib import contextmanager

import pytest

from inference import RunFolder
from inference.cli import main
from inference.runs.lock import LOCK, TRAINER, RunInUseError, check_still_ours, in_use, training_in
from inference.runs.writing import RunWriteError
from inference.runtime.processes import Processes
from tests.inference.toy_training import Sabotage, go, values

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="other processes are forked")


@contextmanager
def another_process(path, **options):
    """A process that holds the lock, until it is killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with training_in(path, **options):
            os.write(write, b"!")
            signal.pause()
    try:
        assert os.read(read, 1) == b"!"
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


def kill(child):
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


def test_a_second_training_is_refused_with_who_where_and_since_when(tmp_path):
    path = tmp_path / "run"
    with another_process(path) as child:
        since = json.loads((path / TRAINER).read_text())["since"]
        who = rf"process {child} on {socket.gethostname()}, training there since {since[:10]}.*\+00:00"
        with pytest.raises(RunInUseError, match=rf"run: '.*run' is in use: {who}; wait for it, stop it, .*--force"):
            go(path)
        assert in_use(path).startswith(f"process {child} on ")
        assert not (path / "metrics.jsonl").exists()
        RunFolder.open(path)  # reading needs no lock


def test_the_command_line_refuses_it_in_one_line(tmp_path, capsys):
    path = tmp_path / "run"
    with another_process(path) as child:
        assert main(["train", "kvae-demo", "--run", str(path), "--num-train", "32", "--quiet"]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"kinema: run: {str(path)!r} is in use: process {child} on ")
        assert error.count("\n") == 1
        assert {item.name for item in path.iterdir()} == {LOCK, TRAINER}  # not one file of a run was written


def test_the_place_of_a_killed_process_is_taken_with_a_warning(tmp_path, caplog):
    path = tmp_path / "run"
    with another_process(path) as child, caplog.at_level(logging.WARNING, "inference"):
        kill(child)
        assert in_use(path) is None
        assert go(path)[0].steps == 12
    assert f"taking over from process {child} on {socket.gethostname()}" in caplog.text
    assert "which ended without cleaning up" in caplog.text
    assert not (path / LOCK).exists()
    assert not (path / TRAINER).exists()


def test_nobody_is_named_after_an_orderly_end(tmp_path, caplog):
    go(tmp_path / "run")
    go(tmp_path / "run")
    assert caplog.text == ""


def test_force_takes_the_run_and_the_other_one_stops_before_it_writes(tmp_path, caplog):
    """The first training loses the run between two steps, and ends at its next line of metrics."""
    path, second = tmp_path / "run", []

    def take(batch):
        thread = threading.Thread(target=lambda: second.append(go(path, force=True)))
        thread.start()
        thread.join()

    with pytest.raises(RunInUseError, match="run: '.*run' was taken over by a process that has ended"):
        go(path, source=Sabotage(take, at=4), checkpoint_every=2)
    result, run, *modules = second[0]
    assert result.steps == 12
    assert "taking the lock from process" in caplog.text
    whole = go(tmp_path / "whole")
    assert run.metrics_path.read_bytes() == whole[1].metrics_path.read_bytes()
    assert all((value == values(*whole[2:])[name]).all() for name, value in values(*modules).items())


def test_what_was_taken_is_not_written_to_and_not_cleaned_up(tmp_path):
    with training_in(tmp_path):
        check_still_ours(tmp_path)
        with another_process(tmp_path, force=True) as child:
            with pytest.raises(RunInUseError, match=f"taken over by process {child} on .*; this training ends here"):
                check_still_ours(tmp_path)
    assert json.loads((tmp_path / TRAINER).read_text())["process"] == child


@contextmanager
def threading_hold(path):
    """Hold the lock in another thread; its exception is raised here."""
    errors = []

    def hold():
        try:
            with training_in(path):
                pass
        except RunInUseError as error:
            errors.append(error)

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    yield


def test_holds_of_one_thread_are_nested_and_other_threads_wait_outside(tmp_path):
    with training_in(tmp_path), training_in(tmp_path):
        with pytest.raises(RunInUseError, match=f"process {os.getpid()} on"), threading_hold(tmp_path):
            pass
    with threading_hold(tmp_path):
        pass


def test_processes_of_one_torchrun_share_the_lock_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.distributed.broadcast_object_list", lambda found, src: None)
    with training_in(tmp_path, processes=Processes(0, 2)):
        with training_in(tmp_path, processes=Processes(1, 2)):  # does not lead: holds nothing, asks for nothing
            pass
        assert in_use(tmp_path) is not None
    with training_in(tmp_path / "new", processes=Processes(1, 2)):
        assert not (tmp_path / "new").exists()


def test_a_refused_training_leaves_no_folders(tmp_path):
    with pytest.raises(KeyError), training_in(tmp_path / "runs" / "one"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_does_not_matter(tmp_path, caplog):
    for content in ("5", "[" * 100_000, ""):
        (tmp_path / TRAINER).write_text(content)
        with training_in(tmp_path):
            pass
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="run: expected a folder, '.*file' is a file"), training_in(tmp_path / "file"):
        pass


def test_a_full_disk_leaves_no_half_record(tmp_path, monkeypatch):
    def full(path, content):
        with open(path, "w") as file:
            file.write(content[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", full)
        with (
            pytest.raises(RunWriteError, match="training.json: cannot be written .No space left"),
            training_in(tmp_path),
        ):
            pass
    assert list(tmp_path.iterdir()) == []
    with training_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_file_systems_without_locks_have_a_file_in_their_place(tmp_path, monkeypatch):
    def missing(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", missing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # filelock says that it does so
        with training_in(tmp_path):
            with pytest.raises(RunInUseError, match=f"process {os.getpid()} on"), threading_hold(tmp_path):
                pass
        with another_process(tmp_path) as child:
            with pytest.raises(RunInUseError, match=f"process {child} on"), training_in(tmp_path):
                pass
            kill(child)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        with training_in(tmp_path):  # its process is gone
            pass
