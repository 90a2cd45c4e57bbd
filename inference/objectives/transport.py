"""Training a pair whose latents have no density: reconstruction, and critics in place of rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from inference.objectives.losses import LossResult, add_penalties
from inference.objectives.pair_trace import PairTrace
from inference.objectives.step import Step
from ppl_models.errors import InputError


class TransportObjective:
    r"""Minus the log likelihood at a draw of the guide, plus penalties of its codes.

    .. math:: -E_{q(z | x)} \log p(x \mid z) + \sum_i \mathrm{penalty}_i

    For pairs whose prior or posterior is implicit (draws without a density): what a rate would do,
    a critic does (`ContextCritic`, `WassersteinCritic`, `MMD`). It is **no bound**, nor is
    what epochs report, log p(x | z) at a draw, which says nothing of the prior: its columns in a
    run's history are named ``log_likelihood``, and the last weights of a run are kept, not those
    that decode best. Look at data drawn from the model.

    Tolstikhin, Bousquet, Gelly and Schoelkopf, "Wasserstein Auto-Encoders", ICLR 2018, equation 4;
    Gu, Cho, Ha and Kim, "DialogWAE", ICLR 2019, equation 5.

    Parameters
    ----------
    penalties
        Modules as those of `Objective`, one at least.

    Raises
    ------
    InputError
        There is none: then nothing ties the guide's codes to the prior.
    """

    steered = True
    figure = "log_likelihood"
    whole_batch = ("critics",)

    def __init__(self, penalties: Sequence[nn.Module] | nn.Module) -> None:
        given = (penalties,) if isinstance(penalties, nn.Module) else tuple(penalties)
        if not given:
            cure = "penalties=(ContextCritic(1.0),)"
            raise InputError("penalties", "none", "one that compares codes with the prior", cure)
        self.penalties = given

    def __repr__(self) -> str:
        return f"TransportObjective(penalties={self.penalties!r})"

    def measure(
        self,
        model: Any,
        guide: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        step: int = 0,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> LossResult:
        """Return the loss of a batch, and each penalty, in nats per observation."""
        pair = self._pair(Step.of(model, guide, args, kwargs, data_size, plate, step))
        return add_penalties((-pair.observed().mean(), None, [pair]), self.penalties)

    def after_step(self, result: LossResult) -> None:
        """Let critics learn."""
        result.update_critics(self.penalties)

    @torch.no_grad()
    def bound(
        self,
        model: Any,
        guide: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> Tensor:
        """Return log p(x | z) at a draw of the guide, (B,) in nats: no bound."""
        return self._pair(Step.of(model, guide, args, kwargs, data_size, plate)).observed()

    def report(self, step: int) -> dict[str, float]:
        """Return nothing of its own."""
        return {}

    def modules(self) -> dict[str, nn.Module]:
        """Return the penalties."""
        return {"penalties": nn.ModuleList(self.penalties)}

    def reset(self) -> None:
        """Let critics begin again."""
        for part in self.penalties:
            if callable(again := getattr(part, "reset", None)):
                again()

    def unfinished_warmup(self, step: int) -> float | None:
        """Return None: there is no weight of a rate."""
        return None

    def _pair(self, step: Step) -> PairTrace:
        with pyro.validation_enabled(False):  # Pyro's checks ask every site for its density
            return step.trace()
