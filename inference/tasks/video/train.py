"""Learn to predict videos from clips: the recipes of the stories, and `fit_video`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inference.schedules import cosine
from inference.tasks.video.files import save_video
from inference.tasks.video.recipes import Recipe, recipe
from inference.training import Run, fit
from ppl_models.data import check_video, flat_frames
from ppl_models.errors import InputError
from ppl_models.likelihoods import ConvFrames

Bytes = NDArray[np.uint8]
STEPS = 20_000
"""Steps of a small recipe, unless epochs are asked for: about an hour of one core at 32 x 32."""


def fit_video(
    frames: Tensor | Bytes,
    story: str = "SRVP",
    *,
    out: str | os.PathLike[str],
    mask: Tensor | None = None,
    sizes: str = "small",
    epochs: int | None = None,
    seed: int = 0,
    resume: bool = False,
    tell: Callable[[str], None] | None = None,
    **settings: Any,
) -> Path:
    """Train a story on clips, and keep the pair.

    Parameters
    ----------
    frames
        uint8 (N, T, S, S), or in colour (N, T, 3, S, S) or (N, T, S, S, 3); S is 8, 16, 32, ...
    story
        A name in `STORIES`.
    out
        Folder of the run, which `load_video` and `ppl predict-video` take.
    mask
        (N, T), the frames that exist, where clips have different lengths.
    sizes
        "small", for 32 x 32 and a CPU; or "published", for 64 x 64 and a GPU.
    epochs
        Passes over the clips; by default what `STEPS` steps come to.
    seed, resume
        As of `inference.fit`.
    tell
        Called with each line about what is done.
    **settings
        Others of `inference.fit`: ``accelerator="gpu"``, ``progress=False``, ...

    Returns
    -------
    Path
        The file of the pair.

    Raises
    ------
    InputError
        Frames that are no clips, an unknown story, or fewer than two frames each.
    KeyboardInterrupt
        Ctrl-C during training, once the run so far is kept.
    """
    tell = tell or (lambda line: None)
    clips = frames.numpy() if isinstance(frames, Tensor) else np.asarray(frames)
    colour = clips.ndim == 5
    if colour and clips.shape[2] == 3 and clips.shape[-1] != 3:
        clips = np.moveaxis(clips, 2, -1)
    clips = check_video(clips, batch=True)
    if clips.shape[2] != clips.shape[3]:
        cure = f"ppl_models.data.resize_frames(frames, {min(clips.shape[2:4])})"
        raise InputError("frames", f"{clips.shape[2]} x {clips.shape[3]}", "square frames", cure)
    chosen = recipe(story, (3 if colour else 1, *clips.shape[2:4]), sizes)
    model, guide = chosen.design.pair(seed)
    run = fit_clips(
        model,
        guide,
        clips,
        chosen,
        out,
        mask=mask,
        epochs=epochs,
        seed=seed,
        resume=resume,
        **settings,
    )
    tell(str(run))
    extra = {"seed": seed, "epochs": run.epochs, "bound": run.best_bound}
    path = save_video(out, chosen.design, model, guide, extra)
    if run.interrupted:
        raise KeyboardInterrupt
    return path


def fit_clips(
    model: Any,
    guide: Any,
    frames: Bytes,
    chosen: Recipe,
    directory: str | os.PathLike[str] | None = None,
    *,
    mask: Tensor | None = None,
    epochs: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> Run:
    """Train a pair in place on clips uint8 (N, T, ...); ``settings`` of `inference.fit`."""
    s = flat_frames(frames)
    batch_size = min(chosen.batch_size, len(s))
    per_epoch = -(-len(s) // batch_size)
    epochs = max(1, STEPS // per_epoch) if epochs is None else epochs
    steps = epochs * per_epoch
    chosen.prepare(guide, steps)
    if isinstance(model.likelihood, ConvFrames):
        first = s[:256] if mask is None else s[:256][mask[:256]]
        model.likelihood.start_from(first / 255)
    data = {"s": s} if mask is None else {"s": s, "mask": mask}
    settings = {"progress": True} | settings
    return fit(
        model,
        guide,
        data,
        epochs=epochs,
        batch_size=batch_size,
        objective=chosen.objective(steps),
        learning_rate=cosine(steps, chosen.learning_rate, warmup=steps // 20 + 1),
        clip=chosen.clip,
        optimizer=chosen.optimizer,
        transform=to_levels,
        seed=seed,
        directory=directory,
        **settings,
    )


def to_levels(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make floats from 0 to 1 of a batch's bytes: clips are kept as bytes, a quarter the size."""
    return {**batch, "s": batch["s"].float() / 255}
