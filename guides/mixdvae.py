r"""Guide of MixDVAE: q(phi) q(s | o) q(z | s); w is summed exactly by the ELBO, not guided.

.. math::
    q(s_n \mid o) = N(\mathrm{start}_n + \mathrm{spread} \, \Delta(f_n), \;
                      \mathrm{spread}^2 \exp(\rho(f_n))^2)

The guide improves on starting paths. Each path attends to the detections of its frames (those
within a few of its own standard deviations count); from the residuals a bidirectional GRU computes
the shift Delta and the log scale rho. Amortised over clips, it can be refined for one batch of them
(`refined`): free offsets are added to the network's outputs.

Reference: that of `ppl_models.mixdvae`; semi-amortised inference: Y. Kim et al., ICML 2018.
"""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from guides.base import ReadingGuide
from ppl_models.errors import InputError
from ppl_models.mixdvae import MixDVAE, mask_for


class MixDVAEGuide(ReadingGuide[MixDVAE]):
    """q(phi) q(s | o) q(z | s) of `MixDVAE`.

    Parameters
    ----------
    model : MixDVAE
        Read by reference.
    source_guide : nn.Module
        Guide of the model's prior: its ``path(s)`` samples z (or nothing) given s.
    hidden_dim : int
        Size of the GRU's state, in each direction.

    Raises
    ------
    InputError
        The model's prior does not have its number of coordinates, ``data_dim``.
    """

    def __init__(self, model: MixDVAE, source_guide: nn.Module, *, hidden_dim: int = 16) -> None:
        super().__init__(model)
        self.source_guide, data_dim = source_guide, model.data_dim
        self.log_reach = nn.Parameter(torch.tensor(1.0))
        self.rnn = nn.GRU(3 * data_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden_dim, 2 * data_dim)
        nn.init.zeros_(
            self.head.weight
        )  # at first, the residuals that attention finds are the shift
        nn.init.zeros_(self.head.bias)
        self.log_phi = nn.Parameter(torch.zeros(())) if model.phi_strength is not None else None
        self.offset: nn.ParameterDict | None = None

    def refined(self, batch: int, sources: int, length: int) -> nn.ParameterDict:
        """Give the guide offsets of its own for one batch of clips; return them, to be trained."""
        like = self.head.weight
        path = batch, sources, length, self.model.data_dim
        shapes: dict[str, tuple[int, ...]] = {"shift": path, "log_scale": path}
        if self.log_phi is not None:
            shapes["log_phi"] = (batch,)
        offset = {name: nn.Parameter(like.new_zeros(shape)) for name, shape in shapes.items()}
        self.offset = nn.ParameterDict(offset)
        return self.offset

    def forward(
        self,
        o: Tensor | None,
        mask: Tensor,
        size: Tensor,
        origin: Tensor,
        unit: Tensor,
        region: Tensor,
        start: Tensor | None = None,
        exists: Tensor | None = None,
    ) -> Tensor:
        """Draw phi, s and z of B sequences; arguments as `MixDVAE.forward`. Return s."""
        if o is None or start is None:
            missing = "o" if o is None else "start"
            raise InputError(
                missing, "None", "a tensor to condition on", "simulate with the model alone"
            )
        with pyro.plate("sequence", size.shape[0], dim=-3):
            if self.model.phi_strength is not None:
                pyro.sample("phi", dist.Delta(self.phi(size)[:, None, None]))
            loc, scale = self.moments(o, mask, size, origin, unit, start, exists)
            q: TorchDistribution = dist.Normal(loc[:, None], scale[:, None])
            if exists is not None:
                q = q.mask(exists[:, None, None, :, None])
            with pyro.plate("source", origin.shape[1], dim=-1):
                s = pyro.sample("s", q.to_event(2))
                path = self.source_guide.path
                path(s, **mask_for(path, exists))  # type: ignore[operator, arg-type]
        return s

    def moments(
        self,
        o: Tensor,
        mask: Tensor,
        size: Tensor,
        origin: Tensor,
        unit: Tensor,
        start: Tensor,
        exists: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of q(s | o), each (B, N, T, D), in sources' units."""
        spread = self.model.phi**0.5 * unit_of(size, mask) / unit  # (B, N, D)
        spread = spread[:, :, None].expand_as(start)
        residual, share = self._attend(o, mask, size, start)
        features = torch.cat(
            [residual, share, residual.diff(dim=2, prepend=residual[:, :, :1])], -1
        )
        shift, log_scale = self._read(features, exists)
        if self.offset is not None:
            shift = shift + self.offset["shift"]
            log_scale = log_scale + self.offset["log_scale"]
        path = (start - origin[:, :, None]) / unit[:, :, None]
        return path + spread * (residual + shift), spread * (log_scale - 0.5).exp()

    def _attend(
        self, o: Tensor, mask: Tensor, size: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the detections' mean residual from each path, and the share of near ones.

        In standard deviations of a detection; both (B, N, T, D).
        """
        o, size = (torch.where(mask[..., None], x, fill) for x, fill in ((o, 0.0), (size, 1.0)))
        deviation = (size * self.model.phi**0.5)[:, None]
        residual = (o[:, None] - start[..., None, :]) / deviation  # (B, N, T, K, D)
        logit = -0.5 * (residual / self.log_reach.exp()).pow(2).sum(-1)
        logit = logit.masked_fill(~mask[:, None], -torch.inf)
        clutter = torch.full_like(logit[..., :1], -4.5)  # three standard deviations
        share = torch.cat([logit, clutter], -1).softmax(-1)[..., :-1, None]
        near = torch.where(mask[:, None, ..., None], residual, torch.zeros_like(residual))
        return (share * near.clamp(-10, 10)).sum(-2), share.sum(-2).expand_as(start)

    def _read(self, features: Tensor, exists: Tensor | None) -> tuple[Tensor, Tensor]:
        """Read frames from both ends, the later one being a sequence's own."""
        rows: Any = features.flatten(0, 1)
        if exists is not None:
            lengths = exists.sum(-1).repeat_interleave(features.shape[1]).cpu()
            rows = pack_padded_sequence(rows, lengths, batch_first=True, enforce_sorted=False)
        states = self.rnn(rows)[0]
        if exists is not None:
            total = features.shape[2]
            states, _ = pad_packed_sequence(states, batch_first=True, total_length=total)
        return self.head(states).reshape(*features.shape[:3], -1).chunk(2, -1)

    def phi(self, like: Tensor) -> Tensor:
        """Return the guide's phi (B) for sequences ``like`` (B, ...): if fixed, the model's."""
        log_phi = like.new_zeros(like.shape[0])
        if self.log_phi is not None:
            log_phi = log_phi + self.log_phi
            if self.offset is not None:
                log_phi = log_phi + self.offset["log_phi"]
        return self.model.phi * log_phi.exp()


def unit_of(size: Tensor, mask: Tensor) -> Tensor:
    """Return the root mean square size of a sequence's detections, (B, 1, D)."""
    weight = mask[..., None].to(size)
    filled = torch.where(mask[..., None], size, torch.zeros_like(size))
    mean = (weight * filled**2).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)
    return torch.where(mean > 0, mean, torch.ones_like(mean)).sqrt()[:, None]
