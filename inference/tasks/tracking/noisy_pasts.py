"""Training paths as in tracking: their pasts are estimated from detections.

A prior trained on true pasts only is overconfident: inside the E-S step the past is a sequence of
posterior means, and the prior follows their errors. So for most paths here the past is what the
E-S step of the guide in training makes of simulated detections. This is scheduled sampling taken
one step further: the past that is read is neither the truth nor a free sample, but an estimate, as
in tracking.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from guides.dvae import Evidence, SourcePosterior

# Standard deviations of detections in the object frame: 4 % of a box's width or height, and a box
# is about 0.4 times as wide as high.
DETECTION_SCALE = (0.016, 0.04, 0.04, 0.04)
MISSES = 0.4  # share of frames missed, in half of the clips
LONGEST_GAP = 0.5  # of a clip
GAPS = 0.7  # share of clips with a gap
FIRST_SEEN = 3  # frames, at the start of each clip


class Filter(Protocol):
    """A guide that has an E-S step, a filter or a smoother."""

    smooth: bool

    def source_posterior(self, evidence: Evidence, previous_mean: Tensor) -> SourcePosterior:
        """Return q(s) from evidence and the mean of the iteration before."""


def simulate_detections(s: Tensor, spread: float = 0.5) -> tuple[Evidence, Tensor]:
    """Detect paths s (B, T, 4) with noise, misses and gaps; return evidence, and o where seen.

    The noise is `DETECTION_SCALE` times exp(spread e), e standard normal a clip. Second value: a
    detection (B, T, 4) for each frame, the last one seen where there is none.
    """
    size, length = s.shape[:2]
    scale = torch.tensor(DETECTION_SCALE) * torch.exp(spread * torch.randn(size, 1, 1))
    o = s + scale * torch.randn_like(s)
    seen = _seen(size, length)
    precision = torch.where(seen[..., None], scale**-2, torch.zeros(())).expand(s.shape)
    frames = torch.where(seen, torch.arange(length), torch.zeros((), dtype=torch.long))
    held = o.gather(1, frames.cummax(1).values[..., None].expand(s.shape))
    return Evidence(precision, precision * o), held


def _seen(size: int, length: int) -> Tensor:
    """Draw which frames (B, T) of each clip have a detection."""
    often_missed = torch.rand(size, 1) < 0.5
    seen = ~(often_missed & (torch.rand(size, length) < MISSES))
    gap = (torch.rand(size, 1) < GAPS) * torch.rand(size, 1) * LONGEST_GAP * length
    start = FIRST_SEEN + torch.rand(size, 1) * (length - FIRST_SEEN - gap).clamp_min(0)
    frames = torch.arange(length)
    seen &= ~((frames >= start.floor()) & (frames < start.floor() + gap.floor()))
    seen[:, :FIRST_SEEN] = True
    return seen


class EstimatedPasts(Dataset[dict[str, Any]]):
    """Paths with the pasts to read, estimated for each batch by the guide at that step.

    Parameters
    ----------
    paths : Tensor
        (M, T, 4), in the object frame.
    guide : Filter
        In training.
    share : float
        Of paths whose past is estimated; the others read the truth.
    passes : int
        At most so many E-S steps from the held detections on, drawn a batch.
    """

    def __init__(
        self, paths: Tensor, guide: Filter, *, share: float = 0.75, passes: int = 3
    ) -> None:
        self.paths, self.guide, self.share, self.passes = paths, guide, share, passes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return one path and its past, each (T, 4)."""
        batch = self.__getitems__([row])
        return {**batch, "s": batch["s"][0], "past": batch["past"][0]}

    def __getitems__(self, rows: list[int]) -> dict[str, Any]:
        """Return a batch of paths `s` and pasts `past`, each (B, T, 4), and `from_past`.

        A filter goes on from its own last mean. A smoother has the true increments' distribution to
        know: only the networks read the estimate.
        """
        s = self.paths[rows]
        past = self.estimated(s)
        read = torch.rand(len(rows), 1, 1) < self.share
        past = torch.where(read, past, s)
        return {"s": s, "past": past, "from_past": not self.guide.smooth}

    def estimated(self, s: Tensor) -> Tensor:
        """Return posterior means (B, T, 4) of paths s from detections simulated for them."""
        evidence, mean = simulate_detections(s)
        for _ in range(int(torch.randint(1, self.passes + 1, ()))):
            mean = self.guide.source_posterior(evidence, mean).mean
        return mean

    def loader(self, batch_size: int) -> DataLoader:
        """Return a loader of whole batches, in a new order each epoch."""
        return DataLoader(self, batch_size, shuffle=True, drop_last=True, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch
