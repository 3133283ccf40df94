"""A filter that sees: in place of a trained guide, bright spots of a window are objects of all particles but one."""

import cv2
import numpy as np
import torch
from torch import nn

from guides import DiscoveryPropagationGuide
from guides.discovery_propagation.guide import Followed
from inference.estimators.carried_filter import CarriedFilter, Particles
from inference.estimators.particle_filter import Resampling
from pyro_models import SequentialAttendInferRepeat
from pyro_models.sqair.object_slots import Identities, ObjectSlots

SIZE = 40
NEAR = 8.0  # pixels that a spot moves at most from frame to frame


class White(nn.Module):
    """A decoder of white glimpses."""

    def forward(self, codes):
        return codes.new_ones(*codes.shape[:-1], 8, 8)


def untrained_pair(**settings):
    """SQAIR whose objects are white, and a guide without a use."""
    torch.manual_seed(0)
    model = SequentialAttendInferRepeat(
        (1, SIZE, SIZE), what_dim=2, glimpse_size=(8, 8), units=4, mean_image=False, patch_gain=1.0, **settings
    )
    model.decoder = White()
    return model, DiscoveryPropagationGuide(model, glance_units=4)


class SeeingFilter(CarriedFilter):
    """Spots are matched with the nearest object of the frame before; with the first particle nobody is there."""

    @classmethod
    def of_pair(cls, num_particles=4, num_slots=2):
        return cls(*untrained_pair(num_slots=num_slots), num_particles, -3, Resampling(threshold=0.0))

    def step(self, frames, before):
        spots = [_spots(frame[0].numpy(), self.model.num_slots) for frame in frames]
        shape = (self.num_particles, 1, len(frames), self.model.num_slots)
        presence, where, names = torch.zeros(shape), torch.zeros(*shape, 4), torch.full(shape, -1)
        latest = torch.full(shape[:-1], -1)
        for window, found in enumerate(spots):
            known = [] if before is None else _known(before.states[0], window)
            given = -1 if before is None else int(before.states[0].identities.latest[..., window].amax())
            for slot, (middle, size) in enumerate(found):
                close = [name for name, place in known if np.hypot(*(place - middle)) < NEAR]
                given += not close
                shares = torch.tensor([*size, *middle]).float() / (SIZE - 1)
                presence[1:, :, window, slot] = 1.0
                where[:, :, window, slot] = torch.cat([shares[:2].logit(), (2 * shares[2:] - 1).atanh()])
                names[1:, :, window, slot] = close[0] if close else given
            latest[:, :, window] = given
        slots = ObjectSlots(presence, where, torch.zeros(*shape, 2))
        nothing = self.model.nothing(frames[:, 0, 0, 0])
        objects = nothing._replace(slots=slots, memory=torch.zeros(*shape, 4), identities=Identities(names, latest))
        return Particles(
            (objects, Followed(objects, torch.zeros(*shape, 4))), torch.zeros(self.num_particles, len(frames))
        )


def _known(objects, window):
    """Names and middles of the objects of a window."""
    chosen = objects.slots.presence[-1, 0, window] > 0
    middles = 0.5 * (objects.slots.where[-1, 0, window, chosen, 2:].tanh() + 1) * (SIZE - 1)
    return list(zip(objects.identities.names[-1, 0, window, chosen].tolist(), middles.numpy(), strict=True))


def _spots(frame, most):
    """Middles, and distances of the outermost pixels, of bright spots."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats((frame > 0.5).astype(np.uint8), connectivity=8)
    found = sorted(boxes[1:].tolist(), key=lambda box: -box[4])[:most]
    return [
        (np.array([left + (wide - 1) / 2, top + (tall - 1) / 2]), np.array([wide - 1.0, tall - 1.0]))
        for left, top, wide, tall, _ in found
    ]
