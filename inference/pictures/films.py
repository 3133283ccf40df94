"""Videos as animated GIFs: several side by side, with their names."""

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from inference.pictures.theme import (
    MISSING,
    QUIET,
    TRUTH,
    as_rgb,
    check_observed,
    check_outlines,
    check_videos,
    colours_of,
)

BORDER = 3  # pixels of the coloured frame around a panel
SPACE = 10  # pixels between panels
HEADER = 22  # pixels for the names above


def write_film(
    path: str | Path,
    videos: Mapping[str, Tensor],
    observed: Tensor | None = None,
    *,
    outlines: Mapping[str, str] | None = None,
    imputed: str | None = None,
    scale: int = 5,
    frames_per_second: float = 6.0,
) -> Path:
    """Write videos side by side as a GIF that loops forever.

    While a frame is missing, the first panel, the truth, has an orange border, and the others have one in a colour that
    belongs to their name, so that methods which impute can be told apart.

    Args:
        path: output file; parent folders are created.
        videos: name of a panel -> (time, 1 or 3, height, width) in [0, 1], the truth first; grey ones and coloured
            ones may be mixed.
        observed: bool (time,), None = all seen.
        outlines: name of a panel -> colour of its border, while frames are seen and while they are not.
        imputed: colour of the borders of all but the first panel while a frame is missing; None = by name.
        scale: screen pixels per pixel.
        frames_per_second: speed; GIF players take at most 50.

    Returns:
        The path.

    Raises:
        ValueError: if shapes differ, the scale is below 1, the speed is not in (0, 50], or an outline has no panel.
    """
    checked = check_videos("videos", videos)
    outlines = check_outlines(outlines, checked)
    num_frames, _, height, width = next(iter(checked.values())).shape
    seen = check_observed(observed, num_frames)
    if scale < 1:
        raise ValueError(f"scale: expected at least 1, got {scale}")
    if not 0 < frames_per_second <= 50:
        raise ValueError(f"frames_per_second: expected a speed in (0, 50], got {frames_per_second}")
    font = ImageFont.load_default(13)
    wide = max([width * scale + 2 * BORDER, *(int(font.getlength(name)) + 8 for name in checked)])
    size = (len(checked) * (wide + SPACE) + SPACE, HEADER + height * scale + 2 * BORDER + SPACE)
    colours = colours_of(checked)
    pages = []
    for time in range(num_frames):
        page = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(page)
        for column, (name, video) in enumerate(checked.items()):
            left = SPACE + column * (wide + SPACE)
            middle = left + wide // 2
            edge = QUIET if seen[time] else MISSING if column == 0 else imputed or colours[name]
            edge, border = (outlines[name], BORDER) if name in outlines else (edge, 1 if seen[time] else BORDER)
            pen.text((middle, HEADER // 2 + 1), name, fill=TRUTH, font=font, anchor="mm")
            start = middle - (width * scale + 2 * BORDER) // 2
            box = (start, HEADER, start + width * scale + 2 * BORDER - 1, HEADER + height * scale + 2 * BORDER - 1)
            pen.rectangle(box, outline=edge, width=border)
            pixels = (as_rgb(video[time : time + 1])[0] * 255).round().to(torch.uint8).numpy()
            panel = Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            page.paste(panel, (start + BORDER, HEADER + BORDER))
        pages.append(page)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=round(1000 / frames_per_second), loop=0)
    return path
