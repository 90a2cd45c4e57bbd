r"""BinMixture: a recording whose every time-frequency bin is owned by one of N sources.

.. math::
    p(o, w, s, z) = \prod_n p(s_n, z_n) \prod_{tf} p(w_{tf}) \, p(o_{tf} \mid w_{tf}, s_{tf})

::

    for n in 1..N:      z_n, s_n ~ part n                       a dynamical VAE of bins, NMF, ...
    for t, f:           w_tf ~ Categorical(1/N, ..., 1/N)
                        o_tf ~ N_c(s_w,tf, 2 phi size_tf^2)     w = w_tf

It is `ppl_models.mixdvae.MixDVAE` for sound: bins are detections of two numbers, the real and the
imaginary part, one in each of T F places. With size_tf = |o_tf| / sqrt(2) the noise has variance
phi |o_tf|^2, as in the paper. That default depends on the data: its densities are those of o given
its own loudness, and compare for one recording only. Pass a ``size`` that does not depend on o for
a density of o.

=============  ======================  ===========
site           batch shape (plates)    event shape
=============  ======================  ===========
``phi``        (B, 1, 1)  sequence     ()
``NAME/z``     (B, 1, 1)  sequence     (T, L)
``NAME/s``     (B, 1, 1)  sequence     (T, 2 F)
``w``          (B, T, F)  frame, bin   ()
``o``          (B, T, F)  frame, bin   (2)
=============  ======================  ===========

NAME is a source's name; a part's own sites stand where ``z`` does. ``w`` is summed exactly.

References
----------
Lin, Girin and Alameda-Pineda, "Mixture of dynamical variational autoencoders for multi-source
trajectory modeling and separation", TMLR 2023: single-channel audio source separation.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyro
import pyro.distributions as dist
import torch
from pyro.contrib.autoname import scope
from torch import Tensor, nn

from ppl_models.audio.parts import Parts, read_bins
from ppl_models.errors import InputError
from ppl_models.inputs import check_positive
from ppl_models.likelihoods import QUIET, bin_power
from ppl_models.mixdvae import chosen, mask_for, sample_noise
from ppl_models.sequences import check_paths, clean


class BinMixture(Parts):
    """N sources, one of which owns each bin.

    Parameters
    ----------
    parts : mapping of str to nn.Module
        The sources by name (`ppl_models.audio.parts`).
    noise : float
        Of phi: mode of its prior (nearly), or its value.
    noise_strength : float, optional
        nu of the prior phi ~ InverseGamma(nu / 2, nu noise / 2), one phi a recording, in numbers
        observed; None fixes phi.

    Raises
    ------
    InputError
        As `Parts`, or the noise is not positive.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        *,
        noise: float = 0.03,
        noise_strength: float | None = 20.0,
    ) -> None:
        super().__init__(parts)
        self.noise, self.noise_strength = check_positive("noise", noise), noise_strength

    def forward(
        self,
        o: Tensor | None,
        mask: Tensor | None = None,
        size: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """Score B recordings; with ``o`` None, simulate them. Return s (..., B, N, T, 2 F).

        Parameters
        ----------
        o : Tensor or None
            (B, T, F) complex, or (B, T, 2 F), real parts first.
        mask : Tensor of bool, optional
            (B, T), frames that exist, the first ones of each row.
        size : Tensor, optional
            (B, T, F), positive: real and imaginary part have standard deviation sqrt(phi) size. By
            default `loudness` of o; simulations need it.
        start : Tensor, optional
            (B, N, T, F): powers of sources that the guide starts from; the model does not use them.

        Raises
        ------
        InputError
            ``o`` or its mask has another shape or is not finite, or neither o nor size is given.
        """
        obs, size = self.read(o, mask, size)
        batch, length, bins = size.shape
        with pyro.plate("sequence", batch, dim=-3):
            phi = sample_noise(self.noise, self.noise_strength, size)
            s = torch.stack(self._paths(length, mask), -3)  # (..., B, N, T, 2 F)
            choices = s.unflatten(-1, (2, bins)).movedim((-3, -1, -4, -2), (-4, -3, -2, -1))
            with pyro.plate("frame", length, dim=-2), pyro.plate("bin", bins, dim=-1):
                shares = size.new_full((len(self),), 1 / len(self))
                w = pyro.sample("w", dist.Categorical(shares), infer={"enumerate": "parallel"})
                place = dist.Normal(chosen(choices, w), (phi.sqrt() * size)[..., None])
                place = place.to_event(1)
                place = place if mask is None else place.mask(mask[..., None])
                pyro.sample("o", place, obs=obs)
        return s

    def _paths(self, length: int, mask: Tensor | None) -> list[Tensor]:
        """Sample every source: N times (..., B, T, 2 F)."""
        paths = []
        for name, part in self.named_parts():
            with scope(prefix=name):
                _, s = part.path(length, **mask_for(part.path, mask))
            paths.append(s.squeeze(-3).squeeze(-3))
        return paths

    def read(
        self, o: Tensor | None, mask: Tensor | None, size: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """Return o as (B, T, F, 2), or None, and size (B, T, F), with 0 and 1 where masked.

        Raises
        ------
        InputError
            As `forward`.
        """
        if o is None:
            if size is None:
                cure = "pass size (B, T, F), which says how many, how long, and how noisy"
                raise InputError("size", "None", "a tensor to simulate by", cure)
        else:
            o = read_bins(o, self.bins)
            check_paths(o, mask, self.data_dim, argument="o")
            o = clean(o, mask)
            size = loudness(o) if size is None else size
            o = o.unflatten(-1, (2, self.bins)).transpose(-1, -2)
        if (
            size.dim() != 3
            or size.shape[-1] != self.bins
            or o is not None
            and size.shape != o.shape[:-1]
        ):
            cure = "pass one positive number a bin of o, or leave it out"
            raise InputError("size", f"shape {tuple(size.shape)}", f"(B, T, {self.bins})", cure)
        return o, size if mask is None else torch.where(mask[..., None], size, 1.0)

    def detections(
        self, o: Tensor, mask: Tensor | None = None, size: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return recordings as `inference.vem.Mixture` takes them: a bin in each of T F places.

        Keys ``o`` (B, T F, 1, 2), ``mask`` (B, T F, 1), ``size`` as o, ``origin`` (0) and ``unit``
        (1), each (B, N, 2). A path of source n there is (B, N, T F, 2).
        """
        bins, size = self.read(o, mask, size)
        assert bins is not None
        (batch, length, f), sources = size.shape, len(self)
        there = torch.ones_like(size[..., 0], dtype=torch.bool) if mask is None else mask
        return {
            "o": bins.reshape(batch, length * f, 1, 2),
            "mask": there.repeat_interleave(f, 1)[..., None],
            "size": size.reshape(batch, length * f, 1, 1).expand(-1, -1, -1, 2),
            "origin": size.new_zeros(batch, sources, 2),
            "unit": size.new_ones(batch, sources, 2),
        }


def loudness(o: Tensor) -> Tensor:
    """Return |o_tf| / sqrt(2), (B, T, F), of bins o (B, T, 2 F), raised a little above 0."""
    return (0.5 * (bin_power(o) + QUIET)).sqrt()
