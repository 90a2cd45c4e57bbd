"""Coordinate ascent for tracking: `inference.vem`, its E-S step by the guide of a source's path."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from guides.dvae import Evidence
from guides.linear_motion import LinearMotionGuide
from inference.tasks.tracking.batch import Batch, TrackerSettings, frames_exist, mixture_of
from inference.tasks.tracking.fine_tuning import FineTuning
from inference.tasks.tracking.pretrain import pretrained
from inference.tasks.tracking.white import white_of
from inference.vem import VEM, vem
from ppl_models.errors import InputError
from ppl_models.linear_motion import LinearMotion

Prior = Literal["linear", "srnn", "deepar"]

WHOLE_FRAMES = 1000
"""Frames of all paths of a sequence up to which its bound has all draws asked for; then fewer."""
LEAST_PAIRS = 4


def source_pair(
    prior: Prior, settings: TrackerSettings | None = None
) -> tuple[nn.Module, nn.Module]:
    """Return the model of one source and its guide, in double precision."""
    settings = settings or TrackerSettings()
    if prior == "linear":
        motion = LinearMotion().double()
        return motion, LinearMotionGuide(motion, causal=not settings.smooth)
    # the paper's E-S step filters: DeepAR has weights of its own for it
    causal = prior == "deepar" and not settings.smooth
    source, guide = pretrained("deepar_causal" if causal else prior)
    guide.smooth = settings.smooth
    return source.double(), guide.double()


def coordinate_ascent(
    batch: Batch, start: Tensor, prior: Prior, settings: TrackerSettings, *, seed: int = 0
) -> VEM:
    """Run VEM from paths ``start`` (B, N, T, 4), z along the encoder's means.

    The ascent draws nothing, unless it tunes the encoder. Draws estimate the bound of where a
    network prior's ends: a sequence's are a function of its detections and the seed (`white_of`),
    the same from every start.

    Raises
    ------
    InputError
        ``settings.fine_tune`` with a prior that has no encoder.
    """
    source, guide = source_pair(prior, settings)
    latent_dim = int(source.latent_dim)  # type: ignore[arg-type]
    noise = start.new_zeros(*start.shape[:-1], latent_dim)
    mask = frames_exist(batch)[:, None].expand(start.shape[:-1])
    tuning = _tuning(source, guide, prior, settings, seed)

    def update(precision: Tensor, weighted: Tensor, previous: Tensor) -> Any:
        evidence = Evidence(precision, weighted)
        if tuning is not None:
            tuning.step(evidence, previous, noise, mask)
        return guide.source_posterior(evidence, previous, noise, mask)  # type: ignore[operator]

    def rate_draws(*evidence: Tensor) -> Tensor:
        return _rate_draws(guide, evidence, noise, mask, batch, settings, seed)

    return vem(
        mixture_of(batch, start, settings),
        start,
        update,
        iterations=settings.iterations,
        rate_draws=None if prior == "linear" else rate_draws,
    )


def _rate_draws(
    guide: nn.Module,
    evidence: tuple[Tensor, ...],
    noise: Tensor,
    mask: Tensor,
    batch: Batch,
    settings: TrackerSettings,
    seed: int,
) -> Tensor:
    """Return rates (R, B, N) by draws; NaN where a sequence, being long, has fewer than R."""
    objects, latent_dim = mask.shape[1], noise.shape[-1]
    sizes = [_pairs(int(length) * objects, settings) for length in batch.lengths]
    rates = noise.new_full((max(sizes), *mask.shape[:2]), torch.nan)
    for size in sorted(set(sizes)):
        rows = torch.tensor([i for i, one in enumerate(sizes) if one == size])
        some = Batch(*(part[rows] for part in batch))
        white = white_of(some, objects, latent_dim, size, seed)
        precision, weighted, previous = (part[rows] for part in evidence)
        rates[:size, rows] = guide.rate_draws(  # type: ignore[operator]
            Evidence(precision, weighted), previous, white, noise[rows], mask[rows]
        )
    return rates


def _pairs(frames: int, settings: TrackerSettings) -> int:
    """Return how many pairs of draws a sequence of so many ``frames`` of paths gets."""
    most = settings.num_samples // 2
    return min(most, max(LEAST_PAIRS, most * WHOLE_FRAMES // frames))


def _tuning(
    source: nn.Module, guide: nn.Module, prior: Prior, settings: TrackerSettings, seed: int
) -> FineTuning | None:
    if not settings.fine_tune:
        return None
    if not any(True for _ in guide.parameters()):
        found, expected = f"{settings.fine_tune}, prior {prior!r}", "0: there is no encoder to tune"
        raise InputError("fine_tune", found, expected, "pass prior='srnn', or fine_tune=0")
    source.requires_grad_(False)
    return FineTuning(guide, settings.fine_tune, seed)
