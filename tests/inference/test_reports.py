"""The page of a run: what it says, that nothing is loaded from elsewhere, and that a browser shows it."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from inference.cli import main
from inference.evidence import Budget
from inference.evidence.importance import RELIABLE_K
from inference.experiments.evaluate import evaluate
from inference.experiments.evaluation import Bounds, read_evaluation, write_evaluation
from inference.gallery.picture import caption_of
from inference.pictures.training_curves import History, training_panels
from inference.recipes import RECIPES
from inference.reports.diagnosis import MEANINGS, diagnose
from inference.reports.page import write_report
from inference.reports.record import read_run
from inference.runs.folder import RunFolder
from tests.inference.reports_browser import open_page

RESULTS = Path(__file__).parents[2] / "results"
BOUNDS = Bounds(
    -80.0, 0.5, -60.0, 0.4, 100, 50, 0.25, verdict="converged", reasons="agreed", effective_sample_size=40.0
)


def make(folder, name, record="kvae-box-cpu-0", steps=6000):
    """A run like one of the results, with curves of its training and two pictures."""
    path = folder / name
    shutil.copytree(RESULTS / record, path)
    with open(path / "metrics.jsonl", "w") as metrics, open(path / "timing.jsonl", "w") as timing:
        for step in range(50, steps + 1, 50):
            values = {
                "step": step,
                "stage": 0,
                "loss": 5000 / step,
                "gradient_norm": 1 + step % 7,
                "learning_rate": 0.01,
            }
            values |= {"validation_bound": -6000 / step} if step % 500 == 0 else {}
            metrics.write(json.dumps(values) + "\n")
            timing.write(json.dumps({"step": step, "seconds": step * 0.2}) + "\n")
    (path / "pictures").mkdir()
    Image.new("RGB", (1200, 200), "black").save(path / "pictures" / "imputation-0.png")
    pages = [Image.new("RGB", (600, 120), colour) for colour in ("black", "white")]
    pages[0].save(path / "pictures" / "imputation-0.gif", save_all=True, append_images=pages[1:])
    return path


class Links(HTMLParser):
    """Everything that a page would load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "xlink:href") and value]


def test_page_loads_nothing_and_says_what_the_records_say(tmp_path):
    text = write_report([make(tmp_path, "ball")], tmp_path / "page.html").read_text()
    links = Links()
    links.feed(text)
    assert len([link for link in links.found if link.startswith("data:image")]) == 2
    assert [link for link in links.found if not link.startswith(("data:", "#"))] == []
    assert not re.search(r"url\((?!#)|@import", text)
    evaluation = json.loads((RESULTS / "kvae-box-cpu-0" / "evaluation.json").read_text())
    assert f"{evaluation['bounds']['log_evidence']:.2f}" in text
    assert (
        "<small>passes over the training sequences" not in text
    )  # an option with the recipe's own value is not listed
    assert "6,000 of 12,000 steps in 20.0 minutes" in text
    for part in (
        "Fraccaro et al. 2017",
        "kinema train",
        "Intel(R) Xeon(R) Processor",
        "KVAE smoothing, paper",
        "0.0057",
    ):
        assert part in text
    assert "smoothing uses the frames before and after the gap" in text
    assert text.count("<svg") == 4


def test_runs_are_overlaid_and_side_by_side(tmp_path):
    paths = [make(tmp_path, "ball"), make(tmp_path, "memory", "ae-rnn-box-cpu-0")]
    text = write_report(paths, tmp_path / "page.html").read_text()
    assert text.count("<svg") == 4
    assert {"--run-0)", "--run-1)"} <= set(re.findall(r"--run-\d\)", text))
    head = re.search(r"<thead>.*?</thead>", text[text.index("Scores on held-out videos") :], re.DOTALL)
    assert re.findall('<th scope="col">([^<]+)</th>', head[0]) == ["ball", "memory"]
    assert "ball, smoothing" in text


def test_what_is_missing_is_named_with_its_command(tmp_path):
    path = make(tmp_path, "ball")
    (path / "evaluation.json").unlink()
    shutil.rmtree(path / "pictures")
    text = write_report([path], tmp_path / "page.html").read_text()
    assert f"kinema evaluate {path}" in text
    assert f"kinema render {path}" in text


def test_an_evaluation_of_earlier_weights_is_named(tmp_path, monkeypatch):
    path = make(tmp_path, "ball")
    record = replace(read_run(path), best={"step": 99, "validation_bound": -1.0})
    assert record.is_stale
    assert not read_run(path).is_stale


def test_words_of_others_are_escaped(tmp_path):
    path = make(tmp_path, "ball")
    evaluation = read_evaluation(RunFolder.open(path))
    write_evaluation(
        RunFolder.open(path), replace(evaluation, bounds=replace(BOUNDS, reasons="<script>alert(1)</script>"))
    )
    text = write_report([path], tmp_path / "page.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_run_without_a_recipe_has_a_page(tmp_path):
    run = RunFolder.start(tmp_path / "own", {"width": 3}, seed=0)
    for step in (10, 20):
        run.append_metrics({"step": step, "loss": 3.0 / step}, seconds=float(step))
    text = write_report([run.path], tmp_path / "page.html").read_text()
    assert "Trained without a recipe" in text
    assert "width" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("report", "runs: expected the folders of the runs to report on, got none; kinema report RUN"),
        ("report nowhere", "is not there"),
        ("report ball --output page.pdf", "--output: expected a file ending in .html, got page.pdf"),
        ("report ball other/ball", "got two with the name 'ball'; rename one of them"),
    ],
)
def test_mistakes_are_answered_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    make(tmp_path, "ball")
    make(tmp_path / "other", "ball")
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    captured = capsys.readouterr().err
    assert message in captured
    assert captured.count("\n") == 1


def test_diagnosis_says_how_far_to_rely_on_a_number():
    sentences = diagnose(BOUNDS)
    assert sentences[0] == MEANINGS["converged"]
    assert "20.00 nats per sequence below it" in sentences[2]
    assert f"exceeds {RELIABLE_K} in 25% of the sequences" in sentences[3]
    bound = diagnose(
        replace(BOUNDS, verdict="lower bound", effective_sample_size=1.2, reconstruction=-79.9, divergence=0.1)
    )
    assert bound[0].startswith("This is a lower bound")
    assert not any("Kullback-Leibler" in sentence for sentence in bound)
    assert any("1.2 count on average" in sentence for sentence in bound)
    assert any("collapse" in sentence for sentence in bound)


def test_panels_show_what_was_recorded():
    metrics = [{"step": 1, "loss": 4.0, "gradient_norm": None}, {"step": 2, "loss": 3.0, "validation_bound": -2.5}]
    timing = [{"step": 1, "seconds": 5.0}, {"step": 2, "seconds": 6.0}]
    bound, seconds = training_panels({"a": History(metrics, timing)})
    assert [(line.dashed, line.values) for line in bound.lines] == [(True, [-4.0, -3.0]), (False, [-2.5])]
    assert seconds.lines[0].values == [5.0, 1.0]
    titles = [panel.title for panel in training_panels({"a": History(metrics, loss_is_bound=False)})]
    assert titles == ["bound, nats per sequence", "loss, nats per sequence"]
    assert training_panels({"a": History([], timing[:1])}) == []


def test_every_picture_has_captions():
    pictures = {type(picture) for recipe in RECIPES.values() for picture in recipe.pictures()}
    assert pictures
    assert [kind.__name__ for kind in pictures if not kind.captions] == []
    known = RECIPES["kvae-box"].pictures()
    captions = {name: caption_of(known, Path(name)) for name in ("imputation-0.png", "imputation-errors.png", "x.png")}
    assert captions["imputation-0.png"].startswith("A test video, a row for each way")
    assert captions["imputation-errors.png"].startswith("Share of wrong pixels")
    assert captions["x.png"] == ""


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("width", [400, 1200])
def test_page_in_a_browser(tmp_path, width):
    page = write_report([make(tmp_path, "ball"), make(tmp_path, "memory", "ae-rnn-box-cpu-0")], tmp_path / "page.html")
    said, logged = open_page(page, tmp_path, width=width)
    assert logged == ""
    assert (said["images"], said["broken"]) == (4, 0)
    assert said["charts"] > 20
    assert said["content"] <= said["width"]  # nothing makes the page scroll sideways
    assert said["smallest"] > 9.5  # pixels


@pytest.mark.slow
def test_complete_evaluates_and_renders(tmp_path, monkeypatch):
    few = {"num_particles": 4, "num_evidence_sequences": 2, "budget": Budget(particles=32), "num_masks": 1}
    monkeypatch.setattr("inference.reports.page.evaluate", partial(evaluate, **few))
    path = str(tmp_path / "tiny")
    tiny = "--network mlp --num-train 16 --num-validation 4 --num-test 4 --batch-size 8 --epochs 2 --frozen-epochs 1"
    assert main(["train", "kvae-demo", "--run", path, "--quiet", *tiny.split()]) == 0
    assert main(["report", path]) == 0
    assert "kinema evaluate" in (tmp_path / "tiny" / "report.html").read_text()
    assert main(["report", path, "--complete"]) == 0
    text = (tmp_path / "tiny" / "report.html").read_text()
    assert "kinema render" not in text
    assert read_run(path).evaluation is not None
    assert text.count("data:image/gif") >= 1
