"""Canonical correlation analysis of several sets of numbers, as an eigenvalue problem.

References
----------
Kettenring, "Canonical Analysis of Several Sets of Variables", Biometrika 58, 1971, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ppl_models.errors import InputError


class MaxVar(NamedTuple):
    """What `maxvar` finds, in double precision."""

    weights: tuple[Tensor, ...]
    """By set, (D_m, L): canonical directions."""
    strengths: Tensor
    """(L,), largest first: eigenvalues, M where sets agree perfectly and 1 where nothing is shared;
    of two sets 1 plus the canonical correlation."""
    variates: Tensor
    """(N, L): the shared variates, uncorrelated and of variance 1."""


def maxvar(sets: Sequence[Tensor], latent_dim: int, ridge: float = 0.0) -> MaxVar:
    r"""Return the MAXVAR solution of canonical correlation analysis of several sets.

    With S the covariance of all numbers and D its diagonal blocks, one a set, it is the largest L
    solutions of :math:`S w = \lambda D w`: the variates nearest to all sets (Kettenring 1971,
    section 4.2).

    Parameters
    ----------
    sets : sequence of Tensor
        (N, D_m) each, complete.
    latent_dim : int
        L.
    ridge : float
        Added to each set's covariance, as a share of its mean variance: for few rows.

    Raises
    ------
    InputError
        A set whose covariance is singular, or fewer numbers than L.
    """
    inverse = [halves(x, ridge)[1] for x in sets]
    white = torch.cat([centred(x) @ half for x, half in zip(sets, inverse, strict=True)], 1)
    if latent_dim > white.shape[1]:
        cure = f"latent_dim={white.shape[1]} at most"
        raise InputError("latent_dim", str(latent_dim), "at most the numbers there are", cure)
    values, vectors = torch.linalg.eigh(white.T @ white / len(white))
    strengths, top = values.flip(0)[:latent_dim], vectors.flip(1)[:, :latent_dim]
    parts = top.split([x.shape[1] for x in sets])
    weights = tuple(half @ part for half, part in zip(inverse, parts, strict=True))
    return MaxVar(weights, strengths, white @ top / strengths.sqrt())


def centred(x: Tensor) -> Tensor:
    """Return rows less their mean, in double precision."""
    return x.detach().double() - x.detach().double().mean(0)


def covariance(x: Tensor) -> Tensor:
    """Return the covariance of rows, of maximum likelihood."""
    return centred(x).T @ centred(x) / len(x)


def halves(x: Tensor, ridge: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the square root of a set's covariance, and its inverse; both symmetric.

    ``ridge`` times its mean variance is added first.

    Raises
    ------
    InputError
        The covariance is singular.
    """
    values, vectors = torch.linalg.eigh(covariance(x))
    values = values + ridge * values.mean()
    if not bool(values[0] > 1e-10 * values[-1]):
        cure = "drop numbers that are functions of others, or give more rows"
        raise InputError("x", "a set whose covariance is singular", "one of full rank", cure)
    return (vectors * values.sqrt()) @ vectors.T, (vectors * values.rsqrt()) @ vectors.T
