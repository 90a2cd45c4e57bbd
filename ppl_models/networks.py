"""The few networks that stories and guides share.

Every network here takes any number of leading batch dims: the plates a story is told in decide them, and the
outer dim of posterior draws, if there is one, comes on top.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


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
            raise ValueError(f"MLP needs two or more sizes of at least 1 (input, ..., output), got {sizes}")
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
        super().__init__(*layers[:-1])


class LSTM(nn.Module):
    """One LSTM layer over the last but one dim, for any leading batch dims.

    Shapes: (..., T, input_dim) -> (..., T, hidden_dim). The fused kernel of torch reads a whole sequence;
    `project` and `step` are the same equations (torch's gate order: input, forget, cell, output) for loops whose input
    comes one frame at a time.

    Parameters
    ----------
    input_dim, hidden_dim : int
    backward : bool
        Read the sequence from its end: output t then depends on inputs t, ..., T.
    """

    def __init__(self, input_dim: int, hidden_dim: int, *, backward: bool = False) -> None:
        super().__init__()
        self.hidden_dim, self.backward = hidden_dim, backward
        self.cell = nn.LSTM(input_dim, hidden_dim, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the whole sequence x (..., T, input_dim), from a zero state."""
        x = x.flip(-2) if self.backward else x
        h, _ = self.cell(x.reshape(-1, *x.shape[-2:]))
        h = h.reshape(*x.shape[:-1], self.hidden_dim)
        return h.flip(-2) if self.backward else h

    def project(self, x: Tensor) -> Tensor:
        """What input x (..., input_dim) adds to the four gates, biases included: (..., 4 hidden_dim)."""
        cell = self.cell
        return nn.functional.linear(x, cell.weight_ih_l0, cell.bias_ih_l0 + cell.bias_hh_l0)

    def start(self, batch: torch.Size, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the zero state (h, c), each (*batch, hidden_dim), of the dtype and device of `like`."""
        zeros = like.new_zeros(*batch, self.hidden_dim)
        return zeros, zeros

    def step(self, projected: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the next state (h, c) from the projected input and the last state, each (..., hidden_dim)."""
        h, c = state
        gates = projected + nn.functional.linear(h, self.cell.weight_hh_l0)
        i, f, g, o = gates.chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
