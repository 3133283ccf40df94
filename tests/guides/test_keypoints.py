"""Readings lie where the light is."""

import torch

from guides.objects.keypoints import Keypoints


def frame_with(*pixels, size=9):
    frames = torch.zeros(1, 1, 1, size, size)
    for x, y in pixels:
        frames[..., y, x] = 1.0
    return frames


def test_a_single_light_is_found_whatever_the_state():
    keypoints = Keypoints(5, (1, 9, 9))
    found = keypoints(0.1 * torch.randn(2, 1, 1, 5), frame_with((7, 2)))
    expected = torch.tensor([7.0 - 4, 2.0 - 4]) * 6 / 9
    torch.testing.assert_close(found, expected.expand(2, 1, 1, 2), rtol=0, atol=0.3)


def test_attention_chooses_among_lights():
    keypoints = Keypoints(2, (1, 9, 9))
    with torch.no_grad():
        keypoints.attention.weight.zero_()
        keypoints.attention.weight[2 * 9 + 7, 0] = 40.0
        keypoints.attention.weight[6 * 9 + 1, 1] = 40.0
    found = keypoints(torch.eye(2)[:, None, None], frame_with((7, 2), (1, 6)))[:, 0, 0]
    expected = (torch.tensor([[7.0, 2.0], [1.0, 6.0]]) - 4) * 6 / 9
    torch.testing.assert_close(found, expected)


def test_a_black_frame_says_the_middle_and_is_differentiable():
    keypoints = Keypoints(3, (1, 9, 9))
    features = torch.zeros(1, 1, 1, 3, requires_grad=True)
    found = keypoints(features, frame_with())
    torch.testing.assert_close(found, torch.zeros(1, 1, 1, 2), rtol=0, atol=1e-5)
    found.sum().backward()
    assert features.grad.isfinite().all()
