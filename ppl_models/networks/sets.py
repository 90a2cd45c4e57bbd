"""Networks that read a set: the values observed in a row, and which columns they are of.

Each maps values (..., D, V), V numbers a value, and a mask (..., D) of what was observed to one
vector (..., out_dim). What stands where the mask is False reaches nothing, and the order of columns
does not matter: permuted together with what a network knows of each column, they give the same.

===================  ==================================================================
"pointnet-plus"      `PointNetPlus`: [x, x e_d, b_d], identities e_d and b_d learned
"pointnet"           `PointNet`: [x, e_d]
"one-hot"            `OneHotSet`: [x, d as one-hot]
"zeros"              `ZerosAndMask`: the row with zeros for what is missing, and the mask
"attention"          `AttentionSet`: what was observed attends to itself
===================  ==================================================================

References
----------
Ma, Tschiatschek, Palla, Hernandez-Lobato, Nowozin and Zhang, "EDDI: Efficient Dynamic Discovery of
High-Value Information with Partial VAE", ICML 2019, arXiv:1809.11142, section 3.2.
Qi, Su, Mo and Guibas, "PointNet: Deep Learning on Point Sets for 3D Classification and
Segmentation", CVPR 2017.
Zaheer et al., "Deep Sets", NeurIPS 2017.
Lee et al., "Set Transformer", ICML 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ppl_models.errors import InputError, unknown
from ppl_models.networks.mlp import MLP
from ppl_models.networks.set_embedding import (
    ColumnEmbedding,
    PlainEmbedding,
    PlusEmbedding,
    hide,
)

READERS = ("pointnet-plus", "pointnet", "one-hot", "zeros", "attention")


class PointNet(nn.Module):
    r"""A network h reads each observed value and its column; what it says is summed.

    .. math:: c = D^{-1/2} \sum_{d \in O} h(x_d, d)

    Parameters
    ----------
    data_dim, value_dim : int
        D, and V numbers a value.
    out_dim : int
        Width of h and size of c.
    embedding_dim : int
        Size of the learned identity of each column.
    num_layers : int
        Layers of h, one or more.
    """

    def __init__(
        self,
        data_dim: int,
        value_dim: int = 1,
        out_dim: int = 64,
        *,
        embedding_dim: int = 16,
        num_layers: int = 2,
    ) -> None:
        super().__init__()
        self.out_dim, self.share = out_dim, data_dim**-0.5
        self.embedding = self.embed(data_dim, value_dim, out_dim, embedding_dim)
        layers: list[nn.Module] = [nn.SiLU()]
        for _ in range(num_layers - 1):
            layers += [nn.Linear(out_dim, out_dim), nn.SiLU()]
        self.network = nn.Sequential(*layers)

    @staticmethod
    def embed(data_dim: int, value_dim: int, width: int, embedding_dim: int) -> ColumnEmbedding:
        """Return the first layer."""
        return PlainEmbedding(data_dim, value_dim, width, embedding_dim)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return c (..., out_dim) of values (..., D, V), those in the mask (..., D)."""
        each = self.network(self.embedding(hide(values, mask)))
        weight = mask.to(each.dtype)[..., None, :] * self.share
        return (weight @ each).squeeze(-2)


class PointNetPlus(PointNet):
    """The `PointNet` of [x_d, x_d e_d, b_d]: values multiply the identity of their column."""

    @staticmethod
    def embed(data_dim: int, value_dim: int, width: int, embedding_dim: int) -> ColumnEmbedding:
        """Return the first layer."""
        return PlusEmbedding(data_dim, value_dim, width, embedding_dim)


class OneHotSet(PointNet):
    """The `PointNet` whose identities are one-hot: nothing of them is learned."""

    @staticmethod
    def embed(data_dim: int, value_dim: int, width: int, embedding_dim: int) -> ColumnEmbedding:
        """Return the first layer."""
        return PlainEmbedding(data_dim, value_dim, width, None)


class ZerosAndMask(nn.Module):
    """A network of the whole row, zeros for what is missing, beside the mask.

    Parameters
    ----------
    data_dim, value_dim, out_dim : int
        Those of `PointNet`.
    num_layers : int
        Hidden layers, each of ``out_dim`` numbers.
    """

    def __init__(
        self, data_dim: int, value_dim: int = 1, out_dim: int = 64, *, num_layers: int = 2
    ) -> None:
        super().__init__()
        self.out_dim = out_dim
        sizes = data_dim * (value_dim + 1), *[out_dim] * num_layers
        self.network = nn.Sequential(MLP(*sizes, activation=nn.SiLU), nn.SiLU())

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return (..., out_dim) of values (..., D, V), those in the mask (..., D)."""
        zeroed = hide(values, mask).flatten(-2)
        out: Tensor = self.network(torch.cat([zeroed, mask.to(zeroed.dtype)], -1))
        return out


class AttentionSet(nn.Module):
    """Observed values attend to one another, and to a token that is always there and is read.

    Parameters
    ----------
    data_dim, value_dim, out_dim, embedding_dim : int
        Those of `PointNet`.
    num_layers : int
        Blocks of attention.
    heads : int
        Of each block; they share ``out_dim``.

    Raises
    ------
    InputError
        ``heads`` does not divide ``out_dim``.
    """

    def __init__(
        self,
        data_dim: int,
        value_dim: int = 1,
        out_dim: int = 64,
        *,
        embedding_dim: int = 16,
        num_layers: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if out_dim % heads:
            cure = f"take set_dim={out_dim - out_dim % heads or heads}, or other heads"
            raise InputError("heads", str(heads), f"a divisor of the {out_dim} numbers", cure)
        self.out_dim = out_dim
        self.embedding = PlusEmbedding(data_dim, value_dim, out_dim, embedding_dim)
        self.token = nn.Parameter(torch.randn(out_dim))
        self.blocks = nn.ModuleList(_Block(out_dim, heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return (..., out_dim) of values (..., D, V), those in the mask (..., D)."""
        each = self.embedding(hide(values, mask))
        token = self.token.expand(*each.shape[:-2], 1, -1)
        each = torch.cat([token, each], -2)
        mask = functional.pad(mask, (1, 0), value=True)
        for block in self.blocks:
            each = block(each, mask)
        out: Tensor = self.norm(each[..., 0, :])
        return out


class _Block(nn.Module):
    """Attention and a hidden layer, each added to what it reads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = MLP(width, 2 * width, width, activation=nn.SiLU)

    def forward(self, each: Tensor, mask: Tensor) -> Tensor:
        split = self.project(self.before(each)).unflatten(-1, (3 * self.heads, -1))
        query, key, value = split.transpose(-3, -2).chunk(3, -3)
        read = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[..., None, None, :]
        )
        each = each + self.join(read.transpose(-3, -2).flatten(-2))
        out: Tensor = each + self.network(self.between(each))
        return out


def set_reader(
    reader: str | nn.Module,
    data_dim: int,
    value_dim: int = 1,
    out_dim: int = 64,
    embedding_dim: int = 16,
) -> nn.Module:
    """Return the network that a name of `READERS` stands for; a module as it is.

    Raises
    ------
    InputError
        No network has that name, or the module has no ``out_dim``.
    """
    if isinstance(reader, nn.Module):
        if not isinstance(getattr(reader, "out_dim", None), int):
            found, cure = f"{type(reader).__name__} without out_dim", "say it: reader.out_dim = 64"
            raise InputError("reader", found, "a module that knows its output's size", cure)
        return reader
    sizes = data_dim, value_dim, out_dim
    if reader == "pointnet-plus":
        return PointNetPlus(*sizes, embedding_dim=embedding_dim)
    if reader == "pointnet":
        return PointNet(*sizes, embedding_dim=embedding_dim)
    if reader == "attention":
        return AttentionSet(*sizes, embedding_dim=embedding_dim)
    if reader in ("one-hot", "zeros"):
        return OneHotSet(*sizes) if reader == "one-hot" else ZerosAndMask(*sizes)
    raise unknown("reader", str(reader), READERS)
