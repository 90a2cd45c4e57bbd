"""Detections of several sequences as one padded batch, and the settings of the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.vem import Mixture
from ppl_models.errors import InputError

FloatArray = NDArray[np.float64]

LOG_SIZE_RANGE = 4.0
"""Clutter is uniform in log width and log height, over a range of e^4 about the median."""
WHOLE = (int, np.integer)
Start = Literal["flow", "cascade"]


@dataclass(frozen=True)
class TrackerSettings:
    """Parameters of the detection model, and of its optimisation.

    Attributes
    ----------
    noise : float
        Standard deviation of a detection, as a share of its width and height: where phi starts,
        and the mode of its prior.
    clutter_weight : float
        Prior share of clutter; 0 for none.
    iterations : int
        VEM iterations.
    steps : int
        Most SVI steps; it ends before where the bound does not rise any more.
    learning_rate : float
        Of SVI, at first.
    smooth : bool
        Whether VEM's E-S step is a smoother; if not, it is the filter of the paper. A filter
        with the linear prior (VKF) has no bound: the first start is kept. Of filters with networks,
        the start is kept from which the detections are predicted best.
    num_samples : int
        Joint draws of the posterior, in pairs, that estimate the bound of a network prior; even.
        Where a sequence's paths have more than 1,000 frames in all, fewer in proportion, but 8.
    fine_tune : int
        Gradient steps on the encoder of z in each VEM iteration (the E-Z step; prior SRNN only).
    start : "flow" or "cascade"
        Initial paths: of the whole clip at once, by network flow, or the paper's, run after run.
    lasting_errors : bool
        Whether bands of boxes allow for errors of the detector that last (`bands`). The mixture
        itself knows only of new ones in each frame: False gives its own bands.
    camera : bool
        Whether the camera may move: what all boxes do at once is then told from what each does,
        where the bound is higher for it. A single object, and a filter, take it to stand.
    """

    noise: float = 0.04
    clutter_weight: float = 0.1
    iterations: int = 10
    steps: int = 600
    learning_rate: float = 0.05
    smooth: bool = True
    num_samples: int = 32
    fine_tune: int = 0
    start: Start = "flow"
    camera: bool = True
    lasting_errors: bool = True

    def __post_init__(self) -> None:
        check_settings(self)


class Batch(NamedTuple):
    """Sequences side by side, padded to the longest: the data of `ppl_models.MixDVAE`."""

    o: Tensor
    """(B, T, K, 4): centre x and y in pixels, log width and log height; 0 where padded."""
    mask: Tensor
    """(B, T, K) bool."""
    size: Tensor
    """(B, T, K, 4): (width, height, 1, 1)."""
    region: Tensor
    """(B, 2, 4): where clutter may be."""
    lengths: Tensor
    """(B): frames of each sequence, before padding."""

    @property
    def log_clutter(self) -> Tensor:
        """Log density of clutter, (B)."""
        return -(self.region[:, 1] - self.region[:, 0]).log().sum(-1)


def prepare(padded: Sequence[FloatArray], image_size: tuple[float, float] | None = None) -> Batch:
    """Make a batch of detections (T, K, 4), boxes in pixels with NaN where there is none."""
    longest, widest = (max(x.shape[i] for x in padded) for i in (0, 1))
    boxes = np.full((len(padded), longest, widest, 4), np.nan)
    for i, one in enumerate(padded):
        boxes[i, : one.shape[0], : one.shape[1]] = one
    mask = ~np.isnan(boxes[..., 0])
    boxes[~mask] = 1.0
    o, size = to_centre(boxes), np.ones_like(boxes)
    size[..., :2] = boxes[..., 2:]
    region = np.stack([_region(o[i][mask[i]], image_size) for i in range(len(o))])
    o[~mask] = 0.0
    lengths = np.array([len(x) for x in padded])
    return Batch(*(torch.as_tensor(x) for x in (o, mask, size, region, lengths)))


def frames_exist(batch: Batch) -> Tensor:
    """Return which frames (B, T) are a sequence's own, and not padding."""
    return torch.arange(batch.o.shape[1]) < batch.lengths[:, None]


def frames_of(start: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return origin and unit, each (B, N, 4), of paths (B, N, T, 4) of ``lengths`` (B) frames.

    The unit of both positions is the height, in the middle of the path; of log sizes, 1.
    """
    padded = torch.arange(start.shape[2]) >= lengths[:, None, None]
    height = start[..., 3].masked_fill(padded, torch.nan).nanmedian(-1).values.exp()
    one = torch.ones_like(height)
    return start[:, :, 0], torch.stack([height, height, one, one], -1)


def mixture_of(batch: Batch, start: Tensor, settings: TrackerSettings) -> Mixture:
    """Return what `inference.vem` reads of a batch, its sources' frames laid at ``start``."""
    origin, unit = frames_of(start, batch.lengths)
    log_clutter = batch.log_clutter if settings.clutter_weight else None
    return Mixture(
        batch.o,
        batch.mask,
        batch.size,
        origin,
        unit,
        log_clutter,
        clutter_weight=settings.clutter_weight,
        phi=settings.noise**2,
    )


def to_centre(ltwh: FloatArray) -> FloatArray:
    """(..., 4) left, top, width, height -> centre x, centre y, log width, log height."""
    centre = ltwh[..., :2] + ltwh[..., 2:] / 2
    return np.concatenate([centre, np.log(ltwh[..., 2:])], -1)


def to_ltwh(centre: FloatArray) -> FloatArray:
    """(..., 4) centre x, centre y, log width, log height -> left, top, width, height."""
    size = np.exp(centre[..., 2:])
    return np.concatenate([centre[..., :2] - size / 2, size], -1)


def _region(boxes: FloatArray, image_size: tuple[float, float] | None) -> FloatArray:
    """Bounds (2, 4) of clutter: the image and all detections' centres, and a range of sizes."""
    if not len(boxes):
        boxes = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    low, high = boxes.min(0), boxes.max(0)
    if image_size is None:
        margin = np.exp(np.median(boxes[:, 2:], 0)) / 2  # the boxes' own halves
        low[:2], high[:2] = low[:2] - margin, high[:2] + margin
    else:
        low[:2], high[:2] = np.minimum(low[:2], 0), np.maximum(high[:2], image_size)
    middle = np.median(boxes[:, 2:], 0)
    low[2:], high[2:] = middle - LOG_SIZE_RANGE / 2, middle + LOG_SIZE_RANGE / 2
    return np.stack([low, high])


def check_settings(settings: TrackerSettings) -> None:
    """Raise InputError for settings out of range."""
    check_counts(iterations=settings.iterations, steps=settings.steps)
    rules = (
        (
            "num_samples",
            isinstance(settings.num_samples, WHOLE)
            and settings.num_samples >= 4
            and settings.num_samples % 2 == 0,
            "an even number, 4 or more: draws come in pairs",
            "pass 32",
        ),
        ("fine_tune", _from_zero(settings.fine_tune), "a whole number, 0 or more", "pass 1"),
        ("start", settings.start in get_args(Start), "flow or cascade", "check the spelling"),
        ("noise", 0 < settings.noise < np.inf, "above 0", "pass 0.04"),
        ("clutter_weight", 0 <= settings.clutter_weight < 1, "0 <= weight < 1", "pass 0.1"),
        ("learning_rate", 0 < settings.learning_rate < np.inf, "above 0", "pass 0.05"),
    )
    for name, good, expected, cure in rules:
        if not good:
            raise InputError(name, str(getattr(settings, name)), expected, cure)


def _from_zero(value: Any) -> bool:
    return isinstance(value, WHOLE) and not isinstance(value, bool) and bool(value >= 0)


def check_counts(**counts: Any) -> None:
    """Raise InputError unless each is a whole number from 1."""
    for name, value in counts.items():
        if not isinstance(value, WHOLE) or isinstance(value, bool) or value < 1:
            raise InputError(name, repr(value), "a whole number, 1 or more", f"pass {name}=10")
