r"""A table whose values are missing because of what they are: the partial VAE, and p(mask | x).

::

    z ~ Normal(0, I)                          the code of a row
    x_missing ~ likelihood(decoder(z))        values that were not observed
    x ~ likelihood(decoder(z))                values that were
    mask ~ Bernoulli(logits(x, x_missing))    which of them were

.. math:: p(x_O, m) = \int p(z) \, p(x_O \mid z) \, p(x_M \mid z) \, p(m \mid x_O, x_M)
          \, dx_M \, dz

Where p(m | x) depends on the missing values (data are missing not at random), a model that ignores
it is biased: of hearing thresholds, those above the loudest tone of the audiometer are missing, and
the average of the others is too low. The mechanism is identified by its form alone, which data do
not check: choose it by what is known of how values came to be missing.

References
----------
Ipsen, Mattei and Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not at Random Data",
ICLR 2021, arXiv:2006.12871, sections 2 and 3.
Rubin, "Inference and Missing Data", Biometrika 63, 1976.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import softplus

from ppl_models.acquisition.partial_vae import PartialVAE
from ppl_models.errors import InputError, unknown
from ppl_models.likelihoods import CONTINUOUS, Column, Columns

MISSING = ("self", "linear", "known sign")


class NotMIWAE(PartialVAE):
    """The partial VAE of values that are missing not at random.

    Sites: ``z`` (L,), ``x_missing`` (C,), ``x`` (D,) and ``mask`` (D,), all in the plate ``data``.
    ``x_missing`` are the values of the C columns of numbers (real, positive, censored), in the
    units of the data; those that were observed are masked out of it.

    Parameters
    ----------
    data_dim, latent_dim, hidden_dims, likelihood, decoder
        Those of `PartialVAE`.
    missing : "self", "linear" or "known sign"
        The logit of being observed, linear in values in standard units: in a column's own, in those
        of all such columns, or in its own with the sign of ``observed_above``.
    not_at_random : sequence of str, optional
        Names of the columns whose values matter to what is observed; all by default. They have to
        be columns of numbers: no gradient passes through draws of classes and counts. The others
        are observed, or not, whatever their values.
    sign : float or Tensor
        With "known sign", for each of these columns 1 where large values are rather observed, -1
        where they are rather missing; one number stands for all.

    Raises
    ------
    InputError
        An unknown mechanism or column, a column of classes or counts, or signs other than 1 and -1.
    """

    index: Tensor
    numbers: Tensor
    chosen: Tensor
    sign: Tensor

    def __init__(
        self,
        data_dim: int = 15,
        latent_dim: int = 4,
        *,
        hidden_dims: Sequence[int] = (64, 64),
        likelihood: Columns | None = None,
        decoder: nn.Module | None = None,
        missing: str = "self",
        not_at_random: Sequence[str] | None = None,
        sign: float | Tensor = -1.0,
    ) -> None:
        super().__init__(
            data_dim, latent_dim, hidden_dims=hidden_dims, likelihood=likelihood, decoder=decoder
        )
        if missing not in MISSING:
            raise unknown("missing", str(missing), MISSING)
        self.missing = missing
        columns = self.likelihood.columns
        index = _chosen_columns(columns, not_at_random)
        numbers = [d for d, column in enumerate(columns) if column.kind in CONTINUOUS]
        for name, places in (("index", index), ("numbers", numbers)):
            self.register_buffer(name, torch.tensor(places), persistent=False)
        chosen = torch.tensor([d in index for d in range(data_dim)])
        self.register_buffer("chosen", chosen, persistent=False)
        self.register_buffer("sign", _checked_signs(sign, len(index)), persistent=False)
        self.level = nn.Parameter(torch.zeros(data_dim))
        shape = (len(index), data_dim) if missing == "linear" else (len(index),)
        start = 0.0 if missing == "known sign" else -0.1  # at 0, missing values would not matter
        self.slope = nn.Parameter(torch.full(shape, start))

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None, size: int = 1) -> Any:
        """Score rows ``x`` (N, D) and which of their values were observed.

        Without data, simulate ``size`` rows: the return value is NaN where they were not observed,
        the site ``x`` has them whole.

        Raises
        ------
        InputError
            As `PartialVAE.forward`.
        """
        size = size if x is None else self.count(x, mask)
        with pyro.plate("data", size, dim=-1):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            raw = self.raw(z)
            columns = self.likelihood.distribution(raw)
            if x is None:
                x = pyro.sample("x", columns.to_event(1))
                seen = pyro.sample("mask", self.mechanism(x))
                return torch.where(seen > 0.5, x, torch.nan)
            mask = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
            x = self.likelihood.fill_missing(x, mask)
            drawn = pyro.sample("x_missing", self.missing_values(raw, mask))
            x = pyro.sample("x", columns.mask(mask).to_event(1), obs=x)
            whole = self.complete(x, mask, drawn)
            pyro.sample("mask", self.mechanism(whole), obs=mask.to(x.dtype))
            return x

    def missing_values(self, raw: Tensor, mask: Tensor) -> TorchDistribution:
        """Return p(x_missing | z), event shape (C,), for a decoder's outputs (..., raw_dim).

        Its density counts the values that were not observed, and that matter to what is.
        """
        wanted = (~mask & self.chosen)[..., self.numbers]
        values = self.likelihood.distribution(raw, CONTINUOUS)
        return values.mask(wanted).to_event(1)

    def complete(self, x: Tensor, mask: Tensor, drawn: Tensor) -> Tensor:
        """Return rows (..., D) whose missing numbers are those ``drawn`` (..., C)."""
        shape = (*drawn.shape[:-1], self.data_dim)
        return torch.where(mask, x, x.expand(shape).index_copy(-1, self.numbers, drawn))

    def mechanism(self, x: Tensor) -> TorchDistribution:
        """Return p(mask | x), event shape (D,), for whole rows x (..., D)."""
        values = self.likelihood.standardise(x)[..., self.index]
        slope = self.slopes()
        if self.missing == "linear":
            logits = self.level + values @ slope
        else:
            own = torch.zeros_like(x).index_copy(-1, self.index, values * slope)
            logits = self.level + own
        return dist.Bernoulli(logits=logits, validate_args=False).to_event(1)

    def slopes(self) -> Tensor:
        """Return how the logit of being observed grows with a value, in its standard units.

        Of each column in ``not_at_random``, (K,); with "linear", what it does to all D: (K, D).
        """
        return self.sign * softplus(self.slope) if self.missing == "known sign" else self.slope

    @torch.no_grad()
    def start_from(self, x: Tensor, mask: Tensor | None = None) -> NotMIWAE:
        """Take units, and the share of each column that was observed, from data (N, D)."""
        super().start_from(x, mask)
        mask = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        share = (mask.sum(0) + 0.5) / (len(mask) + 1)
        self.level.copy_(share.logit())
        return self


def _chosen_columns(columns: Sequence[Column], names: Sequence[str] | None) -> list[int]:
    """Return which columns these are, in the order of the table.

    Raises
    ------
    InputError
        One of them does not exist, or is no column of numbers.
    """
    known = [column.name for column in columns]
    wanted = known if names is None else list(names)
    for name in wanted:
        if name not in known:
            raise unknown("not_at_random", str(name), known)
    fit = [column.name for column in columns if column.kind in CONTINUOUS]
    for column in columns:
        if column.name in wanted and column.name not in fit:
            cure = f"not_at_random={fit}" if fit else "use PartialVAE, which ignores why"
            found = f"{column.name!r}, which is {column.kind}"
            raise InputError("not_at_random", found, "columns real, positive or censored", cure)
    if not wanted:
        cure = "name a column, or use PartialVAE, which ignores why values are missing"
        raise InputError("not_at_random", "no column", "one column or more", cure)
    return [d for d, name in enumerate(known) if name in wanted]


def _checked_signs(sign: float | Tensor, count: int) -> Tensor:
    """Return a sign for each of these columns.

    Raises
    ------
    InputError
        They are others than 1 and -1, or as many as there are not.
    """
    signs = torch.as_tensor(sign, dtype=torch.get_default_dtype())
    if signs.ndim > 1 or (signs.abs() != 1).any() or signs.shape not in ((), (count,)):
        cure = f"sign=-1.0 where large values go missing, or a tensor of {count} such numbers"
        raise InputError("sign", str(sign), "1 or -1, for all or for each column", cure)
    return signs.expand(count).clone()
