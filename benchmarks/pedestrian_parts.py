"""What each part of the model of walking people is worth: trackers without it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from guides import SilhouetteTrackingGuide
from inference.experiments.people_tracker import PeopleTracker
from inference.trackers import Tracker
from pyro_models import WalkingPeople
from pyro_models.walking_people.heights import blobs_like_people

NEVER = math.log(1e-4)


@dataclass(frozen=True)
class Without(PeopleTracker):
    """People without a part of their model: while it learns how they look, and afterwards.

    Attributes:
        part: perspective = one mean height in all rows, with the spread of blobs' heights around it; velocity = a
            random walk, whose steps are as long as people walk; hiding = whoever is not seen is gone; places = one rate
            of either error for all pixels.
    """

    part: str = ""

    @torch.no_grad()
    def start(self, masks: Tensor) -> tuple[WalkingPeople, SilhouetteTrackingGuide]:
        """See `PeopleTracker.start`."""
        model, guide = super().start(masks)
        motion = model.motion
        if self.part == "perspective":
            motion.log_spread[0] = _log_heights(masks).std().log()
        elif self.part == "velocity":
            motion.log_sway.copy_(motion.log_speed)
            motion.log_push.fill_(NEVER)
            motion.log_speed.fill_(NEVER)
        elif self.part == "hiding":
            motion.hide_logit.fill_(NEVER)
            motion.appear_logit.fill_(-NEVER)
        self._unlearn(model, masks)
        return model, guide

    def fit(self, masks: Tensor) -> tuple[WalkingPeople, SilhouetteTrackingGuide]:
        """See `PeopleTracker.fit`."""
        model, guide = super().fit(masks)
        self._unlearn(model, masks)
        return model, guide

    @torch.no_grad()
    def _unlearn(self, model: WalkingPeople, masks: Tensor) -> None:
        if self.part == "perspective":
            model.silhouette.line.copy_(torch.stack([_log_heights(masks).mean().exp(), torch.zeros(())]))
        elif self.part == "places":
            for logit in (model.pixels.miss_logit, model.pixels.false_logit):
                logit.fill_(float(logit.sigmoid().mean().logit()))


def _log_heights(masks: Tensor) -> Tensor:
    """Logarithms of the heights of blobs that look like people."""
    return blobs_like_people(masks[0, :, 0])[1].log()


#: People by what is missing of their model.
PARTS: dict[str, Tracker] = {
    "nothing": PeopleTracker(),
    "sizes by row (perspective)": Without(part="perspective"),
    "velocities": Without(part="velocity"),
    "people who are hidden": Without(part="hiding"),
    "error rates of each pixel": Without(part="places"),
    "learned silhouettes and rates": PeopleTracker(rounds=0),
    "background known in the first frame": PeopleTracker(passes=1),
    "weight of pixels below 1": PeopleTracker(pixel_weight=1.0),
    "later frames": PeopleTracker(smoothed=False),
}
