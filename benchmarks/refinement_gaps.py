"""What iterative refinement closes of the gap of trained guides: bound and evidence before and after.

    python benchmarks/refinement_gaps.py runs/kvae-box-cpu-0 runs/dmm-pendulum-0 runs/air-small-0

For each run and each number of steps, an `IterativeRefinementGuide` starts from the run's guide, and its updates alone
are trained, on the run's own videos. The loss is the sum of the bounds after every step (`IntermediateBounds`): of
`VIMCO` if the model has discrete latents, else of one draw. Test videos are scored with the run's guide and with each
refined one. The gap is to the highest of their estimates of the log evidence, all of which are lower bounds in
expectation. Milliseconds are those of one run of the guide on all test videos, per video, without gradients.

Writes a record with provenance.
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from tqdm import trange

from guides import IterativeRefinementGuide, describe_sites
from inference.estimators import VIMCO
from inference.estimators.intermediate_bounds import IntermediateBounds
from inference.evidence import Budget, log_evidence
from inference.experiments.evaluate import bounds_of
from inference.experiments.evaluation import Bounds
from inference.experiments.runs import TrainedRun, load_run
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.svi.step import SVI
from videos.batch import VideoBatch


@dataclass(frozen=True)
class Score:
    """One guide of one run.

    Attributes:
        run: name of the run's folder.
        steps: number of refinements; 0 = the run's own guide.
        bounds: nats per sequence.
        gap: highest estimate of the log evidence minus the bound, nats per sequence.
        milliseconds: of inference, per video.
    """

    run: str
    steps: int
    bounds: Bounds
    gap: float
    milliseconds: float


def refined(run: TrainedRun, steps: int, options: argparse.Namespace) -> IterativeRefinementGuide:
    """The run's guide with refinements trained on frozen weights of model and guide."""
    torch.manual_seed(options.seed)
    model: Any = run.model
    guide = IterativeRefinementGuide(model, run.guide, steps=steps, gradients=options.gradients).to(options.device)
    for parameter in [*model.parameters(), *run.guide.parameters()]:
        parameter.requires_grad_(False)
    guide.train()
    guide.start.eval()
    table = describe_sites(model, *run.test.select(slice(0, 1)).arguments)
    estimator = VIMCO(5) if any(site.discrete for site in table.latent) else Trace_ELBO()
    optimizer = torch.optim.Adam(guide.updates.parameters(), options.learning_rate)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.training_steps)
    svi = SVI(model, guide, optimizer, IntermediateBounds(estimator), compile=options.compile)
    source = run.recipe.training_source(run.recipe.splits().train)
    for step in trange(options.training_steps, desc=f"{run.folder.path.name}, {steps} refinements"):
        svi.step(*source.batch(step).to(options.device).arguments)
        rates.step()
    return guide.eval()


def measure(model: Any, guide: Any, videos: VideoBatch, options: argparse.Namespace) -> Bounds:
    """Bounds and evidence on the given videos."""
    pair = (model, guide, *videos.arguments)
    start = time.monotonic()
    evidence = log_evidence(*pair, method=Budget(particles=options.evidence_particles), seed=options.seed)
    seconds = (time.monotonic() - start) / videos.num_sequences
    chunks = {"particles_per_chunk": min(25, options.num_particles), "sequences_per_chunk": 4}
    weighed = log_evidence(*pair, num_particles=options.num_particles, **chunks, seed=options.seed)
    return bounds_of(evidence, weighed, seconds)


@torch.no_grad()
def milliseconds(guide: Any, videos: VideoBatch, repetitions: int = 10) -> float:
    """Median time of inference per video, after as many runs to warm up."""
    times = []
    for _ in range(2 * repetitions):
        if videos.frames.is_cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        guide(*videos.arguments)
        if videos.frames.is_cuda:
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began) / videos.num_sequences)
    return statistics.median(times[repetitions:])


def scored(path: Path, options: argparse.Namespace) -> list[Score]:
    """The run's guide, and one refined guide for each number of steps."""
    run = load_run(path, options.device)
    videos = run.test.select(slice(0, options.num_sequences))
    guides = {0: run.guide} | {steps: refined(run, steps, options) for steps in options.refinements}
    bounds = {steps: measure(run.model, guide, videos, options) for steps, guide in guides.items()}
    best = max(one.log_evidence for one in bounds.values())
    scores = [
        Score(run.folder.path.name, steps, bounds[steps], best - bounds[steps].elbo, milliseconds(guide, videos))
        for steps, guide in guides.items()
    ]
    for one in scores:
        print(
            f"{one.run:24} {one.steps} refinements  ELBO {one.bounds.elbo:10.2f}  "
            f"{'lower bound' if one.bounds.is_lower_bound else 'log evidence'} {one.bounds.log_evidence:10.2f}  "
            f"gap {one.gap:8.2f}  {one.milliseconds:8.3f} ms",
            flush=True,
        )
    return scores


def main() -> None:
    """Train refinements, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--refinements", nargs="+", type=int, default=[1, 2, 4], help="numbers of steps (%(default)s)")
    parser.add_argument("--training-steps", type=int, default=500, help="of the updates (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--gradients", default="first_order", help="mode of the guide (%(default)s)")
    parser.add_argument("--compile", default="off", help="see inference.SVI (%(default)s)")
    parser.add_argument("--num-sequences", type=int, default=32, help="test videos (%(default)s)")
    parser.add_argument("--num-particles", type=int, default=1000, help="draws of a guide for its bounds (%(default)s)")
    parser.add_argument("--evidence-particles", type=int, default=512, help="most particles of a repeat (%(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/refinement_gaps.json"))
    options = parser.parse_args()
    scores = [one for path in options.runs for one in scored(path, options)]
    settings = {key: value for key, value in vars(options).items() if key not in ("runs", "output")}
    record = {"provenance": provenance(options.seed), "settings": settings, "scores": [asdict(one) for one in scores]}
    write_bytes(options.output, json.dumps(record, indent=1).encode())
    print(options.output)


if __name__ == "__main__":
    main()
