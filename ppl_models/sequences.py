"""Sequences as tensors (..., T, D): the past of each frame, padding, gaps, checks; their models.

Two different things may be missing, and have two arguments:

* ``mask`` (B, T): which frames *exist*, the first ones of each row. Others are padding: they have
  no latent, and count in nothing.
* ``observed`` (B, T) or (B, T, D): which frames, or which numbers, were *seen*. A frame in a gap
  exists: its latents count in the bound, and what was not seen there can be imputed.

What stands where nothing exists or was seen, NaN included, reaches neither value nor gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyro
import torch
from pyro.distributions import MaskedDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError

Moments = tuple[Tensor, Tensor]
"""Mean and scale of a diagonal Normal."""

Mask = Tensor | None
"""Which frames exist, or which numbers were seen, as bools; None if all."""


def shift(x: Tensor) -> Tensor:
    """Return x_{t-1} at frame t, zeros at the first: (..., T, D) -> (..., T, D)."""
    return torch.cat([torch.zeros_like(x[..., :1, :]), x[..., :-1, :]], -2)


def clean(s: Tensor, mask: Tensor | None, observed: Tensor | None = None) -> Tensor:
    """Return s with zeros where nothing exists, or was seen, so that nothing there is read.

    ``observed`` (..., T, D) is that of `numbers_seen`, in which the mask is included.
    """
    if observed is not None:
        return torch.where(observed, s, torch.zeros_like(s))
    return s if mask is None else torch.where(mask[..., None], s, torch.zeros_like(s))


def numbers_seen(s: Tensor, mask: Tensor | None, observed: Tensor | None) -> Tensor | None:
    """Return which numbers (..., T, D) of existing frames were seen; None if all of them were.

    ``observed`` is (..., T) or (..., T, D).

    Raises
    ------
    InputError
        It has another shape, or is not of booleans.
    """
    if observed is None:
        return None
    if observed.dtype != torch.bool or observed.shape not in (s.shape, s.shape[:-1]):
        found, cure = f"{tuple(observed.shape)}, {observed.dtype}", "observed=~s.isnan()"
        shapes = f"{tuple(s.shape[:-1])} or {tuple(s.shape)}, torch.bool"
        raise InputError("observed", found, shapes, cure)
    numbers = observed if observed.shape == s.shape else observed[..., None].expand(s.shape)
    return numbers if mask is None else numbers & mask[..., None]


def ends(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the index of each path's last existing frame in tensors (B, T, ...)."""
    return torch.arange(len(mask), device=mask.device), mask.sum(-1).clamp(min=1) - 1


def read_paths(
    s: Tensor, mask: Tensor | None, observed: Tensor | None, data_dim: int
) -> tuple[Tensor, Tensor]:
    """Check as `check_paths`; return s, zero where nothing was seen, and where (B, T, D) it was."""
    check_paths(s, mask, data_dim, observed)
    everything = torch.ones_like(s, dtype=torch.bool)
    seen = numbers_seen(s, mask, everything if observed is None else observed)
    assert seen is not None
    return clean(s, None, seen), seen


class Seen(MaskedDistribution):
    """Numbers of which only those that were seen count: the others exist, and can be predicted."""

    hides_existing = True  # which diagnostics ask


def masked(frames: Any, mask: Tensor | None, observed: Tensor | None = None) -> Any:
    """Return a distribution of numbers, batch (..., T, D), in which only what was seen counts."""
    numbers = frames if observed is None else Seen(frames, observed)
    return numbers if mask is None else numbers.mask(mask[..., None])


def masked_frames(frames: Any, mask: Tensor | None, observed: Tensor | None = None) -> Any:
    """Return a distribution of frames, batch (..., T), in which only what was seen counts.

    Where numbers ``observed`` (..., T, D) are given, it is of independent numbers.
    """
    numbers = frames if observed is None else Seen(frames.base_dist, observed).to_event(1)
    return numbers if mask is None else numbers.mask(mask)


def hold(s: Tensor, observed: Tensor) -> Tensor:
    """Fill each number (..., T, D) that was not seen with the last one seen before it.

    Where there is none, with the first one seen; with 0 where none was seen at all.
    """
    frames = torch.arange(s.shape[-2], device=s.device)[:, None].expand(s.shape)
    last = torch.where(observed, frames, torch.full_like(frames, -1)).cummax(-2).values
    first = observed.to(torch.uint8).argmax(-2, keepdim=True)
    return clean(s, None, observed).gather(-2, torch.where(last < 0, first, last))


def draw(moments: Moments) -> Tensor:
    """Draw from N(mean, diag scale^2), reparametrised."""
    mean, scale = moments
    return mean + scale * torch.randn_like(mean)


def check_paths(
    s: Tensor,
    mask: Tensor | None,
    data_dim: int,
    observed: Tensor | None = None,
    argument: str = "s",
) -> None:
    """Raise InputError unless s is (B, T, D), finite where it exists and was seen.

    The mask (B, T) must have existing frames first; ``observed`` is (B, T) or (B, T, D).
    ``argument`` is what the data are called in an error.
    """
    if s.dim() != 3 or s.shape[-1] != data_dim or 0 in s.shape:
        wanted, cure = f"(paths, frames, {data_dim})", "stack padded paths, and pass a mask"
        raise InputError(argument, f"shape {tuple(s.shape)}", wanted, cure)
    if mask is not None:
        check_mask(s, mask)
    _check_finite(s, mask, numbers_seen(s, mask, observed), argument)


def _check_finite(s: Tensor, mask: Tensor | None, observed: Tensor | None, argument: str) -> None:
    bad = ~clean(s, mask, observed).isfinite()
    if not bool(bad.any()):
        return
    row, frame, d = (int(i) for i in bad.nonzero()[0])
    nan = bool(s[row, frame, d].isnan())
    found = f"{'NaN' if nan else 'an infinite number'} in sequence {row}, frame {frame}, number {d}"
    found = f"{found} (of {len(s)} sequences)"
    cure = f"observed={'~s.isnan()' if nan else 's.isfinite()'}"
    cure = f"{cure} says which numbers were seen; mask=, which frames exist"
    raise InputError(argument, found, "finite numbers, but for those that were not seen", cure)


def check_mask(s: Tensor, mask: Tensor) -> None:
    """Raise InputError unless the mask (B, T) of s (B, T, ...) has existing frames first."""
    if mask.shape != s.shape[:2] or mask.dtype != torch.bool:
        found, wanted = f"{tuple(mask.shape)}, {mask.dtype}", f"{tuple(s.shape[:2])}, torch.bool"
        raise InputError("mask", found, wanted, "give True for every frame that exists")
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        found, wanted = "a frame after a missing one", "the existing frames first, then padding"
        cure = "pass observed=mask, and no mask: frames of a gap exist, and were not seen"
        raise InputError("mask", found, wanted, cure)


class Frames(NamedTuple):
    """A batch of sequences, as `SequenceModel.path` takes it."""

    length: int
    """T."""
    s: Tensor | None
    """(B, T, D); None to simulate."""
    mask: Tensor | None
    """(B, T): frames that exist."""
    observed: Tensor | None
    """(B, T, D): numbers that were seen, of existing frames; None if all of them were."""


@contextmanager
def sequence_plate(
    s: Tensor | None,
    mask: Tensor | None,
    data_dim: int,
    size: int = 1,
    length: int = 60,
    *,
    observed: Tensor | None = None,
    argument: str = "s",
) -> Iterator[Frames]:
    """Enter the plate ``data`` of B sequences s (B, T, D), or of ``size``; yield them.

    ``argument`` is what the data are called in an error.

    Raises
    ------
    InputError
        s, its mask (B, T) and ``observed`` are not as `check_paths` asks.
    """
    if s is None:
        frames = Frames(length, None, mask, None)
    else:
        check_paths(s, mask, data_dim, observed, argument)
        size, length = s.shape[:2]
        frames = Frames(length, s, mask, numbers_seen(s, mask, observed))
    with pyro.plate("data", size, dim=-1):
        yield frames


class SequenceModel(nn.Module):
    """A model of sequences s (B, T, D), independent of one another: they are rows of a plate.

    Attributes
    ----------
    data_dim : int
        D.
    """

    data_dim: int

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Score B sequences s (B, T, D); without them, simulate ``size`` of ``length`` frames.

        ``mask`` (B, T) says which frames exist, the first ones of each row, and ``observed``
        (B, T) or (B, T, D) which frames or numbers were seen: all by default. What stands
        elsewhere, NaN included, reaches neither value nor gradient.

        Raises
        ------
        InputError
            ``s`` is not (B, T, D), is NaN where it was seen, or cannot be data of the model, or
            the mask has a hole.
        """
        with sequence_plate(s, mask, self.data_dim, size, length, observed=observed) as frames:
            gaps = {} if frames.observed is None else {"observed": frames.observed}
            return self.path(frames.length, frames.s, frames.mask, **gaps)[1]

    def path(
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor]:
        """Sample one sequence in each place of the enclosing plates; return its latents and s.

        ``observed`` (..., T, D) is that of `numbers_seen`.
        """
        raise NotImplementedError
