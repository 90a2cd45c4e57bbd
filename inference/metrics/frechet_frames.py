"""How far predicted clips are from real ones, as two sets: a Frechet distance of their features.

>>> frechet_frames(clips, samples[0])
FrechetDistance(distance=1.9, error=0.3, bias=0.8, windows=(256, 256))

It asks whether clips look alike as sets, not whether each comes near its own truth: a sharp future
that is another one costs nothing, a blurred one much. As `FVD` (T. Unterthiner et al., "Towards
accurate generative models of video", arXiv:1812.01717) takes it, one sample of each clip, its given
frames included. FVD's network (I3D) and those of LPIPS do not come with this package: the features
are those of the classifier of digits, so that numbers compare with each other only, on digits, and
say nothing on how a digit moves unless they are concatenated. Give ``features`` for your own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from inference.metrics.digits import digit_classifier
from inference.metrics.frames import Frames, as_frames
from inference.metrics.frechet import FrechetDistance, check_counts, frechet_of_features
from ppl_models.errors import InputError, unknown

Features = Callable[[Tensor], Tensor]
POOLS = ("mean", "concatenate")


def frechet_frames(
    truth: Frames,
    predicted: Frames,
    *,
    features: Features | None = None,
    pool: str = "mean",
    batches: int = 10,
    seed: int = 0,
) -> FrechetDistance:
    """Return how far predicted clips are from real ones.

    Parameters
    ----------
    truth, predicted
        Bytes (B, T, H, W) and (B', T, H, W), or (B, T, 3, H, W) in colour; best many, and as many.
    features
        From clips as above, bytes, to features (B, F); by default those of `digit_classifier`.
    pool
        What makes one row of a clip's frames, without ``features``: "mean" over frames, 128
        numbers, or "concatenate", 128 T, which needs many more clips than that.
    batches, seed
        Of the jackknife, as in `frechet_of_features`.

    Raises
    ------
    InputError
        Frames that are not of bytes, other shapes, fewer clips than batches, an unknown pool, or
        features of another shape or that are not finite.
    """
    if pool not in POOLS:
        raise unknown("pool", pool, POOLS)
    reader = features or _classified(pool)
    sets: dict[str, list[Tensor]] = {}
    shapes = []
    for name, frames in {"truth": truth, "predicted": predicted}.items():
        clips = as_frames(name, frames, len(frames.shape) == 5)
        if clips.ndim not in (4, 5):
            cure = "take one sample of each clip: samples[0]"
            raise InputError(name, f"shape {tuple(clips.shape)}", "(B, T, H, W)", cure)
        shapes.append(tuple(clips.shape[1:]))
        sets[name] = list(_rows(reader, clips)[:, None])
    if shapes[0] != shapes[1]:
        found, expected = f"clips of {shapes[1]}", f"{shapes[0]}, as truth has"
        raise InputError("predicted", found, expected, "cut both to the same frames and pixels")
    check_counts(sets, batches, " clips")
    return frechet_of_features(sets["truth"], sets["predicted"], batches=batches, seed=seed)


def _classified(pool: str) -> Features:
    classifier = digit_classifier()

    def read(clips: Tensor) -> Tensor:
        rows = classifier.features(clips, colour=clips.ndim == 5)
        return rows.mean(1) if pool == "mean" else rows.flatten(1)

    return read


def _rows(features: Features, clips: Tensor) -> Tensor:
    rows = torch.as_tensor(features(clips)).detach().double()
    if rows.ndim != 2 or len(rows) != len(clips) or not rows.isfinite().all():
        bad = int((~rows.isfinite()).sum())
        found = f"shape {tuple(rows.shape)}, {bad} numbers not finite, of {len(clips)} clips"
        cure = "return a row a clip: average over frames, and leave no NaN"
        raise InputError("features", found, "finite features (B, F)", cure)
    return rows
