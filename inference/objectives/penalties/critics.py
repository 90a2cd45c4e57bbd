"""Penalties whose value a small network reads off the codes: density ratios, transport, a judge.

A critic is the penalty's own: it learns by its own optimiser, after each step of the pair, and the
pair's gradient passes through it to the codes without touching it. Its weights and its optimiser
are part of the penalty's ``state_dict``. It is built when the first codes are seen, from ``seed``.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from inference.objectives.pair_trace import PairTrace
from inference.objectives.penalties.base import Codes, Penalty, Schedule, number, prior_draws
from inference.randomness import seeded


class Critic(Penalty):
    """A penalty with a network T of the codes, and how that learns.

    Parameters
    ----------
    weight, site
        What it is multiplied by, a number or a schedule of the training step; the latent site, by
        default the guide's only continuous one.
    hidden_dims
        Widths of T's hidden layers, of leaky rectifiers.
    learning_rate
        Of T's Adam, whose momentum is 0.5, as adversaries need it.
    steps
        Steps of T after each step of the pair.
    seed
        Of T's first weights.

    Raises
    ------
    InputError
        A setting that is not positive.
    """

    _net: nn.Sequential | None
    _optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        weight: float | Schedule,
        hidden_dims: Sequence[int] = (256, 256),
        learning_rate: float = 1e-3,
        steps: int = 1,
        seed: int = 0,
        site: str | None = None,
    ) -> None:
        super().__init__(weight, site)
        for width in hidden_dims:
            number("hidden_dims", width, 0)
        number("learning_rate", learning_rate, 0)
        number("steps", steps, 0)
        self.hidden_dims, self.learning_rate, self.steps = tuple(hidden_dims), learning_rate, steps
        self.seed, self._net, self._optimizer = seed, None, None

    def score(self, z: Tensor) -> Tensor:
        """Return T(z), shape (B,), with a gradient to the codes and none to T."""
        net = self._network(z)
        frozen = {name: value.detach() for name, value in net.state_dict(keep_vars=True).items()}
        return functional_call(net, frozen, (z,))[:, 0]

    @torch.enable_grad()
    def learn(self, pair: PairTrace) -> None:
        """Let T take its steps, on the codes of the pair that ``forward`` was given."""
        codes = self.codes(pair)
        if len(codes.z) < self.LEAST:
            return
        net = self._network(codes.z)
        assert self._optimizer is not None
        for lap in range(self.steps):
            loss = self.loss(net, pair, codes, lap)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        self._optimizer.zero_grad()

    LEAST = 2  # codes from which it can learn; smaller batches teach it nothing

    @abstractmethod
    def loss(self, net: nn.Module, pair: PairTrace, codes: Codes, lap: int) -> Tensor:
        """Return what T goes down, at its step ``lap`` of ``steps``."""

    def _network(self, z: Tensor) -> nn.Sequential:
        """T, made for these codes where there is none, and on their device."""
        if self._net is None:
            self._build(z.shape[1], z.dtype)
        assert self._net is not None and self._optimizer is not None
        if self._device != z.device:  # of the optimiser: others may have moved the network alone
            self._net.to(z.device)
            self._optimize(self._optimizer.state_dict())
        return self._net

    def _build(self, dim: int, dtype: torch.dtype) -> None:
        layers: list[nn.Module] = []
        with seeded(self.seed):
            for width in self.hidden_dims:
                layers += [nn.Linear(dim, width), nn.LeakyReLU(0.2)]
                dim = width
            self._net = nn.Sequential(*layers, nn.Linear(dim, 1)).to(dtype)
        self._optimize({})

    def _optimize(self, state: dict[str, Any]) -> None:
        assert self._net is not None
        weights, rate = list(self._net.parameters()), self.learning_rate
        self._device = weights[0].device
        fused = self._device.type in ("cpu", "cuda")  # half of a critic's step otherwise
        self._optimizer = torch.optim.Adam(weights, rate, (0.5, 0.9), fused=fused)
        if state:
            self._optimizer.load_state_dict(state)

    def reset(self) -> None:
        """Forget T: a new run makes its own."""
        self._net, self._optimizer = None, None

    def get_extra_state(self) -> dict[str, Any]:
        """Return what T is made for, and its optimiser's state."""
        if self._net is None or self._optimizer is None:
            return {}
        first = next(self._net.parameters())
        dtype = str(first.dtype).removeprefix("torch.")
        state = copy.deepcopy(self._optimizer.state_dict())
        return {"dim": first.shape[1], "dtype": dtype, "optimizer": state}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Make T again; its weights, which follow, then have a place to go."""
        self.reset()
        if state:
            self._build(state["dim"], getattr(torch, state["dtype"]))
            self._optimize(copy.deepcopy(state["optimizer"]))


class FactorCritic(Critic):
    r"""Total correlation by a density ratio: :class:`Objective` with this is FactorVAE.

    .. math:: \mathrm{loss} \mathrel{+}= \gamma\, E_{q(z)}\, T(z), \qquad
        T \approx \log \frac{q(z)}{\prod_d q(z_d)}

    T is the logit of a classifier between codes and codes whose dims were each permuted over the
    batch by themselves. It learns from the batch's two halves: the first it is to call codes, the
    second is permuted. (Kim and Mnih draw a second batch; a half costs no second pass of the guide,
    and is as independent.) The gradient reaches the guide through z alone; T is held fixed. A T
    that has learned little sees little correlation.

    Kim and Mnih, "Disentangling by Factorising", ICML 2018, equations 2-3 and algorithm 2.

    Parameters
    ----------
    weight
        gamma, beside the KL term's own total correlation; the paper takes 6 to 40.
    hidden_dims, learning_rate, steps, seed, site
        As for `Critic`. The paper's T has layers of 1000, six in all.
    """

    LEAST = 4

    def __init__(
        self,
        weight: float | Schedule,
        hidden_dims: Sequence[int] = (256, 256, 256),
        learning_rate: float = 1e-4,
        steps: int = 1,
        seed: int = 0,
        site: str | None = None,
    ) -> None:
        super().__init__(weight, hidden_dims, learning_rate, steps, seed, site)

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return the mean log ratio at the batch's codes."""
        return self.score(codes.z).mean()

    def loss(self, net: nn.Module, pair: PairTrace, codes: Codes, lap: int) -> Tensor:
        """Separate the first half's codes from the second half's permuted ones."""
        real, other = codes.z.detach().split((len(codes.z) + 1) // 2)
        return _judge(net(real), net(permuted(other)))


class AdversarialPrior(Critic):
    r"""Adversarial autoencoder: codes are to be taken for draws of the prior.

    .. math:: \mathrm{loss} \mathrel{+}= -\lambda\, E_{q(z)} \log \sigma(T(z))

    where T is the logit of a classifier between draws of the prior and codes, trained with
    :math:`-E_{p(z)} \log \sigma(T) - E_{q(z)} \log \sigma(-T)`. This is the non-saturating form: no
    divergence, and log 2 where q(z) is the prior. With ``kl_weight=0`` the loss is no bound.

    Makhzani et al., "Adversarial Autoencoders", 2015. Chen (M.), "Learning with weak supervision",
    2020, equation 2.12.

    Parameters
    ----------
    weight
        lambda.
    hidden_dims, learning_rate, steps, seed, site
        As for `Critic`.
    """

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return the mean surprise that a code is a draw of the prior."""
        return softplus(-self.score(codes.z)).mean()

    def loss(self, net: nn.Module, pair: PairTrace, codes: Codes, lap: int) -> Tensor:
        """Separate draws of the prior from codes."""
        prior = prior_draws(pair, codes).detach()
        return _judge(net(prior), net(codes.z.detach()))


class WassersteinCritic(Critic):
    r"""Wasserstein-1 distance between codes and prior, in its dual form.

    .. math:: \mathrm{loss} \mathrel{+}= \lambda\, [E_{q(z)} T(z) - E_{p(z)} T(z)], \qquad
        W_1(q(z), p(z)) = \sup_{\|\nabla T\| \le 1} E_{q(z)} T - E_{p(z)} T

    T climbs that less ``gradient_penalty`` :math:`E \max(0, \|\nabla T(\hat z)\| - 1)^2`, with
    :math:`\hat z` on lines between codes and draws: the one-sided form, since to pull small slopes
    up to 1 as well would keep a T that starts out the wrong way round from turning. Where the two
    terms balance, slopes exceed 1, and the value W, by up to W / (2 gradient_penalty).

    What is compared is the *aggregated* posterior, codes of the batch together, with the prior's
    draws under the same arguments: Tolstikhin's WAE, and with a conditional prior what DialogWAE
    trains, up to its critic's look at the condition. Written datum by datum, W(q(z | x), p(z)), a
    distance small for each datum would leave codes that say nothing of it. With
    ``Objective(kl_weight=0)`` the loss is the lecture's equation 40 so read, and no bound.

    Gu, Cho, Ha and Kim, "DialogWAE", ICLR 2019. Gulrajani et al., "Improved Training of WGANs",
    NeurIPS 2017, algorithm 1. Petzka, Fischer and Lukovnikov, "On the Regularization of
    Wasserstein GANs", ICLR 2018, equation 8. Kim (Y.), lecture on VAEs, equation 40.

    Parameters
    ----------
    weight
        lambda.
    hidden_dims, learning_rate, seed, site
        As for `Critic`.
    gradient_penalty
        What holds T's slopes down to 1.
    critic_steps
        Steps of T after each step of the pair, each with fresh draws of guide and prior.
    """

    def __init__(
        self,
        weight: float | Schedule,
        hidden_dims: Sequence[int] = (256, 256),
        gradient_penalty: float = 10.0,
        critic_steps: int = 5,
        learning_rate: float = 1e-3,
        seed: int = 0,
        site: str | None = None,
    ) -> None:
        super().__init__(weight, hidden_dims, learning_rate, critic_steps, seed, site)
        number("gradient_penalty", gradient_penalty, 0)
        self.gradient_penalty = gradient_penalty

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return T's mean at the codes less that at draws of the prior."""
        return self.score(codes.z).mean() - self.score(prior_draws(pair, codes)).mean()

    def loss(self, net: nn.Module, pair: PairTrace, codes: Codes, lap: int) -> Tensor:
        """Widen the difference, with slopes of at most 1 between the two."""
        z = codes.z.detach() if lap == 0 else codes.counted(pair.q[codes.name]["fn"].sample())
        prior = prior_draws(pair, codes).detach()
        at = torch.rand(len(z), 1, dtype=z.dtype, device=z.device)
        between = (at * z + (1 - at) * prior).requires_grad_()
        (slope,) = torch.autograd.grad(net(between).sum(), between, create_graph=True)
        excess = (slope.norm(dim=1) - 1).clamp_min(0).square().mean()
        return net(prior).mean() - net(z).mean() + self.gradient_penalty * excess


def _judge(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


def permuted(z: Tensor) -> Tensor:
    """Permute each dim of codes (B, D) by itself: draws of prod_d q(z_d)."""
    return z.gather(0, torch.rand_like(z).argsort(0))
