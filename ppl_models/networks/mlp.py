"""The few networks that models and guides share.

Every network here takes any number of leading batch dims: the plates around a model decide
them, and the outer dim of posterior draws, if there is one, comes on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ppl_models.networks.lstm import LSTM as LSTM


class MLP(nn.Sequential):
    """Linear layers of the given sizes with an activation between them, none after the last.

    Parameters
    ----------
    *sizes : int
        Sizes of input, hidden layers and output; at least two.
    activation : type of nn.Module
        Made once between each two layers.

    Shapes: (..., sizes[0]) -> (..., sizes[-1]).

    Raises
    ------
    ValueError
        Fewer than two sizes, or a size below one.
    """

    def __init__(self, *sizes: int, activation: type[nn.Module] = nn.Tanh) -> None:
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(
                f"MLP needs two or more sizes of at least 1 (input, ..., output), got {sizes}"
            )
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
        super().__init__(*layers[:-1])


def split_normal(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Read a network's outputs (..., 2 L) as means and log scales: return two of (..., L)."""
    loc, log_scale = raw.chunk(2, dim=-1)
    return loc, log_scale.exp()


class OneHot(nn.Module):
    """Classes (..., D) to floats (..., D C), a one for each class."""

    unit: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.width = num_classes
        self.register_buffer("unit", torch.ones(()), persistent=False)  # knows dtype and device

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        return nn.functional.one_hot(x.long(), self.width).to(self.unit.dtype).flatten(-2)


class Rescale(nn.Module):
    """Levels 0, ..., n - 1 (..., D) to floats in [-1, 1]."""

    step: Tensor

    def __init__(self, num_levels: int) -> None:
        super().__init__()
        self.register_buffer("step", torch.tensor(2 / (num_levels - 1)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        return x.to(self.step.dtype) * self.step - 1


class ResidualMLP(nn.Sequential):
    """An MLP whose hidden layers after the first add to what they read: h + f(norm(h)).

    With layer normalisation in front of each (He et al. 2016; Ba, Kiros and Hinton 2016) such a
    network learns several times faster than a plain one of the same size.

    Parameters
    ----------
    *sizes : int
        Sizes of input, hidden layers (all the same) and output; at least three.
    activation : type of nn.Module
        Made once a hidden layer.

    Shapes: (..., sizes[0]) -> (..., sizes[-1]).

    Raises
    ------
    ValueError
        Fewer than three sizes, a size below one, or hidden layers of different sizes.
    """

    def __init__(self, *sizes: int, activation: type[nn.Module] = nn.SiLU) -> None:
        if len(sizes) < 3 or min(sizes) < 1 or len(set(sizes[1:-1])) > 1:
            raise ValueError(
                "ResidualMLP needs three or more sizes of at least 1 (input, ..., output), the "
                f"hidden ones all the same, got {sizes}"
            )
        width = sizes[1]
        blocks = [_Residual(width, activation()) for _ in sizes[2:-1]]
        first, last = nn.Linear(sizes[0], width), nn.Linear(width, sizes[-1])
        super().__init__(first, activation(), *blocks, last)


class _Residual(nn.Module):
    """h + activation(linear(norm(h)))."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.norm, self.linear, self.activation = (
            nn.LayerNorm(width),
            nn.Linear(width, width),
            activation,
        )

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.activation(self.linear(self.norm(h)))
        return out


class Conditional(nn.Module):
    """A network of two inputs, a context c and a value u, with tanh layers.

    What c adds to the first layer is computed for all frames at once (`project`); a loop in which u
    is fed back pays for the rest (`step`).

    Parameters
    ----------
    context_dim, input_dim : int
        Sizes of c and u. An `input_dim` of 0 leaves u out.
    hidden_dims : sequence of int
        Sizes of the hidden layers; without any, the network is linear.
    out_dim : int
        Size of the output.

    Shapes: (..., context_dim), (..., input_dim) -> (..., out_dim); leading dims broadcast.
    """

    def __init__(
        self, context_dim: int, input_dim: int, hidden_dims: Sequence[int], out_dim: int
    ) -> None:
        super().__init__()
        first, *_ = sizes = (*hidden_dims, out_dim)
        self.context = nn.Linear(context_dim, first)
        self.input = nn.Linear(input_dim, first, bias=False) if input_dim else None
        self.head = nn.Sequential(nn.Tanh(), MLP(*sizes)) if hidden_dims else nn.Identity()

    def forward(self, context: Tensor, u: Tensor | None = None) -> Any:
        """Return the output (..., out_dim)."""
        return self.step(self.project(context), u)

    def project(self, context: Tensor) -> Tensor:
        """Return what the context adds to the first layer, bias included (..., hidden[0])."""
        return self.context(context)

    def step(self, projected: Tensor, u: Tensor | None = None) -> Any:
        """Return the output from the projected context and u."""
        if self.input is not None and u is not None:
            projected = projected + self.input(u)
        return self.head(projected)


class ConditionalNormal(Conditional):
    """Mean and scale of N(mean(c, u), diag scale(c, u)^2): a `Conditional` of 2 out_dim outputs.

    Parameters
    ----------
    context_dim, input_dim, hidden_dims
        Those of `Conditional`.
    out_dim : int
        Size of the mean.
    floor : float
        Added to the variance as floor^2, its least value.

    Shapes: (..., context_dim), (..., input_dim) -> two of (..., out_dim); leading dims broadcast.
    """

    def __init__(
        self,
        context_dim: int,
        input_dim: int,
        hidden_dims: Sequence[int],
        out_dim: int,
        *,
        floor: float = 0.0,
    ) -> None:
        super().__init__(context_dim, input_dim, hidden_dims, 2 * out_dim)
        self.floor = floor

    def step(self, projected: Tensor, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and scale from the projected context and u."""
        return self.split(super().step(projected, u))

    def split(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale from the last layer's outputs (..., 2 out_dim)."""
        mean, log_variance = raw.chunk(2, dim=-1)
        if self.floor:
            return mean, (log_variance.exp() + self.floor**2).sqrt()
        return mean, (0.5 * log_variance).exp()


def together(*parts: Tensor) -> Tensor:
    """Concatenate (..., F_i) along the last dim, leading dims broadcast."""
    shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*shape, -1) for part in parts], -1)
