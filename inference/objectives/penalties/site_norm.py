"""The norm of what a site of the model holds, as a penalty: SRVP's, on the steps of its state."""

from __future__ import annotations

from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives.pair_trace import PairTrace
from inference.objectives.penalties.base import Schedule, number
from inference.tracing import frame_of


class SiteNorm(nn.Module):
    r"""lambda sum_t ||v_t||_2 of a site v (..., T, D) of the model, a deterministic one too.

    The norm, not its square: it makes steps rare rather than small. ``SiteNorm("residual")`` is
    SRVP's penalty on f(h_{t-1}, z_t) (Franceschi et al. 2020, equation 8, lambda = 1). What the
    model sets to 0, as SRVP does at padding, costs nothing.

    Parameters
    ----------
    site
        A site of the model in the data plate.
    weight
        lambda: a number, or a schedule of the training step.

    Raises
    ------
    InputError
        The weight is no finite number of at least 0, and no schedule.
    """

    def __init__(self, site: str, weight: float | Schedule = 1.0) -> None:
        super().__init__()
        if not callable(weight):
            number("weight", weight, 0, above=False)
        self.site, self.weight = site, weight

    def forward(self, pair: PairTrace) -> Tensor:
        """Return the weighted norm, per observation.

        Raises
        ------
        PairError
            The model has no such site in the data plate.
        """
        weight = self.weight(pair.step) if callable(self.weight) else self.weight
        site = pair.p.get(self.site)
        if site is None or frame_of(site, pair.plate) is None:
            inside = (name for name, node in pair.p.items() if frame_of(node, pair.plate))
            cure = f"one of: {', '.join(inside)}"
            raise PairError(
                self.site, "no such site in the data plate", "a site of the model", cure
            )
        norms = site["value"].norm(dim=-1)
        return weight * pair.mean(norms.sum(-1), site)

    def extra_repr(self) -> str:
        """Return the settings: what makes a run with this penalty another run."""
        return f"{self.site!r}, weight={self.weight!r}"
