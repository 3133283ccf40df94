"""These tests pin: who sees a bar, what it shows, and what Ctrl-C does."""

import io
import signal
import sys

import pytest

from inference.training.progress import Interrupts, ProgressBar


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


def test_a_first_interrupt_is_noted_and_a_second_one_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        assert not interrupts.requested
        signal.raise_signal(signal.SIGINT)
        assert interrupts.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
