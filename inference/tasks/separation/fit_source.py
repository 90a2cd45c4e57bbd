"""Train a source of one's own: a model of the sounds in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.separation.sources import check_architecture
from inference.tasks.speech import Recipe, recipe_of, save_speech
from ppl_models.data.speech import chunks, spectra, speech_folder

LEVELS = (-20.0, 5.0)
"""Of a recording in training, dB."""


def fit_source(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    architecture: str = "RVAE",
    seed: int = 0,
    epochs: int | None = None,
    resume: bool = False,
    resample: bool = False,
    channel: int | Literal["mix"] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Train a model of sounds of one kind: the powers of their spectra, frame by frame.

    All recordings of the folder are trained on, each divided by its largest modulus, and nothing is
    cut off at their ends. Pieces are those of the architecture's recipe (50 frames, 0.8 s), a
    shorter note being a shorter piece.

    Parameters
    ----------
    folder
        Recordings of this kind of sound alone, in folders or not.
    out
        Folder of the run, which is a source then, named as it is.
    architecture
        A name in `inference.tasks.speech.RECIPES`, but for KVAE.
    seed
        Decides initial weights, the order of the pieces, and noise.
    epochs
        Passes over the data; the recipe's by default.
    resume
        Go on with a run that stopped, to the numbers that it would have reached.
    resample, channel
        As in `ppl_models.data.read_sound`.
    on_error
        Whether a recording that cannot be used, or is silent, ends it all or is left out.
    tell
        Called with each line about what is done.

    Returns
    -------
    Path
        The file of the source.

    Raises
    ------
    InputError
        No recording, or one that cannot be used; no such architecture, or none of sources; a run is
        there already.
    KeyboardInterrupt
        Ctrl-C during training, once the run so far is kept.
    """
    tell = tell or (lambda line: None)
    recipe = source_recipe(architecture)
    check_architecture(recipe.design.model)
    pieces, mask, skipped = source_pieces(folder, recipe, resample, channel, on_error, seed)
    for why in skipped:
        tell(f"skipped: {why}")
    tell(f"{len(pieces)} pieces of up to {recipe.piece} frames")
    run = recipe.train(pieces, out, mask=mask, seed=seed, epochs=epochs, resume=resume)
    facts = {"corpus": Path(folder).resolve().name, "seed": seed, "epochs": run.epochs}
    path = save_speech(out, recipe.design, run.model, run.guide, facts)
    tell(str(run))
    if run.interrupted:
        raise KeyboardInterrupt
    return path


def source_recipe(architecture: str) -> Recipe:
    """Return the recipe of speech, its latents weighing what they cost; RVAE is not causal.

    With a KL weight of 1 sources are told apart better than with the 0.01 of re-synthesis: latents
    of a mixture are not known to so many digits.

    Raises
    ------
    InputError
        No such architecture.
    """
    recipe = recipe_of(architecture)
    design = recipe.design
    if design.model == "RVAE":
        design = replace(design, options={**design.options, "causal": False})
    return replace(recipe, design=design, kl_weight=1.0)


def source_pieces(
    folder: str | os.PathLike[str],
    recipe: Recipe,
    resample: bool = False,
    channel: int | Literal["mix"] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    seed: int = 0,
) -> tuple[Tensor, Tensor, list[str]]:
    """Read a folder; return pieces (N, T, F) of powers, their mask (N, T), and what was left out.

    Each recording has a random level of `LEVELS` dB against a largest modulus of 1: in a mixture a
    source is softer than alone, and its latents are to know levels.

    Raises
    ------
    InputError
        As `speech_folder` and `spectra`.
    """
    listed = speech_folder(folder, validation=0.0, test=0.0).train
    powers = spectra(
        listed,
        recipe.design.stft,
        trim_db=None,
        resample=resample,
        channel=channel,
        on_error=on_error,
    )
    rows = torch.Generator().manual_seed(derive(seed, "levels"))
    low, high = LEVELS
    levels = low + (high - low) * torch.rand(len(powers), generator=rows)
    powers[:] = [power * 10 ** (level / 10) for power, level in zip(powers, levels, strict=True)]
    pieces, mask = chunks(powers, recipe.piece, pad=True)
    return pieces, mask, [why for _, why in powers.skipped]
