"""Pairs of data that have a label in common, and pairs of which a part is lost."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.errors import InputError


def partners(labels: Tensor, others: Tensor, seed: int = 0) -> Tensor:
    """Choose for each datum another one with the same label.

    Of the others of one label all are taken before one is taken again, in a random order.

    Parameters
    ----------
    labels, others
        Labels of the data (N,), and of those to choose from (P,).
    seed
        Of the choice.

    Returns
    -------
    Tensor
        (N,), rows of the others: ``others[partners(labels, others)]`` equals ``labels``.

    Raises
    ------
    InputError
        A label that none of the others has.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.empty(len(labels), dtype=torch.long)
    for label in labels.unique():
        mine, theirs = (labels == label).nonzero()[:, 0], (others == label).nonzero()[:, 0]
        if not len(theirs):
            found, cure = f"none of label {int(label)}", "leave out data without a partner"
            raise InputError("others", found, "one at least of every label", cure)
        rounds = -(-len(mine) // len(theirs))
        order = [torch.randperm(len(theirs), generator=generator) for _ in range(rounds)]
        chosen[mine] = theirs[torch.cat(order)[: len(mine)]]
    return chosen


def broken_pairs(num_rows: int, share: float, modalities: int = 2, seed: int = 0) -> Tensor:
    """Break a share of rows: of each one modality is left, any of them as likely.

    Parameters
    ----------
    num_rows
        N.
    share
        Of the rows to break, from 0 to 1.
    modalities
        M.
    seed
        Of which, and of what is left.

    Returns
    -------
    Tensor
        (N, M) bool, True for present: a ``mask``.

    Raises
    ------
    InputError
        A share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise InputError("share", f"{share}", "a share, from 0 to 1", "0.99 breaks 99 in a hundred")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_rows, generator=generator)[: round(share * num_rows)]
    left = torch.randint(modalities, (len(order),), generator=generator)
    mask = torch.ones(num_rows, modalities, dtype=torch.bool)
    mask[order] = left[:, None] == torch.arange(modalities)
    return mask
