"""A model's log density as a function of one vector of unconstrained numbers.

What Markov chains, Laplace's and path approximations stand on. Enumerated sites are summed out,
as Pyro's own Hamiltonian Monte Carlo does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pyro.infer.autoguide.initialization import init_to_uniform
from pyro.infer.mcmc.util import initialize_model
from torch import Tensor, nn

from inference.errors import PairError

Values = dict[str, Tensor]


class Potential:
    """The negative log joint density of a model's latent sites, in unconstrained coordinates.

    Parameters
    ----------
    model
        A bound model.
    args, kwargs
        The data.
    nesting
        Batch dims that its plates use.

    Attributes
    ----------
    shapes
        By continuous latent site, the shape of its unconstrained value.
    size, dtype
        D, numbers in all, and their precision.
    of_sites
        The potential of unconstrained values by site.
    transforms
        By site, from its support to unconstrained values.

    Raises
    ------
    PairError
        The model has no continuous latent site; or a plate that subsamples itself.
    """

    def __init__(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], nesting: int
    ) -> None:
        self.model, self.args, self.kwargs, self.nesting = model, args, kwargs, nesting
        start, self.of_sites, self.transforms, self.trace = self._initialised()
        if not start:
            raise PairError(
                None,
                "a model without continuous latent sites",
                "something to move in",
                "sum its discrete sites by inference.enumerated",
            )
        self.shapes = {name: value.shape for name, value in start.items()}
        self.size = sum(value.numel() for value in start.values())
        self.dtype = next(iter(start.values())).dtype

    def _initialised(self) -> tuple[Values, Callable[[Values], Tensor], dict[str, Any], Any]:
        try:
            with torch.enable_grad():
                found: Any = initialize_model(
                    self.model,
                    self.args,
                    self.kwargs,
                    max_plate_nesting=self.nesting,
                    init_strategy=init_to_uniform,
                )
        except NotImplementedError as error:
            if "subsample" not in str(error):
                raise
            raise _subsamples(None) from error
        frames = (f for s in found[3].nodes.values() for f in s.get("cond_indep_stack", ()))
        for frame in frames:
            if frame.full_size not in (None, -1, frame.size):  # by subsample=, which Pyro lets pass
                raise _subsamples(frame.name)
        return found

    def start(self, seed_values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return a vector (D,) to begin at: of uniform numbers within 2 of zero, or of values."""
        values = self._initialised()[0] if seed_values is None else self.unconstrained(seed_values)
        return self.flat(values)

    def unconstrained(self, values: Mapping[str, Tensor]) -> Values:
        """Turn values of sites into unconstrained ones; leading dims of draws are kept."""
        return {name: self.transforms[name](values[name]) for name in self.shapes}

    def constrained(self, values: Mapping[str, Tensor]) -> Values:
        """Turn unconstrained values into values of sites."""
        return {name: self.transforms[name].inv(values[name]) for name in self.shapes}

    def flat(self, values: Mapping[str, Tensor]) -> Tensor:
        """Join unconstrained values into (D,), or (S, D) where they have a leading dim more."""
        parts = []
        for name, shape in self.shapes.items():
            lead = values[name].shape[: values[name].dim() - len(shape)]
            parts.append(values[name].reshape(*lead, -1))
        return torch.cat(parts, -1)

    def split(self, vector: Tensor) -> Values:
        """Undo `flat`."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = vector.split(sizes, -1)
        return {
            name: part.reshape((*vector.shape[:-1], *shape))
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def __call__(self, vector: Tensor) -> Tensor:
        """Return the potential at (D,): plus infinity where the density is zero or not defined."""
        try:
            energy = self.of_sites(self.split(vector))
        except (ValueError, RuntimeError) as error:  # a support left, a factor not positive
            if not _is_numerical(error):
                raise
            return torch.full((), torch.inf, dtype=vector.dtype) + 0 * vector.sum()
        return torch.where(energy.isnan(), torch.full_like(energy, torch.inf), energy)

    def gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return potential and gradient at (D,)."""
        with torch.enable_grad():
            place = vector.detach().requires_grad_(True)
            energy = self(place)
            (slope,) = torch.autograd.grad(energy, place)
        return energy.detach(), slope


_NUMERICAL = "singular", "cholesky", "positive-definite", "constraint", "support", "input is not"


def _is_numerical(error: Exception) -> bool:
    return any(word in str(error).lower() for word in _NUMERICAL)


@contextmanager
def lent_potential(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], nesting: int
) -> Iterator[Potential]:
    """Lend a model's potential, in double precision if it can be computed so.

    Then it is that of a copy of the model and its data, and double precision is torch's default
    inside the block. A model that holds tensors in single precision where nobody sees them may mix
    the two, and is taken as it is.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.double)
    try:
        potential = _doubled(model, args, kwargs, nesting)
        if potential is not None:
            yield potential
            return
    finally:
        torch.set_default_dtype(before)
    yield Potential(model, args, kwargs, nesting)


def _doubled(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], nesting: int
) -> Potential | None:
    try:
        lent = copy.deepcopy(model).double()
        call = tuple(map(_double, args)), {n: _double(v) for n, v in kwargs.items()}
        potential = Potential(lent, *call, nesting)
        slope = potential.gradient(potential.start())[1]
    except PairError:
        raise
    except (RuntimeError, ValueError, TypeError):
        return None
    return potential if slope.dtype == torch.double else None


def _double(value: Any) -> Any:
    real = isinstance(value, Tensor) and value.is_floating_point()
    return value.double() if real else value


def _subsamples(plate: str | None) -> PairError:
    return PairError(
        plate,
        "a plate that subsamples itself",
        "all data at each evaluation",
        "leave subsample_size out of the plate, or give subsample= all rows, and pass all data",
    )
