"""What the guides of several modalities share: the call, encoders, the product of Gaussians.

Every guide has one encoder a modality (`guides.multimodal.JMVAEGuide` has one more): the number of
networks, and of parameters, is linear in the number of modalities, for all 2^M patterns of missing
ones. A row of which nothing is observed gets the prior N(0, I), exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.errors import InputError
from ppl_models.inputs import check_widths
from ppl_models.modalities import Rows, read_rows
from ppl_models.multimodal import MultimodalVAE
from ppl_models.networks import MLP
from ppl_models.sequences import Moments


class MultimodalGuide(ReadingGuide[MultimodalVAE]):
    """What the guides share: encoders, and the call.

    After training, in evaluation mode, a modality that no training row had is ignored: its encoder
    has learned nothing, and the prior is the better answer.

    Parameters
    ----------
    model : MultimodalVAE
        Its likelihoods make the encoders' features (`Likelihood.features`).
    hidden_dims : sequence of int, optional
        Widths of each encoder's hidden layers (ReLU); by default the decoders', in reverse order.
    encoders : mapping of str to nn.Module, optional
        Networks (N, feature_dim of the likelihood) -> (N, 2 L), means then log scales, in place of
        those; some or all.

    Raises
    ------
    InputError
        An encoder for a modality that the model does not have.
    """

    zero: Tensor
    known: Tensor

    def __init__(
        self,
        model: MultimodalVAE,
        *,
        hidden_dims: Sequence[int] | None = None,
        encoders: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__(model)
        self.names, self.widths, self.latent_dim = model.names, model.widths, model.latent_dim
        widths = model.hidden_dims[::-1] if hidden_dims is None else check_widths(hidden_dims)
        self.hidden_dims = widths
        given = dict(encoders or {})
        if extra := set(given) - set(self.names):
            expected = f"names of modalities: {', '.join(self.names)}"
            raise InputError("encoders", f"{sorted(extra)}", expected, "correct the name")
        self.encoders = nn.ModuleDict({n: given.get(n) or self._encoder(n) for n in self.names})
        self.register_buffer("zero", torch.zeros(()), persistent=False)
        self.register_buffer("known", torch.zeros(len(self.names), dtype=torch.bool))

    def _encoder(self, name: str) -> nn.Module:
        sizes = self.model.part(name).feature_dim, *self.hidden_dims, self._outputs(name)
        return MLP(*sizes, activation=nn.ReLU)

    def _outputs(self, name: str) -> int:
        return 2 * self.latent_dim

    def forward(
        self,
        *x: Tensor | None,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        **named: Tensor | None,
    ) -> Tensor:
        """Sample ``z`` (N, L) for rows of data, as the model takes them.

        Parameters
        ----------
        *x, **named, mask
            As the model takes them.
        observed
            (N, M) bool: which modalities the shared code is inferred from; by default those of
            ``mask``. With fewer, the bound is that of generating one modality from another; with
            more, what is left out of ``mask`` informs the code and is not scored.

        Raises
        ------
        InputError
            Data of another shape; a mask that is not one.
        """
        rows = read_rows(self.widths, x, named, mask, observed, size=1)
        with pyro.plate("data", rows.size, dim=-1):
            return self._sample(self._trusted(rows))

    def _trusted(self, rows: Rows) -> Rows:
        """Remember which modalities training rows had; afterwards, infer codes from no others."""
        if self.training:
            if not self.known.all():
                self.known |= True if rows.observed is None else rows.observed.any(0)
            return rows
        if self.known.all() or not self.known.any():
            return rows
        known = self.known.expand(rows.size, -1)
        mask, observed = (known if m is None else known & m for m in (rows.mask, rows.observed))
        return replace(rows, mask=mask, observed=observed)

    def _sample(self, rows: Rows) -> Tensor:
        """Sample the codes of rows, inside the plate."""
        return pyro.sample("z", self.distribution(rows))

    def distribution(self, rows: Rows) -> TorchDistribution:
        """Return q(z | the observed modalities), batch shape (N,), event shape (L,)."""
        raise NotImplementedError

    def features(self, name: str, rows: Rows) -> Tensor:
        """Return the features of a modality, (N, feature_dim), padding as zeros."""
        return self.model.part(name).features(cast(Tensor, rows.values[name]))

    def standard(self, rows: Rows, width: int) -> Moments:
        """Return mean and scale of the prior, (N, width)."""
        zeros = self.zero.expand(rows.size, width)
        return zeros, zeros + 1


def in_any(present: Tensor | None) -> bool:
    """Return whether any row has a modality: an encoder that no row needs is not run."""
    return present is None or bool(present.any())


def multiply(
    loc: Tensor, scale: Tensor, present: Tensor | None = None, prior: bool = True
) -> Moments:
    """Multiply Gaussian densities, and N(0, I) if ``prior``, where they are present.

    With precisions T_m = 1 / scale_m^2, of the present experts alone:
    T = prior + sum_m T_m, mean = sum_m T_m loc_m / T, scale = T^(-1/2).

    Parameters
    ----------
    loc, scale : Tensor
        (..., M, L).
    present : Tensor of bool, optional
        (..., M). Where no expert is, and there is no prior, N(0, I) results.
    prior : bool
        Whether N(0, I) is one of the factors.

    Returns
    -------
    mean, scale : Tensor
        (..., L).
    """
    precision = scale**-2
    weighted = precision * loc
    if present is not None:
        keep = present[..., None]
        precision = torch.where(keep, precision, torch.zeros_like(precision))
        weighted = torch.where(keep, weighted, torch.zeros_like(weighted))
    total, mean = precision.sum(-2) + float(prior), weighted.sum(-2)
    if not prior and present is not None:
        total = torch.where(present.any(-1, keepdim=True), total, torch.ones_like(total))
    return mean / total, total.rsqrt()
