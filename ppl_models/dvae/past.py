"""What a dynamical VAE reads of the past, at once or frame by frame, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


class Memory:
    """The states of a model's recurrent parts between frames.

    A part that is asked through it (``past.memory(self.recurrence, x)``) reads a whole sequence, or
    goes one frame on from where it stopped. It needs ``start(batch, like)`` and ``step(x, state)``,
    which returns a state whose first entry is the output.
    """

    def __init__(self, stepwise: bool = False) -> None:
        self.stepwise, self._states = stepwise, dict[nn.Module, Any]()

    def __call__(self, part: Any, x: Tensor) -> Tensor:
        """Return the part's outputs (..., T, H) for inputs (..., T, F)."""
        if not self.stepwise:
            out: Tensor = part(x)
            return out
        state = self._states.get(part)
        state = part.start(x.shape[:-2], x) if state is None else state
        self._states[part] = state = part.step(x[..., 0, :], state)
        return state[0][..., None, :]

    def follow(self, move: Callable[[Tensor], Tensor]) -> None:
        """Put every tensor of the states through ``move``, which reorders a batch."""
        self._states = {part: tree_map_only(Tensor, move, s) for part, s in self._states.items()}


class Past(NamedTuple):
    """What came before T frames: at frame t, the features of s_{t-1}, and z_{t-1}."""

    s: Tensor
    """(..., T, F): what networks read of frames, zeros before the first."""
    z: Tensor
    """(..., T, L)"""
    w: Tensor | None
    """(..., 1, W): the code of the whole sequence, in models that have one."""
    memory: Memory
    mask: Tensor | None = None
    """(..., T), where T is the whole length: the frames that exist."""


class Rolled(NamedTuple):
    """A sequence and what led to it: h (..., T, H), z, s, and the emission's outputs."""

    h: Tensor | None
    z: Any
    s: Any
    raw: Any
    """(..., T, likelihood.raw_dim)"""


def joined(frames: Sequence[Any]) -> Any:
    """Return one tensor (..., T, F) of T tensors (..., 1, F); None of Nones."""
    return None if frames[0] is None else torch.cat(list(frames), -2)
