"""Follow N objects through detections: MixDVAE, a source prior, and VEM or SVI.

>>> from ppl_models.data.motchallenge import read_boxes
>>> from inference.tasks.tracking import track
>>> [tracks] = track([read_boxes("det.txt")], objects=3)
>>> tracks.boxes  # (N, T, 4): left, top, width, height of each object in each frame

A box is followed as (centre x, centre y, log width, log height), each object in its own frame:
offsets from where its path starts, in units of its height. Coordinate ascent starts from several
sets of paths (`inference.tasks.tracking.initial_paths`), and the one that ends at the highest bound
is kept: the ELBO of its posterior, estimated from joint draws where the prior has networks.
Where boxes have motion in common, they are also followed as a camera that stands would have seen
them (`inference.tasks.tracking.steady`), and the bound decides between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from inference.randomness import seeded
from inference.tasks.tracking.ascent import Prior, coordinate_ascent, source_pair
from inference.tasks.tracking.bands import lasting_variance, learn_from_batch
from inference.tasks.tracking.batch import (
    Batch,
    FloatArray,
    TrackerSettings,
    check_counts,
    prepare,
)
from inference.tasks.tracking.cascade import cascade_start
from inference.tasks.tracking.checks import (
    Frames,
    check_choice,
    check_image_size,
    ranges_of,
)
from inference.tasks.tracking.initial_paths import Clip, Settings, start_paths
from inference.tasks.tracking.steady import Rest, at_rest
from inference.tasks.tracking.tracks import Tracks
from inference.tasks.tracking.whole import ErrorLaw
from inference.vem import VEM
from ppl_models.data.motchallenge import Boxes
from ppl_models.linear_motion import LinearMotion

Method = Literal["vem", "svi"]

MOTION_SCALES = (1.0, 0.5, 0.25)
"""How restless the starts take the objects to be; the bound decides."""


def track_known(
    detections: Sequence[Boxes],
    *,
    objects: int,
    image_size: tuple[float, float] | None = None,
    frames: Frames = None,
    method: Method = "vem",
    prior: Prior = "srnn",
    clutter: bool = True,
    iterations: int | None = None,
    settings: TrackerSettings | None = None,
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
        Coordinate ascent (the default: fast, q(s) a smoother), or a guide refined from there by
        stochastic gradients, with the assignments summed exactly but q(s) independent over frames:
        its bound is far lower, and its deviations are too small.
    prior : "srnn", "deepar" or "linear"
        What is known of motion: networks whose weights ship, or constant velocity. The default is
        the one with the highest bound on real people, whom it follows at least as well
        (`benchmarks.tracking`); DeepAR is some nats a clip behind, and faster.
    clutter : bool
        Whether a detection may be of nothing.
    iterations : int, optional
        VEM iterations; by default those of the settings, 10.
    settings : TrackerSettings, optional
        Finer settings; ``clutter=False`` and ``iterations`` overrule its own.
    seed : int
        Of SVI's draws, and of those that estimate the bound of a network prior.

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
    check_counts(objects=objects)
    check_choice("method", method, Method)
    check_choice("prior", prior, Prior)
    check_image_size(image_size)
    ranges = ranges_of(detections, frames)
    settings = settings or TrackerSettings()
    if iterations is not None:
        settings = replace(settings, iterations=iterations)
    if not clutter:
        settings = replace(settings, clutter_weight=0.0)
    padded = [d.padded(*r) for d, r in zip(detections, ranges, strict=True)]
    batch = prepare(padded, image_size)
    lengths = [last - first + 1 for first, last in ranges]
    ascent = replace(settings, smooth=True) if method == "svi" else settings
    with seeded(seed):
        still = _followed(batch, lengths, objects, prior, ascent, seed)
        found, rests = _steadied(still, padded, image_size, prior, ascent, seed)
        end = found.end
        if method == "svi":
            from inference.tasks.tracking.svi import refine

            end = refine(found.batch, found.start, source_pair(prior), settings, end)
    seen = [rests[i].boxes if i in rests else boxes for i, boxes in enumerate(padded)]
    owners = [_owners(end, i, boxes)[..., :objects] for i, boxes in enumerate(padded)]
    errors = learn_from_batch(seen, owners) if settings.lasting_errors else None
    return [
        _tracks(d.name, first, boxes, end, i, length, rests.get(i), errors)
        for i, (d, (first, _), boxes, length) in enumerate(
            zip(detections, ranges, padded, lengths, strict=True)
        )
    ]


class _Followed(NamedTuple):
    """Sequences, the starting paths that did best, and where they ended."""

    batch: Batch
    start: Tensor
    end: VEM

    @property
    def objects(self) -> int:
        return self.start.shape[1]


def _followed(
    batch: Batch,
    lengths: Sequence[int],
    objects: int,
    prior: Prior,
    settings: TrackerSettings,
    seed: int,
) -> _Followed:
    """Take each sequence's best end by its bound.

    A filter's q(s) has frames independent of each other, and a bound thousands of nats lower: its
    ends are compared by the objective, which is how well it predicts the detections.
    """
    if settings.start == "cascade":
        starts = [cascade_start(batch, objects, prior, settings)]
    else:
        starts = starts_of(batch, lengths, objects, settings)
    ends = [coordinate_ascent(batch, start, prior, settings, seed=seed) for start in starts]
    scores = [end.elbo if settings.smooth else end.objective[-1] for end in ends]
    best = torch.stack(scores).nan_to_num(-torch.inf).argmax(0)
    start = torch.stack(list(starts))[best, torch.arange(len(best))]
    return _Followed(batch, start, _chosen(ends, best))


def _steadied(
    still: _Followed,
    padded: Sequence[FloatArray],
    image_size: tuple[float, float] | None,
    prior: Prior,
    settings: TrackerSettings,
    seed: int,
) -> tuple[_Followed, dict[int, Rest]]:
    """Follow sequences at rest where boxes speak for a camera; keep what has the higher bound.

    What one object does alone is its own, and a filter has no bound to decide by: there, all
    cameras stand. Returned with the sequences (by their indices) whose camera moves.
    """
    if not settings.camera or not settings.smooth or still.objects < 2:
        return still, {}
    rests = {i: rest for i, boxes in enumerate(padded) if (rest := at_rest(boxes, image_size))}
    if not rests:
        return still, {}
    rows = torch.tensor(list(rests))
    calm = prepare([rests[i].boxes if i in rests else b for i, b in enumerate(padded)], image_size)
    calm = calm._replace(region=still.batch.region)
    some = Batch(*(part[rows] for part in calm))
    moved = _followed(some, some.lengths.tolist(), still.objects, prior, settings, seed)
    elbo = moved.end.elbo - moved.end.elbo.new_tensor([rest.cost for rest in rests.values()])
    better = elbo > still.end.elbo[rows]
    kept = {i: rests[i] for i in rows[better].tolist()}
    put = partial(_put, rows=rows[better], kept=better)
    end = {
        name: put(getattr(still.end, name), getattr(moved.end, name))
        for name in VEM._fields
        if name != "objective"
    }
    end["objective"] = put(still.end.objective.T, moved.end.objective.T).T
    batch = Batch(*map(put, still.batch, some))
    return _Followed(batch, put(still.start, moved.start), VEM(**end)), kept


def _put(old: Tensor, new: Tensor, rows: Tensor, kept: Tensor) -> Tensor:
    """Return ``old``, its ``rows`` replaced by those of ``new`` that are ``kept``."""
    return old.index_copy(0, rows, new[kept])


def _chosen(ends: Sequence[VEM], best: Tensor) -> VEM:
    """Return of each sequence the end with index ``best`` (B)."""
    rows = torch.arange(len(best))
    parts = {name: torch.stack([getattr(end, name) for end in ends]) for name in VEM._fields}
    objective = parts.pop("objective")[best, :, rows].T
    return VEM(**{name: part[best, rows] for name, part in parts.items()}, objective=objective)


def starts_of(
    batch: Batch, lengths: Sequence[int], objects: int, settings: TrackerSettings
) -> list[Tensor]:
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
    weight = settings.clutter_weight or 0.01  # the flow must be able to leave a detection out
    sets = []
    for scale in MOTION_SCALES:
        how = Settings(noise=settings.noise, clutter_weight=weight, motion_scale=scale)
        paths = [start_paths(clip, objects, linear, how) for clip in clips]
        held = [np.pad(p, ((0, 0), (0, longest - p.shape[1]), (0, 0)), "edge") for p in paths]
        sets.append(torch.as_tensor(np.stack(held)))
    return sets


def _owners(end: VEM, i: int, boxes: FloatArray) -> FloatArray:
    """Return the responsibilities of sequence ``i``, whose detections are ``boxes``."""
    owners: FloatArray = end.responsibilities[i, : boxes.shape[0], : boxes.shape[1]].numpy()
    return owners


def _tracks(
    name: str,
    first: int,
    boxes: FloatArray,
    end: VEM,
    i: int,
    length: int,
    rest: Rest | None,
    errors: ErrorLaw | None,
) -> Tracks:
    """Cut sequence ``i`` out of a batch, and show it as its camera does."""
    mean, variance = end.mean[i, :, :length], end.variance[i, :, :length]
    if errors is not None:
        more = lasting_variance(errors, mean[..., 3].double().numpy())
        variance = variance + variance.new_tensor(more)
    if rest is not None:
        mean, variance = rest.in_image(mean, variance)
    return Tracks(
        name=name,
        first=first,
        mean=mean.numpy(),
        sd=variance.sqrt().numpy(),
        detections=boxes,
        responsibilities=_owners(end, i, boxes),
        noise=float(end.phi[i].sqrt()),
        elbo=float(end.elbo[i]) - (rest.cost if rest is not None else 0.0),
        elbo_error=float(end.elbo_error[i]),
        objective=end.objective[:, i].numpy(),
        camera=np.zeros((length, 4)) if rest is None else rest.path,
    )
