"""The double loop against which the guide is timed computes the same states."""

import runpy
from pathlib import Path

import torch

from guides.objects.time_recurrence import ObjectTimeRecurrence

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "object_guides.py"


def test_the_double_loop_gives_the_same_states():
    double_loop = runpy.run_path(str(PROGRAM))["DoubleLoop"]
    network = ObjectTimeRecurrence(10, 5, 3)
    frames = torch.randn(6, 4, 10)
    presence = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=torch.bool)
    expected = network(frames, presence)
    network.__class__ = double_loop
    torch.testing.assert_close(network(frames, presence), expected)
