"""`kinema recipes`: what it lists, and that its minutes are those of the records."""

import json
import re
from pathlib import Path
from statistics import mean

import pytest

from inference.cli import main
from inference.experiments.measured_minutes import MINUTES
from inference.recipes import RECIPES

RESULTS = Path(__file__).parents[2] / "results"


def recorded():
    """Minutes of the runs that were trained with all of their recipe's own options, by recipe."""
    found = {}
    for path in sorted(RESULTS.glob("*/timing.jsonl")):
        config = json.loads((path.parent / "config.json").read_text())
        recipe = RECIPES[config["recipe"]]
        usual = json.loads(json.dumps(recipe.options, default=str))
        options = {name: value for name, value in config["fields"].items() if name not in ("seed", "data")}
        last = json.loads(path.read_text().splitlines()[-1])
        machine = json.loads((path.parent / "provenance.json").read_text())[0]["machine"]
        alone = machine["threads"] == 1 and not machine["gpu"]
        same = all(usual.get(name) == value for name, value in options.items())
        if alone and same and last["step"] == recipe.num_steps:
            found.setdefault(recipe.name, []).append(last["seconds"] / 60)
    return {name: round(mean(minutes), 1) for name, minutes in found.items()}


def test_minutes_are_those_of_the_records():
    assert recorded()
    assert recorded() == MINUTES


def test_every_recipe_is_listed_below_its_paper(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.split(r"\s{2,}", lines[0].strip()) == [
        "recipe",
        "model",
        "videos",
        "steps",
        "batch",
        "minutes",
        "reproduces",
    ]
    rows = {line.split()[0]: line for line in lines[1:] if line.startswith("  ")}
    assert set(rows) >= set(RECIPES)
    assert f"{MINUTES['kvae-box-cpu']:.0f}" in re.split(r"\s{2,}", rows["kvae-box-cpu"].strip())
    assert "–" in re.split(r"\s{2,}", rows["sqair-mlp"].strip())
    papers = [line for line in lines if line and not line.startswith(" ") and re.search(r" \d{4}", line)]
    assert any(line.startswith("Fraccaro et al. 2017: ") for line in papers)
    assert all(": " in paper for paper in papers)


@pytest.mark.parametrize("name", ["kvae-box", "sqair-small", "vtssi", "spatio-temporal-balls"])
def test_every_option_is_explained(name, capsys):
    assert main(["train", name, "--help"]) == 0
    text = capsys.readouterr().out
    lines = [line.strip("│ ").strip() for line in text.splitlines()]
    options = [index for index, line in enumerate(lines) if line.startswith("--")]
    assert len(options) > 10
    for index in options:
        told = re.split(r"\s{2,}", lines[index], maxsplit=1)
        explained = (told[1] if len(told) > 1 else "") + " ".join(lines[index + 1 : index + 2])
        assert re.search(r"[a-z]{3}", explained.split("(default")[0]), lines[index]
