r"""An LSTM for any batch dims, and recurrences over long sequences in less memory.

Back-propagation through a recurrence takes memory linear in T. Two ways to need less, in segments
of n frames:

* *checkpointed*: of a segment only its inputs are kept, and it is run again in the backward pass.
  The gradient is the same, for one more forward pass (T. Chen et al. 2016, arXiv:1604.06174).
* *truncated*: besides, no gradient passes from a segment to the one before (truncated
  back-propagation through time; R. J. Williams, J. Peng, Neural Computation 1990). Values are the
  same. The gradient is biased: the effect of a segment on later ones, through the state that it
  hands over, is missing from it. Gradients inside a segment, and so of the first, are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ppl_models.distributions import CHECKPOINT

Tensors = tuple[Tensor, ...]


class Span(NamedTuple):
    """Segments of a recurrence.

    Parameters
    ----------
    frames : int, optional
        Of a segment; by default the whole sequence is one, and nothing is run twice.
    truncated : bool
        Cut the gradient between segments.
    """

    frames: int | None = None
    truncated: bool = False

    def cut(self, x: Tensor) -> Tensors:
        """Cut a sequence (..., T, C) into segments."""
        return (x,) if self.frames is None else x.split(self.frames, -2)

    def run(self, segment: Callable[..., Tensors], given: Tensors, *x: Any) -> Tensors:
        """Return ``segment(given, *x)``, from what the segment before handed over."""
        if self.truncated:
            given = tuple(part.detach() for part in given)
        if self.frames is None or not torch.is_grad_enabled():
            return segment(given, *x)
        out: Tensors = checkpoint(segment, given, *x, **CHECKPOINT)
        return out


def joined(segments: Sequence[Tensor]) -> Tensor:
    """Put segments (..., n, C) together: (..., T, C)."""
    return segments[0] if len(segments) == 1 else torch.cat(list(segments), -2)


def set_span(span: Span, *networks: nn.Module) -> None:
    """Let every `LSTM` in some networks read in such segments."""
    for network in networks:
        for part in network.modules():
            if isinstance(part, LSTM):
                part.span = span


class LSTM(nn.Module):
    """One LSTM layer over the last but one dim, for any leading batch dims.

    Shapes: (..., T, input_dim) -> (..., T, hidden_dim). The fused kernel of torch reads a whole
    sequence; `step` is the same equation for loops whose input comes one frame at a time.

    Parameters
    ----------
    input_dim, hidden_dim : int
    backward : bool
        Read the sequence from its end: output t then depends on inputs t, ..., T.

    Attributes
    ----------
    span : Span
        Segments in which a whole sequence is read; by default it is one.
    """

    span = Span()

    def __init__(self, input_dim: int, hidden_dim: int, *, backward: bool = False) -> None:
        super().__init__()
        self.hidden_dim, self.backward = hidden_dim, backward
        self.cell = nn.LSTM(input_dim, hidden_dim, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the outputs for the sequence x (..., T, input_dim), from a zero state.

        `mask` (..., T) says which frames exist, the first ones of each row; a backward LSTM starts
        at the last of them. A forward one never needs it.
        """
        x = _reversed(x, mask) if self.backward else x
        state: Tensors = ()
        read = list[Tensor]()
        for part in self.span.cut(x.reshape(-1, *x.shape[-2:])):
            h, *state = self.span.run(self._segment, tuple(state), part)  # type: ignore[assignment]
            read.append(h)
        h = joined(read).reshape(*x.shape[:-1], self.hidden_dim)
        return _reversed(h, mask) if self.backward else h

    def _segment(self, state: Tensors, x: Tensor) -> Tensors:
        h, state = self.cell(x, state or None)
        return h, *state

    def start(self, batch: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the zero state (h, c), each (*batch, hidden_dim), on the device of `like`."""
        zeros = like.new_zeros(*batch, self.hidden_dim)
        return zeros, zeros

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return weights of input and state (4 H, .), then their biases (4 H), as torch's cell."""
        cell: Any = self.cell
        return cell.weight_ih_l0, cell.weight_hh_l0, cell.bias_ih_l0, cell.bias_hh_l0

    def step(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the next state (h, c) from one frame x (..., input_dim) and the last state."""
        h, c = state
        return self._next(self.gates(x) + nn.functional.linear(h, self.weights()[1]), c)

    def gates(self, x: Tensor) -> Tensor:
        """Return what the first columns of the inputs, x, add to the gates, with the biases.

        What is known before a loop can so be multiplied outside of it: (..., F) -> (..., 4 H).
        """
        of_input, _, input_bias, state_bias = self.weights()
        return nn.functional.linear(x, of_input[:, : x.shape[-1]], input_bias + state_bias)

    def loop(self, start: int = 0) -> Callable[..., tuple[Tensor, Tensor]]:
        """Return `step` for a loop over frames, with what all frames read made ready once.

        Call it with inputs x (..., F) from column ``start`` on, the last state (h, c), and, where
        ``start`` is not 0, the `gates` of the columns before, which bring the biases.
        """
        of_input, of_state, input_bias, state_bias = self.weights()
        weight = torch.cat([of_input[:, start:], of_state], -1)
        bias = None if start else input_bias + state_bias

        def step(x: Tensor, state: Sequence[Tensor], gates: Any = 0.0) -> tuple[Tensor, Tensor]:
            h, c = state
            whole = nn.functional.linear(torch.cat([x, h], -1), weight, bias)
            return self._next(whole + gates if start else whole, c)

        return step

    def _next(self, gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        size = self.hidden_dim
        doors, fresh, show = gates.split([2 * size, size, size], -1)
        enter, keep = doors.sigmoid().chunk(2, -1)
        c = torch.addcmul(keep * c, enter, fresh.tanh())
        return show.sigmoid() * c.tanh(), c


def _reversed(x: Tensor, mask: Tensor | None) -> Tensor:
    """Reverse the existing frames of x (..., T, F) and leave padding; its own inverse."""
    if mask is None:
        return x.flip(-2)
    frames, count = torch.arange(x.shape[-2], device=x.device), mask.sum(-1, keepdim=True)
    index = torch.where(frames < count, count - 1 - frames, frames)[..., None]
    return x.gather(-2, index.expand(x.shape))
