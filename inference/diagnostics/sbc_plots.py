"""Pictures of simulation-based calibration."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from inference.diagnostics.figures import axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVEL = 0.95
_TRIALS = 2000  # simulated samples that the width of the simultaneous band is read from


def plot_histogram(uniform: Tensor, draws: int, site: str, ax: Axes | None, seed: int) -> Axes:
    """Plot the ranks' histogram, a line a dim, with the band of a single binomial count."""
    from scipy.stats import binom

    ax = axes_of(ax)
    lines, count = _lines(uniform)
    bins = max(2, min(20, draws + 1, count // 10))
    edges = np.linspace(0, 1, bins + 1)
    low, high = binom.ppf([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], count, 1 / bins)
    ax.fill_between([0, 1], low, high, color="0.85", label=f"{_LEVEL:.0%} of counts")
    for line in lines:
        heights, _ = np.histogram(line, edges)
        ax.stairs(heights * count / len(line), edges, color="C0", alpha=max(0.15, 1 / len(lines)))
    ax.set(xlabel=f"rank of {site} / {draws + 1}", ylabel="simulations", xlim=(0, 1))
    ax.set_ylim(bottom=0)
    ax.legend()
    return ax


def plot_ecdf(uniform: Tensor, draws: int, site: str, ax: Axes | None, seed: int) -> Axes:
    """Plot the ranks' distribution minus the uniform one, with the simultaneous band."""
    ax = axes_of(ax)
    lines, count = _lines(uniform)
    points = grid(min(100, draws + 1))
    low, high = envelope(count, len(points), _LEVEL, seed)
    ax.fill_between(points, low, high, color="0.85", label=f"{_LEVEL:.0%} of lines")
    for line in lines:
        below = np.searchsorted(np.sort(line), points, side="right") / len(line)
        ax.plot(points, below - points, color="C0", alpha=max(0.15, 1 / len(lines)))
    ax.set(xlabel=f"rank of {site} / {draws + 1}", ylabel="distribution - uniform", xlim=(0, 1))
    ax.legend()
    return ax


def _lines(uniform: Tensor) -> tuple[list[np.ndarray], int]:
    """Return each dim's uniforms where it has any, and the least number of them: the band's."""
    columns = (dim[~dim.isnan()].numpy() for dim in uniform.T)
    lines = [line for line in columns if len(line)]
    return lines, min((len(line) for line in lines), default=len(uniform))


def grid(count: int) -> np.ndarray:
    """Return the points ``1/K, ..., (K-1)/K`` at which distributions are compared."""
    return np.arange(1, count) / count


@lru_cache(maxsize=32)
def envelope(count: int, points: int, level: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the band that holds a whole ECDF difference of `count` uniforms, `level` of the time.

    Säilynoja, Bürkner and Vehtari (2022), "Graphical test for discrete uniformity and its
    applications in goodness-of-fit evaluation and multiple sample comparison", algorithm 2: the
    pointwise binomial bands are widened until that share of simulated samples stays inside.

    Returns
    -------
    tuple
        Lower and upper edge at `grid`, ``(points,)`` each.
    """
    from scipy.stats import binom

    z = grid(points + 1)
    generator = np.random.default_rng(seed)
    cells = generator.multinomial(count, np.full(points + 1, 1 / (points + 1)), size=_TRIALS)
    below = cells.cumsum(1)[:, :-1]
    one_sided = np.minimum(binom.cdf(below, count, z), binom.sf(below - 1, count, z))
    gamma = np.quantile(2 * one_sided.min(1), 1 - level)
    low, high = binom.ppf(gamma / 2, count, z), binom.ppf(1 - gamma / 2, count, z)
    return low / count - z, high / count - z
