"""What each value of a set says by itself: linear features of it, and Gaussian evidence."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def hide(values: Tensor, mask: Tensor) -> Tensor:
    """Return values (..., D, V) with zeros where the mask (..., D) is False."""
    return torch.where(mask[..., None], values, torch.zeros_like(values))


class ColumnEmbedding(nn.Module):
    """An affine map of each value to features (..., D, H), its matrix that of its column.

    Every form of [x, identity] followed by one linear layer is such a map; computed as one, it does
    not cost more for a larger identity.

    Parameters
    ----------
    data_dim, value_dim : int
        D, and V numbers a value.
    width : int
        H.
    """

    def __init__(self, data_dim: int, value_dim: int, width: int) -> None:
        super().__init__()
        self.data_dim, self.value_dim, self.width = data_dim, value_dim, width

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return matrices (D or 1, V, H) and offsets (D, H)."""
        raise NotImplementedError

    def forward(self, values: Tensor) -> Tensor:
        """Return features (..., D, H) of values (..., D, V)."""
        matrix, offset = self.affine()
        if self.value_dim == 1:
            return torch.addcmul(offset, values, matrix[:, 0])
        return (
            torch.einsum("...dv,dvh->...dh", values, matrix.expand(self.data_dim, -1, -1)) + offset
        )


class PlusEmbedding(ColumnEmbedding):
    """Linear layer of [x_d, x_d e_d, b_d]; for V numbers a value, x_d e_d is their sum with e_dv.

    Parameters
    ----------
    data_dim, value_dim, width
        Those of `ColumnEmbedding`.
    embedding_dim : int
        Size of e_d.
    """

    def __init__(self, data_dim: int, value_dim: int, width: int, embedding_dim: int) -> None:
        super().__init__(data_dim, value_dim, width)
        self.identity = nn.Parameter(torch.randn(data_dim, value_dim, embedding_dim))
        self.bias = nn.Parameter(torch.randn(data_dim, 1))
        self.linear = nn.Linear(value_dim + embedding_dim + 1, width)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return matrices (D, V, H) and offsets (D, H)."""
        of_value, of_product, of_bias = self.linear.weight.T.split(
            [self.value_dim, self.identity.shape[-1], 1]
        )
        matrix = of_value + self.identity @ of_product
        return matrix, torch.addmm(self.linear.bias, self.bias, of_bias)


class PlainEmbedding(ColumnEmbedding):
    """Linear layer of [x_d, e_d].

    Parameters
    ----------
    data_dim, value_dim, width
        Those of `ColumnEmbedding`.
    embedding_dim : int or None
        Size of e_d, which is learned; None takes d as a one-hot vector for it.
    """

    one_hot: Tensor

    def __init__(
        self, data_dim: int, value_dim: int, width: int, embedding_dim: int | None
    ) -> None:
        super().__init__(data_dim, value_dim, width)
        self.identity = None
        if embedding_dim is not None:
            self.identity = nn.Parameter(torch.randn(data_dim, embedding_dim))
        self.linear = nn.Linear(value_dim + (embedding_dim or data_dim), width)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return matrices (1, V, H) and offsets (D, H)."""
        weight, bias = self.linear.weight.T, self.linear.bias
        of_value, of_identity = weight[: self.value_dim], weight[self.value_dim :]
        offset = of_identity if self.identity is None else self.identity @ of_identity
        return of_value[None], offset + bias
