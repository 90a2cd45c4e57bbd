"""The paper's initial paths: short runs of VEM, each begun where the one before it ended.

The clip is cut into runs of `RUN` frames. The first starts at the boxes of one frame, held; VEM
follows them through the run, and the next one starts at where they end. What the whole clip starts
from are these held boxes, a constant path in each run.

Source: X. Lin, L. Girin, X. Alameda-Pineda, "Mixture of dynamical variational autoencoders for
multi-source trajectory modeling and separation", TMLR 2023. There every object is detected in the
first frame. Here the first frame with as many detections as there are objects is taken, and if
there are more in it, the largest; an object that no frame shows together with all others is not
found, nor is clutter told apart: the default start (`initial_paths`) looks at the whole clip.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inference.tasks.tracking.ascent import Prior, coordinate_ascent
from inference.tasks.tracking.batch import Batch, TrackerSettings

RUN = 30


def cascade_start(batch: Batch, objects: int, prior: Prior, settings: TrackerSettings) -> Tensor:
    """Return starting paths (B, N, T, 4), numbered from left to right in the frame they begin at.

    Where no frame has N detections, objects are left over: they stand beside the others.
    """
    boxes = torch.stack(
        [_first_boxes(o, mask, objects) for o, mask in zip(batch.o, batch.mask, strict=True)]
    )
    length, held = batch.o.shape[1], list[Tensor]()
    for begin in range(0, length, RUN):
        run = _run(batch, begin)
        start = boxes[:, :, None].expand(-1, -1, run.o.shape[1], -1)
        held.append(start)
        end = coordinate_ascent(run, start, prior, settings)
        last = (run.lengths - 1)[:, None, None, None].expand(*boxes.shape[:2], 1, 4)
        boxes = end.mean.gather(2, last)[:, :, 0]
    return torch.cat(held, 2)


def _run(batch: Batch, begin: int) -> Batch:
    """Cut `RUN` frames; a sequence that has ended before keeps one, with nothing in it."""
    frames = slice(begin, begin + RUN)
    return Batch(
        batch.o[:, frames],
        batch.mask[:, frames],
        batch.size[:, frames],
        batch.region,
        (batch.lengths - begin).clamp(1, batch.o[:, frames].shape[1]),
    )


def _first_boxes(o: Tensor, mask: Tensor, objects: int) -> Tensor:
    """Return the N boxes (N, 4) that a sequence, (T, K, 4) and (T, K), begins at."""
    counts = mask.sum(-1)
    t = int((counts >= min(objects, int(counts.max()))).float().argmax())
    seen = o[t, mask[t]]
    seen = seen[seen[:, 3].argsort(descending=True, stable=True)[:objects]]
    seen = seen[seen[:, 0].argsort(stable=True)]
    beside = seen[-1:] if len(seen) else o.new_zeros(1, 4)
    missing = objects - len(seen)
    step = torch.zeros_like(beside).index_fill_(1, torch.tensor([0]), 1.0) * beside[:, 3:].exp()
    return torch.cat([seen, *(beside + (i + 1) * step / 2 for i in range(missing))])
