"""These tests pin: what a step computes piece by piece is computed at once where nothing stands between the pieces; the
results stay, and so do draws, writes to memory and their order."""

import pytest
import torch
from torch import nn

from inference.svi.graph import trace_step
from inference.svi.passes import joined

X = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))


def matrix(*shape, seed=1):
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 2)


def both(function, *parameters):
    """Results before and after, and the operations after."""

    def step(x):
        loss = function(x)
        if parameters:
            loss.backward()
        return loss.detach()

    graph = trace_step(step, parameters, (X,))
    module = joined(graph.module, [*graph.captured, X])
    results = []
    for run in (graph.module, module):
        torch.manual_seed(0)
        results.append([run(*graph.captured, x) for x in (X, 2 * X)])
    return *results, [getattr(node.target, "_opname", "") for node in module.graph.nodes]


def products(operations):
    return sum(operations.count(name) for name in ("mm", "addmm", "bmm"))


def transition(weight, bias, z):
    return torch.tanh(torch.nn.functional.linear(z, weight, bias))


def test_steps_that_do_not_need_one_another_are_one_product():
    weight, bias = matrix(3, 3), matrix(3)
    before, after, operations = both(lambda x: sum((transition(weight, bias, z) ** 2).sum() for z in x), weight, bias)
    torch.testing.assert_close(after, before)
    assert products(operations) == 2  # forward, and the gradient of the weight
    assert operations.count("tanh") == operations.count("tanh_backward") == 1


def test_steps_that_need_one_another_stay_apart_but_their_gradients_do_not():
    weight, bias = matrix(3, 3), matrix(3)

    def function(x):
        state = x[0]
        for now in x:
            state = transition(weight, bias, state + now)
        return state.sum()

    before, after, operations = both(function, weight, bias)
    torch.testing.assert_close(after, before)
    assert operations.count("tanh") == len(X)
    assert products(operations) == len(X) + (len(X) - 1) + 1  # forward, backward, and one for the weight


@pytest.mark.parametrize(
    ("parts", "are_joined"),
    [
        ([0, 1, 2, 3, 4, 5], True),
        ([3, 1, -2, 0], True),  # some are missing
        ([slice(0, 2), slice(2, None)], True),
        ([slice(-1, None), 0, slice(1, 4)], True),
        ([0, 1], False),  # most of the tensor is missing
        ([0, slice(0, 5)], False),  # parts overlap
        ([slice(0, None, 2), slice(1, None, 2)], False),  # every second row
    ],
    ids=str,
)
def test_gradients_of_parts_lie_beside_one_another(parts, are_joined):
    weight, whole = matrix(3, 3), matrix(4, 6, 3)

    def function(x):
        rows, state, total = torch.tanh(whole), x[0], 0.0
        for part in parts:
            read = rows[:, part] if isinstance(part, slice) else rows[:, part, None]
            state = torch.tanh(state @ weight)  # each step needs the one before
            total = total + (torch.sin(read) * state[:4, None]).sum()
        return total

    before, after, operations = both(function, weight, whole)
    torch.testing.assert_close(after, before)
    assert operations.count("select_backward") + operations.count("slice_backward") == (0 if are_joined else len(parts))


def test_densities_after_a_chain_of_draws_are_one_product():
    encoder, weight = matrix(3, 3, seed=1), matrix(3, 3, seed=2)

    def function(x):
        state, total = torch.zeros(4, 3), 0.0
        for now in x:
            mean = torch.tanh(torch.cat([state, now], -1)[:, :3] @ encoder)
            before, state = state, mean + torch.randn(4, 3)
            total = total + ((state - torch.tanh(before @ weight)) ** 2).sum()
        return total

    before, after, operations = both(function, encoder, weight)
    torch.testing.assert_close(after, before)
    assert operations.count("randn") == len(X)
    chain = (len(X) - 1) * 2  # to the next state and back; the first one reads zeros
    assert products(operations) <= chain + 8


def test_layers_that_read_the_same_are_one():
    first, second = matrix(2, 3, seed=1), matrix(3, 3, seed=2)

    def function(x):
        linear = torch.nn.functional.linear
        return (torch.tanh(linear(x[0], first)).sum() + torch.sigmoid(linear(x[0], second)) ** 2).sum()

    before, after, operations = both(function, first, second)
    torch.testing.assert_close(after, before)
    assert operations.count("mm") == 1 + 2


def test_what_is_computed_twice_is_computed_once():
    before, after, operations = both(lambda x: torch.exp(x).sum() + torch.exp(x).sum() * 2)
    torch.testing.assert_close(after, before)
    assert operations.count("exp") == 1


@pytest.mark.parametrize("split", [torch.chunk, torch.unsafe_chunk])
def test_what_is_computed_twice_and_then_written_to_is_computed_twice(split):
    weight = matrix(6, 3).detach()

    def function(x):
        total = 0.0
        for now in (x[0], x[0], x[1], x[2]):
            upper, lower = split(now @ weight.T, 2, -1)
            total = total + (upper.sigmoid_() * lower.tanh_()).sum()
        return total

    before, after, _ = both(function)
    torch.testing.assert_close(after, before)


def test_a_result_that_another_one_reads_is_not_moved_behind_it():
    weight = matrix(3, 3)

    def function(x):
        first = x[0] @ weight
        second = (first + x[1]) @ weight
        return (x[2] @ weight + second @ weight + x[3] @ weight).sum()

    before, after, _ = both(function, weight)
    torch.testing.assert_close(after, before)


def test_memory_is_read_when_it_was_read_before():
    weight, buffer = matrix(3, 3), torch.zeros(4, 3)

    def function(x):
        buffer.zero_()
        total = 0.0
        for now in x:
            buffer.add_(now)
            total = total + ((buffer @ weight) ** 2).sum()
        return total

    before, after, _ = both(lambda x: function(x).detach())
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("parts", [lambda x: (x[:2], x[2:]), lambda x: x.split(2)], ids=["slices", "split"])
def test_memory_is_read_when_it_was_read_before_though_another_view_of_it_is_written(parts):
    weight, buffer = matrix(3, 3).detach(), torch.zeros(4, 3)

    def function(x):
        buffer.copy_(x[0])
        upper, lower = parts(buffer)
        total = lower.clone().sum()
        for now in x:
            buffer.add_(now)
            total = total + ((lower @ weight) ** 2).sum() + upper.sum()
        return total

    before, after, _ = both(function)
    torch.testing.assert_close(after, before)


def test_a_part_of_a_joined_layer_can_be_reshaped():
    first, second = matrix(2, 3, seed=1), matrix(3, 3, seed=2)

    def function(x):
        one, two = x[0] @ first.T, x[0] @ second.T
        return (one.view(-1).cumsum(0) ** 2).sum() + (two.view(2, 6).cumsum(1) ** 2).sum()

    before, after, operations = both(function, first, second)
    torch.testing.assert_close(after, before)
    assert products(operations) == 1 + 2


def test_lists_of_tensors_and_named_results_are_written_to():
    weight, scratch = matrix(3, 3).detach(), torch.zeros(4, 3)

    def function(x):
        first, second = x[0] @ weight, x[0] @ weight
        torch._foreach_add_([first, x[1] + 0], 1.0)
        total = 0.0
        for now in x:
            torch.mul(now, 2.0, out=scratch)
            total = total + (scratch @ weight).sum()
        return total + (first * second).sum()

    before, after, _ = both(function)
    torch.testing.assert_close(after, before)


def test_what_looks_at_memory_by_its_layout_is_left_alone():
    before, after, operations = both(lambda x: sum((2 * x).as_strided((2, 2), (i + 1, 1)).sum() for i in range(3)))
    torch.testing.assert_close(after, before)
    assert operations.count("as_strided") == 3


@pytest.mark.parametrize(
    ("seed", "length"), [(0, 15), (1, 15), *(pytest.param(s, 60, marks=pytest.mark.slow) for s in range(20))]
)
def test_random_programs_give_what_they_gave(seed, length):
    random = torch.Generator().manual_seed(seed)
    weights = [matrix(3, 3, seed=number) for number in range(3)]

    def draw(count):
        return int(torch.randint(count, (), generator=random))

    choices = [(draw(6), draw(3), draw(100), draw(100)) for _ in range(length)]

    def function(x):
        values = list(x)
        for kind, weight, first, second in choices:
            a, b = values[first % len(values)], values[second % len(values)]
            values.append(
                [
                    lambda a, b, w: a @ w,
                    lambda a, b, w: torch.tanh(a @ w.T),
                    lambda a, b, w: a + b,
                    lambda a, b, w: a * torch.sigmoid(b),
                    lambda a, b, w: torch.cat([a[:2], b[2:]]) @ w,
                    lambda a, b, w: a - b.mean(0, keepdim=True) + 0.1 * torch.randn(4, 3),
                ][kind](a, b, weights[weight])
            )
        return sum((value.clamp(-3, 3) ** 2).mean() for value in values)

    before, after, _ = both(function, *weights)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
