"""Where slots start.

These tests pin: noise alone tells slots apart; starts are orthogonal; the best of several is kept.
"""

import pytest
import torch

from guides.spatio_temporal_refinement import guide as guide_module
from guides.spatio_temporal_refinement.noise import apart, fixed_normals
from guides.spatio_temporal_refinement.slopes import decode_frame
from tests.guides.test_spatio_temporal_refinement import FRAMES, masks_of, pair
from tests.pyro_models.case_spatio_temporal_mixture import LATENT, UNITS


@pytest.mark.parametrize("scattered", [True, False])
def test_only_noise_tells_slots_apart(monkeypatch, scattered):
    """Slots with the same noise stay the same in every frame and refinement."""
    model, guide = pair(scattered=scattered)
    assert (masks_of(model, guide) - 1 / 3).abs().max() > 1e-3
    monkeypatch.setattr(guide_module, "noise_like", lambda like, *args: torch.ones_like(like))
    monkeypatch.setattr(guide_module, "apart", torch.ones_like)
    torch.testing.assert_close(masks_of(model, guide), torch.full((3, 4, 3, 8, 8), 1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("slots", [2, 5, 7])
def test_starts_are_orthogonal_and_those_of_the_first_slots_do_not_depend_on_others(slots):
    noise = torch.randn(2, slots, 4, 3, generator=torch.Generator().manual_seed(0))
    spread = apart(noise).movedim(-3, -2)  # (particles, sequences, slots, latent)
    for group in spread.split(3, -2):
        products = group @ group.mT
        torch.testing.assert_close(products, (3 * torch.eye(group.shape[-2])).expand_as(products), atol=1e-5, rtol=0)
    torch.testing.assert_close(apart(noise[:, :2]), apart(noise)[:, :2])
    assert ((apart(noise) * noise).sum(-1)[:, ::3] > 0).all()


def test_starts_have_every_direction():
    """Signs of an orthogonal basis are not those that the factorisation happens to give."""
    spread = apart(torch.randn(3, 4000, 3, generator=torch.Generator().manual_seed(0)))
    assert spread.mean(1).abs().max() < 4 * 4000**-0.5
    torch.testing.assert_close(spread.square().mean(1), torch.ones(3, 3), atol=0.08, rtol=0)


def test_first_draws():
    """Of one distribution for all slots, or means that are apart."""
    for scattered in (False, True):
        model, guide = pair(scattered=scattered)
        prior = model.prior(torch.zeros(3, 5, UNITS, dtype=torch.float64))
        noise = torch.randn(3, 5, LATENT, dtype=torch.float64)
        q, first = guide._start(0, prior, noise)
        spread = first - guide.start_mean
        if scattered:
            torch.testing.assert_close(spread, 0.3 * noise)
            torch.testing.assert_close(q.mean, first)
            assert q.stddev.max() < 0.2
        else:
            torch.testing.assert_close(spread, (0.5 * guide.start_log_variance).exp() * noise)
            torch.testing.assert_close(q.mean, guide.start_mean.expand_as(first))
        later, first = guide._start(1, prior, noise)
        assert later is prior
        torch.testing.assert_close(first, prior.mean if scattered else prior.mean + prior.stddev * noise)


def test_slots_are_exchangeable(monkeypatch):
    model, guide = pair()
    expected = masks_of(model, guide)
    order = [2, 0, 1]
    monkeypatch.setattr(guide_module, "apart", lambda noise: apart(noise)[order])

    def exchanged(like, number, *args):
        noise = fixed_normals(number, 3, LATENT).to(like)
        return (noise if number == 0 else noise[order])[:, None].expand_as(like)

    monkeypatch.setattr(guide_module, "noise_like", exchanged)
    torch.testing.assert_close(masks_of(model, guide), expected[:, :, order])


@pytest.mark.parametrize("memory", [True, False], ids=["model's memory", "guide's memory"])
def test_the_best_of_several_starts_is_kept(monkeypatch, memory):
    """By the bound of the first frame at the means, for each sequence by itself, and only in evaluation mode."""
    model, guide = pair(memory)
    guide.eval()
    with torch.no_grad():
        model.frame_scale.fill_(0.1)
    frames = torch.rand(8, 2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).round()
    wanted, bounds, latents = 6, [], []
    for start in range(wanted):
        monkeypatch.setattr(
            guide_module, "noise_like", lambda like, number, fixed, _=0, s=start: fixed_noise(like, number, s)
        )
        latents.append(guide.complete(frames))
        terms = guide.refinement_terms(frames[:, :1])
        mean = latents[-1]["z_1"]
        nothing = mean.new_zeros(3, 8, UNITS)
        likelihood = model.mixture(mean, nothing).log_prob(frames[:, 0])
        bounds.append(likelihood - terms[0][-1].divergence)
    monkeypatch.undo()
    best = torch.stack(bounds).argmax(0)
    assert len(set(best.tolist())) > 1
    guide.starts = wanted
    found = guide.complete(frames)
    for name, value in found.items():
        for sequence, start in enumerate(best.tolist()):
            torch.testing.assert_close(value[:, sequence], latents[start][name][:, sequence])


def fixed_noise(like, number, start):
    return fixed_normals(number, 3, LATENT, start if number == 0 else 0).to(like)[:, None].expand_as(like)


def test_training_has_one_start(monkeypatch):
    model, guide = pair(starts=3)
    decoded = []
    monkeypatch.setattr(guide_module, "decode_frame", lambda *args: decoded.append(1) or decode_frame(*args))
    guide.train()(FRAMES[:, :1])
    assert len(decoded) == 2
    guide.eval()(FRAMES[:, :1])
    assert len(decoded) == 2 + 2 * 4
