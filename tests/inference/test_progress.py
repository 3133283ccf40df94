"""These tests pin: who sees a bar, and what it shows."""

import io
import sys

import pytest

from inference.training.progress import ProgressBar


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
