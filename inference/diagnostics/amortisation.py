r"""The amortisation gap: what the guide's one network loses against a posterior for each datum.

.. math:: \mathrm{gap}_i = \max_{\delta, \eta} \mathrm{ELBO}_i(q_{\delta, \eta})
    - \mathrm{ELBO}_i(q), \qquad q_{\delta, \eta}: \mathrm{loc} + u \delta,\;
    \mathrm{scale} \cdot e^{\eta}

(Cremer, Li and Duvenaud 2018, "Inference suboptimality in variational autoencoders", section 3.)
Each datum's own locations and scales start at the encoder's, and climb its own bound; the pair
itself is frozen. So the gap is one of the guide's own family, its other gap (that no member of the
family is the posterior) apart. A site that depends on others keeps doing so: it is moved from
where they put it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Independent, MaskedDistribution
from pyro.poutine.messenger import Messenger
from torch import Tensor

from inference.diagnostics.aggregate import drawn_sites, local_plate
from inference.randomness import derive, seeded
from inference.tracing import (
    Sampler,
    Site,
    log_weights,
    mask_of,
    mean_and_error,
    node,
    stack_draws,
    unwrapped,
)

_RATE = 0.1  # of Adam, in units of the encoder's own scale
_JUDGES = 200  # draws that both bounds are taken over, the same for both


@dataclass(frozen=True)
class Gap:
    """The amortisation gap, nats a datum: its mean and standard error over `size` data.

    `sites` were moved; `fixed`, of another form than location and scale, were left as they are, so
    that the gap is a lower bound of the whole one.
    """

    nats: float
    error: float
    size: int
    sites: tuple[str, ...]
    fixed: tuple[str, ...]


def amortisation_gap(
    sampler: Sampler, seed: int, steps: int = 150, num_samples: int = 8
) -> Gap | None:
    """Optimise a posterior for each datum of a sampler, inside `quiet`; None if no site can be.

    Parameters
    ----------
    sampler
        The pair, and the few data to do it for.
    seed
        Where the draws that judge both begin.
    steps
        Of Adam.
    num_samples
        Of each step's gradient.
    """
    plate, trace = local_plate(sampler), sampler.traces(None).guide
    names = drawn_sites(sampler, None)
    sites = {n: m for n in names if (m := _Move.of(node(trace, n))) is not None}
    if not sites:
        return None
    moved = copy.copy(sampler)
    moved.guide = _Moving(sites)(sampler.guide)  # type: ignore[assignment]
    size = num_samples if sampler.vectorised else None
    _climb(moved, plate, [p for m in sites.values() for p in m.parameters], steps, size)
    chosen, gains = (
        _bound(moved, plate, derive(seed, part)) - _bound(sampler, plate, derive(seed, part))
        for part in ("choose", "judge")
    )
    # a datum keeps its encoder's posterior where a noisy climb ended below it
    gains = torch.where(chosen > 0, gains, torch.zeros_like(gains))
    fixed = tuple(n for n in names if n not in sites)
    return Gap(*mean_and_error(gains), plate.size, tuple(sites), fixed)


def _climb(sampler: Sampler, plate: Any, parameters: list[Tensor], steps: int, size: Any) -> None:
    """Maximise the bound; leave the parameters at the mean of the last third of their path."""
    optimizer = torch.optim.Adam(parameters, lr=_RATE)
    total, count = [torch.zeros_like(p) for p in parameters], 0
    with torch.backends.cudnn.flags(enabled=False):  # its LSTMs go back in training mode only
        for step in range(steps):
            left = 1 - step / steps
            for group in optimizer.param_groups:
                group["lr"] = _RATE * min(1.0, 3 * left)
            with torch.enable_grad():
                weights = log_weights(sampler.traces(size, "summed").terms(plate))
                grads = torch.autograd.grad(weights.mean(0).sum(), parameters)
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = -grad
            optimizer.step()
            if left <= 1 / 3:
                count += 1
                for kept, parameter in zip(total, parameters, strict=True):
                    kept += parameter
    for kept, parameter in zip(total, parameters, strict=True):
        parameter.copy_(kept / max(count, 1))


def _bound(sampler: Sampler, plate: Any, seed: int) -> Tensor:
    with seeded(seed):
        parts = [log_weights(t.terms(plate)) for t in sampler.chunks(_JUDGES, "summed")]
    return stack_draws(parts).mean(0)


class _Move:
    """A shift (in units of the encoder's scale) and a log stretch of each number of a site."""

    def __init__(self, base: Any, mask: Tensor | None) -> None:
        # a guide that is sure, and wrong, must not take a thousand steps: no unit under this one
        loc = base.loc if mask is None else base.loc[mask.expand(base.loc.shape)]
        least = 0.1 * loc.std() if loc.numel() > 1 else 0.0
        self.unit = base.scale.clamp(min=float(least)).clone()
        self.shift = torch.zeros_like(base.loc).requires_grad_()
        self.stretch = torch.zeros_like(base.loc).requires_grad_()

    @staticmethod
    def of(site: Site) -> _Move | None:
        """Make a move for a site of location and scale, None for any other."""
        fn = unwrapped(site["fn"], (Independent, MaskedDistribution))
        fits = set(getattr(fn, "arg_constraints", ())) == {"loc", "scale"} and fn.has_rsample
        return _Move(fn, mask_of(site)) if fits else None

    @property
    def parameters(self) -> Iterable[Tensor]:
        return self.shift, self.stretch

    def __call__(self, fn: Any) -> Any:
        if isinstance(fn, Independent):
            return Independent(self(fn.base_dist), fn.reinterpreted_batch_ndims)
        if isinstance(fn, MaskedDistribution):
            return MaskedDistribution(self(fn.base_dist), fn._mask)
        return type(fn)(fn.loc + self.unit * self.shift, fn.scale * self.stretch.exp())


class _Moving(Messenger):
    """Moves the named sites of a guide."""

    def __init__(self, moves: dict[str, _Move]) -> None:
        super().__init__()
        self.moves = moves

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.moves and not msg["is_observed"]:
            msg["fn"] = self.moves[msg["name"]](msg["fn"])
