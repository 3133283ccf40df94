"""These tests pin: what is the same for all slots or particles is multiplied once, forward and in both gradients; what
would cost more is left as it is; the results stay."""

import pytest
import torch
from torch import nn
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from inference.svi.graph import trace_step
from inference.svi.passes import joined

SEQUENCES, WIDTH, STATE, UNITS, SLOTS, PARTICLES = 6, 40, 5, 8, 3, 4
FEATURES = torch.randn(SEQUENCES, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def matrix(*shape, seed=1):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.Parameter(values / shape[-1] ** 0.5)


def compared(loss, parameters, inputs=FEATURES):
    """Multiply-adds of products before and after; checks that results are equal, at other inputs as well."""

    def step(x):
        value = loss(x)
        value.backward()
        return value.detach()

    graph = trace_step(step, parameters, (inputs,))
    module = joined(graph.module, [*graph.captured, inputs])
    counts = []
    for run in (graph.module, module):
        with FlopCounterMode(display=False) as counter:
            run(*graph.captured, inputs)
        counts.append(counter.get_total_flops() // 2)
    for x in (inputs, 2 * inputs):
        torch.testing.assert_close(module(*graph.captured, x), graph.module(*graph.captured, x))
    return counts


def slots(features, cell, weights, is_first=True, state=None):
    """Outputs of slots, each from the features and the slot before."""
    state, outputs = torch.zeros(*features.shape[:-1], STATE, dtype=torch.float64) if state is None else state, []
    for _ in range(SLOTS):
        parts = [features, state] if is_first else [state, features]
        outputs.append(cell(torch.cat(parts, -1)))
        state = torch.tanh(linear(outputs[-1], weights))
    return sum((output**2).sum() for output in outputs)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("learned", [True, False])
def test_features_are_multiplied_once_for_all_slots(learned, is_first, with_bias):
    embed, out = matrix(WIDTH, WIDTH), matrix(STATE, UNITS, seed=2)
    into, bias = matrix(UNITS, WIDTH + STATE, seed=3), matrix(UNITS, seed=4)

    def loss(x):
        features = torch.relu(x @ embed) if learned else x
        return slots(features, lambda rows: linear(rows, into, bias if with_bias else None), out, is_first)

    before, after = compared(loss, [out, into, bias, *([embed] if learned else [])])
    # forward, the gradient of the matrix, and that of the rows, where eager steps also compute what nobody reads: the
    # gradient of the first state, or of features that are no parameters
    saved = 3 * (SLOTS - 1) * SEQUENCES * WIDTH * UNITS + (SEQUENCES * STATE * UNITS if learned else 0)
    assert before - after == saved


@pytest.mark.parametrize("learned", [True, False])
def test_features_are_multiplied_once_for_all_particles(learned):
    embed, out, into = matrix(WIDTH, WIDTH), matrix(STATE, UNITS, seed=2), matrix(UNITS, WIDTH + STATE, seed=3)

    def loss(x):
        features = torch.relu(x @ embed) if learned else x
        state = torch.linspace(0, 1, PARTICLES * SEQUENCES * STATE, dtype=torch.float64)
        expanded = features.expand(PARTICLES, SEQUENCES, WIDTH)
        cell = lambda rows: linear(rows, into)  # noqa: E731
        return slots(expanded, cell, out, state=state.reshape(PARTICLES, SEQUENCES, STATE))

    before, after = compared(loss, [out, into, *([embed] if learned else [])])
    assert before - after >= (SLOTS * PARTICLES - 1) * SEQUENCES * WIDTH * UNITS * (3 if learned else 2)


def test_cells_that_write_into_products_are_no_obstacle():
    torch.manual_seed(0)
    cell = nn.LSTMCell(WIDTH + STATE, UNITS, dtype=torch.float64)
    embed, out = matrix(WIDTH, WIDTH), matrix(STATE, UNITS, seed=2)

    def loss(x):
        features, state, memory, total = torch.relu(x @ embed), torch.zeros(SEQUENCES, STATE).double(), None, 0
        for _ in range(SLOTS):
            memory = cell(torch.cat([features, state], -1), memory)
            state = torch.tanh(linear(memory[0], out))
            total = total + (state**2).sum()
        return total

    before, after = compared(loss, [embed, out, *cell.parameters()])
    assert before - after >= 3 * (SLOTS - 1) * SEQUENCES * WIDTH * 4 * UNITS


def test_gradients_that_are_written_to_are_sums_as_well():
    embed, out, into = matrix(WIDTH, WIDTH), matrix(STATE, UNITS, seed=2), matrix(UNITS, WIDTH + STATE, seed=3)

    def step(x):
        loss = slots(torch.relu(x @ embed), lambda rows: linear(rows, into), out)
        loss.backward()
        torch._foreach_div_([parameter.grad for parameter in (embed, out, into)], 2.0)
        return loss.detach()

    graph = trace_step(step, [embed, out, into], (FEATURES,))
    inputs = [*graph.captured, FEATURES]
    module = joined(graph.module, inputs)
    torch.testing.assert_close(module(*inputs), graph.module(*inputs))
    sums = [node for node in module.graph.nodes if node.target is torch.ops.aten.add.Tensor]
    assert not any(tuple(node.meta["val"].shape) == (UNITS, WIDTH + STATE) for node in sums)


def test_products_may_come_in_any_order():
    """Rows are read by one matrix before the other or after it, and by what is no gradient."""
    one, other, out = (matrix(UNITS, WIDTH + STATE, seed=seed) for seed in (1, 2, 3))
    small = matrix(STATE, UNITS, seed=4)

    def loss(x):
        state, total = torch.zeros(SEQUENCES, STATE, dtype=torch.float64), 0
        for slot in range(SLOTS):
            rows = torch.cat([x, state], -1)
            total = total + (x.t() @ rows).square().sum()
            results = [linear(rows, weight) for weight in ((one, other) if slot % 2 else (other, one))]
            state = torch.tanh(linear(results[0] * results[1], small))
        return total + (linear(torch.cat([x, state], -1), out) ** 2).sum()

    before, after = compared(loss, [one, other, out, small])
    assert after < before


def unchanged(loss, parameters):
    before, after = compared(loss, parameters)
    return before == after


def test_what_is_not_shared_or_narrow_is_left_alone():
    out, into, narrow = matrix(STATE, UNITS, seed=2), matrix(UNITS, WIDTH + STATE, seed=3), matrix(UNITS, 9, seed=4)
    own = [matrix(UNITS, WIDTH + STATE, seed=seed) for seed in range(SLOTS)]
    cells = iter(own * 10)
    assert unchanged(lambda x: slots(x, lambda rows: linear(rows, next(cells)), out), [out, *own])
    assert unchanged(lambda x: slots(x[:, :4], lambda rows: linear(rows, narrow), out), [out, narrow])
    added = matrix(PARTICLES * SEQUENCES, UNITS)

    def with_more_than_a_bias(x):
        expanded = x.expand(PARTICLES, *x.shape)
        rows = torch.cat([expanded, expanded[..., :STATE]], -1).reshape(-1, WIDTH + STATE)
        return torch.addmm(added, rows, into.t()).sum()

    assert unchanged(with_more_than_a_bias, [into, added])
    first = lambda x: linear(torch.cat([x, x[:, :STATE]], -1), into).sum()  # noqa: E731
    assert unchanged(first, [into])


def test_parts_of_other_types_are_left_alone():
    into, out = matrix(UNITS, WIDTH + STATE, seed=3), matrix(STATE, UNITS, seed=2)

    def loss(x):
        signs = (x > 0).to(torch.float32)  # which become numbers of 64 bits beside a state
        return slots(signs, lambda rows: linear(rows, into), out)

    assert unchanged(loss, [into, out])


def test_what_is_read_before_its_sum_is_not_summed_first():
    weight, other = matrix(UNITS, WIDTH), matrix(SEQUENCES, UNITS)

    def loss(x):
        product = x @ weight.T
        return (product.sum(0) ** 2).sum() + (product * other).sum()

    assert unchanged(loss, [weight, other])
