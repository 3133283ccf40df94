"""A table of damages to a run: training and loading end in one clear sentence, or go on with what is whole.

Damages are made to copies of one tiny run that is finished, so no case trains.
"""

import json
import shutil
import warnings
from dataclasses import dataclass

import pytest
import torch

from inference.cli import main
from inference.experiments.runs import load_run
from inference.recipes.recipe import Recipe
from inference.runs.checkpoints import WEIGHTS, list_checkpoints, read_checkpoint, write_checkpoint, write_weights

TINY = "--network mlp --num-train 16 --num-validation 4 --num-test 4 --batch-size 8 --epochs 2 --frozen-epochs 1"
DEEP = "[" * 100_000


@dataclass(frozen=True)
class Damage:
    """What is done to a run, and a part of what training and loading then say; None = they go on."""

    name: str
    do: object
    train: str | None
    load: str | None


def written(name, content, train, load=None):
    def do(path):
        target = path / name
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    return Damage(f"{name} is {content[:20]!r}", do, train, load)


def field(name, value, train="another configuration", load=None):
    """A field of config.json."""

    def do(path):
        config = json.loads((path / "config.json").read_text())
        config["fields"][name] = value
        (path / "config.json").write_text(json.dumps(config))

    return Damage(f"{name} is {str(value)[:20]!r}", do, train, load or f"{name}: expected ")


def entry(name, value, train, load):
    """An entry of config.json; "nothing" removes it."""

    def do(path):
        config = json.loads((path / "config.json").read_text()) | {name: value}
        if value == "nothing":
            del config[name]
        (path / "config.json").write_text(json.dumps(config))

    return Damage(f"{name} in config.json is {value!r}", do, train, load)


def state(name, value, train, load=None):
    """An entry of the state of all checkpoints, whose checksums agree; "nothing" removes it; a.b is nested."""

    def do(path):
        for folder in list_checkpoints(path / "checkpoints"):
            checkpoint = read_checkpoint(folder)
            inner, *rest = name.split(".")
            record = checkpoint.state[inner] if rest else checkpoint.state
            record[rest[0] if rest else inner] = value
            if value == "nothing":
                del record[rest[0] if rest else inner]
            write_checkpoint(folder, checkpoint.weights, checkpoint.state)

    return Damage(f"{name} in state.pt is {str(value)[:20]!r}", do, train, load)


def each(name, change, train, load=None, number=0):
    """A change to the bytes of a file of all checkpoints, or of the last ones; the checksums stay."""

    def do(path):
        for folder in list_checkpoints(path / "checkpoints")[-number:]:
            target = folder / name
            target.write_bytes(change(target.read_bytes()))

    return Damage(f"{name} of {number or 'all'}: {change.__name__}", do, train, load)


def done(name, do, train, load=None):
    return Damage(name, do, train, load)


def half(content):
    return content[: len(content) // 2]


def emptied(content):
    return b""


def flipped(content):
    return content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]


def billion(path):
    """The last checkpoint claims to be of step 10^9, and its folder too."""
    folder = list_checkpoints(path / "checkpoints")[-1]
    checkpoint = read_checkpoint(folder)
    write_checkpoint(folder, checkpoint.weights, {**checkpoint.state, "step": 10**9})
    folder.rename(folder.with_name("step-1000000000"))


def other_weights(change):
    def do(path):
        for folder in list_checkpoints(path / "checkpoints"):
            checkpoint = read_checkpoint(folder)
            weights = dict(checkpoint.weights)
            change(weights, next(iter(weights)))
            write_checkpoint(folder, weights, checkpoint.state)

    return do


def best(change):
    def do(path):
        target = path / "checkpoints" / "best.safetensors"
        target.write_bytes(change(target.read_bytes()))

    return do


def foreign_best(path):
    write_weights(path / "checkpoints" / "best.safetensors", {"x": torch.zeros(2)}, {"step": 1, "validation_bound": 0})


def state_is_code(path):
    for folder in list_checkpoints(path / "checkpoints"):
        torch.save({"step": main}, folder / "state.pt")
        (folder / "SHA256SUMS").unlink()


def removed(name):
    def do(path):
        shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()

    return do


def folder_instead(name):
    def do(path):
        removed(name)(path)
        (path / name).mkdir()

    return do


NO_JSON, NONE_USABLE = "config.json: expected JSON", "no checkpoint of"
DAMAGES = [
    written("config.json", "[1]", "config.json: expected an object", "config.json: expected an object"),
    written("config.json", "null", "config.json: expected a JSON record, got null", "got null"),
    written("config.json", "5", "expected an object with the configuration, got 5 (int)", "got 5 (int)"),
    written("config.json", '"fields"', "got 'fields' (str)", "got 'fields' (str)"),
    written("config.json", "", NO_JSON, NO_JSON),
    written("config.json", '{"recipe": "kvae', NO_JSON, NO_JSON),
    written("config.json", b"\xff\xfe\x00", NO_JSON, NO_JSON),
    written("config.json", "9" * 5000, NO_JSON, NO_JSON),
    written("config.json", DEEP, "more than 50 deep", "more than 50 deep"),
    written("config.json", '{"a": ' * 200 + "1" + "}" * 200, "more than 50 deep", "more than 50 deep"),
    written("config.json", "{}", "another configuration", "config.json: recipe: expected str, got none; fields"),
    entry("fields", "nothing", "another configuration", "config.json: fields: expected dict[str, Any], got none"),
    entry("fields", [], "another configuration", "fields: expected dict[str, Any], got [] (list)"),
    entry("fields", None, "another configuration", "got None (NoneType)"),
    entry("recipe", "nothing", "another configuration", "config.json: recipe: expected str, got none"),
    entry("recipe", 5, "another configuration", "recipe: expected str, got 5 (int)"),
    entry("recipe", ["kvae-demo"], "another configuration", "recipe: expected str, got ['kvae-demo'] (list)"),
    entry("recipe", "kvae", "another configuration", "recipe: expected one of"),
    entry(
        "sources", 5, "sources: expected dict[str, Any], got 5 (int)", "sources: expected dict[str, Any], got 5 (int)"
    ),
    entry("sources", {"videos": 5}, "expected a record with the fields path, bytes, sha256", "got 5 (int)"),
    entry("sources", {"videos": {"path": 3}}, "path: expected str, got 3 (int)", "sha256: expected str, got none"),
    entry("data_set", "MNIST", "expected MNIST, with which", "expected MNIST, with which run"),
    field("code_dim", "2", load="fields: code_dim: expected int, got '2' (str)"),
    field("code_dim", None),
    field("code_dim", 2.5),
    field("code_dim", [2]),
    field("code_dim", {"a": 2}),
    field("code_dim", 10**40, load="no model can be built from its fields"),
    field("learning_rate", "fast"),
    field("seed", "0"),
    field("frame_shape", [1, "a"]),
    field("network", 3),
    field("data", 5),
    field("colour_of_the_ball", "red", load="has no field colour_of_the_ball"),
    done("config.json is gone", removed("config.json"), "is neither empty nor a run", "is no run"),
    done("config.json is a folder", folder_instead("config.json"), "is neither empty nor a run", "is no run"),
    written("provenance.json", "5", "provenance.json: expected a list of records, one for each process"),
    written("provenance.json", "[5]", "got [5] (list); put the file back, or delete it"),
    written("provenance.json", "{}", "got {} (dict)"),
    written("provenance.json", "[{", "provenance.json: expected JSON"),
    written("provenance.json", DEEP, "provenance.json: expected a JSON record"),
    written("provenance.json", b"\xff\xff", "provenance.json: expected JSON"),
    done("provenance.json is gone", removed("provenance.json"), None),
    state("settings", "nothing", "settings: expected dict[str, Any], got none"),
    state("settings", 5, "settings: expected dict[str, Any], got 5 (int)"),
    state("settings", {}, "settings: stages: expected list[dict[str, Any]], got none"),
    state("settings.stages", 5, "stages: expected list[dict[str, Any]], got 5 (int)"),
    state("step", "nothing", "step: expected int, got none"),
    state("step", "4", "step: expected int, got '4' (str)"),
    state("step", 10**9, "as in the folder's name, got 1000000000"),
    state("stage", 7, "expected a step up to 4 in one of 2 stages, got step 4 in stage 7"),
    state("stage", None, "stage: expected int, got None"),
    state("optimizer", "nothing", "optimizer: expected dict[str, Any], got none"),
    state("optimizer", {}, "optimizer: state: expected dict"),
    state("optimizer.param_groups", [], "not a state of this model, guide and training"),
    state("generators", {}, "generators: torch: expected Tensor, got none"),
    state("generators.torch", "x", "torch: expected Tensor, got 'x' (str)"),
    state("generators.torch", torch.zeros(3), "not a state of this model, guide and training"),
    state("generators.numpy", (), "not a state of this model, guide and training"),
    state("generators.python", (1, 2), "not a state of this model, guide and training"),
    state("window", 5, "window: expected Tensor, got 5 (int)"),
    state("seconds", "long", "seconds: expected float, got 'long' (str)"),
    state("sizes", {}, "sizes: metrics.jsonl: expected int, got none"),
    state("sizes", 5, "sizes: expected dict[str, int], got 5 (int)"),
    done("step-1000000000", billion, "got step 1000000000 in stage 1, which this training never reaches"),
    done("state.pt holds code", state_is_code, "state.pt: not a whole training state (UnpicklingError)"),
    each("state.pt", half, NONE_USABLE),
    each("state.pt", emptied, NONE_USABLE),
    each("state.pt", flipped, NONE_USABLE),
    each("state.pt", flipped, None, number=1),
    each(WEIGHTS, half, NONE_USABLE),
    each(WEIGHTS, emptied, NONE_USABLE),
    each(WEIGHTS, flipped, NONE_USABLE),
    each(WEIGHTS, flipped, None, number=1),
    each("SHA256SUMS", flipped, NONE_USABLE),
    each("SHA256SUMS", emptied, None, number=1),
    done("a weight is missing", other_weights(lambda weights, name: weights.pop(name)), "is missing"),
    done("a weight too many", other_weights(lambda weights, _: weights.update(x=torch.ones(1))), "x is not known"),
    done("a weight has another shape", other_weights(lambda w, n: w.update({n: torch.ones(9)})), "got (9,)"),
    done("best.safetensors is cut off", best(half), None),
    done("best.safetensors is empty", best(emptied), None),
    done("best.safetensors has a flipped bit", best(flipped), None),
    done("best.safetensors is another's", foreign_best, None, "x is not known"),
    done(
        "checkpoints are gone", removed("checkpoints"), "has no checkpoint any more; put it back", "no checkpoint any"
    ),
    done(
        "checkpoints is a file", folder_instead("checkpoints"), "has no checkpoint any more", "no checkpoint any more"
    ),
    done("metrics.jsonl is gone", removed("metrics.jsonl"), None),
    written("metrics.jsonl", "", None),
    written("metrics.jsonl", b"\xff" * 40, None),
    done("timing.jsonl is gone", removed("timing.jsonl"), None),
]


REST = (pytest.mark.slow, pytest.mark.ci)
A_QUARTER_QUICKLY = [
    pytest.param(damage, id=damage.name, marks=() if index % 4 == 0 else REST) for index, damage in enumerate(DAMAGES)
]


@pytest.fixture(scope="module")
def splits():
    """The videos of the run, simulated once."""
    return {}


@pytest.fixture(autouse=True)
def same_videos(monkeypatch, splits):
    original = Recipe.splits

    def found(self):
        key = str(self.options)
        if key not in splits:
            splits[key] = original(self)
        return splits[key]

    monkeypatch.setattr(Recipe, "splits", found)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "kvae-demo", "--run", str(path), "--quiet", *TINY.split(), "--checkpoint-every", "2"]) == 0
    return path


@pytest.fixture
def damaged(whole, tmp_path):
    def do(damage):
        path = tmp_path / "run"
        shutil.copytree(whole, path)
        damage.do(path)
        return path

    return do


def kept(path):
    """What training must not lose: names of checkpoints, whole or set aside."""
    return {folder.name.removeprefix("damaged-") for folder in (path / "checkpoints").glob("*step-*")}


@pytest.mark.parametrize("damage", A_QUARTER_QUICKLY)
def test_every_damage_is_answered_by_a_sentence_or_by_going_on(damage, damaged, capsys):
    path = damaged(damage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            load_run(path)
            said = None
        except (ValueError, FileNotFoundError) as error:
            said = str(error)
        assert said is None if damage.load is None else damage.load in (said or "nothing")
        before = kept(path)
        capsys.readouterr()
        words = ["train", "kvae-demo", "--run", str(path), "--quiet", *TINY.split(), "--checkpoint-every", "2"]
        status = main(words)
    error = capsys.readouterr().err
    if damage.train is None:
        assert (status, error) == (0, "")
    else:
        assert status == 2
        assert damage.train in error
        assert error.startswith("kinema: ")
        assert error.count("\n") == 1
    assert kept(path) >= before


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage.load], ids=lambda damage: damage.name)
def test_the_command_evaluate_says_it_in_one_line(damage, damaged, capsys):
    path = damaged(damage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["evaluate", str(path)]) == 2
    error = capsys.readouterr().err
    assert damage.load in error
    assert error.count("\n") == 1


def test_there_are_at_least_as_many_damages_as_were_found():
    assert len({damage.name for damage in DAMAGES}) >= 64


@pytest.mark.parametrize("name", [WEIGHTS, "state.pt"])
def test_a_flipped_bit_is_named_and_the_run_ends_in_the_same_bits(damaged, whole, name):
    path = damaged(each(name, flipped, None, number=1))
    words = ["train", "kvae-demo", "--run", str(path), "--quiet", *TINY.split(), "--checkpoint-every", "2"]
    with pytest.warns(UserWarning, match=rf"step-00000004.{name}: not a whole .*checksum.*falling back on .*00000002"):
        assert main(words) == 0
    for file in ("metrics.jsonl", f"checkpoints/step-00000004/{WEIGHTS}", "checkpoints/best.safetensors"):
        assert (path / file).read_bytes() == (whole / file).read_bytes()
    assert (path / "checkpoints" / "damaged-step-00000004").is_dir()
