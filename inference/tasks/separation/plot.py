"""The picture of a separation: spectrograms of mixture and sources, and where it is unsure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import avg_pool1d

from inference.diagnostics import Picture
from inference.tasks.separation.answer import Separated
from ppl_models.data.stft import STFT

COLUMNS = 1200
"""Most columns of a spectrogram: longer ones are means over several frames."""
RANGE = 70.0
"""Decibels below the loudest that are told apart."""


def share_entropy(shares: Tensor) -> Tensor:
    """Return the entropy (T, F) of shares (N, T, F), as a part of the largest, log N: 0 to 1.

    0: all is one source's; 1: the sources share evenly. Of one source, 0.
    """
    if len(shares) < 2:
        return torch.zeros_like(shares[0])
    return torch.special.entr(shares).sum(0).clamp(min=0) / math.log(len(shares))


def plot_separation(found: Separated, stft: STFT, *, title: str = "") -> Figure:
    """Draw the mixture, E|s|^2 of each source, and the entropy of the shares, over time.

    Powers are in decibels below the loudest bin of the mixture, on one scale for all.
    """
    count = len(found.names)
    figure = Picture(figsize=(10, 2.1 * (count + 2) + 0.4), layout="constrained")
    axes = figure.subplots(count + 2, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    mixture = stft.power(found.waves.detach().cpu().sum(0))
    loudest = float(mixture.max()) or 1.0
    for n, (ax, name) in enumerate(zip(axes, ("mixture", *found.names), strict=False)):
        power = _power(found, n - 1) if n else mixture
        limits = -RANGE, 0.0
        _draw(ax, stft, power / loudest, "magma", limits, "power (dB)", _decibels)
        ax.set_title(name, size=10, loc="left")
    unsure = share_entropy(found.responsibilities.detach().cpu())
    _draw(axes[-1], stft, unsure, "cividis", (0.0, 1.0), "entropy / log N")
    axes[-1].set_title("unsure whose it is: entropy of the shares, 1 is even", size=10, loc="left")
    axes[-1].set_xlabel("time (s)")
    figure.suptitle(title, size=11)
    return figure


def _draw(
    ax: Axes,
    stft: STFT,
    values: Tensor,
    colours: str,
    limits: tuple[float, float],
    words: str,
    finish: Callable[[Tensor], Tensor] = lambda values: values,
) -> None:
    """Draw an image (T, F) with axes in seconds and kHz, and its bar of colours."""
    frames, step = len(values), stft.hop / stft.rate
    values = finish(_fewer(values))
    ends = (-step / 2, (frames - 0.5) * step, 0.0, stft.rate / 2000)
    how: dict[str, Any] = {"cmap": colours, "vmin": limits[0], "vmax": limits[1], "extent": ends}
    shown = values.mT.numpy()
    image = ax.imshow(shown, origin="lower", aspect="auto", interpolation="none", **how)
    ax.set_ylabel("kHz")
    assert ax.figure is not None
    ax.figure.colorbar(image, ax=ax, label=words, pad=0.01)


def _power(found: Separated, source: int) -> Tensor:
    """Return E|s|^2 (T, F) of one source: all at once would be large."""
    mean, variance = found.mean[source].detach().cpu(), found.variance[source].detach().cpu()
    return mean.abs().square() + variance


def _decibels(power: Tensor) -> Tensor:
    least = 10 ** (-RANGE / 10)
    return 10 * power.clamp(min=least).log10()


def _fewer(values: Tensor) -> Tensor:
    """Average frames of (T, F), so that there are at most `COLUMNS`."""
    together = -(-len(values) // COLUMNS)
    if together == 1:
        return values
    return avg_pool1d(values.mT[None], together, ceil_mode=True)[0].mT
