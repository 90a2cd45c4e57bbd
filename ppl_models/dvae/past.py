"""What a dynamical VAE reads of the past, for all frames at once or frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


class Memory:
    """The states of a model's recurrent parts between frames.

    A part that is called through it (``past.memory(self.recurrence, x)``) reads a whole sequence,
    or goes one frame on from where it stopped. It needs ``start(batch, like)`` and
    ``step(x, state)``, which returns a state whose first entry is the output.

    Parameters
    ----------
    stepwise : bool
        Whether parts go frame by frame.
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
    """(..., T, F): features of s_{t-1}, which networks read; zeros before the first frame."""
    z: Tensor
    """(..., T, L)"""
    w: Tensor | None
    """(..., 1, W): the global latent, in models that have one."""
    memory: Memory
    mask: Tensor | None = None
    """(..., T), where T is the whole length: the frames that exist."""
    frame: Tensor | None = None
    """(..., T, D): s_{t-1} itself, for likelihoods that read the past."""
    frame_features: Tensor | None = None
    """(..., T, F): features of `frame`; those in `s` may be of an estimate of it."""
    t: int = 0
    """Index of the first of the T frames."""

    def at(self, t: int, batch: Sequence[int], now: Past) -> Past:
        """Return frame t of a known sequence, at z_{t-1}, w and states that another past has.

        ``batch`` is what all batch dims expand to.
        """

        def row(x: Tensor | None) -> Any:
            return None if x is None else x[..., t : t + 1, :].expand(*batch, 1, -1)

        frame, features = row(self.frame), row(self.frame_features)
        return now._replace(s=row(self.s), frame=frame, frame_features=features, t=t)


class Rollout(NamedTuple):
    """A sequence generated frame by frame: h (..., T, H), z, s, and the emission's outputs."""

    h: Tensor | None
    z: Any
    s: Any
    raw: Any
    """(..., T, likelihood.raw_dim)"""


def joined(frames: Sequence[Any]) -> Any:
    """Return one tensor (..., T, F) of T tensors (..., 1, F); None of Nones."""
    return None if frames[0] is None else torch.cat(list(frames), -2)
