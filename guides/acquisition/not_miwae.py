r"""The guide of NotMIWAE: the code from what was observed, and missing values given the code.

.. math:: q(z, x_M \mid x_O) = q(z \mid x_O) \, q(x_M \mid z)

By default the second factor is the model's own, p(x_M | z), which cancels in the bound: what
remains of the missing values is how well they explain that they are missing, p(m | x). Its bound of
one draw is loose where the mechanism is strong, and pulls towards a weak one: train with many draws
a row (``Objective(kind="iwae")``), or with a proposal that learns to draw values that go missing.

References
----------
Ipsen, Mattei and Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not at Random Data",
ICLR 2021, arXiv:2006.12871, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyro
import torch
from torch import Tensor, nn

from guides.acquisition.partial_vae import PartialVAEGuide
from ppl_models.acquisition import NotMIWAE
from ppl_models.errors import unknown
from ppl_models.inputs import count_rows

PROPOSALS = ("model", "learned")


class NotMIWAEGuide(PartialVAEGuide):
    """Posterior q(z, x_missing | x) of `NotMIWAE`; sizes and readers are those of its parent.

    Of a row of which nothing was observed, z has its prior.

    Parameters
    ----------
    model : NotMIWAE
    reader, embedding_dim, set_dim, hidden_dims
        Those of `PartialVAEGuide`.
    proposal : "model" or "learned"
        Draw missing values from the model's p(x | z), or from one whose means and scales are moved
        by a learned linear function of z, which starts at zero.

    Raises
    ------
    InputError
        Another proposal, or what `PartialVAEGuide` says.
    """

    def __init__(
        self,
        model: NotMIWAE,
        *,
        reader: str | nn.Module = "pointnet-plus",
        embedding_dim: int = 16,
        set_dim: int = 64,
        hidden_dims: Sequence[int] = (64,),
        proposal: str = "model",
    ) -> None:
        super().__init__(
            model,
            reader=reader,
            embedding_dim=embedding_dim,
            set_dim=set_dim,
            hidden_dims=hidden_dims,
        )
        if proposal not in PROPOSALS:
            raise unknown("proposal", str(proposal), PROPOSALS)
        self.tilt: nn.Linear | None = None
        if proposal == "learned":
            self.tilt = nn.Linear(model.latent_dim, model.likelihood.raw_dim)
            nn.init.zeros_(self.tilt.weight)
            nn.init.zeros_(self.tilt.bias)

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None) -> Any:
        """Sample ``z`` (N, L) and ``x_missing`` (N, C) for rows ``x`` (N, D) and their mask.

        Raises
        ------
        InputError
            As `PartialVAEGuide.forward`.
        """
        model = cast(NotMIWAE, self.model)
        with pyro.plate("data", count_rows(x, model.data_dim), dim=-1):
            x = cast(Tensor, x)
            mask = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
            z = pyro.sample("z", self.posterior(x, mask).to_event(1))
            raw = model.raw(z)
            if self.tilt is not None:
                raw = raw + self.tilt(z)
            return z, pyro.sample("x_missing", model.missing_values(raw, mask))
