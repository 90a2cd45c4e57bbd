r"""The multimodal VAE: several modalities of one thing, decoded from one code; any may be missing.

::

    z ~ Normal(0, I)                               the code: L latent numbers, shared by all
    x_m ~ likelihood_m(decoder_m(z))               D_m numbers, m = 1, ..., M, where a row has it

     z ---+--> x_1
          +--> x_2
          +--> x_M

.. math:: p(x, z) = p(z) \prod_m p(x_m \mid z)

A missing modality adds nothing to the bound, and its predictions are imputations.

References
----------
Suzuki, Nakayama and Matsuo, "Joint Multimodal Learning with Deep Generative Models", 2016, eq. 1.
Wu and Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised Learning", NeurIPS
2018, eq. 1. The VAE lecture, eq. 17 and 22.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_count, check_widths
from ppl_models.likelihoods import Likelihood
from ppl_models.modalities import Modalities, Rows, as_likelihoods, read_rows
from ppl_models.networks import MLP
from ppl_models.priors import StandardPrior

EXAMPLE: Modalities = {"left": 32, "right": 32}


class MultimodalVAE(nn.Module):
    """M modalities decoded from one shared code.

    Sites: ``z`` (L,) and one a modality, (D_m,), by its name; all in the plate ``data``.

    It is called with the modalities by position, ``model(image, sound)``, or by name,
    ``model(sound=sound, mask=mask)``; see `ppl_models.modalities` for missing ones. The models
    `JMVAE`, `MVAE`, `MMVAE` and `MoPoE` are this one; what they differ in is the guide.

    Parameters
    ----------
    modalities : mapping of str to Likelihood or int
        By name, the likelihood of a modality (`ppl_models.likelihoods`); a number
        D_m stands for ``Gaussian(D_m)``. Their order is that of the columns of a mask.
    latent_dim : int
        L, numbers of the shared code.
    hidden_dims : sequence of int
        Widths of each decoder's hidden layers (ReLU), from the code to the modality.
    decoders : mapping of str to nn.Module, optional
        Networks (..., L) -> (..., raw_dim of the likelihood), in place of those; some or all.
    prior : nn.Module, optional
        p(z), from `ppl_models.priors`; Normal(0, I) by default, which the guides take for the
        posterior of a row of which nothing is observed.

    Raises
    ------
    InputError
        No modality, a name that is taken, or parts of other sizes.
    """

    def __init__(
        self,
        modalities: Modalities = EXAMPLE,
        latent_dim: int = 8,
        *,
        hidden_dims: Sequence[int] = (128, 128),
        decoders: Mapping[str, nn.Module] | None = None,
        prior: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_count("latent_dim", latent_dim)
        self.likelihoods = nn.ModuleDict(as_likelihoods(modalities))
        self.latent_dim, self.hidden_dims = latent_dim, check_widths(hidden_dims)
        self.prior = prior or StandardPrior(latent_dim)
        if self.prior.latent_dim != latent_dim:
            found, cure = (
                f"latent_dim {self.prior.latent_dim}",
                "build all parts for one latent_dim",
            )
            raise InputError("prior", found, f"latent_dim {latent_dim}, as the model's", cure)
        given = dict(decoders or {})
        if extra := set(given) - set(self.likelihoods):
            expected = f"names of modalities: {', '.join(self.likelihoods)}"
            raise InputError("decoders", f"{sorted(extra)}", expected, "correct the name")
        self.decoders = nn.ModuleDict(
            {name: given.get(name) or self._decoder(name) for name in self.likelihoods}
        )

    def _decoder(self, name: str) -> nn.Module:
        sizes = self.code_dim(name), *self.hidden_dims, self.part(name).raw_dim
        return MLP(*sizes, activation=nn.ReLU)

    def code_dim(self, name: str) -> int:
        """Return how many numbers the decoder of a modality reads."""
        return self.latent_dim

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities, in the order of the columns of a mask."""
        return tuple(self.likelihoods)

    @property
    def widths(self) -> dict[str, int]:
        """Numbers of each modality."""
        return {name: self.part(name).data_dim for name in self.names}

    def part(self, name: str) -> Likelihood:
        """Return the likelihood of a modality."""
        return cast(Likelihood, self.likelihoods[name])

    def forward(
        self,
        *x: Tensor | None,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        size: int = 1,
        **named: Tensor | None,
    ) -> dict[str, Tensor]:
        """Score the modalities; without any, simulate ``size`` rows.

        Parameters
        ----------
        *x, **named
            The modalities, (N, D_m) each, in their places or by name.
        mask
            (N, M) bool: which of them a row has, and are scored. By default those that are given.
        observed
            (N, M) bool: which of them the guide infers the code from; the model does not use it.
        size
            N, where nothing is given.

        Returns
        -------
        dict of str to Tensor
            The modalities, as given (padding is zero) or drawn.

        Raises
        ------
        InputError
            Data of another shape, or outside the support of the likelihood (checked while Pyro's
            validation is on); a mask that is not one.
        """
        rows = read_rows(self.widths, x, named, mask, observed, size)
        with pyro.plate("data", rows.size, dim=-1):
            z = self.prior()
            return {n: self._emit(m, n, self._code(n, z), rows) for m, n in enumerate(self.names)}

    def _code(self, name: str, z: Tensor) -> Tensor:
        """Return what the decoder of a modality reads."""
        return z

    def _emit(self, m: int, name: str, code: Tensor, rows: Rows) -> Tensor:
        """Sample or score modality m, in the rows that have it."""
        distribution, x, present = self.observation(name, code), rows.values[name], rows.mask_of(m)
        if x is not None:
            self.part(name).check(x)
        elif rows.has_data:  # missing in every row: still a site, whose draws are imputations
            x = code.new_zeros(rows.size, self.widths[name])
        return pyro.sample(
            name, distribution if present is None else distribution.mask(present), obs=x
        )

    def observation(self, name: str, code: Tensor) -> TorchDistribution:
        """Return p(x_m | code), event shape (D_m,), for codes (..., `code_dim`)."""
        distribution: TorchDistribution = self.likelihoods[name](self.decoders[name](code))
        return distribution


class JMVAE(MultimodalVAE):
    """The model of the joint multi-modal VAE, whose guide reads all modalities with one encoder.

    Suzuki, Nakayama and Matsuo, "Joint Multimodal Learning with Deep Generative Models", 2016,
    arXiv:1611.01891; lecture eq. 17-20. Parameters as `MultimodalVAE`.
    """


class MVAE(MultimodalVAE):
    """The model of the multi-modal VAE, whose guide is a product of experts.

    Wu and Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised Learning", NeurIPS
    2018; lecture eq. 22-24. Parameters as `MultimodalVAE`.
    """


class MMVAE(MultimodalVAE):
    """The model of the mixture-of-experts VAE, whose guide is a mixture of one expert a modality.

    The experts are Gaussian, where the paper's are Laplace. A draw of the guide takes one expert at
    random for each row, where the paper draws from every one of them (stratified), and gradients go
    through the draws as they are, without the paper's doubly reparametrised estimator (DReG). The
    bound has the same expectation; the paper's estimates vary less.

    Shi, Siddharth, Paige and Torr, "Variational Mixture-of-Experts Autoencoders for Multi-Modal
    Deep Generative Models", NeurIPS 2019, section 3. Parameters as `MultimodalVAE`.
    """


class MoPoE(MultimodalVAE):
    """The model of the mixture-of-products-of-experts VAE, whose guide mixes over subsets.

    Sutter, Daunhawer and Vogt, "Generalized Multimodal ELBO", ICLR 2021, section 3. Parameters as
    `MultimodalVAE`.
    """


class DMVAE(MultimodalVAE):
    """The model of the disentangled multi-modal VAE: M modalities, a shared code, private codes.

    Lee and Pavlovic, "Private-Shared Disentangled Multimodal VAE for Learning of Latent
    Representations", CVPR Workshops 2021, arXiv:2012.13024; lecture eq. 26.

    Sites: ``z`` (L,), ``z_<name>`` (P,) and the modality (D_m,), all in the plate ``data``. Where a
    modality is missing its private code is that of the prior, in model and guide, and costs
    nothing.

    Parameters
    ----------
    private_dim : int or mapping of str to int
        P, numbers of a private code: of each modality, or by name.
    **options
        As `MultimodalVAE`; a decoder reads (..., L + P), the shared numbers first.
    """

    zero: Tensor

    def __init__(
        self,
        modalities: Modalities = EXAMPLE,
        latent_dim: int = 8,
        *,
        private_dim: int | Mapping[str, int] = 2,
        hidden_dims: Sequence[int] = (128, 128),
        decoders: Mapping[str, nn.Module] | None = None,
        prior: nn.Module | None = None,
    ) -> None:
        self.private: dict[str, int] = {
            name: private_dim[name] if isinstance(private_dim, Mapping) else private_dim
            for name in modalities
        }
        for name, count in self.private.items():
            check_count(f"private_dim of {name}", count)
        super().__init__(
            modalities,
            latent_dim,
            hidden_dims=hidden_dims,
            decoders=decoders,
            prior=prior,
        )
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def code_dim(self, name: str) -> int:
        """Return L + P."""
        return self.latent_dim + self.private[name]

    def _code(self, name: str, z: Tensor) -> Tensor:
        own = dist.Normal(self.zero.expand(self.private[name]), 1.0).to_event(1)
        return torch.cat([z, pyro.sample(f"z_{name}", own)], -1)
