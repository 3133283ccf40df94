"""Pictures of several objects: the paper's canvas, and a glyph pasted at every position."""

import math

import pytest
import torch

from pyro_models.dynamics_from_pixels.object_renderers import LOGIT_UNIT, GlyphRenderer, RecurrentRenderer

SHAPE = (1, 8, 8)
BATCH = 5


def scene(objects=3, spread=1.0):
    positions = spread * torch.randn(objects, BATCH, 2)
    presence = torch.ones(objects, BATCH, dtype=torch.bool)
    return positions, presence


RENDERERS = {"recurrent": lambda: RecurrentRenderer(SHAPE, 11), "glyph": lambda: GlyphRenderer(SHAPE, 3)}
each = pytest.mark.parametrize("build", RENDERERS.values(), ids=RENDERERS.keys())


@each
def test_absent_objects_are_not_drawn_whatever_is_said_of_them(build):
    """Masked objects are as if left out of the list, and give no gradient."""
    renderer = build()
    positions, presence = scene()
    presence[2] = False
    positions[2] = torch.nan
    positions.requires_grad_()
    logits = renderer(positions, presence)
    assert logits.shape == (BATCH, *SHAPE)
    torch.testing.assert_close(logits, renderer(positions[:2], presence[:2]))
    (gradient,) = torch.autograd.grad(logits.sum(), positions)
    assert gradient[:2].isfinite().all()


@each
def test_presence_differs_between_sequences(build):
    renderer = build()
    positions, presence = scene()
    presence = torch.rand(3, BATCH) > 0.5
    together = renderer(positions, presence)
    for index in range(BATCH):
        there = presence[:, index]
        alone = renderer(positions[there, index : index + 1], there[there][:, None])
        torch.testing.assert_close(together[index : index + 1], alone)


def test_the_canvas_by_hand():
    renderer = RecurrentRenderer(SHAPE, 11)
    with torch.no_grad():
        renderer.background.copy_(torch.randn(11))
    positions, presence = scene()
    canvas = renderer.background.tanh()
    for position in positions:
        gate = (position @ renderer.gate.weight.T + renderer.gate.bias).sigmoid()
        drawn = (position @ renderer.contribution.weight.T + renderer.contribution.bias).tanh()
        canvas = (1 - gate) * canvas + gate * drawn
    expected = (canvas @ renderer.pixels.weight.T + renderer.pixels.bias).reshape(BATCH, *SHAPE)
    torch.testing.assert_close(renderer(positions, presence), expected)


def test_gates_shut_and_gates_open():
    """Shut gates leave the background; with open gates only the last object counts."""
    renderer = RecurrentRenderer(SHAPE, 11)
    positions, presence = scene()
    with torch.no_grad():
        renderer.gate.weight.zero_()
        renderer.gate.bias.fill_(-1e4)
        shut = renderer(positions, presence)
        background = renderer.pixels(renderer.background.tanh()).reshape(1, *SHAPE)
        torch.testing.assert_close(shut, background.expand_as(shut))
        renderer.gate.bias.fill_(1e4)
        torch.testing.assert_close(renderer(positions, presence), renderer(positions[2:], presence[2:]))


def test_without_weights_every_pixel_is_a_fair_coin():
    """D log 2 = 1597.01 nats per frame of 48 x 48."""
    renderer = RecurrentRenderer(hidden_dim=4)
    with torch.no_grad():
        for parameter in renderer.parameters():
            parameter.zero_()
    positions, presence = scene()
    frame = torch.bernoulli(torch.full((BATCH, 1, 48, 48), 0.3))
    nats = -torch.distributions.Bernoulli(logits=renderer(positions, presence)).log_prob(frame).sum((1, 2, 3))
    torch.testing.assert_close(nats, torch.full((BATCH,), 48 * 48 * math.log(2)))
    assert nats[0].item() == pytest.approx(1597.01, abs=0.01)


def test_the_published_size():
    """Of weights and biases, hidden size 1024, for 48 x 48 and 32 x 32 pixels (Chiappa and Paquet 2019)."""
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in RecurrentRenderer((1, side, side)).parameters()) for side in (48, 32)]
    assert sizes == [2_368_768, 1_056_768]


def test_weights_start_as_the_paper_says():
    renderer = RecurrentRenderer(hidden_dim=1024)
    assert renderer.pixels.weight.std().item() == pytest.approx(0.0255, rel=0.01)
    assert renderer.gate.weight.std().item() == pytest.approx(0.149, rel=0.05)
    assert (renderer.pixels.bias == 0).all()
    bias = RecurrentRenderer(hidden_dim=4, base_rate=0.01).pixels.bias
    torch.testing.assert_close(bias.sigmoid(), torch.full_like(bias, 0.01))


def test_a_glyph_is_where_its_object_is_and_moves_with_it():
    renderer = GlyphRenderer((1, 9, 9), glyph_size=3, reach=4.0, base_rate=1e-4)
    with torch.no_grad():
        renderer.scaled_glyph.copy_(torch.tensor([[-9.0, 9, -9], [9, 9, 9], [-9, 9, -9]]) / LOGIT_UNIT)
    middle = renderer(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool)).sigmoid()[0, 0]
    assert middle[4, 4] > 0.99
    assert (middle[3:6, 3:6] > 0.99).sum() == 5
    assert (middle > 0.01).sum() == 5
    right = renderer(torch.tensor([[[0.5, 0.25]]]), torch.ones(1, 1, dtype=torch.bool)).sigmoid()[0, 0]
    torch.testing.assert_close(right[2:, 3:], middle[1:-1, 1:-2], rtol=1e-3, atol=1e-3)  # 2 right, 1 down


def test_glyphs_of_two_objects_join_without_order():
    renderer = GlyphRenderer(SHAPE, 3)
    positions, presence = scene(2, 0.3)
    logits = renderer(positions, presence)
    torch.testing.assert_close(logits, renderer(positions.flip(0), presence))
    alone = torch.stack([renderer(positions[[index]], presence[[index]]).sigmoid() for index in range(2)])
    base = (LOGIT_UNIT * renderer.scaled_base_logit).sigmoid()
    expected = 1 - (1 - alone).prod(0) / (1 - base)
    torch.testing.assert_close(logits.sigmoid(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="expected 1 channel"):
        GlyphRenderer((3, 8, 8))
