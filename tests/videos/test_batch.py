"""A batch checks itself, and hands its fields on together."""

import pytest
import torch

from videos import VideoBatch
from videos.batch import _check_field


def make_batch() -> VideoBatch:
    return VideoBatch(
        frames=torch.rand(5, 7, 1, 4, 3),
        observed=torch.rand(5, 7) > 0.5,
        controls=torch.rand(5, 7, 2),
        positions=torch.rand(5, 7, 6, 2),
        velocities=torch.rand(5, 7, 6, 2),
        state=torch.rand(5, 7, 8),
        hits=torch.rand(5, 7) > 0.5,
        masks=torch.rand(5, 7, 6, 4, 3) > 0.8,
    )


FIELDS = ("frames", "observed", "controls", "positions", "velocities", "state", "hits", "masks")


def test_sizes_and_arguments():
    batch = make_batch()
    assert (batch.num_sequences, batch.num_frames) == (5, 7)
    assert batch.arguments == (batch.frames, batch.observed, batch.controls)
    assert VideoBatch(batch.frames).arguments == (batch.frames, None, None)


@pytest.mark.parametrize(
    "index", [torch.tensor([3, 0]), slice(1, 4), [2], torch.tensor([True, False, True, False, False])]
)
def test_select_takes_every_field_along(index):
    batch = make_batch()
    chosen = batch.select(index)
    for name in FIELDS:
        torch.testing.assert_close(getattr(chosen, name), getattr(batch, name)[index], rtol=0, atol=0)


def test_select_and_to_leave_absent_fields_absent():
    bare = VideoBatch(torch.rand(5, 7, 1, 4, 3)).select([0, 1]).to("meta")
    assert bare.frames.device.type == "meta"
    assert all(getattr(bare, name) is None for name in FIELDS[1:])


def test_to_moves_every_field():
    moved = make_batch().to("meta")
    assert all(getattr(moved, name).device.type == "meta" for name in FIELDS)


def test_clone_shares_nothing():
    batch = make_batch()
    copy = batch.clone()
    for name in FIELDS:
        assert getattr(copy, name).data_ptr() != getattr(batch, name).data_ptr()
        assert torch.equal(getattr(copy, name), getattr(batch, name))


def test_beginnings_and_single_frames_take_every_field_along():
    batch = make_batch()
    beginnings, frames = batch.first_frames(3), batch.single_frames()
    for name in FIELDS:
        value = getattr(batch, name)
        assert torch.equal(getattr(beginnings, name), value[:, :3]), name
        assert torch.equal(getattr(frames, name), value.reshape(35, 1, *value.shape[2:])), name


def test_with_observed_replaces_the_mask_only():
    batch = make_batch()
    seen = torch.ones(5, 7, dtype=torch.bool)
    assert batch.with_observed(seen).observed is seen
    assert batch.with_observed(None).observed is None
    assert batch.with_observed(seen).frames is batch.frames


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "frames",
            torch.rand(5, 7, 4, 3),
            r"frames: expected \(sequences, time, channels, height, width\) .*got \(5, 7, 4, 3\); grey",
        ),
        (
            "frames",
            torch.ones(5, 7, 1, 4, 3).bool(),
            r"frames: expected a floating point dtype, got torch.bool; convert",
        ),
        (
            "observed",
            torch.ones(5, 6).bool(),
            r"observed: expected \(sequences, time\) = \(5, 7\), got \(5, 6\); every field",
        ),
        ("observed", torch.ones(5, 7), r"observed: expected dtype torch.bool, got torch.float32; compare or convert"),
        (
            "controls",
            torch.rand(5, 7),
            r"controls: expected \(sequences, time, control\) = \(5, 7, ...\), got \(5, 7\)",
        ),
        ("positions", torch.rand(5, 7, 6, 3), r"positions: .* = \(5, 7, ..., 2\), got \(5, 7, 6, 3\)"),
        ("velocities", torch.rand(5, 7, 4, 2), r"velocities: .* = \(5, 7, 6, 2\), got \(5, 7, 4, 2\)"),
        ("state", torch.rand(4, 7, 8), r"state: .* = \(5, 7, ...\), got \(4, 7, 8\)"),
        ("hits", torch.zeros(5, 7, dtype=torch.long), r"hits: expected dtype torch.bool, got torch.int64"),
        (
            "masks",
            torch.rand(5, 7, 6, 4, 3),
            r"masks: expected dtype torch.bool, got torch.float32; compare or convert with .bool\(\)",
        ),
        (
            "masks",
            torch.ones(5, 7, 6, 1, 4, 3).bool(),
            r"masks: expected \(sequences, time, objects, height, width\) = \(5, 7, 6, 4, 3\), "
            r"got \(5, 7, 6, 1, 4, 3\); give one mask per object, of the size of a frame and without channels",
        ),
        ("masks", torch.ones(5, 7, 4, 4, 3).bool(), r"masks: .* = \(5, 7, 6, 4, 3\), got \(5, 7, 4, 4, 3\)"),
        ("masks", torch.ones(5, 7, 6, 3, 4).bool(), r"masks: .* = \(5, 7, 6, 4, 3\), got \(5, 7, 6, 3, 4\)"),
    ],
)
def test_wrong_fields_are_named(name, value, message):
    fields = {field: getattr(make_batch(), field) for field in FIELDS}
    with pytest.raises(ValueError, match=message):
        VideoBatch(**(fields | {name: value}))


def test_arrays_are_refused():
    # Asked of the check itself: with shapes checked, as in these tests, the type annotation would answer first.
    message = (
        r"state: expected a torch.Tensor \(sequences, time, state\), got ndarray; convert arrays with torch.as_tensor"
    )
    with pytest.raises(TypeError, match=message):
        _check_field("state", torch.rand(5, 7, 8).numpy(), ("sequences", "time", "state"), {})
