"""One trained Kalman VAE, scored with each of its guides: what a guide costs, in nats per sequence.

    python benchmarks/swapped_guides.py runs/kvae-box-cpu-0

The collapsed and the joint guide have the same bound; the reference code's product of smoothed marginals is looser by
KL(prod_t p(z_t | a) || p(z | a)), more so with missing frames. The recurrent guide, which amortises the states, is
first trained on the frozen model. The record has importance-weighted bounds, the estimate of
`log_evidence(method="auto")` with each guide, and its verdict; it is written to `guides.json` in the run's folder.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from tqdm import tqdm, trange

from guides.recurrent_states import RecurrentStateGuide
from inference.evidence import Budget, log_evidence
from inference.experiments.evaluate import bounds_of
from inference.experiments.evaluation import Bounds
from inference.experiments.runs import TrainedRun, load_run
from inference.recipes.kalman_vae import KalmanVAEPair
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.svi.step import SVI
from videos.batch import VideoBatch
from videos.missing import gap


@dataclass(frozen=True)
class Score:
    """Bounds and evidence of one guide under one pattern of missing frames."""

    guide: str
    missing: str
    bounds: Bounds


def swapped(run: TrainedRun, posterior: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The run's weights in a model and guide with another posterior over states."""
    recipe = run.recipe
    assert isinstance(recipe.pair, KalmanVAEPair)
    model, guide = recipe.with_options(posterior=posterior).build()
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


def measure(model: Any, guide: Any, videos: VideoBatch, particles: int, budget: Budget, seed: int) -> Bounds:
    """Bounds and evidence on the given videos."""
    pair = (model, guide, *videos.arguments)
    start = time.monotonic()
    evidence = log_evidence(*pair, method=budget, seed=seed)
    seconds = (time.monotonic() - start) / videos.num_sequences
    chunks = {"particles_per_chunk": min(25, particles), "sequences_per_chunk": 4}
    return bounds_of(evidence, log_evidence(*pair, num_particles=particles, **chunks, seed=seed), seconds)


def main() -> None:
    """Score every guide with all frames seen and with a gap of twelve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--num-sequences", type=int, default=32)
    parser.add_argument("--num-particles", type=int, default=1000, help="draws of a guide for its bounds (%(default)s)")
    parser.add_argument("--evidence-particles", type=int, default=512, help="most particles of a repeat (%(default)s)")
    parser.add_argument("--guide-steps", type=int, default=2000, help="training steps of the recurrent guide")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run = load_run(options.run)
    pairs = {posterior: swapped(run, posterior) for posterior in ("collapsed", "joint", "marginals")}
    pairs["recurrent"] = recurrent(run, options.guide_steps, options.seed)
    videos = run.test.select(slice(0, options.num_sequences))
    twelve = gap(videos.num_sequences, videos.num_frames, 12)
    budget, scores = Budget(particles=options.evidence_particles), []
    with tqdm(total=2 * len(pairs), desc="evidence", unit="guide") as bar:
        for missing, observed in (("none", None), ("12 in a row", twelve)):
            for name, pair in pairs.items():
                masked = videos.with_observed(observed)
                bounds = measure(*pair, masked, options.num_particles, budget, options.seed)
                scores.append(Score(name, missing, bounds))
                bar.update()
    record = {
        "provenance": provenance(options.seed),
        "num_sequences": videos.num_sequences,
        "scores": [asdict(one) for one in scores],
    }
    write_bytes(options.run / "guides.json", json.dumps(record, indent=1).encode())
    for one in scores:
        found = one.bounds
        print(
            f"{one.missing:12} {one.guide:10} ELBO {found.elbo:9.2f}  "
            f"{'lower bound' if found.is_lower_bound else 'log evidence':12} {found.log_evidence:9.2f}"
        )


if __name__ == "__main__":
    main()
