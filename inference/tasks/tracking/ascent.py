"""Coordinate ascent for tracking: `inference.vem`, its E-S step by the guide of a source's path."""

from __future__ import annotations

from typing import Any, Literal

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

    def rate_draws(precision: Tensor, weighted: Tensor, previous: Tensor) -> Tensor:
        white = white_of(batch, start.shape[1], latent_dim, settings.num_samples // 2, seed)
        draws: Tensor = guide.rate_draws(  # type: ignore[operator]
            Evidence(precision, weighted), previous, white, noise, mask
        )
        return draws

    return vem(
        mixture_of(batch, start, settings),
        start,
        update,
        iterations=settings.iterations,
        rate_draws=None if prior == "linear" else rate_draws,
    )


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
