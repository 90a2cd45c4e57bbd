"""Forecasts as a film: the truth and some futures beside one another, as an animated GIF."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from inference.tasks.video.choice import chosen
from inference.tasks.video.forecast import Forecast
from ppl_models.data.files import write_whole
from ppl_models.inputs import check_count

Bytes = NDArray[np.uint8]
GIVEN, PREDICTED = (42, 157, 58), (214, 39, 40)
WIDTH = 128
"""Least pixels of a panel: frames are enlarged by a whole number."""
_EDGE, _GAP, _TEXT = 4, 10, 13


def write_gif(
    path: str | os.PathLike[str],
    found: Forecast,
    truth: Bytes | None = None,
    *,
    mask: NDArray[np.bool_] | None = None,
    video: int = 0,
    milliseconds: int = 150,
) -> Path:
    """Write the futures of one clip as an animated GIF.

    Side by side the truth, if given, and the futures of `draw_strip`. Borders are green while
    frames are given, and red once they are predicted; a truth that ends before the futures is left
    blank. It runs again and again.

    Parameters
    ----------
    path
        The file; it is written whole.
    found
        Of `forecast`.
    truth, mask
        As of `score_forecast`.
    video
        Which clip.
    milliseconds
        Of a frame.

    Raises
    ------
    InputError
        No such clip, or a truth that is not that of the forecast.
    OSError
        It cannot be written.
    """
    check_count("milliseconds", milliseconds, 20)
    shown = chosen(found, truth, mask, video)
    films = {name.replace("\n", " "): film for name, film in shown.films.items()}
    films["mean"] = shown.mean
    length = found.frames.shape[2]
    pages = [_page(films, time, length, shown.past) for time in range(length)]
    content = io.BytesIO()
    first, *rest = (page.quantize(256, dither=Image.Dither.NONE) for page in pages)
    ends = [milliseconds] * (length - 1) + [max(milliseconds, 800)]
    first.save(content, "GIF", save_all=True, append_images=rest, duration=ends, loop=0)
    write_whole(path, content.getvalue())
    return Path(path)


def _page(films: dict[str, Bytes], time: int, length: int, past: int) -> Image.Image:
    """Draw all films at one time."""
    height, width = next(iter(films.values())).shape[1:3]
    scale = max(1, -(-WIDTH // min(height, width)))
    wide, high = scale * width + 2 * _EDGE, scale * height + 2 * _EDGE
    size = len(films) * (wide + _GAP) + _GAP, high + 2 * _GAP + 2 * (_TEXT + 6)
    page = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(_TEXT)
    given = time < past
    what = f"frame {time + 1} of {length}: {'given' if given else 'predicted'}"
    colour = GIVEN if given else PREDICTED
    pen.text((_GAP, _GAP // 2), what, fill=colour, font=font)
    top = _GAP + _TEXT + 4
    for place, (name, film) in enumerate(films.items()):
        left = _GAP + place * (wide + _GAP)
        middle = left + wide / 2, top + high + 4
        pen.text(middle, name, fill="black", font=font, anchor="ma")
        if time < len(film):
            pen.rectangle((left, top, left + wide - 1, top + high - 1), fill=colour)
            picture = Image.fromarray(np.ascontiguousarray(film[time])).convert("RGB")
            picture = picture.resize((scale * width, scale * height), Image.Resampling.NEAREST)
            page.paste(picture, (left + _EDGE, top + _EDGE))
        else:
            pen.rectangle((left, top, left + wide - 1, top + high - 1), outline="lightgrey")
    return page
