"""Counts by hand."""

import torch

from inference.metrics import counting_accuracy, counting_confusion

FOUND = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]])
TRUTH = torch.tensor([[[True, True], [False, True]], [[True, False], [True, True]]])


def test_accuracy_and_confusion():
    assert counting_accuracy(FOUND, TRUTH).item() == 0.25
    confusion = counting_confusion(FOUND, TRUTH)
    expected = torch.zeros(3, 4, dtype=torch.long)
    expected[2, 2], expected[1, 0], expected[1, 2], expected[2, 3] = 1, 1, 1, 1
    assert torch.equal(confusion, expected)
    assert confusion.diagonal().sum() / confusion.sum() == counting_accuracy(FOUND, TRUTH)
