"""A recorded step: whose memory it reads and writes. The recorder is a stand-in, so that this runs without a GPU."""

import pytest
import torch

from inference.svi.captured import CapturedStep

WEIGHT = torch.tensor([1.0, -2.0])


def step(batch, scale):
    noise = torch.rand(2)
    return [(WEIGHT * batch * scale).sum() + noise.sum(), batch.sum(0) * scale + noise, None]


def record(run):
    """As a CUDA graph does: the same operations at the same addresses, by no call of ours."""
    results = run()

    def replay():
        for place, value in zip(results, run(), strict=True):
            if place is not None:
                place.copy_(value)

    return replay, results


def captured():
    return CapturedStep(step, [torch.zeros(3, 2), torch.tensor(1.0)], record)


def test_it_gives_what_the_step_gives_and_goes_on_with_the_random_stream():
    batches = [(torch.randn(3, 2), torch.tensor(0.5 + number)) for number in range(4)]
    torch.manual_seed(0)
    recorded = captured()
    found = []
    for batch in batches:
        loss, gradient, nothing = recorded(*batch)
        assert nothing is None
        found.append((loss, gradient.clone()))
    torch.manual_seed(0)
    expected = [tuple(step(*batch)[:2]) for batch in batches]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_loss_may_be_kept_and_a_gradient_lasts_until_the_next_step():
    recorded = captured()
    batch = torch.ones(3, 2)
    first, gradient, _ = recorded(batch, torch.tensor(1.0))
    kept = first.clone()
    gradient.mul_(1e-3)  # an optimizer, or clipping, may write to it
    second, again, _ = recorded(batch, torch.tensor(5.0))
    assert torch.equal(first, kept)
    assert second != first
    assert again is gradient
    assert (again >= 15).all()


def test_inputs_are_copied_and_what_the_step_reads_is_not():
    recorded = captured()
    batch = torch.ones(3, 2)
    torch.manual_seed(0)
    before = recorded(batch, torch.tensor(1.0))[0]
    batch.zero_()
    WEIGHT.mul_(2)
    try:
        torch.manual_seed(0)
        after = recorded(torch.ones(3, 2), torch.tensor(1.0))[0]
    finally:
        WEIGHT.div_(2)
    assert after - before == pytest.approx(-3.0)
