r"""Canonical correlation analysis of two or more sets of numbers, as a probabilistic model.

::

    z   ~ Normal(0, I)                   what the sets share: L latent numbers
    x_m ~ Normal(W_m z + mean_m, Psi_m)  set m: D_m numbers, noise of any covariance

It is the linear multimodal VAE, and exact: what a set has of its own is in its noise, of full
covariance, so that z holds what sets share and no more (the inter-battery model). Of two sets the
likelihood is largest in closed form, at the canonical directions (`CCA.fit_exact`); of more, EM
climbs it (`CCA.em_step`, `inference.fit_em`) from the directions of `ppl_models.maxvar`.

.. math:: \log p(x) = \sum_m \log N(x_m; \mathrm{mean}_m, \Psi_m)
    + \tfrac12 h^T P^{-1} h - \tfrac12 \log |P|, \quad
    P = I + \sum_m W_m^T \Psi_m^{-1} W_m, \;
    h = \sum_m W_m^T \Psi_m^{-1} (x_m - \mathrm{mean}_m)

References
----------
Bach and Jordan, "A Probabilistic Interpretation of Canonical Correlation Analysis", TR 688, UC
Berkeley 2005, theorem 2.
Kettenring, "Canonical Analysis of Several Sets of Variables", Biometrika 58, 1971, section 4.
Browne, "The Maximum-Likelihood Solution in Inter-Battery Factor Analysis", BJMSP 32, 1979.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.maxvar import centred, covariance, halves, maxvar
from ppl_models.modalities import RESERVED, Rows, read_rows

EXAMPLE = {"image": 8, "sound": 6}
_LEAST = 1e-6  # of a set's own variance: noise below it is none


class CCA(nn.Module):
    """Sets of numbers that share a Gaussian code: probabilistic CCA of two or more modalities.

    Sites: ``z`` (L,) and each modality (D_m,), all in the plate ``data``. The evidence is the same
    for every rotation of z.

    Parameters
    ----------
    modalities : mapping of str to int
        D_m by name.
    latent_dim : int
        L, numbers that the sets share.

    Raises
    ------
    InputError
        No modality, a name that is taken, or a size that is no whole number from 1.
    """

    zero: Tensor

    def __init__(self, modalities: Mapping[str, int] = EXAMPLE, latent_dim: int = 2) -> None:
        super().__init__()
        check_count("latent_dim", latent_dim)
        if not modalities:
            raise InputError("modalities", "none", "one or more", "{'image': 8, 'sound': 6}")
        for name, width in modalities.items():
            check_count(f"modalities: {name}", width)
            if name in RESERVED or not name.isidentifier():
                cure = "name it by its content: image, sound, label"
                raise InputError("modalities", f"the name {name!r}", "a name not in use", cure)
        self.widths, self.latent_dim = dict(modalities), latent_dim
        self.weights = nn.ParameterDict(
            {n: torch.randn(d, latent_dim) / latent_dim**0.5 for n, d in self.widths.items()}
        )
        self.means = nn.ParameterDict({n: torch.zeros(d) for n, d in self.widths.items()})
        # of the noise's Cholesky factor: logarithms on the diagonal
        self.roots = nn.ParameterDict({n: torch.zeros(d, d) for n, d in self.widths.items()})
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities, in the order of the columns of a mask."""
        return tuple(self.widths)

    def noise_root(self, name: str) -> Tensor:
        """Return the Cholesky factor (D_m, D_m) of a set's noise covariance Psi_m."""
        raw = self.roots[name]
        return raw.tril(-1) + raw.diagonal().exp().diag()

    def forward(
        self,
        *x: Tensor | None,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        size: int = 1,
        **named: Tensor | None,
    ) -> dict[str, Tensor]:
        """Score the modalities; without any, simulate ``size`` rows.

        Arguments, result and errors are those of `ppl_models.multimodal.MultimodalVAE`: modalities
        (N, D_m) in their places or by name, and masks (N, M) of those that a row has.
        """
        rows = read_rows(self.widths, x, named, mask, observed, size)
        with pyro.plate("data", rows.size, dim=-1):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            return {name: self._emit(m, name, z, rows) for m, name in enumerate(self.names)}

    def _emit(self, m: int, name: str, z: Tensor, rows: Rows) -> Tensor:
        x, present = rows.values[name], rows.mask_of(m)
        if x is None and rows.has_data:  # missing in every row: still a site
            x = z.new_zeros(rows.size, self.widths[name])
        noise = dist.MultivariateNormal(self.decode(name, z), scale_tril=self.noise_root(name))
        return pyro.sample(name, noise if present is None else noise.mask(present), obs=x)

    def decode(self, name: str, z: Tensor) -> Tensor:
        """Return the mean of a modality (..., D_m) for codes z (..., L)."""
        return z @ self.weights[name].T + self.means[name]

    def read(self, *x: Tensor | None, mask: Tensor | None = None, **named: Tensor | None) -> Rows:
        """Return data as `forward` reads them."""
        return read_rows(self.widths, x, named, mask, None, 1)

    def posterior(
        self, *x: Tensor | None, mask: Tensor | None = None, **named: Tensor | None
    ) -> dist.MultivariateNormal:
        """Return the exact p(z | what each row has), batch shape (N,), event shape (L,)."""
        precision, message = self._messages(self.read(*x, mask=mask, **named))
        mean = torch.linalg.solve(precision, message[..., None])[..., 0]
        return dist.MultivariateNormal(mean, precision_matrix=precision, validate_args=False)

    def evidence(
        self, *x: Tensor | None, mask: Tensor | None = None, **named: Tensor | None
    ) -> Tensor:
        """Return the exact log p (N,) of what each row has, in nats."""
        rows = self.read(*x, mask=mask, **named)
        precision, message = self._messages(rows)
        root = torch.linalg.cholesky(precision)
        white = torch.linalg.solve_triangular(root, message[..., None], upper=False)[..., 0]
        gain = 0.5 * white.square().sum(-1) - root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        for m, name in enumerate(self.names):
            if (value := rows.values[name]) is not None:
                own = dist.MultivariateNormal(
                    self.means[name], scale_tril=self.noise_root(name)
                ).log_prob(value)
                gain = gain + _where(rows.mask_of(m), own)
        return gain

    def _messages(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return precision (N, L, L), and precision times mean (N, L), of the posterior."""
        precision = torch.eye(self.latent_dim).to(self.zero).expand(rows.size, -1, -1)
        message = self.zero.expand(rows.size, -1)
        for m, name in enumerate(self.names):
            if (value := rows.values[name]) is None:
                continue
            root, there = self.noise_root(name), rows.mask_of(m)
            directions = torch.linalg.solve_triangular(root, self.weights[name], upper=False)
            white = torch.linalg.solve_triangular(root, (value - self.means[name]).T, upper=False)
            of_set = (directions.T @ directions).expand(rows.size, -1, -1)
            precision = precision + _where(there, of_set)
            message = message + _where(there, white.T @ directions)
        return precision, message

    @torch.no_grad()
    def fit_exact(self, *x: Tensor, **named: Tensor) -> CCA:
        r"""Take the parameters of maximum likelihood for two complete sets, and return the model.

        With :math:`\Sigma_{11}^{-1/2} \Sigma_{12} \Sigma_{22}^{-1/2} = U R V^T`, the canonical
        correlations R, it is :math:`W_1 = \Sigma_{11}^{1/2} U_L R_L^{1/2}`, W_2 alike, and
        :math:`\Psi_m = \Sigma_{mm} - W_m W_m^T` (Bach and Jordan 2005, theorem 2).

        Raises
        ------
        InputError
            There are not two modalities; data that are missing or not finite; a set that is
            singular; or L directions without noise.
        """
        if len(self.names) != 2:
            cure = "start_from(...), then inference.fit_em: of more sets EM climbs the likelihood"
            raise InputError("modalities", f"{len(self.names)} of them", "two", cure)
        values = complete(self.read(*x, **named), self.names)
        (first, one), (second, other) = (halves(value) for value in values.values())
        cross = centred(values[self.names[0]]).T @ centred(values[self.names[1]])
        u, strength, vh = torch.linalg.svd(one @ (cross / len(next(iter(values.values())))) @ other)
        keep = strength[: self.latent_dim].clamp(max=1).sqrt()
        if len(keep) < self.latent_dim or bool((keep > 1 - _LEAST).any()):
            cure = f"take latent_dim at most {int((strength < 1 - 1e-5).sum())}, or more data"
            raise InputError("x", "sets with too few directions, or no noise", "noise", cure)
        sides = first @ u[:, : len(keep)] * keep, second @ vh.T[:, : len(keep)] * keep
        for name, weight in zip(self.names, sides, strict=True):
            self._take(name, values[name], weight)
        return self

    @torch.no_grad()
    def start_from(
        self, *x: Tensor | None, mask: Tensor | None = None, **named: Tensor | None
    ) -> CCA:
        """Start at the directions of `ppl_models.maxvar`, from the rows that have all sets.

        Fewer than two of them leave the model as it is.

        Raises
        ------
        InputError
            Their numbers are not finite.
        """
        rows = self.read(*x, mask=mask, **named)
        whole = torch.ones(rows.size, dtype=torch.bool) if rows.mask is None else rows.mask.all(1)
        if int(whole.sum()) < 2:
            return self
        values = {n: v[whole] for n, v in rows.values.items() if v is not None}
        values = complete(Rows({**rows.values, **values}, None, None, rows.size), self.names)
        found = maxvar(list(values.values()), self.latent_dim, ridge=1e-3)
        for name, value in values.items():
            weight = 0.9 * centred(value).T @ found.variates / len(value)  # leaves some noise
            self._take(name, value, weight)
        return self

    def _take(self, name: str, x: Tensor, weight: Tensor) -> None:
        self._set(name, x.mean(0), weight, covariance(x) - weight @ weight.T)

    def _set(self, name: str, mean: Tensor, weight: Tensor, noise: Tensor) -> None:
        floor = _LEAST * noise.diagonal().mean()
        root = torch.linalg.cholesky(noise + floor * torch.eye(len(noise)).to(noise))
        self.means[name].copy_(mean)
        self.weights[name].copy_(weight)
        self.roots[name].copy_(root.tril(-1) + root.diagonal().log().diag())

    @torch.no_grad()
    def em_step(
        self, *x: Tensor | None, mask: Tensor | None = None, **named: Tensor | None
    ) -> float:
        """Take one step of EM; return the log evidence before it, summed over the rows.

        A row tells a set's parameters only what it has of that set. The evidence never falls, but
        for a noise of 1e-6 of each set's own that is kept.
        """
        rows = self.read(*x, mask=mask, **named)
        before = float(self.evidence(*rows.values.values(), mask=rows.mask).sum())
        posterior = self.posterior(*rows.values.values(), mask=rows.mask)
        code = torch.cat([posterior.mean, torch.ones_like(posterior.mean[:, :1])], 1).double()
        spread = nn.functional.pad(posterior.covariance_matrix.double(), (0, 1, 0, 1))
        for m, name in enumerate(self.names):
            value, there = rows.values[name], rows.mask_of(m)
            if value is None or (there is not None and not bool(there.any())):
                continue
            keep = slice(None) if there is None else there
            x_m, z = value[keep].double(), code[keep]
            second = spread[keep].sum(0) + z.T @ z
            both = torch.linalg.solve(second, z.T @ x_m).T
            noise = (x_m.T @ x_m - both @ (z.T @ x_m)) / len(x_m)
            self._set(name, both[:, -1], both[:, :-1], (noise + noise.T) / 2)
        return before


def complete(rows: Rows, names: Sequence[str]) -> dict[str, Tensor]:
    """Return sets of which every number is there, in double precision.

    Raises
    ------
    InputError
        One is missing, in a row or altogether, or holds a number that is not finite.
    """
    values: dict[str, Tensor] = {}
    for name in names:
        value = rows.values[name]
        if value is None or rows.mask is not None or not bool(value.isfinite().all()):
            cure = "drop rows that lack a set; em_step takes a mask"
            raise InputError(name, "missing or non-finite numbers", "complete data", cure)
        values[name] = value.detach().double()
    return values


def _where(there: Tensor | None, value: Tensor) -> Tensor:
    if there is None:
        return value
    return torch.where(there.reshape(-1, *[1] * (value.dim() - 1)), value, torch.zeros_like(value))
