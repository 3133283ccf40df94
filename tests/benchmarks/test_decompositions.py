"""Plans of models that take videos apart: what is trained once, how it appears in RESULTS.md, what is refused."""

import argparse
import json

import pytest
import torch

from inference.recipes import RECIPES
from tests.benchmarks.programs import PROGRAMS, SLOTS, results, run

VIDEOS = {
    "frame_size": 16,
    "balls": [2, 2],
    "test_balls": [2, 2],
    "num_train": 8,
    "num_validation": 2,
    "num_test": 3,
    "batch_size": 4,
    "epochs": 3,
    "test_frames": 8,
    "followed": 3,
}
NEM = {"state_dim": 6, "hidden": 8, "channels": [2, 3], "attention_dim": 4}
SLOTS_WORDS, NEM_WORDS = (["--options", json.dumps(VIDEOS | own)] for own in (SLOTS, NEM))


@pytest.fixture(autouse=True)
def _programs(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)


@pytest.mark.slow
def test_plans_meet_in_tables(tmp_path):
    def plan(name, *words, **options):
        return run("decompositions.py", name, *words, "--output", tmp_path, **options)

    plan("models", "--only", "spatio", "IODINE", "--seeds", 0, 1, *SLOTS_WORDS)
    plan("models", "--only", "R-NEM", "--seeds", 0, 1, *NEM_WORDS)
    printed = plan("models", "--seeds", 0, 1)  # trains nothing: these options are those of the recipes
    assert printed.count("slots kept") == 14
    rows = json.loads((tmp_path / "decompositions-models.json").read_text())["rows"]
    iodine, sequential = (
        next(row for row in rows if row["setting"] == f"binary: {name}") for name in ("IODINE", "SEQ-IODINE")
    )
    assert (iodine["run"], iodine["seed"]) == (sequential["run"], sequential["seed"])
    assert len(list(tmp_path.glob("iodine-balls-small-*"))) == 2
    assert iodine["lengths"]["8"] != sequential["lengths"]["8"]
    assert iodine["decodes"] == {"2": 12, "4": 24, "6": 36, "8": 48}
    plan("ablation", "--only", "grid", "triangle", "entropy", "recommended", "--seeds", 0, *SLOTS_WORDS)
    plan("predictions", "--seeds", 0, *SLOTS_WORDS)
    assert len(list(tmp_path.glob("*-0"))) == 11  # of sixteen settings

    written = sorted(tmp_path.glob("decompositions-*.json"))
    text = results(tmp_path / "records", *written)
    assert "| colour: SEQ-IODINE, more balls and colours |" in text
    assert "| 6 entropy raises ARI by more than 0.3 | fails |" in text
    assert "| 10 predictions three and five frames ahead are better than R-NEM's |" in text
    assert "ten frames ahead" not in text  # five are predicted
    assert "\n| the model's memory, with relations |" in text

    for path in (tmp_path / "iodine-balls-small-0" / "decomposition.json", written[1]):
        path.unlink()
    refused = plan("models", "--only", "binary: IODINE", "--seeds", 0, status=1)
    assert "iodine-balls-small-0 was started with other options: " in refused
    assert "epochs was 3, is 36" in refused


def asked(tmp_path, plan, *words):
    """The plan and its parsed arguments."""
    from decompositions import PLANS, plan_of
    from plans import parser_of

    options = parser_of("", PLANS, tmp_path).parse_args([plan, *words])
    return plan_of(options.plan, options.output), options


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "nobody"], "--only: expected part of a name, got nobody; names: binary: spatio-temporal; "),
        (["--options", "{"], "--options: expected JSON such as {\"epochs\": 20}, got '{' (Expecting"),
        (["--options", "[1]"], "--options: expected a JSON object such as {\"epochs\": 20}, got '[1]'"),
        (["--options", '{"num_slots": 0}'], "spatio-temporal-balls-small: --num-slots: expected at least 1, got 0"),
        (["--options", '{"epoch": 3}'], "--epoch: no such option; did you mean --epochs?"),
        (["--options", '{"epochs": "3"}'], "--options: epochs: expected a number for spatio-temporal-balls-small"),
        (["--options", '{"channels": [4]}'], "--options: channels: expected a number for spatio-temporal-balls-small"),
        (["--options", '{"halvings": 9}'], "spatio-temporal-balls-small: halvings: expected sides of 32 x 32"),
        (["--seeds", "-1"], "--seed: expected one from 0"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_trained(tmp_path, words, message):
    plan, options = asked(tmp_path, "models", *words)
    with pytest.raises(SystemExit) as refusal:
        plan.complete(options, lambda *_: pytest.fail("trained"), lambda _: "")
    assert message in str(refusal.value)


def test_a_plan_that_nobody_made_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        asked(tmp_path, "nobody")
    assert "invalid choice: 'nobody'" in capsys.readouterr().err


def test_settings_share_runs_where_they_are_the_same(tmp_path):
    from decompositions import METHODS, PLANS, plan_of

    trained, places = {}, []
    for name in PLANS:
        for key, setting in plan_of(name, tmp_path).settings.items():
            recipe = RECIPES[setting.recipe].with_options(**setting.options)
            assert trained.setdefault(setting.folder, recipe) == recipe
            places.append((setting.folder, METHODS.get(key), setting.file))
    assert len(set(map(str, trained.values()))) == len(trained) == 15  # no two folders for one recipe
    assert len({(folder, method) for folder, method, _ in places}) == len(set(places)) == 17
    assert len({(folder, file) for folder, _, file in places}) == 17


def test_rows_come_from_the_record_and_from_folders(tmp_path):
    from plans import Plan, Setting

    plan = Plan("p", tmp_path / "p.json", {name: Setting("air-small", name, "row.json") for name in ("b", "a")})
    old = [{"setting": name, "seed": seed, "value": 0} for name, seed in (("a", 1), ("gone", 0), ("a", 0), ("b", 3))]
    plan.record.write_text(json.dumps({"plan": "p", "rows": old}))
    for folder, row in (("a-1", {"seed": 1, "value": 1}), ("a-2b-0", {"seed": 0, "value": 2}), ("b-2", {"seed": 2})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "row.json").write_text(json.dumps(row))
    known = plan.known()
    assert list(known) == [("b", 2), ("b", 3), ("a", 0), ("a", 1)]
    assert [known["a", seed]["value"] for seed in (0, 1)] == [0, 1]  # the folder is newer than the record
    scored = []

    def score(name, recipe, path):
        scored.append((name, recipe.seed, path.name))
        path.mkdir()
        return {"seed": recipe.seed, "value": 5}

    options = argparse.Namespace(only=["a", "b"], seeds=[2, 3], options='{"epochs": 2}')
    plan.complete(options, score, lambda row: "")
    assert scored == [("a", 2, "a-2"), ("a", 3, "a-3")]
    assert len(json.loads(plan.record.read_text())["rows"]) == 6


def test_harder_videos_have_more_of_everything():
    from decompositions import harder

    recipe = RECIPES["spatio-temporal-balls-colour-small"]
    (name, simulator, slots), (other, more, _) = harder(recipe)
    assert (name, other) == ("more balls", "more balls and colours")
    assert (simulator.min_balls, simulator.max_balls, simulator.num_frames, simulator.palette_size) == (4, 5, 10, 4)
    assert (more.max_balls, more.palette_size, slots, simulator.masks) == (5, 8, 6, True)
    assert [name for name, *_ in harder(RECIPES["relational-nem-small"])] == ["more balls"]


def test_decodes_are_counted():
    """90 in 40 frames, two for a further frame; IODINE's are six for each (Zablotskaia et al. 2020)."""
    from slot_scores import decodes

    small = {"frame_size": 10, "channels": 2, "units": 4, "latent_dim": 2, "decoder_layers": 2, "halvings": 1}
    small |= {"reading_layers": 1, "num_slots": 2}
    for name, expected in (
        ("spatio-temporal-balls-small", {"4": 18, "5": 20, "40": 90}),
        ("iodine-balls-small", {"4": 24, "5": 30}),
    ):
        model, guide = RECIPES[name].with_options(**small).build()
        assert decodes(model, guide, list(map(int, expected)), 6) == expected
        assert guide.refinements == 5
        assert not model.decoder._forward_hooks


def counts(*frames):
    """Four pixels of each of two objects, most in the slot that is given, None = hidden; background in slot 0."""
    table = torch.zeros(1, len(frames), 3, 4, dtype=torch.long)
    table[:, :, 2, 0] = 9
    for time, slots in enumerate(frames):
        for row, slot in enumerate(slots):
            if slot is not None:
                table[0, time, row, slot] = 3
                table[0, time, row, 3] = 1
    return table


def test_slots_that_are_kept():
    from slot_scores import share_kept

    for frames, share in (
        ([(0, 1), (0, 1), (0, 1)], 1.0),
        ([(0, 1), (1, 0), (1, 0)], 0.5),
        ([(0, 0), (0, 0)], 0.0),  # one slot for all
        ([(0, 1), (0, 0), (0, 1)], 0.0),  # together for a moment
        ([(0, 1), (0, None), (0, 1)], 1.0),  # what is hidden does not count, and takes no slot
        ([(0, None), (0, 0), (2, 0)], 0.0),
    ):
        assert share_kept(counts(*frames)).tolist() == [share], frames
    assert share_kept(counts((0, None), (None, 1))).isnan().all()


def test_objects_that_enter_are_found():
    from slot_scores import frames_until_found

    for frames, waited in (
        ([(1, None), (1, 2), (1, 2)], 0.0),
        ([(1, None), (1, 1), (1, 0), (1, 2)], 2.0),  # shares a slot, then that of the background
        ([(1, None), (1, None), (1, 1), (1, 1)], 2.0),  # never: all frames since
        ([(1, None), (1, 2), (1, 1)], 0.0),  # found, then lost
        ([(None, None), (1, 0), (1, 2)], 0.5),
    ):
        assert frames_until_found(counts(*frames)).tolist() == [waited], frames
    first = counts((1, None), (1, 2), (1, 2))
    first[0, 1, 1] //= 3  # a quarter of it is visible
    assert frames_until_found(first).tolist() == [0.0]
    first[0, 1, 1] = 0
    first[0, 2, 1] *= 5
    first[0, 1, 1, 1] = 4  # less than a quarter, in a slot that is taken
    assert frames_until_found(first).tolist() == [0.0]
    assert frames_until_found(counts((1, 2), (1, None), (0, 0))).isnan().all()  # both were there


def test_indices_of_faulty_masks_agree_with_those_computed_independently():
    from index_calibration import indices
    from segmentation_sections import INDEPENDENT, INDEPENDENT_BLACK

    found = indices(40)
    assert abs(found.pop("black pictures")["squared_error"]["mean"] - INDEPENDENT_BLACK) < 0.005
    assert list(found) == list(INDEPENDENT)
    for name, (index, foreground) in INDEPENDENT.items():
        assert abs(found[name]["ari"]["mean"] - index) < 0.015, name
        assert abs(found[name]["foreground_ari"]["mean"] - foreground) < 0.015, name
