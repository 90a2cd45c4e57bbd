"""What commands of videos read and write: clips to train on, clips to go on from, answers."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ppl_models.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inference.tasks.video import Forecast
    from ppl_models.data import Clips

    Bytes = NDArray[np.uint8]

Shape = tuple[int, int, int]

MOST_BYTES = 2**33
"""Bytes of frames that are held at once: 8 GiB."""
LONGEST = 20_000
"""Frames of a future, which are painted at once."""
SAMPLES, SCORES, FILM, STRIP = "samples.npz", "scores.json", "futures.gif", "futures.png"
_VIDEOS = (".npz", ".npy", ".gif")


# -- clips to train on -----------------------------------------------------------------------------


def training_clips(data: Path, length: int, side: int, stride: int | None, colour: bool) -> Bytes:
    """Read videos, make them of one size, cut them, and say what there is.

    Returns
    -------
    array of uint8
        (N, length, side, side), with ``colour`` (N, length, side, side, 3).

    Raises
    ------
    InputError
        A video that cannot be read; none as long as a clip; or more than `MOST_BYTES` of clips.
    """
    import numpy as np

    from ppl_models.data import clips_of, resize_frames

    stride = stride or length
    kept, held, longest, videos = list["Bytes"](), 0, 0, 0
    for name, film in _films(data):
        longest, videos = max(longest, len(film)), videos + 1
        if len(film) < length:
            typer.echo(f"left out: {name}, {len(film)} frames of {length}", err=True)
            continue
        held += (1 + (len(film) - length) // stride) * length * side**2 * (3 if colour else 1)
        if held > MOST_BYTES:
            found = f"clips of {held:,} bytes, up to {name}"
            cure = f"--stride {max(2 * stride, length)}, a smaller --side, or fewer videos"
            raise InputError(str(data), found, f"at most {MOST_BYTES:,}", cure)
        kept.append(clips_of(resize_frames(_coloured(film, colour), side), length, stride=stride))
    if not kept:
        found = f"{videos} videos of at most {longest} frames"
        raise InputError(str(data), found, f"one of --length {length}", f"--length {longest}")
    clips = np.concatenate(kept)
    kind = "in colour" if colour else "grey"
    text = f"{len(clips)} clips of {length} frames, {side} x {side}, {kind}"
    typer.echo(f"{text}, from {len(kept)} video{'s' * (len(kept) > 1)}")
    return clips


def _coloured(film: Bytes, colour: bool) -> Bytes:
    """Return a video (T, H, W[, 3]) as it is asked for."""
    import numpy as np

    from ppl_models.data import to_grey

    if not colour:
        return to_grey(film)
    return film if film.ndim == 4 else np.repeat(film[..., None], 3, -1)


def _films(data: Path) -> Iterator[tuple[str, Bytes]]:
    """Yield each video of a file or folder with what to call it: (T, H, W) or (T, H, W, 3)."""
    from ppl_models.data import read_clips, read_video
    from ppl_models.data.arrays import read_numbers
    from ppl_models.data.video_files import by_number, pictures_in

    if data.is_dir() and not pictures_in(data):
        inside = sorted((p for p in data.iterdir() if p.name[0] != "."), key=by_number)
        videos = [p for p in inside if p.suffix.lower() in _VIDEOS and p.is_file()]
        videos += [p for p in inside if p.is_dir() and pictures_in(p)]
        for video in videos:
            yield from _films(video)
        if videos:
            return
    if data.suffix.lower() in (".npz", ".npy") and not data.is_dir():
        held = read_numbers(data, "frames").get("frames")
        if held is not None and (held.ndim == 5 or (held.ndim == 4 and held.shape[-1] != 3)):
            del held
            clips = read_clips(data)
            for place, (film, there) in enumerate(zip(*clips, strict=True)):
                yield f"{data}, clip {place}", film[there]
            return
    yield str(data), read_video(data)


# -- clips to go on from ---------------------------------------------------------------------------


def read_known(path: Path, past: int, length: int, show: int) -> Clips:
    """Read clips, and check that all have the frames that are to be given.

    Raises
    ------
    InputError
        They cannot be read; a clip ends before ``past``; a future that is no longer than that, or
        too long to be painted at once; or no such clip to show.
    """
    from ppl_models.data import read_clips

    if length <= past:
        expected = f"more than the {past} frames of --past"
        raise InputError("--length", str(length), expected, f"--length {past + 1}")
    if length > LONGEST:
        cure = f"--length {LONGEST}, and go on from its last frames"
        raise InputError("--length", f"{length:,}", f"at most {LONGEST:,} frames", cure)
    frames, mask = read_clips(path)
    ends = mask.sum(1)
    if ends.min() < past:
        first = int((ends < past).argmax())
        found = f"clip {first} has {ends[first]} frames"
        expected = f"the {past} of --past in each clip"
        cure = f"--past {ends.min()}, or leave it out: frames[mask.sum(1) >= {past}]"
        raise InputError(str(path), found, expected, cure)
    if show >= len(frames):
        expected = f"one of the {len(frames)} clips, from 0"
        raise InputError("--show", str(show), expected, f"--show {len(frames) - 1}")
    from ppl_models.data import Clips as Kept

    return Kept(frames[:, :length], mask[:, :length])


def as_painted(clips: Clips, shape: Shape, path: Path, resize: bool, grey: bool) -> Clips:
    """Return clips as a model of ``shape`` (C, S, S) paints them; say so where their size changes.

    Raises
    ------
    InputError
        Frames of another size, or in colour, and nobody asked to change that; grey ones for a
        model of colours.
    """
    import numpy as np

    from ppl_models.data import resize_frames, to_grey

    frames, (channels, side, _) = clips.frames, shape
    height, width = frames.shape[2:4]
    if frames.ndim == 4 and channels == 3:
        cure = "np.savez(file, frames=np.repeat(frames[..., None], 3, -1))"
        raise InputError(str(path), "grey frames", "frames in colour, as the model's", cure)
    if frames.ndim == 5 and channels == 1:
        if not grey:
            raise InputError(str(path), "frames in colour", "grey ones, as the model's", "--grey")
        frames = to_grey(frames)
    if (height, width) != (side, side):
        if not resize:
            cure = f"--resize, or from Python ppl_models.data.resize_frames(frames, {side})"
            expected = f"{side} x {side}, as the model's"
            raise InputError(str(path), f"frames of {height} x {width}", expected, cure)
        frames = resize_frames(frames, side)
        text = f"resized: {height} x {width} to {side} x {side}, the model's"
        cut = ", of the square in the middle" if height != width else ""
        typer.echo(f"{text}{cut}; answers and scores are of that size", err=True)
    return clips._replace(frames=np.ascontiguousarray(frames))


def check_room(samples: int, clips: int, length: int, shape: Shape) -> None:
    """Check that all futures fit into `MOST_BYTES`.

    Raises
    ------
    InputError
        They do not; it names the number of samples, or of clips, that would.
    """
    one = length * prod(shape)
    needed = samples * clips * one
    if needed <= MOST_BYTES:
        return
    fitting = MOST_BYTES // (clips * one)
    cure = f"--samples {fitting}"
    if fitting < 1:
        most = max(1, MOST_BYTES // one)
        cure = f"--samples 1, and {most} clips at a time: frames[:{most}]"
    found = f"{samples} samples of {clips} clips of {length} frames, {needed:,} bytes"
    raise InputError("--samples", found, f"at most {MOST_BYTES:,}", cure)


# -- answers ---------------------------------------------------------------------------------------


def check_new(out: Path, overwrite: bool) -> None:
    """Refuse a folder that has answers already, unless they may be replaced.

    Raises
    ------
    InputError
        It has.
    """
    for name in (SAMPLES, FILM, STRIP, SCORES):
        if (out / name).exists() and not overwrite:
            found = f"{out / name}, which is there"
            raise InputError("--out", found, "a new folder", "name another, or give --overwrite")


def write_answers(
    out: Path, found: Forecast, clips: Clips, show: int, scores: Mapping[str, Any] | None
) -> None:
    """Write samples, film, strip, and scores if there are any; what was there goes first."""
    import io

    from inference.tasks.video import draw_strip, write_gif
    from ppl_models.data.files import add_sums, write_whole

    for name in (SAMPLES, FILM, STRIP, SCORES):
        (out / name).unlink(missing_ok=True)
    shown: dict[str, Any] = {"mask": clips.mask, "video": show}
    _write_samples(out / SAMPLES, found)
    write_gif(out / FILM, found, clips.frames, **shown)
    picture = io.BytesIO()
    draw_strip(found, clips.frames, **shown).savefig(picture, format="png", dpi=150)
    write_whole(out / STRIP, picture.getvalue())
    if scores is not None:
        write_whole(out / SCORES, json.dumps(scores, indent=2).encode() + b"\n")
    add_sums(out, [n for n in (SAMPLES, FILM, STRIP, SCORES) if (out / n).exists()])


def _write_samples(path: Path, found: Forecast) -> None:
    """Write an .npz of gigabytes whole, without a second copy in memory."""
    import numpy as np

    frames = found.frames if found.frames.ndim == 5 else np.moveaxis(found.frames, 3, -1)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "xb") as file:
            np.savez_compressed(file, frames=frames, past=np.array(found.past))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
