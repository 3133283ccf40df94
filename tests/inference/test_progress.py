"""These tests pin: who sees a bar, and what it shows."""

import importlib.util
import io
import sys

import pytest

from inference.training.progress import ProgressBar, TensorBoard


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, wanted):
    monkeypatch.setattr(sys, "stderr", stream)
    with ProgressBar(4, 1, wanted) as bar:
        bar.advance(None)
        bar.advance({"step": 3, "loss": 12.3456789, "learning_rate": 0.007, "validation_bound": None})
        bar.advance({"step": 4, "validation_bound": -11.5})
    return stream.getvalue()


def test_a_terminal_shows_loss_bound_and_rate(monkeypatch):
    last = shown(monkeypatch, Terminal(), True).split("\r")[-1]
    assert "4/4" in last
    assert "loss=12.346, lr=0.007, validation=-11.5" in last


@pytest.mark.parametrize(("stream", "wanted"), [(Terminal, False), (io.StringIO, True)])
def test_nobody_else_sees_anything(monkeypatch, stream, wanted):
    assert shown(monkeypatch, stream(), wanted) == ""


def test_tensorboard_is_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match="tensorboard: expected the package tensorboard, it is not installed; pip install"
    ):
        TensorBoard(tmp_path, 0)


def test_tensorboard_has_the_numbers_at_their_steps(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = TensorBoard(tmp_path, 0)
    board.write({"step": 3, "loss": 1.5, "validation_bound": None})
    board.write({"step": 5, "loss": 1.25})
    board.close()
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 1.5), (5, 1.25)]
