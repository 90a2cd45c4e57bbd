from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.networks import (
    READERS,
    AttentionSet,
    OneHotSet,
    PointNet,
    PointNetPlus,
    ZerosAndMask,
    set_reader,
)

D, ORDER = 5, torch.tensor([3, 0, 4, 1, 2])


def permuted(reader: nn.Module) -> nn.Module:
    """The reader of the columns in another order."""
    other = copy.deepcopy(reader)
    with torch.no_grad():
        if isinstance(other, ZerosAndMask):
            weight = other.network[0][0].weight
            values, mask = weight[:, :-D].unflatten(1, (D, -1)), weight[:, -D:]
            values, mask = values[:, ORDER].clone(), mask[:, ORDER].clone()
            weight.copy_(torch.cat([values.flatten(1), mask], 1))
        elif isinstance(other, OneHotSet):
            weight = other.embedding.linear.weight
            weight[:, -D:] = weight[:, -D:][:, ORDER].clone()
        else:
            known = other.embedding
            for each in ("identity", "bias") if hasattr(known, "bias") else ("identity",):
                getattr(known, each).copy_(getattr(known, each)[ORDER].clone())
    return other


def some(value_dim: int) -> tuple[Tensor, Tensor]:
    mask = torch.rand(8, D) < 0.5
    mask[0], mask[1] = False, True
    return torch.randn(8, D, value_dim), mask


@pytest.mark.parametrize("value_dim", [1, 3])
@pytest.mark.parametrize("name", READERS)
def test_the_order_of_columns_does_not_matter(name: str, value_dim: int) -> None:
    reader = set_reader(name, D, value_dim, 16, 6)
    values, mask = some(value_dim)
    found = permuted(reader)(values[:, ORDER], mask[:, ORDER])
    assert torch.allclose(found, reader(values, mask), atol=1e-5)
    assert not torch.allclose(reader(values[:, ORDER], mask[:, ORDER]), found, atol=1e-3)


@pytest.mark.parametrize("name", READERS)
def test_what_is_missing_reaches_neither_value_nor_gradient(name: str) -> None:
    reader = set_reader(name, D, 2, 16)
    values, mask = some(2)
    wanted = reader(torch.where(mask[..., None], values, 7.0), mask)
    found = reader(torch.where(mask[..., None], values, torch.nan), mask)
    assert torch.equal(found, wanted)
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in reader.parameters())


@pytest.mark.parametrize("name", READERS)
def test_leading_dims_are_batches(name: str) -> None:
    reader = set_reader(name, D, 1, 16)
    values, mask = torch.randn(2, 3, D, 1), torch.rand(2, 3, D) < 0.5
    found = reader(values, mask)
    assert found.shape == (2, 3, reader.out_dim) == (2, 3, 16)
    assert torch.allclose(found[1], reader(values[1], mask[1]), atol=1e-6)


@pytest.mark.parametrize("name", READERS)
def test_what_is_observed_and_where_both_matter(name: str) -> None:
    reader = set_reader(name, D)
    values = torch.zeros(3, D, 1)
    values[2, 0] = 1.0
    mask = torch.zeros(3, D, dtype=torch.bool)
    mask[0, 0] = mask[1, 1] = mask[2, 0] = True  # the same value of two columns, and another value
    first, elsewhere, larger = reader(values, mask)
    assert min((first - elsewhere).abs().max(), (first - larger).abs().max()) > 1e-3


def test_pointnet_plus_is_the_network_of_the_paper_computed_as_one_affine_map() -> None:
    reader = PointNetPlus(D, 1, 16, embedding_dim=6, num_layers=1)
    values, mask = some(1)
    known = reader.embedding
    product, bias = values * known.identity[:, 0], known.bias.expand(8, D, 1)
    each = nn.functional.silu(known.linear(torch.cat([values, product, bias], -1)))
    wanted = (each * mask[..., None]).sum(1) / D**0.5
    assert torch.allclose(reader(values, mask), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", [PointNet, OneHotSet])
def test_pointnet_reads_value_and_identity_side_by_side(kind: type[PointNet]) -> None:
    reader = kind(D, 3, 16, embedding_dim=6, num_layers=1)
    values, mask = some(3)
    known = reader.embedding
    identity = torch.eye(D) if known.identity is None else known.identity
    assert identity.shape == (D, D if kind is OneHotSet else 6)
    each = known.linear(torch.cat([values, identity.expand(8, -1, -1)], -1))
    wanted = (nn.functional.silu(each) * mask[..., None]).sum(1) / D**0.5
    assert torch.allclose(reader(values, mask), wanted, atol=1e-5)


def test_layers_and_heads_are_as_many_as_asked_for() -> None:
    pointnet = PointNet(D, value_dim=2, out_dim=12, num_layers=3)
    zeros = ZerosAndMask(D, value_dim=2, out_dim=12, num_layers=3)
    attention = AttentionSet(D, value_dim=2, out_dim=12, embedding_dim=3, num_layers=1, heads=3)
    assert len(pointnet.network) == len(zeros.network[0]) == 5
    assert len(attention.blocks) == 1 and attention.blocks[0].heads == 3
    for reader in (pointnet, zeros, attention):
        assert reader(*some(2)).shape == (8, 12)


def test_heads_that_do_not_divide_the_width_are_an_error_with_a_cure() -> None:
    with pytest.raises(InputError, match="heads") as caught:
        set_reader("attention", D, 1, 30)
    assert "set_dim=28" in caught.value.cure
    assert set_reader("attention", D, 1, 28).out_dim == 28


def test_a_reader_is_a_known_name_or_a_module_that_knows_its_size() -> None:
    with pytest.raises(InputError, match="did you mean pointnet-plus"):
        set_reader("pointnet plus", D)
    own = nn.Identity()
    with pytest.raises(InputError, match="out_dim"):
        set_reader(own, D)
    own.out_dim = 64
    assert set_reader(own, D) is own
