"""A full disk or a read-only folder: one sentence, a safe checkpoint, no half file, and the same bits afterwards."""

import errno
import logging
import os
import resource
import shutil
from collections import namedtuple

import pytest
import torch

from inference.cli import main
from inference.runs import checkpoints
from inference.runs import folder as runs
from inference.runs.json_files import append_line
from inference.runs.writing import RunWriteError
from tests.inference.toy_training import go, values

TINY = "--network mlp --num-train 16 --num-validation 4 --num-test 4 --batch-size 8 --epochs 2 --frozen-epochs 1"


def fill_after(patch, owner, name, calls):
    """From the given call on, a function that writes finds no room: half of what it writes stays behind."""
    original, count = getattr(owner, name), []

    def write(path, content):
        count.append(1)
        if len(count) > calls:
            if isinstance(content, bytes):
                path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(path, content)

    patch.setattr(owner, name, write)


@pytest.mark.parametrize("calls", [2, 3, 4, 5])
def test_a_disk_that_fills_up_while_a_checkpoint_is_written(tmp_path, monkeypatch, calls):
    """Configuration and provenance are the first two files; then come the three of the first checkpoint."""
    with monkeypatch.context() as patch:
        fill_after(patch, checkpoints, "_write_through", calls)
        safe = "the last good checkpoint is .*step-00000000" if calls == 5 else "no checkpoint was written yet"
        step = "step-00000003" if calls == 5 else "step-00000000"
        message = rf"{step}: cannot be written .No space left on device.; {safe}$"
        with pytest.raises(RunWriteError, match=message):
            go(tmp_path / "run")
    assert not [path for path in (tmp_path / "run").rglob(".*")]
    check_same_bits(tmp_path)


def test_a_disk_that_fills_up_between_checkpoints(tmp_path, monkeypatch):
    def full(path, record):
        if record["step"] == 8:
            raise RunWriteError(f"{path}: cannot be written (No space left on device)")
        append_line(path, record)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "append_line", full)
        with pytest.raises(RunWriteError, match="metrics.jsonl: cannot be written .*; .*step-00000006$"):
            go(tmp_path / "run")
    check_same_bits(tmp_path)


def check_same_bits(folder):
    _, run, *modules = go(folder / "run")
    _, whole, *others = go(folder / "whole")
    torch.testing.assert_close(values(*modules), values(*others), rtol=0, atol=0)
    assert run.metrics_path.read_bytes() == whole.metrics_path.read_bytes()


def test_lines_are_written_whole_or_not_at_all(tmp_path):
    """The limit on the size of files is the system's own, as on a full disk: the first bytes of a line still fit."""
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"step": 1})
    before = path.read_bytes()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, resource.RLIM_INFINITY))
        try:
            append_line(path, {"step": 2})
        except RunWriteError as error:
            os._exit(7 if "File too large" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert path.read_bytes() == before


def test_the_command_line_says_what_is_safe_and_how_to_go_on(tmp_path, capsys, monkeypatch):
    words = ["train", "kvae-demo", "--run", str(tmp_path / "run"), *TINY.split(), "--quiet", "--checkpoint-every", "2"]
    with monkeypatch.context() as patch:
        fill_after(patch, checkpoints, "_write_through", 5)
        assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("kinema: ")
    assert error.count("\n") == 1
    assert "best.safetensors: cannot be written (No space left on device); the last good checkpoint is" in error
    assert error.endswith(f"step-00000000; make room, then resume with: kinema {' '.join(words)}\n")
    assert main(words) == 0


def test_a_read_only_folder_is_named(tmp_path, capsys, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    assert main(["train", "kvae-demo", "--run", str(tmp_path / "run"), *TINY.split(), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kinema: ")
    assert "Read-only file system" in error
    assert error.count("\n") == 1


def test_little_room_is_said_at_the_start(tmp_path, monkeypatch, caplog):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 0))
    with caplog.at_level(logging.WARNING, "inference"):
        go(tmp_path / "run", keep_last=20_000)
    assert "the training will take about" in caplog.text
    assert "and 0 bytes are free; make room, or train into a folder on another disk" in caplog.text
    caplog.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 10**9))
    go(tmp_path / "run", keep_last=20_000)
    assert caplog.text == ""
