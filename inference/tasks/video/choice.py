"""Which of many futures are shown: the best and the worst if the truth is known; a typical one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.metrics import psnr
from inference.tasks.video.forecast import Forecast
from inference.tasks.video.report import as_forecast, compared_lengths
from ppl_models.errors import InputError

Bytes = NDArray[np.uint8]
_MOST = 2**25  # numbers worked on at a time


class Shown(NamedTuple):
    """Futures of one clip."""

    films: dict[str, Bytes]
    """By what they are: frames (T, H, W), or in colour (T, H, W, 3). A truth may end earlier."""
    mean: Bytes
    """Of all futures, as `films`."""
    spread: NDArray[np.float32]
    """(T, H, W), the standard deviation over futures, in grey levels; in colour, of the channels'
    mean variance."""
    past: int


def chosen(
    found: Forecast,
    truth: Bytes | None = None,
    mask: NDArray[np.bool_] | None = None,
    video: int = 0,
) -> Shown:
    """Choose futures of one clip to show.

    With a truth that goes on after the frames given: the best and the worst by PSNR, and a typical
    one; else the typical one, and the one that is farthest from it all. *Typical* is the one with
    the least mean squared distance to the others, which is the nearest to their mean.

    Raises
    ------
    InputError
        No such clip, or a truth that is not that of the forecast.
    """
    clips = found.frames.shape[1]
    if not 0 <= video < clips:
        raise InputError("video", str(video), f"0 to {clips - 1}, one of the clips", "video=0")
    samples = found.frames[:, video]
    mean, variance, distances = _moments(samples, found.past)
    films: dict[str, Bytes] = {}
    ranked = np.argsort(distances, kind="stable")
    which = {"typical": int(ranked[0]), "farthest": int(ranked[-1])}
    if truth is not None:
        every = as_forecast(found, truth)
        length = compared_lengths(found, every, mask)[video]
        own = every[video] if mask is None else every[video][: int(np.sum(mask[video]))]
        films["truth"] = own[: samples.shape[1]]
        if length:
            scores = _scores(samples, every[video], found.past, length)
            best, worst = int(scores.argmax()), int(scores.argmin())
            which = {
                f"best\n{scores[best]:.1f} dB": best,
                "typical": which["typical"],
                f"worst\n{scores[worst]:.1f} dB": worst,
            }
    if len(samples) == 1:
        which = {"future": 0}
    films |= {name: samples[at] for name, at in which.items()}
    shown = {name: _channels_last(film) for name, film in films.items()}
    levels = np.round(mean).astype(np.uint8)
    spread = np.sqrt(variance if variance.ndim == 3 else variance.mean(1))
    return Shown(shown, _channels_last(levels), spread.astype(np.float32), found.past)


def _moments(
    samples: Bytes, past: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance over samples, and each sample's distance to the mean."""
    share = max(1, _MOST // samples[0].size)
    parts = [samples[i : i + share] for i in range(0, len(samples), share)]
    mean = sum(part.sum(0, dtype=np.float64) for part in parts) / len(samples)
    mean = np.asarray(mean)
    variance, distances = np.zeros_like(mean), list[NDArray[np.float64]]()
    for part in parts:
        square = (part - mean) ** 2
        variance += square.sum(0) / len(samples)
        after = square[:, past:] if samples.shape[1] > past else square
        distances.append(after.reshape(len(part), -1).sum(-1))
    return mean, variance, np.concatenate(distances)


def _scores(samples: Bytes, film: Bytes, past: int, length: int) -> NDArray[np.float64]:
    """Return the PSNR (S,) of each future."""
    each = psnr(film[past:length], samples[:, past:length], colour=film.ndim == 4)
    scores: NDArray[np.float64] = each.double().mean(-1).numpy()
    return scores


def _channels_last(film: Bytes) -> Bytes:
    return film if film.ndim == 3 else np.moveaxis(film, 1, -1)
