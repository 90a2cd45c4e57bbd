r"""The guide of DialogWAE: a generator makes the code of noise that depends on answer and context.

.. math:: e \sim N(\mu(x, c), \mathrm{diag} \, \sigma(x, c)^2), \qquad z = Q(e)
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from torch import Tensor

from guides.base import ReadingGuide
from ppl_models.cvae import beside, check_pairs
from ppl_models.dialog_wae import DialogWAE
from ppl_models.distributions import Implicit
from ppl_models.inputs import check_widths, count_rows
from ppl_models.networks import MLP, split_normal


class DialogWAEGuide(ReadingGuide[DialogWAE]):
    """Implicit posterior q(z | x, c) of :class:`ppl_models.dialog_wae.DialogWAE`.

    Gu, Cho, Ha and Kim, "DialogWAE", ICLR 2019, arXiv:1805.12352, section 3.2.

    Parameters
    ----------
    model : DialogWAE
    hidden_dims : sequence of int, optional
        Widths of the hidden layers of both networks; by default the model's.
    """

    def __init__(self, model: DialogWAE, *, hidden_dims: Sequence[int] | None = None) -> None:
        super().__init__(model)
        widths = model.hidden_dims if hidden_dims is None else check_widths(hidden_dims)
        inputs = model.likelihood.feature_dim + model.condition_dim
        self.encoder = MLP(inputs, *widths, 2 * model.noise_dim)
        self.generator = MLP(model.noise_dim, *widths, model.latent_dim)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Sample ``z`` (N, L) for answers ``x`` (N, D) and contexts ``c`` (N, C).

        Raises
        ------
        InputError
            One of them does not have its shape.
        """
        size = count_rows(c, self.model.condition_dim, "c")
        check_pairs(x, c, self.model.data_dim)
        with pyro.plate("data", size, dim=-1):
            return pyro.sample("z", self.posterior(x, c))

    def posterior(self, x: Tensor, c: Tensor) -> Implicit:
        """Return q(z | x, c), batch shape (N,)."""
        loc, scale = split_normal(self.encoder(beside(self.model.likelihood.features(x), c)))

        def draw(shape: torch.Size) -> Tensor:
            noise = torch.randn(*shape, loc.shape[-1], dtype=loc.dtype, device=loc.device)
            made: Tensor = self.generator(loc + scale * noise)
            return made

        return Implicit(draw, self.model.latent_dim, loc.shape[:-1])
