"""These tests pin: chunk sizes that were left open follow from shapes alone, and bound the memory of an estimate."""

from pathlib import Path

import pytest
import torch
from pyro.infer.autoguide import AutoNormal

from guides import PriorCorrectionGuide
from inference import FIVO, SMC, Annealing, calibrate, log_evidence
from inference.evidence import room
from inference.evidence.automatic import _chunks
from inference.evidence.settings import DrawSettings
from pyro_models import VariationalRecurrentNetwork
from tests.oracles.closed_form_bounds import ToyModel, ToyParameters, toy_data

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@pytest.mark.parametrize(
    ("shape", "method", "num_draws", "expected"),
    [
        ((20, 20, 1, 32, 32), None, 100, (50, 9)),  # 20 x 1,024 elements, 50 at once
        ((20, 20, 1, 32, 32), None, 2, (50, 20)),
        ((10_000, 4, 1, 32, 32), None, 2, (50, 1220)),
        ((10, 100, 3, 128, 128), None, 50, (2, 1)),  # a video of 4.9 million elements
        ((10, 500, 3, 256, 256), None, 50, (1, 1)),  # one that is beyond all room by itself
        ((1000, 10, 2), None, 50, (50, 200)),  # frames of two numbers are counted as 100
        ((20, 20, 1, 32, 32), FIVO(100), 8, (50, 12)),  # filters hold a frame
        ((20, 20, 1, 32, 32), Annealing(100), 8, (50, 12)),  # chains hold gradients
        ((20, 20, 1, 32, 32), SMC(8), 8, (12, 1)),
    ],
)
def test_sizes_that_were_left_open_follow_from_shapes(shape, method, num_draws, expected):
    found = room.with_room(DrawSettings(), torch.empty(shape, device="meta"), method, num_draws)
    assert (found.particles_per_chunk, found.sequences_per_chunk) == expected


def test_sizes_that_were_given_are_kept():
    frames = torch.empty(10_000, 100, 3, 64, 64, device="meta")
    given = DrawSettings(particles_per_chunk=500, sequences_per_chunk=10_000)
    assert room.with_room(given, frames, None, 500) == given
    found = room.with_room(DrawSettings(particles_per_chunk=4), frames, None, 500)
    assert (found.particles_per_chunk, found.sequences_per_chunk) == (4, 2)


def test_an_automatic_guide_runs_all_sequences_at_once():
    """Its parameters are those of the sequences that it has seen."""
    frames = toy_data(sequences=5, time=3)
    model = ToyModel(ToyParameters.make())
    guide = AutoNormal(model)
    guide(frames)
    large = torch.empty(2000, 100, 1, 32, 32, device="meta")
    found = room.with_room(DrawSettings(), large, None, 100, guide)
    assert (found.particles_per_chunk, found.sequences_per_chunk) == (1, 2000)
    found = log_evidence(model, guide, frames, num_particles=20_000, particles_per_chunk=20_000)
    assert found.sequences_per_chunk == 5


def test_rungs_run_fewer_particles_where_frames_are_large():
    small, large = torch.empty(10, 20, 1, 8, 8, device="meta"), torch.empty(10, 100, 1, 64, 64, device="meta")
    assert _chunks(small, None, 32, 1) == {"sequences_per_chunk": 10, "particles_per_chunk": 32}
    assert _chunks(large, None, 32, 1) == {"sequences_per_chunk": 10, "particles_per_chunk": 2}
    assert _chunks(large, FIVO(2048), 8, 2048) == {"sequences_per_chunk": 1, "particles_per_chunk": 1}


def pair():
    torch.manual_seed(0)
    model = VariationalRecurrentNetwork((1, 16, 16), latent_dim=2, units=8, layers=1)
    return model, PriorCorrectionGuide(model)


def test_chosen_sizes_are_recorded_and_give_the_same_result(monkeypatch):
    frames = torch.zeros(6, 3, 1, 16, 16)
    monkeypatch.setattr(room, "ELEMENTS_AT_ONCE", 2 * 8 * frames[0].numel())
    found = log_evidence(*pair(), frames, num_particles=8)
    assert (found.particles_per_chunk, found.sequences_per_chunk) == (16, 2)
    monkeypatch.undo()
    again = log_evidence(*pair(), frames, num_particles=8, particles_per_chunk=16, sequences_per_chunk=2)
    assert torch.equal(found.log_weights, again.log_weights)


@pytest.mark.slow
@pytest.mark.skipif(not RESET.exists(), reason="the peak of a process's memory is read from Linux's /proc")
@pytest.mark.parametrize("method", [None, FIVO(4), "calibration"], ids=["draws", "filters", "calibration"])
def test_memory_does_not_grow_with_the_number_of_videos(method, monkeypatch):
    """With room for a million elements; all of the videos at once have 15 million."""
    monkeypatch.setattr(room, "ELEMENTS_AT_ONCE", 1_000_000)
    model, guide = pair()

    def grown(number):
        frames = torch.rand(number, 4, 1, 16, 16, generator=torch.Generator().manual_seed(0)).round()
        RESET.write_text("5")
        before = memory("VmRSS")
        if method == "calibration":
            calibrate(model, guide, frames, num_draws=50)
        else:
            log_evidence(model, guide, frames, num_particles=50, method=method)
        return memory("VmHWM") - before

    grown(20)
    some, many = grown(60), grown(300)
    assert many < some + 100e6, (some, many)


def memory(name):
    """Bytes of this process, by the kernel's count."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
