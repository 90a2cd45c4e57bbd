"""Speech by a dynamical VAE of power spectra: analysis, re-synthesis, generation, other voices.

Analysis: the posterior means of a recording's latents. Re-synthesis: frames told from them in a
*closed loop* (an autoregressive model reads the frames that it told itself, never the recording's),
with the recording's phases. Generation: latents and frames from the prior, phases by Griffin-Lim.

References: X. Bie et al., "A benchmark of dynamical variational autoencoders applied to speech
spectrogram modeling", Interspeech 2021, arXiv:2106.06500; X. Lin et al., arXiv:2303.09404, sec. 4.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from pyro import poutine
from torch import Tensor

from inference.randomness import derive, seeded
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError
from ppl_models.sequences import clean


class Analysis(NamedTuple):
    """What a guide says of recordings: means of z (B, T, L), and of w (B, W) if there is one."""

    z: Tensor
    w: Tensor | None = None


class Sounds(NamedTuple):
    """Recordings that a model told, and their power spectra."""

    wave: Tensor
    """(..., N)"""
    power: Tensor
    """(..., T, F)"""


@torch.no_grad()
def analyse(
    model: Any, guide: Any, s: Tensor, mask: Tensor | None = None, *, forced: bool = False
) -> Analysis:
    """Return the posterior means of the latents of power spectra s (B, T, F).

    They are for `tell`: a guide that asks what its model has read so far is told what that reads in
    a closed loop. ``forced`` takes the true frames there, for `tell_forced`.
    """
    with model.free_running() if model.autoregressive and not forced else nullcontext():
        nodes = poutine.trace(guide.path).get_trace(s, mask, 0.0).nodes
    w = nodes[model.global_site]["value"] if model.global_dim else None
    return Analysis(nodes[model.site]["value"], w)


@torch.no_grad()
def tell(model: Any, latents: Analysis, mask: Tensor | None = None) -> Tensor:
    """Return the power spectra (B, T, F) that a model tells of latents, in a closed loop.

    Zeros where the mask (B, T) says that there is no frame.
    """
    raw = model.closed_loop(latents.z, latents.w, mask)
    return clean(model.likelihood.point(raw), mask)


@torch.no_grad()
def tell_forced(model: Any, latents: Analysis, s: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the spectra (B, T, F) that a model tells if it is shown the true frames before."""
    if not model.autoregressive:
        return tell(model, latents, mask)
    past = model.teacher_forced_past(s, latents.z, latents.w, mask)
    raw = model.outputs(model.read(past), latents.z, past)
    return clean(model.likelihood.point(raw), mask)


def resynthesise(
    model: Any, guide: Any, wave: Tensor, stft: STFT | None = None, *, code: Tensor | None = None
) -> Sounds:
    """Analyse a recording (N,) and tell it anew, with its own phases.

    The recording is brought to a largest modulus of 1 before, as those that models are trained on,
    and back after. Silence remains silence. With ``code`` (W,), it is told with that code of a
    whole sequence in place of its own: the voice of another recording (`code_of`).

    Raises
    ------
    InputError
        It is no recording: not (N,), empty, or not finite. Or what the model tells is not finite.
    """
    stft = stft or STFT()
    check_wave(wave)
    level = wave.abs().max()
    if level == 0:
        return Sounds(wave.clone(), stft.power(wave))
    spectra = stft.analyse(wave / level)
    latents = analyse(model, guide, spectra.abs().square()[None])
    if code is not None:
        latents = latents._replace(w=_check_code(model, code)[None])
    told = finite(tell(model, latents))[0]
    back = stft.invert(torch.polar(told.sqrt(), spectra.angle()), length=len(wave))
    return Sounds(level * back, level**2 * told)


def check_wave(wave: Tensor) -> None:
    """Look at what should be one recording.

    Raises
    ------
    InputError
        It is not (N,), empty, or not finite.
    """
    if wave.dim() != 1 or len(wave) == 0 or not bool(torch.isfinite(wave).all()):
        bad = int((~torch.isfinite(wave)).sum())
        seen = f"shape {tuple(wave.shape)}, {bad} samples not finite"
        raise InputError("wave", seen, "one recording (N,)", "give one channel of finite samples")


def finite(told: Tensor) -> Tensor:
    """Return powers that a model told.

    Raises
    ------
    InputError
        They are not finite.
    """
    if not bool(told.isfinite().all()):
        seen = f"it tells {int((~told.isfinite()).sum())} powers that are not finite"
        raise InputError("model", seen, "finite powers", "train it longer, or take another one")
    return told


def _check_code(model: Any, code: Tensor, count: int | None = None) -> Tensor:
    """Return w, of shape (W,), or (B, W) for a count B."""
    _check_has_code(model)
    size = (model.global_dim,)
    bad = int((~code.isfinite()).sum())
    if bad or code.shape not in (size, (count, *size)):
        expected = f"{size}" if count is None else f"{size} or {(count, *size)}"
        seen = f"shape {tuple(code.shape)}, {bad} numbers not finite"
        cure = "take it from `code_of`, by the same pair"
        raise InputError("code", seen, expected, cure)
    return code


@torch.no_grad()
def generate(
    model: Any,
    size: int = 1,
    frames: int = 100,
    stft: STFT | None = None,
    *,
    code: Tensor | None = None,
    seed: int = 0,
    point: bool = False,
    iterations: int = 60,
) -> Sounds:
    """Tell recordings from the prior alone; their phases are Griffin-Lim's.

    Parameters
    ----------
    size, frames
        B and T.
    code
        w of all (W,), or of each (B, W), as `analyse` gives them: new sentences of known voices. By
        default drawn from the prior.
    seed
        Of latents, frames and first phases.
    point
        Whether an autoregressive model reads means of its frames, or draws.
    iterations
        Of Griffin-Lim.

    Returns
    -------
    Sounds
        wave (B, N), power (B, T, F): means of the frames given latents and past.

    Raises
    ------
    InputError
        The model has no code of a whole sequence, or another size of it; a code, or what is told,
        is not finite.
    """
    if code is not None:
        code = _check_code(model, code, size).expand(size, -1)
    stft = stft or STFT()
    with seeded(derive(seed, "speech")):
        like = next(model.parameters())
        w = like.new_empty(size, model.global_dim).normal_() if model.global_dim else None
        w = w if code is None else code  # drawn all the same: a seed's z do not hang on it
        if model.autoregressive:
            raw = model.rollout((size,), frames, w, point=point).raw
        else:
            raw = model.closed_loop(model.latent_path((size,), frames, w), w)
    power = finite(model.likelihood.point(raw))
    return Sounds(stft.griffin_lim(power, iterations=iterations, seed=seed), power)


def swap(model: Any, guide: Any, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Exchange w between two spectrograms (T_i, F): what is said stays, who says it changes.

    Raises
    ------
    InputError
        The model has no code of a whole sequence.
    """
    _check_has_code(model)
    one, other = (analyse(model, guide, s[None]) for s in (first, second))
    return tell(model, one._replace(w=other.w))[0], tell(model, other._replace(w=one.w))[0]


def _check_has_code(model: Any) -> None:
    if not model.global_dim:
        seen, cure = f"{type(model).__name__}, which has none", "take HiTDVAE, LigHTDVAE or DSAE"
        raise InputError("model", seen, "a model with a latent for the whole sequence", cure)
