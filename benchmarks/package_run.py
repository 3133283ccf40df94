"""Make a packaged run of a trained one: weights in half precision, and a card.

    kinema evaluate runs/air-small-0
    python benchmarks/package_run.py runs/air-small-0 --name air-small --data-licence "MNIST, CC BY-SA 3.0" \
        --bad-at "Digits of other sizes."

The packaged weights are evaluated as the run was, and the card has both. If a bound differs by more than its standard
error, or a score by more than a hundredth, nothing is written: use --precision float32.
"""

import argparse
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from records import origin

from inference.cli import main as kinema
from inference.experiments.evaluation import EVALUATION, read_evaluation
from inference.experiments.evaluation_table import evaluation_table
from inference.experiments.packaged_runs import CARD, TRAINED
from inference.experiments.source_records import DATA_SET
from inference.runs.checkpoints import read_weights, write_bytes, write_weights
from inference.runs.folder import BEST, CHECKPOINTS, CONFIG, PROVENANCE, RunFolder
from inference.runs.json_files import to_json

SCORE_TOLERANCE = 0.01  # relative, for numbers without a standard error


def package(run: RunFolder, target: Path, half: bool) -> None:
    """Write the packaged run, without a card.

    Args:
        run: a trained run.
        target: an empty folder.
        half: whether weights are written in half precision.
    """
    (target / CHECKPOINTS).mkdir(parents=True)
    fields = run.config["fields"] | {"data": None}  # a path of this machine
    write_bytes(target / CONFIG, to_json({"recipe": run.config["recipe"], "fields": fields}))
    write_bytes(target / PROVENANCE, to_json(run.provenance))
    weights, record = read_weights(run.path / CHECKPOINTS / BEST)
    small = {name: value.half() if half and value.is_floating_point() else value for name, value in weights.items()}
    write_weights(target / CHECKPOINTS / BEST, small, record)


def numbers(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a record with its place."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from numbers(one, f"{place}.{name}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from numbers(one, f"{place}.{index}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, float(value)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Numbers of an evaluation that differ by more than rounding does, in words; times are left out."""
    errors = {"elbo": "elbo_error", "log_evidence": "log_evidence_error"}
    found, old = [], before["bounds"] or {}
    for name, error in errors.items():
        if name in old and abs(after["bounds"][name] - old[name]) > old[error]:
            found.append(f"{name}: {old[name]:.2f} before, {after['bounds'][name]:.2f} after")
    for (place, one), (_, other) in zip(numbers(before["scores"]), numbers(after["scores"]), strict=True):
        if not math.isclose(one, other, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE):
            found.append(f"scores{place}: {one:.4g} before, {other:.4g} after")
    return found


def card_of(options: argparse.Namespace, run: RunFolder, target: Path) -> str:
    """The card."""
    before, after = read_evaluation(run), read_evaluation(RunFolder.open(target))
    assert before is not None
    assert after is not None
    size = (target / CHECKPOINTS / BEST).stat().st_size
    data = run.config.get(DATA_SET) or run.config["fields"].get("world")
    return "\n".join(
        [
            f"# {options.name}",
            "",
            f"`kinema.load({options.name!r})`: recipe `{run.config['recipe']}`, seed {run.config['fields']['seed']}.",
            "",
            f"- Trained by {origin(run.provenance[0])}.",
            f"- Data: {data}. Licence of the data: {options.data_licence}.",
            f"- Weights: step {after.step}, {options.precision}, {size / 2**10:.0f} KiB, Apache-2.0.",
            f"- Bad at: {options.bad_at}",
            "",
            "Scores of these weights on test videos:",
            "",
            "```",
            evaluation_table(after),
            "```",
            "",
            "Scores of the run in single precision:",
            "",
            "```",
            evaluation_table(before),
            "```",
            "",
        ]
    )


def main() -> None:
    """Package, evaluate, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run that `kinema evaluate` has scored")
    parser.add_argument("--name", required=True, help="name of the weights")
    parser.add_argument("--data-licence", required=True, help="licence of the data, in words")
    parser.add_argument("--bad-at", required=True, help="what they are bad at, in words")
    parser.add_argument("--precision", choices=("float16", "float32"), default="float16")
    parser.add_argument(
        "--evaluate", nargs=argparse.REMAINDER, default=[], help="options of `kinema evaluate`, as before"
    )
    options = parser.parse_args()
    run = RunFolder.open(options.run)
    if read_evaluation(run) is None:
        raise SystemExit(f"{options.run}: expected a run with {EVALUATION}; first: kinema evaluate {options.run}")
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / options.name
        package(run, target, options.precision == "float16")
        if kinema(["evaluate", str(target), *options.evaluate]) != 0:
            raise SystemExit(f"{options.run}: its packaged weights could not be evaluated")
        before, after = (json.loads((path / EVALUATION).read_text()) for path in (run.path, target))
        if found := differences(before, after):
            raise SystemExit(f"{options.run}: {options.precision} changes scores: {'; '.join(found)}")
        write_bytes(target / CARD, card_of(options, run, target).encode())
        (target / EVALUATION).unlink()
        shutil.rmtree(TRAINED / options.name, ignore_errors=True)
        shutil.copytree(target, TRAINED / options.name)
    print(TRAINED / options.name)


if __name__ == "__main__":
    main()
