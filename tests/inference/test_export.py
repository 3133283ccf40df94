"""Exported files: that others can read them, and that they say what the run infers."""

import csv
import json

import numpy as np
import pytest
import torch

import inference
from inference.cli import main
from inference.evidence.tables import ComparedModel, Comparison
from inference.experiments import export
from inference.experiments.evaluation import write_evaluation
from pyro_models.components.scene import Scene
from tests.inference.test_reports import BOUNDS
from videos.tracks import read_tracks


def test_tracks_are_those_of_the_scene(tmp_path):
    positions = torch.tensor([[[[3.0, 5.0], [9.0, 9.0]]] * 2, [[[1.0, 1.0], [2.0, 2.0]]] * 2])
    presence = torch.tensor([[[1.0, 0.0], [0.9, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    scene = Scene(presence, positions, torch.full((2, 2, 2, 2), 4.0), identities=torch.tensor([[[7, -1], [7, 8]]] * 2))
    written = export._write_tracks(tmp_path, export._tracks(scene))
    assert [path.name for path in written] == ["tracks.csv", "0000.txt"]
    rows = list(csv.DictReader((tmp_path / "tracks.csv").read_text().splitlines()))
    assert [(row["sequence"], row["frame"], row["identity"]) for row in rows] == [
        ("0", "0", "7"),
        ("0", "1", "7"),
        ("0", "1", "8"),
    ]
    assert [float(rows[1][name]) for name in ("x", "y", "width", "height", "presence")] == pytest.approx(
        [3, 5, 4, 4, 0.9]
    )
    read = read_tracks(tmp_path / "tracks" / "0000.txt")
    assert torch.allclose(read.positions[0], torch.tensor([3.0, 5.0], dtype=torch.float64))
    assert read.identities.tolist() == [7, 7, 8]
    assert export._tracks(Scene(presence=presence)) == []


def test_comparison_is_written_as_json():
    model = ComparedModel(
        name="a", log_evidence=-1.0, standard_error=float("nan"), elbo=-2.0, monte_carlo_error=0.1,
        effective_sample_size=2.0, unreliable=0.0, num_particles=8, num_sequences=1, verdict="converged",
        difference=0.0, difference_error=0.0, interval=(-1.0, float("inf")), p_value=float("nan"), significant=False,
        difference_monte_carlo=0.0,
    )  # fmt: skip
    record = json.loads(json.dumps(Comparison((model,), 1, ("few",)).record(), allow_nan=False))
    assert record["models"][0]["p_value"] is None
    assert record["models"][0]["interval"] == [-1.0, None]
    assert record["warnings"] == ["few"]


@pytest.mark.slow
@pytest.mark.ci
def test_runs_are_exported_and_compared(tmp_path, capsys, monkeypatch):
    tiny = "--network mlp --num-train 16 --num-validation 4 --num-test 4 --batch-size 8 --epochs 2 --frozen-epochs 1"
    first, second = tmp_path / "first", tmp_path / "second"
    for path, seed in ((first, "0"), (second, "1")):
        assert main(["train", "kvae-demo", "--run", str(path), "--seed", seed, "--quiet", *tiny.split()]) == 0
    out = tmp_path / "out"
    assert main(["export", str(first), "--output", str(out), "--num-sequences", "2"]) == 0
    captured = capsys.readouterr()
    assert "no evidence.json, as the run has not been evaluated" in captured.err
    assert main(["export", str(first), "--output", str(out)]) == 2
    assert "which has files in it; --overwrite adds to it" in capsys.readouterr().err
    run = inference.load(first)
    codes = np.load(out / "codes.npz")
    assert codes["a"].shape == (2, 20, 2)
    assert np.array_equal(codes["frames"], run.test.frames[:2].numpy())
    assert np.load(out / "samples.npz")["expected_frames"].shape == (2, 20, 1, 32, 32)
    assert [path.suffix for path in out.glob("film.*")] in ([".mp4"], [".gif"])
    write_evaluation(run.folder, inference.experiments.evaluation.Evaluation("kvae-demo", 4, BOUNDS, 20))
    monkeypatch.setattr("inference.pictures.track_films.opencv", _missing)
    written = run.export(tmp_path / "again", num_sequences=1)
    assert [path.name for path in written] == ["codes.npz", "samples.npz", "evidence.json", "film.gif"]
    assert json.loads((tmp_path / "again" / "evidence.json").read_text())["bounds"]["elbo"] == BOUNDS.elbo
    words = ["compare", str(first), str(second), "--num-sequences", "3", "--evidence-particles", "32"]
    assert main([*words, "--json", str(tmp_path / "compared.json")]) == 0
    record = json.loads((tmp_path / "compared.json").read_text())
    assert record["runs"] == {"first": str(first), "second": str(second)}
    assert {model["name"] for model in record["comparison"]["models"]} == {"first", "second"}
    assert record["comparison"]["num_sequences"] == 3
    assert record["provenance"]["versions"]["torch"] == torch.__version__


def _missing():
    raise ImportError("no OpenCV")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export nowhere", "is not there"),
        ("compare a b --json b.txt", "--json: expected a file ending in .json, got b.txt"),
    ],
)
def test_mistakes_are_answered_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err
