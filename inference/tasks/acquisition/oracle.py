"""Predictors without a network: the oracle of the archetypal generator, and Gaussian processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition.predictor import Draws, filled, normal_noise
from inference.tasks.acquisition.table import RealTable
from ppl_models.acquisition import ArchetypalAudiogram, GPAudiogram
from ppl_models.errors import InputError
from ppl_models.inputs import check_positive


class ArchetypePredictor:
    """The exact posterior of `ArchetypalAudiogram`, as exactly as there are draws: ask for 1,500.

    All people have the same draws of the prior, each with their own weights.

    Parameters
    ----------
    model : ArchetypalAudiogram
    names : sequence of str, optional
        Of the columns; x1 to xD by default.
    spread : Tensor, optional
        Standard deviations (D,) of the columns in training; by default those of the model.
    """

    def __init__(
        self,
        model: ArchetypalAudiogram,
        names: Sequence[str] | None = None,
        spread: Tensor | None = None,
    ) -> None:
        self.model = model
        archetypes = model.archetypes.detach()
        variance = archetypes.var(0, correction=0) / (len(archetypes) + 1)  # of a flat Dirichlet
        own = (variance + model.scale**2).sqrt()
        self.table = RealTable(names or archetypes.shape[1], own if spread is None else spread)

    @torch.no_grad()
    def draws(self, x: Tensor, mask: Tensor, num_samples: int = 1500, seed: int = 0) -> Draws:
        """Return draws for people x (N, D), of whom the columns in mask (N, D) were measured."""
        found = self.model.ideal(x, mask, num_samples=num_samples, seed=seed)
        loc = found.w.to(x) @ self.model.archetypes.to(x)
        raw = torch.cat([loc, torch.full_like(loc, self.model.scale)], -1)
        raw = raw[:, None].expand(-1, len(x), -1)
        z = found.w.to(x)[:, None].expand(-1, len(x), -1)
        return Draws(self.table, raw, found.weights.to(x), found.log_evidence.to(x), z)


class ProcessPredictor:
    """Gaussian processes of some groups of columns, each by itself: the two ears of an audiogram.

    Groups know nothing of one another; columns in no group are Normal with a mean and a standard
    deviation of their own.

    Parameters
    ----------
    models : sequence of GPAudiogram
        One a group, or one for all.
    groups : sequence of sequences of int
        The columns of each group, in the order of its model's.
    mean, sd : Tensor
        Of all columns in training, (D,): what is expected of those in no group; ``sd`` is also the
        standard unit.
    names : sequence of str, optional
        Of the columns; x1 to xD by default.

    Raises
    ------
    InputError
        Groups that share columns or do not fit the models, or units that are not positive.
    """

    def __init__(
        self,
        models: Sequence[GPAudiogram],
        groups: Sequence[Sequence[int]],
        mean: Tensor,
        sd: Tensor,
        names: Sequence[str] | None = None,
    ) -> None:
        self.models = list(models) * (len(groups) if len(models) == 1 else 1)
        self.groups = [list(group) for group in groups]
        flat = [column for group in self.groups for column in group]
        sizes = [model.data_dim for model in self.models]
        if sizes != [len(group) for group in self.groups] or len(set(flat)) < len(flat):
            expected = f"groups of {sizes} columns, none in two of them"
            cure = "give a model a group, or one model for groups of its own number of columns"
            raise InputError("groups", str(self.groups), expected, cure)
        for value in sd.tolist():
            check_positive("sd", value)
        self.mean, self.sd = mean, sd
        self.table = RealTable(names or len(mean), sd)

    @torch.no_grad()
    def draws(self, x: Tensor, mask: Tensor, num_samples: int = 100, seed: int = 0) -> Draws:
        """Return draws for people x (N, D), of whom the columns in mask (N, D) were measured."""
        mean, sd = self.mean.to(x), self.sd.to(x)
        own = torch.distributions.Normal(mean, sd).log_prob(filled(x, mask))
        rest = torch.ones_like(mean, dtype=torch.bool)
        loc = mean.expand(num_samples, len(x), -1).clone()
        scale, latents, bound = sd.clone(), [], torch.zeros_like(x[:, 0])
        for number, (model, group) in enumerate(zip(self.models, self.groups, strict=True)):
            q = model.posterior(x[:, group], mask[:, group])
            noise = normal_noise(num_samples, len(group), derive(seed, "group", number), q.loc)
            f = q.loc + torch.einsum("nij,sj->sni", q.scale_tril, noise)
            loc[..., group], scale[group] = f.to(x), model.log_noise.exp().to(x)
            bound += model.evidence(x[:, group], mask[:, group])
            rest[group] = False
            latents.append(f)
        bound += torch.where(mask & rest, own, 0.0).sum(-1)
        raw = torch.cat([loc, scale.expand_as(loc)], -1)
        weights = torch.full_like(loc[..., 0], 1 / num_samples)
        return Draws(self.table, raw, weights, bound, torch.cat(latents, -1))
