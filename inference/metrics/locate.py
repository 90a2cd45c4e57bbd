"""Where the digits of a clip are, read off its frames by the pictures of these digits.

>>> places = locate(samples, clips.digits)  # (S, B, T, H, W), (B, D, h, w) -> (S, B, T, D, 2)

A place is that of the digit's top left corner: row and column, in pixels. It is where the picture,
moved by whole pixels, leaves the least sum of squares of a frame (alone: also if dimmed), and then
refined by a parabola through the neighbours in each axis. Read truth and samples both this way, so
that both have its errors: `moving_digits` rounds places to a pixel of its canvas when it paints
(half a pixel of a frame of 32 x 32), which alone is 0.14 pixels, root mean square, in an axis.
"""

from __future__ import annotations

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from inference.metrics.frames import Frames, as_frames
from ppl_models.errors import InputError

_NUMBERS = 2**19  # of a surface of correlations, at a time
_ROUNDS = 2


def locate(frames: Frames, digits: Frames, *, colour: bool = False) -> Tensor:
    """Return the top left corners of one or two digits in each frame.

    Two digits are found in turn, each in what the other leaves, a few rounds from two starts (the
    first digit alone, the second alone), of which the better pair is kept: nearly always, but not
    always, the best pair of all. Where digits that look alike cross, they may change names.

    Parameters
    ----------
    frames
        Bytes (..., T, H, W); or (..., T, 3, H, W), of which the brightest channel is read.
    digits
        Each digit alone, (D, h, w) for all clips, or (B, D, h, w) for frames (..., B, T, H, W), as
        ``MovingDigits.digits``; D is 1 or 2. A black one is absent.
    colour
        Whether the frames are in colour.

    Returns
    -------
    Tensor
        (..., T, D, 2), from 0 to H - h and W - w. NaN for absent digits; a black frame has its
        digits in the middle.

    Raises
    ------
    InputError
        Frames or digits that are not of bytes, more than two digits, digits that are larger than
        the frame, or of another number of clips.
    """
    kept = as_frames("frames", frames, colour)
    kept = kept.amax(-3) if colour else kept
    pictures = as_frames("digits", digits, False)
    _check(kept, pictures)
    sides, many = kept.shape[-3:], pictures.shape[-3:]
    pictures = pictures.reshape(-1, *many)
    clips = kept.reshape(-1, len(pictures), *sides)  # all frames are one clip, for (D, h, w)
    least = len(clips) * (sides[1] + 4) * (sides[2] + 4) * sides[0]
    step = max(1, _NUMBERS // least)
    pairs = zip(clips.split(step, 1), pictures.split(step), strict=True)
    places = torch.cat([_places(one.float(), some.float()) for one, some in pairs], 1)
    return places.reshape(*kept.shape[:-2], many[0], 2)


def _check(frames: Tensor, pictures: Tensor) -> None:
    clips, given = tuple(frames.shape[:-3]), tuple(pictures.shape[:-3])
    if clips[len(clips) - len(given) :] != given or len(given) > len(clips):
        found = f"digits of {given} clips, where frames have {clips}"
        cure = "give each clip its digits, MovingDigits.digits, or (D, h, w) to all"
        raise InputError("digits", found, "(D, h, w) or (B, D, h, w)", cure)
    if pictures.shape[-3] > 2:
        cure = "leave digits out: digits[..., :2, :, :]"
        raise InputError("digits", f"{pictures.shape[-3]} in a clip", "1 or 2", cure)
    if pictures.shape[-2] > frames.shape[-2] or pictures.shape[-1] > frames.shape[-1]:
        found = f"{tuple(pictures.shape[-2:])} pixels in frames of {tuple(frames.shape[-2:])}"
        raise InputError("digits", found, "no larger than the frame", "give them as painted")


def _places(frames: Tensor, pictures: Tensor) -> Tensor:
    """Return places (R, n, T, D, 2) in frames (R, n, T, H, W) of pictures (n, D, h, w)."""
    count, (height, width) = pictures.shape[1], pictures.shape[-2:]
    room = frames.shape[-2] - height, frames.shape[-1] - width
    fits = _correlations(frames, pictures, room)
    if count == 1:
        found = [_refined(fits[0], _peak(fits[0])[1])]
    else:
        found = _pair(fits, _overlaps(pictures, room))
    places = torch.stack(found, -2)
    middle = torch.tensor(room, device=places.device) / 2
    black = frames.amax((-2, -1)) == 0
    places = torch.where(black[..., None, None], middle, places)
    absent = pictures.amax((-2, -1)) == 0
    return places.masked_fill(absent[:, None, :, None], torch.nan)


def _correlations(frames: Tensor, pictures: Tensor, room: tuple[int, int]) -> list[Tensor]:
    """Return, of each picture, its products with frames, at shifts of -1 to room + 1 pixels."""
    size = [next_fast_len(side + 1, real=True) for side in frames.shape[-2:]]
    spectrum = torch.fft.rfft2(frames, size)
    filters = torch.fft.rfft2(pictures, size).conj()
    fits = []
    for digit in range(pictures.shape[1]):
        products = torch.fft.irfft2(spectrum * filters[:, None, digit], size)
        fits.append(products.roll((1, 1), (-2, -1))[..., : room[0] + 3, : room[1] + 3])
    return fits


def _overlaps(pictures: Tensor, room: tuple[int, int]) -> Tensor:
    """Return the products of both pictures where the second is moved against the first.

    (n, 2 room + 3, 2 room + 3): moved by -(room + 1) to room + 1.
    """
    sides = pictures.shape[-2:]
    least = [max(2 * s, s + r + 1, 2 * r + 3) for s, r in zip(sides, room, strict=True)]
    size = [next_fast_len(one, real=True) for one in least]  # so that nothing comes round again
    one, two = torch.fft.rfft2(pictures, size).unbind(1)
    products = torch.fft.irfft2(one * two.conj(), size)
    most = [r + 1 for r in room]
    rolled = products.roll(most, (-2, -1))
    return rolled[..., : 2 * most[0] + 1, : 2 * most[1] + 1]


def _peak(fit: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest value within the frame (...), and where it is (..., 2)."""
    inner = fit[..., 1:-1, 1:-1]
    value, at = inner.flatten(-2).max(-1)
    width = inner.shape[-1]
    return value, torch.stack([at // width, at % width], -1)


def _refined(fit: Tensor, at: Tensor) -> Tensor:
    """Move peaks (..., 2) to the tops of parabolas through their neighbours, within the frame."""
    rows, width = fit.flatten(-2), fit.shape[-1]
    centre = (at[..., 0] + 1) * width + at[..., 1] + 1
    top = rows.gather(-1, centre[..., None])[..., 0]
    moved = []
    for axis, step in enumerate((width, 1)):
        before, after = (rows.gather(-1, (centre + s)[..., None])[..., 0] for s in (-step, step))
        bend = (2 * top - before - after).clamp(min=torch.finfo(fit.dtype).tiny)
        offset = ((after - before) / (2 * bend)).clamp(-0.5, 0.5)
        moved.append((at[..., axis] + offset).clamp(0, fit.shape[axis - 2] - 3))
    return torch.stack(moved, -1)


def _pair(fits: list[Tensor], overlaps: Tensor) -> list[Tensor]:
    """Find two digits: what both explain is their products with the frame, less their overlap."""
    each = overlaps, overlaps.flip(-2, -1)  # the second moved against the first, and the reverse
    one, two = (_descent(fits, each, first) for first in (0, 1))
    better = (two[0] > one[0])[..., None]
    at = [torch.where(better, b, a) for a, b in zip(one[1:], two[1:], strict=True)]
    left = [fits[d] - _shadow(each[1 - d], at[1 - d], fits[d]) for d in (0, 1)]
    return [_refined(fit, place) for fit, place in zip(left, at, strict=True)]


def _descent(
    fits: list[Tensor], overlaps: tuple[Tensor, Tensor], first: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Start from one digit alone, then move each in turn; return how much both explain, and where.

    ``overlaps`` are of the second digit moved against the first, and of the first against it.
    """
    other = 1 - first
    alone, here = _peak(fits[first])
    for _ in range(_ROUNDS):
        _, there = _peak(fits[other] - _shadow(overlaps[first], here, fits[other]))
        value, here = _peak(fits[first] - _shadow(overlaps[other], there, fits[first]))
    inside = (there[..., 0] + 1) * fits[other].shape[-1] + there[..., 1] + 1
    value = value + fits[other].flatten(-2).gather(-1, inside[..., None])[..., 0]
    return (value, here, there) if first == 0 else (value, there, here)


def _shadow(overlaps: Tensor, at: Tensor, like: Tensor) -> Tensor:
    """Return the overlap with a digit that is at (R, n, T, 2), of the other at every shift."""
    rows, columns = like.shape[-2:]
    windows = overlaps.unfold(1, rows, 1).unfold(2, columns, 1)
    start = torch.tensor([rows - 3, columns - 3], device=at.device) - at  # room less the place
    clip = torch.arange(len(overlaps), device=at.device)[:, None]
    return windows[clip, start[..., 0], start[..., 1]]
