"""Does a compiled step train as well? One recipe with several seeds, with eager and with compiled steps.

    python benchmarks/compiled_training.py --output runs/compiled --data data/kvae --epochs 8 --decay cosine

Trains every seed in each mode and writes `compiled_training.json`: the best validation bound (of the training loss,
without site weights) and the time. Rounding differs between modes, so two runs of one seed drift apart like runs of two
seeds; their final quality should agree. Existing runs are resumed, finished ones are kept.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference.cli.recipes import with_words
from inference.experiments.runs import train_recipe
from inference.recipes import RECIPES, Recipe
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.svi.compiled import COMPILE_MODES


def trained(name: str, recipe: Recipe, compile: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one seed in one mode, resuming an existing run; its record."""
    path = options.output / f"{name}-{compile}-{recipe.seed}"
    result = train_recipe(recipe, path, device=options.device, compile=compile)
    print(f"{path.name}: {result.best_bound:.2f} nats per sequence in {result.seconds / 60:.1f} minutes", flush=True)
    return asdict(result) | {"compile": compile, "seed": recipe.seed}


def main() -> None:
    """Train, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="kvae-box-cpu", choices=sorted(RECIPES))
    parser.add_argument("--compile", nargs="+", default=["off", "inductor"], choices=COMPILE_MODES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("runs/compiled"))
    parser.epilog = "Other options are those of the recipe, as in kinema train RECIPE --help."
    options, words = parser.parse_known_args()
    recipe, _ = with_words(RECIPES[options.recipe], words, prog=f"compiled_training.py --recipe {options.recipe}")
    runs = [
        trained(options.recipe, recipe.with_options(seed=seed), compile, options)
        for seed in options.seeds
        for compile in options.compile
    ]
    record = {"provenance": provenance(options.seeds[0]), "recipe": options.recipe, "runs": runs}
    write_bytes(options.output / "compiled_training.json", json.dumps(record, indent=1).encode())
    print(options.output / "compiled_training.json")


if __name__ == "__main__":
    main()
