"""What the guides of several modalities share: calls, encoders, the product of Gaussians.

Every guide has one encoder a modality (`guides.multimodal.JMVAEGuide` has one more): the number of
networks, and of parameters, is linear in the number of modalities, for all 2^M patterns of missing
ones. A row of which nothing is seen gets the prior N(0, I), exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.modalities import Rows, read_rows
from ppl_models.networks import MLP

if TYPE_CHECKING:
    from ppl_models.multimodal import MultimodalVAE

Moments = tuple[Tensor, Tensor]


class MultimodalGuide(nn.Module):
    """What the guides share: readers, encoders, and the call.

    After training, in evaluation mode, a modality that training never showed is not read: its
    encoder has learned nothing, and the prior says more.

    Parameters
    ----------
    model : MultimodalVAE
        Whose modalities are read; nothing of it is kept but their sizes and readers.
    hidden_dim, num_layers : int, optional
        Width and number of each encoder's hidden layers (ReLU); by default as the model's decoders.
    encoders : mapping of str to nn.Module, optional
        Networks (N, feature_dim of the likelihood) -> (N, 2 L), means then log scales, in place of
        those; some or all.

    Raises
    ------
    InputError
        An encoder for a modality that there is not.
    """

    zero: Tensor
    known: Tensor

    def __init__(
        self,
        model: MultimodalVAE,
        *,
        hidden_dim: int | None = None,
        num_layers: int | None = None,
        encoders: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.names, self.widths, self.latent_dim = model.names, model.widths, model.latent_dim
        self.hidden_dim = hidden_dim or model.hidden_dim
        self.num_layers = num_layers or model.num_layers
        self.readers = nn.ModuleDict({name: model.part(name).reader for name in self.names})
        self.features = {name: model.part(name).feature_dim for name in self.names}
        given = dict(encoders or {})
        if extra := set(given) - set(self.names):
            expected = f"names of modalities: {', '.join(self.names)}"
            raise InputError("encoders", f"{sorted(extra)}", expected, "correct the name")
        self.encoders = nn.ModuleDict({n: given.get(n) or self._encoder(n) for n in self.names})
        self.register_buffer("zero", torch.zeros(()), persistent=False)
        self.register_buffer("known", torch.zeros(len(self.names), dtype=torch.bool))

    def _encoder(self, name: str) -> nn.Module:
        hidden = [self.hidden_dim] * self.num_layers
        return MLP(self.features[name], *hidden, self._outputs(name), activation=nn.ReLU)

    def _outputs(self, name: str) -> int:
        return 2 * self.latent_dim

    def forward(
        self,
        *x: Tensor | None,
        mask: Tensor | None = None,
        seen: Tensor | None = None,
        num_data: int = 1,
        **named: Tensor | None,
    ) -> Tensor:
        """Sample ``z`` (N, L) for rows of data, as the model takes them.

        Parameters
        ----------
        *x, **named, mask, num_data
            As the model takes them.
        seen
            (N, M) bool: which modalities the shared code is read from; by default those of
            ``mask``. With fewer, the bound is that of telling one modality from another; with more,
            what is left out of ``mask`` helps to read the code and is not scored.

        Raises
        ------
        InputError
            Data of another shape; a mask that is not one.
        """
        rows = read_rows(self.widths, x, named, mask, seen, num_data)
        with pyro.plate("data", rows.size, dim=-1):
            return self._look(self._trusted(rows))

    def _trusted(self, rows: Rows) -> Rows:
        """Remember which modalities training has shown; once it has any, read no others."""
        if self.training:
            if not self.known.all():
                self.known |= True if rows.seen is None else rows.seen.any(0)
            return rows
        if self.known.all() or not self.known.any():
            return rows
        known = self.known.expand(rows.size, -1)
        told, seen = (known if m is None else known & m for m in (rows.told, rows.seen))
        return replace(rows, told=told, seen=seen)

    def _look(self, rows: Rows) -> Tensor:
        """Sample the codes of rows, inside the plate."""
        return pyro.sample("z", self.distribution(rows))

    def distribution(self, rows: Rows) -> TorchDistribution:
        """Return q(z | what is seen), batch shape (N,), event shape (L,)."""
        raise NotImplementedError

    def read(self, name: str, rows: Rows) -> Tensor:
        """Return the features of a modality, (N, feature_dim), padding as zeros."""
        features: Tensor = self.readers[name](rows.values[name])
        return features

    def rest(self, rows: Rows, width: int) -> Moments:
        """Return mean and scale of the prior, (N, width)."""
        zeros = self.zero.expand(rows.size, width)
        return zeros, zeros + 1


def needed(present: Tensor | None) -> bool:
    """Whether any row has it: networks that no row needs are not run."""
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
