"""SQAIR in colour: on one channel it is the grey model, its density adds over channels, and its masks by hand."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import nn
from torch.nn.functional import interpolate

from guides import DiscoveryPropagationGuide
from inference import SVI, VIMCO
from inference.queries import reconstruct
from pyro_models import SequentialAttendInferRepeat
from pyro_models.components.glimpse_networks import GlimpseNetworks
from pyro_models.components.glimpses import Windows, paste_glimpses
from tests.guides.test_discovery_propagation import pair
from tests.pyro_models.test_sqair import SMALL, drawn, latents_of

CONV = GlimpseNetworks("conv", 7, channels=(3, 4), strides=(2, 1), decoder_channels=(3, 2), decoder_strides=(2,))


def colour_pair(networks, **options):
    settings = SMALL | {"networks": networks} | options
    model = SequentialAttendInferRepeat((3, 12, 12), **settings)
    return model, DiscoveryPropagationGuide(model, propagation_bias=0.5, discovery_bias=0.5, correlated=True)


def as_one_channel(colour: nn.Module, grey: nn.Module) -> None:
    """Give a colour program the weights of a grey one, which reads and draws the first channel alone."""
    with torch.no_grad():
        for name, value in colour.named_parameters():
            other = grey.get_parameter(name)
            if value.shape == other.shape:
                value.copy_(other)
            else:
                value.zero_()
                shape = (1,) * (value.dim() - other.dim()) + tuple(other.shape)
                value[tuple(slice(0, size) for size in shape)] = other.reshape(shape)


@pytest.mark.parametrize("networks", [SMALL["networks"], CONV], ids=["mlp", "conv"])
def test_on_one_channel_it_is_the_grey_pair(networks):
    torch.manual_seed(0)
    model, guide = pair(networks=networks)
    colour, colour_guide = colour_pair(networks)
    as_one_channel(colour, model)
    as_one_channel(colour_guide, guide)
    frames = torch.rand(3, 2, 1, 12, 12)
    in_red = torch.cat([frames, torch.zeros(3, 2, 2, 12, 12)], 2)
    losses = []
    for programs, videos in (((model, guide), frames), ((colour, colour_guide), in_red)):
        pyro.set_rng_seed(1)
        losses.append(VIMCO(3).loss(*programs, videos))
    black = torch.distributions.Normal(0.0, model.frame_scale).log_prob(torch.tensor(0.0)).item()
    assert losses[1] == pytest.approx(losses[0] - 3 * 2 * 2 * 144 * black, rel=1e-5)


def test_the_density_of_a_frame_is_that_of_all_channels():
    """Each object's patch pasted channel by channel, and the mean image where an object covers it."""
    torch.manual_seed(0)
    model, guide = colour_pair(SMALL["networks"])
    with torch.no_grad():
        model.mean_image.copy_(torch.rand(3, 12, 12))
    frames = torch.rand(3, 2, 3, 12, 12)
    guide_trace = poutine.trace(guide).get_trace(frames)
    trace = poutine.trace(poutine.replay(model, guide_trace)).get_trace(frames)
    trace.compute_log_prob()
    scene, states = model.scene(latents_of(trace)), model._replayed(latents_of(trace))
    assert scene.presence.sum() > 3
    for time, state in enumerate(states):
        for video in range(3):
            means, covered = torch.zeros(3, 12, 12), torch.zeros(12, 12)
            for slot in state.slots.presence[video].nonzero()[:, 0]:
                window = Windows.from_logits(state.slots.where[video, slot])
                patch = model.patch_gain * model.decoder(state.slots.what[video, slot])
                means += torch.stack([paste_glimpses(channel, window, (12, 12)) for channel in patch])
                covered += paste_glimpses(torch.ones(4, 4), window, (12, 12))
            means += (20 * covered - 10).sigmoid() * model.mean_image
            expected = torch.distributions.Normal(means, model.frame_scale).log_prob(frames[video, time]).sum()
            torch.testing.assert_close(trace.nodes["frames"]["log_prob"][time, video], expected)


def test_a_step_reaches_every_weight_and_answers_have_channels():
    torch.manual_seed(0)
    model, guide = colour_pair(CONV)
    before = {name: value.clone() for name, value in [*model.named_parameters(), *guide.named_parameters()]}
    frames = torch.rand(4, 2, 3, 12, 12)
    svi = SVI(model, guide, torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-2), Trace_ELBO())
    for _ in range(2):
        assert svi.step(frames).isfinite()
    after = dict([*model.named_parameters(), *guide.named_parameters()])
    assert [name for name, value in before.items() if torch.equal(value, after[name])] == []
    answer = reconstruct(model, guide, frames)
    assert answer.frames.shape == frames.shape
    assert model.object_masks(answer.values).shape == (4, 2, 3, 12, 12)


@pytest.mark.parametrize("channels", [1, 3])
def test_masks_are_the_brightest_objects_pixels(channels):
    torch.manual_seed(2)
    model = SequentialAttendInferRepeat((channels, 12, 12), **(SMALL | {"patch_gain": 4.0}))
    latents = latents_of(drawn(model, 40, 3))
    masks, states = model.object_masks(latents), model._replayed(latents)
    assert masks.shape == (40, 3, 3, 12, 12)
    assert masks.sum(2).max() == 1
    assert masks.sum() > 100
    larger = model.object_masks(latents, (24, 36))
    for time, state in enumerate(states):
        for video in range(8):
            lights = []
            for slot in range(3):
                window = Windows.from_logits(state.slots.where[video, slot])
                patch = 4.0 * model.decoder(state.slots.what[video, slot]).reshape(channels, 4, 4)
                lights.append(torch.stack([paste_glimpses(one, window, (12, 12)) for one in patch]))
            lights = torch.stack(lights) * state.slots.presence[video, :, None, None, None]
            finer = interpolate(lights, (24, 36), mode="bilinear")
            for light, found in ((lights.amax(1), masks), (finer.amax(1), larger)):
                expected = (light == light.amax(0)) & (light >= 0.5)
                assert torch.equal(found[video, time], expected)


def test_frames_of_other_channels_are_refused():
    model, guide = colour_pair(SMALL["networks"])
    grey = torch.rand(2, 3, 1, 12, 12)
    for program in (model, guide):
        with pytest.raises(ValueError, match=r"frames: expected .*3.*12.*got .*1, 12, 12"):
            program(grey)
    with pytest.raises(ValueError, match=r"frames: expected \(\.\.\., \*\(3, 12, 12\)\), got \(2, 3, 1, 12, 12\)"):
        model.start_from(grey)
