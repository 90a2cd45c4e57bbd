"""Markov chains for any model: the arbiter where importance weights say that a guide is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import AutoNormal
from torch import Tensor

from inference.diagnostics.arviz_adapter import Variable
from inference.diagnostics.arviz_groups import check_dims, exported
from inference.diagnostics.normal_approximation import NormalApproximation, pathfinder
from inference.errors import PairError
from inference.randomness import derive, reseed
from inference.tracing import (
    Potential,
    Sampler,
    lent_potential,
    sampling,
    stack_draws,
    unvalidated,
)

_MOST_DENSE = 100  # parameters up to which a dense mass matrix is adapted
_GUIDE_DRAWS = 1000
_PATHS = 4
Start = Callable[..., Any] | Literal["pathfinder"] | None


def mcmc(
    model: Callable[..., Any],
    *data: Any,
    start: Start = "pathfinder",
    num_samples: int = 1000,
    num_chains: int = 4,
    num_warmup: int = 500,
    target_accept: float = 0.8,
    seed: int = 0,
    progress: bool = True,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    predictive: bool = True,
    log_likelihood: bool = True,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> Any:
    """Draw from the posterior by the No-U-Turn sampler, and return the draws as an ArviZ object.

    Pyro's NUTS (Hoffman and Gelman 2014, "The No-U-Turn sampler", JMLR 15), in coordinates that
    are scaled and turned by a guide's draws, from which the chains begin. Discrete sites that are
    marked for enumeration are summed out, and drawn afterwards from their exact posterior given
    each draw. Parameters of the model (networks, ``pyro.param``) stay what they are. Densities are
    computed in double precision where the model allows that.

    Parameters
    ----------
    model, *data, **named
        Any model, and the data, as it takes them.
    start
        A fitted guide, whose draws say where to begin and how parameters are scaled. Without one,
        the best of four Pathfinder approximations, and a chain at each other mode that they found
        (so that r-hat shows it); None begins within 2 of zero, unscaled.
    num_samples
        Draws of each chain.
    num_chains
        Chains, one after the other, each of its own start.
    num_warmup
        Steps of each chain that adapt step size and mass, and are thrown away.
    target_accept
        The acceptance probability that the step size is adapted to; nearer to 1 where there are
        divergences.
    seed
        Where it begins.
    progress
        Whether to show a bar for each chain.
    coords, dims, predictive, log_likelihood, plate, chunk
        As `inference.posterior` takes them.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        The groups of `inference.posterior`, with a dim ``chain``, so that r-hat and effective
        sample sizes of ``az.summary`` mean what they say; and ``sample_stats`` with ``diverging``.

    Raises
    ------
    PairError
        The model has no continuous latent site, or a plate that subsamples itself; a discrete site
        is not marked for enumeration; no finite density is found.

    Warns
    -----
    UserWarning
        Some steps after the warm-up diverged.
    """
    _check_counts(num_samples=num_samples, num_chains=num_chains, num_warmup=num_warmup)
    guide = AutoNormal(poutine.block(model, hide_fn=_is_discrete))
    with sampling(model, guide, data, named, seed, plate) as sampler, unvalidated():
        check_dims(sampler, dims or {})
        drawn = _guide_draws(model, start, data, named, seed) if callable(start) else None
        settings = _Settings(num_samples, num_chains, num_warmup, target_accept, seed, progress)
        values, diverging = _chains(sampler, drawn, start, settings)
        total = num_samples * num_chains
        found = exported(
            sampler,
            sampler.given(values, total, "sampled", chunk),
            coords,
            dims,
            predictive=predictive,
            log_likelihood=log_likelihood,
            chains=num_chains,
            attrs={"posterior": {"sampler": "NUTS", "num_warmup": num_warmup}},
            stats={"diverging": Variable(diverging.numpy(), [])},
        )
    _tell_divergences(int(diverging.sum()), total)
    return found


def _tell_divergences(count: int, total: int) -> None:
    if count:
        warnings.warn(
            f"{count} of {total} steps diverged: parts of the posterior are hard to reach. "
            "Raise target_accept, or write the model with other (non-centred) parameters.",
            UserWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class _Settings:
    num_samples: int
    num_chains: int
    num_warmup: int
    target_accept: float
    seed: int
    progress: bool


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise PairError(name, str(count), "at least 1", f"{name}=1 or more")


def _is_discrete(site: Any) -> bool:
    if site["type"] != "sample" or site["is_observed"]:
        return False
    return bool(getattr(site["fn"], "has_enumerate_support", False))


def _guide_draws(
    model: Any, guide: Any, data: tuple[Any, ...], named: dict[str, Any], seed: int
) -> dict[str, Tensor]:
    """Return values of sites as a trace has them, (S, ...), drawn by a guide."""
    with sampling(model, guide, data, named, seed) as sampler:
        chunks = list(sampler.chunks(_GUIDE_DRAWS))
        values = {n: stack_draws([t.value(n) for t in chunks]) for n in sampler.latents}
        return {
            n: v.expand(_GUIDE_DRAWS, *v.shape[1:]).reshape(-1, *sampler.places[n].shape)
            for n, v in values.items()
        }


def _chains(
    sampler: Sampler, drawn: dict[str, Tensor] | None, start: Start, settings: _Settings
) -> tuple[dict[str, Tensor], Tensor]:
    """Return values of sites, (C S, plates..., event...), and which steps diverged, (C S,)."""
    call = sampler.model, sampler.args, sampler.kwargs
    with lent_potential(*call, sampler.nesting) as potential:
        frame = _frame(potential, drawn, start, settings)
        found = [_chain(potential, frame, chain, settings) for chain in range(settings.num_chains)]
        vectors = torch.cat([vectors for vectors, _ in found])
        values = potential.constrained(potential.split(vectors))
    diverging = torch.cat([diverging for _, diverging in found])
    return {n: _laid_out(sampler, n, v) for n, v in values.items()}, diverging


def _laid_out(sampler: Sampler, name: str, values: Tensor) -> Tensor:
    place, dtype = sampler.places[name], sampler.sites[name]["value"].dtype
    gaps = [1] * (place.nesting + place.event_dim - values.dim() + 1)
    return place.value(values.to(dtype).reshape(len(values), *gaps, *values.shape[1:]), len(values))


@dataclass(frozen=True)
class _Frame:
    """Coordinates in which the posterior is about standard: ``theta = mean + factor u``."""

    mean: Tensor
    factor: Tensor
    starts: Tensor  # (C, D), in u


def _frame(
    potential: Potential, drawn: dict[str, Tensor] | None, start: Start, settings: _Settings
) -> _Frame:
    chains = settings.num_chains
    if drawn is None and start is None:
        zero = potential.start()
        starts = torch.stack([potential.start() for _ in range(chains)])
        return _Frame(torch.zeros_like(zero), torch.eye(len(zero), dtype=zero.dtype), starts)
    if drawn is None:
        paths = [pathfinder(potential, potential.start()) for _ in range(_PATHS)]
        best = max(paths, key=lambda path: path.bound)
        modes = [best, *(path for path in paths if best.is_apart(path))]
        noise = torch.randn(chains, len(best.mean), dtype=potential.dtype)
        places = [_drawn(modes[i % len(modes)], noise[i]) for i in range(chains)]
        return _frame_at(best.mean.to(noise), best.factor.to(noise), torch.stack(places))
    draws = potential.flat(potential.unconstrained({n: drawn[n] for n in potential.shapes}))
    draws = draws[draws.isfinite().all(1)].to(potential.dtype)
    factor = _factor(draws)
    mean = draws.mean(0)
    return _frame_at(mean, factor, draws[:chains])


def _drawn(normal: NormalApproximation, noise: Tensor) -> Tensor:
    return normal.mean.to(noise) + normal.factor.to(noise) @ noise


def _frame_at(mean: Tensor, factor: Tensor, places: Tensor) -> _Frame:
    starts = torch.linalg.solve_triangular(factor, (places - mean).T, upper=False).T
    return _Frame(mean, factor, starts)


def _factor(draws: Tensor) -> Tensor:
    """Return the Cholesky factor of the draws' covariance, or of its diagonal if they are few."""
    scale = draws.std(0).clamp(min=1e-8)
    if len(draws) > 5 * draws.shape[1]:
        correlation = torch.corrcoef(draws.T).reshape(len(scale), -1)
        factor, failed = torch.linalg.cholesky_ex(correlation)
        if not int(failed):
            return scale.unsqueeze(1) * factor
    return scale.diag()


def _chain(
    potential: Potential, frame: _Frame, chain: int, settings: _Settings
) -> tuple[Tensor, Tensor]:
    """Run one chain; return its draws (S, D), and which diverged (S,)."""
    reseed(derive(settings.seed, "chain", chain))

    def energy(at: dict[str, Tensor]) -> Tensor:
        return potential(frame.mean + frame.factor @ at["u"])

    diverged: list[int] = []

    def look(kernel: NUTS, _: object, stage: str, __: int) -> None:
        if stage.startswith("Sample"):  # not MCMC.diagnostics, which needs four draws
            diverged[:] = kernel.diagnostics()["divergences"]

    kernel = NUTS(
        potential_fn=energy,
        full_mass=potential.size <= _MOST_DENSE,
        target_accept_prob=settings.target_accept,
    )
    run = MCMC(
        kernel,
        settings.num_samples,
        settings.num_warmup,
        initial_params={"u": frame.starts[chain].clone()},
        disable_progbar=not settings.progress,
        hook_fn=look,
    )
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's and Pyro's own making
        run.run()
    diverging = torch.zeros(settings.num_samples, dtype=torch.bool)
    diverging[torch.as_tensor(diverged, dtype=torch.long)] = True
    return frame.mean + run.get_samples()["u"] @ frame.factor.T, diverging
