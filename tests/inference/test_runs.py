"""These tests pin: when a folder is a run, which changes are refused, and what a damaged file leads to."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from inference import RunFolder
from inference.runs.folder import changed_fields, describe
from inference.svi.schedules import LinearRamp


@pytest.fixture
def run(tmp_path):
    return RunFolder.start(tmp_path / "runs" / "one", {"steps": 5, "rate": 0.1, "nested": {"size": [2, 3]}}, seed=4)


def save(run, step, *, model=None, keep_last=2):
    model = nn.Linear(2, 3) if model is None else model
    run.append_metrics({"step": step, "loss": 1.5}, seconds=0.5)
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    return run.write_checkpoint(step, weights, {"step": step}, keep_last)


# what is a run


def test_a_new_run_has_its_configuration_and_provenance(run):
    again = RunFolder.open(run.path)
    assert again.config == {"steps": 5, "rate": 0.1, "nested": {"size": [2, 3]}}
    assert [entry["seed"] for entry in again.provenance] == [4]
    assert repr(again) == f"RunFolder({str(run.path)!r})"
    assert again.metrics() == []
    assert again.last_checkpoint() is None


def test_what_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(ValueError, match="run: expected a folder, '.*nowhere' is not there"):
        RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"run: '.*' is no run: it has no config.json \(it is empty\)"):
        RunFolder.open(tmp_path)
    for name in "edcbaf":
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=r"it has no config.json \(it holds a, b, c, d, e, ...\)"):
        RunFolder.open(tmp_path)
    with pytest.raises(ValueError, match="run: expected a folder, '.*a' is a file"):
        RunFolder.open(tmp_path / "a")
    with pytest.raises(ValueError, match=r"run: '.*' is neither empty nor a run \(it holds a, b"):
        RunFolder.start(tmp_path, {})
    with pytest.raises(ValueError, match=r"run: '.*a' is neither empty nor a run \(it is a file\)"):
        RunFolder.start(tmp_path / "a", {})


def test_a_folder_whose_start_was_cut_short_can_be_started(tmp_path, run):
    (run.path / "config.json").unlink()
    assert RunFolder.start(run.path, {"steps": 6}).config == {"steps": 6}


def test_a_damaged_configuration_is_named(run):
    (run.path / "config.json").write_text('{"steps": ')
    with pytest.raises(ValueError, match=r"config.json: expected JSON \("):
        RunFolder.open(run.path)


# configurations


def test_the_same_configuration_continues_a_run(run):
    again = RunFolder.start(run.path, dict(run.config), seed=4)
    assert len(again.provenance) == 2


def test_another_configuration_is_refused_by_field(run):
    message = (
        r"was started with another configuration: steps was 5, is 4; rate was 0.1, is 0.2; "
        r"nested.size\[1\] was 3, is 7; extra was 'absent', is True; give the old values, or another folder"
    )
    with pytest.raises(ValueError, match=message):
        RunFolder.start(
            run.path, {"steps": 4, "rate": 0.2, "nested": {"size": [2, 7]}, "extra": True}, may_grow=["steps"]
        )
    assert len(run.provenance) == 1


def test_named_numbers_may_grow(run):
    config = run.config | {"steps": 50}
    with pytest.raises(ValueError, match="steps was 5, is 50"):
        RunFolder.start(run.path, config)
    assert RunFolder.start(run.path, config, may_grow=["steps"]).config["steps"] == 50
    assert changed_fields({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, may_grow=["a[0].b"]) == []


def test_configurations_may_be_dataclasses_with_values_that_json_does_not_know(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Config:
        rate: LinearRamp = LinearRamp(0.0, 1.0, 5)
        sizes: tuple[int, ...] = (1, 2)
        folder: Path = Path("data")

    run = RunFolder.start(tmp_path / "run", Config())
    assert run.config["rate"] == "LinearRamp(start=0.0, end=1.0, steps=5, begin=0)"
    assert run.config["sizes"] == [1, 2]
    RunFolder.start(tmp_path / "run", Config())
    with pytest.raises(TypeError, match="config: expected a mapping or a dataclass, got int"):
        RunFolder.start(tmp_path / "other", 3)


def test_descriptions_have_no_addresses():
    assert " at 0x" not in describe(lambda: None)
    assert describe(nn.Linear) == repr(nn.Linear)


# metrics


def test_a_cut_off_last_line_is_left_out_with_a_warning(run):
    save(run, 1)
    with open(run.metrics_path, "a") as file:
        file.write('{"step": 2, "lo')
    with pytest.warns(
        UserWarning, match=r"metrics.jsonl: the last line was cut off \(no end of line\); leaving it out"
    ):
        assert [record["step"] for record in run.metrics()] == [1]


def test_a_line_that_is_not_json_is_named(run):
    save(run, 1)
    run.metrics_path.write_text("nonsense\n" + run.metrics_path.read_text())
    with pytest.raises(ValueError, match="metrics.jsonl: line 1 is not JSON"):
        run.metrics()


def test_growing_files_are_cut_back_to_a_checkpoint(run):
    save(run, 1)
    sizes = run.sizes()
    save(run, 2)
    run.cut_back(sizes)
    assert [record["step"] for record in run.metrics()] == [1]
    assert [record["step"] for record in run.timing()] == [1]


# checkpoints


def test_only_the_last_checkpoints_are_kept(run):
    for step in (1, 2, 3):
        save(run, step)
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["step-00000002", "step-00000003"]
    assert run.last_checkpoint().state["step"] == 3


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "foreign"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(run, name, damage):
    save(run, 1)
    path = save(run, 2) / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"nonsense" * 20)
    with pytest.warns(UserWarning, match=rf"step-00000002.{name}: not a whole .*; falling back on .*step-00000001"):
        assert run.last_checkpoint().state["step"] == 1


@pytest.mark.parametrize("left", ["one line", "half a line", "nothing", "no file"])
def test_lost_metrics_do_not_cost_a_checkpoint(run, left):
    save(run, 1)
    size = run.metrics_path.stat().st_size
    save(run, 2)
    kept = {"one line": size, "half a line": size + 7, "nothing": 0, "no file": 0}[left]
    os.truncate(run.metrics_path, kept)
    if left == "no file":
        run.metrics_path.unlink()
    checkpoint = run.last_checkpoint()
    assert checkpoint.state["step"] == 2
    message = (
        rf"metrics.jsonl: expected at least the {2 * size} bytes that the checkpoint recorded, got {kept}; training"
    )
    with pytest.warns(UserWarning, match=message):
        run.cut_back(checkpoint.state["sizes"])
    run.append_metrics({"step": 3, "loss": 1.5}, seconds=1.0)
    assert [record["step"] for record in run.metrics()] == ([1, 3] if kept else [3])


def test_a_run_whose_checkpoints_are_gone_is_not_started_over(run):
    save(run, 1)
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(ValueError, match="was trained, but .*checkpoints has no checkpoint any more; put it back, or"):
        run.last_checkpoint()


def test_a_run_whose_configuration_is_gone_is_not_started_over(run):
    save(run, 1)
    run.metrics_path.unlink()
    (run.path / "timing.jsonl").unlink()
    (run.path / "config.json").unlink()
    with pytest.raises(ValueError, match="is neither empty nor a run"):
        RunFolder.start(run.path, {})


def test_later_checkpoints_are_set_aside_and_unfinished_writes_removed(run):
    for step in (1, 2):
        save(run, step)
    partial = run.path / "checkpoints" / ".step-00000003.77.partial"
    partial.mkdir()
    (partial / "state.pt").write_text("")
    (run.path / ".config.json.77.partial").write_text("")
    run.set_aside_after(1)
    assert {path.name for path in (run.path / "checkpoints").iterdir()} == {"step-00000001", "damaged-step-00000002"}
    assert not list(run.path.glob(".*"))
    save(run, 2)
    run.set_aside_after(1)  # takes the place of the one before
    assert {path.name for path in (run.path / "checkpoints").iterdir()} == {"step-00000001", "damaged-step-00000002"}


def test_only_files_of_the_run_are_cut_back(run, tmp_path):
    """A state from a stranger names what it likes."""
    (tmp_path / "diary").write_text("precious")
    run.cut_back({"metrics.jsonl": 0, "../../diary": 0, str(tmp_path / "other"): 0})
    assert (tmp_path / "diary").read_text() == "precious"
    assert not (tmp_path / "other").exists()


def test_a_state_of_another_step_is_passed_over(run):
    save(run, 1)
    save(run, 2).rename(run.checkpoint_path(1_000_000_000))
    message = "state.pt: not a state of this run .step: expected 1000000000, as in the folder's name, got 2.; falling"
    with pytest.warns(UserWarning, match=message):
        assert run.last_checkpoint().state["step"] == 1


# weights


def test_weights_are_those_of_the_best_bound_or_the_last_step(run):
    best, last = nn.Linear(2, 3), nn.Linear(2, 3)
    loaded = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="run: '.*' has no weights yet: no checkpoint was written"):
        run.load_weights(loaded, None)
    save(run, 7, model=last)
    assert run.load_weights(loaded, None) == 7
    run.write_best(4, -1.25, {f"model.{name}": value for name, value in best.state_dict().items()})
    assert run.load_weights(loaded, None) == 4
    assert torch.equal(loaded.weight, best.weight)
    assert run.load_weights(loaded, None, "last") == 7
    assert torch.equal(loaded.weight, last.weight)
    with pytest.raises(ValueError, match="which: expected 'best' or 'last', got 'first'"):
        run.load_weights(loaded, None, "first")
    run.best_path.write_bytes(run.best_path.read_bytes()[:50])
    with pytest.warns(UserWarning, match="best.safetensors: not a whole file of weights .*; falling back on the last"):
        assert run.load_weights(loaded, None) == 7


def test_configurations_are_readable_files(run):
    assert json.loads((run.path / "config.json").read_text())["rate"] == 0.1
