"""A model that has its guide's memory: no video is drawn from it, and its evidence is that of both together."""

import itertools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.nn import PyroModule

from guides import IterativeRefinementGuide, RefinementNetwork, SpatioTemporalRefinementGuide, check_guide
from inference import FIVO, SMC, Annealing, Budget, bracket, calibrate, log_evidence, sandwich
from inference.gallery.objects import TrackPictures
from inference.predictive.mask_marginals import integrates_out
from inference.programs.simulation import simulate
from inference.queries import generate
from inference.scores.score import Evaluated
from pyro_models import BroadcastDecoder, SlotMemory, SpatioTemporalMixture
from tests.contracts.scores import score
from videos import VideoBatch

SHAPE, NODES = (1, 4, 4), 5
FRAMES = torch.rand(2, 2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def pair(memory="guide"):
    """Two slots of one number each, small enough for quadrature; the memory matters as it might after training."""
    torch.manual_seed(0)
    decoder = BroadcastDecoder(SHAPE, 1, 4, channels=4, layers=2, halvings=1)
    model = SpatioTemporalMixture(SHAPE, num_slots=2, decoder=decoder, memory=memory, units=4, frame_scale=0.5)
    network = RefinementNetwork(SHAPE, 1, 4, channels=4, layers=2)
    with torch.no_grad():
        for weights in (model.prior_mean.weight, decoder.code[0].weight, network.cell.from_input.weight):
            weights *= 5
        network.step.weight *= 0.1  # q stays wide
    guide = SpatioTemporalRefinementGuide(model, refinements=2, network=network)
    with torch.no_grad():
        guide.start_log_variance.fill_(0.5)  # wider than the posterior, so that weights are bounded
    return model.double().eval(), guide.double().eval()


def memories(guide, frames, latents, particles):
    """What the guide remembers after each frame, given latents."""
    with torch.no_grad(), pyro.plate("_particles", particles, dim=-4):
        trace = poutine.trace(poutine.condition(guide, latents)).get_trace(frames)
    return {name: trace.nodes[name]["value"] for name in ("h_1", "h_2")}


def exact_log_evidence(model, guide, frames):
    """Gauss-Hermite quadrature over all four latents of a sequence, with the memory that the guide has at each node."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    grid = torch.tensor(list(itertools.product(nodes, repeat=4)))
    shares = torch.tensor(list(itertools.product(weights / math.sqrt(2 * math.pi), repeat=4))).prod(-1)
    cells = grid.reshape(-1, 1, 2, 2, 1, 1).expand(-1, 1, 2, 2, len(frames), 1)  # particles, 1, frame, slot, sequence
    latents = {"z_1": cells[:, :, 0], "z_2": cells[:, :, 1]}
    everything = {**latents, **memories(guide, frames, latents, len(grid))}
    with torch.no_grad():
        log_joint = score(model, (frames, None, None), everything, len(grid), 3)
    standard = dist.Normal(0.0, 1.0).log_prob(grid).sum(-1)
    return torch.logsumexp(log_joint + (shares.log() - standard)[:, None], 0)


def test_evidence_is_that_of_the_pair():
    model, guide = pair()
    exact = exact_log_evidence(model, guide, FRAMES)
    check_guide(model, guide, FRAMES)
    for method, number in ((None, 1000), (FIVO(40), 25)):
        found = log_evidence(model, guide, FRAMES, method=method, num_particles=number, particles_per_chunk=number)
        assert (found.standard_error < 0.02).all()
        assert ((found.log_evidence - exact).abs() < 4 * found.standard_error).all()
        assert found.verdict.words.endswith("; evidence of model and guide together, which changes with the guide")
    torch.manual_seed(1)
    other = SpatioTemporalRefinementGuide(
        model, refinements=2, network=RefinementNetwork(SHAPE, 1, 4, channels=4, layers=2)
    )
    changed = exact_log_evidence(model, other.double().eval(), FRAMES)
    assert (changed - exact).abs().min() > 0.01


def test_a_memory_knows_no_later_frame():
    """Otherwise p(x, z) would be no joint distribution."""
    _, guide = pair()
    latents = {f"z_{number}": torch.randn(1, 1, 2, 2, 1, dtype=torch.float64) for number in (1, 2)}
    later = torch.cat([FRAMES[:, :1], FRAMES[:, 1:].flip(-1)], 1)
    one, other = memories(guide, FRAMES, latents, 1), memories(guide, later, latents, 1)
    assert torch.equal(one["h_1"], other["h_1"])
    assert not torch.equal(one["h_2"], other["h_2"])


ALONE = "has the guide's memory; give it one of its own, memory=SlotMemory.*, in recipes --memory model"
DRAWS = f"SpatioTemporalMixture cannot draw videos without its guide: it {ALONE}"
STAYS = f"latents of SpatioTemporalMixture cannot be annealed: it {ALONE}; or .* method=FIVO"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model, guide: generate(model, 2, 3), DRAWS),
        (lambda model, guide: simulate(poutine.block(model), FRAMES), DRAWS),
        (lambda model, guide: bracket(model, guide, FRAMES), DRAWS),
        (lambda model, guide: calibrate(model, guide, FRAMES), DRAWS),
        (lambda model, guide: sandwich(model, guide, FRAMES), DRAWS),
        (lambda model, guide: log_evidence(model, guide, FRAMES, method=Annealing(), num_particles=2), STAYS),
        (lambda model, guide: log_evidence(model, guide, FRAMES, method=SMC(4), num_particles=2), STAYS),
        (
            lambda model, guide: IterativeRefinementGuide(model, start="prior"),
            f"start: expected 'base' .* SpatioTemporalMixture draws no latents .* got 'prior': it {ALONE}",
        ),
    ],
    ids=["generate", "simulate", "bracket", "calibrate", "sandwich", "annealing", "population", "refinement"],
)
def test_what_needs_the_prior_is_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(*pair())


def test_a_certified_budget_says_why_there_is_no_bracket():
    found = log_evidence(*pair(), FRAMES[:1, :1], method=Budget(particles=32, certify=True))
    assert found.bracket_width is None
    assert "no bracket, since the model cannot draw videos without its guide" in found.verdict.words


def test_models_with_their_own_memory_need_no_guide():
    model, _ = pair(SlotMemory(1, 4))
    assert model.needs_guide is None
    assert generate(model, 2, 2).frames.shape == (2, 2, *SHAPE)
    frame_by_frame = SpatioTemporalMixture(SHAPE, decoder=BroadcastDecoder(SHAPE, 1, 0, channels=4, layers=2))
    assert frame_by_frame.needs_guide is None


def test_gaps_are_not_integrated_out():
    """Across a gap the memory is that of an expected frame; frames at the end touch no earlier one."""
    model, guide = pair()
    frames = torch.rand(2, 3, *SHAPE, dtype=torch.float64)
    for missing, shown in (((False, True, False), False), ((False, False, True), True)):
        held_out = torch.tensor([missing]).expand(2, 3)
        assert integrates_out(model, guide, (frames, ~held_out, None), held_out) == shown
        assert integrates_out(*pair(SlotMemory(1, 4)), (frames, ~held_out, None), held_out)


class TakesItsLatent(PyroModule):
    """Says that it needs its guide; its latent has a density nonetheless."""

    needs_guide = "has the guide's memory; give it one"

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", len(frames), dim=-1):
            z = pyro.sample("z", dist.Normal(frames.new_zeros(()), 1.0))
            with pyro.plate("time", frames.shape[1], dim=-2):
                pyro.sample("frames", dist.Normal(z[..., None, None, None], 1.0).to_event(3), obs=frames.mT)


def test_point_masses_at_sites_with_a_density_have_no_evidence():
    def guide(frames, observed=None, controls=None):
        with pyro.plate("sequences", len(frames), dim=-1):
            pyro.sample("z", dist.Delta(frames.mean((1, 2, 3, 4))))

    with pytest.raises(ValueError, match="'z' is a point mass"):
        log_evidence(TakesItsLatent(), guide, FRAMES[:, :2].mT.mT, num_particles=2)


def test_the_picture_of_generated_videos_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.gallery.objects.NUM_FILMS", 1)
    videos = VideoBatch(torch.rand(2, 3, *SHAPE, dtype=torch.float64))
    for memory, names in (("guide", {"tracks.png", "forecast.png"}), (SlotMemory(1, 4), {"generated.png"})):
        written = TrackPictures(followed=1, switches=False).draw(Evaluated(*pair(memory), videos), tmp_path)
        assert {path.name for path in written} >= names
        assert ("generated.png" in {path.name for path in written}) == (memory != "guide")
