from __future__ import annotations

import pyro.poutine as poutine
import pytest
import torch
from torch import Tensor

from ppl_models.acquisition import NotMIWAE
from ppl_models.errors import InputError
from ppl_models.likelihoods import Column, Columns

TABLE = (
    Column("age"),
    Column("sex", "binary"),
    Column("crp", "positive"),
    Column("threshold", "censored", upper=100.0),
    Column("visits", "count"),
)


def mixed(missing: str = "self", **settings: object) -> NotMIWAE:
    """A model of a table of which two columns of numbers are missing not at random."""
    names = ("age", "threshold")
    likelihood = Columns(TABLE)
    return NotMIWAE(5, 2, likelihood=likelihood, missing=missing, not_at_random=names, **settings)


def set_slope(model: NotMIWAE, value: float) -> None:
    with torch.no_grad():
        model.slope.fill_(value)


def sites(model: NotMIWAE, *data: Tensor, size: int = 1) -> dict:
    trace = poutine.trace(model).get_trace(*data, size=size)
    trace.compute_log_prob()
    return trace.nodes


def test_each_column_goes_missing_by_its_own_value() -> None:
    model = mixed()
    with torch.no_grad():
        model.slope.copy_(torch.tensor([2.0, -1.0]))
        model.level.copy_(torch.arange(5) / 10)
    x = model.likelihood(torch.zeros(6, model.likelihood.raw_dim)).sample()
    wanted = model.level.expand(6, 5).clone()
    units = model.likelihood.standardise(x)
    wanted[:, 0] += 2 * units[:, 0]
    wanted[:, 3] -= units[:, 3]
    assert torch.allclose(model.mechanism(x).base_dist.logits, wanted)


def test_with_linear_every_chosen_column_matters_to_all() -> None:
    model = mixed("linear")
    with torch.no_grad():
        model.slope.copy_(torch.arange(10.0).reshape(2, 5))
    x = torch.tensor([[1.0, 1, 2, 3, 4]])
    wanted = 1.0 * model.slope[0] + 3.0 * model.slope[1]
    assert torch.allclose(model.mechanism(x).base_dist.logits, wanted)


def test_a_known_sign_stays_whatever_is_learned() -> None:
    for sign in (1.0, -1.0, torch.tensor([1.0, -1.0])):
        model = mixed("known sign", sign=sign)
        for value in (-3.0, 0.0, 3.0):
            set_slope(model, value)
            assert torch.equal(model.slopes().sign(), torch.as_tensor(sign).expand(2))


def test_simulated_rows_are_nan_where_they_are_missing_because_of_their_values() -> None:
    model = mixed("known sign")
    set_slope(model, 3.0)
    trace = poutine.trace(model).get_trace(size=4000)
    x, found = trace.nodes["x"]["value"], trace.nodes["_RETURN"]["value"]
    mask = trace.nodes["mask"]["value"] > 0
    assert torch.equal(~found.isnan(), mask) and torch.equal(found[mask], x[mask])
    seen, hidden = x[mask[:, 0], 0].mean(), x[~mask[:, 0], 0].mean()
    assert seen < x[:, 0].mean() - 0.3 < hidden - 0.6
    share = mask[:, 1].float().mean()
    assert abs(x[mask[:, 1], 1].mean() - x[:, 1].mean()) < 0.05 and 0.4 < share < 0.6


def test_only_missing_values_of_chosen_columns_are_latent() -> None:
    model = mixed()
    x = torch.tensor([[1.0, 0, 2, 3, 4]]).expand(3, 5)
    mask = torch.tensor([[True] * 5, [False] * 5, [True, False, False, False, False]])
    nodes = sites(model, torch.where(mask, x, torch.nan), mask)
    assert nodes["x_missing"]["value"].shape == (3, 3)  # of the columns of numbers
    drawn, raw = nodes["x_missing"]["value"], model.raw(nodes["z"]["value"])
    each = model.likelihood.distribution(raw, ("real", "positive", "censored")).log_prob(drawn)
    wanted = torch.stack([each[0, 0] * 0, each[1, 0] + each[1, 2], each[2, 2]])
    assert torch.allclose(nodes["x_missing"]["log_prob"], wanted)
    whole = model.complete(model.likelihood.fill_missing(x, mask), mask, drawn)
    assert torch.equal(whole[0], x[0]) and torch.equal(whole[1, [0, 2, 3]], drawn[1])
    logits = model.mechanism(whole).base_dist.logits
    bits = torch.distributions.Bernoulli(logits=logits).log_prob(mask.float())
    assert torch.allclose(nodes["mask"]["log_prob"], bits.sum(-1))


def test_without_a_mask_all_is_observed() -> None:
    model = mixed()
    x = torch.tensor([[1.0, 0, 2, 3, 4]])
    nodes = sites(model, x)
    assert nodes["x_missing"]["log_prob"] == 0 and nodes["mask"]["value"].all()


def test_levels_start_from_the_share_of_each_column_that_was_observed() -> None:
    model = mixed()
    x = model.likelihood(torch.zeros(400, model.likelihood.raw_dim)).sample()
    mask = torch.rand(400, 5) < torch.tensor([0.2, 0.5, 0.9, 0.7, 2.0])
    model.start_from(torch.where(mask, x, torch.nan), mask)
    share = model.level.sigmoid()
    assert torch.allclose(share, mask.float().mean(0), atol=2e-3)
    assert (model.start_from(x).level > 6).all()


def test_sizes_and_parts_are_those_of_the_partial_vae() -> None:
    decoder = torch.nn.Linear(3, 8)
    model = NotMIWAE(4, 3, hidden_dims=(5,), decoder=decoder)
    assert model.decoder is decoder and model.hidden_dims == (5,) and model.slope.shape == (4,)
    assert NotMIWAE(4, missing="linear").slope.shape == (4, 4)


def test_columns_of_classes_and_counts_cannot_be_missing_not_at_random() -> None:
    with pytest.raises(InputError, match="sex") as caught:
        NotMIWAE(5, likelihood=Columns(TABLE))
    assert caught.value.cure == "not_at_random=['age', 'crp', 'threshold']"
    right = NotMIWAE(5, likelihood=Columns(TABLE), not_at_random=["age", "crp", "threshold"])
    assert right.index.tolist() == [0, 2, 3]
    with pytest.raises(InputError, match="PartialVAE"):
        NotMIWAE(1, likelihood=Columns([Column("sex", "binary")]))
    with pytest.raises(InputError, match="no column"):
        NotMIWAE(2, not_at_random=[])


def test_unknown_mechanisms_columns_and_signs_are_errors_whose_cures_work() -> None:
    with pytest.raises(InputError, match="did you mean self"):
        NotMIWAE(2, missing="selfs")
    with pytest.raises(InputError, match="did you mean x1"):
        NotMIWAE(2, not_at_random=["x11"])
    for sign in (0.0, 2.0, torch.ones(3)):
        with pytest.raises(InputError, match="sign"):
            NotMIWAE(2, missing="known sign", sign=sign)
    NotMIWAE(2, missing="known sign", sign=-1.0)
