"""How near forecasts came to what happened: the best, the mean and the worst of many futures.

>>> report = score_forecast(forecast(model, guide, frames[:, :5]), frames)
>>> print(report)

The best future is chosen by each metric alone, as published; beside it stands what showing the last
frame given again and again would score, which needs no model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.metrics import best_of, psnr, ssim
from inference.tasks.video.forecast import Forecast
from ppl_models.errors import InputError

Bytes = NDArray[np.uint8]
METRICS = {"psnr": ("PSNR, dB", ".2f"), "ssim": ("SSIM", ".3f")}
"""What each is called, and how it is written."""
PARTS = {
    "best": "best of {samples}",
    "mean": "mean of them",
    "worst": "worst of them",
    "copied": "last frame again",
    "past": "reconstruction",
}
_LEAST_SIDE = 11  # pixels of the window of SSIM


class VideoReport(NamedTuple):
    """Scores of the futures of clips."""

    samples: int
    """S."""
    past: int
    """Frames that were given."""
    lengths: tuple[int, ...]
    """Of each clip, how many frames were compared, those given included; 0 for a clip left out."""
    scores: dict[str, dict[str, tuple[float, ...]]]
    """By metric ("psnr", "ssim") and part (`PARTS`), of each clip compared, the mean over its
    frames. "past" are those given, from the second on, which some models do not reconstruct."""

    def mean(self, metric: str, part: str) -> tuple[float, float]:
        """Return the mean over clips and its standard error; NaN for that of one clip."""
        values = np.array(self.scores[metric][part])
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return float(values.mean()), float(error)

    def as_json(self) -> dict[str, Any]:
        """Return what JSON holds: means, their standard errors (or null), and each clip's score."""
        found: dict[str, Any] = {
            "samples": self.samples,
            "past": self.past,
            "frames_compared": list(self.lengths),
        }
        for metric, parts in self.scores.items():
            found[metric] = {}
            for part, values in parts.items():
                mean, error = self.mean(metric, part)
                kept = None if math.isnan(error) else error
                found[metric][part] = {"mean": mean, "error": kept, "clips": list(values)}
        return found

    def __str__(self) -> str:
        words = {part: text.format(samples=self.samples) for part, text in PARTS.items()}
        if self.samples == 1:
            words = {part: words[part] for part in ("mean", "copied", "past")}
            words["mean"] = "the future"
        width = max(map(len, words.values()))
        heads = (f"{METRICS[metric][0]:>16}" for metric in self.scores)
        lines = [" " * width + "".join(heads)]
        for part, text in words.items():
            cells = list(self._cells(part))
            lines += [text.ljust(width) + "".join(f"{cell:>16}" for cell in cells)] * bool(cells)
        return "\n".join([*lines, self._counted()])

    def _cells(self, part: str) -> Iterator[str]:
        for metric, parts in self.scores.items():
            if part in parts:
                (mean, error), form = self.mean(metric, part), METRICS[metric][1]
                tail = "" if math.isnan(error) else f" ± {error:{form}}"
                yield f"{mean:{form}}{tail}"

    def _counted(self) -> str:
        compared = [length for length in self.lengths if length]
        ends = f"{max(compared)}" if len(set(compared)) == 1 else f"{min(compared)}-{max(compared)}"
        clips = "1 clip" if len(compared) == 1 else f"{len(compared)} clips"
        missing = len(self.lengths) - len(compared)
        tail = f"; {missing} without a frame to compare" if missing else ""
        return f"{clips}, frames {self.past + 1} to {ends} of each{tail}"


def score_forecast(
    found: Forecast, truth: Bytes, mask: NDArray[np.bool_] | None = None
) -> VideoReport | None:
    """Compare futures with what came.

    Parameters
    ----------
    found
        Futures of B clips.
    truth
        uint8 (B, T, H, W), in colour (B, T, 3, H, W) or (B, T, H, W, 3): whole clips. Where they
        end before the futures do, or go on after them, what both have is compared.
    mask
        (B, T), which frames exist: the first ones of each clip. The others do not count.

    Returns
    -------
    VideoReport or None
        None where no clip has a frame after those given. SSIM is left out of frames smaller than
        11 x 11, of which it says nothing.

    Raises
    ------
    InputError
        Other clips, or frames of another size, than those of the futures.
    """
    films = as_forecast(found, truth)
    lengths = compared_lengths(found, films, mask)
    scores: dict[str, dict[str, list[float]]] = {}
    for video, length in enumerate(lengths):
        if length:
            for metric, parts in _of_clip(found, films[video], video, length).items():
                for part, value in parts.items():
                    scores.setdefault(metric, {}).setdefault(part, []).append(value)
    if not scores:
        return None
    kept = {m: {p: tuple(values) for p, values in parts.items()} for m, parts in scores.items()}
    return VideoReport(len(found.frames), found.past, tuple(lengths), kept)


def as_forecast(found: Forecast, truth: Bytes) -> Bytes:
    """Return clips (B, T, ...) with channels where a forecast has them.

    Raises
    ------
    InputError
        They are not of as many clips, or of frames of that size.
    """
    shape, films = found.frames.shape[3:], np.asarray(truth)
    if len(shape) == 3 and films.ndim == 5 and films.shape[2:] != shape:
        films = np.moveaxis(films, -1, 2)
    fits = films.ndim == 2 + len(shape) and films.shape[2:] == shape and films.dtype == np.uint8
    if not fits or len(films) != found.frames.shape[1]:
        wanted = f"uint8, ({found.frames.shape[1]}, frames, {', '.join(map(str, shape))})"
        cure = "give the clips whose first frames were given to forecast(...)"
        raise InputError("truth", f"{films.dtype}, {films.shape}", wanted, cure)
    return films


def compared_lengths(found: Forecast, films: Bytes, mask: NDArray[np.bool_] | None) -> list[int]:
    """Return how many frames of each clip both have; 0 where that is none after those given."""
    most = min(found.frames.shape[2], films.shape[1])
    ends = np.full(len(films), films.shape[1]) if mask is None else np.asarray(mask).sum(1)
    return [int(end) if end > found.past else 0 for end in np.minimum(ends, most)]


def _of_clip(found: Forecast, film: Bytes, video: int, length: int) -> dict[str, dict[str, float]]:
    """Score one clip, by metric and part."""
    past, colour = found.past, film.ndim == 4
    came, told = film[:length], found.frames[:, video, :length]
    metrics = {"psnr": psnr, "ssim": ssim}
    if min(film.shape[-2:]) < _LEAST_SIDE:
        del metrics["ssim"]
    rows: dict[str, dict[str, float]] = {}
    for name, metric in metrics.items():
        of = best_of(metric(came[past:], told[:, past:], colour=colour)[:, None])
        still = np.repeat(came[past - 1 : past], length - past, 0)
        parts = {"best": of.value, "mean": of.mean, "worst": of.worst}
        parts["copied"] = metric(came[past:], still, colour=colour)
        if past > 1:
            parts["past"] = metric(came[1:past], told[:, 1:past], colour=colour)
        rows[name] = {part: float(values.double().mean()) for part, values in parts.items()}
    return rows
