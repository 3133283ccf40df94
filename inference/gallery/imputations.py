"""Videos with imputed missing frames, and videos from the prior."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from inference.gallery.picture import Picture, save
from inference.pictures import draw_imputation_curves, draw_shaded_videos, draw_strips, write_film
from inference.queries.ask import generate, impute
from inference.queries.imputation import Imputation
from inference.scores.imputation_curves import LAST_FRAME, ImputationCurve, ImputationCurves
from inference.scores.score import Evaluated
from videos import VideoBatch
from videos.missing import gap, tail

NUM_SHOWN = 4  # sequences in a picture
NUM_FIRST = 4  # frames observed before the gap, and before generation


@dataclass(frozen=True, kw_only=True)
class ImputationPictures(Picture):
    """Test videos with a gap, filled in by each of the guide's methods, as strips and films; videos from the prior."""

    captions: ClassVar[Mapping[str, str]] = {
        "imputation-[0-9]*.png": "A test video, a row for each way to infer its missing frames (outlined in the "
        "first row): smoothing uses the frames before and after the gap, filtering those before; “generated” "
        "continues from the first frames alone. The frames shown are expected values, not draws.",
        "imputation-[0-9]*.gif": "A test video and each way to infer its missing frames, as a film. While frames are "
        "missing, the truth has an orange border and the others that of their method.",
        "generated.png": "Whole videos, all frames overlaid in one image, early ones light and late ones dark: test "
        "videos above, draws from the model's prior below. As figures 4d and 5 of Fraccaro et al. (2017).",
    }

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        videos, answers = evaluated.once(shown_answers)
        observed = next(iter(answers.values())).observed
        written = []
        for index in range(videos.num_sequences):
            panels = {"truth": videos.frames[index]} | {name: answer.frames[index] for name, answer in answers.items()}
            written.append(save(draw_strips(panels, observed[index]), folder / f"imputation-{index}.png"))
            written.append(write_film(folder / f"imputation-{index}.gif", panels, observed[index]))
        number = NUM_SHOWN if videos.controls is None else videos.num_sequences
        draws = generate(evaluated.model, number, videos.num_frames, controls=videos.controls, seed=0).frames
        shown = {f"truth {index + 1}": video for index, video in enumerate(videos.frames)}
        shown |= {f"prior draw {index + 1}": video for index, video in enumerate(draws)}
        return [*written, save(draw_shaded_videos(shown), folder / "generated.png")]


@dataclass(frozen=True, kw_only=True)
class ErrorCurvePictures(Picture):
    """Imputation errors, if the run has been evaluated, beside published ones on the same videos.

    Attributes:
        label: name of the model; curves with the same name share a colour.
        published: curves printed in a paper.
    """

    captions: ClassVar[Mapping[str, str]] = {
        "imputation-errors.png": "Share of wrong pixels in missing frames, by how many are missing, with one standard "
        "error over test videos; lower is better. As figures 3a (missing at random) and 3b (missing in a row) of "
        "Fraccaro et al. (2017), whose points are rings on dashed lines where the videos are the same.",
    }

    label: str
    published: tuple[ImputationCurve, ...] = ()

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        curves = evaluated.found.get(ImputationCurves.name)
        if not curves:
            return []
        names = {LAST_FRAME: "copy of the last frame"}
        ours = [replace(curve, method=names.get(curve.method, f"{self.label} {curve.method}")) for curve in curves]
        return [save(draw_imputation_curves(ours, self.published), folder / "imputation-errors.png")]


def shown_answers(evaluated: Evaluated) -> tuple[VideoBatch, dict[str, Imputation]]:
    """The first test videos, and their completions: in a gap, by method, and after the first frames ("generated").

    Args:
        evaluated: model, guide and test videos.
    """
    videos = evaluated.test.select(slice(0, NUM_SHOWN))
    size = (videos.num_sequences, videos.num_frames)
    num_seen = min(NUM_FIRST, max(1, videos.num_frames - 2))  # of videos so short that fewer frames must do
    observed = gap(*size, length=max(1, videos.num_frames - 2 * num_seen), start=num_seen).to(videos.frames.device)
    start = tail(*size, num_seen=num_seen).to(videos.frames.device)
    model, guide = evaluated.model, evaluated.guide
    answers = {
        method or "imputed": impute(model, guide, *videos.with_observed(observed).arguments, method=method)
        for method in getattr(guide, "completion_methods", (None,))
    }
    answers["generated"] = impute(model, guide, *videos.with_observed(start).arguments)
    return videos, answers
