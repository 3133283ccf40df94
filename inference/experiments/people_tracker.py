"""A tracker with a generative model behind it: people as silhouettes in the foreground of a clip."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from guides import SilhouetteTrackingGuide, fit_silhouettes
from pyro_models import WalkingPeople
from videos import BackgroundSubtraction
from videos.clips import Clip, opencv
from videos.tracks import Tracks

_EMPTY = 0  # index of the chance that a slot is empty


@dataclass(frozen=True)
class PeopleTracker:
    """People are inferred in masks of the foreground by `SilhouetteTrackingGuide`, under the model `WalkingPeople`.

    Nothing is trained beforehand: heights and widths start from blobs of the shape of a person, are learned from the
    clip itself in `rounds` of tracking, and then everybody is tracked again and smoothed. A person who is hidden is
    followed by prediction, and has boxes as long as being there is more likely than not, given all frames, or than
    `least_confidence` says; so has a person at the edge whose middle is in the frame.

    Args:
        subtraction: settings of the background subtraction; its moving pixels alone are used, at the clip's own rate.
        width: width of the masks, pixels; their height follows from the clip's.
        coverage: moving share of a mask's pixel from which it is foreground.
        slots: largest number of people in a frame.
        rounds: rounds of learning from the clip; 0 = the start values.
        least_height: smallest height of a box, pixels of the clip; smaller people are left out.
        least_confidence: least probability of presence of a box; smaller ones are left out.
        by_evidence: the confidence of a box is how much more probable the frame is with the person in sight than
            without, nats, instead of the probability of presence, which is near 1 for nearly all boxes.
        min_frames: smallest number of frames in which somebody has boxes; shorter tracks are left out.
        passes: number of times that the subtraction sees the clip; with two the background is known in the first frame.
        pixel_weight: power to which probabilities of pixels are raised, see the guide.
        smoothed: boxes given all frames; False = given earlier ones, as when tracking live.
        seed: of the frames that learning looks at.
        progress: show bars on a terminal.

    Raises:
        ValueError: if a setting is out of its range.
    """

    subtraction: BackgroundSubtraction = BackgroundSubtraction()
    width: int = 128
    coverage: float = 0.4
    slots: int = 16
    rounds: int = 1
    least_height: float = 45.0
    least_confidence: float = 0.5
    by_evidence: bool = False
    min_frames: int = 3
    passes: int = 2
    pixel_weight: float = 0.5
    smoothed: bool = True
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("width", 16),
            ("slots", 1),
            ("rounds", 0),
            ("least_height", 0),
            ("min_frames", 1),
            ("passes", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name in ("coverage", "least_confidence", "pixel_weight"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in (0, 1], got {getattr(self, name)}")

    def track(self, clip: Clip) -> Tracks:
        """Boxes with identities and confidences, see above.

        Args:
            clip: a video file, or frames in memory, uint8 (time, height, width, 3), red-green-blue.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the clip cannot be read, its camera moves, or it has fewer than ten blobs of the shape of a
                person.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        masks, clip_size = self.masks(clip)
        model, guide = self.fit(masks)
        return self.follow(model, guide, masks, clip_size)

    def masks(self, clip: Clip) -> tuple[Float[Tensor, "1 time 1 height width"], tuple[int, int]]:
        """Masks of the foreground, and width and height of the clip."""
        small, size = [], (0, 0)
        frames = self.subtraction.moving(clip, passes=self.passes)
        for frame, mask in tqdm(frames, "foreground", leave=False, disable=None if self.progress else True):
            size = (frame.shape[1], frame.shape[0])
            small.append(self._reduced(mask))
        return torch.from_numpy(np.stack(small)).float()[None, :, None], size

    def fit(self, masks: Float[Tensor, "1 time 1 height width"]) -> tuple[WalkingPeople, SilhouetteTrackingGuide]:
        """A model that has learned how people look in these masks, and its guide."""
        model, guide = self.start(masks)
        if self.rounds:
            fit_silhouettes(guide, masks, rounds=self.rounds, seed=self.seed, progress=self.progress)
        return model, guide

    def start(self, masks: Float[Tensor, "1 time 1 height width"]) -> tuple[WalkingPeople, SilhouetteTrackingGuide]:
        """A model with start values for these masks, and its guide."""
        height, width = masks.shape[-2:]
        model = WalkingPeople((1, height, width), num_slots=self.slots)
        model.start_from(masks)
        return model, SilhouetteTrackingGuide(model, pixel_weight=self.pixel_weight)

    @torch.no_grad()
    def follow(
        self,
        model: WalkingPeople,
        guide: SilhouetteTrackingGuide,
        masks: Float[Tensor, "1 time 1 height width"],
        clip_size: tuple[int, int],
    ) -> Tracks:
        """The tracks of people in masks of a clip, in its pixels."""
        scale = torch.tensor([clip_size[0] / masks.shape[-1], clip_size[1] / masks.shape[-2]], dtype=torch.float64)
        rows = list(self._rows(model, guide, masks, scale, torch.tensor(clip_size)))
        lengths = Counter(name for _, name, _, _ in rows)
        rows = [row for row in rows if lengths[row[1]] >= self.min_frames]
        if not rows:
            none = torch.zeros(0, dtype=torch.long)
            return Tracks(none, none, torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
        frames, names, boxes, chances = zip(*rows, strict=True)
        confidences = torch.tensor(chances, dtype=torch.float64)
        return Tracks(torch.tensor(frames), torch.tensor(names), torch.stack(boxes), confidences)

    def _rows(
        self, model: WalkingPeople, guide: SilhouetteTrackingGuide, masks: Tensor, scale: Tensor, size: Tensor
    ) -> Iterator[tuple[int, int, Tensor, float]]:
        """Frame, identity, box within the frame, and confidence."""
        names, latest = [0] * model.num_slots, 0
        for frame, beliefs in enumerate(guide.track(masks, smoothed=self.smoothed, progress=self.progress)):
            middles, sizes = model.silhouette.box(beliefs.mean[0, :, :4])
            middles, sizes = (middles.double() + 0.5) * scale, sizes.double() * scale
            inside = ((middles >= 0) & (middles <= size)).all(-1)
            present = 1 - beliefs.chances[0, :, _EMPTY]
            confidences = beliefs.gain[0] if self.by_evidence else present
            shown = inside & (present >= self.least_confidence) & (sizes[:, 1] >= self.least_height)
            for slot in range(model.num_slots):
                if beliefs.entered[0, slot]:
                    names[slot] = latest = latest + 1
                if shown[slot]:
                    low = (middles[slot] - 0.5 * sizes[slot]).clamp(min=0)
                    high = torch.minimum(middles[slot] + 0.5 * sizes[slot], size)
                    yield frame, names[slot], torch.cat([low, high - low]), float(confidences[slot])

    def _reduced(self, mask: np.ndarray) -> np.ndarray:
        height = round(mask.shape[0] * self.width / mask.shape[1])
        small = opencv().resize(mask, (self.width, height), interpolation=opencv().INTER_AREA)
        return small >= 255 * self.coverage
