r"""A convolutional LSTM: an LSTM at every place of a map, which also reads its neighbours.

    i, f, o, g = W_x * x_t + W_h * h_{t-1} + b
    c_t = sigmoid(f + 1) c_{t-1} + sigmoid(i) tanh(g)          h_t = sigmoid(o) tanh(c_t)

X. Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation
nowcasting", NeurIPS 2015, arXiv:1506.04214 (equation 3, without the peepholes), with the forget
bias of C. Finn, I. Goodfellow, S. Levine, NeurIPS 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]


def over_maps(part: nn.Module, maps: Tensor) -> Tensor:
    """Apply a part that takes (N, C, S, S) to maps (..., C, S, S)."""
    out: Tensor = part(maps.reshape(-1, *maps.shape[-3:]))
    return out.reshape(*maps.shape[:-3], *out.shape[1:])


def beside(*maps: Tensor) -> Tensor:
    """Put the channels of maps (..., C, S, S) together; batch dims broadcast."""
    batch = torch.broadcast_shapes(*(part.shape[:-3] for part in maps))
    return torch.cat([part.expand(*batch, *part.shape[-3:]) for part in maps], -3)


class ConvLSTM(nn.Module):
    """One convolutional LSTM over maps, flat, for any leading batch dims.

    Shapes: (..., T, in_channels S S) -> (..., T, channels S S). What is read of the maps is
    computed for all frames at once; `step` is the same equation for one frame at a time.

    Parameters
    ----------
    in_channels, channels : int
    side : int
        S.
    kernel_side : int
        Of both kernels; odd.
    """

    def __init__(self, in_channels: int, channels: int, side: int, *, kernel_side: int = 3) -> None:
        super().__init__()
        self.in_shape, self.shape = (in_channels, side, side), (channels, side, side)
        margin = kernel_side // 2
        self.read = nn.Conv2d(in_channels, 4 * channels, kernel_side, padding=margin)
        self.carry = nn.Conv2d(channels, 4 * channels, kernel_side, padding=margin, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for a sequence x (..., T, in_channels S S), from a zero state."""
        state, out = self._zeros(x.shape[:-2], x), list[Tensor]()
        for gates in self._gates(x).unbind(-4):
            state = self._move(gates, state)
            out.append(state[0])
        return torch.stack(out, -4).flatten(-3) if out else x.new_zeros(*x.shape[:-1], self._size)

    def start(self, batch: Sequence[int], like: Tensor) -> State:
        """Return the zero state (h, c), each (*batch, channels S S)."""
        h, c = self._zeros(batch, like)
        return h.flatten(-3), c.flatten(-3)

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one more frame x (..., in_channels S S)."""
        h, c = (part.unflatten(-1, self.shape) for part in state)
        h, c = self._move(self._gates(x), (h, c))
        return h.flatten(-3), c.flatten(-3)

    @property
    def _size(self) -> int:
        return self.shape[0] * self.shape[1] * self.shape[2]

    def _zeros(self, batch: Sequence[int], like: Tensor) -> State:
        zeros = like.new_zeros(*batch, *self.shape)
        return zeros, zeros

    def _gates(self, x: Tensor) -> Tensor:
        """Return what maps x (..., C S S) add to the gates (..., 4 channels, S, S)."""
        return over_maps(self.read, x.unflatten(-1, self.in_shape))

    def _move(self, gates: Tensor, state: State) -> State:
        h, c = state
        i, f, o, g = (gates + over_maps(self.carry, h)).chunk(4, -3)
        c = (f + 1).sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
