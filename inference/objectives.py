"""Evidence lower bounds: what training minimises, and what is reported.

The loss may carry a weight on its KL term; the reported bound never does. Both are in nats per
observation, an observation being one element of the data plate.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.poutine.util import is_validation_enabled
from torch import Tensor

from inference.errors import NonFiniteError as NonFiniteError
from inference.errors import PairError
from inference.nonfinite import explain_nonfinite as explain_nonfinite
from inference.pathwise import pathwise_bound
from inference.perdatum import enumerated_terms, mean_field_terms, trace_terms
from inference.structure import Layout, batch_length, layout
from inference.weights import GuideKLWeight, ModelKLWeight, PlateScale

Kind = Literal["auto", "trace", "meanfield", "enum"]
Schedule = Callable[[int], float]
_ELBOS: dict[str, Any] = {
    "trace": Trace_ELBO,
    "meanfield": TraceMeanField_ELBO,
    "enum": TraceEnum_ELBO,
}
_TERMS: dict[str, Any] = {
    "trace": trace_terms,
    "meanfield": mean_field_terms,
    "enum": enumerated_terms,
}


@dataclass(frozen=True)
class Objective:
    """An evidence lower bound, and the weight of its KL term in training.

    Parameters
    ----------
    kind
        ``"trace"`` samples every latent site; ``"meanfield"`` takes KL divergences in closed form
        where they exist; ``"enum"`` sums out sites marked ``infer={"enumerate": "parallel"}``;
        ``"auto"`` is ``"enum"`` where a site is so marked, else ``"trace"``.
    kl_weight
        The weight of the log ratio of guide and prior at every latent site that the guide names; a
        number or a schedule (`inference.schedules`). Sites summed out are never weighted. Where
        the prior of a weighted site depends on an enumerated one, its density is raised to that
        power inside the sum.
    num_particles
        Draws of the guide a step, averaged.

    Raises
    ------
    ValueError
        If ``kind`` is unknown, or ``num_particles`` not positive.
    """

    kind: Kind = "auto"
    kl_weight: float | Schedule = 1.0
    num_particles: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}; expected one of {', '.join(get_args(Kind))}")
        if self.num_particles < 1:
            raise ValueError(f"num_particles is {self.num_particles}; expected at least 1")
        if not callable(self.kl_weight):
            _check_weight(self.kl_weight)

    def loss(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        step: int = 0,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> Tensor:
        """Estimate the negative weighted bound of the whole data set from a batch of it.

        Sites inside the data plate count ``data_size / B`` times, sites outside once; the sum is
        divided by ``data_size``. A model that subsamples its plate itself is left to do so.

        With Pyro's validation off, pairs whose guides draw differentiably are scored without its
        traces (`inference.pathwise`), to the same value and gradient in less time.

        Parameters
        ----------
        model, guide
            A pair, as `inference.pair.bind` returns it.
        args, kwargs
            The batch, as model and guide take it.
        step
            The training step, counted from 0, for the schedule of the KL weight.
        data_size
            Observations in the data set; by default those of the batch.
        plate
            The name of the data plate, where it should not be guessed.

        Returns
        -------
        Tensor
            A scalar to differentiate, in nats per observation. It may be non-finite:
            `explain_nonfinite` says why.

        Raises
        ------
        PairError
            A batch of a data set, but no data plate; or an enumerated site outside of it.
        """
        kwargs = kwargs or {}
        shape = layout(model, guide, args, kwargs, plate)
        model, guide, size = _scaled(model, guide, shape, batch_length(args, kwargs), data_size)
        model, guide = _weighted(model, guide, self.weight(step))
        loss = None
        if self.resolve(shape) != "enum" and shape.pathwise and not is_validation_enabled():
            loss = self._pathwise(model, guide, args, kwargs)
        if loss is None:
            with _quiet():
                loss = self._elbo(shape).differentiable_loss(model, guide, *args, **kwargs)
        return loss / size

    @torch.no_grad()
    def bound(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> Tensor:
        """Estimate the unweighted bound, per observation where the pair allows it.

        Returns
        -------
        Tensor
            Shape (B,), the bound of each observation, if every site lies in the data plate; else a
            scalar, the estimate of the whole data set's bound a `loss` of weight 1 makes. In nats
            per observation, without gradient.

        Raises
        ------
        PairError
            As `loss` does.
        """
        kwargs = kwargs or {}
        shape = layout(model, guide, args, kwargs, plate)
        if shape.local:
            return self._per_datum(model, guide, args, kwargs, shape)
        model, guide, size = _scaled(model, guide, shape, batch_length(args, kwargs), data_size)
        with _quiet():
            loss = self._elbo(shape).loss(model, guide, *args, **kwargs)
        return torch.as_tensor(-loss / size, dtype=_precision(args, kwargs))

    def weight(self, step: int = 0) -> float:
        """Return the weight of the KL term at a training step, counted from 0."""
        if not callable(self.kl_weight):
            return float(self.kl_weight)
        return _check_weight(float(self.kl_weight(step)))

    def resolve(self, shape: Layout) -> str:
        """Return the kind that ``"auto"`` stands for in a pair of this layout."""
        if self.kind == "auto":
            return "enum" if shape.enumerates else "trace"
        if shape.enumerated and self.kind != "enum":
            raise PairError(
                shape.enumerated[0],
                f"a site to sum out, in an objective of kind '{self.kind}'",
                "an objective that sums it out",
                "Objective(kind='enum'), or the default kind 'auto'",
            )
        return self.kind

    def _elbo(self, shape: Layout) -> Any:
        return _ELBOS[self.resolve(shape)](
            num_particles=self.num_particles,
            max_plate_nesting=shape.max_plate_nesting,
            strict_enumeration_warning=False,
        )

    def _pathwise(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Tensor | None:
        """Do what Pyro's class would, in less time; None where it must do it."""
        total: Any = 0.0
        for _ in range(self.num_particles):
            bound = pathwise_bound(model, guide, args, kwargs, self.kind == "meanfield")
            if bound is None:
                return None
            total = total - bound
        loss: Tensor = total / self.num_particles
        return loss

    def _per_datum(self, model: Any, guide: Any, args: Any, kwargs: Any, shape: Layout) -> Tensor:
        assert shape.plate is not None
        terms = _TERMS[self.resolve(shape)]
        total: Any = 0.0
        with _quiet():
            for traces in self._elbo(shape)._get_traces(model, guide, args, kwargs):
                total = total + terms(*traces, shape.plate.name)
        bound: Tensor = total / self.num_particles
        return bound


def _scaled(
    model: Any, guide: Any, shape: Layout, batch: int, data_size: int | None
) -> tuple[Any, Any, int]:
    """Scale a pair's sites to the data set; return it, and what to divide its bound by."""
    size, frame = _data_size(shape, batch, data_size), shape.plate
    if frame is None:
        return model, guide, size
    if frame.size == batch and frame.full_size in (None, batch) and (shape.local or size == batch):
        return model, guide, batch  # N / B of every site, divided by N
    scale = PlateScale(frame.name, size, shape.outside)
    return scale(model), scale(guide), size


def _precision(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.dtype:
    """Return the dtype of the data: of the first tensor that is no integers."""
    values = (v for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
    return next((v.dtype for v in values if v.is_floating_point()), torch.get_default_dtype())


def _weighted(model: Any, guide: Any, weight: float) -> tuple[Any, Any]:
    if weight == 1.0:
        return model, guide
    looking_back = GuideKLWeight(weight)
    return ModelKLWeight(weight, looking_back)(model), looking_back(guide)


def _check_weight(weight: float) -> float:
    if not 0 <= weight < float("inf"):
        raise ValueError(f"kl_weight is {weight}; expected a finite weight of at least 0")
    return weight


def _data_size(shape: Layout, batch: int, data_size: int | None) -> int:
    """N, by which the bound is divided."""
    frame = shape.plate
    if frame is not None:
        if frame.full_size not in (None, frame.size):
            return int(frame.full_size)
        batch = frame.size
    if data_size is not None and data_size != batch and frame is None:
        raise PairError(
            None,
            f"a batch of {batch} of {data_size} observations, and no plate of size {batch}",
            "a plate over the observations, to weigh the batch by",
            "write `with pyro.plate('data', len(x)):` around what is there once a datum, "
            "or pass all data as one batch",
        )
    return batch if data_size is None else data_size


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pyro's NaN warnings back: who calls looks at the value, and `explain_nonfinite` says."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered (NaN|[+-]inf)", UserWarning)
        yield
