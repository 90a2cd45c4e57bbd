"""Follow N objects through detections: MixDVAE, a source prior, and VEM or SVI.

>>> from ppl_models.data.motchallenge import read_boxes
>>> from inference.tasks.tracking import track
>>> [tracks] = track([read_boxes("det.txt")], objects=3)
>>> tracks.boxes  # (N, T, 4): left, top, width, height of each object in each frame

A box is followed as (centre x, centre y, log width, log height), each object in its own frame:
offsets from where its path starts, in units of its height. Coordinate ascent starts from several
sets of paths (`inference.tasks.association`), and the one that ends at the highest bound is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from guides.source import Evidence
from guides.state_space import LinearMotionGuide
from inference.randomness import seeded
from inference.tasks.association import Clip, Settings, start_paths
from inference.tasks.pretrain import pretrained
from inference.tasks.tracking_checks import (
    check_choice,
    check_counts,
    check_detections,
    check_image_size,
    check_model,
    ranges_of,
)
from inference.tasks.tracks import Tracks
from inference.vem import VEM, Mixture, vem
from ppl_models.data.motchallenge import Boxes
from ppl_models.state_space import LinearMotion

Method = Literal["vem", "svi"]
Prior = Literal["linear", "srnn", "deepar"]
FloatArray = NDArray[np.float64]

MOTION_SCALES = (1.0, 0.5, 0.25)
"""How restless the starts take the objects to be; the bound decides."""
LOG_SIZE_RANGE = 4.0
"""Clutter is as likely at any log width and log height within a factor of e^4 about the middle."""


@dataclass(frozen=True)
class Model:
    """What the tracker believes of detections, and how long it looks.

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
        SVI steps.
    learning_rate : float
        Of SVI.
    smooth : bool
        Whether VEM's E-S step looks both ways; if not, it is the paper's, which filters. A filter
        with the linear prior (VKF) has no bound: the first start is kept.
    """

    noise: float = 0.04
    clutter_weight: float = 0.1
    iterations: int = 10
    steps: int = 300
    learning_rate: float = 0.05
    smooth: bool = True

    def __post_init__(self) -> None:
        check_model(self)


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


def track(
    detections: Sequence[Boxes],
    *,
    objects: int,
    image_size: tuple[float, float] | None = None,
    frames: tuple[int, int] | Sequence[tuple[int, int]] | None = None,
    method: Method = "vem",
    prior: Prior = "deepar",
    clutter: bool = True,
    iterations: int | None = None,
    model: Model | None = None,
    seed: int = 0,
) -> list[Tracks]:
    """Follow ``objects`` objects, present in every frame, through each sequence of detections.

    Parameters
    ----------
    detections : sequence of Boxes
        One a sequence, pixels; identities and order within a frame are not read. All are followed
        in one batch.
    objects : int
        N, the same for all sequences.
    image_size : (width, height), optional
        In pixels; by default the extent of the detections. Only the density of clutter reads it.
    frames : (first, last) or a sequence of them, optional
        Frames to follow, both included; by default from the first detection to the last.
    method : "vem" or "svi"
        Coordinate ascent (the default: exact blocks, fast), or a guide refined by stochastic
        gradients with the assignments summed exactly.
    prior : "deepar", "srnn" or "linear"
        What is known of motion: networks whose weights ship, or constant velocity. The default is
        the one that explains and follows real people best (`benchmarks.tracking`).
    clutter : bool
        Whether a detection may be of nothing.
    iterations : int, optional
        VEM iterations; by default the model's, 10.
    model : Model, optional
        Finer settings; ``clutter=False`` and ``iterations`` overrule its own.
    seed : int
        Of SVI's draws and of the latent draws of a dynamical VAE.

    Returns
    -------
    list of Tracks
        One a sequence, objects numbered by their first detection's frame, then left to right.

    Raises
    ------
    InputError
        For no sequences, boxes without a size, fewer than one object, an unknown method or prior,
        an empty range, an image without a size.
    """
    check_detections(detections)
    check_counts(objects=objects)
    check_choice("method", method, Method)
    check_choice("prior", prior, Prior)
    check_image_size(image_size)
    ranges = ranges_of(detections, frames)
    model = model or Model()
    if iterations is not None:
        model = replace(model, iterations=iterations)
    if not clutter:
        model = replace(model, clutter_weight=0.0)
    padded = [d.padded(*r) for d, r in zip(detections, ranges, strict=True)]
    batch = prepare(padded, image_size)
    lengths = [last - first + 1 for first, last in ranges]
    starts = starts_of(batch, lengths, objects, model)
    with seeded(seed):
        if method == "svi":
            from inference.tasks.tracking_svi import refine

            ends = [refine(batch, start, source_pair(prior), model) for start in starts]
        else:
            ends = [coordinate_ascent(batch, start, prior, model) for start in starts]
    best = torch.stack([end.elbo[-1] for end in ends]).nan_to_num(-torch.inf).argmax(0)
    return [
        _tracks(d.name, first, boxes, ends[best[i]], i, length)
        for i, (d, (first, _), boxes, length) in enumerate(
            zip(detections, ranges, padded, lengths, strict=True)
        )
    ]


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


def to_centre(ltwh: FloatArray) -> FloatArray:
    """(..., 4) left, top, width, height -> centre x, centre y, log width, log height."""
    centre = ltwh[..., :2] + ltwh[..., 2:] / 2
    return np.concatenate([centre, np.log(ltwh[..., 2:])], -1)


def to_ltwh(centre: FloatArray) -> FloatArray:
    """(..., 4) centre x, centre y, log width, log height -> left, top, width, height."""
    size = np.exp(centre[..., 2:])
    return np.concatenate([centre[..., :2] - size / 2, size], -1)


def frames_of(start: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return origin and unit, each (B, N, 4), of paths (B, N, T, 4), ``lengths`` (B) of them told.

    The unit of both positions is the height, in the middle of the path; of log sizes, 1.
    """
    padded = torch.arange(start.shape[2]) >= lengths[:, None, None]
    height = start[..., 3].masked_fill(padded, torch.nan).nanmedian(-1).values.exp()
    one = torch.ones_like(height)
    return start[:, :, 0], torch.stack([height, height, one, one], -1)


def source_pair(prior: Prior, model: Model | None = None) -> tuple[nn.Module, nn.Module]:
    """Return the story of one source and its guide, in double precision."""
    model = model or Model()
    if prior == "linear":
        motion = LinearMotion().double()
        return motion, LinearMotionGuide(motion, causal=not model.smooth)
    # the paper's E-S step filters: DeepAR has weights of its own for it
    causal = prior == "deepar" and not model.smooth
    story, guide = pretrained("deepar_causal" if causal else prior)
    guide.smooth = model.smooth
    return story.double(), guide.double()


def mixture_of(batch: Batch, start: Tensor, model: Model) -> Mixture:
    """Return what `inference.vem` reads of a batch, its sources' frames laid at ``start``."""
    origin, unit = frames_of(start, batch.lengths)
    log_clutter = batch.log_clutter if model.clutter_weight else None
    return Mixture(
        batch.o,
        batch.mask,
        batch.size,
        origin,
        unit,
        log_clutter,
        clutter_weight=model.clutter_weight,
        phi=model.noise**2,
    )


def coordinate_ascent(batch: Batch, start: Tensor, prior: Prior, model: Model) -> VEM:
    """Run VEM from paths ``start`` (B, N, T, 4), z along the encoder's means.

    Nothing is drawn, so a sequence's tracks do not depend on the others of its batch.
    """
    story, guide = source_pair(prior, model)
    latent_dim = int(story.latent_dim)  # type: ignore[arg-type]
    noise = start.new_zeros(*start.shape[:-1], latent_dim)

    def update(precision: Tensor, weighted: Tensor, previous: Tensor) -> Any:
        return guide.source_posterior(  # type: ignore[operator]
            Evidence(precision, weighted), previous, noise
        )

    return vem(mixture_of(batch, start, model), start, update, iterations=model.iterations)


def starts_of(batch: Batch, lengths: Sequence[int], objects: int, model: Model) -> list[Tensor]:
    """Return sets of starting paths (B, N, T, 4), one a motion scale.

    ``lengths`` are the sequences' own, before padding; paths are held where frames are padded.
    """
    linear, longest = LinearMotion(), batch.o.shape[1]
    clips = [
        Clip(o[:n].numpy(), mask[:n].numpy(), size[:n].numpy(), float(log_clutter))
        for o, mask, size, log_clutter, n in zip(
            *(x.double() if x.is_floating_point() else x for x in batch[:3]),
            batch.log_clutter,
            lengths,
            strict=True,
        )
    ]
    weight = model.clutter_weight or 0.01  # the flow must be able to leave a detection out
    sets = []
    for scale in MOTION_SCALES:
        settings = Settings(noise=model.noise, clutter_weight=weight, motion_scale=scale)
        paths = [start_paths(clip, objects, linear, settings) for clip in clips]
        held = [np.pad(p, ((0, 0), (0, longest - p.shape[1]), (0, 0)), "edge") for p in paths]
        sets.append(torch.as_tensor(np.stack(held)))
    return sets


def _region(seen: FloatArray, image_size: tuple[float, float] | None) -> FloatArray:
    """Bounds (2, 4) of clutter: the image and all detections' centres, and a range of sizes."""
    if not len(seen):
        seen = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    low, high = seen.min(0), seen.max(0)
    if image_size is None:
        margin = np.exp(np.median(seen[:, 2:], 0)) / 2  # the boxes' own halves
        low[:2], high[:2] = low[:2] - margin, high[:2] + margin
    else:
        low[:2], high[:2] = np.minimum(low[:2], 0), np.maximum(high[:2], image_size)
    middle = np.median(seen[:, 2:], 0)
    low[2:], high[2:] = middle - LOG_SIZE_RANGE / 2, middle + LOG_SIZE_RANGE / 2
    return np.stack([low, high])


def _tracks(name: str, first: int, boxes: FloatArray, end: VEM, i: int, length: int) -> Tracks:
    """Cut sequence ``i`` out of a batch."""
    return Tracks(
        name=name,
        first=first,
        mean=end.mean[i, :, :length].numpy(),
        sd=end.variance[i, :, :length].sqrt().numpy(),
        detections=boxes,
        responsibilities=end.responsibilities[i, :length, : boxes.shape[1]].numpy(),
        noise=float(end.phi[i].sqrt()),
        elbo=end.elbo[:, i].numpy(),
    )
