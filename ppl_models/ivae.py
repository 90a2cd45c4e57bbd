r"""The identifiable VAE: the prior of a code depends on a condition, its decoder does not.

::

    c                                     the condition (u in the paper): given and never scored
    c -> z ~ Normal(m(c), diag s(c)^2)    the code: L sources, independent given c
    z -> x ~ likelihood(decoder(z))       the datum: D numbers

.. math:: p(x, z \mid c) = p(x \mid z) \prod_l N(z_l; m_l(c), s_l(c)^2)

A VAE's code is known up to any map that leaves its prior as it is: a rotation, for a standard
normal one. Here each value of the condition gives another prior, and one map has to suit all. If
the decoder is injective and the 2 L numbers :math:`(m_l / s_l^2, -1 / (2 s_l^2))` of 2 L + 1
conditions differ in all directions, codes of two models with the same data differ by their order,
and by a function of each number alone (theorem 2 of the paper; here, with Gaussian sources, by
their scale and origin). `inference.metrics.mean_correlation` says how well.

References
----------
Khemakhem, Kingma, Monti and Hyvärinen, "Variational Autoencoders and Nonlinear ICA: A Unifying
Framework", AISTATS 2020, arXiv:1907.04809, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.cvae import CVAE
from ppl_models.inputs import check_widths
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP


class IVAE(CVAE):
    """A VAE whose sources are identifiable: conditionally independent given an observed variable.

    Sites: ``z`` (L,) and ``x`` (D,), both in the plate ``data``. A call takes data ``x`` (N, D) and
    conditions ``c`` (N, C), as that of `CVAE` does. A segment of a time series, a class, or any
    variable that changes the sources is a condition, classes as one-hot rows.

    Parameters
    ----------
    data_dim : int
        D, numbers a datum.
    condition_dim : int
        C, numbers of its condition.
    latent_dim : int
        L, sources; identifiable if L is at most D.
    hidden_dims : sequence of int
        Widths of the hidden layers of the decoder and of the prior.
    likelihood : "gaussian", "bernoulli" or Likelihood
        The distribution of x given the code (`ppl_models.likelihoods`).
    scale : float, optional
        Standard deviation of ``"gaussian"``, as for `VAE`.
    decoder : nn.Module, optional
        Any network (..., L) -> (..., likelihood.raw_dim), in place of the one made from
        ``hidden_dims``.

    Raises
    ------
    InputError
        An unknown likelihood, or a scale that is not a positive number.
    """

    def __init__(
        self,
        data_dim: int = 32,
        condition_dim: int = 32,
        latent_dim: int = 8,
        *,
        hidden_dims: Sequence[int] = (128,),
        likelihood: str | Likelihood = "gaussian",
        scale: float | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        part = named(likelihood, data_dim, scale)
        widths = check_widths(hidden_dims)
        super().__init__(
            data_dim,
            condition_dim,
            latent_dim,
            hidden_dims=widths,
            prior="learned",
            likelihood=part,
            decoder=decoder or MLP(latent_dim, *widths, part.raw_dim),
        )

    def observation(self, z: Tensor, c: Tensor | None = None) -> TorchDistribution:
        """Return p(x | z), event shape (D,), for codes (..., L); the condition is not read."""
        distribution: TorchDistribution = self.likelihood(self.decoder(z))
        return distribution
