r"""Muon: steps whose matrices have equal singular values, for networks of many layers.

A gradient's matrix, after momentum, is replaced by the nearest one with orthonormal rows or columns
(a few Newton-Schulz iterations), so that no direction of a layer waits for the others. On the
stories of videos it needs fewer steps than Adam to the same bound (docs/video.md). Kernels of
convolutions count as matrices, a row an output; `torch.optim.Muon` takes none. What is no matrix,
biases and norms, gets Adam's step.

References: K. Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; J.
Bernstein and L. Newhouse 2024, "Old optimizer, new norm: an anthology", arXiv:2409.20325; D. P.
Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ppl_models.errors import InputError

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that takes singular values from 0 to 1 near 1, five times over."""
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for matrices and kernels, Adam for the rest.

    Parameters
    ----------
    parameters
        Or groups of them, as every optimiser of torch takes them.
    lr
        Of a matrix: the size of its step's singular values.
    momentum
        Nesterov's.
    adam_share
        The learning rate of what is no matrix, as a share of ``lr``.
    betas, eps
        Of Adam.

    Raises
    ------
    InputError
        A rate or a share that is not positive, or a momentum outside 0 to 1.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 5e-3,
        *,
        momentum: float = 0.95,
        adam_share: float = 0.4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        for name, value in (("lr", lr), ("adam_share", adam_share)):
            if not value > 0:
                raise InputError(name, str(value), "a number above 0", f"{name}=0.005")
        if not 0 <= momentum < 1:
            raise InputError("momentum", str(momentum), "from 0 to below 1", "momentum=0.95")
        given = {"lr": lr, "momentum": momentum, "adam_share": adam_share}
        super().__init__(parameters, {**given, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step along the gradients; return the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.ndim > 1:
                    self._of_matrix(parameter, group)
                else:
                    self._of_adam(parameter, group)
        return loss

    def _of_matrix(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, grad = self.state[parameter], parameter.grad
        assert grad is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        kept = state["momentum"].mul_(group["momentum"]).add_(grad)
        step = orthogonalised((grad + group["momentum"] * kept).flatten(1))
        share = max(1.0, step.shape[0] / step.shape[1]) ** 0.5
        parameter.add_(step.reshape(parameter.shape), alpha=-group["lr"] * share)

    def _of_adam(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, grad = self.state[parameter], parameter.grad
        assert grad is not None
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
        state["step"] += 1
        first, second = group["betas"]
        mean = state["mean"].lerp_(grad, 1 - first)
        square = state["square"].lerp_(grad * grad, 1 - second)
        step = int(state["step"])
        unbiased = (square / (1 - second**step)).sqrt_().add_(group["eps"])
        rate = group["lr"] * group["adam_share"] / (1 - first**step)
        parameter.addcdiv_(mean, unbiased, value=-rate)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return the matrix (m, n) with its singular values brought near 1; zero stays zero."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
