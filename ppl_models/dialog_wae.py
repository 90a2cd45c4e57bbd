r"""DialogWAE: codes of prior and posterior are what generators make of noise, given a context.

::

    c -> e ~ sum_k pi_k(c) Normal(mu_k(c), diag sigma_k(c)^2)   the prior's noise: K modes
    e -> z = generator(e)                                       the code: L latent numbers
    c, z -> x ~ likelihood(decoder(z, c))                       the answer

Neither p(z | c) nor q(z | x, c) has a known density, so the pair has **no evidence lower bound**,
and none is reported: `inference.objectives.TransportObjective` trains it with a critic
(`inference.objectives.ContextCritic`) that brings the two together, and is judged by
log p(x | z, c) at a draw. Whatever needs a density of z (`check`, `importance`, `rates`) refuses
the pair. The context and the answer are vectors here; `likelihood` decides what an answer is.

.. math:: \min \; -E_{q(z | x, c)} \log p(x \mid z, c) + W(q(z \mid x, c) \,\|\, p(z \mid c))

References
----------
Gu, Cho, Ha and Kim, "DialogWAE: Multimodal Response Generation with Conditional Wasserstein
Auto-Encoder", ICLR 2019, arXiv:1805.12352, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.cvae import beside, check_pairs
from ppl_models.distributions import Implicit
from ppl_models.inputs import check_count, check_positive, check_widths, count_rows
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP


class DialogWAE(nn.Module):
    """An answer given a context, by a code with an implicit prior of several modes.

    Sites: ``z`` (L,), without a density, and ``x`` (D,), both in the plate ``data``.

    Parameters
    ----------
    data_dim, condition_dim, latent_dim : int
        D, C and L: numbers of an answer, of its context, and of its code.
    noise_dim : int, optional
        Numbers of noise that make a code; by default L.
    components : int
        K, modes of the prior's noise: 3 or 5 in the paper (section 4.1); 1 is its plain DialogWAE.
    hidden_dims : sequence of int
        Widths of all hidden layers.
    likelihood : "gaussian", "bernoulli" or Likelihood
        The distribution of x given code and context (`ppl_models.likelihoods`).
    scale : float, optional
        Standard deviation of ``"gaussian"``, as for `VAE`.
    temperature : float
        Of the Gumbel-softmax draw of a mode, through which its probabilities learn; 0.1 in the
        authors' code.

    Raises
    ------
    InputError
        A size that is no whole number from 1, an unknown likelihood, or a number not positive.
    """

    def __init__(
        self,
        data_dim: int = 32,
        condition_dim: int = 32,
        latent_dim: int = 8,
        *,
        noise_dim: int | None = None,
        components: int = 3,
        hidden_dims: Sequence[int] = (128,),
        likelihood: str | Likelihood = "gaussian",
        scale: float | None = None,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.data_dim, self.condition_dim, self.latent_dim = data_dim, condition_dim, latent_dim
        self.noise_dim = latent_dim if noise_dim is None else noise_dim
        self.components, self.hidden_dims = components, check_widths(hidden_dims)
        check_count("components", components)
        check_count("noise_dim", self.noise_dim)
        self.temperature = check_positive("temperature", temperature)
        self.likelihood = named(likelihood, data_dim, scale)
        widths, each = self.hidden_dims, 1 + 2 * self.noise_dim
        self.prior_noise = MLP(condition_dim, *widths, components * each)
        self.generator = MLP(self.noise_dim, *widths, latent_dim)
        self.decoder = MLP(latent_dim + condition_dim, *widths, self.likelihood.raw_dim)

    def forward(self, x: Tensor | None, c: Tensor) -> Tensor:
        """Score answers ``x`` (N, D) given contexts ``c`` (N, C); without x, make them.

        Raises
        ------
        InputError
            ``c`` or ``x`` does not have these shapes, or x cannot be data of the likelihood.
        """
        size = count_rows(c, self.condition_dim, "c")
        if x is not None:
            check_pairs(x, c, self.data_dim)
            self.likelihood.check(x)
        with pyro.plate("data", size, dim=-1):
            z = pyro.sample("z", self.prior(c))
            return pyro.sample("x", self.observation(z, c), obs=x)

    def prior(self, c: Tensor) -> Implicit:
        """Return p(z | c), batch shape that of contexts (..., C)."""
        logits, loc, scale = self.modes(c)

        def draw(shape: torch.Size) -> Tensor:
            wide = logits.expand(*shape, self.components)
            chosen = nn.functional.gumbel_softmax(wide, self.temperature)[..., None]
            noise = torch.randn(*shape, *loc.shape[-2:], dtype=loc.dtype, device=loc.device)
            made: Tensor = self.generator((chosen * (loc + scale * noise)).sum(-2))
            return made

        return Implicit(draw, self.latent_dim, c.shape[:-1])

    def modes(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (..., K), and means and scales (..., K, E), of the prior's noise."""
        raw = self.prior_noise(c).unflatten(-1, (self.components, -1))
        loc, log_scale = raw[..., 1:].chunk(2, -1)
        return raw[..., 0], loc, log_scale.exp()

    def observation(self, z: Tensor, c: Tensor) -> TorchDistribution:
        """Return p(x | z, c), event shape (D,), for codes (..., L) and contexts (..., C)."""
        distribution: TorchDistribution = self.likelihood(self.decoder(beside(z, c)))
        return distribution
