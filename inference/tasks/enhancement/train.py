"""Learn noise from noisy recordings (U-ND): no clean speech is heard beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from inference.objectives import Objective
from inference.schedules import cosine
from inference.tasks.enhancement.files import SPEECH, NoiseModel, fresh, save_noise
from inference.training import Run, fit
from ppl_models.data.speech import chunks, sounds, speech_folder
from ppl_models.likelihoods import to_bins

PIECE, EPOCHS, BATCH = 64, 30, 16
QUIET_START = -1.0
"""Log level of noise at first, in standard deviations of log powers from their mean."""


def train_noise(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    speech: str | os.PathLike[str] = SPEECH,
    kind: str = "LV",
    resolution: int = 65,
    seed: int = 0,
    epochs: int = EPOCHS,
    resume: bool = False,
    resample: bool = False,
    channel: int | Literal["mix"] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Train a noise network, and the encoder, on the noisy speech of a folder.

    The speech model stays as it is.

    Parameters
    ----------
    folder
        Noisy recordings, of a second or more, in folders or not.
    out
        Folder of the run; `enhance` takes it as ``model``.
    speech
        A source of speech whose frames depend on latents alone.
    kind : {"LV", "NO", "NOLV"}
        What the noise depends on: latents of the speech, noisy frames before, or both.
    resolution : int
        Bins over which its spectra are smooth; 1, the paper's, leaves them free.
    seed, epochs, resume
        As of `inference.fit`.
    resample, channel
        As of `ppl_models.data.read_sound`.
    on_error
        Whether a recording that cannot be used ends it all, or is left out.
    tell
        Called with each line about what is done.

    Returns
    -------
    Path
        The file of the model.

    Raises
    ------
    InputError
        Nothing to learn from, or a recording that cannot be used.
    KeyboardInterrupt
        Ctrl-C during training, once the run so far is kept.
    """
    tell = tell or (lambda line: None)
    found = fresh(speech, kind, resolution, seed)
    listed = speech_folder(folder, validation=0.0, test=0.0).train
    waves = sounds(
        listed,
        found.stft.rate,
        trim_db=None,
        resample=resample,
        channel=channel,
        on_error=on_error,
    )
    for _, why in waves.skipped:
        tell(f"skipped: {why}")
    pieces, mask = chunks([to_bins(found.stft.analyse(w)) for w in waves], PIECE, pad=True)
    tell(f"{len(pieces)} pieces of up to {PIECE} frames")
    run = fit_noise(found, pieces, out, mask=mask, seed=seed, epochs=epochs, resume=resume)
    tell(str(run))
    path = save_noise(out, found, {"seed": seed, "epochs": run.epochs})
    if run.interrupted:
        raise KeyboardInterrupt
    return path


def fit_noise(
    found: NoiseModel,
    pieces: Tensor,
    directory: str | os.PathLike[str] | None = None,
    *,
    mask: Tensor | None = None,
    seed: int = 0,
    epochs: int = EPOCHS,
    **settings: Any,
) -> Run:
    """Train a pair in place on pieces (N, T, 2 F) of noisy bins; ``settings`` of `inference.fit`.

    The bound is the plain ELBO of noisy speech.
    """
    found.model.noise.start_from(torch.nan_to_num(pieces), mask)
    # below the speech, which the frozen decoder and its encoder can explain already
    torch.nn.init.constant_(found.model.noise.head[-1].bias, QUIET_START)  # type: ignore[arg-type]
    steps = epochs * -(-len(pieces) // BATCH)
    data = {"x": pieces} if mask is None else {"x": pieces, "mask": mask}
    return fit(
        found.model,
        found.guide,
        data,
        epochs=epochs,
        batch_size=BATCH,
        objective=Objective("meanfield"),
        learning_rate=cosine(steps, 1e-3, warmup=steps // 20 + 1),
        clip=10.0,
        seed=seed,
        directory=directory,
        **settings,
    )
