r"""Learning from a density known up to its normaliser, by contrast with draws of a Markov chain.

The gradient of the mean log density of data is a difference of two means,

.. math:: \nabla E_{data}[\log p(x)] = -E_{data}[\nabla F(x)] + E_p[\nabla F(x)],
          \qquad p(x) = \exp(-F(x)) / C,

the second over draws of p itself. Contrastive divergence takes them from a few steps of a chain
begun at the data (Hinton, "Training Products of Experts by Minimizing Contrastive Divergence",
Neural Computation 14, 2002, section 5); persistent chains go on from step to step (Tieleman,
"Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient", ICML
2008), and are nearer to p. Neither is a bound, and neither says how likely the data are: that needs
C, exactly or from `inference.diagnostics.annealed_importance`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from inference.errors import NonFiniteError
from inference.randomness import derive, reseed, seeded


class Energy(Protocol):
    """What can be trained here: an nn.Module with these two methods."""

    def free_energy(self, x: Tensor) -> Tensor:
        """Return F(x) (N,) of x (N, ...), differentiable."""

    def transition(self, x: Tensor) -> Tensor:
        """Take a step of a Markov chain that leaves exp(-F) as it is, without gradient."""


@dataclass
class EnergyRun:
    """A trained energy, and how training went.

    ``history`` has a dict an epoch: ``epoch``, from 1, and ``contrast``, the mean free energy of
    data less that of the chains' states: near 0 where chains look like data to the model, and no
    measure of how likely the data are. ``chains`` are the last states, (K, ...).
    """

    model: nn.Module
    history: list[dict[str, float]]
    chains: Tensor


def contrastive_loss(model: Energy, data: Tensor, chains: Tensor) -> Tensor:
    """Return the scalar, in nats a datum, whose gradient is that of -log p as far as chains go."""
    return model.free_energy(data).mean() - model.free_energy(chains.detach()).mean()


def fit_energy(
    model: Any,
    x: Tensor,
    *,
    epochs: int = 50,
    batch_size: int = 100,
    learning_rate: float | Callable[[int], float] = 5e-3,
    steps: int = 1,
    chains: int = 100,
    persistent: bool = True,
    seed: int = 0,
) -> EnergyRun:
    """Train an energy on data by contrastive divergence.

    Parameters
    ----------
    model
        An `Energy` module; trained in place.
    x
        The data (N, ...).
    epochs, batch_size
        As for `inference.fit`.
    learning_rate
        Of Adam, or a schedule of it (`inference.schedules`). Persistent chains keep up with a small
        one only; let it fall towards the end.
    steps
        Transitions of the chains a step of training.
    chains
        K, where they persist; otherwise there is one a datum, begun there.
    persistent
        Let chains go on, or begin at the data each time.
    seed
        Decides the order of the data and all noise.

    Raises
    ------
    NonFiniteError
        The loss is NaN or infinite: the learning rate is too high, or the energy has no bottom.
    """
    optimizer = torch.optim.Adam(model.parameters(), 1.0)
    history, step = [], 0
    with seeded(derive(seed, "chains")):
        state = x[torch.randint(len(x), (chains,))]
        for epoch in range(1, epochs + 1):
            reseed(derive(seed, "epoch", epoch))
            losses = []
            for rows in torch.randperm(len(x)).split(batch_size):
                start = state if persistent else x[rows]
                state = _run_chains(model, start, steps)
                loss = contrastive_loss(model, x[rows], state)
                _check(loss, epoch)
                rate = learning_rate(step) if callable(learning_rate) else learning_rate
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                step += 1
            history.append({"epoch": epoch, "contrast": sum(losses) / len(losses)})
    return EnergyRun(model, history, state)


@torch.no_grad()
def _run_chains(model: Any, state: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        state = model.transition(state)
    return state


def _check(loss: Tensor, epoch: int) -> None:
    if not loss.isfinite():
        raise NonFiniteError(
            "free_energy",
            f"a contrast of {loss.item()} in epoch {epoch}",
            "a finite free energy of data and of chains",
            "lower learning_rate, or let the energy rise where there are no data",
        )
