"""Effect handlers that collect a run's sites, and that let a batch stand for a data set."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import ImproperUniform, MaskedDistribution, Unit
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import transform_to

from inference.errors import PairError
from inference.tracing.wrappers import WRAPPERS, unwrapped


class Sites(Messenger):
    """Collect the sample sites of a run: ``poutine.trace``, and ``poutine.replay``, in one.

    It adds half as much to a step's time in plain torch as Pyro's traces do, and checks nothing.

    Parameters
    ----------
    draws
        Sites of another run, whose values the latent sites of the same names take.
    """

    def __init__(self, draws: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.draws, self.sites = draws or {}, dict[str, Any]()

    def _pyro_sample(self, msg: Any) -> None:
        drawn = self.draws.get(msg["name"])
        if drawn is not None and not msg["is_observed"]:
            msg["value"], msg["infer"], msg["done"] = drawn["value"], drawn["infer"], True

    def _pyro_post_sample(self, msg: Any) -> None:
        if not msg["infer"].get("_do_not_trace"):
            self.sites[msg["name"]] = msg.copy()  # handlers further in may write to it after us


class PlateScale(Messenger):
    """Let the sites inside the data plate stand for the whole data set: N / B times each.

    A plate that subsamples itself is scaled by Pyro already, and let be.

    Parameters
    ----------
    plate
        The name of the data plate.
    data_size
        N.
    outside
        Enumerated sites outside the plate: their sum runs over products of all data, so that no
        batch of the data can estimate it.
    """

    def __init__(self, plate: str, data_size: int, outside: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.plate, self.data_size, self.outside = plate, data_size, outside

    def _pyro_sample(self, msg: Any) -> None:
        for frame in msg["cond_indep_stack"]:
            whole = frame.full_size in (None, frame.size)
            if frame.name == self.plate and whole and frame.size != self.data_size:
                if self.outside:
                    self._refuse(frame.size)
                msg["scale"] = msg["scale"] * (self.data_size / frame.size)

    def _refuse(self, size: int) -> None:
        raise PairError(
            self.outside[0],
            f"an enumerated site outside the plate '{self.plate}', "
            f"with a batch of {size} of {self.data_size} observations",
            "all observations at once: the sum over this site is not a sum over batches",
            f"batch_size={self.data_size}, or move the site into the plate or into the guide",
        )


class Unconditioned(Messenger):
    """Simulate: observed sites are drawn, as ``poutine.uncondition`` does, and nothing else is.

    What a ``pyro.deterministic`` or a ``pyro.factor`` holds is computed, never drawn: a plate
    would expand the point mass of the former to its own size a second time.

    Parameters
    ----------
    keep
        Sites that stay observed.
    """

    def __init__(self, keep: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.keep = keep

    def _pyro_sample(self, msg: Any) -> None:
        made = msg["infer"].get("_deterministic") or isinstance(msg["fn"], Unit)
        if msg["is_observed"] and not made and msg["name"] not in self.keep:
            msg["infer"].update(was_observed=True, obs=msg["value"])
            msg.update(is_observed=False, value=None, done=False)


class WholePriors(Messenger):
    """Take masks off enumerated sites, so that their prior always adds up to one.

    ``TraceEnum_ELBO`` masks what depends on an enumerated site, never the site itself: under a
    mask it has no evidence, and its posterior is its prior. Pyro's own decoding (and a mask inside
    the distribution) makes it uniform instead.
    """

    def _pyro_sample(self, msg: Any) -> None:
        if msg["infer"].get("enumerate") != "parallel" or msg["is_observed"]:
            return
        msg["mask"] = None
        while isinstance(msg["fn"], MaskedDistribution):
            msg["fn"] = msg["fn"].base_dist


class FlatPriors(Messenger):
    """Give a site with a flat prior, of which nothing can be drawn, a value of its support."""

    def _pyro_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        flat = isinstance(unwrapped(fn, WRAPPERS), ImproperUniform)
        if flat and msg["value"] is None and not msg["done"]:
            plates = [f for f in msg["cond_indep_stack"] if f.vectorized]
            batch = [1] * max((-f.dim for f in plates), default=0)
            for frame in plates:
                batch[frame.dim] = frame.size
            zeros = torch.zeros(torch.broadcast_shapes(fn.batch_shape, batch) + fn.event_shape)
            msg["value"], msg["done"] = transform_to(fn.support)(zeros), True


class SameRows(Messenger):
    """Let plates that subsample themselves choose the same rows in every run.

    Parameters
    ----------
    rows
        Indices by the name of the plate.
    """

    def __init__(self, rows: dict[str, Tensor]) -> None:
        super().__init__()
        self.rows = rows

    def _pyro_sample(self, msg: Any) -> None:
        rows = self.rows.get(msg["name"]) if site_is_subsample(msg) else None
        if rows is None:
            return
        if msg["value"] is None:
            msg["value"] = rows
        elif not torch.equal(msg["value"], rows):
            raise PairError(
                msg["name"],
                "a plate whose subsample= is another one in each run",
                "the same rows in every run, so that a datum stays what it is",
                "write subsample_size= and let Pyro choose, or choose the rows outside "
                "of model and guide and pass them as an argument",
            )
