"""A prior that is a density ratio: how its critic learns, beside the pair."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from inference.errors import PairError
from inference.objectives.pair_trace import PairTrace
from inference.objectives.penalties.base import Codes, number
from inference.objectives.penalties.critics import Critic


class DensityRatio(Critic):
    r"""Learn T of a prior :math:`p(z) = N(z; 0, I) \exp(T(z)) / Z`; the loss stays as it is.

    .. math:: T = \arg\max_T\, E_{q(z)} \log \sigma(T(z)) + E_{N(0, I)} \log \sigma(-T(z))
        = \log \frac{q(z)}{N(z; 0, I)}

    After each step of the pair, T takes ``steps`` of its own, to separate the batch's codes from
    fresh standard draws. Every ``every`` steps of the pair the prior takes T over and is normalised
    again: between two such moments the prior, and so the bound, is one and the same. ::

        prior = AggregatedPosterior(latent_dim)
        model = VAE(..., prior=prior)
        fit(model, guide, x, objective=Objective(penalties=(DensityRatio(prior.critic),)))

    Takahashi et al., "Variational Autoencoder with Implicit Optimal Priors", AAAI 2019, equations
    8-12 and algorithm 1. (They train T for ten epochs after each epoch of the pair.)

    Parameters
    ----------
    critic
        The prior's network T; a copy of it learns.
    prior
        Where the prior is within the model: a part with a method ``take(critic)``.
    every
        Steps of the pair from one taking over to the next.
    learning_rate, steps, site
        As for `Critic`.

    Raises
    ------
    InputError
        A setting that is not positive.
    """

    def __init__(
        self,
        critic: nn.Module,
        *,
        prior: str = "prior",
        every: int = 20,
        learning_rate: float = 1e-3,
        steps: int = 1,
        site: str | None = None,
    ) -> None:
        super().__init__(1.0, (), learning_rate, steps, 0, site)
        number("every", every, 0)
        self.prior, self.every, self._laps = prior, every, 0
        learner: Any = copy.deepcopy(critic).requires_grad_(True)
        self._net = learner
        self._optimize({})

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return 0: the prior is in the bound already."""
        return 0 * codes.z.sum()

    def learn(self, pair: PairTrace) -> None:
        """Let T take its steps, and the prior take it over when it is time.

        Raises
        ------
        PairError
            The model has no such prior.
        """
        prior = self._find(pair.model)
        super().learn(pair)
        self._laps += 1
        if self._laps % self.every == 0:
            prior.take(self._net)

    def loss(self, net: nn.Module, pair: PairTrace, codes: Codes, lap: int) -> Tensor:
        """Separate the batch's codes from standard draws."""
        z = codes.z.detach() if lap == 0 else codes.counted(pair.q[codes.name]["fn"].sample())
        z = z.to(next(net.parameters()).dtype)
        return softplus(-net(z)).mean() + softplus(net(torch.randn_like(z))).mean()

    def _find(self, model: nn.Module) -> Any:
        try:
            found = model.get_submodule(self.prior)
        except AttributeError:
            found = None
        if not hasattr(found, "take"):
            what, cure = f"no density-ratio prior at '{self.prior}'", "VAE(prior=...), prior='name'"
            raise PairError(None, f"a model with {what}", "an AggregatedPosterior there", cure)
        return found

    def reset(self) -> None:
        """Begin a new run with T as it is, which the prior may hold already."""
        self._laps = 0
        self._optimize({})

    def get_extra_state(self) -> dict[str, Any]:
        """Return the optimiser's state, and the steps taken."""
        assert self._optimizer is not None
        return {"laps": self._laps, "optimizer": copy.deepcopy(self._optimizer.state_dict())}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up the optimiser where it was."""
        self._laps = state["laps"]
        self._optimize(copy.deepcopy(state["optimizer"]))
