r"""What a detector's score says: p(score | object) and p(score | clutter), densities on (0, 1).

Both are constant on each of J bins of equal width, with a Dirichlet prior on their masses, whose
mean is a Beta density. A score says *object or clutter* only together with whether the box lasts,
so the masses are learned with the rest of the story: given the posterior weight of "object" of each
detection, their most probable values are counts (`BinnedScores.update`), an M step in closed form.
A score that is NaN says nothing: density 1 under both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Beta, Dirichlet, constraints

from ppl_models.errors import InputError

OBJECT, CLUTTER = (3.0, 1.2), (1.2, 2.0)
"""Beta laws of the prior means: scores of objects lie high, those of clutter lower and anywhere."""


class BinnedScores(nn.Module):
    """p(score | object) and p(score | clutter), piecewise constant.

    Parameters
    ----------
    num_bins : int
        J.
    strength : float
        nu: the prior of each is Dirichlet(1 + nu mean); as many scores are worth as much.
    object_beta, clutter_beta : (float, float)
        Beta laws whose masses in the bins are the prior means, and where both start.

    Raises
    ------
    InputError
        Fewer than one bin; a strength that is not positive.
    """

    masses: Tensor
    """(2, J): of objects, then of clutter; each row sums to one."""
    prior: Tensor
    """(2, J): the masses of the prior's mean."""

    def __init__(
        self,
        num_bins: int = 20,
        *,
        strength: float = 20.0,
        object_beta: tuple[float, float] = OBJECT,
        clutter_beta: tuple[float, float] = CLUTTER,
    ) -> None:
        super().__init__()
        if num_bins < 1:
            raise InputError("num_bins", str(num_bins), "1 or more", "pass 20")
        if not strength > 0:
            raise InputError("strength", str(strength), "above 0", "pass 20.0")
        self.num_bins, self.strength = num_bins, strength
        prior = torch.stack([_bin_masses(law, num_bins) for law in (object_beta, clutter_beta)])
        self.register_buffer("prior", prior)
        self.register_buffer("masses", prior.clone())

    def given(self, clutter: Tensor) -> BinnedScore:
        """Return the distribution of scores of what is clutter, or is not: bool (...)."""
        return BinnedScore(self.masses.log()[clutter.long()])

    def log_odds(self, score: Tensor) -> Tensor:
        """Return log p(score | object) - log p(score | clutter), 0 where NaN: (...)."""
        both = self.masses.log()
        of_object, of_clutter = (BinnedScore(row).log_prob(score) for row in both)
        return of_object - of_clutter

    @torch.no_grad()
    def update(self, score: Tensor, object_weight: Tensor) -> None:
        """Set the masses to their most probable values: the M step.

        Parameters
        ----------
        score : Tensor
            (...), NaN where there is none.
        object_weight : Tensor
            (...), numbers or bool: posterior probability that the detection is of an object; the
            rest is clutter. Leave out what is no detection, or give it the score NaN.
        """
        known = ~score.isnan()
        bins, weight = bin_of(score[known], self.num_bins), object_weight[known].to(self.prior)
        for row, each in enumerate((weight, 1 - weight)):
            prior = self.strength * self.prior[row]
            counts = prior.index_add(0, bins, each)
            self.masses[row] = counts / counts.sum()

    def log_prior(self) -> Tensor:
        """Return the log density of the masses under their prior: what is added to the bound."""
        return Dirichlet(1 + self.strength * self.prior).log_prob(self.masses).sum()


class BinnedScore(TorchDistribution):
    """A number in (0, 1) whose density is constant on each of J bins of equal width.

    ``log_masses`` (..., J), which sum to one in each row. NaN has density 1; numbers at or beyond
    the ends count to the outer bins.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real

    def __init__(self, log_masses: Tensor) -> None:
        self.log_masses = log_masses
        super().__init__(log_masses.shape[:-1], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> BinnedScore:
        """Return the same distribution in each place of a larger batch."""
        return BinnedScore(self.log_masses.expand(*batch_shape, -1))

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw scores (sample_shape, batch)."""
        logits = self.log_masses.expand(*sample_shape, *self.log_masses.shape)
        bins = torch.distributions.Categorical(logits=logits).sample()
        inside = torch.rand(bins.shape, dtype=logits.dtype, device=logits.device)
        return (bins + inside) / logits.shape[-1]

    def log_prob(self, value: Tensor) -> Tensor:
        """Score numbers (...)."""
        num_bins = self.log_masses.shape[-1]
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        index = bin_of(value.nan_to_num(0.0), num_bins).expand(shape)[..., None]
        density = self.log_masses.expand(*shape, -1).gather(-1, index).squeeze(-1)
        density = density - self.log_masses.new_tensor(1 / num_bins).log()
        return torch.where(value.isnan(), torch.zeros_like(density), density)


def bin_of(score: Tensor, num_bins: int) -> Tensor:
    """Return the bin 0, ..., J - 1 of scores (...); those beyond the ends count to the outer."""
    return (score * num_bins).floor().clamp(0, num_bins - 1).long()


def _bin_masses(law: tuple[float, float], num_bins: int) -> Tensor:
    """Return the masses (J,) of a Beta law in bins of equal width, by the midpoint rule."""
    fine = (torch.arange(64 * num_bins) + 0.5) / (64 * num_bins)
    high, low = torch.tensor(law)
    masses = Beta(high, low).log_prob(fine).exp().reshape(num_bins, 64).sum(-1)
    return masses / masses.sum()
