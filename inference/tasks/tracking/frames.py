"""Frames of a video with the boxes of who is there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inference.tasks.tracking.images import Images, find_images, read_image
from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.plot import colours
from inference.tasks.tracking.tracks import Tracks
from inference.tasks.tracking.whole import LiveTracks
from ppl_models.data.files import write_whole

SHOWN = 0.25
"""Least p(present) of a box that is drawn."""
SEEN = 0.5
"""p(seen) below which a box is dashed."""
QUALITY = 90
"""Of the JPEG files."""
NAME = re.compile(r"\d{6,}\.jpg")


class Drawn(NamedTuple):
    """P boxes that are drawn."""

    frame: IntArray
    object: IntArray
    box: FloatArray
    """(P, 4): left, top, width, height, pixels."""
    present: FloatArray
    hidden: BoolArray


def draw_frames(
    tracks: LiveTracks | Tracks,
    images: str | os.PathLike[str] | Images,
    out: str | os.PathLike[str],
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw the boxes of who is there into the images of a video: a JPEG file a frame.

    A box has the colour and the number of its object, is as opaque as p(present), and dashed
    where its object is likelier hidden than seen (`Tracks`: where no detection is its own).

    Parameters
    ----------
    tracks : LiveTracks or Tracks
    images : path, or Images
        A folder of images, or what `find_images` found there.
    out : path
        A folder, made if there is none; frames of an earlier call in it are removed.
    progress : callable, optional
        Called with frames done, and how many there are.

    Returns
    -------
    list of Path
        ``000001.jpg`` and so on, by number of the frame.

    Raises
    ------
    InputError
        As `find_images`; or an image is damaged.
    OSError
        A file cannot be written.
    """
    drawn = _drawn(tracks)
    length = tracks.length if isinstance(tracks, LiveTracks) else tracks.mean.shape[1]
    if not isinstance(images, Images):
        images = find_images(images, tracks.first, tracks.first + length - 1)
    folder, shades, written = Path(out), colours(max(tracks.objects, 1)), list[Path]()
    remove_frames(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for done, (frame, path) in enumerate(images.paths.items(), 1):
        image = read_image(path, images.size)
        _draw(image, Drawn._make(part[drawn.frame == frame] for part in drawn), shades)
        content = BytesIO()
        image.save(content, format="JPEG", quality=QUALITY)
        written.append(folder / f"{frame:06d}.jpg")
        write_whole(written[-1], content.getvalue())
        if progress is not None:
            progress(done, len(images.paths))
    return written


def remove_frames(folder: Path) -> None:
    """Remove what `draw_frames` wrote into a folder, and the folder if nothing else is in it."""
    if folder.is_dir():
        for path in folder.iterdir():
            if NAME.fullmatch(path.name):
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _drawn(tracks: LiveTracks | Tracks) -> Drawn:
    """Return the boxes to be drawn, who is nearer, with lower feet, after who is further."""
    if isinstance(tracks, LiveTracks):
        rows = tracks.there(SHOWN)
        parts = tracks.frame, tracks.object, tracks.boxes, tracks.present, tracks.seen < SEEN
        drawn = Drawn._make(part[rows] for part in parts)
    else:
        boxes = tracks.as_boxes()
        mine = tracks.assignment[..., None] == np.arange(tracks.objects)
        hidden = ~mine.any(1).reshape(-1)  # (T, K, N) to (T * N), as the rows of boxes
        drawn = Drawn(boxes.frame, boxes.id, boxes.ltwh, np.ones(len(boxes)), hidden)
    feet = drawn.box[:, 1] + drawn.box[:, 3]
    return Drawn._make(part[np.argsort(feet, kind="stable")] for part in drawn)


def _draw(image: Image.Image, drawn: Drawn, shades: FloatArray) -> None:
    """Draw the boxes of one frame into its image."""
    pen = ImageDraw.Draw(image, "RGBA")  # which blends what is not opaque
    width, font = max(2, image.height // 360), ImageFont.load_default(max(11, image.height // 45))
    edge = np.array([image.width, image.height], float)
    for one, box, present, hidden in zip(*drawn[1:], strict=True):
        red, green, blue = (int(255 * x) for x in shades[int(one) - 1, :3])
        colour = red, green, blue, int(255 * min(1.0, float(present)))
        low, high = box[:2].clip(-edge, 2 * edge), (box[:2] + box[2:]).clip(-edge, 2 * edge)
        _rectangle(pen, (*low.tolist(), *high.tolist()), colour, width, bool(hidden))
        _label(pen, str(one), low.clip(0, edge - 1), colour, font)


def _rectangle(
    pen: ImageDraw.ImageDraw,
    box: tuple[float, ...],
    colour: tuple[int, int, int, int],
    width: int,
    dashed: bool,
) -> None:
    """Draw left, top, right, bottom."""
    left, top, right, bottom = box
    if not dashed:
        pen.rectangle((left, top, right, bottom), outline=colour, width=width)
        return
    for y in (top, bottom):
        for a, b in _dashes(left, right, 4 * width):
            pen.line((a, y, b, y), fill=colour, width=width)
    for x in (left, right):
        for a, b in _dashes(top, bottom, 4 * width):
            pen.line((x, a, x, b), fill=colour, width=width)


def _dashes(begin: float, end: float, length: float) -> Iterator[tuple[float, float]]:
    """Yield pieces of a line, as long as the gaps between them."""
    at = begin
    while at < end:
        yield at, min(at + length, end)
        at += 2 * length


def _label(
    pen: ImageDraw.ImageDraw,
    text: str,
    corner: FloatArray,
    colour: tuple[int, int, int, int],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    """Write on a ground of the colour, inside the image, above the corner if there is room."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    wide, high = right - left + 6, bottom - top + 6
    x = min(float(corner[0]), pen.im.size[0] - wide)
    y = max(0.0, float(corner[1]) - high)
    pen.rectangle((x, y, x + wide, y + high), fill=colour)
    bright = 0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2] > 140
    ink = (0, 0, 0, colour[3]) if bright else (255, 255, 255, colour[3])
    pen.text((x + 3 - left, y + 3 - top), text, fill=ink, font=font)
