r"""Probabilistic PCA: data are a linear function of a latent code, plus noise.

It is the linear VAE, whose posterior and evidence are known exactly::

    z ~ Normal(0, I)                          the code: L latent numbers, L < D
    x ~ Normal(W z + mean, scale^2 I)         the datum: D numbers

.. math:: p(x) = N(\mathrm{mean}, \; W W^T + \mathrm{scale}^2 I)

The linear autoencoder, for comparison, is no generative model: it compresses, and has no density.

References
----------
Tipping and Bishop, "Probabilistic Principal Component Analysis", JRSS B 61, 1999, section 3.
"""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import count_rows


class PPCA(nn.Module):
    r"""Probabilistic principal component analysis, its evidence and posterior in closed form.

    Sites: ``z`` (L,) and ``x`` (D,), both in the plate ``data``. The evidence is the same for every
    rotation of the columns of W: data identify W up to a rotation.

    Parameters
    ----------
    data_dim : int
        D, numbers a datum.
    latent_dim : int
        L, numbers of its code.
    """

    zero: Tensor

    def __init__(self, data_dim: int = 64, latent_dim: int = 8) -> None:
        super().__init__()
        if min(data_dim, latent_dim) < 1:
            found = f"{data_dim} and {latent_dim}"
            cure = "give both sizes as whole numbers from 1"
            raise InputError("data_dim, latent_dim", found, "at least 1 each", cure)
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.weight = nn.Parameter(torch.randn(data_dim, latent_dim) / latent_dim**0.5)
        self.mean = nn.Parameter(torch.zeros(data_dim))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None, size: int = 1) -> Tensor:
        """Score data ``x`` (N, D); without data, simulate ``size`` of them.

        ``mask`` (N, D) is True for the numbers that were observed; the others may be NaN.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim).
        """
        size = size if x is None else count_rows(x, self.data_dim)
        with pyro.plate("data", size, dim=-1):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            noise = dist.Normal(self.decode(z), self.log_scale.exp(), validate_args=False)
            if mask is not None and x is not None:
                x, noise = zero_missing(x, mask), noise.mask(mask)
            return pyro.sample("x", noise.to_event(1), obs=x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of x (..., D) for codes z (..., L)."""
        return z @ self.weight.T + self.mean

    def evidence(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        r"""Return the exact :math:`\log p(x)` (N,) in nats, of the numbers observed; O(D L^2).

        With A = W / scale, P = I + A^T A and the posterior mean m, the determinant lemma and
        Woodbury's identity give a sum of squares, which cannot cancel however small the noise:

        .. math:: |W W^T + \mathrm{scale}^2 I| = \mathrm{scale}^{2 D} |P|, \quad
                  r^T (W W^T + \mathrm{scale}^2 I)^{-1} r
                  = |r - W m|^2 / \mathrm{scale}^2 + |m|^2 .
        """
        posterior = self.posterior(x, mask)
        residual = (zero_missing(x, mask) - self.decode(posterior.mean)) * (-self.log_scale).exp()
        count = torch.full_like(x[:, 0], self.data_dim)
        if mask is not None:
            residual, count = zero_missing(residual, mask), mask.sum(-1).to(x.dtype)
        squares = residual.square().sum(-1) + posterior.mean.square().sum(-1)
        spread = posterior.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # -log|P| / 2
        return spread - count * (0.5 * math.log(2 * math.pi) + self.log_scale) - 0.5 * squares

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> dist.MultivariateNormal:
        """Return the exact p(z | x), batch shape (N,), event shape (L,).

        Its covariance depends on which numbers were observed alone, not on their values.
        """
        count_rows(x, self.data_dim)
        directions = self.weight * (-self.log_scale).exp()  # A
        residual = zero_missing(x - self.mean, mask) * (-self.log_scale).exp()
        return combine_evidence(directions, residual @ directions, mask)

    @torch.no_grad()
    def fit_exact(self, x: Tensor) -> PPCA:
        """Take the parameters of maximum likelihood for ``x`` (N, D), and return the model.

        Tipping and Bishop 1999, equations 7 and 8: the L longest principal axes, and the mean
        variance of the others as noise. W comes with orthogonal columns, the longest first.

        Raises
        ------
        InputError
            Data that are not finite, or that L numbers a datum describe without noise.
        """
        x = finite(x, self.data_dim).double()
        mean = x.mean(0)
        _, lengths, axes = torch.linalg.svd(x - mean, full_matrices=False)
        variance = lengths.square() / len(x)
        rest = variance[self.latent_dim :].sum() / max(self.data_dim - self.latent_dim, 1)
        if rest <= 1e-12 * variance.sum():
            found = f"data with no variance outside of {self.latent_dim} directions"
            cure = "take a smaller latent_dim, or more data than latent_dim"
            raise InputError("x", found, "noise in further directions", cure)
        top = (variance[: self.latent_dim] - rest).clamp(min=0).sqrt()
        self.weight.copy_(axes[: self.latent_dim].T * top)
        self.mean.copy_(mean)
        self.log_scale.copy_(0.5 * rest.log())
        return self


def combine_evidence(
    directions: Tensor, message: Tensor, mask: Tensor | None
) -> dist.MultivariateNormal:
    """Return the posterior of z ~ Normal(0, I), to which each number of x adds its precision.

    Parameters
    ----------
    directions : Tensor
        A (D, L): number d adds A_d A_d^T to the precision of z.
    message : Tensor
        Precision times mean, summed over the numbers observed, (N, L).
    mask : Tensor, optional
        Which numbers were observed, (N, D).
    """
    kept = directions if mask is None else directions * mask[..., None]
    precision = torch.eye(directions.shape[1], dtype=kept.dtype, device=kept.device)
    precision = precision + kept.mT @ directions
    mean = torch.linalg.solve(precision, message[..., None]).squeeze(-1)
    return dist.MultivariateNormal(mean, precision_matrix=precision, validate_args=False)


class LinearAutoencoder(nn.Module):
    r"""The best linear compression to L numbers, encoder and decoder one matrix.

    .. math:: \min_W \; n^{-1} \sum_i |x_i - W W^T x_i|^2 \quad \mathrm{with} \; W^T W = I

    The data are centred first. W spans the first L principal axes, in some rotation.

    Parameters
    ----------
    data_dim, latent_dim : int
        D and L, L at most D.
    """

    mean: Tensor

    def __init__(self, data_dim: int = 64, latent_dim: int = 8) -> None:
        super().__init__()
        if not 1 <= latent_dim <= data_dim:
            cure = "compress to fewer numbers than there are"
            raise InputError("latent_dim", str(latent_dim), f"1 to {data_dim}", cure)
        self.data_dim = data_dim
        self.free = nn.Parameter(torch.randn(data_dim, latent_dim))
        self.register_buffer("mean", torch.zeros(data_dim))

    @property
    def weight(self) -> Tensor:
        """W (D, L): the orthonormal basis of the span of the free matrix."""
        return torch.linalg.qr(self.free).Q

    def centre_on(self, x: Tensor) -> None:
        """Take the mean of ``x`` (N, D) for the origin of the codes."""
        self.mean = finite(x, self.data_dim).mean(0)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (..., L) of x (..., D)."""
        return (x - self.mean) @ self.weight

    def decode(self, z: Tensor) -> Tensor:
        """Return the reconstructions (..., D) of codes z (..., L)."""
        return z @ self.weight.T + self.mean

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean squared error of the reconstructions of ``x`` (N, D)."""
        return (x - self.decode(self.encode(x))).square().sum(-1).mean()

    @torch.no_grad()
    def fit_exact(self, x: Tensor) -> LinearAutoencoder:
        """Take the L longest principal axes of ``x`` (N, D) for W, and return the module."""
        self.centre_on(x)
        axes = torch.linalg.svd((x - self.mean).double(), full_matrices=False).Vh
        self.free.copy_(axes[: self.free.shape[1]].T)
        return self


def zero_missing(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return x (N, D) with zeros for the numbers that were not observed.

    Raises
    ------
    InputError
        The mask has another shape, or is not of booleans.
    """
    if mask is None:
        return x
    if mask.shape != x.shape or mask.dtype is not torch.bool:
        found, cure = f"{mask.dtype} of shape {tuple(mask.shape)}", "mask = ~x.isnan()"
        raise InputError("mask", found, f"booleans of shape {tuple(x.shape)}", cure)
    return torch.where(mask, x, torch.zeros_like(x))


def finite(x: Tensor, data_dim: int) -> Tensor:
    """Return data (N, D) without NaN or infinite numbers.

    Raises
    ------
    InputError
        There are some, or the shape is another.
    """
    count_rows(x, data_dim)
    if x.isfinite().all():
        return x
    cure = "drop these rows; PPCA.evidence takes a mask of what was observed"
    raise InputError("x", "NaN or infinite numbers", "finite data", cure)
