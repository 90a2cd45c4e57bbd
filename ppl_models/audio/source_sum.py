r"""SourceSum: a recording as the sum of N sources and a little noise.

.. math::
    o_{tf} = \sum_n s_{n,tf} + e_{tf}, \qquad e_{tf} \sim N_c(0, \mathrm{noise})

::

    for n in 1..N:      z_n, s_n ~ part n                   a dynamical VAE of bins, NMF, hum, ...
    for t, f:           o_tf ~ N_c(sum_n s_n,tf, noise)

Given latents (and, for autoregressive parts, past frames of sources) everything is Gaussian: the
posterior of the sources is known exactly, with the Wiener filter as its mean, and

.. math:: p(o_t \mid s_{<t}, z) = N_c(o_t; 0, \sum_n v_{n,t} + \mathrm{noise}).

`guides.audio.source_sum` draws sources from that posterior, so that what is left to learn is z.

============  ====================  ===========
site          batch shape (plates)  event shape
============  ====================  ===========
``NAME/z``    (B)  data             (T, L)
``NAME/s``    (B)  data             (T, 2 F)
``o``         (B)  data             (T, 2 F)
============  ====================  ===========

NAME is a source's name; a part's own sites stand where ``z`` does.

References
----------
Leglaive, Girin and Horaud, "A variance modeling framework based on variational autoencoders for
speech enhancement", MLSP 2018, arXiv:1902.01605: a VAE of speech and NMF of noise.
Bie, Leglaive, Alameda-Pineda and Girin, "Unsupervised speech enhancement using dynamical
variational autoencoders", IEEE/ACM TASLP 2022, arXiv:2106.12271.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyro
import torch
from pyro.contrib.autoname import scope
from torch import Tensor, nn

from ppl_models.audio.parts import Parts, bins_plate, mask_of
from ppl_models.inputs import check_positive
from ppl_models.likelihoods import bin_normal
from ppl_models.sequences import clean, masked


class SourceSum(Parts):
    """N sources that add up.

    Parameters
    ----------
    parts : mapping of str to nn.Module
        The sources by name (`ppl_models.audio.parts`).
    noise : float
        Variance of e: E |e_tf|^2.

    Raises
    ------
    InputError
        As `Parts`, or the noise is not positive.
    """

    def __init__(self, parts: Mapping[str, nn.Module], *, noise: float = 1e-7) -> None:
        super().__init__(parts)
        self.noise = check_positive("noise", noise)

    def forward(
        self,
        o: Tensor | None = None,
        mask: Tensor | None = None,
        start: Tensor | None = None,
        *,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Score B recordings; without them, simulate ``size`` of ``length`` frames.

        Return o (..., B, T, 2 F).

        Parameters
        ----------
        o : Tensor, optional
            (B, T, F) complex, or (B, T, 2 F), real parts first.
        mask : Tensor of bool, optional
            (B, T), frames that exist, the first ones of each row.
        start : Tensor, optional
            (B, N, T, F): powers of sources that encoders of the guide read; the model does not.
        size, length : int

        Raises
        ------
        InputError
            ``o`` or its mask has another shape, or is not finite.
        """
        with bins_plate(o, mask, self.bins, size, length) as frames:
            paths = []
            for name, part in self.named_parts():
                with scope(prefix=name):
                    paths.append(part.path(frames.length, **mask_of(part.path, mask))[1])
            total = sum(paths[1:], paths[0])
            noise = total.new_tensor(self.noise).expand(self.bins)
            mixed = masked(bin_normal(noise, clean(total, mask)), mask).to_event(2)
            return pyro.sample("o", mixed, obs=frames.s)

    def log_marginal(
        self, o: Tensor, variances: Sequence[Tensor], mask: Tensor | None = None
    ) -> Tensor:
        """Return sum_t log N_c(o_t; 0, sum_n v_n,t + noise), (...): the sources integrated out.

        Shapes: o (..., T, 2 F), each of the N variances (..., T, F). Exact given latents; where
        parts are autoregressive, given the past frames that their variances were read from.
        """
        total = torch.stack(torch.broadcast_tensors(*variances)).sum(0) + self.noise
        frames = bin_normal(total).to_event(1).log_prob(clean(o, mask))
        return (frames if mask is None else torch.where(mask, frames, 0.0)).sum(-1)
