"""A Wasserstein critic that reads the context which prior and posterior are given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from inference.objectives.pair_trace import PairTrace
from inference.objectives.penalties.base import Codes, Schedule, prior_draws
from inference.objectives.penalties.critics import WassersteinCritic
from ppl_models.errors import InputError


class ContextCritic(WassersteinCritic):
    r"""DialogWAE's critic: T(z, c) tells posterior codes from the prior's, given the context.

    .. math:: \max_T \; E_{x, c} [E_{q(z | x, c)} T(z, c) - E_{p(z | c)} T(z, c)]

    The distance of (z, c) under the data and under the model, so that p(z | c) has to be the
    aggregated posterior in each context, where `WassersteinCritic` compares codes of all contexts
    together. T's slopes are held down in z alone.

    Gu, Cho, Ha and Kim, "DialogWAE", ICLR 2019, equation 9 and algorithm 1.

    Parameters
    ----------
    weight
        lambda.
    condition
        The argument of the pair that is the context (N, C): its position, or its name.
    **options
        As `WassersteinCritic`.
    """

    def __init__(self, weight: float | Schedule, condition: int | str = 1, **options: Any) -> None:
        super().__init__(weight, **options)
        self.condition = condition

    def codes(self, pair: PairTrace) -> Codes:
        """Find the codes, and put the contexts beside them."""
        codes = super().codes(pair)
        given: dict[int | str, Any] = dict(enumerate(pair.args))
        given.update(pair.kwargs)
        context = given.get(self.condition)
        if not isinstance(context, Tensor) or len(context) != pair.batch:
            found = f"{self.condition!r}, which is {type(context).__name__}"
            cure = f"the position or the name of one of the arguments {list(given)}"
            raise InputError("condition", found, f"a tensor of {pair.batch} rows", cure)
        return replace(codes, z=torch.cat([codes.z, codes.counted(context).to(codes.z)], 1))

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return T's mean at the codes less that at draws of the prior, in the same contexts."""
        return self.score(codes.z).mean() - self.score(_prior(pair, codes)).mean()

    def loss(self, net: nn.Module, pair: PairTrace, codes: Codes, lap: int) -> Tensor:
        """Widen the difference, with slopes in z of at most 1 between the two."""
        prior, ours = _prior(pair, codes).detach(), codes.z.detach()
        if lap:
            fresh = codes.counted(pair.q[codes.name]["fn"].sample())
            ours = torch.cat([fresh, ours[:, fresh.shape[1] :]], 1)
        width = pair.q[codes.name]["value"].flatten(1).shape[1]
        at = torch.rand(len(ours), 1, dtype=ours.dtype, device=ours.device)
        between = (at * ours + (1 - at) * prior).requires_grad_()
        (slope,) = torch.autograd.grad(net(between).sum(), between, create_graph=True)
        excess = (slope[:, :width].norm(dim=1) - 1).clamp_min(0).square().mean()
        return net(prior).mean() - net(ours).mean() + self.gradient_penalty * excess


def _prior(pair: PairTrace, codes: Codes) -> Tensor:
    """Draw from the prior in the contexts of the codes."""
    z = prior_draws(pair, codes)
    return torch.cat([z, codes.z[:, z.shape[1] :].detach()], 1)
