"""A table in which a measurement that tells nothing by itself is the best one to begin with.

CUBE-NM, a trap for policies that look one step ahead: a context says which of K blocks of columns
is about the label; the other blocks are coin flips. The context is independent of the label, so
alone it tells nothing of it; a column of a block tells a little, whichever block it is. Here all
columns are classes, so that every posterior is a finite sum::

    context ~ Uniform(1..K)      label ~ Uniform(1..2^B)
    block k, column j: bit j of the label, flipped with a small probability, if k is the context;
                       a fair coin otherwise

Measuring the context and then its block takes B + 1 measurements; searching the blocks takes more.

Reference: "AFABench: A Generic Framework for Benchmarking Active Feature
Acquisition", 2025, arXiv:2508.14734 (there with real columns, five contexts and blocks of ten);
after the cube of Rückstiess, Osendorfer and van der Smagt, "Sequential Feature Selection for
Classification", AI 2011.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.inputs import check_count


class Cube(NamedTuple):
    """Rows of the table."""

    x: Tensor
    """Classes as floats (N, K B + 2): the context, K blocks of B bits, and the label at last."""
    names: tuple[str, ...]
    """Of the columns: context, b1.1 to bK.B, label."""


def cube(
    size: int, *, num_contexts: int = 5, num_bits: int = 3, flip: float = 0.05, seed: int = 0
) -> Cube:
    """Draw ``size`` rows.

    Parameters
    ----------
    size
        N.
    num_contexts, num_bits
        K and B.
    flip
        Probability that a bit of the right block is wrong, below 0.5.
    seed

    Raises
    ------
    InputError
        A number that counts something below one, or another probability.
    """
    check_count("size", size)
    check_count("num_contexts", num_contexts)
    check_count("num_bits", num_bits)
    if not 0 <= flip < 0.5:
        cure = "flip=0 for no noise; at 0.5 nothing tells of the label"
        raise InputError("flip", str(flip), "a probability from 0 to below 0.5", cure)
    rng = np.random.default_rng(seed)
    context, label = rng.integers(num_contexts, size=size), rng.integers(2**num_bits, size=size)
    blocks = rng.integers(2, size=(size, num_contexts, num_bits))
    bits = (label[:, None] >> np.arange(num_bits)) & 1
    blocks[np.arange(size), context] = bits ^ (rng.random((size, num_bits)) < flip)
    columns = [context[:, None], blocks.reshape(size, -1), label[:, None]]
    names = [f"b{k + 1}.{j + 1}" for k in range(num_contexts) for j in range(num_bits)]
    x = torch.from_numpy(np.concatenate(columns, 1)).float()
    return Cube(x, ("context", *names, "label"))
