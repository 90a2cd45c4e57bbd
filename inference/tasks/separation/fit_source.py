"""Train a source of one's own: a model of the sounds in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torch import Tensor

from inference.tasks.separation.sources import check_architecture
from inference.tasks.speech import Recipe, recipe_of, save_speech
from ppl_models.data.speech import chunks, spectra, speech_folder


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
    recipe = recipe_of(architecture)
    check_architecture(recipe.design.model)
    pieces, mask, skipped = source_pieces(folder, recipe, resample, channel, on_error)
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


def source_pieces(
    folder: str | os.PathLike[str],
    recipe: Recipe,
    resample: bool = False,
    channel: int | Literal["mix"] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> tuple[Tensor, Tensor, list[str]]:
    """Read a folder; return pieces (N, T, F) of powers, their mask (N, T), and what was left out.

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
    pieces, mask = chunks(powers, recipe.piece, pad=True)
    return pieces, mask, [why for _, why in powers.skipped]
