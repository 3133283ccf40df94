"""One trained Kalman VAE, scored through each of its guides: what a guide costs, in nats per sequence.

    python benchmarks/swapped_guides.py runs/kvae-box-cpu-0

The collapsed and the joint guide have the same bound; the reference code's product of smoothed marginals is looser by
KL(prod_t p(z_t | a) || p(z | a)), more so with missing frames. The recurrent guide, whose states are amortised, is
trained first on the frozen model. Written to `guides.json` in the run's folder.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from pyro.infer import Trace_ELBO
from tqdm import trange

from guides.recurrent_states import RecurrentStateGuide
from inference.checkpoints import write_bytes
from inference.evidence import log_evidence
from inference.provenance import provenance
from inference.recipe_runs import TrainedRun, load_run
from inference.recipes.kalman_vae import KalmanVAERecipe
from inference.svi import SVI
from videos.batch import VideoBatch
from videos.missing import gap


@dataclass(frozen=True)
class Score:
    """Bound and evidence of one guide under one pattern of missing frames, nats per sequence with standard errors."""

    guide: str
    missing: str
    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    effective_sample_size: float
    pareto_k_above: float


def swapped(run: TrainedRun, posterior: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The run's weights in a model and guide with another posterior over states."""
    recipe = run.recipe
    assert isinstance(recipe, KalmanVAERecipe)
    model, guide = replace(recipe, posterior=posterior).build()
    model.load_state_dict(run.model.state_dict())
    guide.load_state_dict(run.guide.state_dict())
    return model.eval(), guide.eval()


def recurrent(run: TrainedRun, steps: int, seed: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A recurrent guide for the frozen model and encoder, trained on the run's own videos."""
    model, trained = swapped(run, "joint")
    torch.manual_seed(seed)
    guide = RecurrentStateGuide(model, encoder=trained.encoder)
    for parameter in [*model.parameters(), *guide.encoder.parameters()]:
        parameter.requires_grad_(False)
    learned = [parameter for parameter in guide.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learned, 0.003)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    svi = SVI(model, guide, optimizer, Trace_ELBO(), clip_norm=3000.0)
    source = run.recipe.training_source(run.recipe.splits().train)
    for step in trange(steps, desc="recurrent guide"):
        svi.step(*source.batch(step).arguments)
        rates.step()
    return model.eval(), guide.eval()


def score(name: str, missing: str, model, guide, videos: VideoBatch, particles: int, seed: int) -> Score:
    """Bound and evidence on the given videos."""
    evidence = log_evidence(
        model,
        guide,
        *videos.arguments,
        num_particles=particles,
        particles_per_chunk=min(25, particles),
        sequences_per_chunk=4,
        seed=seed,
    )
    root = videos.num_sequences**0.5
    return Score(
        guide=name,
        missing=missing,
        elbo=evidence.elbo.mean().item(),
        elbo_error=(evidence.elbo.std() / root).item(),
        log_evidence=evidence.log_evidence.mean().item(),
        log_evidence_error=(evidence.log_evidence.std() / root).item(),
        effective_sample_size=evidence.effective_sample_size.mean().item(),
        pareto_k_above=(evidence.pareto_k > 0.7).double().mean().item(),
    )


def main() -> None:
    """Score every guide with all frames seen and with a gap of twelve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--num-sequences", type=int, default=32)
    parser.add_argument("--num-particles", type=int, default=1000)
    parser.add_argument("--guide-steps", type=int, default=2000, help="training steps of the recurrent guide")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run = load_run(options.run)
    pairs = {posterior: swapped(run, posterior) for posterior in ("collapsed", "joint", "marginals")}
    pairs["recurrent"] = recurrent(run, options.guide_steps, options.seed)
    videos = run.test.select(slice(0, options.num_sequences))
    twelve = gap(videos.num_sequences, videos.num_frames, 12)
    scores = [
        score(name, missing, *pair, videos.with_observed(observed), options.num_particles, options.seed)
        for missing, observed in (("none", None), ("12 in a row", twelve))
        for name, pair in pairs.items()
    ]
    record = {
        "provenance": provenance(options.seed),
        "num_particles": options.num_particles,
        "num_sequences": options.num_sequences,
        "scores": [asdict(one) for one in scores],
    }
    write_bytes(options.run / "guides.json", json.dumps(record, indent=1).encode())
    for one in scores:
        print(f"{one.missing:12} {one.guide:10} ELBO {one.elbo:9.2f}  log evidence {one.log_evidence:9.2f}")


if __name__ == "__main__":
    main()
