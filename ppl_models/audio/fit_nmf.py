"""Maximum a posteriori NMF of the sounds of one class, by coordinate ascent."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.audio.nmf import NMF
from ppl_models.audio.temporal_nmf import TemporalNMF


@torch.no_grad()
def fit_nmf(
    power: Tensor,
    num_components: int,
    *,
    mask: Tensor | None = None,
    iterations: int = 100,
    temporal: float | None = None,
    shape: float = 1.0,
    seed: int = 0,
) -> NMF:
    """Fit W and the rate of activations to powers of one class; return the model.

    Each iteration updates h, then W, then the rate: none lowers log p(s, h).

    Parameters
    ----------
    power : Tensor
        |STFT|^2, (T, F) or (B, T, F).
    num_components : int
        K.
    mask : Tensor of bool, optional
        (T) or (B, T), frames that exist.
    iterations : int
    temporal : float, optional
        Virtanen's continuity: the model is then a `TemporalNMF`.
    shape : float
        Of the gamma prior of activations.
    seed : int
        Draws the frames that W starts from.

    Raises
    ------
    InputError
        ``power`` holds no powers, or a size is below 1.
    """
    size = power.shape[-1]
    with torch.random.fork_rng(devices=[]):  # weights are drawn when built, and replaced
        if temporal is None:
            model = NMF(size, num_components, shape=shape)
        else:
            model = TemporalNMF(size, num_components, shape=shape, continuity=temporal)
    model = model.to(power).start_from(power, mask, seed=seed)
    h = model.activations(power, mask, iterations=1)
    for _ in range(iterations):
        h = model.update_activations(power, h, mask)
        model.update_weights(power, h, mask)
        model.update_rate(h, mask)
    return model
