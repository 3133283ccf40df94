"""Networks in bfloat16: what is reduced, what is not, and that training and evidence hardly notice."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceGraph_ELBO
from pyro.poutine.util import prune_subsample_sites
from torch import nn

from inference import SVI, VIMCO, log_evidence, mixed_precision
from inference.recipes import RECIPES
from pyro_models.components.convolutions import ConvDecoder, ConvEncoder

LAYERS = {
    "linear": (nn.Linear(6, 5), (4, 6)),
    "convolution": (nn.Conv2d(2, 3, 3), (4, 2, 6, 6)),
    "transposed convolution": (nn.ConvTranspose2d(2, 3, 3), (4, 2, 6, 6)),
    "LSTM": (nn.LSTM(6, 5), (3, 4, 6)),
    "GRU": (nn.GRU(6, 5), (3, 4, 6)),
    "LSTM cell": (nn.LSTMCell(6, 5), (4, 6)),
    "GRU cell": (nn.GRUCell(6, 5), (4, 6)),
    "encoder": (ConvEncoder((1, 16, 16), channels=8), (4, 1, 16, 16)),
    "decoder": (ConvDecoder(2, (1, 16, 16), channels=8), (4, 2)),
}


def has_lstm():
    """Whether this processor runs an LSTM in bfloat16."""
    try:
        with mixed_precision("bfloat16"):
            nn.LSTM(6, 5)(torch.zeros(3, 4, 6))
    except RuntimeError:
        return False
    return True


needs_lstm = pytest.mark.skipif(not has_lstm(), reason="oneDNN has no LSTM in bfloat16 for this processor")


def first(result):
    return result if isinstance(result, torch.Tensor) else result[0]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [pytest.param(*case, id=name, marks=[needs_lstm] if name == "LSTM" else []) for name, case in LAYERS.items()],
)
def test_layers_give_float32_close_to_full_precision(layer, shape):
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    full = first(layer(inputs))
    with mixed_precision("bfloat16"):
        reduced = first(layer(inputs))
    assert reduced.dtype == torch.float32
    assert not torch.equal(reduced, full)
    torch.testing.assert_close(reduced, full, atol=0.05 * full.abs().max().item(), rtol=0)
    reduced.sum().backward()
    assert all(parameter.grad is None or parameter.grad.dtype == torch.float32 for parameter in layer.parameters())
    with mixed_precision("float32"):
        assert torch.equal(first(layer(inputs)), full)


def test_arguments_may_be_given_by_name():
    layer, inputs = nn.Linear(6, 5), torch.randn(4, 6)
    with mixed_precision("bfloat16"):
        assert torch.equal(nn.functional.linear(inputs, weight=layer.weight, bias=layer.bias), layer(inputs))
        assert torch.equal(nn.functional.linear(input=inputs, weight=layer.weight, bias=layer.bias), layer(inputs))


def test_float64_is_left_alone():
    layer, inputs = nn.Linear(6, 5).double(), torch.randn(4, 6, dtype=torch.float64)
    with mixed_precision("bfloat16"):
        assert torch.equal(layer(inputs), nn.functional.linear(inputs, layer.weight, layer.bias))


def test_algebra_and_densities_are_left_alone():
    root = torch.randn(5, 5)

    def compute():
        covariance = root @ root.mT + torch.eye(5)
        law = dist.MultivariateNormal(root[0], covariance)
        return (
            torch.linalg.cholesky(covariance),
            covariance @ root,
            torch.einsum("ij,jk", root, root),
            law.log_prob(root),
        )

    full = compute()
    with mixed_precision("bfloat16"):
        assert all(torch.equal(reduced, whole) for reduced, whole in zip(compute(), full, strict=True))


def prepared(name, loss, precision, compile="off"):
    recipe = RECIPES[name].with_options(num_train=4, batch_size=4, num_validation=1, num_test=8)
    model, guide = recipe.build()
    optimizer = torch.optim.SGD([*model.parameters(), *guide.parameters()], 1e-6)
    splits = recipe.splits()
    svi = SVI(model, guide, optimizer, loss, precision=precision, compile=compile)
    return svi, recipe.training_source(splits.train).batch(0).arguments, splits.test.arguments


CASES = [
    pytest.param("kvae-demo", Trace_ELBO, marks=needs_lstm),
    ("air-small", TraceGraph_ELBO),
    ("air-small", lambda: VIMCO(3)),
]


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_a_step_is_nearly_the_same(name, loss):
    losses, norms = {}, {}
    for precision in ("float32", "bfloat16"):
        svi, batch, _ = prepared(name, loss(), precision)
        pyro.set_rng_seed(0)
        losses[precision] = svi.step(*batch)
        norms[precision] = svi.gradient_norm
        assert losses[precision].dtype == torch.float32
        assert all(parameter.dtype == torch.float32 for parameter in svi.model.parameters())
    assert losses["bfloat16"] != losses["float32"]
    torch.testing.assert_close(losses["bfloat16"], losses["float32"], rtol=0.02, atol=1.0)
    torch.testing.assert_close(norms["bfloat16"], norms["float32"], rtol=0.2, atol=0)


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_every_site_is_in_float32(name, loss):
    svi, batch, _ = prepared(name, loss(), "bfloat16")
    with mixed_precision("bfloat16"):
        drawn = poutine.trace(svi.guide).get_trace(*batch)
        scored = poutine.trace(poutine.replay(svi.model, trace=drawn)).get_trace(*batch)
        drawn, scored = prune_subsample_sites(drawn), prune_subsample_sites(scored)
        scored.compute_log_prob()
    for trace in (drawn, scored):
        for name in trace.stochastic_nodes + trace.observation_nodes:
            assert trace.nodes[name]["value"].dtype == torch.float32
    for name in scored.stochastic_nodes + scored.observation_nodes:
        assert scored.nodes[name]["log_prob"].dtype == torch.float32


@pytest.mark.slow
@pytest.mark.ci
def test_a_traced_step_is_reduced_as_well():
    losses = []
    for compile in ("off", "trace"):
        svi, batch, _ = prepared("air-small", TraceGraph_ELBO(), "bfloat16", compile)
        pyro.set_rng_seed(0)
        losses.append(torch.stack([svi.step(*batch) for _ in range(3)]))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-3)


@needs_lstm
def test_evidence_agrees_within_its_standard_error():
    svi, _, test = prepared("kvae-demo", Trace_ELBO(), "float32")
    found = {}
    for precision in ("float32", "bfloat16"):
        pyro.set_rng_seed(0)
        with mixed_precision(precision):
            found[precision] = log_evidence(svi.model, svi.guide, *test, num_particles=100).log_evidence
    difference = found["bfloat16"] - found["float32"]
    assert (difference != 0).any()
    assert difference.mean().abs() < found["float32"].std() / 8**0.5


def test_unknown_precisions_are_refused():
    with pytest.raises(ValueError, match="precision: expected one of float32, bfloat16, got 'half'"):
        mixed_precision("half")
    with pytest.raises(ValueError, match="precision: expected one of float32, bfloat16, got 'half'"):
        prepared("kvae-demo", Trace_ELBO(), "half")
