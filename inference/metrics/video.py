"""How near predicted frames are to what came: PSNR, SSIM, and the best of many futures.

>>> scores = video_scores(truth, samples, past=5)  # (B, T, H, W), (S, B, T, H, W), bytes
>>> scores.psnr.value.mean(), scores.ssim.value.mean()  # best of S, a clip, by each metric alone
>>> scores.summary()["psnr best"]
(17.1, 0.2)

A future that is sharp and wrong scores below a blur, and so the best of S futures is looked at: it
says that the truth was among them, not that they are as probable as they should be. That is what
`future_calibration` asks.

Sources: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity",
IEEE Transactions on Image Processing 2004 (SSIM); J.-Y. Franceschi et al., "Stochastic latent
residual video prediction", ICML 2020, arXiv:2002.09219, section 5 (best of 100, per metric).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from inference.metrics.frames import Frames, as_frames, as_pair, as_tensor
from ppl_models.errors import InputError

MOST_DB = 100.0
"""PSNR of equal frames. One pixel of 64 x 64 that is one level off makes 84 dB."""
WINDOW, SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_PIXELS = 2**18  # worked on at a time: some megabytes

Metric = Callable[[Tensor, Tensor], Tensor]


class BestOf(NamedTuple):
    """Scores of S futures of B clips, each the mean over its frames.

    Attributes
    ----------
    value, mean, worst : Tensor
        (B,): the best future's, the mean over futures, the worst one's.
    which : Tensor
        (B,): which future is the best.
    error : float
        The standard error of ``value.mean()`` as an estimate for all clips; NaN for one clip.
    """

    value: Tensor
    which: Tensor
    mean: Tensor
    worst: Tensor
    error: float


class VideoScores(NamedTuple):
    """Scores of futures, and of a film that stands still.

    Attributes
    ----------
    psnr, ssim : BestOf
        PSNR in dB, SSIM; the best future of one is not always that of the other.
    copied_psnr, copied_ssim : Tensor
        (B,): the last given frame, shown again and again.
    """

    psnr: BestOf
    ssim: BestOf
    copied_psnr: Tensor
    copied_ssim: Tensor

    def summary(self) -> dict[str, tuple[float, float]]:
        """Return the mean over clips of each score, and its standard error."""
        rows = {}
        scores = {"psnr": (self.psnr, self.copied_psnr), "ssim": (self.ssim, self.copied_ssim)}
        for name, (of, copied) in scores.items():
            parts = {"best": of.value, "mean": of.mean, "worst": of.worst, "copied": copied}
            for part, values in parts.items():
                rows[f"{name} {part}"] = (float(values.mean()), _error(values))
        return rows


def psnr(truth: Frames, predicted: Frames, *, colour: bool = False) -> Tensor:
    """Return the peak signal-to-noise ratio of each frame, dB: 10 log10 of 1 / MSE.

    Parameters
    ----------
    truth
        Bytes (..., T, H, W); the MSE is that of levels / 255.
    predicted
        The same shape, or with more leading dims, such as (S, ..., T, H, W).
    colour
        Frames are (..., T, 3, H, W): a frame's is the mean of its three channels' dB.

    Returns
    -------
    Tensor
        (..., T) of ``predicted``, at most `MOST_DB`, which equal frames have.

    Raises
    ------
    InputError
        Shapes that differ, or frames that are not of bytes.
    """
    return _each_frame(_psnr, *as_pair(truth, predicted, colour), colour)


def ssim(truth: Frames, predicted: Frames, *, colour: bool = False) -> Tensor:
    """Return the structural similarity of each frame: 1 where they are equal.

    As `psnr`. Means, variances and covariance are those under a Gaussian window of standard
    deviation 1.5, cut to 11 x 11, frames mirrored at their borders, averaged over all pixels: what
    torchmetrics computes. (scikit-image and Wang leave out the borders: numbers differ a little.)

    Raises
    ------
    InputError
        As `psnr`, or a side below 11 pixels.
    """
    one, other = as_pair(truth, predicted, colour)
    if min(one.shape[-2:]) < WINDOW:
        found = f"frames of {one.shape[-2]} x {one.shape[-1]}"
        cure = "score them by psnr, or enlarge both: truth.repeat_interleave(2, -1)"
        raise InputError("truth", found, f"{WINDOW} x {WINDOW} pixels or more", cure)
    return _each_frame(_ssim, one, other, colour)


def best_of(scores: Tensor, mask: Frames | None = None) -> BestOf:
    """Choose the best of S futures of each clip by one score, the larger the better.

    Parameters
    ----------
    scores
        (S, B, T) of each frame.
    mask
        (B, T), of clips of different lengths: which frames count.

    Raises
    ------
    InputError
        Other shapes, NaN where a frame counts, or a clip without frames.
    """
    if scores.ndim != 3 or not scores.numel():
        cure = "give one sample a dim of its own: scores[None]"
        raise InputError("scores", f"shape {tuple(scores.shape)}", "(S, B, T)", cure)
    weight = _weights(scores, mask)
    counted = torch.where(weight > 0, scores.double(), 0)
    if not counted.isfinite().all():
        found = f"{int((~counted.isfinite()).sum())} scores not finite"
        raise InputError("scores", found, "finite ones", "leave those frames out by mask=")
    each = (counted * weight).sum(-1) / weight.sum(-1)
    value, which = each.max(0)
    return BestOf(value, which, each.mean(0), each.amin(0), _error(value))


def video_scores(
    truth: Frames, samples: Frames, *, past: int, mask: Frames | None = None
) -> VideoScores:
    """Score S futures of B clips against what came, by frames after the given ones.

    Parameters
    ----------
    truth
        (B, T, H, W), or (B, T, 3, H, W) in colour: whole clips of bytes.
    samples
        (S, B, T, H, W), or (S, B, T, 3, H, W).
    past
        How many frames were given; these do not count.
    mask
        (B, T), of clips of different lengths: which frames there are.

    Raises
    ------
    InputError
        Other shapes or numbers, sides below 11 pixels, or no frame after the past.
    """
    colour = len(truth.shape) == 5
    one, other = as_frames("truth", truth, colour), as_frames("samples", samples, colour)
    if one.ndim != 4 + colour or other.ndim != one.ndim + 1:
        found = f"truth {tuple(one.shape)}, samples {tuple(other.shape)}"
        cure = "give one clip or one sample a dim of its own: samples[None]"
        raise InputError("samples", found, "(B, T, H, W) and (S, B, T, H, W)", cure)
    if not 0 < past < one.shape[1]:
        expected = f"1 to {one.shape[1] - 1}, of clips of {one.shape[1]} frames"
        raise InputError("past", str(past), expected, "give fewer, or longer clips")
    one, other = as_pair(one, other, colour)
    if mask is not None:
        mask = as_tensor(mask)[:, past:]
    came, told = one[:, past:], other[:, :, past:]
    still = one[:, past - 1 : past].expand_as(came)[None]
    of_psnr, of_ssim = (best_of(metric(came, told, colour=colour), mask) for metric in _METRICS)
    copied = [best_of(metric(came, still, colour=colour), mask).value for metric in _METRICS]
    return VideoScores(of_psnr, of_ssim, copied[0], copied[1])


_METRICS = (psnr, ssim)


def _weights(scores: Tensor, mask: Frames | None) -> Tensor:
    if mask is None:
        return torch.ones(scores.shape[1:], dtype=torch.float64)
    weight = as_tensor(mask).double()
    if weight.shape != scores.shape[1:] or not weight.any(-1).all():
        found = f"shape {tuple(weight.shape)}, {int((~weight.any(-1)).sum())} clips without frames"
        expected = f"shape {tuple(scores.shape[1:])}, a frame or more of each clip"
        raise InputError("mask", found, expected, "leave out clips that end before the future")
    return weight


def _error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _each_frame(metric: Metric, truth: Tensor, predicted: Tensor, colour: bool) -> Tensor:
    """Score all frames, some clips or some frames of one at a time, so that little is copied."""
    lead, frame = predicted.shape[:-2], truth.shape[-3 - colour :]
    clips = truth.reshape(-1, *frame)
    many = predicted.reshape(-1, len(clips), *frame)
    at_once = max(1, _PIXELS // (len(many) * frame[1:].numel()))  # frames
    rows = [
        torch.cat([metric(x.float(), y.float()) for x, y in _some(some, told, 1, at_once)], 2)
        for some, told in _some(clips, many, 0, max(1, at_once // frame[0]))
    ]
    scores = torch.cat(rows, 1).reshape(lead)
    return scores.mean(-1) if colour else scores


def _some(truth: Tensor, predicted: Tensor, dim: int, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut both along a dim of truth; predicted has one more in front."""
    return zip(truth.split(step, dim), predicted.split(step, dim + 1), strict=True)


def _psnr(truth: Tensor, predicted: Tensor) -> Tensor:
    error = (truth - predicted).square().mean((-1, -2))
    return (-10 * (error / 255**2).log10()).clamp(max=MOST_DB)


def _ssim(truth: Tensor, predicted: Tensor) -> Tensor:
    down, across = (_blurring(side, truth.device) for side in truth.shape[-2:])

    def blur(x: Tensor) -> Tensor:
        return down @ (x @ across.mT)

    one, other = blur(truth), blur(predicted)
    spread = (blur(truth.square()) - one.square()).clamp(min=0)
    other_spread = (blur(predicted.square()) - other.square()).clamp(min=0)
    together = blur(truth * predicted) - one * other
    light = (2 * one * other + _C1) / (one.square() + other.square() + _C1)
    return (light * (2 * together + _C2) / (spread + other_spread + _C2)).mean((-1, -2))


@cache
def _blurring(side: int, device: torch.device) -> Tensor:
    """Return the matrix (side, side) of the Gaussian window along one side, ends mirrored."""
    half = WINDOW // 2
    window = (-(torch.arange(-half, half + 1) / SIGMA).square() / 2).exp()
    at = torch.arange(side)[:, None] + torch.arange(-half, half + 1)
    at = at.abs()
    at = torch.where(at < side, at, 2 * (side - 1) - at)
    weights = (window / window.sum()).expand(side, WINDOW)
    return torch.zeros(side, side).scatter_add_(1, at, weights).to(device)
