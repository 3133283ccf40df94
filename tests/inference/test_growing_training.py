"""These tests pin: graphs are made of videos that have their length for long, and resumes agree on which those are."""

import pytest
import torch
from pyro.infer import Trace_ELBO

from inference import SVI, Stage
from inference.training.graphs import LEAST_STEPS, graphs_where_worthwhile
from tests.inference.toy_training import VIDEOS, FramesModel, Sabotage, go, toys, values
from tests.oracles.closed_form_bounds import ToyParameters
from videos import FixedVideos, GrowingVideos, VideoBatch


class CountedModel(FramesModel):
    def __init__(self, parameters):
        super().__init__(parameters)
        self.lengths = []

    def forward(self, frames, observed=None, controls=None):
        self.lengths.append(frames.shape[1])
        super().forward(frames, observed, controls)


def growing(source=None):
    """Lengths 1, 1, 1, 2, 2, 2 and 3 from then on."""
    return GrowingVideos(source or FixedVideos(VideoBatch(VIDEOS), batch_size=3, seed=5), min_frames=1, every=3)


@pytest.mark.parametrize(("worth", "calls"), [(4, {1: 5, 2: 3}), (3, {1: 4, 2: 2})])
def test_short_lived_lengths_are_not_traced(tmp_path, monkeypatch, worth, calls):
    """The first step looks at sites, in two calls; tracing takes two, for errors and for the graph; no more follow."""
    monkeypatch.setitem(LEAST_STEPS, "trace", worth)
    model, guide = CountedModel(ToyParameters.make()), toys()[1]
    go(tmp_path / "run", model, guide, [Stage(15)], growing(), compile="trace")
    found = {length: model.lengths.count(length) for length in (1, 2, 3)}
    assert found == calls | {3: 2}


@pytest.mark.parametrize("at", [2, 4, 8])
def test_a_growing_run_goes_on_with_the_same_bits(tmp_path, monkeypatch, at):
    monkeypatch.setitem(LEAST_STEPS, "trace", 4)

    def stop(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", source=growing(Sabotage(stop, at)), compile="trace")
    _, _, *parts = go(tmp_path / "run", source=growing(), compile="trace")
    _, _, *whole = go(tmp_path / "whole", source=growing(), compile="trace")
    for name, value in values(*parts).items():
        assert torch.equal(value, values(*whole)[name])


@pytest.mark.parametrize(
    ("mode", "device", "every", "eager"),
    [
        ("trace", "cpu", 99, True),
        ("trace", "cpu", 100, False),
        ("inductor", "cpu", 1_999, True),
        ("inductor", "cpu", 2_000, False),
        ("auto", "cpu", 1_999, True),
        ("auto", "cuda", 100, False),  # a recording pays soon
        ("cudagraph", "cuda", 99, True),
    ],
)
def test_how_long_a_length_has_to_last(mode, device, every, eager):
    model, guide = toys()
    svi = SVI(model, guide, torch.optim.Adam([*model.parameters(), *guide.parameters()]), Trace_ELBO(), compile=mode)
    source = GrowingVideos(FixedVideos(VideoBatch(VIDEOS), batch_size=3, seed=5), min_frames=1, every=every)
    for step, expected in ((0, eager), (3 * every, False)):
        with graphs_where_worthwhile(svi, source, step, mode, torch.device(device)):
            assert (svi._mode == "off") == expected
        assert svi._mode == mode
